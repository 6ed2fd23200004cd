//! Random commits against a map in memory: what followers are told leads to what a select answers.

use std::cell::Cell;
use std::ops::{Bound, ControlFlow};

use super::*;
use crate::access::{Order, ReadAccess, Visit};
use crate::plan::{self, Scan, Take};
use crate::proxy::replica::Replica;
use crate::proxy::slot::{self, Fed, Feed};

const SPACE: SpaceId = SpaceId(9);
const ELSEWHERE: SpaceId = SpaceId(10);

/// A store that counts its reads.
#[derive(Default)]
struct Memory {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    reads: Cell<u64>,
}

impl Memory {
    fn apply(&mut self, batch: &WriteBatch) {
        for op in batch.ops() {
            match op {
                Op::Put { space, key, value } if space == SPACE => {
                    self.entries.insert(key.to_vec(), value.to_vec());
                }
                Op::Delete { space, key } if space == SPACE => {
                    self.entries.remove(key);
                }
                Op::DeleteRange { space, lo, hi } if space == SPACE => {
                    self.entries
                        .retain(|key, _| key.as_slice() < lo || key.as_slice() >= hi);
                }
                Op::Clear { space } if space == SPACE => self.entries.clear(),
                _ => {}
            }
        }
    }

    fn visit(&self, lo: &[u8], hi: Option<&[u8]>, back: bool, visit: &mut Visit<'_>) {
        self.reads.set(self.reads.get() + 1);
        if hi.is_some_and(|hi| hi <= lo) {
            return;
        }
        let hi = hi.map_or(Bound::Unbounded, Bound::Excluded);
        let mut range = self.entries.range::<[u8], _>((Bound::Included(lo), hi));
        while let Some((key, value)) = if back {
            range.next_back()
        } else {
            range.next()
        } {
            if visit(key, value) == ControlFlow::Break(()) {
                return;
            }
        }
    }
}

impl lsm::Read for Memory {
    fn get(
        &self,
        space: SpaceId,
        key: &[u8],
        with: &mut dyn FnMut(Option<&[u8]>),
    ) -> std::result::Result<(), lsm::Error> {
        assert_eq!(space, SPACE);
        self.reads.set(self.reads.get() + 1);
        with(self.entries.get(key).map(Vec::as_slice));
        Ok(())
    }

    fn scan(
        &self,
        space: SpaceId,
        lo: &[u8],
        hi: Option<&[u8]>,
        order: lsm::Order,
        visit: lsm::Visit<'_>,
    ) -> std::result::Result<(), lsm::Error> {
        assert_eq!(space, SPACE);
        self.visit(lo, hi, order == lsm::Order::Descending, visit);
        Ok(())
    }
}

impl ReadAccess for Memory {
    fn get(&self, _: SpaceId, key: &[u8], with: &mut dyn FnMut(Option<&[u8]>)) {
        with(self.entries.get(key).map(Vec::as_slice));
    }

    fn scan(&self, _: SpaceId, lo: &[u8], hi: Option<&[u8]>, order: Order, visit: &mut Visit<'_>) {
        self.visit(lo, hi, order == Order::Descending, visit);
    }
}

fn scan(lo: &[u8], hi: &[u8], limit: u64, order: Order) -> Scan {
    let span = crate::path::Span {
        lo: lo.to_vec(),
        hi: Some(hi.to_vec()),
        order,
        limit,
    };
    Scan {
        prefix_len: 1,
        span,
        reverse: false,
        take: Take::Entries,
        structure: None,
    }
}

/// One plan of every kind, over keys of one or two letters.
fn plans() -> Vec<Plan> {
    let key = vec![1, 2];
    let take = |take| Scan {
        take,
        ..scan(&[1, 0], &[2], u64::MAX, Order::Ascending)
    };
    vec![
        Plan::Get { key: key.clone() },
        Plan::Len { key: key.clone() },
        Plan::Exists { key, single: true },
        Plan::Exists {
            key: vec![3],
            single: false,
        },
        Plan::Scan(take(Take::Entries)),
        Plan::Scan(take(Take::Keys)),
        Plan::Scan(take(Take::Values)),
        Plan::Count(take(Take::Keys)),
        Plan::Several(vec![
            Plan::Get { key: vec![1, 1] },
            Plan::Len { key: vec![3] },
        ]),
        Plan::Scan(scan(&[1, 1], &[1, 3], u64::MAX, Order::Descending)),
        Plan::Scan(scan(&[1, 0], &[2], 2, Order::Ascending)),
        // No path makes these: they reach beyond one structure.
        Plan::Scan(scan(&[1, 0], &[4], 3, Order::Ascending)),
        Plan::Scan(scan(&[1, 0], &[4], u64::MAX, Order::Ascending)),
        Plan::Scan(scan(&[1, 0], &[4], 2, Order::Descending)),
    ]
}

