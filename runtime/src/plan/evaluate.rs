//! Evaluating a plan on the task that has the data.

use std::ops::ControlFlow;

use rama_wire::SpaceId;
use rama_wire::key::successor;

use super::encoding::answer;
use super::{Each, Plan, Scan, SelectError, Take};
use crate::access::{Order, ReadAccess};
use crate::failure::guard;
use crate::path::{Child, walk};

/// How much one select may answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Rows.
    pub rows_max: u64,
    /// Bytes of keys and values.
    pub bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows_max: 1 << 20,
            bytes_max: 64 << 20,
        }
    }
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads what the plan asks for and gives the bytes of the answer. A failure of the storage below
/// is an error here, like everything else.
pub fn evaluate(
    read: &dyn ReadAccess,
    space: SpaceId,
    plan: &Plan,
    limits: Limits,
) -> Result<Vec<u8>, SelectError> {
    let rows = guard(|| read_rows(read, space, plan, limits))??;
    Ok(answer(&rows))
}

fn read_rows(
    read: &dyn ReadAccess,
    space: SpaceId,
    plan: &Plan,
    limits: Limits,
) -> Result<Rows, SelectError> {
    let one = |value: Vec<u8>| vec![(Vec::new(), value)];
    match plan {
        Plan::Get { key } => Ok(get(read, space, key).map(one).unwrap_or_default()),
        Plan::Exists { key, single } => Ok(one(vec![u8::from(exists(read, space, key, *single))])),
        Plan::Len { key } => Ok(one(get(read, space, key).unwrap_or_else(|| vec![0; 8]))),
        Plan::Count(scan) => {
            let mut count = 0u64;
            run(read, space, scan, &mut |_, _| {
                count += 1;
                Ok(())
            })?;
            Ok(one(count.to_le_bytes().to_vec()))
        }
        Plan::Scan(scan) => scan_rows(read, space, scan, limits),
    }
}

fn get(read: &dyn ReadAccess, space: SpaceId, key: &[u8]) -> Option<Vec<u8>> {
    let mut found = None;
    read.get(space, key, &mut |value| found = value.map(<[u8]>::to_vec));
    found
}

fn exists(read: &dyn ReadAccess, space: SpaceId, key: &[u8], single: bool) -> bool {
    let mut found = false;
    if single {
        read.get(space, key, &mut |value| found = value.is_some());
    } else {
        let hi = successor(key);
        read.scan(space, key, hi.as_deref(), Order::Ascending, &mut |_, _| {
            found = true;
            ControlFlow::Break(())
        });
    }
    found
}

fn scan_rows(
    read: &dyn ReadAccess,
    space: SpaceId,
    scan: &Scan,
    limits: Limits,
) -> Result<Rows, SelectError> {
    let (mut rows, mut bytes) = (Rows::new(), 0u64);
    run(read, space, scan, &mut |key, value| {
        let row = match scan.take {
            Take::Keys => (key.to_vec(), Vec::new()),
            Take::Values => (Vec::new(), value.to_vec()),
            Take::Entries => (key.to_vec(), value.to_vec()),
        };
        bytes += (row.0.len() + row.1.len()) as u64;
        if rows.len() as u64 >= limits.rows_max {
            return Err(SelectError::TooLarge {
                limit: limits.rows_max,
                unit: "rows",
            });
        }
        if bytes > limits.bytes_max {
            return Err(SelectError::TooLarge {
                limit: limits.bytes_max,
                unit: "bytes",
            });
        }
        rows.push(row);
        Ok(())
    })?;
    if scan.reverse {
        rows.reverse();
    }
    Ok(rows)
}

fn run(
    read: &dyn ReadAccess,
    space: SpaceId,
    scan: &Scan,
    each: &mut Each<'_>,
) -> Result<(), SelectError> {
    let measure;
    let child = match &scan.structure {
        None => Child::Value,
        Some(shape) => {
            measure = |bytes: &[u8]| shape.measure(bytes).filter(|len| *len > 0);
            Child::Structure(&measure)
        }
    };
    let mut failed = None;
    let prefix_len = scan.prefix_len as usize;
    let walked = walk(
        read,
        space,
        prefix_len,
        &scan.span,
        &child,
        &mut |key, value| match each(key, value) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    );
    match failed {
        Some(error) => Err(error),
        None => walked.map_err(|_| SelectError::BadPlan {
            what: "keys that do not fit its shape",
        }),
    }
}
