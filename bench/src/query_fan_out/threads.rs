//! The same fan-out without an engine: threads that hold values, and channels to ask them.
//!
//! Relies on the standard library. What must stay true: as in the engine a task is asked by a
//! message of its own and answers with one, and somebody adds the answers up.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::cluster::Outcome;

/// Asks one task for its value, on behalf of a query.
struct Ask {
    task: usize,
    query: usize,
}

/// A query and a task's part of its answer.
type Answer = (usize, u64);

/// Keeps `in_flight` queries to `tasks` tasks on `threads` threads going and counts those that were
/// answered.
///
/// # Errors
/// When an answer is wrong or a thread ended.
pub fn saturate(threads: u32, tasks: u32, in_flight: usize, run: Duration) -> Outcome<u64> {
    let (answers, answered) = mpsc::channel();
    let spawn = |_| spawn(tasks, answers.clone());
    let (senders, handles): (Vec<Sender<Ask>>, Vec<JoinHandle<()>>) =
        (0..threads).map(spawn).unzip();
    let ask = |query| {
        (0..tasks as usize).try_for_each(|task| {
            let thread = &senders[task % senders.len()];
            thread.send(Ask { task, query })
        })
    };
    let mut open = vec![(0, 0); in_flight];
    let began = Instant::now();
    for query in 0..in_flight {
        ask(query)?;
    }
    let (mut finished, mut left) = (0, in_flight);
    while left > 0 {
        let (query, value) = answered.recv()?;
        let (parts, sum) = &mut open[query];
        (*parts, *sum) = (*parts + 1, *sum + value);
        if *parts < tasks {
            continue;
        }
        let expected = (0..u64::from(tasks)).sum::<u64>();
        if *sum != expected {
            return Err(format!("plain threads answered {sum}, it must be {expected}").into());
        }
        open[query] = (0, 0);
        finished += 1;
        match began.elapsed() < run {
            true => ask(query)?,
            false => left -= 1,
        }
    }
    drop(senders);
    for handle in handles {
        handle.join().map_err(|_| "a plain thread panicked")?;
    }
    Ok(finished)
}

/// A thread that holds a value for each task, its number, and answers until nobody asks.
fn spawn(tasks: u32, answers: Sender<Answer>) -> (Sender<Ask>, JoinHandle<()>) {
    let (sender, asked): (_, Receiver<Ask>) = mpsc::channel();
    let values: Vec<u64> = (0..u64::from(tasks)).collect();
    let answer = move || {
        for Ask { task, query } in asked {
            // Whoever asked has gone when the run is over.
            if answers.send((query, values[task])).is_err() {
                return;
            }
        }
    };
    (sender, thread::spawn(answer))
}
