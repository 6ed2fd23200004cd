//! An etcd, a conductor and supervisors, and what an operator does with them.
//!
//! Relies on daemons as futures of one runtime: their workers are processes all the same. What must
//! stay true: ports are free ones; a test that waits for ever fails by a deadline far beyond anything
//! it waits for; nothing outlives the world.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rama_api::{Accepted, MetastoreAddress, ModuleStatus, Operation, Outcome, SecurityFiles};
use rama_coordinator::artifacts::{TrustRoots, hash_of};
use rama_coordinator::cores::Topology;
use rama_coordinator::daemon::{Identity, Listen, conductor, supervisor};
use rama_coordinator::ports::PortRange;
use rama_gateway::config::resources::Resources;
use rama_metastore::{Etcd, EtcdConfig, EtcdMember, EtcdServer, Space, free_ports};
use rama_net::Role;
use rama_planner::place::Scheduler;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::certificates::Authority;
use crate::client::{Client, Quic};

/// Anything a test waits for takes far less.
const PATIENCE: Duration = Duration::from_secs(120);

const LEASE: Duration = Duration::from_secs(5);

pub struct World {
    _dir: TempDir,
    runtime: tokio::runtime::Runtime,
    stop: watch::Sender<bool>,
    daemons: Vec<JoinHandle<()>>,
    /// Who asks, where certificates are wanted.
    operator: Option<Quic>,
    conductor: Ports,
    nodes: Vec<(PathBuf, Ports)>,
    _etcd: EtcdServer,
}

/// Where a daemon answers.
#[derive(Clone, Copy)]
pub struct Ports {
    /// Requests over QUIC.
    pub rpc: u16,
    /// HTTP.
    pub http: u16,
}

impl Ports {
    fn free() -> Ports {
        let [rpc, http] = free_ports().expect("free ports");
        Ports { rpc, http }
    }
}

fn listen(ports: Ports) -> Listen {
    Listen {
        bind: Ipv4Addr::LOCALHOST.into(),
        rpc_port: ports.rpc,
        http_port: ports.http,
        host_internal: "127.0.0.1".into(),
        host_external: "127.0.0.1".into(),
    }
}

impl World {
    /// A cluster with so many nodes, where nobody proves anything.
    pub fn start(nodes: usize) -> World {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        World::begin(dir, nodes, None)
    }

    /// A cluster that wants certificates of everyone.
    pub fn start_secure(nodes: usize) -> (World, Authority) {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let authority = Authority::new(dir.path());
        (World::begin(dir, nodes, Some(&authority)), authority)
    }

    fn begin(dir: TempDir, nodes: usize, authority: Option<&Authority>) -> World {
        let [client, peer] = free_ports().expect("free ports");
        let member = EtcdMember::single(dir.path().join("etcd"), client, peer);
        let endpoint = member.endpoint();
        let mut etcd = member.start().expect("etcd starts");
        etcd.wait_ready().expect("etcd serves");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let config = EtcdConfig::new([endpoint.clone()]);
        let store = runtime
            .block_on(Etcd::connect(config))
            .expect("a metastore");
        let (stop, _) = watch::channel(false);
        let operator = authority.map(|authority| {
            let holder = authority.outsider("operator", &[Role::Operator]);
            Quic::new(runtime.handle(), &holder, Role::Operator)
        });
        let mut world = World {
            _dir: dir,
            runtime,
            stop,
            daemons: Vec::new(),
            operator,
            conductor: Ports::free(),
            nodes: Vec::new(),
            _etcd: etcd,
        };
        world.start_conductor(&store, authority);
        for node in 0..nodes {
            world.start_supervisor(node, &store, &endpoint, authority);
        }
        world.until("all nodes are there", || {
            let status = world.conductor().get("/v1/cluster");
            status.is_ok_and(|status| {
                status["supervisors"] == json!(nodes) && !status["conductor"].is_null()
            })
        });
        world
    }

    fn start_conductor(&mut self, store: &Etcd, authority: Option<&Authority>) {
        let home = self._dir.path().join("conductor");
        let identity = match authority {
            Some(authority) => {
                let (identity, _) = authority.daemon("conductor", &[Role::Conductor]);
                self.with_tokens(identity)
            }
            None => Identity::claimed(&home).expect("an identity"),
        };
        let settings = conductor::Settings {
            identity,
            listen: listen(self.conductor),
            store: store.clone(),
            space: Space::new("rama").expect("a root"),
            lease: LEASE,
            dir: home,
            scheduler: Scheduler::Dev,
            roots: TrustRoots::default(),
        };
        self.daemon(|stopped| conductor::run(settings, stopped));
    }

    fn with_tokens(&self, identity: Identity) -> Identity {
        let identity = identity.with_tokens(&self.token_file());
        identity.expect("a file of tokens, or none")
    }

