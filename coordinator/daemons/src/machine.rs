//! The machine that a supervisor runs on: programs, worker processes, their directories.
//!
//! Relies on `artifacts` and `processes`. Layout, below one directory:
//!
//! ```text
//! workers/<instance>/<worker>/slot.json        which slot, and which process: `Remember`
//!                            /assignment.json  what the worker is told
//!                            /beat             written by the worker while it is well
//!                            /data/            the worker's own
//!                            /work/            where it runs
//! logs/<module>-<instance>-<worker>.log        stays when the rest is deleted
//! ```
//!
//! What must stay true: `slot.json` is there before a process is, and goes last; a process is
//! remembered with the boot it belongs to, because ids and start times begin anew with each; what
//! takes time runs beside the supervisor's loop.

mod files;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rama_api::Assignment;
use rama_gateway::chain;
use rama_planner::slot::{Effect, Input, Process, Signal};
use rama_planner::view::View;
use tokio::task::spawn_blocking;

use crate::artifacts::{ArtifactError, Artifacts};
use crate::cgroups::{Cgroups, Limits};
use crate::processes::{self, ProcessName, Watched};
use crate::supervisor::{Answers, Node, SlotName};
use files::Files;
pub use place::{Place, Room};

/// How often a beat is looked for; a worker writes one a second.
const BEAT_LOOK: Duration = Duration::from_millis(500);

/// Gets a program that is not here into the artifacts.
pub type Fetch = Arc<
    dyn Fn(Artifacts, String) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>>
        + Send
        + Sync,
>;

/// What a worker is told: everything of its assignment beside where it is put. None when the view does
/// not show it any more.
pub type Assign = Arc<dyn Fn(&View, &SlotName, Place) -> Option<Assignment> + Send + Sync>;

/// What a worker may take. The settings of its instance have been checked by the conductor; what this
/// node cannot do is an error.
pub type Resources = Arc<dyn Fn(&View, &SlotName) -> Result<Take, String> + Send + Sync>;

/// What one worker may take.
#[derive(Clone, Debug)]
pub struct Take {
    /// Of memory and time.
    pub limits: Limits,
    /// Whether its task threads are pinned.
    pub pinned: bool,
    /// Its environment beside the inherited part.
    pub environment: BTreeMap<String, String>,
}

/// How a machine is set up.
#[derive(Clone)]
pub struct Setup {
    /// Where everything is kept.
    pub dir: PathBuf,
    /// Programs that are here.
    pub artifacts: Artifacts,
    /// Where others come from.
    pub fetch: Fetch,
    /// Makes assignments.
    pub assign: Assign,
    /// What workers may take.
    pub resources: Resources,
    /// Ports and cores for them.
    pub room: Room,
    /// Cgroups for them, where they can have some.
    pub cgroups: Option<Cgroups>,
}

/// The machine. See the module documentation.
pub struct Machine {
    setup: Setup,
    files: Files,
    left: BTreeSet<SlotName>,
    watched: Arc<Mutex<BTreeMap<Process, Arc<Watched>>>>,
}

impl Machine {
    /// Looks at what earlier supervisors left.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(setup: Setup) -> std::io::Result<Machine> {
        let files = Files::open(&setup.dir)?;
        Ok(Machine {
            left: files.slots()?,
            files,
            setup,
            watched: Arc::default(),
        })
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<Process, Arc<Watched>>> {
        // Whole entries come and go: a panic elsewhere leaves none half done.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, slot: &SlotName, answers: &Answers) {
        let (files, slot, answers) = (self.files.clone(), slot.clone(), answers.clone());
        let (all, rest) = (self.watched.clone(), self.rest(&slot));
        // Watching needs the runtime; reading /proc must not hold it up.
        tokio::spawn(async move {
            let (name, files_too) = (files.tag(&slot), files.clone());
            let of = slot.clone();
            let looked = spawn_blocking(move || {
                let remembered = files_too.remembered(&of);
                let at_pid = remembered.and_then(|process| processes::at(process.pid));
                let mut tagged = processes::tagged(&name);
                // What a worker started has its environment, but not a group of its own.
                tagged.retain(|name| processes::leads_group(*name));
                (remembered, at_pid.map(own), tagged)
            });
            let Ok((remembered, at_pid, tagged)) = looked.await else {
                return;
            };
            let mut found = BTreeMap::new();
            let same = at_pid.filter(|process| Some(*process) == remembered);
            for name in tagged.iter().copied().chain(same.map(system)) {
                // One that ended since is not there.
                if let Ok(watched) = processes::watch(name) {
                    found.insert(own(name), Arc::new(watched));
                }
            }
            let there = |process: &Process| found.contains_key(process);
            let at_pid = at_pid.filter(|process| Some(*process) != remembered || there(process));
            let tagged = tagged.into_iter().map(own).filter(there).collect();
            answers.tell(
                &slot,
                Input::Found {
                    remembered,
                    at_pid,
                    tagged,
                },
            );
            for (_, watched) in found {
                let rest = rest.clone();
                follow(&files, &slot, watched, rest, &all, &answers);
            }
        });
    }

