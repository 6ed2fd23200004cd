//! Which releases of etcd are used.
//!
//! Relies on the version that a member states. What must stay true: a release that is known to
//! corrupt data is refused with the reason, before a byte is written to it.

use crate::error::Error;

/// Refuses a release that must not be used.
pub fn check(target: &str, version: &str) -> Result<(), Error> {
    let refuse = |why, remedy| {
        Err(Error::Version {
            target: target.into(),
            version: version.into(),
            why,
            remedy,
        })
    };
    let mut numbers = version.split('.').map(|part| {
        let digits = part.split(['-', '+']).next().unwrap_or_default();
        digits.parse::<u32>().ok()
    });
    let (major, minor, patch) = (numbers.next(), numbers.next(), numbers.next());
    let (Some(Some(major)), Some(Some(minor)), Some(Some(patch))) = (major, minor, patch) else {
        return refuse("is no version", "check what answers there");
    };
    match (major, minor, patch) {
        (3, 5, 0..=2) => refuse(
            "corrupts data when a member is killed under load",
            "upgrade it to the newest 3.5 or later",
        ),
        (0..=2, ..) | (3, 0..=3, _) => refuse("is too old", "upgrade it to 3.4.22 or later"),
        _ => Ok(()),
    }
}
