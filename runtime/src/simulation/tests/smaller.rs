//! What a failing simulation tells: as few faults as the failure needs, and how to see it again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::*;

/// What a simulation printed that had to fail.
fn told(run: impl FnOnce() -> Simulated<()>) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("the run had to fail");
    let told = payload.downcast::<String>();
    *told.expect("a simulation tells in words why it failed")
}

/// The numbers of the faults that are to be had again.
fn needed(told: &str) -> Vec<u32> {
    let (_, rest) = told.split_once("RAMA_FAULTS=").expect("it tells them");
    let (numbers, _) = rest.split_once('`').expect("they end");
    let numbers = numbers.split(',').filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// A test that minds so many power cuts.
fn minds_cuts(cuts: u32, simulation: Simulation) -> Simulated<()> {
    simulation.run(Bank::default(), move |cluster| async move {
        run_bank(&cluster, 10).await;
        cluster.calm().await;
        assert!(cluster.power_cuts() < cuts, "planted: {cuts} power cuts");
    })
}

/// The lines that tell what happened.
fn lines(told: &str) -> Vec<String> {
    let lines = told.lines().filter(|line| line.contains(" ms  "));
    lines.map(str::to_owned).collect()
}

/// A failure that needs some of many faults shrinks to as many, which are told and can be had again.
#[test]
fn a_failure_shrinks_to_the_faults_that_it_needs() {
    for seed in 0..3 {
        let six = || {
            Simulation::seed(seed).faults(Faults {
                power_cuts: 6,
                ..Faults::none()
            })
        };
        for cuts in 1..=3 {
            let smallest = told(|| minds_cuts(cuts, six()));
            let count = format!("seed {seed} fails; {cuts} of 6 faults are needed");
            assert!(smallest.contains(&count), "{smallest}");
            let planted = format!("planted: {cuts} power cuts");
            assert!(smallest.contains(&planted), "{smallest}");
            assert!(smallest.contains("tests/smaller.rs:"), "{smallest}");
            let numbers = needed(&smallest);
            assert_eq!(numbers.len(), cuts as usize, "{smallest}");
            assert!(smallest.contains(": power cut of machine 0"), "{smallest}");
            assert_eq!(told(|| minds_cuts(cuts, six())), smallest);
            let again = told(|| minds_cuts(cuts, six().only_faults(numbers)));
            assert_eq!(lines(&again), lines(&smallest));
            minds_cuts(cuts, six().only_faults([]));
        }
    }
}

/// A disk that fails among slow messages and power cuts: what is left is less, fails alike, and each
/// of it is needed.
#[test]
fn a_failing_disk_is_found_among_other_faults() {
    let faults = Faults {
        power_cuts: 3,
        ..Faults::disk_errors()
    };
    let minds = |simulation: Simulation| {
        simulation
            .faults(faults)
            .run(Bank::default(), |cluster| async move {
                run_bank(&cluster, 40).await;
                cluster.calm().await;
                assert_eq!(cluster.restarts(), 0, "planted: the disk has failed");
            })
    };
    let fails =
        |seed: &u64| catch_unwind(|| minds(Simulation::seed(*seed).shrink_runs(0))).is_err();
    for seed in (0..1_000).filter(fails).take(3) {
        let smallest = told(|| minds(Simulation::seed(seed)));
        assert!(smallest.contains("process failed: "), "{smallest}");
        let numbers = needed(&smallest);
        let again = told(|| minds(Simulation::seed(seed).only_faults(numbers.clone())));
        assert_eq!(lines(&again), lines(&smallest));
        for left_out in &numbers {
            let fewer = numbers.iter().filter(|number| *number != left_out);
            minds(Simulation::seed(seed).only_faults(fewer.copied()));
        }
    }
}

/// Faults beside a failure that does not need them are not told.
#[test]
fn a_failure_that_needs_no_fault_tells_none() {
    let told = told(|| {
        Simulation::seed(5)
            .faults(Faults::all())
            .run(Bank::default(), |cluster| async move {
                cluster.calm().await;
                assert!(cluster.power_cuts() > 3, "planted: always");
            })
    });
    assert!(told.contains("; 0 of "), "{told}");
    assert!(told.contains(" are needed (1 runs):"), "{told}");
    assert!(told.contains("RAMA_SEED=5 RAMA_FAULTS=`"), "{told}");
    assert!(!told.contains("fault "), "{told}");
    assert!(!told.contains("power cut"), "{told}");
}

/// Links between machines break by numbers, too, and so do machines.
#[test]
fn broken_links_and_power_cuts_are_left_out_one_by_one() {
    let minds = |cuts: u32, simulation: Simulation| {
        simulation.run(Bank::default(), move |cluster| async move {
            run_bank(&cluster, 40).await;
            cluster.calm().await;
            let events = cluster.events();
            let mut links = events
                .iter()
                .filter(|(_, event)| event.contains("broken link"));
            let broken = links.next().is_some();
            let bad = broken && cluster.power_cuts() >= cuts;
            assert!(!bad, "planted: a link broke beside {cuts} cuts");
        })
    };
    let faults = Faults {
        link_breaks_one_in: 50,
        ..Faults::all()
    };
    for cuts in [0, 1] {
        let several = || Simulation::seed(4).threads(4).machines(2).faults(faults);
        let told = told(|| minds(cuts, several()));
        assert!(told.contains(": broken link to thread "), "{told}");
        assert!(needed(&told).len() as u32 > cuts, "{told}");
    }
}

/// A module that cannot be started is a failure like any other.
#[test]
fn a_module_that_does_not_start_is_told_with_the_fault_that_did_it() {
    let mut faults = Faults::power_cuts();
    faults.disk.misdirected_write = 10_000;
    let books = async |cluster: SimulatedCluster| {
        run_bank(&cluster, 20).await;
        cluster.calm().await;
    };
    let simulation = |seed| Simulation::seed(seed).faults(faults);
    let refused = |seed: &u64| simulation(*seed).try_run(Bank::default(), books).is_err();
    let seed = (0..1_000).find(refused).expect("some write does harm");
    let told = told(|| simulation(seed).run(Bank::default(), books));
    assert!(told.contains("at an error of kind corrupt"), "{told}");
    assert!(told.contains(": misdirected write to file "), "{told}");
}

/// What outlives a run makes the next one another: that is told, and nothing is left out.
#[test]
fn a_failure_that_does_not_come_again_says_so() {
    let runs = &AtomicU32::new(0);
    let told = told(|| {
        Simulation::seed(5).faults(Faults::power_cuts()).run(
            Bank::default(),
            |cluster| async move {
                cluster.calm().await;
                assert!(runs.fetch_add(1, Relaxed) > 0, "planted: the first time");
            },
        )
    });
    assert!(told.contains("not again in the same way"), "{told}");
    assert!(told.contains("planted: the first time"), "{told}");
    assert_eq!(runs.load(Relaxed), 2);
}

/// Nothing is run again when nobody wants it.
#[test]
fn a_test_may_ask_to_be_run_once() {
    let runs = &AtomicU32::new(0);
    let told = told(|| {
        let once = Simulation::seed(5).shrink_runs(0);
        once.run(Bank::default(), |_| async {
            runs.fetch_add(1, Relaxed);
            panic!("planted: always");
        })
    });
    assert!(told.starts_with("simulation: seed 5 fails with "), "{told}");
    assert_eq!(runs.load(Relaxed), 1);
}
