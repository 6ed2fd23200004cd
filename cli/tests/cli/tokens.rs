//! `rama tokens`, and commands that show a token over HTTP.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, mpsc};

use axum::routing::get;
use axum::{Json, Router};
use rama_api::endpoints::Server;
use rama_api::paths;
use rama_gateway::gate::{Door, Gate};
use rama_gateway::tokens::Tokens;
use rama_net::certificates::{CertificateAuthority, Request};
use rama_net::credentials::{CertificatePaths, Credentials};
use rama_net::{Role, Roles, Security};
use serde_json::json;

use crate::command::{directory, run_in, run_with};

/// Secrets and moments change from run to run.
fn steady(text: &str) -> String {
    let boundary = |char: char| !(char.is_ascii_alphanumeric() || "_-:".contains(char));
    let word = |part: &str| {
        let whole = part.trim_end_matches(boundary);
        // The colon of a JSON member belongs to no time.
        let bare = whole.trim_start_matches(':');
        let colon = &whole[..whole.len() - bare.len()];
        let (bytes, rest) = (bare.as_bytes(), &part[whole.len()..]);
        let shown = match bytes.len() {
            69 if bare.starts_with("rama_") => "TOKEN",
            10 if bytes[4] == b'-' && bytes[7] == b'-' => "DAY",
            9 if bytes[2] == b':' && bytes[8] == b'Z' => "TIME",
            13 if bytes.iter().all(u8::is_ascii_digit) => "MS",
            _ => bare,
        };
        format!("{colon}{shown}{rest}")
    };
    text.split_inclusive(boundary).map(word).collect()
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("changed");
}

#[test]
fn tokens_are_made_shown_and_revoked() {
    let dir = directory();
    private(&dir.path().join("other.toml"), "x = 1\n");
    let file = ["--file", "tokens.toml"];
    let commands: [&[&str]; 13] = [
        &["tokens", "create", "--name", "ci", "--scope", "operate"],
        &[
            "tokens",
            "create",
            "--name",
            "shop",
            "--scope",
            "append",
            "--scope",
            "read",
            "--module",
            "Bank",
            "--expires",
            "90d",
            "--output",
            "json",
        ],
        &["tokens", "create", "--name", "ci", "--scope", "read"],
        &["tokens", "create", "--name", "a b", "--scope", "read"],
        &["tokens", "create", "--name", "x", "--scope", "all"],
        &[
            "tokens",
            "create",
            "--name",
            "x",
            "--scope",
            "read",
            "--expires",
            "soon",
        ],
        &["tokens", "list"],
        &["tokens", "list", "--output", "jsonl"],
        &["tokens", "revoke", "shop", "--output", "jsonl"],
        &["tokens", "revoke", "shop"],
        &["tokens", "revoke", "ci"],
        &["tokens", "list"],
        &["tokens", "list", "--file", "other.toml"],
    ];
    let mut seen: Vec<String> = commands
        .iter()
        .map(|args| match args.contains(&"--file") {
            true => run_in(dir.path(), "http://x", args, ""),
            false => run_in(dir.path(), "http://x", &[args, &file[..]].concat(), ""),
        })
        .collect();
    // Without a file there is nothing to change; the settings may name it.
    seen.push(run_in(dir.path(), "http://x", &["tokens", "list"], ""));
    fs::write(
        dir.path().join("rama.toml"),
        "[security]\ntokens = \"t.toml\"\n",
    )
    .expect("written");
    seen.push(run_in(dir.path(), "http://x", &["tokens", "list"], ""));
    insta::assert_snapshot!(steady(&seen.join("\n")));
    let mode = fs::metadata(dir.path().join("tokens.toml")).expect("the file");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

/// A conductor that knows tokens, on a thread that ends with the test's process.
fn conductor(tokens: Tokens) -> String {
    let (ready, started) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = rama_gateway::dev::runtime(1).expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            ready
                .send(listener.local_addr().expect("bound"))
                .expect("the test waits");
            let modules = get(async || Json(json!([])));
            let routes = Router::new().route(paths::MODULES, modules);
            let gate = Gate::new(Server::Conductor, Door::Tokens(tokens));
            let _ = axum::serve(listener, gate.before(routes)).await;
        });
    });
    format!("http://{}", started.recv().expect("it started"))
}

