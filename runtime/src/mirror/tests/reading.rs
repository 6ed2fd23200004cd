//! What topologies ask of other modules: reads, queries, appends.

use super::*;
use crate::{Flow, LocalPState};

const ASKED: Depot<u64> = Depot::named("*asked");
const READ: Query<u64, u64> = Query::named("read");

/// What was seen, on which task before and after.
type Answers = PState<Map<u64, (u64, u32, u32)>>;

const STREAMED: Answers = PState::named("$$streamed");
const BATCHED: Answers = PState::named("$$batched");
const QUERIED: Answers = PState::named("$$queried");
const APPENDED: Answers = PState::named("$$appended");
/// By partition of the other module: the task here, and what was seen there.
const PLACES: PState<Map<u32, (u32, Option<u64>)>> = PState::named("$$places");

/// Asks the other module about keys, in every way.
struct Reader;

impl Module for Reader {
    fn define(&self, m: &mut Setup) {
        m.depot(ASKED, Partition::hash_by(|key: &u64| *key));
        let source = m.mirror("Source");
        let (events, seen) = (source.depot(EVENTS), source.pstate(SEEN));
        let seen_of = source.query(SEEN_OF);
        m.query(READ, |q| {
            q.hash_partition(|key| key)
                .select(seen, |key| SEEN.key(key))
                .map(|_, (_, seen)| seen.unwrap_or(0))
                .origin_partition()
        });

        let mut streamed = m.stream("streamed");
        let answers = streamed.pstate(STREAMED);
        let asked = from_here(streamed.source(ASKED));
        let read = asked.select(seen, |(key, _)| SEEN.key(key));
        read.each(move |task, ((key, before), seen)| {
            answers
                .key(&key)
                .set(task, (seen.unwrap_or(0), before, task.id()));
        });

        let mut batched = m.microbatch("batched");
        let answers = batched.pstate(BATCHED);
        let asked = from_here(batched.source(ASKED));
        let read = asked.select(seen, |(key, _)| SEEN.key(key));
        read.each(move |task, ((key, before), seen)| {
            answers
                .key(&key)
                .set(task, (seen.unwrap_or(0), before, task.id()));
        });

        let mut queried = m.stream("queried");
        let answers = queried.pstate(QUERIED);
        from_here(queried.source(ASKED))
            .query_of(seen_of, |(key, _)| *key)
            .each(move |task, ((key, before), seen)| {
                answers.key(&key).set(task, (seen, before, task.id()));
            });

        let mut appending = m.stream("appending");
        let answers = appending.pstate(APPENDED);
        appending
            .source(ASKED)
            .hash_partition_of(events, |key| *key)
            .append_at(events, AckLevel::Ack, |(at, key)| (*at, (*key, 1)))
            .select(seen, |(_, key)| SEEN.key(key))
            .map(|task, ((at, key), seen)| (key, (seen.unwrap_or(0), at, task.id())))
            .hash_partition(|(key, _)| key)
            .each(move |task, (key, answer)| answers.key(&key).set(task, answer));

        let mut places = m.microbatch("places");
        let found: LocalPState<_> = places.pstate(PLACES);
        places
            .source(ASKED)
            .all_partition_of(seen)
            .map(|task, (at, key)| (at, key, task.id()))
            .select_at(seen, |(at, key, _)| (*at, SEEN.key(key)))
            .hash_partition(|((at, _, _), _)| at)
            .each(move |task, ((at, _, host), seen)| found.key(&at).set(task, (host, seen)));
    }
}

/// Each key with the task it is on.
fn from_here<K: crate::topology_def::Kind>(
    flow: Flow<K, u64, crate::Begin, u64>,
) -> Flow<K, (u64, u32), crate::Begin, (u64, u32)> {
    flow.map(|task, key| (key, task.id()))
        .direct_partition(|(_, task)| *task)
}

async fn answer(cluster: &SimulatedCluster, answers: Answers, key: u64) -> (u64, u32, u32) {
    loop {
        let read = cluster.pstate(answers).select(answers.key(&key)).await;
        if let Some(answer) = read.unwrap() {
            return answer;
        }
        cluster.sleep(Duration::from_millis(20)).await;
    }
}

