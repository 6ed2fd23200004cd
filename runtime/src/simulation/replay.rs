//! Which faults of which seed somebody wants to see again, as the environment says.
//!
//! Relies on what a failed simulation prints. What must stay true: text that nobody could mean is
//! refused, as a run of everything would look like an answer.

use super::shrinking::Numbers;

/// The only faults that are to happen in a simulation of `seed`, if the environment asks so.
///
/// # Panics
/// When it asks for something else than numbers.
pub(super) fn asked_for(seed: u64) -> Option<Numbers> {
    let variable = |name| std::env::var(name).ok();
    let asked = asked(variable("RAMA_SEED"), variable("RAMA_FAULTS"));
    let (asked_seed, faults) = asked.unwrap_or_else(|error| panic!("{error}"))?;
    (asked_seed == seed).then_some(faults)
}

fn asked(seed: Option<String>, faults: Option<String>) -> Result<Option<(u64, Numbers)>, String> {
    let Some(faults) = faults else {
        return Ok(None);
    };
    let seed =
        seed.ok_or("RAMA_FAULTS wants RAMA_SEED beside it, the seed whose faults they are")?;
    let wrong_seed = |_| format!("RAMA_SEED is a seed such as 7, not `{seed}`");
    let seed = seed.parse().map_err(wrong_seed)?;
    let number = |text: &str| {
        let wrong = |_| format!("RAMA_FAULTS is a list of numbers such as 3,9, not `{faults}`");
        text.trim().parse().map_err(wrong)
    };
    let numbers = faults.split(',').filter(|text| !text.trim().is_empty());
    Ok(Some((seed, numbers.map(number).collect::<Result<_, _>>()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(seed: Option<&str>, faults: Option<&str>) -> Result<Option<(u64, Numbers)>, String> {
        asked(seed.map(str::to_owned), faults.map(str::to_owned))
    }

    #[test]
    fn the_environment_names_a_seed_and_its_faults() {
        assert_eq!(ask(None, None), Ok(None));
        assert_eq!(ask(Some("7"), None), Ok(None));
        let two = Numbers::from([3, 9]);
        assert_eq!(ask(Some("7"), Some("3,9")), Ok(Some((7, two.clone()))));
        assert_eq!(ask(Some("7"), Some(" 9, 3,")), Ok(Some((7, two))));
        assert_eq!(ask(Some("0"), Some("")), Ok(Some((0, Numbers::new()))));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let refused = |seed, faults| ask(seed, faults).unwrap_err();
        assert!(refused(None, Some("3")).contains("wants RAMA_SEED"));
        assert!(refused(Some("x"), Some("3")).contains("not `x`"));
        assert!(refused(Some("7"), Some("3;9")).contains("not `3;9`"));
    }
}
