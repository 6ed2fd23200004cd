//! A small etcd for a test: members on free ports of loopback, data in a temporary directory.
//!
//! Relies on [`EtcdServer`], which ends a member by its process id when it is dropped.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use rama_metastore::{Etcd, EtcdConfig, EtcdMember, EtcdServer, free_ports};
use tempfile::TempDir;

use crate::authority::Authority;

/// No condition takes longer to come true than this.
const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for a condition, and names it when it does not come true.
pub async fn bounded<T>(what: &str, condition: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, condition).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Members of one etcd; those that were killed are `None`.
pub struct Cluster {
    members: Vec<EtcdMember>,
    servers: Vec<Option<EtcdServer>>,
    dir: TempDir,
    secure: bool,
}

/// A member that stands still until this is dropped.
pub struct Frozen<'a>(&'a EtcdServer);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

impl Cluster {
    /// Starts so many members and waits until they serve.
    pub fn start(count: usize) -> Cluster {
        let dir = TempDir::new().unwrap();
        let ports: [u16; 6] = free_ports().unwrap();
        let peers: Vec<_> = (0..count)
            .map(|index| (format!("m{index}"), ports[index]))
            .collect();
        let members = peers
            .iter()
            .enumerate()
            .map(|(index, (name, peer_port))| EtcdMember {
                name: name.clone(),
                data_dir: dir.path().join(name),
                client_port: ports[3 + index],
                peer_port: *peer_port,
                peers: peers.clone(),
                // A loaded machine must not elect a new leader at every turn.
                args: ["--heartbeat-interval", "100", "--election-timeout", "1000"]
                    .map(String::from)
                    .to_vec(),
            });
        let members: Vec<_> = members.collect();
        let mut servers: Vec<_> = members.iter().map(|m| m.clone().start().unwrap()).collect();
        for server in &mut servers {
            server.wait_ready().unwrap();
        }
        Cluster {
            members,
            servers: servers.into_iter().map(Some).collect(),
            dir,
            secure: false,
        }
    }

    /// Where clients connect.
    pub fn endpoints(&self) -> Vec<String> {
        let endpoints = self.members.iter().map(EtcdMember::endpoint);
        match self.secure {
            true => endpoints
                .map(|plain| plain.replace("http:", "https:"))
                .collect(),
            false => endpoints.collect(),
        }
    }

    /// Where everything of this test is.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts one member that speaks TLS and wants certificates from clients. Whoever connects
    /// waits for it.
    pub fn add_secure(&mut self, authority: &Authority) {
        let [client_port, peer_port] = free_ports().unwrap();
        let data_dir = self.dir().join("secure");
        let mut member = EtcdMember::single(data_dir, client_port, peer_port);
        member.args = authority.server_args(client_port);
        self.members.push(member);
        self.servers.push(None);
        self.secure = true;
        self.restart_unready(self.members.len() - 1);
    }

    /// A client with the default settings.
    pub async fn connect(&self) -> Etcd {
        Etcd::connect(EtcdConfig::new(self.endpoints()))
            .await
            .unwrap()
    }

    /// A client whose calls last as long as the test would wait: how soon a loaded machine elects a
    /// leader is not what is tested.
    pub async fn patient(&self) -> Etcd {
        let mut config = EtcdConfig::new(self.endpoints());
        config.request_timeout = PATIENCE;
        Etcd::connect(config).await.unwrap()
    }

    /// A client that gives up soon.
    pub async fn quick(&self) -> Etcd {
        let mut config = EtcdConfig::new(self.endpoints());
        config.request_timeout = Duration::from_secs(1);
        config.attempt_timeout = Duration::from_millis(500);
        Etcd::connect(config).await.unwrap()
    }

    /// `kill -9`.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].take().unwrap().kill();
    }

    /// Starts a killed member on its data, and waits until it serves.
    pub fn restart(&mut self, index: usize) {
        self.restart_unready(index);
        let server = self.servers[index].as_mut().unwrap();
        server.wait_ready().unwrap();
    }

    /// Starts a killed member on its data.
    pub fn restart_unready(&mut self, index: usize) {
        let server = self.members[index].clone().start().unwrap();
        self.servers[index] = Some(server);
    }

    /// SIGSTOP until it is dropped.
    pub fn freeze(&self, index: usize) -> Frozen<'_> {
        let server = self.servers[index].as_ref().unwrap();
        server.freeze();
        Frozen(server)
    }

    /// Requires passwords; one user may read and write one prefix.
    pub async fn enable_auth(&self, user: &str, password: &str, prefix: &str) {
        use etcd_client::{Client, Permission};
        let mut client = Client::connect(self.endpoints(), None).await.unwrap();
        client.user_add("root", "root", None).await.unwrap();
        client.user_grant_role("root", "root").await.unwrap();
        client.role_add("prefix").await.unwrap();
        let permission = Permission::read_write(prefix).with_prefix();
        client
            .role_grant_permission("prefix", permission)
            .await
            .unwrap();
        client.user_add(user, password, None).await.unwrap();
        client.user_grant_role(user, "prefix").await.unwrap();
        client.auth_enable().await.unwrap();
    }
}
