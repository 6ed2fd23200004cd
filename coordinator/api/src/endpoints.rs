//! Every route of every server: where it is, who may ask, how much may be sent, what comes back.
//!
//! Relies on `paths` for the routes of the cluster's own API. Routers, guards and the OpenAPI document
//! are made from this table. What must stay true: a route that is not here is not served; a path
//! parameter that names a module is called `{module}`, because tokens are given for modules by it.

mod table;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::access::Access;

pub use table::ENDPOINTS;

/// The longest request of an operator.
pub const CONTROL_BYTES_MAX: u64 = 1 << 20;
/// The longest request with records or a path. The default of `http.body_bytes_max`.
pub const RECORDS_BYTES_MAX: u64 = 4 << 20;
/// The longest program.
pub const PROGRAM_BYTES_MAX: u64 = 4 << 30;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// The conductor.
    Conductor,
    /// A supervisor.
    Supervisor,
    /// A worker, or a development server.
    Module,
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// Which.
    pub id: Id,
    /// Its method.
    pub method: &'static str,
    /// Its path, with names in braces.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    /// Who answers.
    pub servers: &'static [Server],
    /// The longest body.
    pub body_bytes_max: u64,
    /// What is sent.
    pub body: Content,
    /// What is answered when all is well, with which status.
    pub answer: (u16, Content),
    /// Parameters of the query, with what they do.
    pub query: &'static [(&'static str, &'static str)],
    /// What it is for, in one line.
    pub summary: &'static str,
}

/// What a body holds.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// JSON of a type.
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// JSON of any kind.
    Any,
    /// Records, as JSON or JSON lines.
    Records,
    /// A path into a PState: a JSON list.
    Path,
    /// The bytes of a program.
    Bytes,
    /// Plain text.
    Text,
    /// Server-sent events.
    Events,
}

impl Content {
    /// JSON of this type.
    pub const fn of<T: JsonSchema>() -> Content {
        Content::Json(schema::<T>)
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The name of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Id {
    /// The process is there.
    Live,
    /// It serves.
    Ready,
    /// This document.
    OpenApi,
    /// What monitoring reads.
    Metrics,
    /// What is here.
    Index,
    /// How the modules of this process are.
    ModulesHere,
    /// The cluster.
    Cluster,
    /// Its nodes.
    Supervisors,
    /// Its modules.
    Modules,
    /// Launches one.
    Deploy,
    /// One module.
    Module,
    /// Ends it.
    Destroy,
    /// One instance.
    Instance,
    /// Its task groups.
    TaskGroups,
    /// Where its task threads are.
    Routes,
    /// The names of the modules that run.
    ModuleNames,
    /// Dynamic options.
    Options,
    /// Sets one.
    SetOption,
    /// Unsets one.
    UnsetOption,
    /// What was done to a module.
    ModuleLog,
    /// Pauses a topology.
    Pause,
    /// Lets it go on.
    Resume,
    /// Operations.
    Operations,
    /// One of them.
    Operation,
    /// Cancels it.
    Cancel,
    /// A program.
    Program,
    /// Sends one.
    PutProgram,
    /// Who signed it.
    Signature,
    /// Signs it.
    PutSignature,
    /// The log of a worker.
    WorkerLog,
    /// What is in a module.
    Describe,
    /// Appends.
    Append,
    /// Reads.
    Select,
    /// Reads one value.
    SelectOne,
    /// Runs a query.
    Invoke,
    /// Follows a value.
    Watch,
    /// The same, with the path in the body.
    WatchPath,
    /// Follows how a value changes.
    Proxy,
    /// The same, with the path in the body.
    ProxyPath,
    /// Records that a topology gave up on.
    DeadLetters,
    /// Gives them to it again.
    Replay,
    /// Forgets them.
    Drop,
}

impl Endpoint {
    /// Whether a server answers it.
    pub fn is_on(&self, server: Server) -> bool {
        self.servers.contains(&server)
    }
}

/// The route of a server that a request matched. HEAD is asked where GET is.
pub fn find(server: Server, method: &str, path: &str) -> Option<&'static Endpoint> {
    let method = if method == "HEAD" { "GET" } else { method };
    let matches = |endpoint: &&Endpoint| {
        endpoint.is_on(server) && endpoint.method == method && endpoint.path == path
    };
    ENDPOINTS.iter().find(matches)
}
