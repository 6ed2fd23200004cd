//! Every command as a process: what it prints, and how it ends.
//!
//! Read `command` (how one is run and shown), `demo` (the server they speak to: a real cluster with
//! a small module) and `conductor` (a cluster that answers from a script), then `clients` (commands
//! that ask a server), `deploy`, `cluster` and `refused` (those that only a cluster understands), `local` (those
//! that need none), `shipped` (what `deploy/` tells them) and `dev` (servers as processes). Snapshots
//! hold stdout, stderr and the exit code;
//! `INSTA_UPDATE=always cargo test -p rama-cli --test cli` writes them anew: read the difference
//! before committing it. What changes from run to run is replaced by a word in capitals.

mod artifacts;
mod certs;
mod clients;
mod cluster;
mod command;
mod conductor;
mod demo;
mod deploy;
mod dev;
mod dev_metastore;
mod forms;
mod local;
mod refused;
mod shipped;
mod tokens;