struct World {
    memory: Memory,
    followers: Followers,
    /// Plan, copy, feed, and whether the reader is slow.
    readers: Vec<(Plan, Replica, Feed, bool)>,
}

impl World {
    fn new() -> World {
        World {
            memory: Memory::default(),
            followers: Followers::default(),
            readers: Vec::new(),
        }
    }

    fn follow(&mut self, plan: Plan, slow: bool) {
        let (subscription, feed) = slot::pair();
        let target = Target {
            pstate: 0,
            space: SPACE,
            plan: plan.clone(),
        };
        self.followers.add(target, 10_000, subscription, |_| {});
        let replica = Replica::of(&Footprint::of(&plan));
        self.readers.push((plan, replica, feed, slow));
    }

    fn commit(&mut self, batch: &WriteBatch) {
        self.followers.on_writes(&self.memory, batch, &|_| 3);
        self.memory.apply(batch);
    }

    fn answer(&self, plan: &Plan) -> Vec<u8> {
        plan::evaluate(&self.memory, SPACE, plan, Limits::default()).unwrap()
    }

    fn evaluate(&self, count: u64) {
        let mut known = self.followers.known.borrow_mut();
        let select = |_, plan: &Plan, _| Ok(self.answer(plan));
        for _ in 0..count {
            known.work(&select, &|_| 3);
        }
    }

    fn read(&mut self, at: usize) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let (plan, replica, feed, _) = &mut self.readers[at];
        while let std::task::Poll::Ready(fed) = feed.poll_next(&mut cx) {
            match fed {
                Fed::Update(update) => {
                    let applied = replica.apply(&update);
                    applied.unwrap_or_else(|error| panic!("{plan:?}: {error}"));
                }
                other => panic!("{plan:?}: {other:?}"),
            }
        }
    }
}

fn key(random: u64) -> Vec<u8> {
    let second = (random >> 3) as u8 % 5;
    match random.is_multiple_of(7) {
        true => vec![second],
        false => vec![1 + (random >> 20) as u8 % 3, second],
    }
}

fn batch(random: &mut impl FnMut() -> u64) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for _ in 0..random() % 4 {
        let at = key(random());
        match random() % 9 {
            0..=4 => batch.put(SPACE, &at, &[random() as u8 % 3; 8]),
            5 | 6 => batch.delete(SPACE, &at),
            7 => batch.delete_range(SPACE, &at, &[at.clone(), key(random())].concat()),
            _ if random().is_multiple_of(8) => batch.clear(SPACE),
            _ => batch.put(ELSEWHERE, &at, b"not followed"),
        }
    }
    batch
}

/// P-42, P-43, P-46: for every kind of plan, fast and slow readers alike.
#[test]
fn what_is_told_leads_to_what_a_select_answers() {
    for seed in 0..300_u64 {
        let mut state = seed << 32;
        let mut random = move || {
            state += 1;
            rama_core::ids::mix(state)
        };
        let mut world = World::new();
        for plan in plans() {
            world.follow(plan.clone(), false);
            world.follow(plan, true);
        }
        for _ in 0..40 {
            world.commit(&batch(&mut random));
            world.evaluate(random() % 30);
            let reader = random() as usize % world.readers.len();
            if !world.readers[reader].3 {
                world.read(reader);
            }
            if random().is_multiple_of(10) {
                let plans = plans();
                world.follow(plans[random() as usize % plans.len()].clone(), true);
            }
        }
        world.evaluate(u64::from(u16::MAX));
        for at in 0..world.readers.len() {
            world.read(at);
            let (plan, replica, ..) = &world.readers[at];
            assert_eq!(
                replica.answer(),
                world.answer(plan),
                "seed {seed}: {plan:?}"
            );
        }
        drop(std::mem::take(&mut world.readers));
    }
}

