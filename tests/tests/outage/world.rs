//! A cluster of real processes: three etcd members, a conductor and three supervisors on nodes of their
//! own, with certificates, and what an operator does with them on the command line.
//!
//! Relies on the built programs `rama` and the modules', all with the feature `etcd`, and on `etcd`.
//! What must stay true: settings are files, as an operator writes them; whoever waits for something asks
//! for it, with a limit far beyond it; when a test fails it shows what every process wrote last.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rama_api::{ClusterStatus, InstanceStatus, ModuleStatus, WorkerPhase};
use rama_metastore::free_ports;
use rama_net::Role;
use rama_tests::{binary, rama_binary};
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::apart::Ground;
use crate::asker::Asker;
use crate::network::{Network, must};
use crate::service::{Service, kill};

/// Anything a test waits for takes far less.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// An operator's request takes far less, unless the one who is asked is down.
const ASK_PATIENCE: Duration = Duration::from_secs(3);

/// Nodes with a member of etcd and a supervisor.
pub const NODES: usize = 3;
/// The node of the conductor.
const CONDUCTOR: usize = 3;
/// Where the conductor is that waits for office.
const STANDBY: usize = 0;

const LEASE_MS: u64 = 5_000;

/// What `rama` ends with when nobody could do what was asked yet.
const EXIT_NOT_READY: i32 = 5;

/// Longer than any lease of the cluster, with the renewal that came last.
pub const BEYOND_LEASE: Duration = Duration::from_millis(LEASE_MS + 3_000);

/// Where one daemon answers.
#[derive(Clone, Copy)]
struct Ports {
    rpc: u16,
    http: u16,
}

impl Ports {
    /// The usual ones on a node with a network of its own, where nobody else can have them; free ones on
    /// loopback.
    fn new(network: &Network, rpc: u16, http: u16) -> Ports {
        if network.can_be_cut() {
            return Ports { rpc, http };
        }
        let [rpc, http] = free_ports().expect("free ports");
        Ports { rpc, http }
    }
}

/// The cluster. Fields are dropped in this order: processes before their network.
pub struct World {
    /// Members of etcd, by node.
    pub etcd: Vec<Service>,
    /// The conductor.
    pub conductor: Service,
    /// The one that waits for office, while a test wants it.
    pub standby: Option<Service>,
    /// Supervisors, by node.
    pub supervisors: Vec<Service>,
    /// Nodes and links.
    pub network: Network,
    /// Who asks as an operator.
    pub operator: Asker,
    runtime: Runtime,
    ports: Vec<Ports>,
    endpoints: String,
    dir: TempDir,
}

impl World {
    /// A cluster that is up.
    pub fn start(ground: Ground) -> World {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let network = Network::new(ground, CONDUCTOR as u8 + 1);
        certificates(dir.path(), &network);
        let (etcd, endpoints) = etcd(dir.path(), &network);
        let runtime = Runtime::new().expect("a runtime");
        let holder = dir.path().join("operator");
        let operator = Asker::new(runtime.handle(), &holder, "operator", Role::Operator);
        let mut ports: Vec<Ports> = (0..NODES)
            .map(|_| Ports::new(&network, 3000, 3001))
            .collect();
        ports.push(Ports::new(&network, 1973, 8888));
        let (home, node) = (dir.path(), CONDUCTOR);
        let settings = settings(home, &network, node, "conductor", ports[node], &endpoints);
        let conductor = daemon(home, &network, node, "conductor", &settings);
        let supervisor = |node| {
            let settings =
                self::settings(home, &network, node, "supervisor", ports[node], &endpoints);
            daemon(home, &network, node, "supervisor", &settings)
        };
        let supervisors = (0..NODES).map(supervisor).collect();
        let world = World {
            etcd,
            conductor,
            standby: None,
            supervisors,
            network,
            operator,
            runtime,
            ports,
            endpoints,
            dir,
        };
        world.write_operator();
        world.until("all nodes are there", || {
            let status: Option<ClusterStatus> = world.get("/v1/cluster");
            status.is_some_and(|it| it.supervisors == NODES as u32 && it.conductor.is_some())
        });
        world
    }

    fn write_operator(&self) {
        let (address, ports) = (self.network.address(CONDUCTOR), self.ports[CONDUCTOR]);
        let text = format!(
            "[conductor]\nhost = \"{address}\"\nport = {}\nhttp_port = {}\n\
             [security]\nca = \"operator/ca.pem\"\ncert = \"operator/operator.pem\"\n\
             key = \"operator/operator.key\"\n",
            ports.rpc, ports.http
        );
        fs::write(self.dir.path().join("rama.toml"), text).expect("settings");
    }

    /// Starts a second conductor, which waits for office.
    pub fn start_standby(&mut self) {
        let ports = Ports::new(&self.network, 1973, 8888);
        let home = self.dir.path();
        let (network, node) = (&self.network, STANDBY);
        let settings = settings(home, network, node, "conductor", ports, &self.endpoints);
        self.standby = Some(daemon(home, network, node, "conductor", &settings));
    }

