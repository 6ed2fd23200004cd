//! A local etcd as a process: what is printed works, and what is missing is named.
//!
//! Relies on Debian's etcd-server, which `tests/run` installs.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{RAMA, directory, run_in};

/// One started etcd; it ends with the test.
struct Started {
    child: Child,
    endpoint: String,
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(dir: &Path, ports: [u16; 2]) -> Started {
    let ports = ports.map(|port| port.to_string());
    let mut child = Command::new(RAMA)
        .args(["dev-metastore", "--output", "jsonl"])
        .args(["--port", &ports[0], "--peer-port", &ports[1]])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command starts");
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
    let line = lines.next().expect("one line").expect("text");
    let described: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        described["pid"],
        child.id(),
        "etcd takes the place of the command"
    );
    assert!(
        described["dataDir"]
            .as_str()
            .expect("text")
            .ends_with("/.rama/metastore")
    );
    Started {
        child,
        endpoint: described["endpoint"].as_str().expect("text").to_owned(),
    }
}

impl Started {
    /// Asks until there is an answer; a new member needs a moment.
    fn ask(&self, path: &str, body: &Value) -> Value {
        for _ in 0..1000 {
            let answer = ureq::post(&format!("{}{path}", self.endpoint)).send_json(body);
            if let Ok(mut answer) = answer {
                return answer.body_mut().read_json().expect("JSON");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} does not answer", self.endpoint);
    }
}

#[test]
fn a_local_metastore_keeps_its_data_over_kill_9() {
    let dir = directory();
    let ports = rama_metastore::free_ports().expect("ports");
    // "k" and "v" in base64, as the HTTP interface of etcd has it.
    let (key, value) = ("aw==", "dg==");
    let first = start(dir.path(), ports);
    first.ask("/v3/kv/put", &json!({"key": key, "value": value}));
    let taken = ["dev-metastore", "--port", &ports[0].to_string()];
    let taken = run_in(dir.path(), "http://x", &taken, "");
    assert!(
        taken.contains("exit 4") && taken.contains("--peer-port"),
        "{taken}"
    );
    drop(first);
    let second = start(dir.path(), ports);
    let read = second.ask("/v3/kv/range", &json!({ "key": key }));
    assert_eq!(read["kvs"][0]["value"], value, "{read}");
}

#[test]
fn where_etcd_is_missing_the_package_is_named() {
    let dir = directory();
    for verb in ["dev-metastore", "devMetastore"] {
        // The environment has no PATH, and the directory no etcd.
        let output = Command::new(RAMA)
            .arg(verb)
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", dir.path())
            .output()
            .expect("the command ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains("apt-get install etcd-server"), "{text}");
        assert!(!dir.path().join(".rama").exists(), "nothing was made");
    }
}
