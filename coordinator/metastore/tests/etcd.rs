//! The metastore on real etcd processes: the suite, and what it survives.
//!
//! Relies on the `etcd` command of Debian's etcd-server. What must stay true: every wait is
//! bounded, every member ends with its test, and figures are printed, not asserted.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "etcd/authority.rs"]
mod authority;
#[path = "etcd/cluster.rs"]
mod cluster;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use authority::Authority;
use cluster::{Cluster, bounded};
use rama_metastore::conformance::{self, Observer, check, count, prefix};
use rama_metastore::{
    Error, Etcd, EtcdConfig, LeaseState, Metastore, Secret, Txn, WatchEvent, WatchFrom,
};
use tokio::sync::watch;

/// Tries until it succeeds.
async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let succeeds = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
        }
    };
    bounded(what, succeeds).await
}

async fn put(store: &Etcd, key: &str, value: &str) -> u64 {
    let txn = Txn::new().put(key, value).repeatable();
    store.txn(txn).await.unwrap().done().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_holds_on_one_member() {
    let cluster = Cluster::start(1);
    conformance::run(&cluster.connect().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_holds_on_three_members() {
    let cluster = Cluster::start(3);
    conformance::run(&cluster.connect().await).await;
}

/// Each member in turn, so the leader and the one that is asked are among them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_killed_under_load_costs_no_update() {
    let mut cluster = Cluster::start(3);
    let store = cluster.connect().await;
    let key = prefix("load");
    let mut observer = Observer::new(&store, &key).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (done, mut seen) = watch::channel(0_u64);
    let started = Instant::now();
    let mut running = Vec::new();
    for id in 0..4 {
        let (store, key) = (store.clone(), key.clone());
        let (stop, done) = (stop.clone(), done.clone());
        running.push(tokio::spawn(async move {
            let mut last = (0, Instant::now());
            let longest = std::sync::Mutex::new(Duration::ZERO);
            let last_cell = std::sync::Mutex::new(&mut last);
            let writer = count(&store, &key, id, |writer| {
                let mut last = last_cell.lock().unwrap();
                let so_far = writer.done.len();
                if so_far > last.0 {
                    let mut longest = longest.lock().unwrap();
                    *longest = longest.max(last.1.elapsed());
                    **last = (so_far, Instant::now());
                    done.send_modify(|done| *done += 1);
                }
                !stop.load(Ordering::Relaxed)
            })
            .await;
            (writer, longest.into_inner().unwrap())
        }));
    }
    let mut more = async |count: u64| {
        let target = *seen.borrow() + count;
        seen.wait_for(|done| *done >= target).await.unwrap();
    };
    for index in 0..3 {
        bounded("updates before a kill", more(50)).await;
        cluster.kill(index);
        let killed = Instant::now();
        bounded("updates with a member gone", more(1)).await;
        println!(
            "member {index} killed: next update after {:?}",
            killed.elapsed()
        );
        bounded("updates with a member gone", more(50)).await;
        cluster.restart(index);
    }
    stop.store(true, Ordering::Relaxed);
    let mut writers = Vec::new();
    let mut gap = Duration::ZERO;
    for writer in running {
        let (writer, longest) = bounded("a writer ends", writer).await.unwrap();
        gap = gap.max(longest);
        writers.push(writer);
    }
    let last = store.get(&key).await.unwrap().unwrap();
    let last = String::from_utf8(last.value).unwrap();
    let last = last.split(' ').next().unwrap().parse().unwrap();
    bounded("the watch sees every update", observer.follow_to(last)).await;
    let checked = check(&writers, &observer);
    let sum = |of: fn(&conformance::Writer) -> usize| writers.iter().map(of).sum::<usize>();
    let calls: u64 = writers.iter().map(|writer| writer.calls).sum();
    let (failed, unknown) = (sum(|w| w.failed.len()), sum(|w| w.unknown.len()));
    println!(
        "three kills in {:?}: {calls} calls, {} done, {} refused, {failed} failed, {unknown} \
         unknown of which {} had happened; {:.2} % without a result; longest wait of a writer {gap:?}; \
         the watch was interrupted {} times",
        started.elapsed(),
        sum(|w| w.done.len()),
        sum(|w| w.refused.len()),
        checked.unknown_done,
        (failed + unknown) as f64 * 100.0 / calls as f64,
        observer.outages,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_and_leases_come_back_or_are_told_lost_after_all_members_were_away() {
    let mut cluster = Cluster::start(3);
    let store = cluster.quick().await;
    let at = prefix("outage");
    let [leased, plain] = ["leased", "plain"].map(|name| format!("{at}{name}"));
    // This client gives up soon, also on members that are up and slow.
    let lease = until("a lease", async || {
        let lease = store.grant(Duration::from_secs(3)).await.ok()?;
        let txn = Txn::new()
            .put_leased(&leased, "1", lease.id())
            .put(&plain, "1");
        store.txn(txn.repeatable()).await.ok()?.done()?;
        Some(lease)
    })
    .await;
    let mut watch = store.watch(&at, WatchFrom::Listing);
    until("a listing", async || {
        let told = watch.next().await;
        matches!(told, Ok(WatchEvent::Relisted(_))).then_some(())
    })
    .await;
    for index in 0..3 {
        cluster.kill(index);
    }
    let told = bounded("the watch tells that it is blind", watch.next()).await;
    assert!(matches!(told, Err(Error::Unavailable { .. })), "{told:?}");
    bounded("the lease lapses", lease.lapsed()).await;
    assert!(!lease.held());
    let read = bounded("a read ends", store.get(&plain)).await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    let written = bounded("a write ends", store.txn(Txn::new().put(&plain, "2"))).await;
    assert!(
        written.is_err() || written.as_ref().unwrap().done().is_none(),
        "{written:?}"
    );
    let restarted = Instant::now();
    for index in 0..3 {
        cluster.restart_unready(index);
    }
    let state = bounded("the lease is settled", lease.settled()).await;
    println!(
        "all members away: the lease is {state:?} after {:?}",
        restarted.elapsed()
    );
    let found = until("a read is done again", async || {
        store.get(&leased).await.ok()
    });
    let key_lives = found.await.is_some();
    match state {
        LeaseState::Held => assert!(lease.held() && key_lives),
        LeaseState::Lost => assert!(!key_lives),
        LeaseState::Lapsed => panic!("settled"),
    }
    let written = until("a write is done again", async || {
        let txn = Txn::new().put(&plain, "3").repeatable();
        store.txn(txn).await.ok()?.done()
    })
    .await;
    until("the watch sees it", async || {
        let event = watch.next().await.ok()?;
        (event.revision() >= written).then_some(())
    })
    .await;
    println!(
        "all members away: writes and watches work after {:?}",
        restarted.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_member_is_passed_over() {
    let cluster = Cluster::start(3);
    let store = cluster.patient().await;
    let key = prefix("frozen");
    put(&store, &key, "0").await;
    for index in 0..3 {
        let frozen = cluster.freeze(index);
        let value = format!("{index}");
        let began = Instant::now();
        bounded("a write with a member frozen", put(&store, &key, &value)).await;
        println!("member {index} frozen: a write took {:?}", began.elapsed());
        let read = bounded("a read with a member frozen", store.get(&key)).await;
        assert_eq!(read.unwrap().unwrap().value, value.as_bytes());
        drop(frozen);
    }
}

#[tokio::test]
async fn a_lease_that_an_operator_ends_is_told_lost() {
    let cluster = Cluster::start(1);
    let (store, operator) = (cluster.connect().await, cluster.connect().await);
    let lease = store.grant(Duration::from_secs(3)).await.unwrap();
    assert!(lease.held());
    operator.revoke(lease.id()).await.unwrap();
    bounded("the holder is told", lease.lost()).await;
    assert!(!lease.held());
    assert_eq!(lease.state(), LeaseState::Lost);
}

#[tokio::test]
async fn a_watch_is_compared_with_a_listing_now_and_then() {
    let cluster = Cluster::start(1);
    let mut config = EtcdConfig::new(cluster.endpoints());
    config.relist_interval = Duration::from_millis(50);
    let store = Etcd::connect(config).await.unwrap();
    let at = prefix("relist");
    let mut watch = store.watch(&at, WatchFrom::Listing);
    let mut last = 0;
    for round in 0..5 {
        let put_at = put(&store, &format!("{at}{round}"), "x").await;
        let mut listed = false;
        let mut followed = false;
        while !(listed && followed) {
            let event = bounded("an event", watch.next()).await.unwrap();
            assert!(event.revision() >= last, "{event:?} after {last}");
            last = event.revision();
            match event {
                WatchEvent::Relisted(listing) if listing.revision >= put_at => {
                    assert_eq!(listing.entries.len(), round + 1);
                    (listed, followed) = (true, true);
                }
                WatchEvent::Relisted(_) => {}
                WatchEvent::Put(entry) => {
                    assert_eq!(entry.versioned.revision, put_at);
                    followed = true;
                }
                WatchEvent::Delete { .. } => panic!("nothing was deleted"),
            }
        }
    }
}

#[tokio::test]
async fn users_are_held_to_their_password_and_their_keys() {
    let cluster = Cluster::start(1);
    cluster.enable_auth("worker", "secret", "/rama/").await;
    let with = |password: &str| {
        let mut config = EtcdConfig::new(cluster.endpoints());
        config.user = Some(("worker".into(), Secret::new(password)));
        Etcd::connect(config)
    };
    let denied = with("wrong").await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let store = with("secret").await.unwrap();
    put(&store, "/rama/a", "1").await;
    let denied = store.txn(Txn::new().put("/other/a", "1")).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let denied = store.get("/other/a").await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let mut watch = store.watch("/other/", WatchFrom::Revision(1));
    let denied = bounded("a watch tells", watch.next()).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let anonymous = cluster.connect().await;
    let denied = anonymous.get("/rama/a").await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
}

#[tokio::test]
async fn nobody_there_is_said_within_the_time_given() {
    let [port] = rama_metastore::free_ports().unwrap();
    let mut config = EtcdConfig::new([format!("http://127.0.0.1:{port}")]);
    config.request_timeout = Duration::from_millis(200);
    let error = bounded("an answer", Etcd::connect(config))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, Error::Unavailable { .. }) && text.contains(&port.to_string()),
        "{text}"
    );
}

#[tokio::test]
async fn tls_wants_certificates_of_the_authority_and_takes_new_ones() {
    let mut cluster = Cluster::start(0);
    let authority = Authority::new(cluster.dir());
    authority.issue();
    cluster.add_secure(&authority);
    let with = |identity: bool| {
        let mut config = EtcdConfig::new(cluster.endpoints());
        config.tls = Some(authority.client(identity));
        config.request_timeout = Duration::from_secs(20);
        config
    };
    let store = bounded("a connection", Etcd::connect(with(true)))
        .await
        .unwrap();
    let key = prefix("tls");
    put(&store, &key, "1").await;
    let mut watch = store.watch(&key, WatchFrom::Listing);
    watch.next().await.unwrap();
    for (what, mut config) in [
        ("no certificate", with(false)),
        (
            "another authority",
            EtcdConfig {
                tls: Some(authority.stranger()),
                ..with(true)
            },
        ),
    ] {
        config.request_timeout = Duration::from_secs(1);
        let refused = Etcd::connect(config).await;
        assert!(
            matches!(refused, Err(Error::Unavailable { .. })),
            "{what}: {refused:?}"
        );
    }
    // Everything is issued anew by a new authority; the store reads the files when it reconnects.
    cluster.kill(0);
    authority.issue();
    cluster.restart_unready(0);
    let written = bounded("a write with new certificates", put(&store, &key, "2")).await;
    bounded("a watch with new certificates", async {
        while watch.next().await.map_or(0, |event| event.revision()) < written {}
    })
    .await;
}
