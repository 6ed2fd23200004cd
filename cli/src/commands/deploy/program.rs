//! A module's program: what it says of itself, its hash, its bytes.
//!
//! Relies on `PROGRAM describe`, and on the file staying as it is while the command runs: the
//! conductor compares the hash. What must stay true: a program that is no module's does not hold
//! this command for ever, and nothing of it is sent.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use rama_net::certificates::hexadecimal;
use ring::digest::{Context, SHA256};
use serde_json::Value;

use crate::client::Upload;
use crate::commands::program;
use crate::error::{Exit, Failure, Result};
use crate::progress::Progress;

/// How long a program may think about itself.
const DESCRIBE_MAX: Duration = Duration::from_secs(30);

/// An open program.
pub struct Program {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Program {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Program> {
        let opened = File::open(path).and_then(|file| {
            let about = file.metadata()?;
            if about.is_file() {
                return Ok((file, about.len()));
            }
            Err(io::Error::from(io::ErrorKind::IsADirectory))
        });
        let (file, bytes) = opened.map_err(|cause| {
            let exit = match cause.kind() {
                io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::Usage,
            };
            let text = format!("could not read {}: {cause}", path.display());
            Failure::new(exit, text, "name a module's program with --binary")
        })?;
        Ok(Program {
            path: path.to_owned(),
            file,
            bytes,
        })
    }

    /// Runs `describe`; the manifest, which has to be of `module` and fit for a cluster.
    pub fn manifest(&self, module: &str) -> Result<Value> {
        let shown = self.path.display();
        let output = self.describe()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("it says nothing");
            let said = said.trim_start_matches("error: ");
            let text = format!("`{shown} describe` failed: {said}");
            return Err(Failure::new(Exit::Failed, text, NO_MODULE));
        }
        let manifest: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        let Some((name, manifest)) = manifest.and_then(|manifest| {
            let name = manifest.get("module")?.as_str()?.to_owned();
            Some((name, manifest))
        }) else {
            let text = format!("`{shown} describe` printed no manifest");
            return Err(Failure::new(Exit::Failed, text, NO_MODULE));
        };
        if name != module {
            return Err(Failure::new(
                Exit::Refused,
                format!("{shown} defines the module {name}, not {module}"),
                format!("say --module {name}, or name another --binary"),
            ));
        }
        if manifest.get("cluster") != Some(&Value::Bool(true)) {
            return Err(Failure::new(
                Exit::Refused,
                format!("{shown} was built without what a cluster needs"),
                "build it with `--features etcd`, a feature that it passes on to `rama`",
            ));
        }
        Ok(manifest)
    }

    fn describe(&self) -> Result<Output> {
        let shown = self.path.display();
        let failed = |cause: io::Error| {
            let text = format!("could not run {shown}: {cause}");
            Failure::new(Exit::Failed, text, "is it a program for this machine?")
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let output = runtime.map_err(failed)?.block_on(async {
            let command = tokio::process::Command::new(program(&self.path))
                .arg("describe")
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output();
            tokio::time::timeout(DESCRIBE_MAX, command).await
        });
        match output {
            Ok(output) => output.map_err(failed),
            Err(_) => {
                let text = format!("`{shown} describe` did not end within {DESCRIBE_MAX:?}");
                Err(Failure::new(Exit::Failed, text, NO_MODULE))
            }
        }
    }

    /// Its hash, in hexadecimal.
    pub fn sha256(&self) -> Result<String> {
        let mut file = &self.file;
        let mut hash = Context::new(&SHA256);
        let mut piece = vec![0; 256 << 10];
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => hash.update(&piece[..read]),
                Err(cause) => return Err(self.unread(&cause)),
            }
        }
        Ok(hexadecimal(hash.finish().as_ref()))
    }

    /// Its bytes, to be sent with progress.
    pub fn upload(&self) -> Result<Upload> {
        let file = self.file.try_clone().map_err(|cause| self.unread(&cause))?;
        let progress = Progress::bytes("upload", self.bytes);
        let total = self.bytes;
        Ok(Upload::new(file, total, move |sent| {
            progress.set(sent);
            if sent == total {
                progress.end();
            }
        }))
    }

    fn unread(&self, cause: &io::Error) -> Failure {
        let text = format!("could not read {}: {cause}", self.path.display());
        Failure::new(Exit::Failed, text, "is its disk well?")
    }
}

const NO_MODULE: &str = "name a module's program, made with `rama::main!`";
