//! The best-effort reservation of the isolation scheduler (spec operations §3.3): take nodes such
//! that other modules which are listed, but not deployed yet, still find theirs.
//!
//! Nodes with equal labels are one class; demands and classes form a bipartite graph. This module
//! is served first and in full; then each other demand, wholly or not at all, along augmenting
//! paths that may exchange nodes of those served before but never take one away from them.

use std::collections::{BTreeSet, VecDeque};

/// A module that wants nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) label: Option<String>,
    pub(super) nodes: usize,
}

/// Free nodes with equal labels.
pub(super) struct Class<'a> {
    /// Whether the module that is placed may use them.
    pub(super) mine: bool,
    pub(super) labels: &'a BTreeSet<String>,
    pub(super) nodes: usize,
}

#[derive(Clone)]
struct Flow {
    /// By demand and class.
    given: Vec<Vec<usize>>,
    free: Vec<usize>,
    /// Whether the demand takes nodes of the class.
    takes: Vec<Vec<bool>>,
}

/// How many nodes of each class the module takes: `missing` in all.
pub(super) fn portions(classes: &[Class<'_>], missing: usize, others: &[Demand]) -> Vec<usize> {
    let mine = classes.iter().map(|class| class.mine).collect();
    let wants = |demand: &Demand| {
        let label = demand.label.as_ref();
        let takes = |class: &Class<'_>| label.is_none_or(|label| class.labels.contains(label));
        classes.iter().map(takes).collect()
    };
    let mut takes: Vec<Vec<bool>> = vec![mine];
    takes.extend(others.iter().map(wants));
    let mut flow = Flow {
        given: vec![vec![0; classes.len()]; takes.len()],
        free: classes.iter().map(|class| class.nodes).collect(),
        takes,
    };
    for _ in 0..missing {
        // Classes with few labels first: they are the least useful to others.
        let open = (0..classes.len()).filter(|c| classes[*c].mine && flow.free[*c] > 0);
        let plain = open.min_by_key(|c| (classes[*c].labels.len(), *c));
        let class = plain.expect("there are at least as many free nodes as are missing");
        flow.free[class] -= 1;
        flow.given[0][class] += 1;
    }
    for (at, demand) in others.iter().enumerate() {
        let before = flow.clone();
        if !(0..demand.nodes).all(|_| flow.augment(at + 1)) {
            flow = before;
        }
    }
    flow.given.swap_remove(0)
}

impl Flow {
    /// Gives one more node to a demand; others may exchange theirs.
    fn augment(&mut self, demand: usize) -> bool {
        let classes = self.free.len();
        // Who would take a node of the class, and what class they would hand over for it.
        let mut reached: Vec<Option<(usize, Option<usize>)>> = vec![None; classes];
        let mut queue = VecDeque::new();
        for class in (0..classes).filter(|c| self.takes[demand][*c]) {
            reached[class] = Some((demand, None));
            queue.push_back(class);
        }
        while let Some(class) = queue.pop_front() {
            if self.free[class] > 0 {
                self.exchange(class, &reached);
                return true;
            }
            for holder in (0..self.given.len()).filter(|d| self.given[*d][class] > 0) {
                for other in (0..classes).filter(|c| self.takes[holder][*c]) {
                    if reached[other].is_none() {
                        reached[other] = Some((holder, Some(class)));
                        queue.push_back(other);
                    }
                }
            }
        }
        false
    }

    fn exchange(&mut self, free: usize, reached: &[Option<(usize, Option<usize>)>]) {
        self.free[free] -= 1;
        let mut class = free;
        loop {
            let (taker, from) = reached[class].expect("the path is made of reached classes");
            self.given[taker][class] += 1;
            let Some(from) = from else { return };
            self.given[taker][from] -= 1;
            class = from;
        }
    }
}
