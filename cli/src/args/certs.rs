//! What can be typed after `rama certs`.
//!
//! Relies on clap's derive. What must stay true: roles and hosts are checked while they are read.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rama_net::Role;
use uuid::Uuid;

pub const CERTS: &str = works!(
    "\
A cluster has one authority, made by `init`; keep its ca.key offline. Every process needs three
files: ca.pem, its certificate and its key. Running processes read replaced files within a second
and keep their connections. A certificate names its cluster, node and roles; host names matter to
HTTPS only.

Examples:
  rama certs init --dir authority
  rama certs issue --dir authority --role supervisor --role worker --host 10.0.1.7 --out node7
  rama certs issue --dir authority --role operator --out ~/.rama --name me --days 30
  rama certs show node7/*.pem --output json"
);

const INIT: &str = works!(
    "\
Writes ca.pem and ca.key (mode 0600). An authority that is there is never replaced.

Examples:
  rama certs init --dir authority
  rama certs init --dir authority --cluster 6f1e4a0c-9a55-4a27-8f0e-3f1f6f0a7c11 --days 3650"
);

const ISSUE: &str = works!(
    "\
Writes <name>.pem, <name>.key (mode 0600) and, where it is missing, a copy of ca.pem. To renew, name
the same node and say --replace.

Examples:
  rama certs issue --dir authority --role conductor --host ops.example.org --out conductor
  rama certs issue --dir authority --role worker --role supervisor --out node7 --days 90
  rama certs issue --dir authority --role worker --out node7 --name worker --replace \\
      --node 0b9d6b3e-6c0f-4d0b-8f57-0f6a5f1c2d3e"
);

const SHOW: &str = works!(
    "\
Examples:
  rama certs show authority/ca.pem
  rama certs show node7/*.pem --output json"
);

/// `rama certs`
#[derive(Subcommand, Debug)]
pub enum Certs {
    /// Make the authority of a new cluster.
    #[command(after_help = INIT)]
    Init(Init),
    /// Make a certificate and its key for a process.
    #[command(after_help = ISSUE)]
    Issue(Issue),
    /// Show what certificates say, and for how long they are valid.
    #[command(after_help = SHOW)]
    Show {
        /// Files of certificates.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// `rama certs init`
#[derive(Args, Debug)]
pub struct Init {
    /// Where the authority is kept.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// Id of the cluster; a new one by default.
    #[arg(long, value_name = "UUID")]
    pub cluster: Option<Uuid>,
    /// How long the authority is valid.
    #[arg(long, value_name = "N", default_value_t = 3650)]
    pub days: u32,
}

/// `rama certs issue`
#[derive(Args, Debug)]
pub struct Issue {
    /// Where the authority is kept.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// What the holder may be: conductor, supervisor, worker, client or operator; may be repeated.
    #[arg(long = "role", value_name = "ROLE", required = true)]
    pub roles: Vec<Role>,
    /// Id of the node; a new one by default.
    #[arg(long, value_name = "UUID")]
    pub node: Option<Uuid>,
    /// Host name or address for HTTPS; may be repeated.
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// How long the certificate is valid.
    #[arg(long, value_name = "N", default_value_t = 90)]
    pub days: u32,
    /// Where the files go.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Name of the files without their endings; the first role by default.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Replace files that are there.
    #[arg(long)]
    pub replace: bool,
}
