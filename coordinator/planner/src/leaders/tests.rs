//! Leader balancing against brute force on small plans, and against its rules on larger ones.

use std::collections::{BTreeMap, BTreeSet};

use super::{Balance, switches};
use crate::cluster::{ClusterView, NodeInfo};
use crate::ids::{GroupId, NodeId, ReplicaId};
use crate::place::{Movement, Request, Scheduler, place};
use crate::plan::Plan;
use crate::shape::Shape;
use crate::tests::{Random, explore, module, node};

fn draw_plan(random: &mut Random, groups_max: usize) -> Plan {
    let nodes = 1 + random.below(5) as u64;
    let info = NodeInfo {
        leaders_allowed: true,
        ..NodeInfo::default()
    };
    let cluster = ClusterView {
        nodes: (1..=nodes).map(|n| (node(n), info.clone())).collect(),
        running: BTreeMap::new(),
    };
    let threads = 1 + random.below(groups_max) as u32;
    let workers = 1 + random.below(threads as usize) as u32;
    let replication = 1 + random.below(nodes.min(3) as usize) as u32;
    let request = Request {
        module: module("Shop"),
        shape: Shape::new(16, threads, workers, replication).unwrap(),
        label: None,
        scheduler: Scheduler::Dev,
        previous: None,
        movement: Movement::Keep,
        avoid: BTreeSet::new(),
    };
    place(&cluster, &request).unwrap()
}

/// Squares of node loads, squares of worker loads.
fn score(plan: &Plan, leaders: &BTreeMap<GroupId, ReplicaId>) -> (u64, u64) {
    let mut nodes: BTreeMap<NodeId, u64> = BTreeMap::new();
    let mut workers: BTreeMap<u32, u64> = BTreeMap::new();
    for worker in &plan.workers {
        for held in &worker.groups {
            if leaders.get(&held.group) == Some(&held.replica) {
                *nodes.entry(worker.node).or_insert(0) += 1;
                *workers.entry(worker.index.0).or_insert(0) += 1;
            }
        }
    }
    let squares = |loads: Vec<u64>| loads.into_iter().map(|load| load * load).sum();
    (
        squares(nodes.into_values().collect()),
        squares(workers.into_values().collect()),
    )
}

/// Tries all assignments of leaders.
fn best(
    plan: &Plan,
    now: &BTreeMap<GroupId, ReplicaId>,
    eligible: &BTreeMap<GroupId, BTreeSet<ReplicaId>>,
) -> ((u64, u64), usize) {
    let groups: Vec<(&GroupId, &BTreeSet<ReplicaId>)> = eligible.iter().collect();
    let mut all: Vec<BTreeMap<GroupId, ReplicaId>> = vec![BTreeMap::new()];
    for (group, may) in groups {
        all = all
            .iter()
            .flat_map(|some| {
                may.iter().map(|replica| {
                    let mut more = some.clone();
                    more.insert(*group, *replica);
                    more
                })
            })
            .collect();
    }
    let switched = |then: &BTreeMap<GroupId, ReplicaId>| {
        then.iter().filter(|(group, to)| now[group] != **to).count()
    };
    all.iter()
        .map(|then| (score(plan, then), switched(then)))
        .min()
        .expect("there is an assignment")
}

fn compare_with_brute_force(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let plan = draw_plan(&mut random, 6);
    let mut now = BTreeMap::new();
    let mut eligible: BTreeMap<GroupId, BTreeSet<ReplicaId>> = BTreeMap::new();
    for group in (0..plan.shape.threads()).map(GroupId) {
        let leader = ReplicaId(random.below(plan.shape.replication() as usize) as u32);
        let others = (0..plan.shape.replication()).map(ReplicaId);
        let mut may: BTreeSet<ReplicaId> = others.filter(|_| random.one_in(2)).collect();
        may.insert(leader);
        now.insert(group, leader);
        eligible.insert(group, may);
    }
    let balance = Balance {
        plan: &plan,
        leaders: &now,
        eligible: &eligible,
        disallowed: &BTreeSet::new(),
    };
    let asked = switches(&balance);
    let mut then = now.clone();
    for switch in &asked {
        if !eligible[&switch.group].contains(&switch.to) {
            return Err(format!("{switch:?} is not possible"));
        }
        then.insert(switch.group, switch.to);
    }
    let found = (score(&plan, &then), asked.len());
    let best = best(&plan, &now, &eligible);
    if found == best {
        Ok(())
    } else {
        Err(format!("found {found:?}, best is {best:?}"))
    }
}

/// Spec §4.6: the best balance that is possible, by the minimum number of switches.
#[test]
fn balancing_is_optimal_with_fewest_switches() {
    explore(0..400, compare_with_brute_force);
}

/// Spec §4.6: leaders leave a disallowed node if possible, and stay where nobody else may lead.
#[test]
fn leaders_leave_a_disallowed_node_where_they_can() {
    let mut random = Random::new(7);
    let plan = loop {
        let plan = draw_plan(&mut random, 8);
        if plan.shape.replication() == 3 && plan.shape.threads() > 3 {
            break plan;
        }
    };
    let leaders = (0..plan.shape.threads()).map(|g| (GroupId(g), ReplicaId(0)));
    let leaders: BTreeMap<GroupId, ReplicaId> = leaders.collect();
    let all: BTreeSet<ReplicaId> = (0..3).map(ReplicaId).collect();
    let mut eligible: BTreeMap<_, _> = leaders.keys().map(|g| (*g, all.clone())).collect();
    let bad = plan.workers[0].node;
    let stuck = plan.workers[0].groups[0].group;
    eligible.insert(stuck, BTreeSet::from([ReplicaId(0)]));
    let disallowed = BTreeSet::from([bad]);
    let asked = switches(&Balance {
        plan: &plan,
        leaders: &leaders,
        eligible: &eligible,
        disallowed: &disallowed,
    });
    assert!(asked.iter().all(|switch| switch.group != stuck));
    for worker in plan.workers.iter().filter(|worker| worker.node == bad) {
        for held in &worker.groups {
            let to = asked.iter().find(|switch| switch.group == held.group);
            let leader = to.map_or(leaders[&held.group], |switch| switch.to);
            assert!(leader != held.replica || held.group == stuck, "{held:?}");
        }
    }
}

fn preferred_are_even(seed: u64) -> Result<(), String> {
    let plan = draw_plan(&mut Random::new(seed), 16);
    let mut nodes: BTreeMap<NodeId, i64> = BTreeMap::new();
    for worker in &plan.workers {
        let led = worker.groups.iter().filter(|held| held.preferred_leader);
        *nodes.entry(worker.node).or_insert(0) += led.count() as i64;
    }
    // With two replicas or more, columns overlap enough for an even spread whenever every node has
    // the same number of columns.
    let per_node = plan.workers.len() / nodes.len();
    let whole = plan.workers.len() == per_node * nodes.len();
    let same = plan.shape.threads().is_multiple_of(plan.shape.workers());
    let one_column = plan.shape.replication() as usize == nodes.len();
    let spread = nodes.values().max().unwrap() - nodes.values().min().unwrap();
    if whole && same && one_column && spread > 1 {
        return Err(format!("leaders per node {nodes:?} of {:?}", plan.shape));
    }
    Ok(())
}

#[test]
fn preferred_leaders_are_even_over_nodes() {
    explore(0..500, preferred_are_even);
}
