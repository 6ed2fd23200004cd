//! The walk: every route and every port of a cluster that wants certificates, by everyone who must
//! not.
//!
//! Relies on the table of routes, of which a test beside the daemons says that routers have nothing
//! else, and on /proc for the ports of a worker, told or not. What must stay true: each refusal is
//! a refusal of the daemon, shown by the same question being answered to who may ask.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use rama_api::endpoints::{self, ENDPOINTS, Endpoint as Line, Server};
use rama_api::{Access, InstanceStatus, ModuleRoutes, Scope};
use rama_gateway::tokens::TokenFile;
use rama_net::{Dial, Endpoint, EndpointConfig, Role, Roles, StreamHeader, WorpHeader};
use rama_tests::binary;
use serde_json::json;
use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::certificates::{Authority, Holder};
use crate::world::{Ports, World};

/// Anything that is answered is answered sooner.
const PATIENCE: Duration = Duration::from_secs(30);

/// The start of who asks.
const ASKER_INCARNATION: u64 = 1;

/// Asks over HTTPS or HTTP, and follows nothing.
fn agent(authority: &Path) -> Agent {
    let text = fs::read(authority).expect("the authority");
    let certificates = parse_pem(&text).map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => certificate,
        _ => panic!("only certificates"),
    });
    let certificates: Vec<_> = certificates.collect();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates));
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        .tls_config(tls.build());
    config.build().into()
}

/// A path of the table with something in its braces.
fn filled(line: &Line) -> String {
    let part = |part: &str| match part {
        "{module}" => "WordCount".to_owned(),
        "{depot}" => "lines".to_owned(),
        "{pstate}" => "exact_counts".to_owned(),
        part if part.starts_with('{') => "00000000-0000-0000-0000-000000000001".to_owned(),
        part => part.to_owned(),
    };
    let parts: Vec<String> = line.path.split('/').map(part).collect();
    parts.join("/")
}

/// What a port answers to a line: its status; 0 when nothing came.
fn status(agent: &Agent, base: &str, line: &Line, token: Option<&str>) -> u16 {
    let request = ureq::http::Request::builder()
        .method(line.method)
        .uri(format!("{base}{}", filled(line)));
    let request = match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    };
    let sent = agent.run(request.body(()).expect("a request"));
    sent.map_or(0, |answer| answer.status().as_u16())
}

fn walk_http(world: &World, agent: &Agent, server: Server, ports: Ports) {
    let file = TokenFile::new(&world.token_file());
    let tokens = Scope::ALL.map(|scope| {
        let name = format!("{scope}-{}", ports.http);
        let made = file.create(&name, &[scope], None, None).expect("a token");
        (scope, made.1)
    });
    let https = format!("https://127.0.0.1:{}", ports.http);
    let http = format!("http://127.0.0.1:{}", ports.http);
    let known = &tokens[0].1;
    let health = endpoints::find(server, "GET", "/openapi.json").expect("the document");
    world.until("the tokens are read", || {
        status(agent, &https, health, Some(known)) == 200
    });
    for line in ENDPOINTS.iter().filter(|line| line.is_on(server)) {
        let at = format!("{server:?}: {} {}", line.method, line.path);
        let open = line.access == Access::Open;
        let refused = if open { 200 } else { 401 };
        for base in [&https, &http] {
            assert_eq!(status(agent, base, line, None), refused, "{at} at {base}");
            assert_eq!(
                status(agent, base, line, Some("rama_0")),
                refused,
                "{at} at {base}"
            );
        }
        // A token is good for nothing over plain HTTP.
        assert_eq!(status(agent, &http, line, Some(known)), refused, "{at}");
        let Some(wanted) = line.access.scope() else {
            continue;
        };
        for (scope, token) in &tokens {
            if !scope.covers(wanted) {
                assert_eq!(
                    status(agent, &https, line, Some(token)),
                    403,
                    "{at} with {scope}"
                );
            } else if line.method == "GET" && !streams(line.path) {
                // It is the scope that was missing.
                let seen = status(agent, &https, line, Some(token));
                assert!(![0, 401, 403].contains(&seen), "{at} with {scope}: {seen}");
            }
        }
    }
    for (scope, _) in &tokens {
        let name = format!("{scope}-{}", ports.http);
        file.revoke(&name).expect("revoked");
    }
    world.until("a revoked token is good for nothing", || {
        status(agent, &https, health, Some(known)) == 401
    });
}

