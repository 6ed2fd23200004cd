//! The tree against a list of ranges.

use super::*;

/// Some short key over few letters, so that keys meet.
fn key(random: u64) -> Vec<u8> {
    let len = random % 4;
    (0..len)
        .map(|at| (random >> (8 + at * 8)) as u8 % 4)
        .collect()
}

struct World {
    tree: Intervals,
    list: Vec<(Vec<u8>, Option<Vec<u8>>, u64)>,
}

impl World {
    fn step(&mut self, random: u64, id: u64) {
        if random.is_multiple_of(3) && !self.list.is_empty() {
            let (lo, _, id) = self
                .list
                .swap_remove((random >> 32) as usize % self.list.len());
            self.tree.remove(&lo, id);
            return;
        }
        let lo = key(random);
        let hi =
            (!random.is_multiple_of(5)).then(|| [lo.clone(), key(random >> 7), vec![0]].concat());
        self.tree.insert(&lo, hi.as_deref(), id);
        self.list.push((lo, hi, id));
    }

    fn check(&self, at: &[u8], end: Option<&[u8]>, seed: u64) {
        let mut found = Vec::new();
        self.tree.holding(at, &mut |id| found.push(id));
        found.sort_unstable();
        let holds = |lo: &[u8], hi: &End| lo <= at && reaches(hi, at);
        assert_eq!(found, self.expected(holds), "seed {seed}, key {at:?}");
        let mut found = Vec::new();
        self.tree.meeting(at, end, &mut |id| found.push(id));
        found.sort_unstable();
        let meets = |lo: &[u8], hi: &End| reaches(hi, at) && end.is_none_or(|end| lo < end);
        assert_eq!(
            found,
            self.expected(meets),
            "seed {seed}, {at:?} to {end:?}"
        );
    }

    fn expected(&self, wanted: impl Fn(&[u8], &End) -> bool) -> Vec<u64> {
        let ranges = self.list.iter().filter(|(lo, hi, _)| wanted(lo, hi));
        let mut ids: Vec<u64> = ranges.map(|(_, _, id)| *id).collect();
        ids.sort_unstable();
        ids
    }
}

#[test]
fn the_tree_finds_what_a_list_finds() {
    for seed in 0..200_u64 {
        let mut world = World {
            tree: Intervals::default(),
            list: Vec::new(),
        };
        for step in 0..60 {
            let random = rama_core::ids::mix(seed << 16 | step);
            world.step(random, step);
            let at = key(rama_core::ids::mix(random));
            let end = [at.clone(), key(random >> 9), vec![1]].concat();
            world.check(&at, (step % 4 != 0).then_some(&end), seed);
        }
    }
}

fn depth(tree: &Tree) -> usize {
    tree.as_ref()
        .map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
}

/// P-46: the steps of a write without subscribers grow with the logarithm of their number.
#[test]
fn ten_thousand_ranges_in_order_make_a_shallow_tree() {
    let mut tree = Intervals::default();
    for id in 0..10_000_u64 {
        let lo = id.to_be_bytes();
        tree.insert(&lo, Some(&[&lo[..], &[0]].concat()), id);
    }
    assert!(depth(&tree.0) < 60, "{}", depth(&tree.0));
    for id in 0..10_000_u64 {
        tree.remove(&id.to_be_bytes(), id);
    }
    assert!(tree.is_empty());
}
