//! A cluster of one module in memory, for tests of routes and commands.
//!
//! Module `Demo`: depot `*lines`, PStates `$$counts` (select of a string key) and `$$total`.
//! What must stay true: any failure a client can meet is one magic record or key away
//! (`"fail:<code>"`), so that no test needs a broken cluster.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use rama_runtime::status::{DepotStatus, ModuleStatus, Status, TopologyStatus};
use rama_runtime::{AckLevel, Appended};

use super::{
    Amount, Answer, Backend, Changes, Code, DeadLetter, Letters, Objects, Refusal, Settle, Target,
};

/// The fake; see the module's head.
pub struct Fake {
    words: Mutex<BTreeMap<String, u64>>,
    letters: Mutex<Vec<DeadLetter>>,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Default for Fake {
    fn default() -> Fake {
        let letter = rama_runtime::DeadLetter {
            id: "0-7".into(),
            topology: "count".into(),
            depot: "*lines".into(),
            partition: 0,
            offset: 7,
            error: "author code panicked: no such word".into(),
            attempts: 10,
            time_ms: 1_700_000_000_000,
        };
        let letter = DeadLetter {
            letter,
            data: json!("poison"),
        };
        Fake {
            words: Mutex::default(),
            letters: Mutex::new(vec![letter]),
            changed: tokio::sync::watch::Sender::new(0),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refuse_if_magic(text: &str) -> Result<(), Refusal> {
    let Some(word) = text.strip_prefix("fail:") else {
        return Ok(());
    };
    let code: Code = serde_json::from_value(json!(word))
        .map_err(|_| Refusal::new(Code::Invalid, format!("no failure called {word}")))?;
    Err(Refusal::new(
        code,
        format!("could not do it: asked to fail as {word}"),
    ))
}

fn found(at: Target<'_>, names: &[&str]) -> Result<(), Refusal> {
    if at.module == "Demo" && names.contains(&at.object) {
        return Ok(());
    }
    Err(Refusal::new(
        Code::NotFound,
        format!("no {} in module {}", at.object, at.module),
    ))
}

impl Fake {
    fn count(&self, line: &str) {
        for word in line.split_whitespace() {
            *lock(&self.words).entry(word.to_lowercase()).or_default() += 1;
        }
        self.changed.send_modify(|version| *version += 1);
    }

    fn read(words: &BTreeMap<String, u64>, path: &Value) -> Result<Vec<Value>, Refusal> {
        match path.as_array().map(Vec::as_slice) {
            Some([Value::String(key)]) => {
                refuse_if_magic(key)?;
                Ok(vec![json!(words.get(key))])
            }
            Some([Value::Array(all)]) if all.first() == Some(&json!("all")) => Ok(words
                .iter()
                .map(|(word, count)| json!([word, count]))
                .collect()),
            _ => Err(Refusal::new(
                Code::Invalid,
                format!("could not read the path {path}"),
            )),
        }
    }
}

impl Backend for Fake {
    fn modules(&self) -> Vec<String> {
        vec!["Demo".into()]
    }

    fn objects(&self, module: &str) -> Option<Objects> {
        (module == "Demo").then(|| Objects {
            depots: vec!["*lines".into()],
            pstates: vec!["$$counts".into(), "$$total".into()],
        })
    }

    fn describe(&self, module: &str) -> Option<Value> {
        (module == "Demo").then(|| {
            let counts = json!({"kind": "map", "key": "String", "value": {"kind": "value"}});
            json!({
                "module": "Demo",
                "depots": [{"name": "*lines", "record": {"json": {"type": "string"}}}],
                "pstates": [{"name": "$$counts", "schema": counts}, {"name": "$$total"}],
            })
        })
    }

    fn append<'a>(&'a self, at: Target<'a>, data: Value, ack: AckLevel) -> Answer<'a, Appended> {
        Box::pin(async move {
            found(at, &["*lines"])?;
            let Value::String(line) = data else {
                return Err(Refusal::new(
                    Code::Invalid,
                    "could not read a String from the data",
                ));
            };
            refuse_if_magic(&line)?;
            self.count(&line);
            let mut appended = Appended::default();
            if ack == AckLevel::Ack {
                appended
                    .returns
                    .insert("count".into(), json!(9_007_199_254_740_993_u64));
            }
            appended.offset = (ack != AckLevel::None).then_some(41);
            Ok(appended)
        })
    }

    fn select<'a>(&'a self, at: Target<'a>, path: Value, amount: Amount) -> Answer<'a, Value> {
        Box::pin(async move {
            found(at, &["$$counts", "$$total"])?;
            let mut results = Fake::read(&lock(&self.words), &path)?;
            match amount {
                Amount::Any => Ok(Value::Array(results)),
                Amount::One if results.len() == 1 => Ok(results.remove(0)),
                Amount::One => Err(Refusal::new(
                    Code::Rejected,
                    format!("selectOne found {} results", results.len()),
                )),
            }
        })
    }

    fn watch<'a>(&'a self, at: Target<'a>, path: Value) -> Answer<'a, Changes> {
        Box::pin(async move {
            let first = self.select(at, path.clone(), Amount::One).await?;
            let key = path[0].as_str().unwrap_or_default().to_owned();
            let mut changed = self.changed.subscribe();
            let stream: Changes = Box::pin(async_stream::stream! {
                yield Ok(first);
                while changed.changed().await.is_ok() {
                    let version = *changed.borrow_and_update();
                    yield Ok(json!({"key": key, "version": version}));
                }
            });
            Ok(stream)
        })
    }

    fn status(&self) -> Status {
        let depot = DepotStatus {
            name: "*lines".into(),
            records: 42,
            partitions: vec![(0, 20), (0, 22)],
        };
        let topology = TopologyStatus {
            name: "count".into(),
            kind: "stream".into(),
            processed: 42,
            dead_letters: lock(&self.letters).len() as u64,
            ..TopologyStatus::default()
        };
        let module = ModuleStatus {
            name: "Demo".into(),
            tasks: 2,
            threads: 2,
            state: "running".into(),
            depots: vec![depot],
            topologies: vec![topology],
            ..ModuleStatus::default()
        };
        Status {
            cluster: "00000000000000000000000000000001".into(),
            modules: vec![module],
        }
    }

    fn dead_letters<'a>(&'a self, _module: &'a str) -> Answer<'a, Vec<DeadLetter>> {
        Box::pin(async move { Ok(lock(&self.letters).clone()) })
    }

    fn settle<'a>(&'a self, _module: &'a str, which: Letters, _: Settle) -> Answer<'a, u64> {
        Box::pin(async move {
            let mut letters = lock(&self.letters);
            let before = letters.len();
            letters.retain(|letter| match &which {
                Letters::All => false,
                Letters::Ids(ids) => !ids.contains(&letter.letter.id),
            });
            Ok((before - letters.len()) as u64)
        })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}
