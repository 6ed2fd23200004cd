//! A view that keeps up with the metastore.
//!
//! Relies on a watch that never ends by itself and is listed anew after gaps. What must stay true: the
//! view never goes back; settings and pauses, which no machine looks at, are kept beside it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use rama_core::options::Settings;
use rama_metastore::{
    Entry, Error, Key as StoredKey, Listing, Metastore, Scope, Space, Watch, WatchEvent, WatchFrom,
};
use rama_planner::store::{Key, Value};
use rama_planner::view::{Event, View};

use crate::codec;

/// What an event changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keys that the machines look at: all of them may have.
    View,
    /// Settings or pauses.
    Settings,
    /// Nothing that was not known.
    Nothing,
}

/// Everything of a cluster, as far as it was heard of.
pub struct Follower {
    space: Space,
    watch: Watch,
    view: View,
    /// By module.
    settings: BTreeMap<String, Settings>,
    paused: BTreeSet<(String, String)>,
}

impl Follower {
    /// Follows a space from now on. The first change is a listing.
    pub fn new(store: &impl Metastore, space: &Space) -> Follower {
        Follower {
            watch: store.watch(&space.prefix(&Scope::All), WatchFrom::Listing),
            space: space.clone(),
            view: View::default(),
            settings: BTreeMap::new(),
            paused: BTreeSet::new(),
        }
    }

    /// What is known.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The dynamic options of a module.
    pub fn settings(&self, module: &str) -> Settings {
        self.settings.get(module).cloned().unwrap_or_default()
    }

    /// The paused topologies of a module.
    pub fn paused(&self, module: &str) -> Vec<String> {
        let all = self.paused.iter().filter(|(of, _)| of == module);
        all.map(|(_, topology)| topology.clone()).collect()
    }

    /// The dynamic options of all modules.
    pub fn all_settings(&self) -> &BTreeMap<String, Settings> {
        &self.settings
    }

    /// The paused topologies of all modules.
    pub fn all_paused(&self) -> &BTreeSet<(String, String)> {
        &self.paused
    }

    /// Waits for the next event and takes it in. Cancelling the wait loses nothing.
    ///
    /// # Errors
    /// The metastore cannot be followed at present; call again to wait for it.
    pub async fn next(&mut self) -> Result<Change, Error> {
        let event = self.watch.next().await?;
        Ok(self.apply(event))
    }

    /// Waits until the view shows everything up to a revision.
    ///
    /// # Errors
    /// As [`Follower::next`].
    pub async fn reach(&mut self, revision: u64) -> Result<(), Error> {
        while self.view.revision() < revision {
            self.next().await?;
        }
        Ok(())
    }

    /// Replaces what is known by a listing that the caller made.
    pub fn relist(&mut self, listing: Listing) {
        self.apply(WatchEvent::Relisted(listing));
    }

    /// The prefix of everything, to be listed.
    pub fn prefix(&self) -> String {
        self.space.prefix(&Scope::All)
    }

    fn apply(&mut self, event: WatchEvent) -> Change {
        match event {
            WatchEvent::Put(entry) => self.put(&entry),
            WatchEvent::Delete { key, revision } => self.delete(&key, revision),
            WatchEvent::Relisted(listing) => {
                if listing.revision < self.view.revision() {
                    return Change::Nothing;
                }
                self.settings.clear();
                self.paused.clear();
                let mut keys = Vec::new();
                for entry in &listing.entries {
                    match self.read(entry) {
                        Read::Record(record) => {
                            let (key, value) = *record;
                            keys.push((key, entry.versioned.revision, value));
                        }
                        Read::Setting | Read::Foreign => {}
                    }
                }
                self.view.relist(listing.revision, keys);
                Change::View
            }
        }
    }

    fn put(&mut self, entry: &Entry) -> Change {
        let revision = entry.versioned.revision;
        match self.read(entry) {
            Read::Record(record) => {
                let (key, value) = *record;
                let value = Some(value);
                self.change(Event {
                    revision,
                    key,
                    value,
                })
            }
            Read::Setting => Change::Settings,
            Read::Foreign => Change::Nothing,
        }
    }

    fn delete(&mut self, key: &str, revision: u64) -> Change {
        match self.space.parse(key) {
            Ok(StoredKey::Setting(module, level, option)) => {
                if let Some(settings) = self.settings.get_mut(&module) {
                    settings.unset(&codec::level(level), &option);
                    if settings.is_empty() {
                        self.settings.remove(&module);
                    }
                }
                Change::Settings
            }
            Ok(StoredKey::Paused(module, topology)) => {
                self.paused.remove(&(module, topology));
                Change::Settings
            }
            Ok(stored) => match codec::planner_key(&stored) {
                Some(key) => self.change(Event {
                    revision,
                    key,
                    value: None,
                }),
                None => Change::Nothing,
            },
            Err(_) => Change::Nothing,
        }
    }

    fn change(&mut self, event: Event) -> Change {
        if self.view.apply(event) {
            Change::View
        } else {
            Change::Nothing
        }
    }

    /// What stands in an entry.
    fn read(&mut self, entry: &Entry) -> Read {
        let stored = match self.space.parse(&entry.key) {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(%error, "a key of the metastore is passed over");
                return Read::Foreign;
            }
        };
        let bytes = &entry.versioned.value;
        match stored {
            StoredKey::Setting(module, level, option) => {
                match serde_json::from_slice::<rama_metastore::value::Setting>(bytes) {
                    Ok(setting) => {
                        let settings = self.settings.entry(module).or_default();
                        settings.set(codec::level(level), &option, setting.value);
                    }
                    Err(error) => tracing::warn!(%error, key = entry.key, "no option"),
                }
                return Read::Setting;
            }
            StoredKey::Paused(module, topology) => {
                self.paused.insert((module, topology));
                return Read::Setting;
            }
            _ => {}
        }
        let Some(key) = codec::planner_key(&stored) else {
            return Read::Foreign;
        };
        match codec::value(&key, bytes) {
            Ok(value) => Read::Record(Box::new((key, value))),
            Err(error) => {
                tracing::warn!(%error, "a value of the metastore is passed over");
                Read::Foreign
            }
        }
    }
}

enum Read {
    Record(Box<(Key, Value)>),
    Setting,
    Foreign,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("revision", &self.view.revision())
            .finish_non_exhaustive()
    }
}
