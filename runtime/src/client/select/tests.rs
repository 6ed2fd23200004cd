//! Selects that are read page by page while other events run, and functions that clients name.

use futures_util::future::{Either, join, join3, select};

use crate::options::{Level, SELECT_PAGE_SIZE, Settings};
use crate::simulation::Simulation;
use crate::{
    Depot, ErrorKind, Function, InProcessCluster, Map, Module, PState, Partition, Setup,
    SimulatedCluster, block_on,
};

const ROUNDS: Depot<u64> = Depot::named("*rounds");
const CELLS: PState<Map<u64, Map<u64, u64>>> = PState::named("$$cells");
const ABOVE: Function<u64, bool, u64> = Function::named("above");
const HALF: Function<u64, u64> = Function::named("half");
const COUNT: u64 = 300;

/// Each record fills every cell with its own number, in one event.
struct Cells;

impl Module for Cells {
    fn define(&self, m: &mut Setup) {
        m.depot(ROUNDS, Partition::hash_by(|_: &u64| 0_u64));
        m.function(ABOVE, |cell, limit| cell > limit);
        m.function(HALF, |cell, ()| match cell {
            0 => panic!("nothing to halve"),
            cell => cell / 2,
        });
        let mut s = m.stream("fill");
        let cells = s.pstate(CELLS);
        s.source(ROUNDS).each(move |task, round| {
            for cell in 0..COUNT {
                cells.key(&0).key(&cell).set(task, round);
            }
        });
    }
}

fn run(seed: u64, page: u64, test: impl AsyncFn(&SimulatedCluster)) {
    let test = &test;
    let options = Settings::new().with(Level::Module, SELECT_PAGE_SIZE.name, page);
    let world = Simulation::seed(seed).options(options);
    world.run(Cells, |cluster| async move {
        cluster.calm().await;
        cluster.depot(ROUNDS).append(&1).await.unwrap();
        test(&cluster).await;
    });
}

/// P-25: with pages, what is asked after a large select is answered before it; without, after it.
#[test]
fn a_large_select_lets_others_have_their_turn() {
    for (page, overtaken) in [(10, true), (1_000, false)] {
        run(1, page, async |cluster| {
            let cells = cluster.pstate(CELLS);
            let large = Box::pin(cells.select(CELLS.key(&0).all()));
            let small = Box::pin(cells.select(CELLS.key(&0).key(&1)));
            let both = select(large, small).await;
            assert_eq!(
                matches!(both, Either::Right(_)),
                overtaken,
                "pages of {page}"
            );
            let answer = match both {
                Either::Left((answer, _)) => answer,
                Either::Right((_, large)) => large.await,
            };
            assert_eq!(answer.unwrap().len() as u64, COUNT);
        });
    }
}

/// P-25, P-35: all pages show one moment, although every cell changes meanwhile: on real threads, where
/// writes are applied between two pages.
#[test]
fn all_pages_show_one_moment() {
    let cluster = InProcessCluster::new(1, 1).unwrap();
    block_on(async {
        cluster.launch(Cells).await.unwrap();
        let (cells, rounds) = (cluster.pstate(CELLS), cluster.depot(ROUNDS));
        rounds.append(&0).await.unwrap();
        let option = SELECT_PAGE_SIZE.name;
        let set = cluster.set_option("Cells", Level::Module, option, 1);
        set.await.unwrap();
        for round in 1..40 {
            let values = || cells.select(CELLS.key(&0).all().select_values());
            let (appended, first, second) = join3(rounds.append(&round), values(), values()).await;
            appended.unwrap();
            for values in [first.unwrap(), second.unwrap()] {
                assert_eq!(values, vec![values[0]; COUNT as usize], "round {round}");
            }
            assert_eq!(values().await.unwrap(), vec![round; COUNT as usize]);
        }
    });
}

/// P-34: clients name what the module registers; everything else is refused with what there is.
#[test]
fn clients_call_what_the_module_registers() {
    run(3, 7, async |cluster| {
        let cells = cluster.pstate(CELLS);
        let above = |limit| CELLS.key(&0).first_n(2).filter(ABOVE.with(limit));
        let (all, none) = join(cells.select(above(0)), cells.select(above(1))).await;
        assert_eq!(
            (all.unwrap(), none.unwrap()),
            (vec![(0, 1), (1, 1)], Vec::new())
        );
        let halves = CELLS.key(&0).last_n(1).view(HALF).select_values();
        let both = cells.select((halves, CELLS.key(&0).select_len())).await;
        assert_eq!(both.unwrap(), (vec![0], COUNT));
        let twice = CELLS.key(&0).key(&1).view(HALF).view(HALF);
        let failed = cells.select(twice).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Rejected, "{failed:#}");
        let unknown: Function<u64, bool> = Function::named("odd");
        let failed = cells.select(CELLS.key(&0).all().filter(unknown)).await;
        let failed = failed.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Invalid);
        assert!(
            format!("{failed:#}").contains("the module registers above, half"),
            "{failed:#}"
        );
        let apart = (CELLS.key(&0).key(&1), CELLS.key(&1).key(&1));
        let failed = cells.select(apart).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Invalid);
    });
}
