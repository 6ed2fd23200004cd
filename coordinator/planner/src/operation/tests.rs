//! Launch and destroy by script, and killed at every effect: the end is always the same.

mod bounds;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::{
    Beginning, Effect, Input, LaunchRequest, Transition, begin_destroy, begin_launch, plan_launch,
};
use crate::ids::{Epoch, Incarnation, InstanceId, OperationId, WorkerIndex};
use crate::place::Scheduler;
use crate::records::{
    Conductor, Desired, GroupLeader, InstanceSpec, ModuleLog, Outcome, Process, Supervisor,
    WorkerDetails, WorkerExit, WorkerLive, WorkerPhase,
};
use crate::shape::Shape;
use crate::store::{Compare, Key, Target, Txn, Value, Written};
use crate::tests::script::{self, Command};
use crate::tests::{module, node};
use crate::view::{Event, View};
use rama_core::mirrors::{Offers, Use, uses_of_manifest};
use rama_core::options::{Level, Objects, Settings};
use rama_core::time::Now;
use serde_json::json;

const STARTED_MS: u64 = 1_763_740_800_000;

fn id(n: u64) -> OperationId {
    OperationId(uuid::Uuid::from_u128(u128::from(n)))
}

fn instance(n: u64) -> InstanceId {
    InstanceId(uuid::Uuid::from_u128(u128::from(n)))
}

/// A metastore that everybody sees at once, and nodes that do what they are told when asked to.
#[derive(Clone, Default)]
struct Store {
    view: View,
    revision: u64,
}

impl Store {
    fn event(&mut self, key: Key, value: Option<Value>) {
        let revision = self.revision;
        self.view.apply(Event {
            revision,
            key,
            value,
        });
    }

    fn put(&mut self, key: Key, value: Value) {
        self.revision += 1;
        self.event(key, Some(value));
    }

    fn txn(&mut self, txn: &Txn) -> Written {
        let holds = |compare: &Compare| match compare {
            Compare::Absent(key) => self.view.revision_of(key).is_none(),
            Compare::Revision(key, at) => self.view.revision_of(key) == Some(*at),
        };
        if !txn.compares.iter().all(holds) {
            return Written::Refused;
        }
        self.revision += 1;
        for target in &txn.deletes {
            self.delete(target);
        }
        for put in &txn.puts {
            self.event(put.key.clone(), Some(put.value.clone()));
        }
        let revision = self.revision;
        Written::Done { revision }
    }

    fn delete(&mut self, target: &Target) {
        let keys = self.view.entries().map(|(key, _)| key);
        let keys: Vec<Key> = keys.filter(|key| target.covers(key)).cloned().collect();
        for key in keys {
            self.event(key, None);
        }
    }

    /// What an operation begins with; the conductor takes office with the first.
    fn beginning(&mut self, n: u64) -> Beginning {
        let term = self.view.revision_of(&Key::Conductor);
        let term = term.unwrap_or_else(|| self.take_office());
        let now_ms = STARTED_MS;
        let id = id(n);
        Beginning { id, term, now_ms }
    }

    fn take_office(&mut self) -> u64 {
        let incarnation = Incarnation(self.revision);
        self.put(
            Key::Conductor,
            Value::Conductor(Conductor {
                incarnation,
                process: Process::default(),
            }),
        );
        self.revision
    }

    fn nodes(&mut self, count: u64) {
        for n in 1..=count {
            let record = Supervisor::default();
            self.put(Key::Supervisor(node(n)), Value::Supervisor(record));
        }
    }

    /// Workers of published instances register and lead; those to destroy go, but not on `absent`.
    fn play(&mut self, absent: Option<u64>) {
        let entries = self.view.entries();
        let workers = entries.filter_map(|(key, value)| match (key, value) {
            (Key::Worker(name, id, w), Value::Worker(record)) => {
                Some((name.clone(), *id, *w, record.clone()))
            }
            _ => None,
        });
        let workers: Vec<_> = workers.collect();
        for (name, id, w, record) in workers {
            if absent.is_some_and(|absent| record.node == node(absent)) {
                continue;
            }
            self.revision += 1;
            let live = Key::Live(name.clone(), id, w);
            if record.desired == Desired::Destroy {
                self.event(Key::Worker(name.clone(), id, w), None);
                self.event(live, None);
            } else if self.view.spec(&name, &id).is_some() {
                let incarnation = Incarnation(u64::from(w.0) + 1);
                let node = record.node;
                self.event(
                    live,
                    Some(Value::Live(WorkerLive {
                        incarnation,
                        node,
                        details: WorkerDetails {
                            phase: WorkerPhase::Serving,
                            ..WorkerDetails::default()
                        },
                    })),
                );
                for held in record.groups.iter().filter(|held| held.preferred_leader) {
                    let leader = GroupLeader {
                        replica: held.replica,
                        worker: w,
                        incarnation,
                        epoch: Epoch(1),
                    };
                    let key = Key::Leader(name.clone(), id, held.group);
                    self.event(key, Some(Value::Leader(leader)));
                }
            }
        }
    }

