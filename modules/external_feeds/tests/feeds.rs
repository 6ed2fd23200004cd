//! Lines written to files and events published by a server are counted once (spec G-6, G-7).
//!
//! Relies on an in-process cluster, a temporary directory and a server of a few lines.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use external_feeds::{Feeds, WORDS};
use rama::prelude::*;

/// Serves events on a free port until the test ends; every third answer is an error.
fn serve(events: Arc<Mutex<Vec<String>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/feed", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines
                .next()
                .and_then(Result::ok)
                .is_some_and(|line| !line.is_empty())
            {}
            let given = |name: &str| -> usize {
                let (_, rest) = request
                    .split_once(&format!("{name}="))
                    .expect("a parameter");
                let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
                digits
                    .and_then(|digits| digits.parse().ok())
                    .expect("a number")
            };
            let (from, most) = (given("from"), given("most"));
            let events = events.lock().expect("no panic");
            let page: Vec<&String> = events.iter().skip(from).take(most).collect();
            let body = serde_json::json!({"events": page, "end": events.len()}).to_string();
            let status = if number % 3 == 1 {
                "503 Busy"
            } else {
                "200 OK"
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
            // The other side may be gone.
            let _ = write!(
                stream,
                "{head}content-type: application/json\r\n\
                                    connection: close\r\n\r\n{body}"
            );
        }
    });
    url
}

fn write(path: &Path, text: &str) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("open");
    file.write_all(text.as_bytes()).expect("write");
}

async fn count(cluster: &Cluster, word: &str) -> u64 {
    let count = cluster.pstate(WORDS).select_one(WORDS.key(word)).await;
    count.expect("select").unwrap_or(0)
}

async fn until(cluster: &Cluster, word: &str, expected: u64) {
    let mut watch = cluster
        .pstate(WORDS)
        .watch(WORDS.key(word))
        .expect("a watch");
    let reached = async {
        let mut next = async || watch.next().await.expect("no end").expect("a value");
        while next().await.unwrap_or(0) < expected {}
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, reached)
        .await
        .expect("counted in time");
    assert_eq!(count(cluster, word).await, expected, "{word}");
}

#[tokio::test]
async fn lines_and_events_are_counted_once_over_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = vec![dir.path().join("a.log"), dir.path().join("b.log")];
    let events = Arc::new(Mutex::new(vec!["started".to_owned()]));
    let url = serve(events.clone());
    let feeds = || Feeds {
        files: files.clone(),
        url: url.clone(),
    };
    let cluster = InProcessCluster::new(4, 2).expect("a cluster");
    write(&files[0], "one two\ntwo\nthr");
    cluster.launch(feeds()).await.expect("launch");
    until(&cluster, "two", 2).await;
    until(&cluster, "started", 1).await;
    assert_eq!(count(&cluster, "thr").await, 0, "half a line");

    cluster.update(feeds()).await.expect("update");
    write(&files[0], "ee\n");
    write(&files[1], "three two\n");
    events
        .lock()
        .expect("no panic")
        .push("three started".to_owned());
    until(&cluster, "three", 3).await;
    until(&cluster, "started", 2).await;
    until(&cluster, "two", 3).await;
    until(&cluster, "one", 1).await;
}
