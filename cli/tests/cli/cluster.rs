//! What shows and tunes a cluster, and how it is reached: by URL, by settings, with certificates.

use std::sync::Arc;

use rama_net::Roles;
use rama_net::certificates::{CertificateAuthority, Request};
use rama_net::credentials::{CertificatePaths, Credentials};
use rama_net::{Role, Security};
use uuid::Uuid;

use crate::command::{all, directory, run_with};
use crate::conductor::{CLUSTER, Cluster, INSTANCE, OPERATION, cluster, cluster_with, stranger_of};

/// `text` without the ports of this run.
fn steady(cluster: &Cluster, text: &str) -> String {
    let http = cluster.url.rsplit(':').next().expect("a port");
    let quic = cluster.node.port().to_string();
    text.replace(&cluster.quic.to_string(), "CONDUCTOR")
        .replace(&format!("127.0.0.1:{quic}"), "HOST:QUIC")
        .replace(&format!("127.0.0.1:{http}"), "HOST:HTTP")
        .replace(&format!("localhost:{quic}"), "INSIDE:QUIC")
        .replace(&format!("\"rpcPort\": {quic}"), "\"rpcPort\": QUIC")
        .replace(&format!("\"rpcPort\":{quic}"), "\"rpcPort\":QUIC")
        .replace(&format!("\"httpPort\": {http}"), "\"httpPort\": HTTP")
        .replace(&format!("\"httpPort\":{http}"), "\"httpPort\":HTTP")
}

/// Transcripts over HTTP, and what was asked that leaves something behind.
fn on(cluster: &Cluster, commands: &[&[&str]]) -> String {
    let seen = all(&cluster.url, commands);
    steady(cluster, &format!("{seen}\nasked:\n{}", cluster.asked()))
}

#[test]
fn a_cluster_is_shown() {
    let cluster = cluster();
    let stranger = all(
        &stranger_of(&cluster),
        &[&["supervisors"], &["modules", "--output", "json"]],
    );
    let seen = on(
        &cluster,
        &[
            &["status"],
            &["status", "--useInternalHostnames"],
            &["status", "--output", "json"],
            &["status", "WordCount"],
            &["supervisors"],
            &["supervisors", "--use-internal-hostnames"],
            &["supervisors", "--output", "json"],
            &["modules"],
            &["modules", "--output", "jsonl"],
        ],
    );
    insta::assert_snapshot!(format!("{seen}\n\n{}", steady(&cluster, &stranger)));
}

#[test]
fn a_module_is_shown_in_the_words_of_rama() {
    let instance = INSTANCE.to_string();
    let nil = Uuid::nil().to_string();
    insta::assert_snapshot!(on(
        &cluster(),
        &[
            &["module-status", "WordCount"],
            &["moduleStatus", "WordCount", "--output", "json"],
            &["moduleStatus", "Nope"],
            &["module-instance-status", "WordCount"],
            &[
                "moduleInstanceStatus",
                "WordCount",
                &instance,
                "--output",
                "json"
            ],
            &["moduleInstanceStatus", "WordCount", &nil],
            &["moduleInstanceStatus", "Odd"],
            &["moduleInstanceStatus", "WordCount", "first"],
            &["task-groups-status", "WordCount"],
            &[
                "taskGroupsStatus",
                "WordCount",
                &instance,
                "--output",
                "jsonl"
            ],
            &["taskGroupsStatus", "Nope"],
        ],
    ));
}

#[test]
fn operations_are_listed_and_cancelled() {
    let operation = OPERATION.to_string();
    let nil = Uuid::nil().to_string();
    insta::assert_snapshot!(on(
        &cluster(),
        &[
            &["operations"],
            &["operations", "--all"],
            &["operations", "--output", "jsonl"],
            &["operations", "--cancel", &operation],
            &["operations", "--cancel", &operation, "--output", "json"],
            &["operations", "--cancel", &nil],
        ],
    ));
}

#[test]
fn topologies_are_paused_and_resumed() {
    insta::assert_snapshot!(on(
        &cluster(),
        &[
            &["pause-topology", "Bank", "etl"],
            &["pauseTopology", "Bank", "etl", "--output", "json"],
            &["pauseTopology", "Bank", "counts"],
            &["pauseTopology", "Nope", "etl"],
            &["resume-topology", "Bank", "etl"],
            &["resumeTopology", "Bank", "etl", "--output", "jsonl"],
            &["resumeTopology", "Nope", "etl"],
        ],
    ));
}

