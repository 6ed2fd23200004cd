//! Depots: offsets, what stays, what reads and appends are refused.

use std::time::Duration;

use rama::options::{DEPOT_MAX_PENDING, Level, Settings};
use rama::prelude::*;
use rama::{Definition, ErrorKind};

/// Several kinds of records in one depot.
#[rama::record]
enum Event {
    Opened(u64),
    Renamed { id: u64, name: String },
    Closed,
}

const EVENTS: Depot<Event> = Depot::named("*events");
const OPEN: PState<u64> = PState::named("$$open").global().initial(|| 0);

/// Counts what is open.
struct Keeper;

impl Module for Keeper {
    fn define(&self, m: &mut Setup) {
        m.depot(EVENTS, Partition::random()).global();
        let mut s = m.stream("s");
        let open = s.pstate(OPEN);
        s.source(EVENTS).each(move |task, event| match event {
            Event::Opened(_) => open.update(task, |open| open.unwrap_or(0) + 1),
            Event::Closed => open.update(task, |open| open.unwrap_or(1) - 1),
            Event::Renamed { .. } => {}
        });
    }
}

/// D-2, D-5, D-23, D-24: offsets of a partition begin at 0 and grow by one; whatever becomes of its
/// topologies, and however long it lasts, without a limit every record stays.
#[test]
fn records_are_numbered_from_zero_and_stay() {
    let world = Simulation::seed(1).time_budget(Duration::from_secs(1_000_000));
    world.run(Keeper, |cluster| async move {
        cluster.calm().await;
        let name = "a name of any length".to_owned();
        let all = [
            Event::Opened(1),
            Event::Renamed { id: 1, name },
            Event::Closed,
            Event::Opened(2),
        ];
        let events = cluster.module("Keeper").depot(EVENTS);
        assert_eq!(events.name(), "*events");
        assert_eq!(events.partitions().expect("known"), 1);
        assert_eq!(events.partition_info(0).await.expect("info"), 0..0);
        for (offset, event) in (0..).zip(&all) {
            let appended = events.append(event).await.expect("append");
            assert_eq!((appended.partition, appended.offset), (0, Some(offset)));
            let info = events.partition_info(0).await.expect("info");
            assert_eq!(info, 0..offset + 1);
        }
        for _ in 0..2 {
            let open = cluster.pstate(OPEN).select_one(OPEN).await;
            assert_eq!(open.expect("select"), Some(1));
            assert_eq!(events.read_all().await.expect("read"), all);
            cluster.sleep(Duration::from_secs(3 * 3600)).await;
            cluster.power_cut().await;
        }
        let appended = events.append(&Event::Closed).await.expect("append");
        assert_eq!(appended.offset, Some(4));
        assert!(events.partition_info(1).await.is_err(), "there is one");
    });
}

const NUMBERS: Depot<u64> = Depot::named("*numbers");
const ECHOES: Depot<u64> = Depot::named("*echoes");

/// Numbers, and a depot for topologies alone that has them all.
struct Echo;

impl Module for Echo {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::random()).global();
        let echoes = m.depot(ECHOES, Partition::disallow()).global().handle();
        let mut s = m.stream("echo");
        s.source(NUMBERS)
            .each(move |task, n| echoes.append(task, &n));
    }
}

/// D-27: one read is bounded, and says how; page by page everything is read.
#[tokio::test]
async fn a_read_is_bounded() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Echo).await.expect("launch");
    let numbers: Vec<u64> = (0..10_050).collect();
    let depot = cluster.depot(NUMBERS);
    let appended = depot.append_many(&numbers, AckLevel::AppendAck).await;
    assert_eq!(appended.expect("append").len(), 1);
    let error = depot.read(0, 0..10_050).await.expect_err("too many");
    assert!(error.to_string().contains("at most 10000"), "{error}");
    assert_eq!(
        depot.read(0, 40..10_040).await.expect("read"),
        numbers[40..10_040]
    );
    assert_eq!(depot.read_all().await.expect("read"), numbers);
}

/// D-29, D-30: a depot of topologies alone refuses clients' appends, and is read like any other.
#[tokio::test]
async fn a_depot_that_takes_nothing_of_clients_is_read() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(Echo).await.expect("launch");
    for n in 0..3 {
        cluster.depot(NUMBERS).append(&n).await.expect("append");
    }
    let echoes = cluster.depot(ECHOES);
    let refused = echoes.append(&7).await.expect_err("it takes nothing");
    assert_eq!(refused.kind(), ErrorKind::Rejected, "{refused}");
    assert_eq!(echoes.read(0, 0..3).await.expect("read"), [0, 1, 2]);
}

/// A stream that takes its time.
struct Slow;

impl Module for Slow {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::random()).global();
        let mut s = m.stream("slow");
        let open = s.pstate(OPEN);
        s.source(NUMBERS)
            .map_async(|waiter, n| async move {
                waiter.sleep(Duration::from_millis(50)).await;
                Ok::<_, String>(n)
            })
            .each(move |task, n| open.update(task, |sum| sum.unwrap_or(0) + n));
    }
}

