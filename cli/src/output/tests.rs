//! Days of the calendar, and moments of a day.

use super::*;

#[test]
fn dates_are_those_of_the_calendar() {
    let check = |seconds: u64, expected: &str| assert_eq!(day(seconds), expected);
    check(0, "1970-01-01");
    check(951_782_400, "2000-02-29");
    check(1_709_251_199, "2024-02-29");
    check(1_709_251_200, "2024-03-01");
    check(1_795_219_200, "2026-11-21");
    check(4_102_444_799, "2099-12-31");
    check(4_107_542_400, "2100-03-01");
}

#[test]
fn moments_are_shown_in_utc() {
    assert_eq!(moment(0), "");
    assert_eq!(moment(1), "1970-01-01 00:00:00Z");
    assert_eq!(moment(1_795_280_596_999), "2026-11-21 17:03:16Z");
}
