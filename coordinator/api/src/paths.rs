//! Where things are asked for. `{module}` and other names are percent-encoded by whoever builds a
//! path.
//!
//! Relies on nothing. What must stay true: everything of the cluster's own API begins with `/v1`;
//! everything under `/rest` is Rama's and goes to a worker of the module.

/// GET: the cluster and its conductor.
pub const CLUSTER: &str = "/v1/cluster";
/// GET: the supervisors, sorted by id.
pub const SUPERVISORS: &str = "/v1/supervisors";
/// GET: all modules, each as [`crate::ModuleStatus`], sorted by name. POST a [`crate::Deploy`]: begins
/// an operation and answers [`crate::Accepted`], or plans it and answers [`crate::Plan`]; a plan needs
/// no artifact.
pub const MODULES: &str = "/v1/modules";
/// GET one module; DELETE: begins its destruction and answers [`crate::Accepted`].
pub const MODULE: &str = "/v1/modules/{module}";
/// GET one instance of a module.
pub const INSTANCE: &str = "/v1/modules/{module}/instances/{instance}";
/// GET its task groups.
pub const TASK_GROUPS: &str = "/v1/modules/{module}/instances/{instance}/task-groups";
/// GET: where the task threads of a module are. `?after=REVISION` waits, up to half a minute, for
/// something newer; with 0 for a module that does not run yet.
pub const ROUTES: &str = "/v1/modules/{module}/routes";
/// GET the names of all modules that run, sorted: a list of strings.
pub const MODULE_NAMES: &str = "/v1/module-names";
/// GET the dynamic options of a module, each as [`crate::OptionInfo`]; PUT or DELETE one
/// [`crate::OptionSetting`] as the body. What is answered to a change has no meaning but its status.
pub const OPTIONS: &str = "/v1/modules/{module}/options";
/// GET the operation log of a module, each entry as [`crate::LogEntry`], the oldest first.
pub const MODULE_LOG: &str = "/v1/modules/{module}/log";
/// POST: pauses a topology; durable, takes effect on the workers within a second.
pub const PAUSE: &str = "/v1/modules/{module}/topologies/{topology}/pause";
/// POST: lets it go on.
pub const RESUME: &str = "/v1/modules/{module}/topologies/{topology}/resume";
/// GET all operations that did not end, the oldest first; `?all` those that did, too.
pub const OPERATIONS: &str = "/v1/operations";
/// GET one. `?wait=SECONDS&step=STEP` waits while it is at that step and has no outcome. DELETE:
/// cancels it and answers it as it is then.
pub const OPERATION: &str = "/v1/operations/{operation}";
/// GET an artifact; HEAD: whether it is there. PUT its bytes; they must have the hash that names it.
pub const ARTIFACT: &str = "/v1/artifacts/{sha256}";
/// GET who signed an artifact, PUT it: a [`crate::Signature`].
pub const SIGNATURE: &str = "/v1/artifacts/{sha256}/signature";
/// GET: all of this as an OpenAPI 3.1 document.
pub const OPENAPI: &str = "/openapi.json";
/// GET: the log of a worker on this supervisor, as text. `?lines=N` the last ones; with `&follow` it
/// goes on until who asks has enough.
pub const WORKER_LOG: &str = "/v1/workers/{instance}/{worker}/log";

/// A path with its names filled in, each percent-encoded.
pub fn fill(path: &str, names: &[&str]) -> String {
    let mut names = names.iter();
    let parts = path.split('/').map(|part| {
        if part.starts_with('{') {
            encode(names.next().expect("as many names as braces"))
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("/")
}

fn encode(name: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    name.bytes().map(byte).collect()
}
