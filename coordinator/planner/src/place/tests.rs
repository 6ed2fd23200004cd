//! Placement by script with golden plans, by random clusters against its rules, and at full size.

use std::collections::{BTreeMap, BTreeSet};

use super::{Dedicated, Movement, Request, Scheduler, place, place_counted};
use crate::cluster::{ClusterView, NodeInfo};
use crate::ids::{ModuleName, NodeId};
use crate::plan::Plan;
use crate::shape::Shape;
use crate::tests::script::{self, Command};
use crate::tests::{Random, explore, module, node};

/// A script's cluster: every command either changes it or places on it.
struct Stage {
    cluster: ClusterView,
    scheduler: Scheduler,
    plans: BTreeMap<ModuleName, Plan>,
}

fn ready() -> NodeInfo {
    NodeInfo {
        leaders_allowed: true,
        cores: 16,
        ..NodeInfo::default()
    }
}

fn ids(text: Option<&str>) -> BTreeSet<NodeId> {
    let ids = text.into_iter().flat_map(|text| text.split(','));
    ids.map(|id| node(id.parse().expect("a node is a number")))
        .collect()
}

impl Stage {
    fn execute(&mut self, line: &str) -> String {
        let command = Command::parse(line);
        match command.name {
            "nodes" => {
                self.cluster.nodes.clear();
                self.cluster.running.clear();
                self.plans.clear();
                let nodes = 1..=command.need("count");
                self.cluster.nodes = nodes.map(|n| (node(n), ready())).collect();
            }
            "node" => self.change_node(&command),
            "lose" => {
                for node in ids(command.text("nodes")) {
                    self.cluster.nodes.remove(&node);
                }
            }
            "runs" => {
                let name = module(command.text("module").expect("runs needs module="));
                for node in ids(command.text("nodes")) {
                    let on = self.cluster.running.entry(node).or_default();
                    on.insert(name.clone(), 1);
                }
            }
            "dev" => self.scheduler = Scheduler::Dev,
            "isolation" => {
                let modules = line.split(' ').skip(1).map(listed);
                self.scheduler = Scheduler::Isolation(modules.collect());
            }
            "place" => return self.place(&command),
            other => panic!("no command {other}"),
        }
        "ok\n".to_owned()
    }

    fn change_node(&mut self, command: &Command<'_>) {
        let id = node(command.need("id"));
        let info = self.cluster.nodes.entry(id).or_insert_with(ready);
        if let Some(labels) = command.text("labels") {
            info.labels = labels.split(',').map(str::to_owned).collect();
        }
        info.leaders_allowed = command.text("leaders") != Some("no");
        info.draining = command.text("draining") == Some("yes");
    }

    fn place(&mut self, command: &Command<'_>) -> String {
        let name = module(command.text("module").expect("place needs module="));
        let number = |key| u32::try_from(command.need(key)).expect("numbers are small");
        let replication = command.number("rf").unwrap_or(1);
        let replication = u32::try_from(replication).expect("numbers are small");
        let shape = Shape::new(
            number("tasks"),
            number("threads"),
            number("workers"),
            replication,
        );
        let shape = match shape {
            Ok(shape) => shape,
            Err(error) => return format!("error: {error}\n"),
        };
        let previous = self
            .plans
            .get(&name)
            .filter(|_| command.text("again").is_some());
        let request = Request {
            module: name.clone(),
            shape,
            label: command.text("label").map(str::to_owned),
            scheduler: self.scheduler.clone(),
            previous: previous.cloned(),
            movement: match command.text("again") {
                Some("even") => Movement::Even,
                _ => Movement::Keep,
            },
            avoid: ids(command.text("avoid")),
        };
        let plan = match place(&self.cluster, &request) {
            Ok(plan) => plan,
            Err(error) => return format!("error: {error}\n"),
        };
        let mut out = plan.describe(&|node| format!("n{}", node.0.as_u128()));
        if let Some(previous) = previous.filter(|previous| previous.shape == plan.shape) {
            out += &format!("moved {}\n", plan.moved_from(previous));
        }
        for on in self.cluster.running.values_mut() {
            on.remove(&name);
        }
        for worker in &plan.workers {
            let on = self.cluster.running.entry(worker.node).or_default();
            *on.entry(name.clone()).or_insert(0) += 1;
        }
        self.plans.insert(name, plan);
        out
    }
}

