//! Programs on their way from a conductor, or another node, to a supervisor that wants signatures.
//!
//! Relies on a whole conductor over an embedded metastore, asked over QUIC.

use std::time::Duration;

use axum::http::Method;
use rama_metastore::{Embedded, Space};
use rama_net::certificates::hexadecimal;
use rama_net::{EndpointConfig, Security, StreamHeader};
use rama_planner::place::Scheduler;
use rama_planner::records::Supervisor;
use rama_planner::view::{Event, View};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value as Json, json};

use super::*;
use crate::artifacts::TrustRoots;
use crate::daemon::conductor as office;
use crate::daemon::{Identity, Listen};
use crate::snapshot::{self, Snapshot};

const ME: NodeId = NodeId(uuid::Uuid::from_u128(1));
const OTHER: NodeId = NodeId(uuid::Uuid::from_u128(2));
const PROGRAM: &[u8] = b"#!/bin/sh\nexit 0\n";

fn pair() -> Ed25519KeyPair {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
}

fn roots(pair: &Ed25519KeyPair) -> TrustRoots {
    TrustRoots::parse([hexadecimal(pair.public_key().as_ref()).as_str()]).unwrap()
}

/// A conductor, and a supervisor's way to it.
struct World {
    dir: tempfile::TempDir,
    endpoint: Endpoint,
    operator: Endpoint,
    snapshots: Snapshots,
    dial: Dial,
    conductor: tokio::task::JoinHandle<()>,
}

