//! What has no asynchronous form: names, directories, maps. Runs on the executor's helper threads.
//!
//! Relies on glommio's blocking pool. A panic in a call comes back as an error: left alone it would
//! end the executor, or in older releases let the caller wait for ever. What must stay true: what
//! `make_dir` and `sync_dir` report as done is on the disk.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::guard::message_of;

/// Runs `call` off the executor.
pub(super) async fn run<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let guarded = move || {
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
            let message = message_of(&*panic);
            Err(io::Error::other(format!(
                "a blocking call panicked: {message}"
            )))
        })
    };
    glommio::executor().spawn_blocking(guarded).await
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).map_err(|error| {
        let (from, to) = (from.display(), to.display());
        io::Error::new(
            error.kind(),
            format!("could not rename {from} to {to}: {error}"),
        )
    })
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).map_err(|error| about("remove", path, &error))
}

pub(super) fn list(dir: &Path) -> io::Result<Vec<String>> {
    let read = || {
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name()));
        let names: io::Result<Vec<_>> = names.collect();
        let names = names?
            .into_iter()
            .map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    };
    read().map_err(|error: io::Error| about("list", dir, &error))
}

/// Creates `dir` and its parents; each new name is durable when this returns.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    let missing = dir
        .ancestors()
        .filter(|dir| !dir.as_os_str().is_empty() && !dir.is_dir());
    let mut missing: Vec<&Path> = missing.collect();
    missing.reverse();
    for dir in missing {
        match fs::create_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(about("create the directory", dir, &error));
            }
            _ => {}
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(|error| about("sync the directory", dir, &error))
}

/// The same kind of error, saying what was attempted on what.
pub(super) fn about(verb: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("could not {verb} {}: {error}", path.display()),
    )
}
