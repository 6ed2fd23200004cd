//! Dynamic options of the modules of one launcher: what is set, and how the task threads hear of
//! it.
//!
//! Relies on `rama_core::options` for what may be set and which value holds. What must stay true: a
//! module that starts has what is set then; threads hear of changes in the order in which they were
//! made, because they are told under the lock that the change is made under; a thread that was told
//! has told its loops when it answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rama_core::options::{Settings, check};
use rama_io::Env;
use serde_json::Value;

use super::Launcher;
use crate::cluster::{Answers, Running};
use crate::error::{Error, Result};
use crate::message::Control;
use crate::options::{Level, Refusal, find};
use crate::tuning::{Tuning, objects};

/// What is set.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// On modules that nothing was set on since.
    first: Settings,
    modules: Mutex<BTreeMap<String, Settings>>,
}

impl Options {
    pub(super) fn new(first: Settings) -> Options {
        let modules = Mutex::default();
        Options { first, modules }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Settings>> {
        self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, modules: &BTreeMap<String, Settings>, module: &str) -> Settings {
        modules.get(module).unwrap_or(&self.first).clone()
    }

    pub(super) fn forget(&self, module: &str) {
        self.lock().remove(module);
    }
}

impl<E: Env> Launcher<E> {
    /// What is set on a module.
    pub(crate) fn settings(&self, module: &str) -> Settings {
        self.options.of(&self.options.lock(), module)
    }

    /// Changes what is set on a module, whether it runs or not; the answers of its threads here.
    pub(crate) fn change_settings(
        &self,
        module: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Answers {
        let mut modules = self.options.lock();
        let mut settings = self.options.of(&modules, module);
        change(&mut settings);
        modules.insert(module.to_owned(), settings.clone());
        match self.cluster.running(module) {
            Ok(running) if running.is_up() => self.tell(&running, &settings),
            // Its launch takes what is set then.
            _ => Answers::default(),
        }
    }

    /// Tells a module that has just started what was set while it did.
    pub(super) fn catch_up(&self, module: &str, known: &Settings) {
        let modules = self.options.lock();
        let settings = self.options.of(&modules, module);
        if settings != *known
            && let Ok(running) = self.cluster.running(module)
        {
            drop(self.tell(&running, &settings));
        }
    }

    fn tell(&self, running: &Running, settings: &Settings) -> Answers {
        let tuning = Tuning::of(&running.layout, settings);
        running.order(self.local_threads(&running.layout), |reply| {
            let tuning = tuning.clone();
            Control::Tune { tuning, reply }
        })
    }

    /// Sets an option, or unsets it, on a module that is launched; completes when it holds.
    pub(crate) async fn set_option(
        &self,
        module: &str,
        level: Level,
        option: &str,
        value: Option<Value>,
    ) -> Result<()> {
        let running = self.cluster.running(module)?;
        let objects = objects(&running.layout.definition);
        let level = objects.resolve(level);
        let checked = match &value {
            Some(value) => check(Some(&objects), &level, option, value),
            None => find(option),
        };
        checked.map_err(|refusal| refused(module, &level, option, &refusal))?;
        let told = self.change_settings(module, |settings| {
            match value {
                Some(value) => settings.set(level, option, value),
                None => settings.unset(&level, option),
            };
        });
        running.answered(told).await
    }
}

fn refused(module: &str, level: &Level, option: &str, refusal: &Refusal) -> Error {
    let place = match level.object() {
        Some(_) => format!("{level} of {module}"),
        None => module.to_owned(),
    };
    let hint = refusal.hint();
    Error::invalid(format!(
        "could not set {option} of {place}: {refusal}; {hint}"
    ))
}

/// Refuses settings of which some would have no effect in any module.
pub(crate) fn usable(settings: &Settings) -> Result<()> {
    match settings.useless().next() {
        None => Ok(()),
        Some(refusal) => Err(Error::invalid(format!(
            "could not use the options: {refusal}; {}",
            refusal.hint()
        ))),
    }
}

#[cfg(test)]
mod tests;
