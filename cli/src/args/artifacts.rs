//! What can be typed after `rama artifacts`.
//!
//! Relies on clap's derive.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub const ARTIFACTS: &str = works!(
    "\
Where supervisor.trust_roots names public keys, only programs that one of them has signed are run.
`keygen` makes a pair of keys (Ed25519), `sign` writes PROGRAM.sig, which `rama deploy` sends with
the program.

Examples:
  rama artifacts keygen --out release.key
  rama artifacts sign --key release.key target/release/word_count
  rama deploy --action launch --binary target/release/word_count --module WordCount \\
      --tasks 8 --threads 4 --workers 2 --signature target/release/word_count.sig"
);

const KEYGEN: &str = works!(
    "\
Writes the private key (mode 0600) and prints the public one, for supervisor.trust_roots. A key that
is there is never replaced.

Examples:
  rama artifacts keygen --out release.key
  rama artifacts keygen --out release.key --output json"
);

const SIGN: &str = works!(
    "\
Examples:
  rama artifacts sign --key release.key target/release/word_count
  rama artifacts sign --key release.key ./bank --out bank.sig --output json"
);

/// `rama artifacts`
#[derive(Subcommand, Debug)]
pub enum Artifacts {
    /// Make a pair of keys.
    #[command(after_help = KEYGEN)]
    Keygen {
        /// Where the private key goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Sign a program.
    #[command(after_help = SIGN)]
    Sign(Sign),
}

/// `rama artifacts sign`
#[derive(Args, Debug)]
pub struct Sign {
    /// The program.
    pub program: PathBuf,
    /// The private key.
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where the signature goes [default: PROGRAM.sig].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
