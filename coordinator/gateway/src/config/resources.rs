//! Sections `[worker.resources]` and `[worker.resources.env]`: what a worker may take of its machine.
//!
//! Relies on `config` for layers and origins. The settings are those of a node; an instance may differ
//! from them by `rama deploy --config-overrides`. What must stay true: the conductor refuses what a
//! supervisor could not do, with the same code; the names that begin with `RAMA_` belong to the
//! supervisor, so that no module is run as another one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Error, error};

/// Where the settings stand that an instance may differ in.
const SECTION: &str = "worker.resources.";

/// What the kernel takes for `cpu.weight`.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;

/// Less is no memory for a worker to start in.
const MEMORY_MIN: u64 = 64 << 20;

/// Section `[worker]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// What each may take.
    pub resources: Resources,
}

/// Section `[worker.resources]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Most memory of one worker, page cache included, such as `4GiB`; empty: no limit.
    pub memory_max: String,
    /// So many cores' worth of time for one worker; 0: no limit.
    pub cpus: u32,
    /// Its share of the time when there is too little for all; 100 is usual.
    pub cpu_weight: u32,
    /// Whether each task thread gets a core of its own while there are enough.
    pub pin_cores: bool,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Default for Resources {
    fn default() -> Resources {
        Resources {
            memory_max: String::new(),
            cpus: 0,
            cpu_weight: 100,
            pin_cores: true,
            env: BTreeMap::new(),
        }
    }
}

impl Resources {
    /// Most memory of one worker; none is no limit.
    ///
    /// # Errors
    /// The text is no size.
    pub fn memory_bytes_max(&self) -> Result<Option<u64>, Error> {
        let text = self.memory_max.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let digits = text.find(|char: char| !char.is_ascii_digit());
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let shift = match unit.trim() {
            "" | "B" => Some(0),
            "KiB" => Some(10),
            "MiB" => Some(20),
            "GiB" => Some(30),
            "TiB" => Some(40),
            _ => None,
        };
        let number: Option<u64> = number.parse().ok();
        let bytes = number.zip(shift);
        let bytes = bytes.and_then(|(number, shift)| number.checked_mul(1 << shift));
        match bytes {
            Some(bytes) if bytes >= MEMORY_MIN => Ok(Some(bytes)),
            Some(_) => Err(error(
                format!("worker.resources.memory_max {text} is too little for a worker"),
                "give it 64MiB or more",
            )),
            None => Err(error(
                format!("worker.resources.memory_max {text} is no size"),
                "write it as 512MiB or 4GiB",
            )),
        }
    }

    /// These settings with what one instance wants else.
    ///
    /// # Errors
    /// There is no such setting of workers, or it cannot have that value.
    pub fn overridden<'a>(
        &self,
        overrides: impl Iterator<Item = (&'a str, Value)>,
    ) -> Result<Resources, Error> {
        let mut settings = serde_json::to_value(self).expect("plain values");
        for (key, value) in overrides {
            let name = key.strip_prefix(SECTION).unwrap_or_default();
            let place = match name.strip_prefix("env.") {
                Some(variable) => Some(&mut settings["env"][variable]),
                None => settings.get_mut(name),
            };
            let known = place.map(|place| *place = value);
            known.ok_or_else(|| {
                let what = format!("there is no setting {key} of workers");
                error(
                    what,
                    "rama.toml lists those below [worker.resources]; others are the node's",
                )
            })?;
        }
        let settings: Resources = serde_json::from_value(settings).map_err(|cause| {
            let what = format!("could not use the settings of workers: {cause}");
            error(
                what,
                "rama.toml shows what below [worker.resources] is what",
            )
        })?;
        settings.check()?;
        Ok(settings)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.memory_bytes_max()?;
        if !WEIGHTS.contains(&self.cpu_weight) {
            let what = format!("worker.resources.cpu_weight cannot be {}", self.cpu_weight);
            return Err(error(what, "use 1 to 10000; 100 is usual"));
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let what = format!("worker.resources.env.{name} cannot be a variable");
                return Err(error(what, "use letters, digits and _"));
            }
            if name.starts_with("RAMA_") {
                let what = format!("worker.resources.env.{name} belongs to the supervisor");
                return Err(error(what, "use another name"));
            }
        }
        Ok(())
    }
}