#[test]
fn options_are_set_unset_and_listed() {
    let timeout = "topology.stream.timeout.seconds";
    let records = "depot.microbatch.max.records";
    let limit = "pstate.proxy.limit";
    insta::assert_snapshot!(on(
        &cluster(),
        &[
            &["set-option", "module", "Bank", timeout, "2"],
            &["setOption", "topology", "Bank", "etl", timeout, "5"],
            &[
                "setOption",
                "depot",
                "Bank",
                "*d",
                records,
                "2",
                "--output",
                "json"
            ],
            &["setOption", "pstate", "Bank", "$$p", limit, "two"],
            &["setOption", "pstate", "Bank", limit, "2"],
            &["setOption", "module", "Bank", "etl", timeout, "2"],
            &["setOption", "cluster", "Bank", timeout, "2"],
            &["unset-option", "module", "Bank", timeout],
            &[
                "unsetOption",
                "pstate",
                "Bank",
                "$$p",
                limit,
                "--output",
                "json"
            ],
            &["unsetOption", "pstate", "Bank", limit],
            &["unsetOption", "module", "Nope", timeout],
            &["list-options", "Bank"],
            &["listOptions", "Bank", "--set", "--output", "jsonl"],
            &["listOptions", "Nope"],
            &["listOptions", "--set"],
            &["module-log", "Bank"],
            &["moduleLog", "Bank", "--output", "jsonl"],
            &["moduleLog", "Nope"],
        ],
    ));
}

/// Unknown name, wrong level, unknown object, wrong kind of topology, wrong type, out of range: each
/// refusal names what would do.
#[test]
fn an_option_that_cannot_be_set_is_refused_with_what_can() {
    let timeout = "topology.stream.timeout.seconds";
    insta::assert_snapshot!(on(
        &cluster(),
        &[
            &[
                "setOption",
                "module",
                "Bank",
                "topology.stream.timeout",
                "2"
            ],
            &["setOption", "module", "Bank", "replication.min.isr", "2"],
            &["setOption", "depot", "Bank", "*d", timeout, "2"],
            &["setOption", "topology", "Bank", "elt", timeout, "2"],
            &["setOption", "topology", "Bank", "counts", timeout, "2"],
            &["setOption", "topology", "Bank", "etl", timeout, "\"long\""],
            &["setOption", "topology", "Bank", "etl", timeout, "-1"],
            &["unsetOption", "module", "Bank", "topology.stream.timeout"],
        ],
    ));
}

#[test]
fn the_options_that_there_are_need_no_server() {
    let nobody = "http://127.0.0.1:1";
    insta::assert_snapshot!(all(
        nobody,
        &[&["list-options"], &["listOptions", "--output", "jsonl"]],
    ));
}

#[test]
fn logs_come_from_the_supervisor_of_the_worker() {
    insta::assert_snapshot!(on(
        &cluster(),
        &[
            &["logs", "WordCount", "0"],
            &[
                "logs",
                "WordCount",
                "0",
                "--lines",
                "7",
                "--follow",
                "--output",
                "jsonl"
            ],
            &["logs", "WordCount", "0", "--use-internal-hostnames"],
            &["logs", "WordCount", "1"],
            &["logs", "WordCount", "2"],
            &["logs", "Nope", "0"],
        ],
    ));
}

#[test]
fn data_is_asked_of_the_supervisor_that_a_conductor_names() {
    // The second line goes to the supervisor at once.
    let cluster = cluster();
    let append = ["append", "Bank/deposits", "-"];
    let dir = directory();
    let environment = [("RAMA_URL", cluster.url.as_str())];
    let appended = run_with(dir.path(), &environment, &append, "1\n2\n");
    let seen = on(&cluster, &[&["select", "Bank/funds", "[1]", "--one"]]);
    insta::assert_snapshot!(format!("{appended}\n{seen}"));
}

