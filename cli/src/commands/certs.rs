//! `rama certs`: a cluster's authority and the certificates of its processes.
//!
//! Relies on `rama_net::certificates`. What must stay true: nothing that exists is replaced without
//! a word that says so, and no private key is ever printed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rama_net::Roles;
use rama_net::certificates::{
    AUTHORITY_CERTIFICATE, AUTHORITY_KEY, CertificateAuthority, CertificateError, Request, Summary,
    summaries,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::args::Format;
use crate::args::certs::{Certs, Init, Issue};
use crate::error::{Exit, Failure, Result};
use crate::output::{self, columns};

const DAY_SECONDS: u64 = 24 * 3600;

pub fn run(format: Format, command: &Certs) -> Result<()> {
    match command {
        Certs::Init(args) => init(format, args),
        Certs::Issue(args) => issue(format, args),
        Certs::Show { files } => {
            let mut rows = Vec::new();
            for file in files {
                let found = summaries(file).map_err(failure)?;
                rows.extend(found.iter().map(|summary| row(file, summary)));
            }
            show(format, &rows)
        }
    }
}

fn init(format: Format, args: &Init) -> Result<()> {
    let cluster = args.cluster.unwrap_or_else(Uuid::new_v4);
    CertificateAuthority::create(&args.dir, cluster, args.days).map_err(failure)?;
    let certificate = args.dir.join(AUTHORITY_CERTIFICATE).display().to_string();
    let key = args.dir.join(AUTHORITY_KEY).display().to_string();
    let dir = args.dir.display();
    let value = json!({"cluster": cluster, "certificate": certificate, "key": key});
    output::print(format, &value, || {
        format!(
            "cluster {cluster}\n{certificate}: goes to every process\n{key}: signs; keep it away \
             from the network\nnext: rama certs issue --dir {dir} --role conductor --out conductor"
        )
    })
}

fn issue(format: Format, args: &Issue) -> Result<()> {
    let authority = CertificateAuthority::open(&args.dir).map_err(failure)?;
    let node = args.node.unwrap_or_else(Uuid::new_v4);
    let roles = Roles::of(&args.roles);
    let stem = args
        .name
        .clone()
        .unwrap_or_else(|| args.roles[0].to_string());
    if stem.is_empty() || stem.contains('/') || stem.starts_with('.') {
        let text = format!("{stem} is no name for files");
        return Err(Failure::new(
            Exit::Usage,
            text,
            "choose a word, such as worker",
        ));
    }
    let path = args.out.join(format!("{stem}.pem"));
    if path.exists() {
        may_replace(args, &path, node)?;
    }
    let copy = authority_beside(args, &authority)?;
    let (addresses, names) = hosts(&args.hosts);
    let request = Request {
        roles,
        node,
        names,
        addresses,
        days: args.days,
        label: format!("{roles} on {node}"),
    };
    let issued = authority.issue(&request).map_err(failure)?;
    let (certificate, key) = issued.write(&args.out, &stem).map_err(failure)?;
    let mut row = summaries(&certificate)
        .map_err(failure)?
        .first()
        .map_or(Value::Null, |summary| row(&certificate, summary));
    row["key"] = json!(key.display().to_string());
    row["authority_file"] = json!(copy.display().to_string());
    output::print(format, &row, || {
        format!(
            "node {node} of cluster {}: {roles}, until {}\n{}\n{}\n{}",
            authority.cluster(),
            output::cell(&row["ends"]),
            copy.display(),
            certificate.display(),
            key.display()
        )
    })
}

/// The authorities beside the certificate. While one authority replaces another the file holds both
/// and must keep doing so.
fn authority_beside(args: &Issue, authority: &CertificateAuthority) -> Result<PathBuf> {
    let path = args.out.join(AUTHORITY_CERTIFICATE);
    if !path.exists() {
        return authority.write_certificate(&args.out).map_err(failure);
    }
    let signs = summaries(&args.dir.join(AUTHORITY_CERTIFICATE)).map_err(failure)?;
    let trusted = summaries(&path).map_err(failure)?;
    let known = |one: &Summary| {
        trusted
            .iter()
            .any(|other| other.fingerprint == one.fingerprint)
    };
    if signs.iter().any(known) {
        return Ok(path);
    }
    let (shown, dir) = (path.display(), args.dir.display());
    let text = format!("{shown} does not trust the authority in {dir}");
    let hint = format!("add it: cat {dir}/{AUTHORITY_CERTIFICATE} >> {shown}");
    Err(Failure::new(Exit::Refused, text, hint))
}

/// A certificate may be renewed, for the same node, by one who says so.
fn may_replace(args: &Issue, path: &Path, node: Uuid) -> Result<()> {
    let shown = path.display();
    if !args.replace {
        let text = format!("{shown} exists already");
        let hint = "choose another --name, or renew it with --replace and the same --node";
        return Err(Failure::new(Exit::Refused, text, hint));
    }
    let holder = summaries(path).ok().and_then(|found| found[0].identity);
    match holder {
        Some(holder) if holder.node != node => {
            let text = format!("{shown} is for node {}, not for {node}", holder.node);
            let hint = format!("say --node {} to renew it", holder.node);
            Err(Failure::new(Exit::Refused, text, hint))
        }
        _ => Ok(()),
    }
}

fn hosts(hosts: &[String]) -> (Vec<IpAddr>, Vec<String>) {
    let (mut addresses, mut names) = (Vec::new(), Vec::new());
    for host in hosts {
        match host.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(host.clone()),
        }
    }
    (addresses, names)
}