    fn fetch(&self, slot: &SlotName, artifact: String, answers: &Answers) {
        let (slot, answers) = (slot.clone(), answers.clone());
        let (artifacts, fetch) = (self.setup.artifacts.clone(), self.setup.fetch.clone());
        tokio::spawn(async move {
            let input = match fetched(artifacts, fetch, artifact).await {
                Ok(()) => Input::Fetched,
                Err(text) => Input::FetchFailed { text },
            };
            answers.tell(&slot, input);
        });
    }

    fn spawn(&mut self, slot: &SlotName, view: &View, answers: &Answers) {
        self.left.insert(slot.clone());
        match self.start(slot, view) {
            Ok(watched) => {
                let process = own(watched.name());
                answers.tell(slot, Input::Spawned { process });
                let (watched, rest) = (Arc::new(watched), self.rest(slot));
                follow(&self.files, slot, watched, rest, &self.watched, answers);
            }
            Err(text) => {
                let (module, worker) = (&slot.module, slot.worker);
                tracing::error!(%module, %worker, error = text, "a worker cannot be started");
                answers.tell(slot, Input::SpawnFailed { text });
            }
        }
    }

    fn start(&self, slot: &SlotName, view: &View) -> Result<Watched, String> {
        let spec = view.spec(&slot.module, &slot.instance);
        let spec = spec.ok_or("its instance is withdrawn")?;
        let program = self.setup.artifacts.find(&spec.record.artifact);
        let program = program.map_err(|error| error.to_string())?;
        let program = program.ok_or("its program is gone")?;
        let worker = view.worker(&slot.module, &slot.instance, &slot.worker);
        let gone = "it is not assigned here any more";
        let threads = worker.ok_or(gone)?.record.groups.len();
        let take = (self.setup.resources)(view, slot)?;
        let place = self
            .setup
            .room
            .place(&self.files, slot, threads, take.pinned)?;
        let assignment = (self.setup.assign)(view, slot, place).ok_or(gone)?;
        let file = self
            .files
            .prepare(slot, &assignment)
            .map_err(|error| error.to_string())?;
        let start = processes::Start {
            program,
            arguments: vec![
                "worker".to_owned(),
                "--assignment".to_owned(),
                file.display().to_string(),
            ],
            dir: self.files.work(slot),
            log: self.files.log(slot),
            environment: take.environment,
            slot: self.files.tag(slot),
        };
        let watched = processes::start(&start).map_err(|error| error.to_string())?;
        if let Some(cgroups) = &self.setup.cgroups {
            let (name, pid) = (self.files.cgroup(slot), watched.name().pid);
            if let Err(error) = cgroups.confine(&name, pid, take.limits) {
                // It works all the same; the next start tries again.
                tracing::error!(error, worker = %slot.worker, "a worker runs without its limits");
            }
        }
        Ok(watched)
    }

    fn rest(&self, slot: &SlotName) -> Rest {
        Rest {
            slot: self.files.tag(slot),
            cgroups: self.setup.cgroups.clone(),
            cgroup: self.files.cgroup(slot),
        }
    }

    fn remember(&self, slot: &SlotName, process: Process) {
        if let Err(error) = self.files.remember(slot, process) {
            // It is found by its environment all the same.
            tracing::error!(%error, worker = %slot.worker, "a process is not remembered");
        }
    }

    fn signal(&self, slot: &SlotName, process: Process, signal: Signal) {
        let watched = self.watched().get(&process).cloned();
        let signal = match signal {
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        };
        if let Some(watched) = watched
            && let Err(error) = watched.signal(signal)
        {
            tracing::error!(%error, pid = process.pid, "a worker cannot be signalled");
        }
        let tag = self.files.tag(slot);
        tokio::task::spawn_blocking(move || {
            processes::signal_group(system(process), &tag, signal);
        });
    }

