//! Nodes with a network of their own each, joined by a bridge.
//!
//! Relies on `ip` (iproute2), and on `nsenter` and `unshare` (util-linux). A node is a process that
//! holds its namespace, so nothing has a name that could be left behind. What must stay true: a cut
//! node reaches nobody and keeps its processes; the test itself is on the bridge and reaches every node.

use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::apart::Ground;

/// The test's own address on the bridge.
const HUB: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// All nodes.
pub struct Network {
    nodes: Vec<Node>,
}

struct Node {
    address: Ipv4Addr,
    /// Holds the namespace; none on loopback.
    holder: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            // Fails only when it has ended.
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}

/// Runs a tool that has to work.
pub fn must(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn ip(arguments: &str) {
    must(Command::new("ip").args(arguments.split_whitespace()));
}

impl Network {
    /// So many nodes.
    pub fn new(ground: Ground, nodes: u8) -> Network {
        if ground == Ground::Loopback {
            let node = |number: u8| Node {
                address: Ipv4Addr::new(127, 0, 77, 11 + number),
                holder: None,
            };
            let nodes = (0..nodes).map(node).collect();
            return Network { nodes };
        }
        ip("link set lo up");
        ip("link add hub type bridge");
        ip(&format!("addr add {HUB}/24 dev hub"));
        ip("link set hub up");
        let nodes = (0..nodes).map(Node::in_a_namespace).collect();
        Network { nodes }
    }

    /// Where a node is.
    pub fn address(&self, node: usize) -> Ipv4Addr {
        self.nodes[node].address
    }

    /// Which node is there.
    pub fn at(&self, host: &str) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.address.to_string() == host)
    }

    /// A command that runs on a node. Its process is the one that is started.
    pub fn command(&self, node: usize, program: &str) -> Command {
        self.nodes[node].command(program)
    }

    /// Whether nodes can be cut off.
    pub fn can_be_cut(&self) -> bool {
        self.nodes.iter().all(|node| node.holder.is_some())
    }

    /// Cuts a node off.
    pub fn cut(&self, node: usize) {
        ip(&format!("link set v{node} down"));
    }

    /// Joins it again.
    pub fn join(&self, node: usize) {
        ip(&format!("link set v{node} up"));
    }

    /// Loses so many packets of a hundred, on the way into each node; whether that is possible here.
    pub fn lose(&self, percent: u32) -> Result<(), String> {
        let netem = format!("qdisc add dev eth0 root netem loss {percent}%");
        let rules = format!(
            "table inet loss {{ chain in {{ type filter hook input priority 0; \
             iifname eth0 numgen random mod 100 < {percent} drop; }}; }};"
        );
        for node in &self.nodes {
            let by_tc = tried(node.command("tc").args(netem.split_whitespace()));
            let by_nft = |_| tried(node.command("nft").arg(&rules));
            by_tc.or_else(by_nft)?;
        }
        Ok(())
    }

    /// Loses nothing any more.
    pub fn heal(&self) {
        for node in &self.nodes {
            let by_tc = tried(
                node.command("tc")
                    .args(["qdisc", "del", "dev", "eth0", "root"]),
            );
            let by_nft = |_| {
                tried(
                    node.command("nft")
                        .args(["delete", "table", "inet", "loss"]),
                )
            };
            by_tc.or_else(by_nft).expect("one of the two lost packets");
        }
    }
}

impl Node {
    fn in_a_namespace(number: u8) -> Node {
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "infinity"])
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let namespace = |pid: &str| {
            let link = std::fs::metadata(format!("/proc/{pid}/ns/net"));
            link.map(|link| link.ino()).ok()
        };
        let pid = holder.id();
        while namespace("self") == namespace(&pid.to_string()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let node = Node {
            address: Ipv4Addr::new(10, 77, 0, 11 + number),
            holder: Some(holder),
        };
        ip(&format!(
            "link add v{number} type veth peer name eth0 netns {pid}"
        ));
        ip(&format!("link set v{number} master hub up"));
        let address = format!("addr add {}/24 dev eth0", node.address);
        for arguments in ["link set lo up", &address, "link set eth0 up"] {
            must(node.command("ip").args(arguments.split_whitespace()));
        }
        node
    }

    fn command(&self, program: &str) -> Command {
        let Some(holder) = &self.holder else {
            return Command::new(program);
        };
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/proc/{}/ns/net", holder.id()))
            .arg("--")
            .arg(program);
        command
    }
}

fn tried(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(()).ok_or(said)
}