#[test]
fn a_conductor_is_found_by_the_settings_and_asked_over_quic() {
    let cluster = cluster();
    let dir = directory();
    let port = cluster.quic.port();
    let file = format!(
        "[conductor]\nhost = \"127.0.0.1\"\nhost_internal = \"localhost\"\nport = {port}\n\
         [security]\ninsecure = true\n"
    );
    std::fs::write(dir.path().join("rama.toml"), file).expect("written");
    let below = dir.path().join("below");
    std::fs::create_dir(&below).expect("made");
    let run = |environment: &[(&str, &str)], args: &[&str]| {
        run_with(&below, environment, args, "").replace(&dir.path().display().to_string(), "ROOT")
    };
    let word_count = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/word_count");
    let deploy = ["deploy", "--action", "launch", "--binary", word_count];
    let shape = ["--module", "WordCount", "--tasks", "8"];
    let deploy = [&deploy[..], &shape, &["--threads", "4", "--workers", "2"]].concat();
    let url = format!("quic://127.0.0.1:{port}");
    let seen = [
        run(&[], &["status"]),
        run(&[], &deploy).replace(word_count, "WORD_COUNT"),
        run(&[], &["moduleStatus", "Nope", "--useInternalHostnames"]),
        run(&[], &["logs", "WordCount", "0"]),
        run(&[], &["select", "Bank/funds", "[1]", "--one"]),
        run(
            &[],
            &[
                "select",
                "Bank/funds",
                "[1]",
                "--one",
                "--useInternalHostnames",
            ],
        ),
        run(&[], &["status", "--url", &url]),
        run(&[("RAMA_SECURITY__INSECURE", "false")], &["status"]),
    ];
    let seen = format!("{}\nasked:\n{}", seen.join("\n"), cluster.asked());
    insta::assert_snapshot!(steady(&cluster, &seen));
    // Nobody answers at that port any more.
    let text = cluster.quic.to_string();
    drop(cluster);
    let lost = run(&[], &["modules", "--timeout", "30s"]);
    assert!(
        lost.contains(&format!("could not reach a server at quic://{text}")),
        "{lost}"
    );
    assert!(
        lost.contains("(from conductor.host of file ROOT/rama.toml)"),
        "{lost}"
    );
    assert!(lost.ends_with("--- exit 5\n"), "{lost}");
}

#[test]
fn with_security_on_only_who_has_a_certificate_is_answered() {
    let dir = directory();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let issue = |at: &std::path::Path| {
        let authority = CertificateAuthority::create(at, CLUSTER, 2).expect("an authority");
        let daemon = [Role::Conductor, Role::Supervisor];
        for (role, roles) in [
            (Role::Conductor, &daemon[..]),
            (Role::Operator, &[Role::Operator]),
        ] {
            let request = Request {
                roles: Roles::of(roles),
                node: Uuid::new_v4(),
                names: Vec::new(),
                addresses: Vec::new(),
                days: 1,
                label: role.to_string(),
            };
            let issued = authority.issue(&request).expect("a certificate");
            issued.write(at, &role.to_string()).expect("written");
        }
    };
    issue(&ours);
    issue(&theirs);
    let credentials = Credentials::load(CertificatePaths {
        authority: ours.join("ca.pem"),
        certificate: ours.join("conductor.pem"),
        key: ours.join("conductor.key"),
    });
    let credentials = Arc::new(credentials.expect("they fit together"));
    let node = credentials.identity().node;
    let cluster = cluster_with(Security::Mutual(credentials), CLUSTER, node);
    let file = |name: &str| {
        format!(
            "[security]\nca = \"{name}/ca.pem\"\ncert = \"{name}/operator.pem\"\n\
                 key = \"{name}/operator.key\"\n"
        )
    };
    let ask = |name: &str, text: &str, command: &[&str]| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        let url = format!("quic://{}", cluster.quic);
        let file = path.display().to_string();
        let args = [command, &["--config", &file, "--url", &url]].concat();
        run_with(dir.path(), &[], &args, "").replace(&url, "URL")
    };
    let run = |name: &str, text: &str| ask(name, text, &["status"]);
    let good = run("good.toml", &file("ours"));
    assert!(good.contains(&format!("cluster      {CLUSTER}")), "{good}");
    // Data is sent on to the supervisor, over QUIC again.
    let select = ["select", "Bank/funds", "[1]", "--one"];
    let data = ask("good.toml", &file("ours"), &select);
    assert!(data.contains("\n7\n"), "{data}");
    let stranger = run("stranger.toml", &file("theirs"));
    assert!(
        stranger.contains("could not reach a server at URL"),
        "{stranger}"
    );
    assert!(stranger.ends_with("--- exit 5\n"), "{stranger}");
    let nobody = run("nobody.toml", "[security]\ninsecure = true\n");
    assert!(nobody.ends_with("--- exit 5\n"), "{nobody}");
    let missing = run("missing.toml", &file("missing"));
    assert!(missing.contains("rama certs issue"), "{missing}");
    assert!(missing.ends_with("--- exit 2\n"), "{missing}");
}