/// D-36, R-11, R-12, Q-11 and the acceptance example of spec §16.1: another module with
/// twice as many tasks is read, asked and appended to, and code goes on where it was.
#[test]
fn topologies_read_ask_and_append_to_another_module() {
    for (theirs, ours) in [(8, 4), (2, 4)] {
        let simulation = Simulation::seed(11).tasks(ours).beside(Source, theirs);
        simulation.run(Reader, |cluster| async move {
            cluster.calm().await;
            let depot = cluster.module("Source").depot(EVENTS);
            for number in 0..3 {
                depot.append(&(5, number)).await.unwrap();
            }
            assert_eq!(cluster.query(READ).invoke(5).await.unwrap(), 3);
            cluster
                .depot(ASKED)
                .append_with(&5, AckLevel::AppendAck)
                .await
                .unwrap();
            // The append of this module is one more, whose own streams were waited for.
            let (seen, at, host) = answer(&cluster, APPENDED, 5).await;
            assert_eq!(seen, 4);
            let home = rama_wire::hash::task_of(&rama_wire::Key::key_bytes(&5_u64), theirs);
            assert_eq!((at, host), (home, home % ours));
            for answers in [STREAMED, BATCHED, QUERIED] {
                let (seen, before, after) = answer(&cluster, answers, 5).await;
                assert!(
                    (3..=4).contains(&seen),
                    "{answers:?}",
                    answers = answers.name()
                );
                assert_eq!(before, after);
            }
            for partition in 0..theirs {
                let place = async || {
                    let read = cluster.pstate(PLACES).select(PLACES.key(&partition));
                    read.await.unwrap()
                };
                until(&cluster, async || place().await.is_some()).await;
                let (host, seen) = place().await.unwrap();
                assert_eq!(host, partition % ours, "each partition has one host");
                assert_eq!(seen.is_some(), partition == home);
            }
        });
    }
}

/// X-2, S-13: over power cuts every question is answered.
#[test]
fn questions_to_another_module_are_answered_over_power_cuts() {
    for seed in 0..4 {
        let simulation = Simulation::seed(seed).faults(Faults::power_cuts());
        simulation
            .beside(Source, 2)
            .run(Reader, |cluster| async move {
                let mut asked = Vec::new();
                for key in 0..20 {
                    let sent = cluster.depot(ASKED).append_with(&key, AckLevel::AppendAck);
                    if sent.await.is_ok() {
                        asked.push(key);
                    }
                    cluster
                        .sleep(Duration::from_millis(cluster.random_u64() % 30))
                        .await;
                }
                cluster.calm().await;
                for key in asked {
                    for answers in [STREAMED, BATCHED, QUERIED] {
                        answer(&cluster, answers, key).await;
                    }
                    let (seen, _, _) = answer(&cluster, APPENDED, key).await;
                    assert!(
                        seen >= 1,
                        "seed {seed}: an append that was waited for is processed"
                    );
                }
            });
    }
}

/// P-37, X-17: while another module is down a read of it waits, as long as its option says; a handle
/// finds the module again.
#[test]
fn a_read_waits_for_a_module_that_is_down() {
    Simulation::seed(2)
        .beside(Source, 2)
        .run(Reader, |cluster| async move {
            cluster.calm().await;
            cluster.stop_module("Source").await.unwrap();
            cluster
                .depot(ASKED)
                .append_with(&1, AckLevel::AppendAck)
                .await
                .unwrap();
            cluster.sleep(Duration::from_secs(5)).await;
            let read = cluster
                .pstate(STREAMED)
                .select(STREAMED.key(&1))
                .await
                .unwrap();
            assert_eq!(read, None);
            cluster.update(Source).await.unwrap();
            answer(&cluster, STREAMED, 1).await;
            assert_eq!(cluster.dead_letters("Reader").await.unwrap().len(), 0);
            // Now the time is short: the query gives up, and says what is wrong.
            cluster.set_option(
                Level::Module,
                "foreign.pstate.operation.timeout.millis",
                100,
            );
            cluster.stop_module("Source").await.unwrap();
            let failed = cluster.query(READ).invoke(1).await.unwrap_err();
            assert!(
                failed.to_string().contains("module Source is not running"),
                "{failed}"
            );
        });
}

const CHOSEN: PState<Map<u64, u32>> = PState::named("$$chosen");

/// Goes to the partition that a key names.
struct Chooser;

impl Module for Chooser {
    fn define(&self, m: &mut Setup) {
        m.depot(ASKED, Partition::hash_by(|key: &u64| *key));
        let seen = m.mirror("Source").pstate(SEEN);
        let mut direct = m.stream("direct");
        let chosen = direct.pstate(CHOSEN).unaligned();
        direct
            .source_with(ASKED, SourceOptions::new().retries(0))
            .direct_partition_of(seen, |key| *key as u32)
            .each(move |task, (at, key)| chosen.key(&key).set(task, at));
        let mut custom = m.stream("custom");
        custom
            .source_with(ASKED, SourceOptions::new().retries(0))
            .custom_partition_of(seen, |key, partitions| *key as u32 % (partitions + 1))
            .done();
    }
}

/// the index is one of the other module's; one that does not exist fails the event.
#[test]
fn a_partition_that_another_module_does_not_have_fails_the_event() {
    let simulation = Simulation::seed(2).tasks(2).beside(Source, 8);
    simulation.run(Chooser, |cluster| async move {
        cluster.calm().await;
        for key in [7, 8] {
            cluster
                .depot(ASKED)
                .append_with(&key, AckLevel::AppendAck)
                .await
                .unwrap();
        }
        until(&cluster, async || {
            cluster.dead_letters("Chooser").await.unwrap().len() == 2
        })
        .await;
        for letter in cluster.dead_letters("Chooser").await.unwrap() {
            let expected = "partition 8 of $$seen of Source was chosen, which has 8";
            assert!(letter.error.contains(expected), "{}", letter.error);
        }
    });
}
