//! The bytes of plans and of answers.
//!
//! ```text
//! plan    version u8 | kind u8 | fields; byte strings are a u32 length and their bytes
//!         version 1: what reads one place; version 2: functions, and several plans in one
//! answer  version u8 = 1 | row count u32 | rows: key length u32, key, value length u32, value
//! ```
//! All numbers are little endian. Nothing is believed: lengths are checked against what is left,
//! against fixed limits, and nothing may follow the end.

use rama_wire::KeyShape;

use super::{Call, Plan, Role, Scan, SelectError, Take};
use crate::access::Order;
use crate::path::Span;

const VERSION: u8 = 1;

/// The version of plans that call functions or hold several.
const VERSION_OF_CALLS: u8 = 2;

/// Functions that one value may go through.
const CALLS_MAX: usize = 16;

/// Plans in one.
pub(super) const PLANS_MAX: usize = 64;

/// Bytes of a function's name.
const NAME_BYTES_MAX: usize = 256;

/// No key of a path is longer.
const KEY_BYTES_MAX: usize = 64 << 10;

impl Plan {
    /// The plan as bytes, in the oldest version that can say it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let version = match self {
            Plan::Through { .. } | Plan::Several(_) => VERSION_OF_CALLS,
            _ => VERSION,
        };
        let mut out = vec![version];
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Plan::Get { key } => {
                out.push(0);
                put_bytes(out, key);
            }
            Plan::Exists { key, single } => {
                out.extend([1, u8::from(*single)]);
                put_bytes(out, key);
            }
            Plan::Len { key } => {
                out.push(2);
                put_bytes(out, key);
            }
            Plan::Count(scan) => {
                out.push(3);
                put_scan(out, scan);
            }
            Plan::Scan(scan) => {
                out.push(4);
                put_scan(out, scan);
            }
            Plan::Through { plan, calls } => {
                out.extend([5, calls.len() as u8]);
                calls.iter().for_each(|call| put_call(out, call));
                plan.put(out);
            }
            Plan::Several(plans) => {
                out.extend([6, plans.len() as u8]);
                plans.iter().for_each(|plan| plan.put(out));
            }
        }
    }

    /// The plan that the bytes hold.
    pub fn from_bytes(bytes: &[u8]) -> Result<Plan, SelectError> {
        let mut input = Input(bytes);
        let version = input.byte()?;
        if !(VERSION..=VERSION_OF_CALLS).contains(&version) {
            return bad("an unknown version");
        }
        let plan = match input.byte()? {
            6 if version == VERSION_OF_CALLS => Plan::Several(input.plans()?),
            kind => input.call_or_read(kind, version)?,
        };
        if input.0.is_empty() {
            Ok(plan)
        } else {
            bad("bytes after its end")
        }
    }
}

fn bad<T>(what: &'static str) -> Result<T, SelectError> {
    Err(SelectError::BadPlan { what })
}

