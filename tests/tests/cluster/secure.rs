//! A cluster that wants certificates.
//!
//! Relies on the world with an authority of its own. What must stay true: each role gets what is
//! its own and no more, whoever has no certificate gets nothing, and plain HTTP answers health alone.

use rama::{ClientConfig, Cluster};
use rama_net::Role;
use rama_tests::binary;
use rama_tests::http::{CallError, Http};
use serde_json::json;
use word_count::{LINES, WordCount};

use crate::client::{Client, Quic};
use crate::world::World;
use crate::{APPEND, COUNT};

fn refusal(answer: Result<serde_json::Value, CallError>) -> String {
    match answer {
        Err(CallError::Refused(_, text)) => text,
        other => panic!("it is not refused: {other:?}"),
    }
}

#[test]
fn with_certificates_each_role_gets_its_own_and_no_more() {
    let (world, authority) = World::start_secure(1);
    let shape = json!({"tasks": 4, "threads": 2, "workers": 1});
    world.launch(&binary("word_count"), "WordCount", shape);
    let line = json!({"data": "to be or not to be", "ackLevel": "appendAck"});

    // The operator and a client, through the supervisor, to a worker that proves itself too.
    let holder = authority.outsider("client", &[Role::Client]);
    let client = Quic::new(world.runtime(), &holder, Role::Client);
    let (conductor, node) = (world.conductor_ports(), world.nodes()[0].1);
    world.supervisor(0).post(APPEND, &line).expect("appended");
    client.at(node.rpc).post(APPEND, &line).expect("appended");
    world.until("all is counted", || {
        client.at(node.rpc).post(COUNT, &json!(["be"])).ok() == Some(json!(4))
    });

    // A program that names the supervisor alone and shows the files of a certificate.
    let files = authority.files("program", &[Role::Client]);
    let config = ClientConfig::at(format!("localhost:{}", node.rpc));
    let config = config.certificates(files.authority, files.certificate, files.key);
    let cluster = rama::block_on(Cluster::connect(config)).expect("a cluster");
    let words = rama::block_on(cluster.open(&WordCount)).expect("it runs");
    let appended = words.depot(LINES).append(&"to be or not to be".to_owned());
    rama::block_on(appended).expect("appended");
    drop((cluster, words));

    // What is an operator's alone.
    let text = refusal(client.at(conductor.rpc).get("/v1/cluster"));
    assert!(
        text.contains("client may not ask for GET /v1/cluster"),
        "{text}"
    );
    refusal(client.at(conductor.rpc).delete("/v1/modules/WordCount"));
    refusal(client.at(conductor.rpc).post("/v1/modules", &json!({})));

    // Nobody.
    let nobody = Quic::new(world.runtime(), &authority.nobody(), Role::Operator);
    for port in [conductor.rpc, node.rpc] {
        let answer = nobody.at(port).get("/v1/cluster");
        assert!(matches!(answer, Err(CallError::Unknown(_))), "{answer:?}");
    }

    // Plain HTTP.
    for ports in [conductor, node] {
        assert!(Http::new(format!("http://127.0.0.1:{}", ports.http)).ready());
        let http = Client::Http(ports.http);
        for path in ["/v1/cluster", "/v1/modules/WordCount/routes"] {
            let text = refusal(http.get(path));
            assert!(text.contains("wants certificates"), "{text}");
        }
        refusal(http.post(APPEND, &line));
    }
    world.destroy("WordCount");
    world.stop();
}
