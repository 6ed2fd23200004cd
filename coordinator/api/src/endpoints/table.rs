//! The table of routes.
//!
//! Relies on `paths`. What must stay true: one line for each method of each path; what changes
//! anything but records wants `operate`.

use super::{
    CONTROL_BYTES_MAX, Content, Endpoint, Id, PROGRAM_BYTES_MAX, RECORDS_BYTES_MAX, Server,
};
use crate::access::{Access, Scope};
use crate::paths;
use crate::{
    Accepted, ClusterStatus, Deploy, InstanceStatus, LogEntry, ModuleRoutes, ModuleStatus,
    Operation, OptionInfo, OptionSetting, Signature, SupervisorStatus, TaskGroups,
};

const CONDUCTOR: &[Server] = &[Server::Conductor];
const SUPERVISOR: &[Server] = &[Server::Supervisor];
const MODULE: &[Server] = &[Server::Module];
const DAEMONS: &[Server] = &[Server::Conductor, Server::Supervisor];
const ALL: &[Server] = &[Server::Conductor, Server::Supervisor, Server::Module];

const READ: Access = Access::Scope(Scope::Read);
const APPEND: Access = Access::Scope(Scope::Append);
const STATUS: Access = Access::Scope(Scope::Status);
const OPERATE: Access = Access::Scope(Scope::Operate);

const INT64: (&str, &str) = ("int64", "`string`: integers beyond 2^53 as strings");
const ACK: (&str, &str) = (
    "ackLevel",
    "`ack`, `appendAck` or `none`, for JSON lines, which have no place for it",
);
const WAIT: &[(&str, &str)] = &[
    ("wait", "seconds to wait while it is at `step`"),
    ("step", "the step that is known"),
];
const AFTER: &[(&str, &str)] = &[
    ("after", "waits for a newer revision, up to half a minute"),
    ("hosts", "`internal`: host names inside of the cluster"),
];

const fn route(id: Id, method: &'static str, path: &'static str, access: Access) -> Endpoint {
    Endpoint {
        id,
        method,
        path,
        access,
        servers: CONDUCTOR,
        body_bytes_max: CONTROL_BYTES_MAX,
        body: Content::Nothing,
        answer: (200, Content::Any),
        query: &[],
        summary: "",
    }
}

const fn get(id: Id, path: &'static str, access: Access) -> Endpoint {
    route(id, "GET", path, access)
}

const fn post(id: Id, path: &'static str, access: Access) -> Endpoint {
    route(id, "POST", path, access)
}

const fn put(id: Id, path: &'static str, access: Access) -> Endpoint {
    route(id, "PUT", path, access)
}

const fn delete(id: Id, path: &'static str, access: Access) -> Endpoint {
    route(id, "DELETE", path, access)
}

impl Endpoint {
    const fn on(self, servers: &'static [Server]) -> Endpoint {
        Endpoint { servers, ..self }
    }

    const fn takes(self, body: Content) -> Endpoint {
        let body_bytes_max = match body {
            Content::Records | Content::Path => RECORDS_BYTES_MAX,
            Content::Bytes => PROGRAM_BYTES_MAX,
            _ => CONTROL_BYTES_MAX,
        };
        Endpoint {
            body,
            body_bytes_max,
            ..self
        }
    }

    const fn answers(self, status: u16, answer: Content) -> Endpoint {
        Endpoint {
            answer: (status, answer),
            ..self
        }
    }

    const fn gives<T: schemars::JsonSchema>(self) -> Endpoint {
        self.answers(200, Content::of::<T>())
    }

    const fn query(self, query: &'static [(&'static str, &'static str)]) -> Endpoint {
        Endpoint { query, ..self }
    }

    const fn says(self, summary: &'static str) -> Endpoint {
        Endpoint { summary, ..self }
    }
}

