//! From an entry in the caller's words to bytes in a batch and effects to apply.
//!
//! Relies on `rama_wire::entry` and `batch`. What must stay true: everything that can be refused is
//! refused by [`check`], before anything changes; then offsets are assigned in order.

use std::collections::{BTreeMap, VecDeque};

use rama_io::Env;
use rama_wire::entry::{self as wire, AppendTo, PAYLOAD_BYTES_MAX};
use smallvec::SmallVec;

use super::Group;
use super::batch::{Batch, Effect};
use super::state::{Log, State};
use crate::entry::{Appended, Entry, Op};
use crate::error::{Error, Result};
use crate::replog::segment::{LogKey, TxnKey};

impl<E: Env> Group<E> {
    /// Gathers an entry for the next device write. Never waits.
    ///
    /// # Ordering
    /// Entries become durable and are applied in the order of these calls; offsets of a log are
    /// assigned in the same order, without gaps.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::UnknownPartition`], [`Error::UnknownTransaction`]: nothing
    /// was appended. [`Error::Poisoned`], [`Error::Closed`]: nothing ever will be.
    pub fn append(&self, entry: Entry<'_>) -> Result<Appended> {
        let mut state = self.shared.state.borrow_mut();
        state.check_open()?;
        let bytes = check(&state, &entry)?;
        let state = &mut *state;
        let index = state.appended.next();
        let batch = gathering(&mut state.gathering, bytes, self.shared.options.batch_bytes);
        let at = batch.begin();
        let mut effects = SmallVec::with_capacity(entry.ops.len());
        let mut first_offsets = SmallVec::new();
        for op in entry.ops {
            let effect = encode(op, batch, &mut state.logs);
            if let Effect::Append { first, .. } = effect {
                first_offsets.push(first);
            }
            announce(&effect, &mut state.announced);
            effects.push(effect);
        }
        batch.finish(at, index, effects);
        state.appended = index;
        self.shared.write_loop.wake.notify();
        Ok(Appended {
            index,
            first_offsets,
        })
    }
}

/// Refuses what cannot be appended and says how long the payload will be.
fn check<E: Env>(state: &State<E>, entry: &Entry<'_>) -> Result<usize> {
    let mut bytes = 0;
    for (at, op) in entry.ops.iter().enumerate() {
        state.store(op.partition())?;
        bytes += match op {
            Op::Append { records, .. } => wire::append_bytes(records),
            Op::Write { batch, .. } | Op::Prepare { batch, .. } => {
                wire::OP_BYTES + wire::padded(batch.as_bytes().len())
            }
            Op::Commit { .. } | Op::Abort { .. } | Op::Trim { .. } => wire::OP_BYTES,
        };
        if let Op::Commit {
            partition,
            slot,
            txn,
        } = *op
            && !is_prepared(&state.announced, &entry.ops[..at], (partition, slot, txn))
        {
            return Err(Error::UnknownTransaction {
                partition,
                slot,
                txn,
            });
        }
    }
    if bytes > PAYLOAD_BYTES_MAX {
        let max = PAYLOAD_BYTES_MAX;
        return Err(Error::TooLarge { bytes, max });
    }
    Ok(bytes)
}