fn row(file: &Path, summary: &Summary) -> Value {
    let identity = summary.identity.as_ref();
    let roles = identity.map_or(Roles::NONE, |identity| identity.roles);
    let names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    json!({
        "file": file.display().to_string(),
        "cluster": summary.cluster,
        "authority": summary.authority,
        "node": identity.map(|identity| identity.node),
        "roles": names,
        "hosts": summary.hosts,
        "begins": date(summary.begins),
        "ends": date(summary.ends),
        "days_left": days_left(summary.ends),
        "fingerprint": summary.fingerprint,
    })
}

fn show(format: Format, rows: &[Value]) -> Result<()> {
    output::print_list(format, rows, || {
        let cells = rows.iter().map(|row| {
            let roles = row["roles"].as_array().map_or(&[][..], Vec::as_slice);
            let roles: Vec<String> = roles.iter().map(output::cell).collect();
            let what = match row["authority"].as_bool() {
                Some(true) => "authority".to_owned(),
                _ => roles.join(","),
            };
            let whose = if row["node"].is_null() {
                &row["cluster"]
            } else {
                &row["node"]
            };
            let left = row["days_left"].as_u64();
            vec![
                output::cell(&row["file"]),
                what,
                output::cell(whose),
                output::cell(&row["ends"]),
                left.map_or("expired".to_owned(), |left| left.to_string()),
            ]
        });
        columns(
            &["FILE", "ROLES", "NODE OR CLUSTER", "ENDS", "DAYS LEFT"],
            cells,
        )
    })
}

fn failure(error: CertificateError) -> Failure {
    let (exit, hint) = match &error {
        CertificateError::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound => (
            Exit::NotFound,
            "`rama certs init --dir DIR` makes an authority",
        ),
        CertificateError::File { .. } => (Exit::Failed, "see the cause above"),
        CertificateError::Exists(_) => (
            Exit::Refused,
            "choose another directory: an authority is never replaced",
        ),
        CertificateError::Exposed { .. } => (Exit::Refused, "a private key is for its owner alone"),
        CertificateError::Content { .. } => {
            (Exit::Failed, "name the files that `rama certs` wrote")
        }
        CertificateError::Refused(_) => (Exit::Refused, "change the request"),
    };
    let cause = std::error::Error::source(&error);
    let text = cause.map_or(error.to_string(), |cause| format!("{error}: {cause}"));
    Failure::new(exit, text, hint)
}

fn days_left(ends: SystemTime) -> Option<u64> {
    let left = ends.duration_since(SystemTime::now()).ok()?;
    Some(left.as_secs() / DAY_SECONDS)
}

/// The day of a moment in UTC, as 2026-11-21.
fn date(moment: SystemTime) -> String {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    output::day(since.as_secs())
}
