//! Bodies that are too long, too slow, or broken by who sends them.

use super::*;

fn pieces(count: usize) -> Body {
    let piece = |_| Ok::<_, OutOfBounds>(Bytes::from_static(&[7; 100]));
    Body::from_stream(futures_util::stream::iter((0..count).map(piece)))
}

async fn read(body: Body, max: u64, pace: Pace) -> Result<usize, OutOfBounds> {
    let read = to_bytes(bound(body, max, pace), usize::MAX).await;
    read.map(|bytes| bytes.len())
        .map_err(|error| broken(&error).expect("a bound was broken"))
}

#[tokio::test]
async fn a_body_is_read_up_to_its_bound_and_no_further() {
    assert_eq!(read(pieces(3), 300, Pace::default()).await, Ok(300));
    let long = read(pieces(3), 299, Pace::default()).await;
    assert_eq!(long, Err(OutOfBounds::TooLong { max: 299 }));
    assert_eq!(Refusal::from(long.expect_err("long")).code, Code::TooLarge);
    assert_eq!(read(Body::empty(), 0, Pace::default()).await, Ok(0));
}

#[test]
fn each_byte_earns_its_time() {
    let pace = Pace {
        grace: Duration::from_secs(2),
        bytes_per_second: 50,
    };
    let left = |bytes, waited| pace.left(bytes, Duration::from_secs(waited)).as_secs();
    assert_eq!(left(0, 0), 2);
    assert_eq!(left(0, 2), 0);
    assert_eq!(left(100, 1), 3);
    // Who sends as fast as is asked is never cut off.
    assert_eq!(left(5000, 100), 2);
    assert_eq!(left(4900, 101), 0);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let pace = Pace {
        grace: Duration::from_millis(1),
        bytes_per_second: 50,
    };
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, OutOfBounds>>());
    let never = read(never, u64::MAX, pace).await.expect_err("slow");
    assert!(
        matches!(never, OutOfBounds::TooSlow { bytes: 0, .. }),
        "{never:?}"
    );
    assert_eq!(Refusal::from(never).code, Code::TooSlow);
}

#[tokio::test]
async fn who_breaks_off_is_told_apart_from_who_breaks_a_bound() {
    let torn = Body::from_stream(futures_util::stream::iter([
        Ok(Bytes::from_static(b"begun")),
        Err(std::io::Error::other("torn")),
    ]));
    let error = to_bytes(bound(torn, 100, Pace::default()), 100).await;
    let error = error.expect_err("torn");
    assert_eq!(broken(&error), None);
    let refusal = refusal(&error);
    assert_eq!(refusal.code, Code::Invalid);
    assert!(refusal.detail.ends_with("torn"), "{refusal}");
}
