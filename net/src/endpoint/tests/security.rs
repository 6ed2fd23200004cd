//! Certificates, clusters, versions and roles: what is let in and how the rest is told.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rama_wire::session::{Role, Roles, StreamHeader, Versions};
use uuid::Uuid;

use super::{echo, pair, round_trip};
use crate::certificates::CertificateAuthority;
use crate::testing::{World, chain, dial, insecure, on_tokio, worp};
use crate::{Dial, Endpoint, NetError, Security, StreamError};

async fn refusal(client: &Endpoint, dial: &Dial) -> String {
    let error = client.connect(dial).await.err().expect("it is refused");
    chain(&error)
}

#[test]
fn both_sides_know_each_other_by_certificate() {
    on_tokio(async {
        let world = World::new();
        let (server, client) = pair(&world);
        assert_eq!(round_trip(&client, &server, "hello").await, "hello");
        let dial = dial(&server, Role::Conductor);
        let connection = client.connect(&dial).await.unwrap();
        assert_eq!(connection.peer().role, Role::Conductor);
        assert_eq!(connection.peer().version, Versions::OURS.max);
        assert!(connection.is_open());
    });
}

#[test]
fn a_process_of_another_cluster_is_refused_with_both_clusters_named() {
    on_tokio(async {
        let (ours, theirs) = (World::new(), World::new());
        let (server, _) = pair(&ours);
        let client = theirs.endpoint(Role::Client);
        let text = refusal(&client, &dial(&server, Role::Conductor)).await;
        for cluster in [ours.cluster, theirs.cluster] {
            assert!(text.contains(&cluster.to_string()), "{text}");
        }
        let server = Endpoint::on_tokio(insecure(ours.cluster, Role::Conductor)).unwrap();
        let client = Endpoint::on_tokio(insecure(theirs.cluster, Role::Client)).unwrap();
        let text = refusal(&client, &dial(&server, Role::Conductor)).await;
        for cluster in [ours.cluster, theirs.cluster] {
            assert!(text.contains(&cluster.to_string()), "{text}");
        }
    });
}

#[test]
fn without_certificates_a_program_from_outside_need_not_know_the_cluster() {
    on_tokio(async {
        let world = World::new();
        let server = Endpoint::on_tokio(insecure(world.cluster, Role::Conductor)).unwrap();
        let conductor = dial(&server, Role::Conductor);
        for role in [Role::Client, Role::Operator] {
            let client = Endpoint::on_tokio(insecure(Uuid::nil(), role)).unwrap();
            client.connect(&conductor).await.unwrap();
        }
        let worker = Endpoint::on_tokio(insecure(Uuid::nil(), Role::Worker)).unwrap();
        let text = refusal(&worker, &conductor).await;
        assert!(text.contains(&world.cluster.to_string()), "{text}");
    });
}

