//! Every setting of a server: its default, and where its value came from.
//!
//! Relies on nothing. Precedence: defaults, then a file (the one named, or that of `RAMA_CONFIG`, or
//! `./rama.toml`), then `RAMA_SECTION__KEY` of the environment, then flags. `rama.toml` at the top of the repository lists every key; a test keeps
//! it equal to [`Config::default`]. What must stay true: an unknown key or a value of the wrong
//! type is an error that names its place, because a setting that is silently not applied is worse
//! than none; and only keys that do something exist.

pub mod client;
pub mod daemons;
pub mod resources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rama_io::probe;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::routes::Limits;

/// The file read when no other is named.
pub const FILE: &str = "rama.toml";

/// The variable that names another file.
pub const FILE_VARIABLE: &str = "RAMA_CONFIG";

const ENVIRONMENT: &str = "RAMA_";

/// Settings that name files of their own: relative ones begin at the directory of the file that says
/// so, because a client finds that file from any directory below.
const PATHS: [&str; 9] = [
    "security.ca",
    "security.cert",
    "security.key",
    "security.tokens",
    "security.token_file",
    "metastore.password_file",
    "metastore.ca",
    "metastore.cert",
    "metastore.key",
];

/// Below it every name is a setting: variables for the environment of workers.
const VARIABLES: &str = "worker.resources.env.";

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The embedded cluster.
    pub cluster: Cluster,
    /// The HTTP server.
    pub http: Http,
    /// Logs.
    pub log: Log,
    /// How the conductor of a cluster is found.
    pub conductor: Conductor,
    /// Programs that connect to a cluster.
    pub client: client::Client,
    /// How processes of a cluster prove who they are.
    pub security: Security,
    /// This machine, for the daemons on it.
    pub node: daemons::Node,
    /// The supervisor of this machine.
    pub supervisor: daemons::Supervisor,
    /// The cluster's metastore.
    pub metastore: daemons::Metastore,
    /// How modules are placed.
    pub scheduler: daemons::Scheduler,
    /// What workers on this machine may take.
    pub worker: resources::Worker,
}

/// Section `[conductor]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conductor {
    /// Its host name or address for who is outside of the cluster; empty when there is no cluster.
    pub host: String,
    /// The same for who is inside; empty when it is the same.
    pub host_internal: String,
    /// Its QUIC port.
    pub port: u16,
    /// Its HTTP port.
    pub http_port: u16,
}

/// Section `[security]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Certificates of the cluster's authorities.
    pub ca: PathBuf,
    /// The certificate of this process.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Nobody proves anything; addresses of this machine alone.
    pub insecure: bool,
    /// Who is answered over HTTP: the file that `rama tokens` writes; empty: nobody where there are
    /// certificates, anyone otherwise.
    pub tokens: PathBuf,
    /// The token that commands here show over HTTP.
    pub token_file: PathBuf,
}

/// What section `[security]` comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Both sides show a certificate of the same cluster.
    Certificates {
        /// Certificates of the cluster's authorities.
        ca: PathBuf,
        /// The certificate of this process.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// Nobody proves anything.
    Insecure,
}

/// Section `[cluster]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Where data is kept.
    pub data_dir: PathBuf,
    /// Task threads; 0 is one per core.
    pub threads: u32,
    /// Tasks of a new module, a power of two; 0 is the power of two at or above `threads`.
    pub tasks: u32,
}

/// Section `[http]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address to listen on.
    pub host: IpAddr,
    /// First port to try.
    pub port: u16,
    /// How many ports from `port` on are tried.
    pub port_tries: u16,
    /// Threads that serve requests.
    pub threads: usize,
    /// Largest request body.
    pub body_bytes_max: usize,
    /// Bound of one request.
    pub request_timeout_ms: u64,
    /// Pause between the signs of life of a quiet watch.
    pub heartbeat_ms: u64,
}

/// Section `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// What is written, in the notation of `tracing`'s `EnvFilter`.
    pub filter: String,
    /// How it is written.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `compact` on a terminal, `json` otherwise.
    Auto,
    /// One short line for people.
    Compact,
    /// One JSON object a line.
    Json,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            data_dir: PathBuf::from("./.rama"),
            threads: 0,
            tasks: 0,
        }
    }
}

