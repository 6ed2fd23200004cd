//! What a user of the module would check: ancestors and descendants over any number of generations.
//!
//! Relies on an in-process cluster of random shape and on simulations. Values are those of the
//! survey's FamilyTree (spec 16.3).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use family_tree::{ANCESTORS, DESCENDANTS, FamilyTree, PEOPLE, Person, TREE};
use rama::prelude::*;
use uuid::Uuid;

/// Ids that say nothing of their order.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn person(number: u128, parents: &[u128]) -> Person {
    Person {
        id: id(number),
        parents: parents.iter().map(|parent| id(*parent)).collect(),
        name: format!("Person {number}"),
    }
}

async fn ancestors(cluster: &Cluster, of: u128, generations: u32) -> BTreeSet<Uuid> {
    let found = cluster.query(ANCESTORS).invoke((id(of), generations)).await;
    found.expect("an answer")
}

async fn descendants(cluster: &Cluster, of: u128, generations: u32) -> BTreeMap<u32, u64> {
    let found = cluster
        .query(DESCENDANTS)
        .invoke((id(of), generations))
        .await;
    found.expect("an answer")
}

fn ids<const N: usize>(numbers: [u128; N]) -> BTreeSet<Uuid> {
    BTreeSet::from(numbers.map(id))
}

/// F-18, F-19, Q-10: loops that branch out over all tasks, with what was visited kept on each.
#[tokio::test]
async fn ancestors_and_descendants_are_found_by_generations() {
    let cluster = InProcessCluster::random().expect("a cluster");
    cluster.launch(FamilyTree).await.expect("launch");
    let parents: [&[u128]; 14] = [
        &[],
        &[],
        &[],
        &[],
        &[],
        &[],
        &[1, 2],
        &[3, 4],
        &[1, 5],
        &[7, 8],
        &[9, 10],
        &[10, 11],
        &[10, 11],
        &[10, 11],
    ];
    for (number, parents) in (1..).zip(parents) {
        let person = person(number, parents);
        cluster.depot(PEOPLE).append(&person).await.expect("append");
    }
    let tree = cluster.pstate(TREE);
    let name = tree
        .select_one(TREE.key(&id(6)).name())
        .await
        .expect("select");
    assert_eq!(name, Some("Person 6".into()));
    for (of, count) in [(6, 0), (10, 4), (11, 3)] {
        let children = TREE.key(&id(of)).children().select_len();
        assert_eq!(
            tree.select_one(children).await.expect("select"),
            count,
            "of {of}"
        );
    }
    assert_eq!(ancestors(&cluster, 10, 0).await, ids([7, 8]));
    assert_eq!(ancestors(&cluster, 10, 1).await, ids([7, 8, 1, 2, 3, 4]));
    assert_eq!(
        ancestors(&cluster, 14, 2).await,
        ids([10, 11, 7, 8, 9, 1, 2, 3, 4, 5])
    );
    assert_eq!(ancestors(&cluster, 1, 9).await, ids([]));

    assert_eq!(
        descendants(&cluster, 14, 10).await,
        BTreeMap::from([(0, 0)])
    );
    assert_eq!(
        descendants(&cluster, 11, 10).await,
        BTreeMap::from([(0, 3), (1, 0)])
    );
    assert_eq!(descendants(&cluster, 1, 1).await, BTreeMap::from([(0, 2)]));
    assert_eq!(
        descendants(&cluster, 1, 2).await,
        BTreeMap::from([(0, 2), (1, 2)])
    );
    assert_eq!(
        descendants(&cluster, 1, 3).await,
        BTreeMap::from([(0, 2), (1, 2), (2, 7)])
    );
    assert_eq!(descendants(&cluster, 1, 0).await, BTreeMap::new());
}

/// Everybody who is reached over so many generations, by the records alone.
fn above(people: &BTreeMap<Uuid, Vec<Uuid>>, of: Uuid, generations: u32) -> BTreeSet<Uuid> {
    let (mut found, mut last) = (BTreeSet::new(), BTreeSet::from([of]));
    for _ in 0..=generations {
        let parents = last
            .iter()
            .filter_map(|person| people.get(person))
            .flatten();
        last = parents.copied().collect();
        found.extend(&last);
    }
    found
}

/// How many ways lead down to so many generations, by the records alone.
fn below(people: &BTreeMap<Uuid, Vec<Uuid>>, of: Uuid, generations: u32) -> BTreeMap<u32, u64> {
    let (mut counts, mut last) = (BTreeMap::new(), vec![of]);
    for generation in 0..generations {
        let is_child = |parents: &Vec<Uuid>, of: &Uuid| parents.contains(of);
        let children = |of| {
            people
                .iter()
                .filter(move |(_, parents)| is_child(parents, of))
        };
        if last.is_empty() {
            break;
        }
        last = last
            .iter()
            .flat_map(children)
            .map(|(child, _)| *child)
            .collect();
        counts.insert(generation, last.len() as u64);
    }
    counts
}

/// S-11: told of again after a failure, a person is still one; the queries agree with the records.
#[test]
fn the_tree_is_that_of_the_records_under_faults() {
    for seed in 0..100 {
        let simulation = Simulation::seed(seed)
            .tasks(1 << (seed % 4))
            .faults(Faults::all());
        simulation.run(FamilyTree, |cluster| async move {
            for number in 0..16 {
                let mut parents = BTreeSet::new();
                for _ in 0..number.min(2) {
                    parents.insert(u128::from(cluster.random_u64()) % number);
                }
                let parents: Vec<u128> = parents.into_iter().collect();
                let people = cluster.depot(PEOPLE);
                let append = people.append_with(&person(number, &parents), AckLevel::AppendAck);
                // Whether it was taken is asked of the depot, below.
                if append.await.is_err() {
                    cluster.sleep(Duration::from_millis(5)).await;
                }
            }
            cluster.calm().await;
            let told = cluster.depot(PEOPLE).read_all().await.expect("read");
            let people = told
                .into_iter()
                .map(|person| (person.id, person.parents))
                .collect();
            for number in 0..4 {
                for generations in [0, 1, 3] {
                    let (up, down) = (
                        above(&people, id(15 - number), generations),
                        below(&people, id(number), generations),
                    );
                    for _ in 0..200 {
                        if ancestors(&cluster, 15 - number, generations).await == up
                            && descendants(&cluster, number, generations).await == down
                        {
                            break;
                        }
                        cluster.sleep(Duration::from_millis(50)).await;
                    }
                    let found = ancestors(&cluster, 15 - number, generations).await;
                    assert_eq!(
                        found,
                        up,
                        "seed {seed}: {generations} above {}",
                        15 - number
                    );
                    let found = descendants(&cluster, number, generations).await;
                    assert_eq!(found, down, "seed {seed}: {generations} below {number}");
                }
            }
        });
    }
}