    /// Where typed clients and requests live.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Who asks as a client.
    pub fn client(&self) -> Asker {
        let holder = self.dir.path().join("client");
        Asker::new(self.runtime.handle(), &holder, "client", Role::Client)
    }

    /// Where the files of a client are.
    pub fn client_dir(&self) -> PathBuf {
        self.dir.path().join("client")
    }

    /// Where the conductor answers.
    pub fn conductor_address(&self) -> SocketAddr {
        self.address(CONDUCTOR)
    }

    /// Where the supervisors answer.
    pub fn supervisor_addresses(&self) -> Vec<SocketAddr> {
        (0..NODES).map(|node| self.address(node)).collect()
    }

    fn address(&self, node: usize) -> SocketAddr {
        (self.network.address(node), self.ports[node].rpc).into()
    }

    /// What the conductor answers; nothing while it is away.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        let address = self.conductor_address();
        let asked = self
            .operator
            .ask(address, ("GET", path), Vec::new(), ASK_PATIENCE);
        let (_, value) = self.runtime.block_on(asked).ok()?;
        Some(serde_json::from_value(value).expect("an answer of the right kind"))
    }

    /// Asks until it is so.
    pub fn until(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{what}: did not come true");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `rama` on the command line, as the operator has it.
    pub fn rama(&self, arguments: &[&str]) -> Output {
        let output = Command::new(rama_binary())
            .args(arguments)
            .env("RAMA_CONFIG", self.dir.path().join("rama.toml"))
            .current_dir(self.dir.path())
            .output();
        output.expect("rama starts")
    }

    /// The same where it has to work; what it printed. A conductor that is not in office yet says that
    /// nothing was done and wants to be asked again.
    pub fn rama_ok(&self, arguments: &[&str]) -> String {
        let end = Instant::now() + PATIENCE;
        let mut output = self.rama(arguments);
        while output.status.code() == Some(EXIT_NOT_READY) && Instant::now() < end {
            output = self.rama(arguments);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "rama {arguments:?}: {}: {said}",
            output.status
        );
        String::from_utf8(output.stdout).expect("text")
    }

    /// Launches a module on the command line; it runs when this returns.
    pub fn launch(&self, program: &str, module: &str, workers: u32) {
        let (program, workers) = (binary(program).display().to_string(), workers.to_string());
        self.rama_ok(&[
            "deploy",
            "--action",
            "launch",
            "--binary",
            &program,
            "--module",
            module,
            "--tasks",
            "8",
            "--threads",
            "4",
            "--workers",
            &workers,
            "--timeout",
            "2m",
        ]);
        assert!(
            self.is_well(module),
            "{module} is RUNNING when deploy says so"
        );
    }

    /// Destroys a module on the command line; nothing of it is left when this returns.
    pub fn destroy(&self, module: &str) {
        self.rama_ok(&["destroy", module, "--yes", module, "--timeout", "2m"]);
        for node in 0..NODES {
            let workers = self.home(node, "supervisor").join("supervisor/workers");
            let slots = rama_tests::files(&workers, "slot.json");
            let of_it =
                |slot: &PathBuf| fs::read_to_string(slot).is_ok_and(|it| it.contains(module));
            let left: Vec<_> = slots.into_iter().filter(of_it).collect();
            assert!(left.is_empty(), "data of {module} stays behind: {left:?}");
        }
    }

    fn home(&self, node: usize, role: &str) -> PathBuf {
        home(self.dir.path(), node, role)
    }

    /// Whether a module runs, all of it.
    pub fn is_well(&self, module: &str) -> bool {
        let status: Option<ModuleStatus> = self.get(&format!("/v1/modules/{module}"));
        let runs = |it: &ModuleStatus| it.module_state == "RUNNING" && it.detail.is_empty();
        let serving = |it: InstanceStatus| {
            let mut processes = it.processes.iter();
            processes.all(|process| process.phase == WorkerPhase::Serving)
        };
        status.is_some_and(|it| runs(&it)) && self.instance(module).is_some_and(serving)
    }

    /// The instance of a module that runs.
    pub fn instance(&self, module: &str) -> Option<InstanceStatus> {
        let status: ModuleStatus = self.get(&format!("/v1/modules/{module}"))?;
        let id = status.append_target_id?;
        self.get(&format!("/v1/modules/{module}/instances/{id}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        // On loopback nobody else ends workers, which live on without their supervisor.
        self.supervisors.clear();
        for node in 0..NODES {
            for pid in workers_left(&self.home(node, "supervisor")) {
                // It may have ended by itself.
                let _ = kill(pid, Signal::KILL);
            }
        }
    }
}

impl World {
    /// What every process wrote last tells why a test failed.
    fn show_logs(&self) {
        let daemons = self
            .etcd
            .iter()
            .chain([&self.conductor])
            .chain(&self.standby);
        let daemons = daemons.chain(&self.supervisors);
        let mut logs: Vec<PathBuf> = daemons.map(|service| service.log().clone()).collect();
        for node in 0..NODES {
            let workers = fs::read_dir(self.home(node, "supervisor").join("supervisor/logs"));
            logs.extend(
                workers
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
        for log in logs {
            let text = fs::read(&log).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(60)..];
            println!("---- {}\n{}", log.display(), last.join("\n"));
        }
    }
}

/// Processes of slots, as the supervisor of a node remembered them.
fn workers_left(home: &Path) -> Vec<u32> {
    let slots = rama_tests::files(&home.join("supervisor/workers"), "slot.json");
    let pid = |path: PathBuf| {
        let slot: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let pid = u32::try_from(slot["process"]["pid"].as_u64()?).ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let ours = environment
            .split(|byte| *byte == 0)
            .any(|it| it.starts_with(b"RAMA_SLOT="));
        ours.then_some(pid)
    };
    slots.into_iter().filter_map(pid).collect()
}

fn home(dir: &Path, node: usize, role: &str) -> PathBuf {
    dir.join(format!("node-{node}-{role}"))
}

/// An authority and a certificate for everyone, by the command line.
fn certificates(dir: &Path, network: &Network) {
    let rama = |arguments: &str| {
        let mut command = Command::new(rama_binary());
        must(
            command
                .arg("certs")
                .args(arguments.split_whitespace())
                .current_dir(dir),
        );
    };
    rama("init --dir authority");
    for node in 0..=CONDUCTOR {
        let host = network.address(node);
        let issue = format!("issue --dir authority --host {host} --out certificates-{node}");
        rama(&format!("{issue} --role conductor --name conductor"));
        rama(&format!(
            "{issue} --role supervisor --role worker --name supervisor"
        ));
    }
    for role in ["operator", "client"] {
        rama(&format!(
            "issue --dir authority --role {role} --out {role} --name {role}"
        ));
    }
}

/// Three members, which serve; and where.
fn etcd(dir: &Path, network: &Network) -> (Vec<Service>, String) {
    let ports: Vec<Ports> = (0..NODES)
        .map(|_| Ports::new(network, 2380, 2379))
        .collect();
    let client = |node: usize| format!("http://{}:{}", network.address(node), ports[node].http);
    let peer = |node: usize| format!("http://{}:{}", network.address(node), ports[node].rpc);
    let all: Vec<String> = (0..NODES)
        .map(|node| format!("m{node}={}", peer(node)))
        .collect();
    let member = |node: usize| {
        let data = dir.join(format!("etcd-{node}"));
        let mut command = network.command(node, "etcd");
        command.args(["--name", &format!("m{node}")]);
        command.arg("--data-dir").arg(&data);
        for flag in ["--listen-client-urls", "--advertise-client-urls"] {
            command.args([flag, &client(node)]);
        }
        for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            command.args([flag, &peer(node)]);
        }
        command.args([
            "--initial-cluster",
            &all.join(","),
            "--initial-cluster-state",
            "new",
        ]);
        command.args(["--log-level", "warn"]);
        Service::start(format!("etcd {node}"), data.with_extension("log"), command)
    };
    let members = (0..NODES).map(member).collect();
    let endpoints: Vec<String> = (0..NODES).map(client).collect();
    (members, endpoints.join(","))
}

/// Settings of a daemon, as a file.
fn settings(
    dir: &Path,
    network: &Network,
    node: usize,
    role: &str,
    ports: Ports,
    endpoints: &str,
) -> PathBuf {
    let (home, address) = (home(dir, node, role), network.address(node));
    let certificates = dir.join(format!("certificates-{node}"));
    let certificates = certificates.display();
    let mut text = format!(
        "[node]\ndir = \"{}\"\nbind = \"{address}\"\nhost = \"{address}\"\n",
        home.display()
    );
    let Ports { rpc, http } = ports;
    write!(text, "[{role}]\nport = {rpc}\nhttp_port = {http}\n").expect("to a string");
    write!(
        text,
        "[security]\nca = \"{certificates}/ca.pem\"\ncert = \"{certificates}/{role}.pem\"\n\
         key = \"{certificates}/{role}.key\"\n\
         [metastore]\nendpoints = \"{endpoints}\"\nlease_ms = {LEASE_MS}\n"
    )
    .expect("to a string");
    fs::create_dir_all(&home).expect("a directory");
    let path = home.join("rama.toml");
    fs::write(&path, text).expect("settings");
    path
}

fn daemon(dir: &Path, network: &Network, node: usize, role: &str, settings: &Path) -> Service {
    let program = rama_binary();
    let mut command = network.command(node, program.to_str().expect("a path in UTF-8"));
    command
        .arg(role)
        .arg("--config")
        .arg(settings)
        .env("RUST_BACKTRACE", "1");
    Service::start(
        format!("{role} {node}"),
        home(dir, node, role).with_extension("log"),
        command,
    )
}
