//! Starting, announcing, refusing and stopping, with the fake cluster.

use std::fs;

use super::*;
use crate::backend::fake::Fake;

fn hosted() -> Hosted {
    Hosted {
        backend: Arc::new(Fake::default()),
        close: Box::new(|| Box::pin(async { Ok(()) })),
    }
}

#[test]
fn a_second_server_on_the_same_directory_is_refused_with_the_first_ones_id() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Directory::lock(dir.path()).expect("free");
    let refused = Directory::lock(dir.path()).expect_err("taken");
    assert_eq!(refused.exit, 4);
    assert!(
        refused
            .what
            .contains(&format!("(process {})", std::process::id())),
        "{refused:?}"
    );
    drop(first);
    Directory::lock(dir.path()).expect("free again");
}

#[tokio::test]
async fn a_ready_server_is_announced_in_its_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let directory = Directory::lock(dir.path()).expect("free");
    let mut config = Config::default();
    config.http.port = 0;
    let (server, close) = open(&config, &directory, async |_| Ok(hosted()))
        .await
        .expect("it starts");
    let url = fs::read_to_string(dir.path().join(ADDRESS_FILE)).expect("announced");
    assert_eq!(url.trim(), format!("http://{}", server.address()));
    directory.withdraw();
    assert!(!dir.path().join(ADDRESS_FILE).exists());
    server.stop().await;
    close().await.expect("closed");
}

#[tokio::test]
async fn the_banner_says_what_to_type_next() {
    let fake = Fake::default();
    let text = banner::text(&fake, "http://h:1", "./.rama".as_ref(), Default::default()).await;
    for line in [
        "HTTP    http://h:1",
        "Module  Demo  2 tasks on 2 threads",
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
