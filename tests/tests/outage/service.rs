//! A process that is started, killed, frozen and started again: what systemd would look after.
//!
//! Relies on the command being whole: the same one starts it every time. What must stay true: its
//! output is kept, all starts in one file; it ends with its handle.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// One service of one node.
pub struct Service {
    name: String,
    log: PathBuf,
    command: Command,
    child: Option<Child>,
}

impl Service {
    /// Starts it.
    pub fn start(name: impl Into<String>, log: PathBuf, command: Command) -> Service {
        let mut service = Service {
            name: name.into(),
            log,
            command,
            child: None,
        };
        service.start_again();
        service
    }

    /// What it wrote.
    pub fn log(&self) -> &PathBuf {
        &self.log
    }

    /// Starts it after it was killed.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.expect("a log file");
        let command = &mut self.command;
        command.stdin(Stdio::null());
        command
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log);
        let child = command.spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("{}: {error}", self.name)));
    }

    /// Ends it as a power cut would: `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only when it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it from running without ending it.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it run again.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill(child.id(), signal).expect("a process that was not waited for takes signals");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Signals a process.
pub fn kill(pid: u32, signal: Signal) -> rustix::io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), signal)
}