    fn delete(&mut self, slot: &SlotName, answers: &Answers) {
        // Nothing of it runs, and nothing is started before this is answered.
        let (files, slot, answers) = (self.files.clone(), slot.clone(), answers.clone());
        self.left.remove(&slot);
        if let Some(cgroups) = &self.setup.cgroups {
            cgroups.sweep(&self.files.cgroup(&slot));
        }
        tokio::spawn(async move {
            let of = slot.clone();
            let deleted = spawn_blocking(move || files.delete(&of)).await;
            let input = match deleted {
                Ok(Ok(())) => Input::Deleted,
                Ok(Err(error)) => Input::DeleteFailed {
                    text: error.to_string(),
                },
                Err(error) => Input::DeleteFailed {
                    text: error.to_string(),
                },
            };
            answers.tell(&slot, input);
        });
    }
}

impl Node for Machine {
    fn act(&mut self, slot: &SlotName, effect: Effect, view: &View, answers: &Answers) {
        match effect {
            Effect::Find => self.find(slot, answers),
            Effect::Fetch { artifact } => self.fetch(slot, artifact, answers),
            Effect::Spawn { .. } => self.spawn(slot, view, answers),
            Effect::Remember { process } => self.remember(slot, process),
            Effect::Signal { process, signal } => self.signal(slot, process, signal),
            Effect::Delete => self.delete(slot, answers),
            // The loop does that.
            Effect::Confirm => {}
        }
    }

    fn left(&self) -> BTreeSet<SlotName> {
        self.left.clone()
    }
}

/// How everything that a worker started is found when it has ended.
#[derive(Clone)]
struct Rest {
    slot: String,
    cgroups: Option<Cgroups>,
    cgroup: String,
}

impl Rest {
    /// Ends it: the next process of the slot finds ports and files free.
    fn end(&self, of: Process) {
        processes::signal_group(system(of), &self.slot, rustix::process::Signal::KILL);
        if let Some(cgroups) = &self.cgroups {
            cgroups.end(&self.cgroup, of.pid);
        }
    }
}

/// Tells of a process until it has ended.
fn follow(
    files: &Files,
    slot: &SlotName,
    watched: Arc<Watched>,
    rest: Rest,
    all: &Arc<Mutex<BTreeMap<Process, Arc<Watched>>>>,
    answers: &Answers,
) {
    let process = own(watched.name());
    let lock = move |all: &Arc<Mutex<BTreeMap<_, _>>>, watched: Option<Arc<Watched>>| {
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        match watched {
            Some(watched) => all.insert(process, watched),
            None => all.remove(&process),
        };
    };
    lock(all, Some(watched.clone()));
    let (beat, slot) = (files.beat(slot), slot.clone());
    let (all, answers) = (all.clone(), answers.clone());
    tokio::spawn(async move {
        tokio::select! {
            text = watched.ended() => {
                lock(&all, None);
                // One that panicked has nothing more to end.
                let _ = spawn_blocking(move || rest.end(process)).await;
                answers.tell(&slot, Input::Exited { process, text });
            }
            () = beats(&beat, || answers.tell(&slot, Input::Heartbeat { process })) => {}
        }
    });
}

/// Tells of every change of a beat file, for ever.
async fn beats(beat: &Path, tell: impl Fn()) {
    let mut last = None;
    let mut look = tokio::time::interval(BEAT_LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        let written = tokio::fs::metadata(beat).await.ok();
        let written = written.and_then(|file| file.modified().ok());
        if written.is_some() && written != last {
            last = written;
            tell();
        }
    }
}

/// Gets a program, unless it is here, and says whether it may be run.
pub(crate) async fn fetched(
    artifacts: Artifacts,
    fetch: Fetch,
    name: String,
) -> Result<(), String> {
    let text = |error: ArtifactError| chain(&error);
    // One that is here may have been signed since.
    if artifacts.find(&name).map_err(text)?.is_none() || artifacts.trusted(&name).is_err() {
        fetch(artifacts.clone(), name.clone()).await?;
    }
    let verified = spawn_blocking(move || artifacts.verify(&name)).await;
    let verified = verified.map_err(|error| error.to_string())?;
    verified.map(|_| ()).map_err(text)
}

fn own(name: ProcessName) -> Process {
    Process {
        pid: name.pid,
        start_time: name.start_time,
    }
}

fn system(process: Process) -> ProcessName {
    ProcessName {
        pid: process.pid,
        start_time: process.start_time,
    }
}