impl Default for Http {
    fn default() -> Http {
        Http {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8888,
            port_tries: 100,
            threads: 1,
            body_bytes_max: 4 * 1024 * 1024,
            request_timeout_ms: 60_000,
            heartbeat_ms: 15_000,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            filter: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

impl Default for Conductor {
    fn default() -> Conductor {
        Conductor {
            host: String::new(),
            host_internal: String::new(),
            port: 1973,
            http_port: 8888,
        }
    }
}

impl Conductor {
    /// Where it is, for who is inside of the cluster or outside; none when there is no cluster.
    pub fn host(&self, internal: bool) -> Option<&str> {
        let inside = internal && !self.host_internal.is_empty();
        let host = if inside {
            &self.host_internal
        } else {
            &self.host
        };
        Some(host.as_str()).filter(|host| !host.is_empty())
    }
}

impl Security {
    /// How connections are to be protected.
    ///
    /// # Errors
    /// Too little was set, or both.
    pub fn protection(&self) -> Result<Protection, Error> {
        let files = [&self.ca, &self.cert, &self.key];
        let set = files.iter().filter(|path| !path.as_os_str().is_empty());
        match (set.count(), self.insecure) {
            (0, true) => Ok(Protection::Insecure),
            (3, false) => Ok(Protection::Certificates {
                ca: self.ca.clone(),
                cert: self.cert.clone(),
                key: self.key.clone(),
            }),
            (_, true) => Err(error(
                "security.insecure is true, and certificates are set".to_owned(),
                "leave out the one or the others",
            )),
            (_, false) => Err(error(
                "security.ca, security.cert and security.key are not all set".to_owned(),
                "`rama certs issue` makes the files; on one machine alone, security.insecure = true \
                 does without",
            )),
        }
    }
}

impl Cluster {
    /// Tasks of a new module, and task threads: what 0 stands for is filled in.
    pub fn shape(&self) -> (u32, u32) {
        let threads = match self.threads {
            0 => u32::try_from(probe::cores().len()).unwrap_or(1).max(1),
            threads => threads,
        };
        let tasks = match self.tasks {
            0 => threads.next_power_of_two(),
            tasks => tasks,
        };
        (tasks, threads)
    }
}

impl Http {
    /// The bounds of one request.
    pub fn limits(&self) -> Limits {
        Limits {
            body_bytes_max: self.body_bytes_max,
            request_timeout: Duration::from_millis(self.request_timeout_ms),
            heartbeat: Duration::from_millis(self.heartbeat_ms),
        }
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// This file.
    File(PathBuf),
    /// This variable of the environment.
    Environment(String),
    /// A flag of the command.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// A configuration that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What is wrong, and where.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

fn error(what: String, hint: impl Into<String>) -> Error {
    Error {
        what,
        hint: hint.into(),
    }
}

/// Settings being put together, key by key (`section.key`, `section.section.key`).
#[derive(Clone, Debug)]
pub struct Layers {
    values: BTreeMap<String, (Value, Origin)>,
}

impl Default for Layers {
    fn default() -> Layers {
        let table = Table::try_from(Config::default()).expect("the defaults are plain values");
        let flat = flatten(&table).into_iter();
        Layers {
            values: flat
                .map(|(key, value)| (key, (value, Origin::Default)))
                .collect(),
        }
    }
}

impl Layers {
    /// Defaults, then `file` (or that of `RAMA_CONFIG`, or `./rama.toml` when it exists), then the
    /// environment.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Layers, Error> {
        let mut layers = Layers::default();
        let environment: BTreeMap<String, String> = environment.collect();
        let named = environment.get(FILE_VARIABLE).map(Path::new);
        match file.or(named) {
            Some(path) => layers.file(path)?,
            None if Path::new(FILE).exists() => layers.file(Path::new(FILE))?,
            None => {}
        }
        layers.environment(environment)?;
        Ok(layers)
    }

    /// Reads a file over what is there.
    pub fn file(&mut self, path: &Path) -> Result<(), Error> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|cause| {
            let what = format!("could not read the configuration file {shown}: {cause}");
            error(what, "give an existing file with --config, or none")
        })?;
        let table: Table = text.parse().map_err(|cause| {
            let what = format!("could not read the configuration file {shown}: {cause}");
            error(what, "see the rama.toml of the repository for every key")
        })?;
        for (key, mut value) in flatten(&table) {
            if PATHS.contains(&key.as_str()) {
                value = beside(path, value);
            }
            self.set(&key, value, Origin::File(path.to_owned()))?;
        }
        Ok(())
    }

    fn environment(&mut self, variables: BTreeMap<String, String>) -> Result<(), Error> {
        for (name, text) in variables {
            // `RAMA_URL` and its like have no section and belong to the commands.
            let Some(key) = name
                .strip_prefix(ENVIRONMENT)
                .filter(|rest| rest.contains("__"))
            else {
                continue;
            };
            let key = key.to_lowercase().replace("__", ".");
            let read = match self.values.get(&key) {
                Some((Value::Integer(_), _)) => text.parse().ok().map(Value::Integer),
                Some((Value::Boolean(_), _)) => text.parse().ok().map(Value::Boolean),
                Some((Value::Array(_), _)) => numbers(&text),
                _ => None,
            };
            let value = read.unwrap_or(Value::String(text));
            self.set(&key, value, Origin::Environment(name))?;
        }
        Ok(())
    }

    /// Sets one key.
    pub fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<(), Error> {
        let wanted = match self.values.get(key) {
            Some((old, _)) => old.type_str(),
            None if key.starts_with(VARIABLES) => "string",
            None => return Err(self.unknown(key, &origin)),
        };
        if wanted != value.type_str() {
            let got = value.type_str();
            let what = format!("{key} is a {wanted}, not the {got} {value} ({origin})");
            return Err(error(
                what,
                format!("its default is {}", self.default_of(key)),
            ));
        }
        let previous = self.values.insert(key.to_owned(), (value, origin));
        // Types that the notation does not know (addresses, words of a list) are checked by serde.
        if let Err(cause) = self.config() {
            let (value, origin) = self.values.get(key).expect("it was set above");
            let what = format!("could not use {value} for {key} ({origin}): {}", cause.what);
            match previous {
                Some(previous) => self.values.insert(key.to_owned(), previous),
                None => self.values.remove(key),
            };
            let default = self.default_of(key);
            return Err(error(
                what,
                format!("{}; its default is {default}", cause.hint),
            ));
        }
        Ok(())
    }

    /// The settings.
    pub fn config(&self) -> Result<Config, Error> {
        let mut table = Table::new();
        for (key, (value, _)) in &self.values {
            let sections = match key.starts_with(VARIABLES) {
                // Whatever a variable is called, it is in no section of its own.
                true => VARIABLES.len() - 1,
                false => key.rfind('.').expect("keys are made as section.key"),
            };
            let mut section = &mut table;
            for name in key[..sections].split('.') {
                let inner = section
                    .entry(name)
                    .or_insert_with(|| Value::Table(Table::new()));
                section = inner.as_table_mut().expect("no key is a section as well");
            }
            section.insert(key[sections + 1..].to_owned(), value.clone());
        }
        let config: Config = table.try_into().map_err(|cause: toml::de::Error| {
            error(
                cause.message().to_owned(),
                "see the rama.toml of the repository",
            )
        })?;
        config.check()?;
        Ok(config)
    }

    /// Every key with its value and origin, sorted.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value, &Origin)> {
        self.values
            .iter()
            .map(|(key, (value, origin))| (key.as_str(), value, origin))
    }

    /// One key with its value and origin.
    ///
    /// # Errors
    /// There is no such key.
    pub fn entry(&self, key: &str) -> Result<(&Value, &Origin), Error> {
        match self.values.get(key) {
            Some((value, origin)) => Ok((value, origin)),
            None => Err(self.near(format!("there is no setting {key}"), key)),
        }
    }

    fn default_of(&self, key: &str) -> String {
        let defaults = Layers::default();
        defaults
            .values
            .get(key)
            .map(|(value, _)| value.to_string())
            .unwrap_or_default()
    }

    fn unknown(&self, key: &str, origin: &Origin) -> Error {
        self.near(format!("there is no setting {key} ({origin})"), key)
    }

    fn near(&self, what: String, key: &str) -> Error {
        let near = self.values.keys().min_by_key(|known| distance(known, key));
        let hint = match near {
            Some(near) if distance(near, key) <= 1 + key.len() / 4 => {
                format!("did you mean {near}?")
            }
            _ => "the rama.toml of the repository lists every key".to_owned(),
        };
        error(what, hint)
    }
}

impl Config {
    fn check(&self) -> Result<(), Error> {
        let tasks = self.cluster.tasks;
        if tasks != 0 && !tasks.is_power_of_two() {
            let what = format!("{tasks} tasks are not a power of two");
            return Err(error(what, format!("use {}", tasks.next_power_of_two())));
        }
        if self.http.port_tries == 0 || self.http.threads == 0 {
            let what = "http.port_tries and http.threads must not be 0".to_owned();
            return Err(error(what, "use 1"));
        }
        self.supervisor.check()?;
        self.worker.resources.check()
    }
}

/// A path as the file at `path` means it.
fn beside(path: &Path, value: Value) -> Value {
    match (value, path.parent()) {
        (Value::String(text), Some(dir)) if !text.is_empty() => {
            // A path that is absolute replaces what it is joined to.
            Value::String(dir.join(text).display().to_string())
        }
        (value, _) => value,
    }
}

/// Numbers with commas, in brackets or not.
fn numbers(text: &str) -> Option<Value> {
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
    let numbers = bare.split(',').map(|number| number.trim().parse().ok());
    let numbers: Option<Vec<i64>> = numbers.collect();
    Some(Value::Array(
        numbers?.into_iter().map(Value::Integer).collect(),
    ))
}

/// Every key with the sections that it stands in.
fn flatten(table: &Table) -> Vec<(String, Value)> {
    let mut flat = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(keys) => {
                let keys = flatten(keys).into_iter();
                flat.extend(keys.map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            other => flat.push((name.clone(), other.clone())),
        }
    }
    flat
}

/// Edits that turn one word into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
