//! Which keys a plan depends on, and whether its value can be followed row by row.
//!
//! Relies on the plans of `plan`. What must stay true: a write outside of the range changes nothing
//! of the plan's answer; task and follower come to the same footprint from the same plan.

use rama_wire::key::successor;

use crate::access::Order;
use crate::plan::{Plan, Scan, Take};

/// What a followed plan stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footprint {
    /// First key, inclusive.
    pub(crate) lo: Vec<u8>,
    /// End, exclusive; `None` is the end of the space.
    pub(crate) hi: Option<Vec<u8>>,
    pub(crate) value: Form,
}

/// What the followed value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Rows with distinct keys.
    Rows {
        /// The part of an entry's key that its row leaves out.
        prefix_len: usize,
        /// Whether every entry in the range is a row, so that a write to it is all there is to
        /// know. Otherwise (the first few of many, elements that are structures) the plan is
        /// evaluated again.
        exact: bool,
        /// Whether rows have the values of their entries, or none.
        valued: bool,
        /// Whether the answer begins with the greatest key.
        descending: bool,
    },
    /// One answer: evaluated again after each write to the range.
    Answer,
}

impl Footprint {
    pub(crate) fn of(plan: &Plan) -> Footprint {
        match plan {
            Plan::Get { key } => Footprint {
                value: Form::Rows {
                    prefix_len: key.len(),
                    exact: true,
                    valued: true,
                    descending: false,
                },
                ..entry(key)
            },
            Plan::Exists { key, single: true } | Plan::Len { key } => entry(key),
            Plan::Exists { key, single: false } => Footprint {
                lo: key.clone(),
                hi: successor(key),
                value: Form::Answer,
            },
            Plan::Count(scan) => range(scan, Form::Answer),
            Plan::Scan(scan) if scan.take == Take::Values => range(scan, Form::Answer),
            Plan::Scan(scan) if !is_of_one_structure(scan) => range(scan, Form::Answer),
            Plan::Scan(scan) => {
                let rows = Form::Rows {
                    prefix_len: scan.prefix_len as usize,
                    exact: scan.structure.is_none() && scan.span.limit == u64::MAX,
                    valued: scan.take == Take::Entries,
                    descending: (scan.span.order == Order::Descending) != scan.reverse,
                };
                range(scan, rows)
            }
            Plan::Through { plan, .. } => Footprint {
                value: Form::Answer,
                ..Footprint::of(plan)
            },
            Plan::Several(plans) => around(plans),
        }
    }

    /// Whether a write to the range says by itself how the value changed.
    pub(crate) fn is_exact(&self) -> bool {
        matches!(self.value, Form::Rows { exact: true, .. })
    }
}

/// One range around all that several plans depend on.
fn around(plans: &[Plan]) -> Footprint {
    let parts: Vec<Footprint> = plans.iter().map(Footprint::of).collect();
    let ends: Option<Vec<&Vec<u8>>> = parts.iter().map(|part| part.hi.as_ref()).collect();
    Footprint {
        lo: parts
            .iter()
            .map(|part| part.lo.clone())
            .min()
            .unwrap_or_default(),
        hi: ends.and_then(|ends| ends.into_iter().max().cloned()),
        value: Form::Answer,
    }
}

/// Whether all keys of a scan begin with its prefix, so that what is left of them are distinct keys
/// in their order. Every path makes such plans; plans come from the network, too.
fn is_of_one_structure(scan: &Scan) -> bool {
    let Some(prefix) = scan.span.lo.get(..scan.prefix_len as usize) else {
        return false;
    };
    match (&scan.span.hi, successor(prefix)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(hi), Some(end)) => *hi <= end,
    }
}

fn entry(key: &[u8]) -> Footprint {
    Footprint {
        lo: key.to_vec(),
        hi: Some([key, &[0]].concat()),
        value: Form::Answer,
    }
}

fn range(scan: &Scan, value: Form) -> Footprint {
    Footprint {
        lo: scan.span.lo.clone(),
        hi: scan.span.hi.clone(),
        value,
    }
}
