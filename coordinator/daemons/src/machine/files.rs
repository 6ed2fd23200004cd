//! The directories of worker slots on a machine.
//!
//! Relies on renames being atomic. What must stay true: what is remembered is whole or not there; a
//! deletion is durable before it is answered.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rama_api::Assignment;
use rama_planner::ids::{InstanceId, ModuleName, WorkerIndex};
use rama_planner::slot::Process;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::supervisor::SlotName;

/// Who a slot is, and its last process.
#[derive(Serialize, Deserialize)]
struct SlotFile {
    module: ModuleName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Remembered>,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    pid: u32,
    start_time: u64,
    /// Start times begin anew with each.
    boot: String,
}

/// The directories. Clones are the same ones.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    boot: String,
}

impl Files {
    pub(super) fn open(dir: &Path) -> io::Result<Files> {
        fs::create_dir_all(dir.join("workers"))?;
        fs::create_dir_all(dir.join("logs"))?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Files {
            dir: dir.canonicalize()?,
            boot: boot.trim().to_owned(),
        })
    }

    /// Slots of which something is there.
    pub(super) fn slots(&self) -> io::Result<BTreeSet<SlotName>> {
        let mut slots = BTreeSet::new();
        for instance in fs::read_dir(self.dir.join("workers"))? {
            let instance = instance?;
            let Some(id) = number::<Uuid>(&instance.file_name()) else {
                continue;
            };
            for worker in fs::read_dir(instance.path())? {
                let worker = worker?;
                let Some(index) = number::<u32>(&worker.file_name()) else {
                    continue;
                };
                let path = worker.path().join("slot.json");
                match read(&path) {
                    Some(file) => {
                        slots.insert(SlotName {
                            module: file.module,
                            instance: InstanceId(id),
                            worker: WorkerIndex(index),
                        });
                    }
                    None => tracing::warn!(path = %path.display(), "this slot is passed over"),
                }
            }
        }
        Ok(slots)
    }

    /// How processes of a slot name it in their environment. Machines may be several on one system.
    pub(super) fn tag(&self, slot: &SlotName) -> String {
        self.slot(slot).display().to_string()
    }

    pub(super) fn data(&self, slot: &SlotName) -> PathBuf {
        self.slot(slot).join("data")
    }

    /// Where the worker runs: relative paths of a module's code lead here.
    pub(super) fn work(&self, slot: &SlotName) -> PathBuf {
        self.slot(slot).join("work")
    }

    pub(super) fn beat(&self, slot: &SlotName) -> PathBuf {
        self.slot(slot).join("beat")
    }

    pub(super) fn log(&self, slot: &SlotName) -> PathBuf {
        let name = format!("{}-{}-{}.log", slot.module, slot.instance, slot.worker);
        self.dir.join("logs").join(name)
    }

    /// Makes the slot's directory, and writes what the worker is told; answers where.
    pub(super) fn prepare(&self, slot: &SlotName, told: &Assignment) -> io::Result<PathBuf> {
        fs::create_dir_all(self.data(slot))?;
        fs::create_dir_all(self.work(slot))?;
        if read(&self.slot_file(slot)).is_none() {
            self.write_slot(slot, None)?;
        }
        // What an earlier process wrote says nothing of the next one.
        match fs::remove_file(self.beat(slot)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let path = self.assignment(slot);
        write(&path, &serde_json::to_vec_pretty(told)?)?;
        Ok(path)
    }

    /// What the worker of a slot was told last.
    pub(super) fn told(&self, slot: &SlotName) -> Option<Assignment> {
        serde_json::from_slice(&fs::read(self.assignment(slot)).ok()?).ok()
    }

    /// How the slot is called among the cgroups.
    pub(super) fn cgroup(&self, slot: &SlotName) -> String {
        format!("{}-{}", slot.instance, slot.worker)
    }

    pub(super) fn remember(&self, slot: &SlotName, process: Process) -> io::Result<()> {
        self.write_slot(
            slot,
            Some(Remembered {
                pid: process.pid,
                start_time: process.start_time,
                boot: self.boot.clone(),
            }),
        )
    }

    /// The process that was remembered in this boot.
    pub(super) fn remembered(&self, slot: &SlotName) -> Option<Process> {
        let process = read(&self.slot_file(slot))?.process?;
        (process.boot == self.boot).then_some(Process {
            pid: process.pid,
            start_time: process.start_time,
        })
    }

    /// Deletes everything of a slot but its log.
    pub(super) fn delete(&self, slot: &SlotName) -> io::Result<()> {
        let dir = self.slot(slot);
        // The data goes first: after a crash the slot is found as long as any of it is there.
        absent_is_fine(fs::remove_dir_all(dir.join("data")))?;
        absent_is_fine(fs::remove_dir_all(&dir))?;
        let instance = self.dir.join("workers").join(slot.instance.to_string());
        // Of several slots the last one takes the directory of the instance with it.
        if instance.is_dir() && fs::remove_dir(&instance).is_err() {
            File::open(&instance)?.sync_all()?;
        }
        File::open(self.dir.join("workers"))?.sync_all()
    }

    fn write_slot(&self, slot: &SlotName, process: Option<Remembered>) -> io::Result<()> {
        let module = slot.module.clone();
        let bytes = serde_json::to_vec(&SlotFile { module, process })?;
        write(&self.slot_file(slot), &bytes)
    }

    fn slot(&self, slot: &SlotName) -> PathBuf {
        let instance = self.dir.join("workers").join(slot.instance.to_string());
        instance.join(slot.worker.to_string())
    }

    fn assignment(&self, slot: &SlotName) -> PathBuf {
        self.slot(slot).join("assignment.json")
    }

    fn slot_file(&self, slot: &SlotName) -> PathBuf {
        self.slot(slot).join("slot.json")
    }
}

fn number<T: std::str::FromStr>(name: &std::ffi::OsStr) -> Option<T> {
    name.to_str()?.parse().ok()
}

fn read(path: &Path) -> Option<SlotFile> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a file whole, durably.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, bytes)?;
    File::open(&part)?.sync_all()?;
    fs::rename(&part, path)?;
    let dir = path.parent().unwrap_or(path);
    File::open(dir)?.sync_all()
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
