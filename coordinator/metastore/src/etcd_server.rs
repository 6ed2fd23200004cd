//! Members of an etcd as processes of this machine: for experiments and tests.
//!
//! Relies on the `etcd` command (Debian: `etcd-server`), found by its name. What must stay true:
//! data directory and ports are given, never etcd's own defaults; everything listens on loopback
//! only; a member ends with its handle, by its process id.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::Error;

/// The command.
pub const PROGRAM: &str = "etcd";
/// How long a member may take to become part of a cluster that serves.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked.
const READY_POLL: Duration = Duration::from_millis(20);
/// How long it may take to end after it was asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a member is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdMember {
    /// Names it among its peers.
    pub name: String,
    /// Where its data is.
    pub data_dir: PathBuf,
    /// Where clients come.
    pub client_port: u16,
    /// Where peers come.
    pub peer_port: u16,
    /// Every member's name and peer port; itself among them.
    pub peers: Vec<(String, u16)>,
    /// Further arguments.
    pub args: Vec<String>,
}

impl EtcdMember {
    /// The only member of its cluster.
    pub fn single(data_dir: impl Into<PathBuf>, client_port: u16, peer_port: u16) -> EtcdMember {
        let name = "rama".to_owned();
        EtcdMember {
            peers: vec![(name.clone(), peer_port)],
            name,
            data_dir: data_dir.into(),
            client_port,
            peer_port,
            args: Vec::new(),
        }
    }

    /// Where clients connect.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Its command line without the program. History is compacted after an hour, because nobody
    /// else does it.
    pub fn command_line(&self) -> Vec<String> {
        let peer = |port: u16| format!("http://127.0.0.1:{port}");
        let all = self
            .peers
            .iter()
            .map(|(name, port)| format!("{name}={}", peer(*port)));
        let mut args = Vec::new();
        let mut arg = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        arg("name", self.name.clone());
        arg("data-dir", self.data_dir.display().to_string());
        arg("listen-client-urls", self.endpoint());
        arg("advertise-client-urls", self.endpoint());
        arg("listen-peer-urls", peer(self.peer_port));
        arg("initial-advertise-peer-urls", peer(self.peer_port));
        arg("initial-cluster", all.collect::<Vec<_>>().join(","));
        arg("initial-cluster-state", "new".into());
        arg("auto-compaction-mode", "periodic".into());
        arg("auto-compaction-retention", "1h".into());
        arg("log-level", "warn".into());
        args.extend(self.args.iter().cloned());
        args
    }

    /// Makes its data directory, for its owner alone, as etcd wants it.
    ///
    /// # Errors
    /// The system refuses.
    pub fn prepare(&self) -> Result<(), Error> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.data_dir);
        made.map_err(|cause| Error::io(format!("create {}", self.data_dir.display()), &cause))
    }

    /// Starts it; it may not serve yet.
    ///
    /// # Errors
    /// The command is missing, or the data directory cannot be made.
    pub fn start(self) -> Result<EtcdServer, Error> {
        self.prepare()?;
        let log_path = self.data_dir.join("etcd.log");
        let log = File::options().create(true).append(true).open(&log_path);
        let log = log.map_err(|cause| Error::io(format!("open {}", log_path.display()), &cause))?;
        let spawned = Command::new(PROGRAM)
            .args(self.command_line())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        match spawned {
            Ok(child) => Ok(EtcdServer {
                member: self,
                child,
            }),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(Error::Io {
                attempt: format!("start {PROGRAM}"),
                cause: "it is not installed; on Debian: apt-get install etcd-server".into(),
            }),
            Err(cause) => Err(Error::io(format!("start {PROGRAM}"), &cause)),
        }
    }
}

/// A member that was started. Dropping it kills it.
#[derive(Debug)]
pub struct EtcdServer {
    member: EtcdMember,
    child: Child,
}

impl EtcdServer {
    /// What it was started with.
    pub fn member(&self) -> &EtcdMember {
        &self.member
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it serves: until its cluster has a leader.
    ///
    /// # Errors
    /// It ended, or took too long; what its log says last.
    pub fn wait_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while !healthy(self.member.client_port) {
            let ended = self.child.try_wait();
            if !matches!(ended, Ok(None)) || Instant::now() >= deadline {
                return Err(Error::Io {
                    attempt: format!("start etcd in {}", self.member.data_dir.display()),
                    cause: self.last_words(),
                });
            }
            std::thread::sleep(READY_POLL);
        }
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = self.member.data_dir.join("etcd.log");
        let text = std::fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let last = text.lines().last().unwrap_or("it said nothing").to_owned();
        format!("{last} (all of it in {})", log.display())
    }

    /// Waits until it ends by itself; whether it ended well.
    ///
    /// # Errors
    /// The system refuses.
    pub fn wait(&mut self) -> Result<bool, Error> {
        let ended = self.child.wait();
        ended
            .map(|status| status.success())
            .map_err(|cause| Error::io("wait for etcd", &cause))
    }

    /// Ends it as a power cut would: `kill -9`.
    pub fn kill(mut self) -> EtcdMember {
        self.end_now();
        self.member.clone()
    }

    /// Asks it to end, and waits for it.
    pub fn stop(mut self) -> EtcdMember {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(READY_POLL);
        }
        self.end_now();
        self.member.clone()
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
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    fn end_now(&mut self) {
        // Fails only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// Whether a member serves and has a leader.
fn healthy(port: u16) -> bool {
    let ask = || -> io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(64 << 10).read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("\"health\":\"true\""))
}

/// Ports that are free at present.
///
/// # Errors
/// There are none.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut ports = [0; N];
    // Held together, so that they differ.
    let mut held = Vec::with_capacity(N);
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}