/// `Shop=2` or `Shop=2:gpu`.
fn listed(word: &str) -> (ModuleName, Dedicated) {
    let (name, what) = word.split_once('=').expect("a listed module is name=nodes");
    let (nodes, label) = match what.split_once(':') {
        Some((nodes, label)) => (nodes, Some(label.to_owned())),
        None => (what, None),
    };
    let nodes = nodes.parse().expect("nodes are counted");
    (module(name), Dedicated { nodes, label })
}

/// Every rule and every error of spec operations §2.2 and §3.1 to §3.3, as golden plans.
#[test]
fn plans_are_what_the_script_says() {
    let mut stage = Stage {
        cluster: ClusterView::default(),
        scheduler: Scheduler::Dev,
        plans: BTreeMap::new(),
    };
    script::run("placement.txt", &mut |line| stage.execute(line));
}

/// A cluster, a request that fits it, and the plan.
fn draw(random: &mut Random) -> (ClusterView, Request) {
    let mut cluster = ClusterView::default();
    let count = 1 + random.below(12);
    for n in 0..count {
        let mut info = ready();
        info.leaders_allowed = !random.one_in(8);
        cluster.nodes.insert(node(n as u64 + 1), info);
        if random.one_in(3) {
            let other = BTreeMap::from([(module("Other"), 1 + random.below(3) as u32)]);
            cluster.running.insert(node(n as u64 + 1), other);
        }
    }
    let tasks = 1u32 << random.below(8);
    let threads = 1 + random.below(tasks as usize) as u32;
    let workers = 1 + random.below(threads as usize) as u32;
    let replication = 1 + random.below(count.min(4)) as u32;
    let request = Request {
        module: module("Shop"),
        shape: Shape::new(tasks, threads, workers, replication).unwrap(),
        label: None,
        scheduler: Scheduler::Dev,
        previous: None,
        movement: Movement::Keep,
        avoid: BTreeSet::new(),
    };
    (cluster, request)
}

fn spread_of(counts: impl Iterator<Item = usize> + Clone) -> usize {
    counts.clone().max().unwrap_or(0) - counts.min().unwrap_or(0)
}

fn per_node(plan: &Plan, of: impl Fn(&crate::plan::PlannedWorker) -> usize) -> Vec<usize> {
    let mut nodes: BTreeMap<NodeId, usize> = BTreeMap::new();
    for worker in &plan.workers {
        *nodes.entry(worker.node).or_insert(0) += of(worker);
    }
    nodes.into_values().collect()
}

/// The rules of evenness of spec §3.1; anti-affinity and wholeness are `Plan::check`'s.
fn assert_even(plan: &Plan, what: &str) -> Result<(), String> {
    plan.check()?;
    let groups = plan.groups();
    let rule = |holds: bool, rule: &str| {
        let shape = plan.shape;
        holds
            .then_some(())
            .ok_or(format!("{what}: {rule}, {shape:?}"))
    };
    rule(
        spread_of(groups.iter().map(Vec::len)) <= 1,
        "tasks per thread",
    )?;
    let threads = plan.workers.iter().map(|worker| worker.groups.len());
    rule(spread_of(threads) <= 1, "threads per worker")?;
    let tasks_of = |worker: &crate::plan::PlannedWorker| -> usize {
        let held = worker.groups.iter();
        held.map(|held| groups[held.group.0 as usize].len()).sum()
    };
    // No exchange of a large and a small group between columns makes tasks per worker more even.
    let tasks: Vec<usize> = plan.workers.iter().map(tasks_of).collect();
    let least = (plan.shape.tasks() / plan.shape.threads()) as usize;
    let few = plan.workers.iter().zip(&tasks).take(200);
    for (a, full) in few {
        for (b, empty) in plan.workers.iter().zip(&tasks) {
            let gives = a
                .groups
                .iter()
                .any(|h| groups[h.group.0 as usize].len() > least);
            let takes = b
                .groups
                .iter()
                .any(|h| groups[h.group.0 as usize].len() == least);
            let better = full >= &(empty + 2) && gives && takes;
            rule(!better, "tasks per worker")?;
        }
    }
    rule(
        spread_of(per_node(plan, |_| 1).into_iter()) <= 1,
        "workers per node",
    )
}

fn fresh_plans_are_even(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let (cluster, request) = draw(&mut random);
    let plan = place(&cluster, &request).map_err(|error| error.to_string())?;
    assert_even(&plan, "fresh")?;
    let nodes = plan.nodes().len();
    let possible = cluster.nodes.len().min(request.shape.processes() as usize);
    if nodes != possible {
        return Err(format!("{nodes} nodes of {possible} are used"));
    }
    if place(&cluster, &request).as_ref() != Ok(&plan) {
        return Err("equal inputs gave another plan".to_owned());
    }
    Ok(())
}

