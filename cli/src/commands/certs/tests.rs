//! Days of the calendar.

use std::time::Duration;

use super::*;

#[test]
fn dates_are_those_of_the_calendar() {
    let check = |seconds: u64, expected: &str| {
        assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
    };
    check(0, "1970-01-01");
    check(951_782_400, "2000-02-29");
    check(1_709_251_199, "2024-02-29");
    check(1_709_251_200, "2024-03-01");
    check(1_795_219_200, "2026-11-21");
    check(4_102_444_799, "2099-12-31");
    check(4_107_542_400, "2100-03-01");
}