    /// Every key, and of records what does not depend on how often somebody crashed.
    fn summary(&self) -> String {
        let mut out = String::new();
        for (key, value) in self.view.entries() {
            let text = match value {
                Value::Operation(record) => format!("{:?} {:?}", record.step, record.outcome),
                Value::Module(meta) => format!("{meta:?}"),
                Value::Worker(record) => format!("{record:?}"),
                Value::Isr(isr) => format!("{isr:?}"),
                Value::Log(entry) => format!("{entry:?}"),
                Value::Setting(value) => value.to_string(),
                _ => String::new(),
            };
            out += &format!("{key} {text}\n");
        }
        out
    }
}

fn request(name: &str, n: u64, shape: Shape) -> LaunchRequest {
    LaunchRequest {
        module: module(name),
        instance: instance(n),
        spec: InstanceSpec {
            artifact: "aa".to_owned(),
            shape,
            label: None,
            overrides: BTreeMap::new(),
            metadata: String::new(),
            created_ms: 0,
            objects: Objects::default(),
            offers: Offers::of_manifest(&json!({"depots": [
                {"name": "*events", "kind": "depot", "record": {"type": "u64", "fingerprint": "ab"}},
            ]})),
        },
        uses: BTreeSet::new(),
        mirrors: Vec::new(),
        settings: Settings::new(),
        by: "ann".to_owned(),
    }
}

/// What a story is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Story {
    Launch,
    /// A node never starts its workers, and never confirms.
    Absent,
    Cancelled,
    Destroy,
}

/// Where the conductor is killed: at which effect, before or after it is done.
#[derive(Clone, Copy, Debug, Default)]
struct Kill {
    at: Option<usize>,
    done: bool,
}

/// Tells a story with a conductor that is killed once, or never; answers the end and the effects.
fn tell(story: Story, kill: Kill) -> (String, usize) {
    let mut store = Store::default();
    store.nodes(3);
    // More keys than one transaction takes.
    let shape = Shape::new(256, 128, 4, 2).unwrap();
    let mut request = request("Shop", 1, shape);
    request.settings = Settings::new().with(Level::Module, "some.option", 7);
    let mut effects = 0;
    let stories: &[Story] = match story {
        Story::Destroy => &[Story::Launch, Story::Destroy],
        ref other => std::slice::from_ref(other),
    };
    for (at, story) in stories.iter().enumerate() {
        let beginning = store.beginning(at as u64 + 1);
        let intent = match story {
            Story::Destroy => begin_destroy(&store.view, &beginning, &request.module, "ann"),
            _ => begin_launch(&store.view, &beginning, &request, &Scheduler::Dev),
        };
        let intent = intent.unwrap();
        let last = at + 1 == stories.len();
        conduct(
            &mut store,
            *story,
            beginning,
            intent,
            &mut effects,
            if last { kill } else { Kill::default() },
        );
    }
    (store.summary(), effects)
}

