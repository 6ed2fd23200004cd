//! The next segment's file, made while the current one is being written.
//!
//! Relies on `replog::segment` for the header. Making a file costs the file system's journal and a
//! sync of the directory, several milliseconds on a busy machine; here it is not the appenders who
//! wait for that. What must stay true: a file is given to the writer only when its header and its
//! name are durable; at most one is made ahead; a file that was made and never used holds no entry,
//! which opening takes for an empty segment at the end and removes.

use std::path::Path;
use std::rc::Rc;

use rama_io::{Env, File, Open};

use super::Shared;
use crate::error::{Error, Result};
use crate::options::Identity;
use crate::replog::segment::{HEADER_BLOCK_BYTES, header_block, path_of};

/// A segment file without entries.
pub(crate) struct Spare<E: Env> {
    segment: u64,
    file: E::File,
}

/// Makes a file each time the writer has used up half of its segment, until the group closes.
pub(super) async fn run<E: Env>(shared: Rc<Shared<E>>) {
    loop {
        shared.spare_loop.wake.wait().await;
        {
            let state = shared.state.borrow();
            if state.closing || state.poison.is_some() {
                break;
            }
        }
        if let Err(error) = prepare(&shared).await {
            shared.poison(&error);
            break;
        }
    }
    shared.spare_loop.done.notify();
}

async fn prepare<E: Env>(shared: &Shared<E>) -> Result<()> {
    let mut spare = shared.spare.lock().await;
    // Asked under the lock: the writer may have gone on to another segment meanwhile.
    let last = shared
        .state
        .borrow()
        .segments
        .last_key_value()
        .map(|s| *s.0);
    let segment = last.unwrap_or(0) + 1;
    if spare.as_ref().is_none_or(|spare| spare.segment != segment) {
        let file = create(shared, segment).await?;
        *spare = Some(Spare { segment, file });
    }
    Ok(())
}

/// The file of `segment`: the one made ahead, or one made now. Waits for one that is being made.
pub(super) async fn take<E: Env>(shared: &Shared<E>, segment: u64) -> Result<E::File> {
    let mut spare = shared.spare.lock().await;
    match spare.take() {
        Some(spare) if spare.segment == segment => Ok(spare.file),
        _ => create(shared, segment).await,
    }
}

/// Makes the file of a segment, with its header, durable under its name.
async fn create<E: Env>(shared: &Shared<E>, segment: u64) -> Result<E::File> {
    let path = path_of(&shared.state.borrow().log_dir, segment);
    let file = write_header(&shared.env, shared.identity, &path, segment).await;
    let file = file.map_err(|error| Error::io("create segment", &path, error))?;
    shared.state.borrow_mut().stats.segment_bytes += u64::from(HEADER_BLOCK_BYTES);
    Ok(file)
}

async fn write_header<E: Env>(
    env: &E,
    identity: Identity,
    path: &Path,
    segment: u64,
) -> std::io::Result<E::File> {
    let fresh = path.with_extension("new");
    // The name may be left from a creation that was cut short.
    env.remove(&fresh).await.ok();
    let file = env.open(&fresh, Open::Create).await?;
    let mut block = file.buffer(HEADER_BLOCK_BYTES as usize);
    block.copy_from_slice(&header_block(identity, segment));
    file.write_durable(0, block).await?;
    env.rename(&fresh, path).await?;
    let dir = path.parent().expect("a segment is in a directory");
    env.sync_dir(dir).await?;
    Ok(file)
}
