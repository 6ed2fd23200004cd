//! The rules of microbatches one by one, as two scripts: one for a coordinator, one for a task.
//!
//! Relies on `tests/scripts/coordinator.txt` and `participant.txt`, where each command and the
//! effects it caused stand.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};

use core::time::Duration;

use crate::ids::{Attempt, MicrobatchId, Origin, Position, SourceId, TaskId, mix};
use crate::microbatch::{
    Coordinator, CoordinatorEffect, CoordinatorInput as Input, CoordinatorLimits,
    CoordinatorOptions, Failure, Ledger, Participant, ParticipantInput, Portion, Source,
    SourceKind, SourceWork, ToCoordinator, ToParticipant,
};
use crate::policy::{Exhausted, FailurePolicy};
use crate::tests::script::{self, Command};
use crate::time::Now;

const DEPOT: SourceId = SourceId(1);
const TICK: SourceId = SourceId(2);

/// A hop's id by its name in the script; no name is no hop.
fn hop(name: Option<&str>) -> u64 {
    name.map_or(0, |name| {
        name.bytes()
            .fold(17, |hash, byte| mix(hash ^ u64::from(byte)))
    })
}

fn position(text: &str) -> Position {
    let (id, attempt) = text.split_once('.').expect("a position is id.attempt");
    let id = MicrobatchId(id.parse().expect("an id is a number"));
    Position {
        id,
        attempt: Attempt(attempt.parse().expect("an attempt is a number")),
    }
}

fn lines<T>(effects: impl Iterator<Item = T>, render: impl FnMut(T) -> String) -> String {
    let out: Vec<String> = effects.map(render).collect();
    if out.is_empty() {
        "(nothing)\n".to_owned()
    } else {
        out.join("\n") + "\n"
    }
}

/// A derived `Debug` without the noise of newtypes.
fn plain(value: impl Debug) -> String {
    let mut text = format!("{value:?}");
    for noise in ["TaskId", "SourceId", "MicrobatchId", "Attempt"] {
        text = text.replace(noise, "");
    }
    text
}

fn render_work(work: &SourceWork) -> String {
    let mut text = format!(
        " {}/{}:{}..{}",
        work.source.0, work.partition, work.from, work.to
    );
    for offset in &work.excluded {
        write!(text, " without {offset}").expect("a string takes everything");
    }
    text
}

fn render_ledger(ledger: &Ledger) -> String {
    let decided = Position {
        id: ledger.decided,
        attempt: ledger.decided_attempt,
    };
    let mut text = format!("decided {decided} processed {}", ledger.processed);
    for (source, offsets) in &ledger.progress {
        write!(text, " at {}:{offsets:?}", source.0).expect("a string takes everything");
    }
    if let Some(plan) = &ledger.plan {
        write!(text, ", plan {}", plan.id.0).expect("a string takes everything");
        for range in &plan.ranges {
            let (partition, from, to) = (range.partition, range.from, range.to);
            write!(text, " {}/{partition}:{from}..{to}", range.source.0)
                .expect("a string takes everything");
        }
        for excluded in &plan.excluded {
            let Origin {
                partition, offset, ..
            } = excluded.origin;
            write!(text, " without {partition}:{offset}").expect("a string takes everything");
        }
        if !plan.ticks.is_empty() {
            text.push_str(" tick");
        }
        write!(text, " attempts to {}", plan.reserved.0).expect("a string takes everything");
    }
    if ledger.paused {
        text.push_str(", paused");
    }
    text
}

struct Stage {
    coordinator: Coordinator,
    now: Now,
    token: u64,
    ledger: Option<Ledger>,
    at: Position,
    works: BTreeMap<TaskId, u64>,
}

fn options(command: &Command<'_>) -> CoordinatorOptions {
    let then = match command.text("then") {
        Some("skip") => Exhausted::Skip,
        Some("pause") => Exhausted::Pause,
        _ => Exhausted::DeadLetter,
    };
    let policy = FailurePolicy {
        retries: 1,
        backoff_base_ms: 10,
        backoff_factor: 2,
        backoff_max_ms: 40,
        then,
    };
    let tasks = command.number("tasks").unwrap_or(2) as u32;
    let kind = SourceKind::Depot {
        partitions: tasks,
        portion: Portion {
            max_records: 3,
            max_bytes: 1 << 20,
        },
    };
    let mut sources = vec![Source {
        id: DEPOT,
        kind,
        policy,
        twins: Vec::new(),
    }];
    if let Some(ms) = command.number("tick-ms") {
        let kind = SourceKind::Tick {
            interval: Duration::from_millis(ms),
        };
        sources.push(Source {
            id: TICK,
            kind,
            policy,
            twins: Vec::new(),
        });
    }
    let mut options = CoordinatorOptions::new(tasks, sources);
    options.limits.phase_timeout = Duration::from_millis(1000);
    options.unblamed = policy;
    options
}

