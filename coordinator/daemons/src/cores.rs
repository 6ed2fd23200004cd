//! Cores for the workers of a machine, by NUMA node.
//!
//! Relies on the kernel's `/sys/devices/system` for the topology, and on its caller for which cores
//! may be used (the affinity of the supervisor, which knows cpusets) and which are given. What must stay
//! true: the task threads of one worker are on one node while any node has room for all, because memory
//! that a pinned thread touches first is its node's; two workers never share a core; a core of its own
//! comes before the second thread of one; who gets no cores is not pinned at all.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where the kernel tells.
const SYSTEM: &str = "/sys/devices/system";

/// The cores of a machine that may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// By number, as the kernel counts.
    cores: BTreeMap<usize, Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Its NUMA node.
    node: usize,
    /// Those that share its physical core, itself included, in order.
    siblings: Vec<usize>,
}

impl Topology {
    /// What this machine has of the cores that may be used.
    #[must_use]
    pub fn here(usable: &[usize]) -> Topology {
        let read = |path: &str| std::fs::read_to_string(Path::new(SYSTEM).join(path)).ok();
        Topology::parse(read, usable)
    }

    /// What files below `/sys/devices/system` tell of the cores that may be used. A machine without
    /// nodes is one.
    #[must_use]
    pub fn parse(read: impl Fn(&str) -> Option<String>, usable: &[usize]) -> Topology {
        let list = |path: &str| read(path).and_then(|text| numbers(&text));
        let nodes = list("node/online").unwrap_or_default();
        let mut node_of = BTreeMap::new();
        for node in nodes {
            let cores = list(&format!("node/node{node}/cpulist"));
            for core in cores.unwrap_or_default() {
                node_of.insert(core, node);
            }
        }
        let online = list("cpu/online");
        let is_online = |core: &usize| online.as_ref().is_none_or(|online| online.contains(core));
        let cores = usable.iter().copied().filter(is_online).map(|core| {
            let siblings = list(&format!("cpu/cpu{core}/topology/thread_siblings_list"));
            let place = Place {
                node: node_of.get(&core).copied().unwrap_or(0),
                siblings: siblings.map_or(vec![core], |found| found.into_iter().collect()),
            };
            (core, place)
        });
        Topology {
            cores: cores.collect(),
        }
    }

    /// The same machine with the first so many cores alone.
    #[must_use]
    pub fn limited(mut self, count: usize) -> Topology {
        let beyond = self.cores.keys().nth(count).copied();
        if let Some(beyond) = beyond {
            self.cores.split_off(&beyond);
        }
        self
    }

    /// So many cores that nobody was given; none when there are not so many. A worker keeps those
    /// that it had.
    #[must_use]
    pub fn pick(&self, count: usize, previous: &[usize], given: &BTreeSet<usize>) -> Vec<usize> {
        let free = |core: &usize| self.cores.contains_key(core) && !given.contains(core);
        if previous.len() == count && previous.iter().all(free) {
            return previous.to_vec();
        }
        let mut nodes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (core, place) in self.cores.iter().filter(|(core, _)| free(core)) {
            nodes.entry(place.node).or_default().push(*core);
        }
        let mut nodes: Vec<Vec<usize>> = nodes.into_values().collect();
        // The least room that is enough leaves the most to the next worker.
        let roomy = nodes.iter().filter(|cores| cores.len() >= count);
        if let Some(node) = roomy.min_by_key(|cores| cores.len()) {
            return self.of_one_node(node, count, given);
        }
        if nodes.iter().map(Vec::len).sum::<usize>() < count {
            return Vec::new();
        }
        // No node has room for all: as few nodes as possible.
        nodes.sort_by_key(|cores| std::cmp::Reverse(cores.len()));
        let mut picked: Vec<usize> = Vec::with_capacity(count);
        for node in nodes {
            let count = (count - picked.len()).min(node.len());
            picked.extend(self.of_one_node(&node, count, given));
        }
        picked
    }

    /// The best of a node: first those whose physical core does nothing else.
    fn of_one_node(&self, free: &[usize], count: usize, given: &BTreeSet<usize>) -> Vec<usize> {
        let rank = |core: &usize| {
            let siblings = &self.cores[core].siblings;
            let before = siblings.iter().take_while(|sibling| *sibling != core);
            let before = before.filter(|sibling| free.contains(sibling)).count();
            let busy = siblings.iter().filter(|sibling| given.contains(sibling));
            before + busy.count()
        };
        let mut ranked = free.to_vec();
        ranked.sort_by_key(|core| (rank(core), *core));
        ranked.truncate(count);
        ranked
    }
}

/// A list of the kernel: `0-3,8,10-11`.
fn numbers(text: &str) -> Option<BTreeSet<usize>> {
    let mut numbers = BTreeSet::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        // More than any kernel has: not a list of cores.
        if last > 1 << 16 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}
