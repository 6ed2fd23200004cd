//! What the assignment says, in the words of those who need it.
//!
//! Relies on the supervisor, which wrote it. What must stay true: a file that cannot be read as a whole
//! starts nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rama_api::{Assignment, SecurityFiles};
use rama_gateway::dev::Failure;
use rama_metastore::{EtcdConfig, EtcdTls, Secret};
use rama_net::Security;
use rama_net::credentials::{CertificatePaths, Credentials};
use rama_planner::ids::{Incarnation, InstanceId, ModuleName, NodeId, WorkerIndex};
use rama_planner::records::{Process, WorkerDetails};
use rama_planner::worker::Identity;
use rama_runtime::{Worker, WorkerConfig};
use uuid::Uuid;

/// Reads the file and checks that it is for this program.
pub(super) fn read(path: &Path, module: &str) -> Result<Assignment, Failure> {
    let hint = "a supervisor writes it; do not start workers by hand";
    let wrong = |cause: String| {
        let what = format!("could not use the assignment {}: {cause}", path.display());
        Failure::new(what, hint)
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let assignment: Assignment =
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if assignment.module != module {
        let other = &assignment.module;
        return Err(wrong(format!("it is for module {other}, this is {module}")));
    }
    Ok(assignment)
}

/// A new life: no other process has its number.
pub(super) fn life() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}

pub(super) fn security(assignment: &Assignment) -> Result<Security, Failure> {
    match &assignment.security {
        SecurityFiles::InsecureLoopback => Ok(Security::InsecureLoopback),
        SecurityFiles::Mutual {
            authority,
            certificate,
            key,
        } => {
            let paths = CertificatePaths {
                authority: authority.clone(),
                certificate: certificate.clone(),
                key: key.clone(),
            };
            let credentials = Credentials::load(paths).map_err(|error| {
                let what = format!("could not use the certificates of this node: {error}");
                Failure::new(what, "`rama certs show` names what is wrong with them")
            })?;
            Ok(Security::Mutual(Arc::new(credentials)))
        }
    }
}

pub(super) fn worker(assignment: &Assignment, life: u64) -> Result<WorkerConfig, Failure> {
    Ok(WorkerConfig {
        cluster: assignment.cluster,
        node: assignment.node,
        instance: assignment.instance,
        incarnation: life,
        tasks: assignment.tasks,
        threads: assignment.threads,
        local: assignment.groups.clone(),
        dir: assignment.data_dir.clone(),
        bind: assignment.bind,
        first_port: assignment.first_port,
        security: security(assignment)?,
        cores: assignment.cores.clone(),
    })
}

pub(super) fn metastore(assignment: &Assignment) -> Result<EtcdConfig, Failure> {
    let address = &assignment.metastore;
    let mut config = EtcdConfig::new(address.endpoints.iter().cloned());
    if let (Some(user), Some(file)) = (&address.user, &address.password_file) {
        let password = std::fs::read_to_string(file).map_err(|error| {
            let what = format!("could not read {}: {error}", file.display());
            Failure::new(what, "it holds the password of metastore.user")
        })?;
        config.user = Some((user.clone(), Secret::new(password.trim_end())));
    }
    if let Some(ca) = &address.authority {
        config.tls = Some(EtcdTls {
            ca: ca.clone(),
            identity: address.certificate.clone().zip(address.key.clone()),
            server_name: None,
        });
    }
    Ok(config)
}

pub(super) fn identity(
    assignment: &Assignment,
    life: u64,
    details: WorkerDetails,
) -> Result<Identity, Failure> {
    let module = ModuleName::new(&assignment.module)
        .map_err(|error| Failure::new(error.to_string(), "rename the module"))?;
    Ok(Identity {
        module,
        instance: InstanceId(assignment.instance),
        index: WorkerIndex(assignment.worker),
        node: NodeId(assignment.node),
        incarnation: Incarnation(life),
        details,
    })
}

/// How this process is spoken to.
pub(super) fn process(assignment: &Assignment, rpc_port: u16) -> Process {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Process {
        host_internal: assignment.host_internal.clone(),
        host_external: assignment.host_external.clone(),
        rpc_port,
        http_port: None,
        pid: std::process::id(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        started_ms: since.unwrap_or(Duration::ZERO).as_millis() as u64,
    }
}

pub(super) fn ports(worker: &Worker) -> BTreeMap<u32, u16> {
    let addresses = worker.addresses().iter();
    addresses
        .map(|(thread, address)| (*thread, address.port()))
        .collect()
}
