//! Queries as a client asks them, in the simulator: over several threads and machines, with faults.

mod batches;
mod vectors;
mod waiting;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use crate::schema::{Map, Set};
use crate::setup::Setup;
use crate::simulation::{Faults, Simulation};
use crate::{Depot, ErrorKind, Module, PState, Partition, Query};

const FOLLOWS: Depot<(u64, u64)> = Depot::named("*follows");
const FOLLOWERS: PState<Map<u64, Set<u64>>> = PState::named("$$followers");
/// The followers of some users, each counted once (spec §16.1 query.Reach).
const REACH: Query<Vec<u64>, u64> = Query::named("reach");
const FOLLOWERS_OF: Query<u64, Vec<u64>> = Query::named("followers-of");
const WHERE: Query<u64, (u32, u32)> = Query::named("where");
const TWICE: Query<(), u64> = Query::named("twice");
const NEVER: Query<bool, u64> = Query::named("never");
const WRITES: Query<u64, u64> = Query::named("writes");
const TASKS: Query<(), u64> = Query::named("tasks");

struct Social;

impl Module for Social {
    fn define(&self, m: &mut Setup) {
        m.depot(FOLLOWS, Partition::hash_by(|follow: &(u64, u64)| follow.1));
        let mut s = m.stream("follows");
        let followers = s.pstate(FOLLOWERS);
        s.source(FOLLOWS).each(move |task, (from, to)| {
            followers.key(&to).insert(task, &from);
        });
        m.query(REACH, |q| {
            q.flat_map(|_, users| users)
                .hash_partition(|user| user)
                .flat_map(move |task, user| followers.key(&user).elements(task))
                .hash_partition(|follower| follower)
                .agg(|of| of.set(|follower| *follower))
                .map(|_, distinct| distinct.len() as u64)
                .origin_partition()
                .agg(|of| of.sum(|part| *part))
        });
        m.query(FOLLOWERS_OF, |q| {
            q.hash_partition(|user| user)
                .map(move |task, user| followers.key(&user).elements(task))
                .origin_partition()
        });
        m.query(WHERE, |q| {
            q.hash_partition(|user| user)
                .map(|task, _| task.id())
                .origin_partition()
                .map(|task, id| (id, task.id()))
        });
        m.query(TWICE, |q| q.origin_partition().flat_map(|_, ()| [1, 2]));
        m.query(NEVER, |q| {
            q.origin_partition().filter_map(|task, fails| match fails {
                true => task.fail("no luck"),
                false => None,
            })
        });
        m.query(WRITES, |q| {
            q.hash_partition(|user| user)
                .map(move |task, user| {
                    followers.key(&user).insert(task, &user);
                    user
                })
                .origin_partition()
        });
        m.query(TASKS, |q| {
            q.all_partition()
                .agg(|of| of.count())
                .origin_partition()
                .agg(|of| of.count())
        });
    }
}

async fn follow(cluster: &crate::Cluster, follows: &[(u64, u64)]) {
    let depot = cluster.depot(FOLLOWS);
    for follow in follows {
        depot.append(follow).await.unwrap();
    }
}

/// F-29: distinct sets made where their members live, summed where it began.
#[test]
fn a_query_reads_over_all_tasks_and_answers_once() {
    for seed in 0..20 {
        let simulation = Simulation::seed(seed).tasks(8).threads(3);
        simulation
            .machines(1 + seed as u32 % 3)
            .run(Social, |cluster| async move {
                cluster.calm().await;
                let follows: Vec<_> = (0..40).map(|n| (n % 13, n % 5)).collect();
                follow(&cluster, &follows).await;
                let reach = cluster.query(REACH);
                for users in [vec![], vec![0], vec![1, 2], vec![0, 1, 2, 3, 4], vec![99]] {
                    let expected: BTreeSet<u64> = follows
                        .iter()
                        .filter(|(_, to)| users.contains(to))
                        .map(|(from, _)| *from)
                        .collect();
                    let answer = reach.invoke(users.clone()).await.unwrap();
                    assert_eq!(answer, expected.len() as u64, "seed {seed}: {users:?}");
                }
                assert_eq!(cluster.query(TASKS).invoke(()).await.unwrap(), 8);
            });
    }
}