fn put_call(out: &mut Vec<u8>, call: &Call) {
    out.push(match call.role {
        Role::Filter => 0,
        Role::View => 1,
    });
    put_bytes(out, call.name.as_bytes());
    out.extend_from_slice(&call.fingerprint.to_le_bytes());
    put_bytes(out, &call.argument);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_scan(out: &mut Vec<u8>, scan: &Scan) {
    out.extend_from_slice(&scan.prefix_len.to_le_bytes());
    put_bytes(out, &scan.span.lo);
    out.push(u8::from(scan.span.hi.is_some()));
    if let Some(hi) = &scan.span.hi {
        put_bytes(out, hi);
    }
    out.push(u8::from(scan.span.order == Order::Descending));
    out.extend_from_slice(&scan.span.limit.to_le_bytes());
    out.push(u8::from(scan.reverse));
    out.push(match scan.take {
        Take::Keys => 0,
        Take::Values => 1,
        Take::Entries => 2,
    });
    out.push(u8::from(scan.structure.is_some()));
    if let Some(shape) = &scan.structure {
        shape.encode(out);
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], SelectError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(SelectError::BadPlan {
            what: "its end is missing",
        })?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SelectError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn byte(&mut self) -> Result<u8, SelectError> {
        Ok(self.take(1)?[0])
    }

    fn flag(&mut self) -> Result<bool, SelectError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(SelectError::BadPlan {
                what: "a flag that is neither 0 nor 1",
            }),
        }
    }

    fn key(&mut self) -> Result<Vec<u8>, SelectError> {
        let len = u32::from_le_bytes(self.array()?) as usize;
        if len > KEY_BYTES_MAX {
            return Err(SelectError::BadPlan {
                what: "a key or an argument longer than 64 KiB",
            });
        }
        Ok(self.take(len)?.to_vec())
    }

    fn plans(&mut self) -> Result<Vec<Plan>, SelectError> {
        let count = usize::from(self.byte()?);
        if count == 0 || count > PLANS_MAX {
            return bad("not between 1 and 64 plans");
        }
        let mut plans = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = self.byte()?;
            plans.push(self.call_or_read(kind, VERSION_OF_CALLS)?);
        }
        Ok(plans)
    }

    /// A plan that reads one place, through functions or not.
    fn call_or_read(&mut self, kind: u8, version: u8) -> Result<Plan, SelectError> {
        if kind != 5 || version != VERSION_OF_CALLS {
            return self.read(kind);
        }
        let count = usize::from(self.byte()?);
        if count == 0 || count > CALLS_MAX {
            return bad("not between 1 and 16 functions");
        }
        let mut calls = Vec::with_capacity(count);
        for _ in 0..count {
            calls.push(self.call()?);
        }
        let kind = self.byte()?;
        let plan = self.read(kind)?;
        match &plan {
            Plan::Get { .. } => {}
            Plan::Scan(scan) if scan.structure.is_none() => {}
            _ => return bad("functions of what is no value"),
        }
        let plan = Box::new(plan);
        Ok(Plan::Through { plan, calls })
    }

    fn read(&mut self, kind: u8) -> Result<Plan, SelectError> {
        Ok(match kind {
            0 => Plan::Get { key: self.key()? },
            1 => Plan::Exists {
                single: self.flag()?,
                key: self.key()?,
            },
            2 => Plan::Len { key: self.key()? },
            3 => Plan::Count(self.scan()?),
            4 => Plan::Scan(self.scan()?),
            _ => return bad("an unknown kind"),
        })
    }

    fn call(&mut self) -> Result<Call, SelectError> {
        let role = match self.byte()? {
            0 => Role::Filter,
            1 => Role::View,
            _ => return bad("a function that neither filters nor views"),
        };
        let len = u32::from_le_bytes(self.array()?) as usize;
        if len > NAME_BYTES_MAX {
            return bad("a function with a name longer than 256 bytes");
        }
        let name = str::from_utf8(self.take(len)?).or(bad("a function whose name is no text"))?;
        Ok(Call {
            role,
            name: name.to_owned(),
            fingerprint: u64::from_le_bytes(self.array()?),
            argument: self.key()?,
        })
    }

    fn scan(&mut self) -> Result<Scan, SelectError> {
        let prefix_len = u32::from_le_bytes(self.array()?);
        let lo = self.key()?;
        let hi = if self.flag()? {
            Some(self.key()?)
        } else {
            None
        };
        let order = if self.flag()? {
            Order::Descending
        } else {
            Order::Ascending
        };
        let limit = u64::from_le_bytes(self.array()?);
        let reverse = self.flag()?;
        let take = match self.byte()? {
            0 => Take::Keys,
            1 => Take::Values,
            2 => Take::Entries,
            _ => {
                return Err(SelectError::BadPlan {
                    what: "an unknown kind of rows",
                });
            }
        };
        let structure = if self.flag()? {
            let shape = KeyShape::decode(&mut self.0);
            Some(shape.map_err(|_| SelectError::BadPlan {
                what: "a key shape no key has",
            })?)
        } else {
            None
        };
        if take != Take::Keys && structure.is_some() {
            return Err(SelectError::BadPlan {
                what: "structures have no value to send",
            });
        }
        let span = Span {
            lo,
            hi,
            order,
            limit,
        };
        Ok(Scan {
            prefix_len,
            span,
            reverse,
            take,
            structure,
        })
    }
}

/// One row of an answer: key and value.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// The bytes of an answer.
pub(crate) fn answer(rows: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    for (key, value) in rows {
        put_bytes(&mut out, key);
        put_bytes(&mut out, value);
    }
    out
}

/// The rows of an answer.
pub fn rows(answer: &[u8]) -> Result<Vec<Row<'_>>, SelectError> {
    let bad = |_| SelectError::BadAnswer {
        what: "its end is missing",
    };
    let mut input = Input(answer);
    if input.byte().map_err(bad)? != VERSION {
        return Err(SelectError::BadAnswer {
            what: "an unknown version",
        });
    }
    let count = u32::from_le_bytes(input.array().map_err(bad)?) as usize;
    // Each row has at least its two lengths: a count that cannot be true reserves nothing.
    let mut rows = Vec::with_capacity(count.min(answer.len() / 8));
    for _ in 0..count {
        let key_len = u32::from_le_bytes(input.array().map_err(bad)?) as usize;
        let key = input.take(key_len).map_err(bad)?;
        let value_len = u32::from_le_bytes(input.array().map_err(bad)?) as usize;
        rows.push((key, input.take(value_len).map_err(bad)?));
    }
    if input.0.is_empty() {
        Ok(rows)
    } else {
        Err(SelectError::BadAnswer {
            what: "bytes after its end",
        })
    }
}
