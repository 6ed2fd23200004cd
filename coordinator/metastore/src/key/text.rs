//! The parts of a key between its slashes.
//!
//! Relies on names being any text. What must stay true: an escaped name holds no slash and is never
//! empty in a key, so parts cannot run together.

use std::fmt::Write;
use std::str::FromStr;

/// Characters that stand for themselves; `%` does not.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:$*".contains(&byte)
}

/// A name as one part of a key: bytes that are not plain become `%XX`.
pub fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

/// Takes a key apart from left to right.
pub struct Parts<'a>(std::str::Split<'a, char>);

impl<'a> Parts<'a> {
    /// The parts of a text.
    pub fn new(text: &'a str) -> Parts<'a> {
        Parts(text.split('/'))
    }

    /// The next part as it is.
    pub fn word(&mut self) -> Option<&'a str> {
        self.0.next()
    }

    /// The next part as an escaped name.
    pub fn name(&mut self) -> Option<String> {
        unescape(self.0.next()?).filter(|name| !name.is_empty())
    }

    /// The next part as a number or id.
    pub fn number<T: FromStr>(&mut self) -> Option<T> {
        self.0.next()?.parse().ok()
    }

    /// Whether there is no further part.
    pub fn ended(&mut self) -> bool {
        self.0.next().is_none()
    }
}
