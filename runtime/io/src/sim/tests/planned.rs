//! Faults have numbers, may be left out, and are never pushed out of what a failed run prints.

use super::*;

/// More than any run here takes before its first failed flush.
const ROUNDS: u64 = 20_000;

/// Writes and flushes one file until something fails or `rounds` are over.
fn write(config: SimConfig, rounds: u64) -> Sim {
    let (sim, _, _, file) = machine(11, config, 512);
    sim.block_on(async {
        for round in 0..rounds {
            let written = file.write(round % 8 * 512, block(1, 512)).await;
            if written.is_err() || file.flush().await.is_err() {
                break;
            }
        }
    });
    sim
}

fn failing() -> SimConfig {
    let faults = Faults {
        flush_error: 1_000,
        slow_io: 20_000,
        ..Faults::crash_only()
    };
    SimConfig::with_faults(faults)
}

fn only(faults: impl IntoIterator<Item = u32>) -> SimConfig {
    SimConfig {
        only_faults: Some(faults.into_iter().collect()),
        ..failing()
    }
}

#[test]
fn planned_faults_have_numbers_and_may_be_left_out() {
    let all = write(failing(), ROUNDS);
    let numbers = all.faults();
    assert!(numbers.len() > 10, "{numbers:?}");
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u32));
    let again = write(only(numbers.iter().copied()), ROUNDS);
    assert_eq!(again.trace_hash(), all.trace_hash());
    assert_eq!(again.notes().all(), all.notes().all());
    let ended = all.notes().all().pop();
    assert!(ended.is_some_and(|note| note.text.contains("could not flush")));
    // The last one has ended the run. Without it, it goes on as it was until there, and further.
    let last = numbers.len() as u32;
    let without = write(only(1..last), ROUNDS);
    assert!(without.faults().into_iter().eq(1..last));
    assert!(without.io_count() > all.io_count());
    let mut before = all.notes().all();
    before.pop();
    assert_eq!(without.notes().all(), before);
    assert!(write(only([]), ROUNDS).faults().is_empty());
}

#[test]
fn nothing_pushes_out_a_fault_and_what_repeats_is_one_line() {
    let (sim, process, _, _) = machine(3, SimConfig::default(), 512);
    sim.power_cut(process);
    for round in 0..1_000 {
        sim.note("the same again");
        sim.note(format!("round {round}"));
    }
    let fault = sim.planned_fault().expect("nothing is left out");
    sim.planned_power_cut(process, fault);
    let notes = sim.notes().all();
    let lines: Vec<_> = notes.iter().map(Note::to_string).collect();
    assert_eq!(lines.len(), 42, "{lines:#?}");
    assert!(
        lines[0].ends_with(" ms  power cut of machine 0"),
        "{lines:#?}"
    );
    let repeated = lines.iter().find(|line| line.contains("the same again"));
    assert!(repeated.is_some_and(|line| line.contains("(1000 times since ")));
    assert!(lines[40].ends_with(" ms  round 999"), "{lines:#?}");
    let last = format!("fault {fault}: power cut of machine 0");
    assert!(lines[41].ends_with(&last), "{lines:#?}");
}