/// Whether an answer to a path has no end.
fn streams(path: &str) -> bool {
    path.ends_with("/watch") || path.ends_with("/proxy")
}

/// One who asks over QUIC.
struct Asker<'a> {
    world: &'a World,
    endpoint: Endpoint,
}

impl<'a> Asker<'a> {
    fn new(world: &'a World, holder: &Holder, role: Role) -> Asker<'a> {
        let bind = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let security = holder.security.clone();
        let (cluster, node) = (holder.cluster, holder.node);
        let config = EndpointConfig::new(bind, security, cluster, node, role, ASKER_INCARNATION);
        let _inside = world.runtime().enter();
        let endpoint = Endpoint::on_tokio(config).expect("an endpoint");
        Asker { world, endpoint }
    }

    fn dial(port: u16) -> Dial {
        Dial {
            address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            roles: Roles::of(&[Role::Conductor, Role::Supervisor, Role::Worker]),
            node: None,
        }
    }

    /// What is answered to a line; 0 when nothing is.
    fn ask(&self, port: u16, line: &Line) -> u16 {
        let request = Request::builder().method(line.method).uri(filled(line));
        let request = request.body(Body::empty()).expect("a request");
        self.world.runtime().block_on(async {
            let dial = Asker::dial(port);
            let answer = rama_rpc::request(&self.endpoint, &dial, request);
            match tokio::time::timeout(PATIENCE, answer).await {
                Ok(answer) => answer.map_or(0, |answer| answer.status().as_u16()),
                Err(_) => panic!("port {port} neither answers nor refuses {}", line.path),
            }
        })
    }

    /// Whether a stream for messages between task threads is refused.
    fn worp_refused(&self, port: u16, header: &WorpHeader) -> bool {
        let header = StreamHeader::Worp(*header);
        self.world.runtime().block_on(async {
            let opened = self.endpoint.open(&Asker::dial(port), &header).await;
            let Ok((_sender, mut receiver)) = opened else {
                return true;
            };
            // A stream that is refused ends; one that is taken waits for what is sent.
            let ended = tokio::time::timeout(PATIENCE, receiver.recv()).await;
            matches!(ended, Ok(Ok(None) | Err(_)))
        })
    }
}

/// The header of a stream of a program to a task thread, as good as it can be; ports that are no task
/// thread's get that of the first one.
fn worp(routes: &ModuleRoutes, port: u16) -> WorpHeader {
    let to = routes.routes.iter().find(|route| route.port == port);
    let to = to.unwrap_or(&routes.routes[0]);
    WorpHeader {
        instance: routes.instance,
        source_thread: u32::MAX,
        destination_thread: to.thread,
        category: 0,
        epoch: to.epoch,
        source_incarnation: ASKER_INCARNATION,
        destination_incarnation: to.incarnation,
    }
}

/// UDP ports of a process, and TCP ports that it listens on.
fn ports_of(pid: u32) -> (Vec<u16>, Vec<u16>) {
    let sockets = fs::read_dir(format!("/proc/{pid}/fd")).expect("its files");
    let sockets = sockets.flatten().filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        let link = link
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .to_owned();
        Some(link)
    });
    let sockets: Vec<String> = sockets.collect();
    let table = |name: &str, listening: Option<&str>| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
        let mut ports = BTreeMap::new();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) =
                (words.get(1), words.get(3), words.get(9))
            else {
                continue;
            };
            let ours = sockets.iter().any(|socket| socket == inode);
            if ours && listening.is_none_or(|listening| *state == listening) {
                let port = local
                    .rsplit_once(':')
                    .map(|(_, port)| u16::from_str_radix(port, 16));
                ports.insert(port.expect("a port").expect("in hexadecimal"), ());
            }
        }
        ports.into_keys().collect::<Vec<u16>>()
    };
    let mut udp = table("udp", None);
    udp.extend(table("udp6", None));
    let mut tcp = table("tcp", Some("0A"));
    tcp.extend(table("tcp6", Some("0A")));
    (udp, tcp)
}

