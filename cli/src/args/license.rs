//! What scripts for Rama type about licences.
//!
//! Relies on clap's derive. What must stay true: such scripts go on working, and nothing is needed.

use std::path::PathBuf;

use clap::Args;

pub const LICENSE: &str = works!(
    "\
For scripts that were written for Rama. Nothing is read or changed.

Examples:
  rama licenseInfo
  rama upsertLicense --licensePath license.edn
  rama cleanupLicenses --output json"
);

/// `rama upsert-license`
#[derive(Args, Debug)]
pub struct UpsertLicense {
    /// A licence, which is not looked at.
    #[arg(long, alias = "licensePath", value_name = "PATH")]
    pub license_path: Option<PathBuf>,
}