#[test]
fn versions_without_a_common_one_are_refused_with_both_named() {
    on_tokio(async {
        let world = World::new();
        let (server, _) = pair(&world);
        let mut config = world.config(Role::Client);
        config.versions = Versions { min: 7, max: 9 };
        let client = Endpoint::on_tokio(config).unwrap();
        let error = client.connect(&dial(&server, Role::Conductor)).await;
        let error = error.err().expect("it is refused");
        assert!(matches!(error.root(), NetError::Version { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("wire version 1") && text.contains("7 to 9"),
            "{text}"
        );
    });
}

#[test]
fn nobody_gets_in_without_a_certificate_and_the_certified_do_not_go_out_to_them() {
    on_tokio(async {
        let world = World::new();
        let (server, client) = pair(&world);
        let stranger = Endpoint::on_tokio(insecure(world.cluster, Role::Client)).unwrap();
        let text = refusal(&stranger, &dial(&server, Role::Conductor)).await;
        assert!(text.contains("certificate"), "{text}");
        let open = Endpoint::on_tokio(insecure(world.cluster, Role::Conductor)).unwrap();
        let text = refusal(&client, &dial(&open, Role::Conductor)).await;
        assert!(text.contains("rama://<cluster>/<role>/<node>"), "{text}");
    });
}

#[test]
fn a_peer_of_another_role_or_node_than_wanted_is_not_spoken_to() {
    on_tokio(async {
        let world = World::new();
        let (server, client) = pair(&world);
        let text = refusal(&client, &dial(&server, Role::Worker)).await;
        assert!(
            text.contains("expected a worker, found a conductor"),
            "{text}"
        );
        let elsewhere = Dial {
            node: Some(Uuid::nil()),
            roles: Roles::ALL,
            ..dial(&server, Role::Conductor)
        };
        // Also over the connection that is open already.
        round_trip(&client, &server, "open").await;
        let text = refusal(&client, &elsewhere).await;
        assert!(text.contains(&Uuid::nil().to_string()), "{text}");
    });
}

#[test]
fn an_endpoint_must_be_what_its_certificate_says() {
    let world = World::new();
    let mut config = world.config(Role::Client);
    config.role = Role::Conductor;
    let error = Endpoint::on_tokio(config).err().unwrap();
    assert!(error.to_string().contains("one for client"), "{error}");
}

#[test]
fn without_certificates_only_loopback_is_bound_and_dialled() {
    on_tokio(async {
        let mut config = insecure(Uuid::nil(), Role::Client);
        config.bind = "0.0.0.0:0".parse().unwrap();
        let error = Endpoint::on_tokio(config).err().unwrap();
        assert!(error.to_string().contains("rama certs"), "{error}");
        let client = Endpoint::on_tokio(insecure(Uuid::nil(), Role::Client)).unwrap();
        let dial = Dial::role("192.0.2.1:1".parse().unwrap(), Role::Worker);
        let error = client.connect(&dial).await.err().unwrap();
        assert!(matches!(error, NetError::InsecureAddress(_)), "{error}");
    });
}

#[test]
fn streams_are_for_the_roles_and_incarnations_they_are_for() {
    on_tokio(async {
        let world = World::new();
        let config = world.config(Role::Worker);
        let ours = config.incarnation;
        let server = Endpoint::on_tokio(config).unwrap();
        tokio::spawn(echo(server.clone()));
        let dial = dial(&server, Role::Worker);
        let client = world.endpoint(Role::Client);
        let (_sender, mut receiver) = client.open(&dial, &worp(0, ours)).await.unwrap();
        assert_eq!(receiver.recv().await, Err(StreamError::Forbidden));
        let config = world.config(Role::Worker);
        let own = config.incarnation;
        let worker = Endpoint::on_tokio(config).unwrap();
        for (source, destination) in [(own, ours + 1), (own + 1, ours)] {
            let header = worp(source, destination);
            let (_sender, mut receiver) = worker.open(&dial, &header).await.unwrap();
            assert_eq!(receiver.recv().await, Err(StreamError::Fenced));
        }
        let (sender, mut receiver) = worker.open(&dial, &worp(own, ours)).await.unwrap();
        sender.send("ok").await.unwrap();
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "ok");
    });
}

/// Packets that are none of ours change nothing for anybody else.
#[test]
fn random_datagrams_do_not_disturb_an_endpoint() {
    on_tokio(async {
        let world = World::new();
        let (server, client) = pair(&world);
        let socket = UdpSocket::bind(crate::testing::ANY).unwrap();
        let mut state: u64 = 0x5eed_0005;
        for _ in 0..2_000 {
            let len = (state % 1400) as usize;
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            socket
                .send_to(&bytes, server.local_address().unwrap())
                .unwrap();
        }
        assert_eq!(
            round_trip(&client, &server, "still here").await,
            "still here"
        );
    });
}

/// Streams open before a rotation go on, requests made during it are all answered, and connections
/// made after it use the new certificates.
#[test]
fn rotation_loses_no_request_and_no_connection() {
    on_tokio(async {
        let world = World::new();
        let configs = [world.config(Role::Conductor), world.config(Role::Client)];
        let nodes = configs.each_ref().map(|config| (config.role, config.node));
        let secured = configs.each_ref().map(|config| config.security.clone());
        let credentials = secured.map(|security| match security {
            Security::Mutual(credentials) => credentials,
            Security::InsecureLoopback => unreachable!(),
        });
        let [server, client] = configs.map(|config| Endpoint::on_tokio(config).unwrap());
        tokio::spawn(echo(server.clone()));
        let dial = dial(&server, Role::Conductor);
        let before = client.connect(&dial).await.unwrap();
        let (sender, mut receiver) = before.open(&StreamHeader::Rpc).await.unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let (ended, busy, at) = (done.clone(), client.clone(), server.clone());
        let requests = tokio::spawn(async move {
            let mut answered = 0u64;
            while !ended.load(Ordering::Relaxed) {
                let text = format!("request {answered}");
                assert_eq!(round_trip(&busy, &at, &text).await, text);
                answered += 1;
            }
            answered
        });
        for _ in 0..5 {
            for ((role, node), credentials) in nodes.iter().zip(&credentials) {
                let former = credentials.generation();
                world.issue(*role, *node);
                credentials.refresh().unwrap();
                // The busy task looks as well, and may have found one file before the other.
                assert!(credentials.generation() > former);
            }
            // A request of this round, so that each certificate is used.
            round_trip(&client, &server, "round").await;
            let connection = client.connect(&dial).await.unwrap();
            assert_eq!(connection.generation(), credentials[1].generation());
            sender.send("still").await.unwrap();
            assert_eq!(receiver.recv().await.unwrap().unwrap(), "still");
        }
        done.store(true, Ordering::Relaxed);
        assert!(requests.await.unwrap() > 0);
        assert!(before.is_open() && before.generation() == 0);
    });
}

/// Both trust both authorities, then show certificates of the new one, then forget the old one:
/// one file of one process after the other, while requests are made.
#[test]
fn an_authority_is_replaced_without_a_lost_request() {
    on_tokio(async {
        let world = World::new();
        let dir = tempfile::tempdir().unwrap();
        let next = CertificateAuthority::create(dir.path(), world.cluster, 100).unwrap();
        let both = world.authority.certificate().to_owned() + next.certificate();
        let trust = world.authority_file();
        let configs = [world.config(Role::Conductor), world.config(Role::Client)];
        let nodes = configs.each_ref().map(|config| (config.role, config.node));
        let securities = configs.each_ref().map(|config| config.security.clone());
        let [server, client] = configs.map(|config| Endpoint::on_tokio(config).unwrap());
        tokio::spawn(echo(server.clone()));
        // It may have been done already, by a handshake that looked at the files.
        let read = |security: &Security| match security {
            Security::Mutual(credentials) => credentials.refresh().unwrap(),
            Security::InsecureLoopback => unreachable!(),
        };
        let mut answered = 0;
        let mut ask = async || {
            answered += 1;
            let text = format!("request {answered}");
            assert_eq!(round_trip(&client, &server, &text).await, text);
        };
        ask().await;
        std::fs::write(&trust, both).unwrap();
        for security in &securities {
            read(security);
            ask().await;
        }
        for ((role, node), security) in nodes.iter().zip(&securities) {
            world.issue_by(&next, *role, *node);
            read(security);
            ask().await;
        }
        std::fs::write(&trust, next.certificate()).unwrap();
        for security in &securities {
            read(security);
            ask().await;
        }
        assert!(securities.iter().all(|security| security.generation() >= 3));
        // Who still shows a certificate of the old authority is out.
        let late = world.issue(Role::Client, Uuid::new_v4());
        assert!(crate::credentials::Credentials::load(late).is_err());
    });
}
