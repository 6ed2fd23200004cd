//! Runs a test where it cannot be in anybody's way: with a network and process ids of its own.
//!
//! Relies on `unshare` (util-linux): as root, or in a user namespace where the machine allows it. The
//! test starts itself again in there, as the only child of a shell that waits for whatever is left
//! without a parent. What must stay true: nothing outlives the test, however it ends: with the shell the
//! kernel ends every process in there, and with the last process the network goes; where the machine
//! allows no namespaces, the output says so and nodes are addresses of loopback.

use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Tells the inner run what it stands on.
const GROUND: &str = "RAMA_TEST_GROUND";

/// What a world may count on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    /// A network of its own, for each node one.
    Namespaces,
    /// Addresses of loopback: nodes cannot be cut off.
    Loopback,
}

/// Two worlds at once would only slow each other down.
static TURN: Mutex<()> = Mutex::new(());

const NAMESPACES: &[&str] = &["--net", "--pid", "--mount-proc", "--fork", "--kill-child"];

/// Ways into namespaces, best first.
const WAYS: &[&[&str]] = &[&[], &["--user", "--map-root-user"]];

/// Whether a node can be made there.
const TRIAL: &str = "ip link add trial type bridge && ip link add this type veth peer name that";

/// Runs `body` apart. `test` is the name of the calling test.
///
/// # Panics
/// When it fails in there.
pub fn apart(test: &str, body: impl FnOnce(Ground)) {
    match std::env::var(GROUND).as_deref() {
        Ok("namespaces") => return body(Ground::Namespaces),
        Ok(_) => return body(Ground::Loopback),
        Err(_) => {}
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let program = std::env::current_exe().expect("a test is a program");
    let way = WAYS.iter().find(|way| leads_in(way));
    let mut command = match way {
        Some(way) => {
            let mut command = unshare(way);
            // A shell as process 1: it waits for everybody.
            command
                .args(["sh", "-c", "\"$@\"; exit $?", "sh"])
                .arg(program);
            command.env(GROUND, "namespaces");
            command
        }
        None => {
            println!("no network namespaces on this machine: nodes are addresses of loopback");
            let mut command = Command::new(program);
            command.env(GROUND, "loopback");
            command
        }
    };
    let status = command.args(["--exact", test, "--nocapture"]).status();
    let status = status.expect("the test starts again");
    assert!(status.success(), "{test} failed apart, see above: {status}");
}

fn unshare(way: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(NAMESPACES).args(way);
    command
}

fn leads_in(way: &[&str]) -> bool {
    let tried = unshare(way)
        .args(["sh", "-c", TRIAL])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}
