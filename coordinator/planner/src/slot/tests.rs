//! A supervisor's slot by script: appendix B row by row.

use core::time::Duration;

use super::{Effect, Input, Process, Slot, Wanted};
use crate::tests::script::{self, Command};
use rama_core::time::Now;

struct Stage {
    slot: Slot,
    now: Now,
}

/// `7` or `7@3`: the process id, with its start time when it matters.
fn process(text: &str) -> Process {
    let (pid, start) = text.split_once('@').unwrap_or((text, "1"));
    Process {
        pid: pid.parse().expect("a process id is a number"),
        start_time: start.parse().expect("a start time is a number"),
    }
}

fn input(command: &Command<'_>) -> Option<Input> {
    let who = || process(command.text("process").expect("it needs process="));
    let text = || command.text("text").unwrap_or("trouble").to_owned();
    let list = |key| {
        let all = command.text(key).into_iter();
        all.flat_map(|all| all.split(',')).map(process)
    };
    Some(match command.name {
        "run" => Input::Wanted(Wanted::Run {
            artifact: command.text("artifact").unwrap_or("aa").to_owned(),
        }),
        "stop" => Input::Wanted(Wanted::Stop),
        "destroy" => Input::Wanted(Wanted::Destroy),
        "found" => Input::Found {
            remembered: list("remembered").next(),
            at_pid: list("at_pid").next(),
            tagged: list("tagged").collect(),
        },
        "fetched" => Input::Fetched,
        "fetch-failed" => Input::FetchFailed { text: text() },
        "spawned" => Input::Spawned { process: who() },
        "spawn-failed" => Input::SpawnFailed { text: text() },
        "heartbeat" => Input::Heartbeat { process: who() },
        "exited" => Input::Exited {
            process: who(),
            text: text(),
        },
        "deleted" => Input::Deleted,
        "delete-failed" => Input::DeleteFailed { text: text() },
        _ => return None,
    })
}

fn render(effect: &Effect) -> String {
    match effect {
        Effect::Find => "find".to_owned(),
        Effect::Fetch { artifact } => format!("fetch {artifact}"),
        Effect::Spawn { attempt } => format!("spawn, attempt {attempt}"),
        Effect::Remember { process } => {
            format!("remember {}@{}", process.pid, process.start_time)
        }
        Effect::Signal { process, signal } => {
            format!("{signal:?} {}@{}", process.pid, process.start_time)
        }
        Effect::Delete => "delete".to_owned(),
        Effect::Confirm => "confirm".to_owned(),
    }
}

impl Stage {
    fn execute(&mut self, line: &str) -> String {
        let command = Command::parse(line);
        match command.name {
            "supervisor-starts" => self.slot = Slot::new(),
            "wait" => {
                self.now = self.now.after(Duration::from_secs(command.need("s")));
                self.slot.on_deadline(self.now);
            }
            "exits" => {
                let exits = self.slot.exits();
                let exits =
                    exits.map(|exit| format!("{}s {}\n", exit.at.0 / 1_000_000_000, exit.cause));
                return exits.collect();
            }
            _ => {
                let input = input(&command).unwrap_or_else(|| panic!("no command {line}"));
                self.slot.on_input(self.now, input);
            }
        }
        let mut out = String::new();
        while let Some(effect) = self.slot.poll_effect() {
            out += &format!("{}\n", render(&effect));
        }
        let wait = self.slot.deadline();
        let wait = wait.map(|at| format!(", {} s", at.since(self.now).as_secs()));
        out + &format!("= {}{}\n", self.slot.state(), wait.unwrap_or_default())
    }
}

#[test]
fn a_slot_does_what_the_script_says() {
    let mut stage = Stage {
        slot: Slot::new(),
        now: Now(0),
    };
    script::run("slot.txt", &mut |line| stage.execute(line));
}
