//! Proxies over HTTP: the events of a stream, and where one that comes back goes on.

use tokio::io::Lines;

use super::*;

const KEY_W: &str = "/rest/Demo/pstate/counts/proxy?path=%5B%22w%22%5D";

/// An open stream of events.
struct Events(Lines<BufReader<TcpStream>>);

/// Name, id and data, or a comment under the name `""`.
type Event = (String, String, String);

async fn follow(serving: &Serving, path: &str, header: &str) -> Events {
    let address = serving.server.address();
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.expect("readable") {
        if line == "content-type: text/event-stream" {
            return Events(lines);
        }
    }
    panic!("no stream of events");
}

impl Events {
    /// The next event or comment, signs of life apart; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        let (mut name, mut id, mut data) = Event::default();
        loop {
            let line = self.0.next_line().await.ok()??;
            match line.split_once(": ").or(line.split_once(':')) {
                Some(("event", text)) => name = text.to_owned(),
                Some(("id", text)) => id = text.to_owned(),
                Some(("data", text)) => data = text.to_owned(),
                Some(("", text)) if text != "alive" => data = text.to_owned(),
                None if line.is_empty() && !data.is_empty() => return Some((name, id, data)),
                _ => {}
            }
        }
    }

    async fn expect(&mut self, name: &str, data: Value) -> String {
        let (found, id, text) = self.next().await.expect("an event");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((found.as_str(), json), (name, data));
        id
    }
}

async fn say(serving: &Serving, line: &str) {
    let body = json!({ "data": line }).to_string();
    let seen = send(serving, "POST", APPEND, &body).await;
    assert_eq!(seen.status, 200, "{}", seen.body);
}

fn new_value(value: u64) -> Value {
    json!({ "kind": "newValue", "value": value })
}

#[tokio::test]
async fn a_proxy_tells_the_value_and_then_how_it_changes() {
    let serving = serve().await;
    say(&serving, "w w").await;
    let mut events = follow(&serving, KEY_W, "accept: */*").await;
    let first = events.expect("resync", json!(2)).await;
    assert!(first.starts_with("1-"), "{first}");
    say(&serving, "w").await;
    say(&serving, "w").await;
    let second = events.expect("diff", new_value(3)).await;
    assert!(second.starts_with("2-"), "{second}");
    events.expect("diff", new_value(4)).await;
    serving.stop().await;
}

/// Back with its last id, a reader gets what it missed as a resync, or nothing if that is nothing.
#[tokio::test]
async fn a_reader_that_comes_back_gets_a_resync_only_when_it_missed_something() {
    let serving = serve().await;
    say(&serving, "w w").await;
    let mut events = follow(&serving, KEY_W, "accept: */*").await;
    let id = events.expect("resync", json!(2)).await;
    drop(events);
    let header = format!("Last-Event-ID: {id}");
    let mut events = follow(&serving, KEY_W, &header).await;
    let (name, _, comment) = events.next().await.expect("a comment");
    assert_eq!(
        (name.as_str(), comment.as_str()),
        ("", "the value is the same")
    );
    say(&serving, "w").await;
    let next = events.expect("diff", new_value(3)).await;
    assert!(next.starts_with("2-"), "{next}");
    drop(events);
    let mut events = follow(&serving, KEY_W, &header).await;
    let again = events.expect("resync", json!(3)).await;
    assert!(again.starts_with("2-"), "{again}");
    let mut events = follow(&serving, KEY_W, "Last-Event-ID: nonsense").await;
    events.expect("resync", json!(3)).await;
    serving.stop().await;
}

#[tokio::test]
async fn a_stream_of_changes_ends_with_its_module() {
    let serving = serve().await;
    let mut events = follow(&serving, KEY_W, "accept: */*").await;
    events.expect("resync", Value::Null).await;
    serving.cluster.destroy("Demo").await.expect("destroyed");
    events.expect("destroyed", Value::Null).await;
    assert_eq!(events.next().await, None);
    serving.stop().await;
}

#[tokio::test]
async fn what_is_not_one_value_is_refused() {
    let serving = serve().await;
    for (path, status) in [
        ("/rest/Demo/pstate/counts/proxy", 400),
        ("/rest/Demo/pstate/counts/proxy?path=%5B%5D", 400),
        (
            "/rest/Demo/pstate/counts/proxy?path=%5B%22w%22%2C%5B%22nonsense%22%5D%5D",
            400,
        ),
        ("/rest/Demo/pstate/nothing/proxy?path=%5B%22w%22%5D", 404),
    ] {
        let seen = send(&serving, "GET", path, "").await;
        assert_eq!(seen.status, status, "{path}: {}", seen.body);
    }
    let seen = send(
        &serving,
        "POST",
        "/rest/Demo/pstate/counts/proxy",
        r#"{"no": 1}"#,
    )
    .await;
    assert_eq!(seen.status, 400, "{}", seen.body);
    serving.stop().await;
}
