//! The rules of streams one by one, as a script.
//!
//! Relies on `tests/scripts/stream.txt`, where each command and the effects it caused stand.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use core::time::Duration;

use crate::policy::{Exhausted, FailurePolicy};
use crate::stream::{
    Effect, Input, Outcome, RetryMode, StartFrom, Tracker, TrackerLimits, TrackerOptions, TreeId,
};
use crate::tests::script::{self, Command};
use crate::time::Now;

struct Stage {
    tracker: Tracker,
    now: Now,
    /// The current attempt of each record: its tree and root edge.
    trees: BTreeMap<u64, (TreeId, u64)>,
    /// Attempts of each record, to name trees in the output.
    attempts: BTreeMap<TreeId, String>,
    counts: BTreeMap<u64, u32>,
}

fn options(command: &Command<'_>) -> TrackerOptions {
    let retry = match command.text("retry") {
        Some("all-after") => RetryMode::AllAfter,
        Some("none") => RetryMode::None,
        _ => RetryMode::Individual,
    };
    let then = match command.text("then") {
        Some("skip") => Exhausted::Skip,
        Some("pause") => Exhausted::Pause,
        _ => Exhausted::DeadLetter,
    };
    let start = match command.text("from") {
        Some("end") => StartFrom::End,
        _ => StartFrom::Beginning,
    };
    TrackerOptions {
        retry,
        policy: FailurePolicy {
            retries: command.number("retries").unwrap_or(1) as u32,
            backoff_base_ms: 10,
            backoff_factor: 2,
            backoff_max_ms: 1000,
            then,
        },
        start,
        checkpoint_idle: Duration::from_millis(command.number("idle").unwrap_or(5000)),
        limits: limits(command),
    }
}

fn limits(command: &Command<'_>) -> TrackerLimits {
    TrackerLimits {
        max_executing: command.number("executing").unwrap_or(4) as u32,
        max_waiting: command.number("waiting").unwrap_or(100) as u32,
        timeout: Duration::from_millis(command.number("timeout").unwrap_or(1000)),
        checkpoint_records: command.number("checkpoint").unwrap_or(100),
        checkpoint_interval: Duration::from_millis(command.number("interval").unwrap_or(5000)),
        first_attempt_decides: command.text("patient").is_none(),
    }
}

impl Stage {
    fn execute(&mut self, line: &str) -> String {
        let command = Command::parse(line);
        match command.name {
            "boot" => {
                *self = Stage::new(options(&command));
                self.tell(Input::Boot {
                    checkpoint: command.number("checkpointed"),
                    start: command.number("start").unwrap_or(0),
                    end: command.need("end"),
                    paused: command.text("paused").is_some(),
                    seed: 7,
                });
            }
            "append" => {
                for offset in command.need("watch")..command.need("end") {
                    self.tell(Input::Watch { offset });
                }
                self.tell(Input::DepotEnd {
                    end: command.need("end"),
                });
            }
            "end" => self.tell(Input::DepotEnd {
                end: command.need("to"),
            }),
            "done" => {
                let (tree, xor) = self.trees[&command.need("record")];
                self.tell(Input::Ack { tree, xor });
            }
            "carried" => {
                let (tree, xor) = self.trees[&command.need("record")];
                let acks = [(tree, xor)].into_iter();
                return format!("progress {}\n", self.tracker.progress_with(acks));
            }
            "half" => {
                let (tree, _) = self.trees[&command.need("record")];
                self.tell(Input::Ack { tree, xor: 99 });
            }
            "fail" => {
                let (tree, _) = self.trees[&command.need("record")];
                let blamed = command.text("innocent").is_none();
                self.tell(Input::Failed {
                    tree,
                    blamed,
                    text: "boom".to_owned(),
                });
            }
            "dead-lettered" => {
                self.tell(Input::DeadLettered {
                    offset: command.need("record"),
                });
            }
            "checkpointed" => self.tell(Input::Checkpointed {
                progress: command.need("at"),
            }),
            "limits" => self.tell(Input::Limits(limits(&command))),
            "pause" => self.tell(Input::Pause),
            "resume" => self.tell(Input::Resume),
            "wait" => {
                self.now = self.now.after(Duration::from_millis(command.need("ms")));
                self.tracker.on_deadline(self.now);
            }
            other => panic!("unknown command {other}"),
        }
        self.drain()
    }

    fn new(options: TrackerOptions) -> Stage {
        Stage {
            tracker: Tracker::new(options),
            now: Now(0),
            trees: BTreeMap::new(),
            attempts: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    fn tell(&mut self, input: Input) {
        self.tracker.on_input(self.now, input);
    }

    fn drain(&mut self) -> String {
        let mut out = String::new();
        while let Some(effect) = self.tracker.poll_effect() {
            writeln!(out, "{}", self.render(effect)).expect("a string takes everything");
        }
        if out.is_empty() {
            "(nothing)\n".to_owned()
        } else {
            out
        }
    }

    fn render(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Deliver(delivery) => {
                let mut names = Vec::new();
                for offset in delivery.from..delivery.to {
                    let count = self.counts.entry(offset).or_insert(0);
                    *count += 1;
                    let name = format!("{offset}#{count}");
                    let tree = delivery.tree(offset);
                    self.trees
                        .insert(offset, (tree, delivery.root_edge(offset)));
                    self.attempts.insert(tree, name.clone());
                    names.push(name);
                }
                format!("deliver {}", names.join(" "))
            }
            Effect::Release { offset, outcome } => {
                let outcome = match outcome {
                    Outcome::Done { tree: Some(tree) } => format!("done by {}", self.name(tree)),
                    Outcome::Done { tree: None } => "done before".to_owned(),
                    Outcome::Failed { text } => format!("failed: {text}"),
                    other => format!("{other:?}"),
                };
                format!("release {offset} {outcome}")
            }
            Effect::Discard { tree } => format!("discard {}", self.name(tree)),
            Effect::Checkpoint { progress } => format!("checkpoint {progress}"),
            Effect::DeadLetter {
                offset,
                failures,
                text,
            } => {
                format!("dead letter {offset} after {failures} failures: {text}")
            }
            Effect::Skipped { from, to, text } => format!("skip {from}..{to}: {text}"),
            Effect::Paused => "paused".to_owned(),
        }
    }

    fn name(&self, tree: TreeId) -> &str {
        &self.attempts[&tree]
    }
}

/// S-2, S-8, S-9, S-12, S-13, S-16, S-21, D-20, D-21, each with its effects recorded.
#[test]
fn the_rules_hold_as_recorded() {
    let mut stage = Stage::new(TrackerOptions::default());
    script::run("stream.txt", &mut |line| stage.execute(line));
}