fn conduct(
    store: &mut Store,
    story: Story,
    mut beginning: Beginning,
    intent: Txn,
    effects: &mut usize,
    kill: Kill,
) {
    let id = beginning.id;
    let mut transition = Transition::begin(&beginning, intent.clone(), Scheduler::Dev);
    let mut input = Input::Looked;
    let mut now = Now(0);
    *effects = 0;
    for _ in 0..1_000 {
        transition.on_input(now, &store.view, input);
        input = Input::Looked;
        let Some(effect) = transition.poll_effect() else {
            store.play((story == Story::Absent).then_some(2));
            now = now.after(Duration::from_secs(5));
            continue;
        };
        let killed = kill.at == Some(*effects);
        *effects += 1;
        let answer = match effect {
            Effect::Write { token, txn } if !killed || kill.done => {
                let result = store.txn(&txn);
                Some(Input::Written { token, result })
            }
            Effect::Relist => Some(Input::Relisted),
            Effect::Ended { .. } if !killed => return,
            _ => None,
        };
        if killed {
            let known = store.view.operation(&id).is_some();
            // Without an intent in the store the operator got no answer, and asks again.
            transition = if known {
                beginning.term = store.take_office();
                Transition::resume(id, beginning.term, Scheduler::Dev)
            } else {
                Transition::begin(&beginning, intent.clone(), Scheduler::Dev)
            };
            continue;
        }
        input = answer.unwrap_or(Input::Looked);
        let published = store.view.spec(&module("Shop"), &instance(1)).is_some();
        if story == Story::Cancelled && published && input != Input::Looked {
            transition.on_input(now, &store.view, input);
            let reason = "changed my mind".to_owned();
            input = Input::Cancel { reason };
        }
    }
    panic!("{story:?} {kill:?} is stuck: {}", store.summary());
}

/// Spec §4.0 (1) to (5): killed before or after any effect, the next conductor comes to the same
/// end.
#[test]
fn a_conductor_killed_anywhere_comes_to_the_same_end() {
    for story in [
        Story::Launch,
        Story::Absent,
        Story::Cancelled,
        Story::Destroy,
    ] {
        let (end, effects) = tell(story, Kill::default());
        assert!(effects >= 4, "{story:?} has {effects} effects");
        for at in 0..effects {
            for done in [false, true] {
                let at = Some(at);
                let killed = tell(story, Kill { at, done }).0;
                assert_eq!(killed, end, "{story:?} killed at {at:?}, done: {done}");
            }
        }
    }
}