#[test]
fn no_route_or_port_answers_without_a_certificate_or_a_token() {
    let (world, authority) = World::start_secure(1);
    let shape = json!({"tasks": 4, "threads": 2, "workers": 1});
    let instance = world.launch(&binary("word_count"), "WordCount", shape);
    let (conductor, node) = (world.conductor_ports(), world.nodes()[0].1);
    let agent = agent(&authority.file());
    walk_http(&world, &agent, Server::Conductor, conductor);
    walk_http(&world, &agent, Server::Supervisor, node);

    let path = format!("/v1/modules/WordCount/instances/{instance}");
    let status: InstanceStatus = world.get(&path);
    let (udp, tcp) = ports_of(status.processes[0].pid);
    assert_eq!(tcp, Vec::<u16>::new(), "a worker listens on TCP");
    assert!(
        udp.len() >= 3,
        "two task threads and the port for requests: {udp:?}"
    );
    let routes: ModuleRoutes = world.get("/v1/modules/WordCount/routes");
    let told = routes.routes.iter().all(|route| udp.contains(&route.port));
    assert!(told, "{routes:?} are among {udp:?}");
    let mut ports = vec![
        (conductor.rpc, Server::Conductor),
        (node.rpc, Server::Supervisor),
    ];
    ports.extend(udp.iter().map(|port| (*port, Server::Module)));

    // Without a certificate, with one of another authority, and of one that claims the same cluster.
    let strangers = [
        authority.nobody(),
        Authority::new(&world.directory("strangers")).outsider("operator", &[Role::Operator]),
        Authority::impostor(&world.directory("impostors"), &authority)
            .outsider("operator", &[Role::Operator]),
    ];
    for holder in &strangers {
        let asker = Asker::new(&world, holder, Role::Operator);
        for (port, server) in &ports {
            for line in ENDPOINTS.iter().filter(|line| line.is_on(*server)) {
                assert_eq!(
                    asker.ask(*port, line),
                    0,
                    "{server:?} at {port}: {}",
                    line.path
                );
            }
            let header = worp(&routes, *port);
            assert!(asker.worp_refused(*port, &header), "{server:?} at {port}");
        }
    }

    // With a certificate of a role that must not.
    let client = authority.outsider("walker", &[Role::Client]);
    let client = Asker::new(&world, &client, Role::Client);
    let conductor_too = authority.outsider("office", &[Role::Conductor]);
    let conductor_too = Asker::new(&world, &conductor_too, Role::Conductor);
    for (port, server) in &ports {
        for line in ENDPOINTS.iter().filter(|line| line.is_on(*server)) {
            let at = format!("{server:?} at {port}: {} {}", line.method, line.path);
            let data = [Scope::Read, Scope::Append];
            let may = line
                .access
                .scope()
                .is_none_or(|scope| data.contains(&scope));
            let seen = client.ask(*port, line);
            assert!(may || [0, 403].contains(&seen), "{at}: {seen}");
            let process = matches!(line.access, Access::ScopeOrProcess(_));
            let seen = conductor_too.ask(*port, line);
            assert!(may || process || [0, 403].contains(&seen), "{at}: {seen}");
        }
        let header = worp(&routes, *port);
        assert!(
            conductor_too.worp_refused(*port, &header),
            "{server:?} at {port}"
        );
    }
    // The same questions are answered to who may ask them.
    let line = endpoints::find(Server::Supervisor, "GET", "/rest/{module}").expect("it is there");
    assert_eq!(client.ask(node.rpc, line), 200);
    let served = udp.iter().filter(|port| client.ask(**port, line) == 200);
    assert_eq!(served.count(), 1, "one port of a worker is for requests");
    world.destroy("WordCount");
    world.stop();
}