/// Whether a transaction may be committed after the `earlier` operations of the same entry.
fn is_prepared(announced: &BTreeMap<TxnKey, u32>, earlier: &[Op<'_>], key: TxnKey) -> bool {
    let mut prepared = announced.get(&key).copied();
    for op in earlier {
        match *op {
            Op::Prepare {
                partition,
                slot,
                txn,
                attempt,
                ..
            } if (partition, slot, txn) == key => prepared = Some(attempt),
            Op::Commit {
                partition,
                slot,
                txn,
            } if (partition, slot, txn) == key => prepared = None,
            Op::Abort {
                partition,
                slot,
                txn,
                attempt,
            } if (partition, slot, txn) == key => {
                prepared = prepared.filter(|found| *found != attempt);
            }
            _ => {}
        }
    }
    prepared.is_some()
}

/// The batch that takes the next entry of `bytes`.
fn gathering(batches: &mut VecDeque<Batch>, bytes: usize, batch_bytes: usize) -> &mut Batch {
    let fits = |batch: &Batch| batch.bytes.is_empty() || batch.bytes.len() + bytes <= batch_bytes;
    if !batches.back().is_some_and(fits) {
        let capacity = (bytes + wire::HEADER_BYTES).next_multiple_of(512);
        batches.push_back(Batch::with_capacity(capacity, 1));
    }
    batches.back_mut().expect("a batch was just added")
}

/// Adds the bytes of an operation to the batch and says what applying it will do.
fn encode(op: Op<'_>, batch: &mut Batch, logs: &mut BTreeMap<LogKey, Log>) -> Effect {
    let position = batch.bytes.len() as u32;
    let out = &mut batch.bytes;
    match op {
        Op::Append {
            partition,
            log,
            time_ms,
            records,
        } => {
            let entry = logs.entry((partition, log)).or_default();
            let first = entry.appended_end;
            let time_ms = time_ms.max(entry.last_time_ms);
            entry.last_time_ms = time_ms;
            entry.appended_end += records.len() as u64;
            let to = AppendTo {
                partition,
                log,
                time_ms,
                first_offset: first,
            };
            wire::encode_append(out, to, records);
            let count = records.len() as u32;
            Effect::Append {
                partition,
                log,
                time_ms,
                first,
                count,
                position,
            }
        }
        Op::Write { partition, batch } => {
            let bytes = batch.as_bytes();
            wire::encode_op(
                out,
                &wire::Op::Write {
                    partition,
                    batch: bytes,
                },
            );
            Effect::Write { partition, batch }
        }
        other => encode_step(other, out),
    }
}

/// The same for operations on transactions and bounds.
fn encode_step(op: Op<'_>, out: &mut Vec<u8>) -> Effect {
    match op {
        Op::Prepare {
            partition,
            slot,
            txn,
            attempt,
            batch,
        } => {
            let bytes = batch.as_bytes();
            let prepare = wire::Op::Prepare {
                partition,
                slot,
                txn,
                attempt,
                batch: bytes,
            };
            wire::encode_op(out, &prepare);
            let key = (partition, slot, txn);
            Effect::Prepare {
                key,
                attempt,
                batch,
            }
        }
        Op::Commit {
            partition,
            slot,
            txn,
        } => {
            let commit = wire::Op::Commit {
                partition,
                slot,
                txn,
            };
            wire::encode_op(out, &commit);
            let key = (partition, slot, txn);
            Effect::Commit { key }
        }
        Op::Abort {
            partition,
            slot,
            txn,
            attempt,
        } => {
            let abort = wire::Op::Abort {
                partition,
                slot,
                txn,
                attempt,
            };
            wire::encode_op(out, &abort);
            let key = (partition, slot, txn);
            Effect::Abort { key, attempt }
        }
        Op::Trim {
            partition,
            log,
            before,
        } => {
            let trim = wire::Op::Trim {
                partition,
                log,
                before,
            };
            wire::encode_op(out, &trim);
            Effect::Trim {
                partition,
                log,
                before,
            }
        }
        Op::Append { .. } | Op::Write { .. } => unreachable!("encoded by the caller"),
    }
}

/// Keeps the appended view of transactions.
fn announce(effect: &Effect, announced: &mut BTreeMap<TxnKey, u32>) {
    match effect {
        Effect::Prepare { key, attempt, .. } => {
            announced.insert(*key, *attempt);
        }
        Effect::Commit { key } => {
            announced.remove(key);
        }
        Effect::Abort { key, attempt } if announced.get(key) == Some(attempt) => {
            announced.remove(key);
        }
        _ => {}
    }
}
