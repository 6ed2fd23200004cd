//! Settings and first words. Whole servers are tested as processes, in `cli/tests`.

use super::*;
use crate::testing;

#[tokio::test]
async fn the_banner_says_what_to_type_next() {
    let cluster = testing::cluster().await;
    let text = banner::text(
        &cluster,
        "http://h:1",
        "./.rama".as_ref(),
        Default::default(),
    );
    for line in [
        "HTTP    http://h:1",
        "Module  Demo  2 tasks on 1 threads",
        "Try     rama append Demo/lines '\"hello world\"'",
        "        rama select Demo/counts '[\"hello\"]' --one",
        "        rama watch Demo/counts '[\"hello\"]'",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn flags_win_and_bad_ones_are_usage_errors() {
    let args = Args {
        port: Some(9),
        data_dir: Some("d".into()),
        ..Args::default()
    };
    let config = args.settings().expect("fine");
    assert_eq!(
        (config.http.port, config.cluster.data_dir),
        (9, PathBuf::from("d"))
    );
    let args = Args {
        tasks: Some(3),
        ..Args::default()
    };
    let failure = Failure::from(args.settings().expect_err("not a power of two"));
    assert_eq!(failure.exit, 2);
    assert!(
        failure.hint.contains('4') || failure.what.contains("power of two"),
        "{failure:?}"
    );
}