impl Stage {
    fn new(options: CoordinatorOptions) -> Stage {
        Stage {
            coordinator: Coordinator::new(options),
            now: Now(0),
            token: 0,
            ledger: None,
            at: Position::NONE,
            works: BTreeMap::new(),
        }
    }

    fn execute(&mut self, line: &str) -> String {
        let command = Command::parse(line);
        match command.name {
            "boot" => {
                let ledger = command.text("crashed").and_then(|_| self.ledger.take());
                *self = Stage::new(options(&command));
                self.tell(Input::Boot { ledger, seed: 1 });
            }
            "end" => self.tell(Input::DepotEnd {
                source: DEPOT,
                partition: command.need("partition") as u32,
                start: command.number("start").unwrap_or(0),
                end: command.need("to"),
                begin: command.number("begin").unwrap_or(0),
                record_bytes: command.number("bytes").unwrap_or(0),
            }),
            "persisted" => self.tell(Input::Persisted { token: self.token }),
            "limits" => {
                let ms = |name| command.number(name).map(Duration::from_millis);
                let limits = CoordinatorLimits {
                    phase_timeout: Duration::from_millis(1000),
                    force_delay: ms("delay-ms").unwrap_or_default(),
                    empty_interval: ms("empty-ms"),
                };
                let portion = Portion {
                    max_records: command.number("records").unwrap_or(3),
                    max_bytes: 1 << 20,
                };
                let portions = vec![(DEPOT, portion)];
                self.tell(Input::Limits { limits, portions });
            }
            "pause" => self.tell(Input::Pause),
            "resume" => self.tell(Input::Resume),
            "wait" => {
                self.now = self.now.after(Duration::from_millis(command.need("ms")));
                self.coordinator.on_deadline(self.now);
            }
            "lost" => {
                let task = TaskId(command.need("task") as u32);
                self.tell(Input::ParticipantLost { task });
            }
            _ => self.message(&command),
        }
        self.drain()
    }

    fn message(&mut self, command: &Command<'_>) {
        let task = TaskId(command.need("task") as u32);
        let at = command.text("at").map_or(self.at, position);
        let message = match command.name {
            "ready" => ToCoordinator::Ready {
                task,
                incarnation: command.number("life").unwrap_or(1),
                committed: MicrobatchId(command.number("committed").unwrap_or(0)),
                prepared: command.text("prepared").map(position),
            },
            "processed" => {
                let work = self.works[&task];
                let xor = work ^ hop(command.text("emitted")) ^ hop(command.text("consumed"));
                ToCoordinator::Processed { task, at, xor }
            }
            "failed" => {
                let origin = command.number("record").map(|offset| Origin {
                    source: DEPOT,
                    partition: command.need("partition") as u32,
                    offset,
                });
                let failure = Failure {
                    origin,
                    text: "boom".to_owned(),
                };
                let dropped = command.text("goes-on").is_none();
                ToCoordinator::Failed {
                    task,
                    at,
                    failure,
                    dropped,
                }
            }
            "prepared" => ToCoordinator::Prepared { task, at },
            "committed" => ToCoordinator::Committed { task, id: at.id },
            other => panic!("unknown command {other}"),
        };
        self.tell(Input::Message(message));
    }

    fn tell(&mut self, input: Input) {
        self.coordinator.on_input(self.now, input);
    }

    fn drain(&mut self) -> String {
        let effects: Vec<_> = std::iter::from_fn(|| self.coordinator.poll_effect()).collect();
        lines(effects.into_iter(), |effect| self.render(effect))
    }

