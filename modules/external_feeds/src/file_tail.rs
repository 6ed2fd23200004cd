//! Files that grow by lines, as an external depot.
//!
//! Relies on files being appended to only. An offset is a position in the file. What must stay true:
//! a line is taken when it is complete, that is when its line feed is there.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rama::MakeError;
use rama::external::{ExternalDepot, Fetched, Fetching, blocking};

/// What one fetch reads at most; no line may be longer.
const READ_BYTES_MAX: u64 = 1 << 20;

/// The lines of some files: one partition for each file, in the order given. One that does not exist
/// yet is empty.
pub struct FileTail {
    files: Arc<[PathBuf]>,
}

impl FileTail {
    /// The lines of `files`. Others may be added at the end later; the order never changes.
    pub fn new(files: Vec<PathBuf>) -> FileTail {
        FileTail {
            files: files.into(),
        }
    }

    /// Does something with a file, off the executor.
    fn with<T: Send + 'static>(
        &self,
        partition: u32,
        work: impl FnOnce(&Path) -> Result<T, MakeError> + Send + 'static,
    ) -> Fetching<T> {
        let files = self.files.clone();
        blocking(move || match files.get(partition as usize) {
            Some(path) => work(path),
            None => Err(format!("there is no file {partition}").into()),
        })
    }
}

impl ExternalDepot for FileTail {
    type Record = String;

    fn partitions(&self) -> Fetching<u32> {
        let count = self.files.len() as u32;
        Box::pin(async move { Ok(count) })
    }

    fn start_offset(&self, _: u32) -> Fetching<u64> {
        Box::pin(async { Ok(0) })
    }

    fn end_offset(&self, partition: u32) -> Fetching<u64> {
        self.with(partition, |path| Ok(open(path)?.map_or(0, |(_, len)| len)))
    }

    fn offset_after(&self, _: u32, _: u64) -> Fetching<Option<u64>> {
        // Lines have no times: only new ones are after one.
        Box::pin(async { Ok(None) })
    }

    fn fetch(&self, partition: u32, from: u64, most: usize) -> Fetching<Fetched<String>> {
        self.with(partition, move |path| lines(path, from, most))
    }
}

/// The file and its length, if it is there.
fn open(path: &Path) -> Result<Option<(File, u64)>, MakeError> {
    let failed = |error| format!("could not read {}: {error}", path.display());
    match File::open(path) {
        Ok(file) => {
            let len = file.metadata().map_err(failed)?.len();
            Ok(Some((file, len)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error).into()),
    }
}

fn lines(path: &Path, from: u64, most: usize) -> Result<Fetched<String>, MakeError> {
    let nothing = Fetched {
        records: Vec::new(),
        next: from,
    };
    let Some((mut file, len)) = open(path)? else {
        return Ok(nothing);
    };
    let name = path.display();
    if len < from {
        return Err(format!("{name} has {len} bytes, but was read up to {from}").into());
    }
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    let mut fetched = nothing;
    for line in bytes.split_inclusive(|byte| *byte == b'\n').take(most) {
        let Some((b'\n', text)) = line.split_last() else {
            break;
        };
        fetched
            .records
            .push(String::from_utf8_lossy(text).into_owned());
        fetched.next += line.len() as u64;
    }
    if fetched.records.is_empty() && bytes.len() as u64 == READ_BYTES_MAX {
        return Err(
            format!("{name} has a line of more than {READ_BYTES_MAX} bytes at {from}").into(),
        );
    }
    Ok(fetched)
}