impl World {
    async fn start(roots: TrustRoots) -> World {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path().join("metastore")).await.unwrap();
        let space = Space::new("rama").unwrap();
        let settings = office::Settings {
            identity: Identity::claimed(&dir.path().join("conductor")).unwrap(),
            listen: Listen {
                bind: [127, 0, 0, 1].into(),
                rpc_port: 0,
                http_port: 0,
                host_internal: "127.0.0.1".into(),
                host_external: "127.0.0.1".into(),
            },
            store: store.clone(),
            space: space.clone(),
            lease: Duration::from_secs(5),
            dir: dir.path().to_owned(),
            scheduler: Scheduler::Dev,
            roots,
        };
        let conductor = tokio::spawn(async {
            let ended = office::run(settings, std::future::pending()).await;
            ended.unwrap();
        });
        let (mut snapshots, _follower) = snapshot::follow(&store, &space);
        let office =
            |snapshot: &Arc<snapshot::Snapshot>| snapshot.view.value(&Key::Conductor).is_some();
        snapshots.wait_for(office).await.unwrap();
        let endpoint = |role| {
            let bind = ([127, 0, 0, 1], 0).into();
            let node = uuid::Uuid::new_v4();
            let security = Security::InsecureLoopback;
            let config = EndpointConfig::new(bind, security, uuid::Uuid::nil(), node, role, 1);
            Endpoint::on_tokio(config).unwrap()
        };
        let dial = super::conductor(&snapshots).await.unwrap();
        World {
            endpoint: endpoint(Role::Supervisor),
            operator: endpoint(Role::Operator),
            dir,
            snapshots,
            dial,
            conductor,
        }
    }

    /// What an operator is answered: the status, and what it says.
    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> (u16, Json) {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::from(body)).unwrap();
        let answer = rama_rpc::request(&self.operator, &self.dial, request).await;
        let (head, body) = answer.unwrap().into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        let said = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
        (head.status.as_u16(), said)
    }

    async fn upload(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, PROGRAM);
        let name = hexadecimal(digest.as_ref());
        let path = paths::fill(paths::ARTIFACT, &[&name]);
        let (status, said) = self.ask(Method::PUT, &path, PROGRAM.to_vec()).await;
        assert_eq!(status, 201, "{said}");
        name
    }

    async fn sign(&self, name: &str, pair: &Ed25519KeyPair) -> (u16, Json) {
        let signature = hexadecimal(pair.sign(name.as_bytes()).as_ref());
        let body = json!({"signature": signature}).to_string().into_bytes();
        let path = paths::fill(paths::SIGNATURE, &[name]);
        self.ask(Method::PUT, &path, body).await
    }

    /// What a supervisor says to a program before it runs it.
    async fn fetched(&self, node: &str, roots: TrustRoots, name: &str) -> Result<(), String> {
        let artifacts = Artifacts::open(&self.dir.path().join(node), roots).unwrap();
        let fetch = fetch(self.endpoint.clone(), self.snapshots.clone(), ME);
        crate::machine::fetched(artifacts, fetch, name.to_owned()).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.conductor.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_runs_what_a_trusted_key_has_signed_and_nothing_else() {
    let world = World::start(TrustRoots::default()).await;
    let (trusted, stranger) = (pair(), pair());
    let name = world.upload().await;
    world
        .fetched("any", TrustRoots::default(), &name)
        .await
        .unwrap();

    let missing = world
        .fetched("node", roots(&trusted), &name)
        .await
        .unwrap_err();
    assert!(missing.contains("is not signed"), "{missing}");
    assert_eq!(world.sign(&name, &stranger).await.0, 201);
    let forged = world
        .fetched("node", roots(&trusted), &name)
        .await
        .unwrap_err();
    assert!(forged.contains("no trusted key has signed it"), "{forged}");
    // Signed after it came.
    assert_eq!(world.sign(&name, &trusted).await.0, 201);
    world.fetched("node", roots(&trusted), &name).await.unwrap();
    world.fetched("new", roots(&trusted), &name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conductor_with_trust_roots_takes_no_forged_signature_and_launches_nothing_unsigned() {
    let (trusted, stranger) = (pair(), pair());
    let world = World::start(roots(&trusted)).await;
    let name = world.upload().await;
    let deploy = json!({
        "action": "launch", "module": "M", "artifact": name,
        "manifest": {"module": "M", "cluster": true},
        "tasks": 4, "threads": 2, "workers": 1,
    });
    let launch = async || {
        let body = deploy.to_string().into_bytes();
        world.ask(Method::POST, paths::MODULES, body).await
    };
    let (status, said) = launch().await;
    assert_eq!(
        (status, said["code"].as_str()),
        (409, Some("rejected")),
        "{said}"
    );
    assert!(
        said["detail"].as_str().unwrap().contains("is not signed"),
        "{said}"
    );
    let (status, said) = world.sign(&name, &stranger).await;
    assert_eq!(
        (status, said["code"].as_str()),
        (409, Some("rejected")),
        "{said}"
    );
    let path = paths::fill(paths::SIGNATURE, &[&name]);
    let short = br#"{"signature": "ab"}"#.to_vec();
    let (status, said) = world.ask(Method::PUT, &path, short).await;
    assert_eq!(
        (status, said["code"].as_str()),
        (400, Some("invalid")),
        "{said}"
    );
    assert_eq!(world.sign(&name, &trusted).await.0, 201);
    // What it lacks now are nodes.
    let (_, said) = launch().await;
    assert!(!said.to_string().contains("sign"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_told_apart_from_what_is_not_alive() {
    let world = World::start(TrustRoots::default()).await;
    for path in [
        "/v1/modules/Nope",
        "/v1/modules/Nope/options",
        "/rest/Nope",
        "/v1/modules/Nope/instances/00000000-0000-0000-0000-000000000001",
    ] {
        let (status, said) = world.ask(Method::GET, path, Vec::new()).await;
        assert_eq!(
            (status, said["code"].as_str()),
            (404, Some("unknown_module")),
            "{path}"
        );
    }
    let (status, said) = world
        .ask(Method::DELETE, "/v1/modules/Nope", Vec::new())
        .await;
    assert_eq!(
        (status, said["code"].as_str()),
        (404, Some("unknown_module")),
        "{said}"
    );
    let (status, said) = world.ask(Method::GET, "/v1/nothing", Vec::new()).await;
    assert_eq!(
        (status, said["code"].as_str()),
        (404, Some("not_found")),
        "{said}"
    );
    let (status, said) = world.ask(Method::PUT, "/v1/modules", Vec::new()).await;
    assert_eq!(
        (status, said["code"].as_str()),
        (405, Some("method")),
        "{said}"
    );
    // The longest request of an operator is told, and nothing of a longer one is kept.
    let long = vec![b' '; (1 << 20) + 1];
    let (status, said) = world.ask(Method::POST, "/v1/modules", long).await;
    assert_eq!(
        (status, said["code"].as_str()),
        (413, Some("too_large")),
        "{said}"
    );
}

/// An endpoint of a node that nobody proves.
fn node(id: NodeId) -> Endpoint {
    let (bind, security) = (([127, 0, 0, 1], 0).into(), Security::InsecureLoopback);
    let cluster = uuid::Uuid::nil();
    let config = EndpointConfig::new(bind, security, cluster, id.0, Role::Supervisor, 1);
    Endpoint::on_tokio(config).unwrap()
}

/// A cluster without a conductor, where one other node is registered.
fn without_conductor(port: u16) -> Snapshots {
    let process = Process {
        host_internal: "127.0.0.1".into(),
        rpc_port: port,
        ..Process::default()
    };
    let supervisor = Supervisor {
        process,
        ..Supervisor::default()
    };
    let mut view = View::default();
    view.apply(Event {
        revision: 1,
        key: Key::Supervisor(OTHER),
        value: Some(Value::Supervisor(supervisor)),
    });
    let snapshot = Snapshot {
        view,
        ..Snapshot::default()
    };
    tokio::sync::watch::channel(Arc::new(snapshot)).1
}

/// A node that lost its disk gets its programs back while nobody is the conductor, but nothing that is
/// forged: neither bytes under a wrong name nor a signature of a stranger.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_conductor_programs_come_from_another_node() {
    let (dir, trusted) = (tempfile::tempdir().unwrap(), pair());
    let held = Artifacts::open(&dir.path().join("other"), roots(&trusted)).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, PROGRAM);
    let name = hexadecimal(digest.as_ref());
    let mut upload = held.begin(&name).unwrap();
    upload.write(PROGRAM).unwrap();
    let stored = upload.finish().unwrap();
    let other = node(OTHER);
    let snapshots = without_conductor(other.local_address().unwrap().port());
    let files = served(&held).unwrap();
    let serving = tokio::spawn(async move {
        while let Some(accepted) = other.accept().await {
            assert_eq!(accepted.header, StreamHeader::Weft);
            // A file that is not there ends it early.
            let _ = files.serve(accepted).await;
        }
    });
    let me = node(ME);
    let fetched = async |directory: &str| {
        let artifacts = Artifacts::open(&dir.path().join(directory), roots(&trusted)).unwrap();
        let fetch = fetch(me.clone(), snapshots.clone(), ME);
        crate::machine::fetched(artifacts, fetch, name.clone()).await
    };
    fetched("unsigned").await.unwrap_err();
    std::fs::write(held.signature(&name).unwrap(), pair().sign(name.as_bytes())).unwrap();
    fetched("forged").await.unwrap_err();
    let signature = hexadecimal(trusted.sign(name.as_bytes()).as_ref());
    held.sign(&name, &signature).unwrap();
    fetched("signed").await.unwrap();
    std::fs::write(stored, "something else").unwrap();
    fetched("changed").await.unwrap_err();
    serving.abort();
}
