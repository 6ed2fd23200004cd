//! `rama deploy`: a module's program becomes a module of a cluster.
//!
//! Relies on `program` (what the program says of itself), `options` (what the flags say), and on the
//! conductor's modules, artifacts and operations. What must stay true: a plan changes nothing; what
//! can be known to be wrong is told before anything is sent; exit code 0 of a command that waits
//! means RUNNING.

mod options;
mod program;

use axum::http::Method;
use rama_api::{Accepted, Action, Deploy, ModuleStatus, Plan, Signature, paths};
use rama_planner::shape::Shape;
use serde_json::{Value, json};

use super::{artifacts, operation};
use crate::args::Format;
use crate::args::deploy as args;
use crate::client::{Client, Content, Effect};
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};

pub use program::Program;

const RUNNING: &str = "RUNNING";

pub fn run(format: Format, args: &args::Deploy) -> Result<()> {
    let args::Deploy {
        tasks,
        threads,
        workers,
        replication_factor,
        ..
    } = *args;
    Shape::new(tasks, threads, workers, replication_factor).map_err(|error| {
        let text = error.to_string();
        // The planner's words end with what to do.
        let (what, hint) = text
            .split_once("; ")
            .unwrap_or((&text, "choose other numbers"));
        Failure::new(Exit::Usage, what, hint)
    })?;
    let config_overrides = options::overrides(args.config_overrides.as_deref())?;
    let options = options::by_level(args)?;
    let program = Program::open(&args.binary)?;
    let signature = signature(args)?;
    let manifest = program.manifest(&args.module)?;
    let deploy = Deploy {
        action: match args.action {
            args::Action::Launch => Action::Launch,
        },
        module: args.module.clone(),
        artifact: program.sha256()?,
        manifest,
        tasks,
        threads,
        workers,
        replication_factor,
        target_label: args.target_label.clone(),
        config_overrides,
        options,
        metadata: args.metadata.clone(),
        dry_run: args.dry_run,
    };
    let client = Client::new(&args.server)?;
    let body = json!(deploy);
    if deploy.dry_run {
        let planned = client.post(paths::MODULES, &body, Effect::Reads);
        let (_, plan): (_, Plan) =
            planned.map_err(|failure| super::no_conductor(&client, failure))?;
        return output::print(format, &plan, || table(&plan));
    }
    upload(&client, &program, &deploy.artifact)?;
    if let Some(signature) = &signature {
        let path = paths::fill(paths::SIGNATURE, &[&deploy.artifact]);
        let body = json!(Signature {
            signature: signature.clone(),
        });
        client.change(Method::PUT, &path, Content::Json(&body))?;
    }
    begin(&client, format, args, &body)
}

/// Who signed the program, if that was named or lies beside it.
fn signature(args: &args::Deploy) -> Result<Option<String>> {
    let beside = artifacts::beside(&args.binary);
    let file = args.signature.as_deref();
    let file = file.or_else(|| beside.is_file().then_some(beside.as_path()));
    file.map(artifacts::read_signature).transpose()
}

/// Sends the program, unless it is there.
fn upload(client: &Client, program: &Program, sha256: &str) -> Result<()> {
    let path = paths::fill(paths::ARTIFACT, &[sha256]);
    if client.has(&path)? {
        eprintln!("upload: not needed, the conductor has {sha256}");
        return Ok(());
    }
    let upload = program.upload()?;
    let sent = client.change(Method::PUT, &path, Content::File(&upload));
    sent.map_err(|failure| match failure.exit {
        // An artifact that nobody names is removed again, and the same bytes may come twice.
        Exit::Unknown => failure.hint("nothing was launched: try again"),
        _ => super::no_conductor(client, failure),
    })
}

fn begin(client: &Client, format: Format, args: &args::Deploy, body: &Value) -> Result<()> {
    let module = &args.module;
    let (_, accepted): (_, Accepted) =
        operation::begun(client.post(paths::MODULES, body, Effect::Changes))?;
    let id = accepted.operation;
    if !args.waiting.waits() {
        return output::print(format, &accepted, || {
            format!("launch of {module} has begun: operation {id}")
        });
    }
    operation::follow(client, id, &format!("launch of {module}"))?;
    let path = paths::fill(paths::MODULE, &[module]);
    let status: ModuleStatus = client.get(&path)?;
    if status.module_state != RUNNING {
        let state = &status.module_state;
        let text = format!("{module} was launched, but is {state} now");
        return Err(Failure::new(
            Exit::Failed,
            text,
            format!("`rama module-status {module}` shows how it is"),
        ));
    }
    output::print(format, &status, || {
        let instance = status.append_target_id.or(accepted.instance);
        let instance = instance.map_or(String::new(), |id| format!(": instance {id}"));
        format!("{module} is {RUNNING}{instance}")
    })
}

fn table(plan: &Plan) -> String {
    let list = |numbers: &[u32]| {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        numbers.join(" ")
    };
    let rows = plan.workers.iter().map(|worker| {
        vec![
            worker.worker.to_string(),
            worker.replica_set.to_string(),
            worker.host.clone(),
            worker.supervisor.to_string(),
            list(&worker.groups),
            list(&worker.leads),
        ]
    });
    let header = [
        "WORKER",
        "REPLICA SET",
        "HOST",
        "SUPERVISOR",
        "GROUPS",
        "LEADS",
    ];
    columns(&header, rows)
}
