//! `rama dev` as a child process: start, wait until ready, kill, start again on the same data.
//!
//! Relies on the address file that the server writes into its data directory once it listens.
//! Readiness is awaited by asking, never by sleeping for a guess.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::http::Http;
use crate::rama_binary;

/// How long a server may take to become ready before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running `rama dev`.
pub struct DevServer {
    child: Child,
    address: String,
    /// From the start of the process to the first `ready`.
    pub ready_after: Duration,
}

impl DevServer {
    /// Starts an example module on `data_dir` and returns once it is ready.
    ///
    /// # Panics
    /// When the process ends or does not become ready; its log is in `data_dir/../dev.log`.
    pub fn start(example: &str, data_dir: &Path) -> DevServer {
        let address_file = data_dir.join("http");
        // A stale file of a killed server must not be taken for the new one's.
        let _ = std::fs::remove_file(&address_file);
        let started = Instant::now();
        let mut child = Command::new(rama_binary())
            .args(["dev", "--example", example, "--port", "0"])
            .args(["--tasks", "4", "--threads", "2", "--data-dir"])
            .arg(data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log(data_dir))
            .spawn()
            .expect("the rama binary starts");
        let address = wait(&mut child, started, || {
            let address = std::fs::read_to_string(&address_file).ok()?;
            let address = address.trim().to_string();
            (!address.is_empty() && Http::new(&address).ready()).then_some(address)
        });
        DevServer {
            child,
            address,
            ready_after: started.elapsed(),
        }
    }

    /// The base address, such as `http://127.0.0.1:40000`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A client of this server.
    pub fn http(&self) -> Http {
        Http::new(&self.address)
    }

    /// Resident memory of the process in MiB.
    pub fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let line = status.unwrap_or_default();
        let line = line
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .map(str::to_string);
        line.and_then(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024
    }

    /// `kill -9`: no warning, no flush.
    pub fn kill(mut self) {
        self.child.kill().expect("the server is our child");
        self.child
            .wait()
            .expect("the killed server can be waited for");
    }

    /// Ctrl-C: a clean stop; returns the exit code.
    pub fn interrupt(mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::INT)
            .expect("the server is our child");
        self.child
            .wait()
            .expect("the stopped server can be waited for")
            .code()
    }
}

impl Drop for DevServer {
    fn drop(&mut self) {
        // Already gone after `kill` or `interrupt`; otherwise a failed test must leave nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_path(data_dir: &Path) -> PathBuf {
    data_dir.parent().unwrap_or(data_dir).join("dev.log")
}

fn log(data_dir: &Path) -> Stdio {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log_path(data_dir));
    file.map_or_else(|_| Stdio::inherit(), Stdio::from)
}

fn wait<T>(child: &mut Child, started: Instant, mut poll: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(value) = poll() {
            return value;
        }
        if let Ok(Some(status)) = child.try_wait() {
            panic!("rama dev ended with {status} before it was ready");
        }
        assert!(
            started.elapsed() < PATIENCE,
            "rama dev was not ready after {PATIENCE:?}"
        );
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