/// Options of a launch hold from before the first worker starts until the module is gone; the log of the
/// module tells who set them (spec §2.2, §4.0).
#[test]
fn options_of_a_launch_are_there_first_and_go_with_the_module() {
    let set = |end: &str| end.contains("Shop/opt/module/some.option 7");
    let launched = tell(Story::Launch, Kill::default()).0;
    assert!(set(&launched), "{launched}");
    let logged =
        r#"SetOption { level: "module", object: None, option: "some.option", value: Number(7) }"#;
    assert!(
        launched.contains(logged) && launched.contains(r#"by: "ann""#),
        "{launched}"
    );
    for story in [Story::Absent, Story::Cancelled, Story::Destroy] {
        let ended = tell(story, Kill::default()).0;
        assert!(!set(&ended) && ended.contains(logged), "{story:?}: {ended}");
    }
    let mut many = request("Shop", 1, Shape::new(4, 2, 2, 1).unwrap());
    for n in 0..=crate::limits::SETTINGS_MAX {
        many.settings
            .set(Level::Module, &format!("option.{n}"), n.into());
    }
    let refused = plan_launch(&View::default(), &many, &Scheduler::Dev).unwrap_err();
    assert!(
        refused.to_string().contains("at most 24 are taken"),
        "{refused}"
    );
}

/// An intent whose answer was lost may still be under way when its module has come and gone (seed
/// 1179 of the storm): it is not written then, for nobody would drive it.
#[test]
fn an_intent_that_was_given_up_is_never_written_later() {
    let mut store = Store::default();
    store.nodes(3);
    let shape = Shape::new(4, 2, 2, 1).unwrap();
    let lost = request("Shop", 1, shape);
    let first = store.beginning(1);
    let lost = begin_launch(&store.view, &first, &lost, &Scheduler::Dev).unwrap();
    let request = request("Shop", 2, shape);
    let second = store.beginning(2);
    let intent = begin_launch(&store.view, &second, &request, &Scheduler::Dev).unwrap();
    let (story, kill) = (Story::Launch, Kill::default());
    conduct(&mut store, story, second, intent, &mut 0, kill);
    assert_eq!(store.clone().txn(&lost), Written::Refused);
    let third = store.beginning(3);
    let intent = begin_destroy(&store.view, &third, &request.module, "ann").unwrap();
    conduct(&mut store, Story::Destroy, third, intent, &mut 0, kill);
    assert!(store.view.module(&request.module).is_none());
    assert_eq!(store.txn(&lost), Written::Refused);
}

/// A conductor writes its key, then lists what is unfinished. What the one before sent and what
/// arrives only then is refused (seed 1590 of the storm): it would never be taken up.
#[test]
fn an_intent_of_an_earlier_term_is_refused() {
    let mut store = Store::default();
    store.nodes(1);
    let request = request("Shop", 1, Shape::new(1, 1, 1, 1).unwrap());
    let beginning = store.beginning(1);
    let intent = begin_launch(&store.view, &beginning, &request, &Scheduler::Dev).unwrap();
    store.take_office();
    assert_eq!(store.txn(&intent), Written::Refused);
}

/// A conductor that stood still sees that another one drives its operation, and lets go of it (seed
/// 3983 of the storm): two would overwrite each other's plans.
#[test]
fn an_operation_is_driven_by_the_latest_conductor_alone() {
    let mut store = Store::default();
    store.nodes(2);
    let request = request("Shop", 1, Shape::new(4, 2, 2, 1).unwrap());
    let beginning = store.beginning(1);
    let intent = begin_launch(&store.view, &beginning, &request, &Scheduler::Dev).unwrap();
    assert!(matches!(store.txn(&intent), Written::Done { .. }));
    let mut first = Transition::begin(&beginning, intent, Scheduler::Dev);
    let term = store.take_office();
    let mut second = Transition::resume(beginning.id, term, Scheduler::Dev);
    second.on_input(Now(0), &store.view, Input::Looked);
    let Some(Effect::Write { txn, .. }) = second.poll_effect() else {
        panic!("it is not taken up");
    };
    assert!(matches!(store.txn(&txn), Written::Done { .. }));
    first.on_input(Now(0), &store.view, Input::Looked);
    assert_eq!(first.poll_effect(), Some(Effect::TakenOver));
}

/// The use of a depot of another module.
fn mirrors(uses: Option<&str>, depot: Option<&str>) -> Vec<Use> {
    uses_of_manifest(&json!({"mirrors": depot.map(|depot| {
        json!([{"module": uses, "kind": "depot", "name": depot, "type": "u64", "types": ["ab"]}])
    })}))
}

struct Stage {
    store: Store,
    transitions: BTreeMap<u64, Transition>,
    sent: Vec<(u64, u64, Txn)>,
    now: Now,
}

impl Stage {
    fn execute(&mut self, line: &str) -> String {
        let command = Command::parse(line);
        let op = command.number("op").unwrap_or(1);
        match command.name {
            "nodes" => self.store.nodes(command.need("count")),
            "uses" => {
                let user = module(command.text("user").expect("it needs user="));
                let key = Key::Dependency(user, module("Shop"));
                self.store.put(key, Value::Dependency);
            }
            "launch" | "plan" | "destroy" => match self.begin(&command, op) {
                Ok(None) => {}
                Ok(Some(text)) | Err(text) => return text,
            },
            "fails" => {
                let (name, id) = (module("Shop"), instance(op));
                let exit = WorkerExit {
                    node: node(1),
                    at_ms: STARTED_MS,
                    failures: u32::try_from(command.need("times")).unwrap(),
                    cause: "it ended: exit 101".to_owned(),
                };
                let key = Key::Exit(name, id, WorkerIndex(0));
                self.store.put(key, Value::Exit(exit));
            }
            "play" => self.store.play(command.number("absent")),
            "wait" => self.now = self.now.after(Duration::from_secs(command.need("s"))),
            "restart" => {
                self.sent.clear();
                let term = self.store.take_office();
                let ops: Vec<OperationId> = self.store.view.unfinished().collect();
                let resume = |op: OperationId| {
                    let transition = Transition::resume(op, term, Scheduler::Dev);
                    (u64::try_from(op.0.as_u128()).unwrap(), transition)
                };
                self.transitions = ops.into_iter().map(resume).collect();
            }
            "cancel" => {
                let reason = command.text("reason").unwrap_or("asked").to_owned();
                self.tell(op, Input::Cancel { reason });
            }
            "relisted" => self.tell(op, Input::Relisted),
            "status" => return self.store.summary_of_module(),
            "done" | "lost" | "late" => {
                assert!(!self.sent.is_empty(), "{line}: nobody waits for an answer");
                let (op, token, txn) = self.sent.remove(0);
                let mut result = Written::Unknown;
                if command.name == "done" {
                    result = self.store.txn(&txn);
                } else if command.name == "late" {
                    self.store.txn(&txn);
                }
                self.tell(op, Input::Written { token, result });
            }
            other => panic!("no command {other}"),
        }
        let ops: Vec<u64> = self.transitions.keys().copied().collect();
        for op in ops {
            self.tell(op, Input::Looked);
        }
        self.report()
    }

    fn begin(&mut self, command: &Command<'_>, op: u64) -> Result<Option<String>, String> {
        let refused = |error: super::Refusal| format!("error: {error}\n");
        let name = command.text("module").unwrap_or("Shop");
        let beginning = self.store.beginning(op);
        let view = &self.store.view;
        let intent = if command.name == "destroy" {
            begin_destroy(view, &beginning, &module(name), "ann").map_err(refused)?
        } else {
            let mut request = request(name, op, Shape::new(4, 2, 2, 1).unwrap());
            request.uses = command.text("uses").map(module).into_iter().collect();
            request.mirrors = mirrors(command.text("uses"), command.text("depot"));
            if command.name == "plan" {
                let plan = plan_launch(view, &request, &Scheduler::Dev).map_err(refused)?;
                return Ok(Some(
                    plan.describe(&|node| format!("n{}", node.0.as_u128())),
                ));
            }
            begin_launch(view, &beginning, &request, &Scheduler::Dev).map_err(refused)?
        };
        let transition = Transition::begin(&beginning, intent, Scheduler::Dev);
        self.transitions.insert(op, transition);
        Ok(None)
    }

    fn tell(&mut self, op: u64, input: Input) {
        if let Some(transition) = self.transitions.get_mut(&op) {
            transition.on_input(self.now, &self.store.view, input);
        }
    }

    fn report(&mut self) -> String {
        let mut out = String::new();
        for (op, transition) in &mut self.transitions {
            while let Some(effect) = transition.poll_effect() {
                out += &match effect {
                    Effect::Write { token, txn } => {
                        let puts = txn.puts.iter().map(|put| format!("+{}", put.key));
                        let deletes = txn.deletes.iter().map(|target| format!("-{target}"));
                        let all: Vec<String> = puts.chain(deletes).collect();
                        self.sent.push((*op, token, txn));
                        format!("{op}: write {}\n", all.join(" "))
                    }
                    Effect::Ended { outcome } => format!("{op}: ended, {}\n", text(&outcome)),
                    other => format!("{op}: {other:?}\n"),
                };
            }
        }
        if out.is_empty() {
            "(nothing)\n".to_owned()
        } else {
            out
        }
    }
}

fn text(outcome: &Outcome) -> String {
    let (what, left) = match outcome {
        Outcome::Succeeded { left } => ("succeeded".to_owned(), left),
        Outcome::RolledBack { reason, left } => (format!("rolled back: {reason}"), left),
    };
    let left: Vec<String> = left.iter().map(|n| format!("n{}", n.0.as_u128())).collect();
    if left.is_empty() {
        what
    } else {
        format!("{what}; left: {}", left.join(", "))
    }
}

impl Store {
    fn summary_of_module(&self) -> String {
        let mut out = String::new();
        for (key, value) in self.view.entries() {
            match value {
                Value::Module(meta) => {
                    let busy = meta.operation.is_some();
                    let target = meta.append_target.is_some();
                    out += &format!("{key}: {}, busy {busy}, open {target}\n", meta.state);
                }
                Value::Operation(record) => {
                    let attempts = record.attempts;
                    out += &format!(
                        "{key}: {} {}, attempt {attempts}\n",
                        record.kind, record.step
                    );
                }
                Value::Log(ModuleLog::Operation(entry)) => {
                    out += &format!(
                        "{key}: {} by {}: {}\n",
                        entry.kind,
                        entry.by,
                        text(&entry.outcome)
                    );
                }
                Value::Supervisor(_) | Value::Conductor(_) | Value::Placement(_) => {}
                _ => out += &format!("{key}\n"),
            }
        }
        out
    }
}

#[test]
fn operations_do_what_the_script_says() {
    let mut stage = Stage {
        store: Store::default(),
        transitions: BTreeMap::new(),
        sent: Vec::new(),
        now: Now(0),
    };
    script::run("operation.txt", &mut |line| stage.execute(line));
}
