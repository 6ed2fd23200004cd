//! What a user of the module would check: an acknowledged append has its page stored, and a server
//! that fails is asked again.
//!
//! Relies on an in-process cluster of random shape with a server of a few lines, and on simulations
//! with a server that answers late, in any order, or not at all.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rama::prelude::*;
use rest_integration::{FETCHES, PAGES, RestIntegration};
use tokio::sync::{mpsc, oneshot};

/// Serves on a free port until the test ends: a path is answered with how often it was asked for;
/// what begins with `/late` fails at first.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let mut asked = std::collections::BTreeMap::<String, u32>::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines
                .next()
                .and_then(Result::ok)
                .is_some_and(|line| !line.is_empty())
            {}
            let path = request.split(' ').nth(1).unwrap_or_default();
            let times = asked.entry(path.to_owned()).or_default();
            *times += 1;
            let status = match path.starts_with("/late") && *times < 3 {
                true => "503 Busy",
                false => "200 OK",
            };
            let body = format!("{path} {times}");
            let length = body.len();
            // The other side may be gone.
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
        }
    });
    url
}

async fn page(cluster: &Cluster, url: &str) -> Option<String> {
    let page = cluster.pstate(PAGES).select_one(PAGES.key(url)).await;
    page.expect("select")
}

/// G-7, G-8: the answer is stored before the append is acknowledged.
#[tokio::test]
async fn an_acknowledged_append_has_its_page_stored() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster
        .launch(RestIntegration::default())
        .await
        .expect("launch");
    let server = serve();
    for times in 1..=2 {
        for path in ["/one", "/two"] {
            let url = format!("{server}{path}");
            cluster.depot(FETCHES).append(&url).await.expect("append");
            assert_eq!(page(&cluster, &url).await, Some(format!("{path} {times}")));
        }
    }
}

/// G-7: a failed call fails the record, which is processed again.
#[tokio::test]
async fn a_server_that_fails_is_asked_again() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster
        .launch(RestIntegration::default())
        .await
        .expect("launch");
    let url = format!("{}/late", serve());
    let appended = cluster.depot(FETCHES).append(&url).await;
    let failed = appended.expect_err("the first answer is an error");
    assert!(failed.to_string().contains("503"), "{failed}");
    let mut watch = cluster
        .pstate(PAGES)
        .watch(PAGES.key(&url))
        .expect("a watch");
    let stored = async {
        let mut next = async || watch.next().await.expect("no end").expect("a value");
        while next().await.is_none() {}
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, stored)
        .await
        .expect("stored in time");
    assert_eq!(page(&cluster, &url).await, Some("/late 3".into()));
}

/// A request as the simulated server sees it.
type Request = (String, oneshot::Sender<Result<String, rama::MakeError>>);

/// Answers requests after a while, with the address or an error; some never.
async fn answer(cluster: &rama::SimulatedCluster, requests: &mut mpsc::UnboundedReceiver<Request>) {
    let mut waiting = Vec::new();
    loop {
        cluster
            .sleep(Duration::from_millis(1 + cluster.random_u64() % 10))
            .await;
        while let Ok(request) = requests.try_recv() {
            waiting.push(request);
        }
        if waiting.is_empty() {
            continue;
        }
        let (url, answer) = waiting.swap_remove(cluster.random_u64() as usize % waiting.len());
        let _ = match cluster.random_u64() % 4 {
            0 => answer.send(Err("the server is busy".into())),
            1 => continue,
            _ => answer.send(Ok(format!("page of {url}"))),
        };
    }
}

/// S-11, G-7: every page is there in the end, whatever the server does and whatever fails.
#[test]
fn every_page_is_fetched_in_the_end_under_faults() {
    for seed in 0..100 {
        let (ask, requests) = mpsc::unbounded_channel::<Request>();
        let requests = &tokio::sync::Mutex::new(requests);
        let module = RestIntegration(Arc::new(move |url| {
            let (answer, answered) = oneshot::channel();
            let asked = ask.send((url, answer));
            Box::pin(async move {
                asked.map_err(|_| "the server is gone")?;
                answered.await?
            })
        }));
        let simulation = Simulation::seed(seed)
            .tasks(1 << (seed % 4))
            .faults(Faults::all());
        simulation.run(module, |cluster| async move {
            let test = async {
                for number in 0..20 {
                    let (fetches, url) = (cluster.depot(FETCHES), format!("/{number}"));
                    let append = fetches.append_with(&url, AckLevel::AppendAck);
                    // Whether it was taken is asked of the depot, below.
                    if append.await.is_err() {
                        cluster.sleep(Duration::from_millis(5)).await;
                    }
                }
                cluster.calm().await;
                for url in cluster.depot(FETCHES).read_all().await.expect("read") {
                    for _ in 0..400 {
                        if page(&cluster, &url).await.is_some() {
                            break;
                        }
                        cluster.sleep(Duration::from_millis(50)).await;
                    }
                    let expected = Some(format!("page of {url}"));
                    assert_eq!(page(&cluster, &url).await, expected, "seed {seed}");
                }
            };
            let mut requests = requests.lock().await;
            tokio::select! {
                () = test => {}
                () = answer(&cluster, &mut requests) => {}
            }
        });
    }
}
