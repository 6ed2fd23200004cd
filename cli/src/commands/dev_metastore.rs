//! `rama dev-metastore`: a local etcd with one member, for experiments.
//!
//! Relies on the `etcd` command. It is not watched over but becomes this process, so that signals,
//! output and exit code are its own. What must stay true: it is told its data directory and ports,
//! listens on loopback only, and is started only after what to type next was printed.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::absolute;
use std::process::{Command, Stdio};

use rama_metastore::{ETCD_PROGRAM, EtcdMember};
use serde_json::json;

use crate::args::{DevMetastore, Format};
use crate::error::{Exit, Failure, Result};
use crate::output;

const INSTALL: &str = "apt-get install etcd-server";

pub fn run(format: Format, args: &DevMetastore) -> Result<()> {
    if !installed()? {
        install(args.install)?;
    }
    for port in [args.port, args.peer_port] {
        check_free(port)?;
    }
    // etcd would look for a relative path where it is started, which is here too; but people and
    // programs read what is printed elsewhere.
    let data_dir = absolute(&args.data_dir).unwrap_or_else(|_| args.data_dir.clone());
    let member = EtcdMember::single(data_dir, args.port, args.peer_port);
    member.prepare().map_err(|error| {
        Failure::new(
            Exit::Failed,
            error,
            "give a directory of your own: --data-dir DIR",
        )
    })?;
    let command_line = member.command_line();
    let endpoint = member.endpoint();
    let shown = member.data_dir.display().to_string();
    let program = [&[ETCD_PROGRAM.to_owned()][..], &command_line[..]].concat();
    let described = json!({
        "endpoint": endpoint,
        "dataDir": shown,
        "pid": std::process::id(),
        "command": program,
    });
    output::print(format, &described, || banner(&member, &shown))?;
    let failed = Command::new(ETCD_PROGRAM).args(&command_line).exec();
    let text = format!("could not run {ETCD_PROGRAM}: {failed}");
    Err(Failure::new(
        Exit::Failed,
        text,
        format!("is it installed whole? {INSTALL}"),
    ))
}

fn banner(member: &EtcdMember, data_dir: &str) -> String {
    let endpoint = member.endpoint();
    format!(
        "{ETCD_PROGRAM} {}\n\nA metastore with one member, for experiments: no replica, no \
         password, no backup.\n  endpoint  {endpoint}\n  data      {data_dir}\n\nTry (apt-get \
         install etcd-client):\n  curl -s {endpoint}/health\n  ETCDCTL_API=3 etcdctl \
         --endpoints={endpoint} get --prefix /rama/\n\nStop with Ctrl-C; the data stays.",
        member.command_line().join(" "),
    )
}

fn installed() -> Result<bool> {
    let probe = Command::new(ETCD_PROGRAM)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match probe {
        Ok(_) => Ok(true),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(false),
        Err(cause) => {
            let text = format!("could not run {ETCD_PROGRAM}: {cause}");
            Err(Failure::new(
                Exit::Failed,
                text,
                "check its file permissions",
            ))
        }
    }
}

/// Installs it when that was asked for and is possible; says how otherwise.
fn install(wanted: bool) -> Result<()> {
    let missing = |hint: String| {
        let text = format!("{ETCD_PROGRAM} is not installed");
        Err(Failure::new(Exit::NotFound, text, hint))
    };
    if !wanted {
        return missing(format!("on Debian: sudo {INSTALL}, or --install as root"));
    }
    if !is_root() {
        return missing(format!("only root may install it: sudo {INSTALL}"));
    }
    let apt = |args: &[&str]| {
        let mut apt = Command::new("apt-get");
        // stdout is for results.
        apt.args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        apt.status().is_ok_and(|status| status.success())
    };
    let install = [
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "etcd-server",
    ];
    if apt(&install) || (apt(&["update", "-q"]) && apt(&install)) {
        return Ok(());
    }
    missing(format!("`{INSTALL}` failed; what it wrote is above"))
}

/// Whether this process may install programs.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout == b"0\n")
}

fn check_free(port: u16) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(cause) => Err(Failure::new(
            Exit::Refused,
            format!("could not listen on 127.0.0.1:{port}: {cause}"),
            "stop what listens there, or choose others: --port N --peer-port M",
        )),
    }
}
