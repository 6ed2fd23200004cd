//! Random schemas, random writes and random paths, against an interpreter that keeps everything in
//! nested maps and knows no keys, headers, ranges or pages.
//!
//! `RAMA_SEEDS` says how many seeds are tried.

mod model;
mod read;
mod shape;
mod write;

use crate::path::Cursor;
use crate::plan::{Evaluation, Functions, Ground, Limits, Plan};
use crate::schema::Map;
use crate::test_pstate::TestPState;
use model::Node;
use shape::Shape;

/// SplitMix64.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The seeds to try: so many, unless `RAMA_SEEDS` says how many.
pub(crate) fn seeds(usual: u64) -> std::ops::Range<u64> {
    let asked = std::env::var("RAMA_SEEDS").ok();
    0..asked.map_or(usual, |asked| {
        asked.parse().expect("RAMA_SEEDS is a number")
    })
}

/// The path answers, in pages of any size and after a journey as bytes, what the model answers.
fn check(
    state: &TestPState<Map<u8, u8>>,
    shape: &Shape,
    node: Option<&Node>,
    random: &mut Random,
    seed: u64,
) {
    let (path, wanted) = read::random(shape, node, random);
    let context = || format!("seed {seed}: {path} on {shape:?}");
    let compiled = crate::json_path::compile(&shape.desc(), &path)
        .unwrap_or_else(|error| panic!("{}: {error}", context()));
    let plan = Plan::from_bytes(&compiled.plan().to_bytes());
    let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", context()));
    let (read, space) = state.read_access();
    let ground = Ground {
        read,
        space,
        functions: &Functions::default(),
        limits: Limits::default(),
    };
    let mut evaluation = Evaluation::new(&plan);
    let elements = 1 + random.below(5);
    let answer = loop {
        let page = evaluation.page(ground, elements);
        if let Some(answer) = page.unwrap_or_else(|error| panic!("{}: {error}", context())) {
            break answer;
        }
    };
    let found = compiled.results(&answer);
    let found = found.unwrap_or_else(|error| panic!("{}: {error}", context()));
    assert_eq!(found, wanted, "{}", context());
}

/// Issue 4's generator for paths: N-1 … N-14, P-6 (schemas nest at will, keys are plain) and P-10 … P-19
/// as far as entries are stored apart.
#[test]
fn random_paths_into_random_schemas_agree_with_the_interpreter() {
    for seed in seeds(2000) {
        let mut random = Random::new(seed);
        let shape = Shape::root(&mut random);
        let mut node = None;
        let state = TestPState::<Map<u8, u8>>::new();
        let (_, space) = state.read_access();
        let top = shape.arrive(Cursor::top("$$random", Some(space), false));
        for _ in 0..30 {
            write::random(&shape, &mut node, top.clone(), state.task(), &mut random);
            if random.one_in(3) {
                check(&state, &shape, node.as_ref(), &mut random, seed);
            }
        }
        for _ in 0..4 {
            check(&state, &shape, node.as_ref(), &mut random, seed);
        }
    }
}
