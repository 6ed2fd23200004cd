//! What the workspace-wide tests share: where the workspace is and which source files it has.
//! Relies on being compiled inside the workspace. Holds no test itself; see `tests/`.

pub mod dev_server;
pub mod history;
pub mod http;
pub mod random;
pub mod rules;

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies inside the workspace")
        .to_path_buf()
}

/// Every file below `dir` whose name ends in `suffix`, sorted; `target` and hidden folders left out.
pub fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("could not list {}: {e}", folder.display()));
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if name.ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `path` relative to the workspace, with forward slashes.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(workspace())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// The `rama` binary built beside the running test or tool.
///
/// # Panics
/// As [`binary`].
pub fn rama_binary() -> PathBuf {
    binary("rama")
}

/// A program of the workspace, built beside the running test or tool.
///
/// # Panics
/// When it was not built; the message names the command.
pub fn binary(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("the running program has a path");
    let found = here
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no program {name} beside {}: run `cargo build --workspace` first",
            here.display()
        )
    })
}