/// Every route.
pub const ENDPOINTS: &[Endpoint] = &[
    get(Id::Live, "/livez", Access::Open)
        .on(ALL)
        .answers(200, Content::Text)
        .says("The process is there"),
    get(Id::Ready, "/readyz", Access::Open)
        .on(ALL)
        .answers(200, Content::Text)
        .says("Requests are served"),
    get(Id::OpenApi, paths::OPENAPI, Access::Known)
        .on(DAEMONS)
        .says("This document"),
    get(Id::Metrics, "/metrics", Access::Scope(Scope::Metrics))
        .on(MODULE)
        .answers(200, Content::Text)
        .says("What monitoring reads (OpenMetrics)"),
    get(Id::Index, "/", Access::Known)
        .on(MODULE)
        .says("The modules here, and each path"),
    get(Id::ModulesHere, "/rest/status", STATUS)
        .on(MODULE)
        .says("Depots, topologies and their lag"),
    get(Id::Cluster, paths::CLUSTER, STATUS)
        .gives::<ClusterStatus>()
        .says("The cluster and its conductor"),
    get(Id::Supervisors, paths::SUPERVISORS, STATUS)
        .gives::<Vec<SupervisorStatus>>()
        .says("The supervisors, sorted by id"),
    get(Id::Modules, paths::MODULES, STATUS)
        .gives::<Vec<ModuleStatus>>()
        .says("All modules, sorted by name"),
    post(Id::Deploy, paths::MODULES, OPERATE)
        .takes(Content::of::<Deploy>())
        .answers(202, Content::of::<Accepted>())
        .says("Begin a launch; with `dryRun` answer its plan (200)"),
    get(Id::Module, paths::MODULE, STATUS)
        .gives::<ModuleStatus>()
        .says("One module"),
    delete(Id::Destroy, paths::MODULE, OPERATE)
        .answers(202, Content::of::<Accepted>())
        .says("Begin the end of a module and of its data"),
    get(Id::Instance, paths::INSTANCE, STATUS)
        .gives::<InstanceStatus>()
        .says("One instance and its processes"),
    get(Id::TaskGroups, paths::TASK_GROUPS, STATUS)
        .gives::<TaskGroups>()
        .says("Its task groups, replicas and leaders"),
    get(Id::Routes, paths::ROUTES, READ)
        .on(DAEMONS)
        .query(AFTER)
        .gives::<ModuleRoutes>()
        .says("Where the task threads of a module are"),
    get(Id::ModuleNames, paths::MODULE_NAMES, READ)
        .on(DAEMONS)
        .gives::<Vec<String>>()
        .says("The names of the modules that run, sorted"),
    get(Id::Options, paths::OPTIONS, STATUS)
        .gives::<Vec<OptionInfo>>()
        .says("Dynamic options of a module"),
    put(Id::SetOption, paths::OPTIONS, OPERATE)
        .takes(Content::of::<OptionSetting>())
        .says("Set an option"),
    delete(Id::UnsetOption, paths::OPTIONS, OPERATE)
        .takes(Content::of::<OptionSetting>())
        .says("Unset an option"),
    get(Id::ModuleLog, paths::MODULE_LOG, STATUS)
        .gives::<Vec<LogEntry>>()
        .says("What was done to a module, the oldest first"),
    post(Id::Pause, paths::PAUSE, OPERATE).says("Pause a topology; durable"),
    post(Id::Resume, paths::RESUME, OPERATE).says("Let a topology go on"),
    get(Id::Operations, paths::OPERATIONS, STATUS)
        .query(&[("all", "those that ended, too")])
        .gives::<Vec<Operation>>()
        .says("Operations, the oldest first"),
    get(Id::Operation, paths::OPERATION, STATUS)
        .query(WAIT)
        .gives::<Operation>()
        .says("One operation"),
    delete(Id::Cancel, paths::OPERATION, OPERATE)
        .answers(202, Content::of::<Operation>())
        .says("Cancel an operation"),
    get(
        Id::Program,
        paths::ARTIFACT,
        Access::ScopeOrProcess(Scope::Operate),
    )
    .answers(200, Content::Bytes)
    .says("A program by the SHA-256 of its bytes"),
    put(Id::PutProgram, paths::ARTIFACT, OPERATE)
        .takes(Content::Bytes)
        .answers(201, Content::Nothing)
        .says("Send a program; 200 when it is there already"),
    get(
        Id::Signature,
        paths::SIGNATURE,
        Access::ScopeOrProcess(Scope::Operate),
    )
    .gives::<Signature>()
    .says("The signature of a program"),
    put(Id::PutSignature, paths::SIGNATURE, OPERATE)
        .takes(Content::of::<Signature>())
        .answers(201, Content::Nothing)
        .says("Send the signature of a program"),
    get(Id::WorkerLog, paths::WORKER_LOG, OPERATE)
        .on(SUPERVISOR)
        .query(&[
            ("lines", "how many of the last lines"),
            ("follow", "goes on"),
        ])
        .answers(200, Content::Text)
        .says("The log of a worker"),
    get(Id::Describe, "/rest/{module}", READ)
        .on(ALL)
        .says("What a module defines, with schemas"),
    post(Id::Append, "/rest/{module}/depot/{depot}/append", APPEND)
        .on(ALL)
        .query(&[ACK, INT64])
        .takes(Content::Records)
        .says("Append one record, or many"),
    post(Id::Select, "/rest/{module}/pstate/{pstate}/select", READ)
        .on(ALL)
        .query(&[INT64])
        .takes(Content::Path)
        .says("All values at a path"),
    post(
        Id::SelectOne,
        "/rest/{module}/pstate/{pstate}/selectOne",
        READ,
    )
    .on(ALL)
    .query(&[INT64])
    .takes(Content::Path)
    .says("The one value at a path"),
    post(Id::Invoke, "/rest/{module}/query/{query}/invoke", READ)
        .on(ALL)
        .query(&[INT64])
        .takes(Content::Any)
        .says("Run a query topology"),
    get(Id::Watch, "/rest/{module}/pstate/{pstate}/watch", READ)
        .on(ALL)
        .query(&[("path", "a path as JSON"), INT64])
        .answers(200, Content::Events)
        .says("The value at a path, again after each change"),
    post(Id::WatchPath, "/rest/{module}/pstate/{pstate}/watch", READ)
        .on(ALL)
        .query(&[INT64])
        .takes(Content::Path)
        .answers(200, Content::Events)
        .says("The same, with the path in the body"),
    get(Id::Proxy, "/rest/{module}/pstate/{pstate}/proxy", READ)
        .on(ALL)
        .query(&[("path", "a path as JSON"), INT64])
        .answers(200, Content::Events)
        .says("The value at a path, then how it changes"),
    post(Id::ProxyPath, "/rest/{module}/pstate/{pstate}/proxy", READ)
        .on(ALL)
        .query(&[INT64])
        .takes(Content::Path)
        .answers(200, Content::Events)
        .says("The same, with the path in the body"),
    get(Id::DeadLetters, "/rest/{module}/dead-letters", READ)
        .on(ALL)
        .query(&[INT64])
        .says("Records that a topology gave up on"),
    post(Id::Replay, "/rest/{module}/dead-letters/replay", OPERATE)
        .on(ALL)
        .takes(Content::Any)
        .says("Give dead letters to their topology again: `ids`, or `all`"),
    post(Id::Drop, "/rest/{module}/dead-letters/drop", OPERATE)
        .on(ALL)
        .takes(Content::Any)
        .says("Forget dead letters: `ids`, or `all`"),
];
