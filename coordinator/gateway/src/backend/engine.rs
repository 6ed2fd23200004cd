//! The real backend: a cluster's own handle.
//!
//! Relies on `rama_runtime::Cluster`, whose futures run on any executor. What must stay true: its
//! error kinds become codes one to one, because they carry whether anything was done.

use futures_util::StreamExt;
use rama_runtime::{AckLevel, Appended, Cluster, Error, ErrorKind, Status};
use serde_json::Value;

use super::{
    Amount, Answer, Backend, Changes, Code, DeadLetter, Letters, Objects, Refusal, Settle, Target,
};

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = match error.kind() {
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::Unknown => Code::Unknown,
            ErrorKind::Failed => Code::Failed,
            ErrorKind::Invalid => Code::Invalid,
            ErrorKind::Rejected => Code::Rejected,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Fenced => Code::Fenced,
            ErrorKind::Corrupt => Code::Corrupt,
            ErrorKind::Storage => Code::Storage,
            ErrorKind::Closed => Code::Closed,
        };
        Refusal::new(code, format!("{error:#}"))
    }
}

/// The only result (spec P-34).
fn one(mut results: Vec<Value>, path: &Value) -> Result<Value, Refusal> {
    match results.len() {
        1 => Ok(results.remove(0)),
        count => {
            let detail = format!("the path {path} has {count} results, not one");
            Err(Refusal::new(Code::Rejected, detail).hint("select answers them all as a list"))
        }
    }
}

impl Backend for Cluster {
    fn modules(&self) -> Vec<String> {
        Cluster::modules(self)
    }

    fn objects(&self, module: &str) -> Option<Objects> {
        let definition = self.definition(module).ok()?;
        let depots = definition
            .depots
            .iter()
            .filter(|depot| depot.kind.tick().is_none());
        let pstates = definition.pstates.iter().filter(|pstate| !pstate.private);
        Some(Objects {
            depots: depots.map(|depot| depot.name.clone()).collect(),
            pstates: pstates.map(|pstate| pstate.name.clone()).collect(),
        })
    }

    fn describe(&self, module: &str) -> Option<Value> {
        let definition = self.definition(module).ok()?;
        Some(definition.manifest())
    }

    fn append<'a>(&'a self, at: Target<'a>, data: Value, ack: AckLevel) -> Answer<'a, Appended> {
        let sent = self.append_json(at.module, at.object, &data, ack);
        Box::pin(async move { Ok(sent.await?) })
    }

    fn select<'a>(&'a self, at: Target<'a>, path: Value, amount: Amount) -> Answer<'a, Value> {
        Box::pin(async move {
            let results = self.select_json(at.module, at.object, &path).await?;
            match amount {
                Amount::Any => Ok(Value::Array(results)),
                Amount::One => one(results, &path),
            }
        })
    }

    fn watch<'a>(&'a self, at: Target<'a>, path: Value) -> Answer<'a, Changes> {
        let watch = self.watch_json(at.module, at.object, &path);
        Box::pin(async move {
            let changes: Changes = Box::pin(watch?.map(move |change| one(change?, &path)));
            Ok(changes)
        })
    }

    fn status(&self) -> Status {
        Cluster::status(self)
    }

    fn dead_letters<'a>(&'a self, module: &'a str) -> Answer<'a, Vec<DeadLetter>> {
        Box::pin(async move {
            let mut letters = Vec::new();
            for letter in Cluster::dead_letters(self, module).await? {
                let offsets = letter.offset..letter.offset + 1;
                let records = self.read_json(module, &letter.depot, letter.partition, offsets);
                // A record that was trimmed meanwhile is shown as null; the letter still counts.
                let data = records.await.ok().and_then(|mut records| records.pop());
                letters.push(DeadLetter {
                    letter,
                    data: data.unwrap_or_default(),
                });
            }
            Ok(letters)
        })
    }

    fn settle<'a>(&'a self, module: &'a str, which: Letters, how: Settle) -> Answer<'a, u64> {
        Box::pin(async move {
            let ids = match which {
                Letters::Ids(ids) => ids,
                Letters::All => {
                    let letters = Cluster::dead_letters(self, module).await?;
                    letters.into_iter().map(|letter| letter.id).collect()
                }
            };
            Ok(match how {
                Settle::Replay => self.replay_dead_letters(module, &ids).await?,
                Settle::Drop => self.drop_dead_letters(module, &ids).await?,
            })
        })
    }

    fn ready(&self) -> Result<(), String> {
        let status = Cluster::status(self);
        match status
            .modules
            .iter()
            .find(|module| module.state != "running")
        {
            Some(module) => Err(format!("module {} is {}", module.name, module.state)),
            None => Ok(()),
        }
    }
}
