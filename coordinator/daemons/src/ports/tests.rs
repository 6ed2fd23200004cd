//! Which ports are given.

use super::*;

fn pick(
    range: [u16; 2],
    count: u16,
    previous: Option<u16>,
    given: &[u16],
    taken: &[u16],
) -> Result<u16, String> {
    let given = given.iter().copied().collect();
    PortRange::new(range).pick(count, previous, &given, |port| !taken.contains(&port))
}

#[test]
fn ports_follow_each_other_and_are_the_lowest_that_do() {
    assert_eq!(pick([3000, 4000], 3, None, &[], &[]), Ok(3000));
    // The supervisor itself has the first.
    assert_eq!(pick([3000, 4000], 3, None, &[3000], &[]), Ok(3001));
    assert_eq!(pick([3000, 4000], 3, None, &[3000, 3003], &[]), Ok(3004));
    assert_eq!(
        pick([3000, 4000], 3, None, &[3000], &[3002, 3005]),
        Ok(3006)
    );
    assert_eq!(pick([3000, 3002], 3, None, &[], &[]), Ok(3000));
    assert_eq!(pick([65533, 65535], 2, None, &[65533], &[]), Ok(65534));
}

#[test]
fn a_worker_keeps_its_ports_while_they_are_free_and_in_the_range() {
    assert_eq!(pick([3000, 4000], 2, Some(3500), &[], &[]), Ok(3500));
    assert_eq!(pick([3000, 4000], 2, Some(3500), &[3501], &[]), Ok(3000));
    assert_eq!(pick([3000, 4000], 2, Some(3500), &[], &[3500]), Ok(3000));
    assert_eq!(pick([3000, 4000], 2, Some(4000), &[], &[]), Ok(3000));
    assert_eq!(pick([3000, 4000], 2, Some(20), &[], &[]), Ok(3000));
}

#[test]
fn a_range_that_is_used_up_is_said_with_what_to_do() {
    let error = pick([3000, 3004], 3, None, &[3002], &[3000]).unwrap_err();
    let told =
        "no 3 UDP ports in a row are free of supervisor.port_range [3000, 3004]: 1 are given";
    assert!(error.starts_with(told), "{error}");
    assert!(error.contains("widen the range"), "{error}");
    assert!(pick([65535, 65535], 2, None, &[], &[]).is_err());
}

#[test]
fn two_zeros_leave_it_to_the_system() {
    assert_eq!(pick([0, 0], 3, Some(7), &[1], &[1]), Ok(0));
}