    fn render(&mut self, effect: CoordinatorEffect) -> String {
        match effect {
            CoordinatorEffect::Persist {
                token,
                ledger,
                dead_letters,
            } => {
                let mut text = format!("persist {token}: {}", render_ledger(&ledger));
                for letter in dead_letters {
                    let Origin {
                        partition, offset, ..
                    } = letter.origin;
                    write!(text, "; dead letter {partition}:{offset}: {}", letter.text)
                        .expect("a string takes everything");
                }
                self.token = token;
                self.ledger = Some(ledger);
                text
            }
            CoordinatorEffect::Send { task, message } => {
                let text = match message {
                    ToParticipant::Start {
                        at,
                        work,
                        sources,
                        ticks,
                        thorough,
                    } => {
                        self.at = at;
                        self.works.insert(task, work);
                        let mut text = format!("start {at}");
                        sources
                            .iter()
                            .for_each(|source| text.push_str(&render_work(source)));
                        if !ticks.is_empty() {
                            text.push_str(" tick");
                        }
                        if thorough {
                            text.push_str(" thorough");
                        }
                        text
                    }
                    ToParticipant::Gathered { at, work, level } => {
                        self.works.insert(task, work);
                        format!("let go {at} level {level}")
                    }
                    ToParticipant::Prepare { at } => format!("prepare {at}"),
                    ToParticipant::Commit { at } => {
                        self.at = at;
                        format!("commit {at}")
                    }
                    ToParticipant::Abort { at } => format!("abort {at}"),
                    ToParticipant::Hello => "hello".to_owned(),
                };
                format!("to {}: {text}", task.0)
            }
            CoordinatorEffect::Committed { id, processed } => {
                format!("committed {}, {processed} records in all", id.0)
            }
            CoordinatorEffect::Paused => "paused".to_owned(),
            CoordinatorEffect::Halt { task, text } => format!("halt, task {}: {text}", task.0),
        }
    }
}

/// M-1, M-2, M-3, M-4, M-8, M-13, M-15, D-11, S-21, each with its effects recorded.
#[test]
fn the_rules_of_the_coordinator_hold_as_recorded() {
    let mut stage = Stage::new(CoordinatorOptions::new(1, Vec::new()));
    script::run("coordinator.txt", &mut |line| stage.execute(line));
}

fn participant_input(command: &Command<'_>) -> ParticipantInput {
    let at = command.text("at").map_or(Position::NONE, position);
    let emitted = hop(command.text("emitted"));
    match command.name {
        "boot" => ParticipantInput::Boot {
            incarnation: 5,
            committed: MicrobatchId(command.number("committed").unwrap_or(0)),
            prepared: command.text("prepared").map(position),
        },
        "hello" => ParticipantInput::Message(ToParticipant::Hello),
        "start" => ParticipantInput::Message(ToParticipant::Start {
            at,
            work: hop(Some("work")),
            sources: Vec::new(),
            ticks: Vec::new(),
            thorough: command.text("thorough").is_some(),
        }),
        "prepare" => ParticipantInput::Message(ToParticipant::Prepare { at }),
        "commit" => ParticipantInput::Message(ToParticipant::Commit { at }),
        "abort" => ParticipantInput::Message(ToParticipant::Abort { at }),
        "source-ran" => {
            let done = command.text("unfinished").is_none();
            ParticipantInput::SourceRan { at, emitted, done }
        }
        "hop-ran" => ParticipantInput::HopRan {
            at,
            hop: hop(command.text("hop")),
            emitted,
        },
        "failed" => {
            let origin = command.number("record").map(|offset| Origin {
                source: DEPOT,
                partition: 0,
                offset,
            });
            let failure = Failure {
                origin,
                text: "boom".to_owned(),
            };
            ParticipantInput::WorkFailed { at, failure }
        }
        "durable" => ParticipantInput::PrepareDurable { at },
        "applied" => ParticipantInput::CommitApplied { at },
        other => panic!("unknown command {other}"),
    }
}

/// M-4, M-7 and reliability 2.3 (attempts), each with its effects recorded.
#[test]
fn the_rules_of_the_participant_hold_as_recorded() {
    let mut participant = Participant::new(TaskId(0));
    script::run("participant.txt", &mut |line| {
        let command = Command::parse(line);
        if command.name == "hop" {
            let at = command.text("at").map_or(Position::NONE, position);
            return format!("{:?}\n", participant.admit(at, hop(command.text("hop"))));
        }
        if command.name == "boot" {
            participant = Participant::new(TaskId(0));
        }
        participant.on_input(participant_input(&command));
        let effects: Vec<_> = std::iter::from_fn(|| participant.poll_effect()).collect();
        lines(effects.into_iter(), |effect| {
            let mut text = plain(effect);
            // Name the XORs that the script can cause.
            for names in [&["work"][..], &["work", "a"], &["work", "a", "b"]] {
                let xor = names.iter().fold(0, |xor, name| xor ^ hop(Some(name)));
                text = text.replace(&xor.to_string(), &names.join("^"));
            }
            text
        })
    });
}
