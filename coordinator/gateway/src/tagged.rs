//! Rama's tagged scalars in requests: `"#__L123"` is the long 123 (spec operations §8.2).
//!
//! Relies on nothing. Our JSON numbers are already 64 bits wide, so tags are only read for the
//! sake of clients written for Rama. What must stay true: a tag that cannot be read fails the
//! request; it never arrives as text.

use serde_json::{Number, Value};

use crate::refusal::{Code, Refusal};

const MARK: &str = "#__";

/// The value with every tagged scalar replaced by what it means.
pub fn decode(mut value: Value) -> Result<Value, Refusal> {
    walk(&mut value)?;
    Ok(value)
}

fn walk(value: &mut Value) -> Result<(), Refusal> {
    match value {
        Value::String(text) => {
            if let Some(tagged) = text.strip_prefix(MARK) {
                *value = scalar(tagged).ok_or_else(|| unreadable(tagged))?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(walk),
        Value::Object(fields) => fields.values_mut().try_for_each(walk),
        _ => Ok(()),
    }
}

fn scalar(tagged: &str) -> Option<Value> {
    let mut chars = tagged.chars();
    let tag = chars.next()?;
    let rest = chars.as_str();
    match tag {
        'B' => rest.parse::<i8>().ok().map(Value::from),
        'S' => rest.parse::<i16>().ok().map(Value::from),
        'L' => rest.parse::<i64>().ok().map(Value::from),
        'F' => {
            let number = rest.parse::<f32>().ok()?;
            Number::from_f64(f64::from(number)).map(Value::Number)
        }
        'C' => (rest.chars().count() == 1).then(|| Value::from(rest)),
        'K' => (!rest.is_empty()).then(|| Value::from(rest)),
        _ => None,
    }
}

fn unreadable(tagged: &str) -> Refusal {
    Refusal::new(Code::Invalid, format!("could not read the tagged value \"{MARK}{tagged}\""))
        .hint("tags are B byte, S short, L long, F float, C char, K keyword; f (function) is not supported")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_decoded_at_any_depth() {
        let value =
            json!(["#__L9007199254740993", {"a": "#__B-1", "b": ["#__Cx", "#__Kk", "plain"]}]);
        let expected = json!([9_007_199_254_740_993_i64, {"a": -1, "b": ["x", "k", "plain"]}]);
        assert_eq!(decode(value), Ok(expected));
        assert_eq!(decode(json!("#__F1.5")), Ok(json!(1.5)));
    }

    #[test]
    fn an_unreadable_tag_fails_the_request() {
        for text in [
            "#__B300",
            "#__Lx",
            "#__Cxy",
            "#__fOps.INC",
            "#__",
            "#__Fnan",
        ] {
            let refusal = decode(json!([text])).expect_err(text);
            assert_eq!(refusal.code, Code::Invalid, "{text}");
            assert!(refusal.detail.contains(text), "{refusal:?}");
        }
    }
}