/// D-22: of ACK appends beyond the bound each is told so at once; its record is there all the same
/// and is processed. An append that waits for nothing knows no such bound.
#[test]
fn ack_appends_beyond_their_bound_are_told() {
    for seed in 0..5 {
        let options = Settings::new().with(Level::Module, DEPOT_MAX_PENDING.name, 3);
        let world = Simulation::seed(seed).options(options);
        world.run(Slow, |cluster| async move {
            cluster.calm().await;
            let numbers = cluster.depot(NUMBERS);
            let sent: Vec<_> = (0..10).map(|n| numbers.append(&n)).collect();
            let mut told = 0;
            for appended in sent {
                if let Err(error) = appended.await {
                    assert_eq!(error.kind(), ErrorKind::Failed, "seed {seed}: {error}");
                    assert!(error.to_string().contains("too many records"), "{error}");
                    told += 1;
                }
            }
            assert_eq!(told, 7, "seed {seed}");
            for n in 0..10 {
                let appended = numbers.append_with(&n, AckLevel::AppendAck).await;
                appended.expect("append");
            }
            let sum = || cluster.pstate(OPEN).select_one(OPEN);
            while sum().await.expect("select") != Some(90) {
                cluster.sleep(Duration::from_millis(10)).await;
            }
        });
    }
}

const TICKS: Depot<()> = Depot::named("*ticks");
const SECONDS: PState<Map<String, u64>> = PState::named("$$seconds").global();

/// Counts ticks and records under one key, in one topology or in two.
struct Ticking {
    apart: bool,
}

impl Module for Ticking {
    fn define(&self, m: &mut Setup) {
        m.depot(NUMBERS, Partition::random()).global();
        m.tick_depot(TICKS, Duration::from_secs(1));
        let mut s = m.stream("s");
        let seconds = s.pstate(SECONDS);
        s.source(TICKS).each(move |task, ()| {
            assert_eq!(task.id(), 0);
            seconds.key("both").modify(task, |count| *count += 1);
        });
        let mut other = m.stream("other");
        let (by, seconds) = match self.apart {
            true => {
                let seconds = other.pstate(SECONDS);
                (&mut other, seconds)
            }
            false => (&mut s, seconds),
        };
        by.source(NUMBERS)
            .each(move |task, n| seconds.key("both").modify(task, |count| *count += n));
    }
}

/// D-12: ticks and records write one PState where one topology consumes both, and only there.
#[test]
fn ticks_and_records_share_what_their_topology_writes() {
    let error = Definition::of(&Ticking { apart: true }).expect_err("two owners");
    let text = error.to_string();
    assert!(
        text.contains("is declared by topology s and by topology other"),
        "{text}"
    );
    Simulation::seed(1).run(Ticking { apart: false }, |cluster| async move {
        cluster.calm().await;
        cluster.depot(NUMBERS).append(&1000).await.expect("append");
        let both = || cluster.pstate(SECONDS).select_one(SECONDS.key("both"));
        while both().await.expect("select") != Some(1003) {
            cluster.sleep(Duration::from_millis(100)).await;
        }
    });
}

/// D-18: appends of one handle wait for each other as long as they are told, and leave together, in
/// order; each is answered with its own offset. What waits for streams or for nothing goes at once, behind
/// what came before.
#[test]
fn appends_wait_for_each_other_as_long_as_they_are_told() {
    for seed in 0..5 {
        Simulation::seed(seed).run(Echo, |cluster| async move {
            cluster.calm().await;
            let delay = Duration::from_secs(5);
            let numbers = cluster.depot(NUMBERS).flush_delay(delay);
            let level = AckLevel::AppendAck;
            let sent: Vec<_> = (0..10).map(|n| numbers.append_with(&n, level)).collect();
            let info = numbers.partition_info(0).await.expect("info");
            assert_eq!(info, 0..0, "seed {seed}: they wait");
            let before = cluster.now_ms();
            for (offset, append) in (0..).zip(sent) {
                let appended = append.await.expect("append");
                assert_eq!(appended.offset, Some(offset), "seed {seed}");
            }
            let waited = cluster.now_ms() - before;
            assert!(
                (5000..10_000).contains(&waited),
                "seed {seed}: {waited} ms for all"
            );

            let before = cluster.now_ms();
            let one = numbers.append_with(&10, level);
            let other = numbers.append_with(&11, AckLevel::Ack);
            other.await.expect("append");
            let many = numbers.clone().append_with(&12, level);
            numbers.append_many(&[13, 14], level).await.expect("append");
            assert_eq!(one.await.expect("append").offset, Some(10));
            assert_eq!(many.await.expect("append").offset, Some(12));
            assert!(cluster.now_ms() - before < 5000, "seed {seed}: at once");
            let all: Vec<u64> = (0..15).collect();
            assert_eq!(numbers.read_all().await.expect("read"), all, "seed {seed}");
            let full: Vec<_> = (0..1024).map(|n| numbers.append_with(&n, level)).collect();
            for append in full {
                append.await.expect("append");
            }
            assert!(
                cluster.now_ms() - before < 5000,
                "seed {seed}: enough to go"
            );
        });
    }
}