#[test]
fn a_token_is_shown_to_a_server_and_never_where_others_can_read_it() {
    let dir = directory();
    let tokens = dir.path().join("tokens.toml");
    let create = |name: &str, scope: &str| {
        let args = [
            "tokens",
            "create",
            "--name",
            name,
            "--scope",
            scope,
            "--file",
            "tokens.toml",
        ];
        let said = run_in(dir.path(), "http://x", &args, "");
        let secret = said.lines().find(|line| line.starts_with("rama_"));
        secret.expect("a token").to_owned()
    };
    let (status, read) = (create("status", "status"), create("read", "read"));
    private(&dir.path().join("good.token"), &format!("{status}\n"));
    private(&dir.path().join("empty.token"), "\n");
    fs::write(dir.path().join("open.token"), &status).expect("written");
    fs::set_permissions(dir.path().join("open.token"), Permissions::from_mode(0o644))
        .expect("changed");
    let url = conductor(Tokens::open(&tokens).expect("usable"));
    let run = |environment: &[(&str, &str)], args: &[&str]| {
        let environment = [&[("RAMA_URL", url.as_str())], environment].concat();
        let args = [&["modules"], args].concat();
        run_with(dir.path(), &environment, &args, "").replace(&url, "http://SERVER")
    };
    let mut seen = vec![
        run(&[], &[]),
        run(&[("RAMA_TOKEN", "rama_wrong")], &[]),
        run(&[("RAMA_TOKEN", &read)], &[]),
        run(&[("RAMA_TOKEN", &status)], &[]),
        // The flag is the stronger word.
        run(
            &[("RAMA_TOKEN", "rama_wrong")],
            &["--token-file", "good.token"],
        ),
        run(&[], &["--token-file", "open.token"]),
        run(&[], &["--token-file", "empty.token"]),
        run(&[], &["--token-file", "missing.token"]),
        run(
            &[("RAMA_TOKEN", &status)],
            &["--url", "http://conductor.example.org:8888"],
        ),
    ];
    let file = "[security]\ntoken_file = \"good.token\"\n";
    fs::write(dir.path().join("rama.toml"), file).expect("written");
    seen.push(run(&[], &[]));
    insta::assert_snapshot!(seen.join("\n"));
}

/// TLS with a node's certificate, as the daemons speak it.
struct Https {
    listener: tokio::net::TcpListener,
    tls: tokio_rustls::TlsAcceptor,
}

impl axum::serve::Listener for Https {
    type Io = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.expect("a connection");
            // Who does not believe the certificate hangs up.
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

#[test]
fn over_https_the_authority_of_the_settings_is_believed_and_no_other() {
    let dir = directory();
    let at = |name: &str| dir.path().join(name);
    let issued = |authority: &str| {
        let authority_dir = at(authority);
        let made = CertificateAuthority::create(&authority_dir, uuid::Uuid::new_v4(), 2);
        let request = Request {
            roles: Roles::of(&[Role::Conductor]),
            node: uuid::Uuid::new_v4(),
            names: Vec::new(),
            addresses: vec![[127, 0, 0, 1].into()],
            days: 1,
            label: "conductor".to_owned(),
        };
        let issued = made
            .expect("an authority")
            .issue(&request)
            .expect("a certificate");
        issued.write(&authority_dir, "conductor").expect("written");
        Credentials::load(CertificatePaths {
            authority: authority_dir.join("ca.pem"),
            certificate: authority_dir.join("conductor.pem"),
            key: authority_dir.join("conductor.key"),
        })
        .expect("they fit together")
    };
    let security = Security::Mutual(Arc::new(issued("ours")));
    issued("theirs");
    let tls = security.https().expect("TLS").expect("certificates").into();
    let (ready, started) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = rama_gateway::dev::runtime(1).expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            ready
                .send(listener.local_addr().expect("bound"))
                .expect("the test waits");
            let routes = Router::new().route(paths::MODULES, get(async || Json(json!([]))));
            let _ = axum::serve(Https { listener, tls }, routes).await;
        });
    });
    let address = started.recv().expect("it started");
    let ask = |authority: &str, url: String| {
        let file = format!("[security]\nca = \"{authority}/ca.pem\"\n");
        fs::write(at("rama.toml"), file).expect("written");
        let environment = [("RAMA_URL", url.as_str()), ("RAMA_TOKEN", "rama_x")];
        run_with(dir.path(), &environment, &["modules"], "")
    };
    let good = ask("ours", format!("https://{address}"));
    assert!(good.ends_with("--- exit 0\n"), "{good}");
    // Nothing was sent: the certificate is not believed, or is for another host.
    for bad in [
        ask("theirs", format!("https://{address}")),
        ask("ours", format!("https://localhost:{}", address.port())),
    ] {
        assert!(
            bad.contains("could not reach a server at https://"),
            "{bad}"
        );
        assert!(bad.contains("certificate"), "{bad}");
        assert!(bad.ends_with("--- exit 5\n"), "{bad}");
    }
    let missing = ask("missing", format!("https://{address}"));
    assert!(missing.contains("could not use security.ca"), "{missing}");
    assert!(missing.ends_with("--- exit 2\n"), "{missing}");
}