    fn start_supervisor(
        &mut self,
        node: usize,
        store: &Etcd,
        endpoint: &str,
        authority: Option<&Authority>,
    ) {
        let name = format!("node-{node}");
        let (ports, home) = (Ports::free(), self._dir.path().join(&name));
        let (identity, certificates) = match authority {
            Some(authority) => {
                let daemon = authority.daemon(&name, &[Role::Supervisor, Role::Worker]);
                (self.with_tokens(daemon.0), daemon.1)
            }
            None => {
                let identity = Identity::claimed(&home).expect("an identity");
                (identity, SecurityFiles::InsecureLoopback)
            }
        };
        let settings = supervisor::Settings {
            identity,
            listen: listen(ports),
            store: store.clone(),
            space: Space::new("rama").expect("a root"),
            lease: LEASE,
            dir: home.clone(),
            labels: BTreeSet::new(),
            cores: 2,
            // Several nodes on one machine: none of them may believe that it has it for itself.
            topology: Topology::default(),
            ports: PortRange::new([0, 0]),
            resources: Resources::default(),
            memory_bytes: 1 << 30,
            roots: TrustRoots::default(),
            metastore: MetastoreAddress {
                endpoints: vec![endpoint.to_owned()],
                root: "rama".into(),
                lease_ms: LEASE.as_millis() as u64,
                user: None,
                password_file: None,
                authority: None,
                certificate: None,
                key: None,
            },
            certificates,
        };
        self.daemon(|stopped| supervisor::run(settings, stopped));
        self.nodes.push((home, ports));
    }

    fn daemon<F, E>(
        &mut self,
        run: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> F,
    ) where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Debug,
    {
        let mut stopped = self.stop.subscribe();
        let stopped = Box::pin(async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        let running = run(stopped);
        self.daemons.push(self.runtime.spawn(async move {
            running.await.expect("a daemon ends well");
        }));
    }

    /// The conductor, asked by the operator.
    pub fn conductor(&self) -> Client {
        self.client(self.conductor)
    }

    /// A supervisor, asked by the operator.
    pub fn supervisor(&self, node: usize) -> Client {
        self.client(self.nodes[node].1)
    }

    fn client(&self, ports: Ports) -> Client {
        match &self.operator {
            Some(operator) => operator.at(ports.rpc),
            None => Client::Http(ports.http),
        }
    }

    /// Where tokens are kept, when certificates are wanted.
    pub fn token_file(&self) -> PathBuf {
        self._dir.path().join("tokens.toml")
    }

    /// A directory for whatever a test needs.
    pub fn directory(&self, name: &str) -> PathBuf {
        self._dir.path().join(name)
    }

    /// Where the conductor answers.
    pub fn conductor_ports(&self) -> Ports {
        self.conductor
    }

    /// Home and ports of each node.
    pub fn nodes(&self) -> &[(PathBuf, Ports)] {
        &self.nodes
    }

    /// Where connections of others than the operator live.
    pub fn runtime(&self) -> &Handle {
        self.runtime.handle()
    }

    /// What the conductor answers.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let answer = self.conductor().get(path).expect("an answer");
        serde_json::from_value(answer).expect("of the right kind")
    }

    /// Asks until it is so.
    pub fn until(&self, what: &str, done: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{what}: did not come true");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Begins a launch; the operation, or why it is refused.
    pub fn try_launch(
        &self,
        program: &Path,
        module: &str,
        shape: Value,
    ) -> Result<Accepted, String> {
        let artifact = hash_of(program).expect("a program");
        let bytes = std::fs::read(program).expect("a program");
        self.conductor()
            .put(&format!("/v1/artifacts/{artifact}"), bytes);
        let described = std::process::Command::new(program).arg("describe").output();
        let manifest: Value =
            serde_json::from_slice(&described.expect("it runs").stdout).expect("a manifest");
        let mut deploy = json!({
            "action": "launch", "module": module, "artifact": artifact, "manifest": manifest,
        });
        for (name, value) in shape.as_object().expect("numbers") {
            deploy[name] = value.clone();
        }
        let answer = self.conductor().post("/v1/modules", &deploy);
        match answer {
            Ok(accepted) => Ok(serde_json::from_value(accepted).expect("accepted")),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    /// Launches and waits until it serves; the instance.
    pub fn launch(&self, program: &Path, module: &str, shape: Value) -> Uuid {
        let accepted = self.try_launch(program, module, shape).expect("it begins");
        self.succeeds(accepted.operation);
        let path = format!("/v1/modules/{module}");
        self.until("the module serves", || {
            let status: ModuleStatus = self.get(&path);
            status.module_state == "RUNNING" && status.detail.is_empty()
        });
        accepted.instance.expect("a launch makes an instance")
    }

    /// Waits for the good end of an operation.
    fn succeeds(&self, operation: Uuid) {
        let path = format!("/v1/operations/{operation}");
        self.until("the operation ends", || {
            let operation: Operation = self.get(&path);
            operation.outcome.is_some()
        });
        let ended: Operation = self.get(&path);
        assert_eq!(ended.outcome, Some(Outcome::Succeeded), "{ended:?}");
    }

    /// Destroys a module and waits until it is gone.
    pub fn destroy(&self, module: &str) {
        let answer = self.conductor().delete(&format!("/v1/modules/{module}"));
        let accepted: Accepted =
            serde_json::from_value(answer.expect("it begins")).expect("accepted");
        self.succeeds(accepted.operation);
        let status = self.conductor().get(&format!("/v1/modules/{module}"));
        assert!(
            format!("{status:?}").contains("unknown_module"),
            "{status:?}"
        );
    }

    /// Ends the daemons.
    pub fn stop(mut self) {
        self.stop.send_replace(true);
        for daemon in std::mem::take(&mut self.daemons) {
            self.runtime.block_on(daemon).expect("a daemon ends");
        }
    }
}

impl Drop for World {
    /// What workers wrote tells why a test failed.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for (dir, _) in &self.nodes {
            let logs = std::fs::read_dir(dir.join("supervisor/logs"));
            for log in logs.into_iter().flatten().flatten() {
                let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                println!("{}:\n{text}", log.path().display());
            }
        }
    }
}
