//! A family tree: who descends from whom, over any number of generations and tasks.
//!
//! Relies on query topologies that go round from person to person, each read on the task where that
//! person is, all branches at once. What must stay true: a person is told of once, after which parents
//! never change; both directions of a parent are written, so that either query finds everyone.

use std::collections::{BTreeMap, BTreeSet};

use rama::prelude::*;
use uuid::Uuid;

/// Somebody who was born.
#[rama::record]
pub struct Person {
    /// Chosen by the client.
    pub id: Uuid,
    /// As far as they are known; they need not be told of before.
    pub parents: Vec<Uuid>,
    /// What they are called.
    pub name: String,
}

/// What is known of a person.
#[derive(Schema)]
pub struct Relatives {
    /// What they are called; absent when only their children were told of.
    pub name: String,
    /// As far as they are known.
    pub parents: Vec<Uuid>,
    /// All of them.
    pub children: Set<Uuid>,
}

/// People, partitioned by their id.
pub const PEOPLE: Depot<Person> = Depot::named("*people");
/// Everyone.
pub const TREE: PState<Map<Uuid, Relatives>> = PState::named("$$tree");
/// The ancestors of a person: parents, and beyond them so many generations more.
pub const ANCESTORS: Query<(Uuid, u32), BTreeSet<Uuid>> = Query::named("ancestors");
/// How many descend from a person in each of so many generations, children being generation 0. Who
/// descends in two ways counts twice.
pub const DESCENDANTS: Query<(Uuid, u32), BTreeMap<u32, u64>> = Query::named("descendants");

/// The module.
pub struct FamilyTree;

impl Module for FamilyTree {
    fn define(&self, m: &mut Setup) {
        m.depot_by(PEOPLE, |person| &person.id);
        let mut s = m.stream("people");
        let tree = s.pstate(TREE);
        s.source(PEOPLE)
            .flat_map(move |task, person| {
                let relatives = tree.key(&person.id);
                relatives.name().set(task, person.name);
                relatives.parents().set(task, person.parents.clone());
                let (parents, child) = (person.parents.into_iter(), person.id);
                parents.map(move |parent| (parent, child))
            })
            .hash_partition_by(|(parent, _)| parent)
            .each(move |task, (parent, child)| tree.key(&parent).children().insert(task, &child));
        m.query(ANCESTORS, |q| {
            // A person may be found in several ways: the one that leaves the most generations counts.
            let visited = q.temporary::<BTreeMap<Uuid, Option<u32>>>();
            q.iterate(|round| {
                round
                    .hash_partition_by(|(person, _)| person)
                    .filter(move |task, (person, left)| {
                        visited.with(task, |visited| {
                            let (best, left) = (visited.entry(*person).or_default(), Some(*left));
                            std::mem::replace(best, left.max(*best)) < left
                        })
                    })
                    .emit(move |task, (person, left), emit| {
                        for parent in tree.key(&person).parents().get(task).unwrap_or_default() {
                            emit(Turn::Emit(parent));
                            if left > 0 {
                                emit(Turn::Again((parent, left - 1)));
                            }
                        }
                    })
            })
            .origin_partition()
            .agg(|of| of.set(|ancestor| *ancestor))
        });
        m.query(DESCENDANTS, |q| {
            q.map(|_, (person, generations)| (person, 0, generations))
                .iterate(|round| {
                    round
                        .filter(|_, (_, generation, generations)| generation < generations)
                        .hash_partition_by(|(person, ..)| person)
                        .emit(move |task, (person, generation, generations), emit| {
                            let children = tree.key(&person).children().elements(task);
                            emit(Turn::Emit((generation, children.len() as u64)));
                            for child in children {
                                emit(Turn::Again((child, generation + 1, generations)));
                            }
                        })
                })
                .group_by(|(generation, _)| *generation)
                .agg(|of| of.sum(|(_, count)| *count))
                .origin_partition()
                .agg(|of| of.map(|row| *row))
        });
    }
}