#[test]
fn fresh_plans_are_even_and_deterministic() {
    explore(0..1000, fresh_plans_are_even);
}

fn only_what_must_move_moves(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let (mut cluster, mut request) = draw(&mut random);
    let plan = place(&cluster, &request).map_err(|error| error.to_string())?;
    let lost: Vec<NodeId> = cluster.nodes.keys().copied().collect();
    let spare = lost.len() - request.shape.replication() as usize;
    for node in lost.into_iter().take(random.below(spare + 1)) {
        if random.one_in(2) {
            cluster.nodes.remove(&node);
        } else {
            request.avoid.insert(node);
        }
    }
    for n in 0..random.below(4) {
        cluster.nodes.insert(node(100 + n as u64), ready());
    }
    request.previous = Some(plan.clone());
    let stays = |node: &NodeId| cluster.nodes.contains_key(node) && !request.avoid.contains(node);
    let must = plan.workers.iter().filter(|w| !stays(&w.node)).count();
    let kept = place(&cluster, &request).map_err(|error| error.to_string())?;
    kept.check()?;
    if kept.moved_from(&plan) != must {
        let moved = kept.moved_from(&plan);
        return Err(format!("{moved} workers moved, {must} had to"));
    }
    request.movement = Movement::Even;
    let even = place(&cluster, &request).map_err(|error| error.to_string())?;
    assert_even(&even, "after a change")?;
    // What sits on a node above the rounded-up average must leave it; the rest may stay.
    let usable = cluster.nodes.len()
        - request
            .avoid
            .iter()
            .filter(|n| cluster.nodes.contains_key(n))
            .count();
    let share = plan.workers.len() / usable.min(plan.workers.len());
    let before = per_node(&plan, |w| usize::from(stays(&w.node)));
    let bound: usize = before.iter().map(|count| count.saturating_sub(share)).sum();
    let moved = even.moved_from(&plan);
    // Where columns overlap on few nodes, newcomers can force a few more that stand to move.
    let forced = request.shape.replication() as usize - 1 + plan.workers.len() / 20;
    if moved > must + bound + forced {
        return Err(format!("{moved} workers moved, {must} + {bound} would do"));
    }
    Ok(())
}

#[test]
fn only_workers_that_must_move_move() {
    explore(0..1000, only_what_must_move_moves);
}

fn scaling_keeps_evenness(seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let (cluster, mut request) = draw(&mut random);
    let plan = place(&cluster, &request).map_err(|error| error.to_string())?;
    let tasks = request.shape.tasks();
    let threads = 1 + random.below(tasks as usize) as u32;
    let workers = 1 + random.below(threads as usize) as u32;
    let replication = 1 + random.below(cluster.nodes.len().min(4)) as u32;
    request.shape = Shape::new(tasks, threads, workers, replication).unwrap();
    request.previous = Some(plan);
    request.movement = Movement::Even;
    let scaled = place(&cluster, &request).map_err(|error| error.to_string())?;
    assert_even(&scaled, "scaled")
}

#[test]
fn scaled_plans_are_even() {
    explore(0..1000, scaling_keeps_evenness);
}

/// 1,000 nodes × 4,096 tasks: counted, not timed; `--nocapture` prints the time too.
#[test]
fn the_largest_cluster_is_planned_in_few_steps() {
    let nodes = (1..=1000).map(|n| (node(n), ready()));
    let cluster = ClusterView {
        nodes: nodes.collect(),
        running: BTreeMap::new(),
    };
    for (threads, workers, replication) in [(4096, 1000, 3), (4096, 4096, 3), (1024, 333, 1)] {
        let request = Request {
            module: module("Shop"),
            shape: Shape::new(4096, threads, workers, replication).unwrap(),
            label: None,
            scheduler: Scheduler::Dev,
            previous: None,
            movement: Movement::Keep,
            avoid: BTreeSet::new(),
        };
        let mut steps = 0;
        let start = std::time::Instant::now();
        let plan = place_counted(&cluster, &request, &mut steps).unwrap();
        println!(
            "{threads}/{workers}/{replication}: {steps} steps, {:?}",
            start.elapsed()
        );
        assert_even(&plan, "large").unwrap();
        assert!(steps < 200_000_000, "{steps} steps");
    }
}