/// P-43: the mistake of telling one change too few is found by the first checksum after it.
#[test]
fn a_change_that_is_not_told_is_found() {
    let mut world = World::new();
    world.follow(Plan::Get { key: vec![1, 2] }, false);
    world.evaluate(1);
    world.read(0);
    crate::mutants::set(Some(crate::mutants::Mutant::DroppedDiff));
    let mut batch = WriteBatch::new();
    batch.put(SPACE, &[1, 2], b"new");
    world.commit(&batch);
    crate::mutants::set(None);
    let (_, replica, feed, _) = &mut world.readers[0];
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Fed::Update(update)) = feed.poll_next(&mut cx) else {
        panic!("something is told");
    };
    let error = replica.apply(&update).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

/// P-46: writes read nothing for those who follow other keys, and once for all who follow the same.
#[test]
fn a_write_costs_one_read_however_many_follow_its_key() {
    let mut world = World::new();
    for other in 0..200_u8 {
        world.follow(
            Plan::Get {
                key: vec![8, other],
            },
            false,
        );
    }
    world.evaluate(200);
    let mut batch = WriteBatch::new();
    batch.put(SPACE, &[1, 2], b"new");
    let before = world.memory.reads.get();
    world.commit(&batch);
    assert_eq!(world.memory.reads.get(), before);
    for _ in 0..200 {
        world.follow(Plan::Get { key: vec![1, 2] }, false);
    }
    world.evaluate(1);
    world.commit(&batch);
    assert_eq!(world.memory.reads.get(), before + 1);
}

/// P-46: a commit tells a few readers of a path, and leaves many to the loop; all are told.
#[test]
fn many_readers_of_one_path_are_told_in_slices() {
    let mut world = World::new();
    for _ in 0..limits::PROXIES_SLICE * 2 {
        world.follow(Plan::Get { key: vec![1, 2] }, false);
    }
    world.evaluate(1);
    let last = world.readers.len() - 1;
    world.read(last);
    for value in 0..2 {
        let mut batch = WriteBatch::new();
        batch.put(SPACE, &[1, 2], &[value]);
        world.commit(&batch);
    }
    // Two slices for each update.
    for more in [true, true, true, false] {
        world.evaluate(1);
        assert_eq!(!world.followers.known.borrow().due.is_empty(), more);
    }
    for at in [0, last / 2, last] {
        world.read(at);
        let (plan, replica, ..) = &world.readers[at];
        assert_eq!(replica.answer(), world.answer(plan));
    }
}

/// P-44: a path that nobody follows any more is forgotten, with everything about it.
#[test]
fn what_nobody_follows_is_forgotten() {
    let world = World::new();
    let readers: Rc<RefCell<Vec<u64>>> = Rc::default();
    let (gone, seen) = std::sync::mpsc::channel();
    let mut feeds = Vec::new();
    for plan in plans().into_iter().chain(plans()) {
        let (subscription, feed) = slot::pair();
        let target = Target {
            pstate: 0,
            space: SPACE,
            plan,
        };
        let gone = gone.clone();
        let tell = move |reader| gone.send(reader).unwrap();
        world.followers.add(target, 1000, subscription, tell);
        feeds.push(feed);
    }
    assert_eq!(world.followers.len(), feeds.len());
    drop(feeds);
    readers.borrow_mut().extend(seen.try_iter());
    for reader in readers.take() {
        world.followers.remove(reader);
    }
    assert!(world.followers.is_idle() && world.followers.len() == 0);
    let known = world.followers.known.borrow();
    let left = (known.by_plan.len(), known.by_key.len(), known.due.len());
    assert_eq!(left, (0, 0, 0));
    assert_eq!(known.counts.values().sum::<usize>(), 0);
}

/// `pstate.proxy.limit`: proxies of one PState above it are refused, with its name.
#[test]
fn one_reader_too_many_is_refused() {
    let followers = Followers::default();
    let add = || {
        let (subscription, feed) = slot::pair();
        let target = Target {
            pstate: 0,
            space: SPACE,
            plan: Plan::Get { key: vec![1] },
        };
        followers.add(target, 1, subscription, |_| {});
        feed
    };
    let (first, second) = (add(), add());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(first.poll_next(&mut cx).is_pending());
    match second.poll_next(&mut cx) {
        std::task::Poll::Ready(Fed::Refused(error)) => {
            assert!(error.to_string().contains("pstate.proxy.limit"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}