/// where the first step is a partitioner, the client begins on its task.
#[test]
fn a_leading_partitioner_is_evaluated_by_the_client() {
    Simulation::seed(1)
        .tasks(8)
        .run(Social, |cluster| async move {
            cluster.calm().await;
            for user in 0..32 {
                let (ran, began) = cluster.query(WHERE).invoke(user).await.unwrap();
                assert_eq!(ran, began, "user {user}");
            }
        });
}

/// no result, or several, are an error that says so. Q-13: a failure ends the invocation.
#[test]
fn what_does_not_come_to_one_result_is_an_error() {
    Simulation::seed(2)
        .tasks(4)
        .run(Social, |cluster| async move {
            cluster.calm().await;
            let errors = [
                cluster.query(TWICE).invoke(()).await.unwrap_err(),
                cluster.query(NEVER).invoke(false).await.unwrap_err(),
                cluster.query(NEVER).invoke(true).await.unwrap_err(),
                cluster.query(WRITES).invoke(7).await.unwrap_err(),
            ];
            let texts = errors.map(|error| {
                assert_eq!(error.kind(), ErrorKind::Failed);
                error.to_string()
            });
            assert!(
                texts[0].contains("came to 2 results instead of one"),
                "{}",
                texts[0]
            );
            assert!(
                texts[1].contains("came to 0 results instead of one"),
                "{}",
                texts[1]
            );
            assert!(texts[2].contains("no luck"), "{}", texts[2]);
            assert!(
                texts[3].contains("$$followers was written by a query"),
                "{}",
                texts[3]
            );
            // nothing was written.
            follow(&cluster, &[(1, 7)]).await;
            assert_eq!(cluster.query(FOLLOWERS_OF).invoke(7).await.unwrap(), [1]);
        });
}

/// Q-5, and §14: by name, from JSON to JSON.
#[test]
fn a_query_is_invoked_by_name() {
    Simulation::seed(3)
        .tasks(4)
        .run(Social, |cluster| async move {
            cluster.calm().await;
            follow(&cluster, &[(1, 7), (2, 7)]).await;
            let invoke = |name, args| {
                let cluster = cluster.cluster();
                async move { cluster.invoke_json("Social", name, &args).await }
            };
            assert_eq!(
                invoke("followers-of", json!(7)).await.unwrap(),
                json!([1, 2])
            );
            assert_eq!(invoke("reach", json!([7, 7])).await.unwrap(), json!(2));
            let wrong = invoke("reach", json!("seven")).await.unwrap_err();
            assert_eq!(wrong.kind(), ErrorKind::Invalid);
            let unknown = invoke("none", json!(1)).await.unwrap_err();
            assert_eq!(unknown.kind(), ErrorKind::NotFound);
        });
}

/// under faults an invocation answers rightly or fails; it never hangs and never lies.
#[test]
fn queries_answer_rightly_or_not_at_all_under_faults() {
    for seed in 0..40 {
        let simulation = Simulation::seed(seed)
            .tasks(4)
            .machines(2)
            .faults(Faults::all());
        simulation.run(Social, |cluster| async move {
            let mut answered = 0;
            for user in 0..20u64 {
                // Its followers are there once this is answered.
                if cluster
                    .depot(FOLLOWS)
                    .append(&(user + 100, user))
                    .await
                    .is_err()
                {
                    cluster.sleep(Duration::from_millis(5)).await;
                    continue;
                }
                let reach = cluster.query(REACH).within(Duration::from_secs(60));
                match reach.invoke(vec![user]).await {
                    Ok(count) => {
                        answered += 1;
                        assert_eq!(count, 1, "seed {seed}: user {user}");
                    }
                    Err(_) => cluster.sleep(Duration::from_millis(5)).await,
                }
            }
            cluster.calm().await;
            // Links come up again one by one: what one of them loses is asked again.
            let last = loop {
                match cluster.query(REACH).invoke((0..20).collect()).await {
                    Ok(last) => break last,
                    Err(error) => assert!(error.is_retryable(), "seed {seed}: {error}"),
                }
                cluster.sleep(Duration::from_millis(5)).await;
            };
            assert!(last >= answered, "seed {seed}: {last} of {answered}");
        });
    }
}
