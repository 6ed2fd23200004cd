//! Evaluating a plan on the task that has the data, at once or a page at a time.
//!
//! Relies on whoever reads to read from one state: pages of one plan are read from one snapshot.
//! What must stay true: an evaluation in pages answers what one at once answers (spec P-25), each
//! page visits no more elements than it may, and every page makes progress, whatever the plan says.

use std::ops::ControlFlow;

use rama_wire::SpaceId;
use rama_wire::key::successor;

use super::encoding::answer;
use super::function::{Call, Functions};
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

/// What a plan is evaluated with.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The data.
    pub read: &'a dyn ReadAccess,
    /// The PState's space in it.
    pub space: SpaceId,
    /// The functions that plans may name.
    pub functions: &'a Functions,
    /// How much may be answered.
    pub limits: Limits,
}

/// Reads what the plan asks for and gives the bytes of the answer. A failure of the storage below
/// is an error here, like everything else. Plans that name functions find none.
pub fn evaluate(
    read: &dyn ReadAccess,
    space: SpaceId,
    plan: &Plan,
    limits: Limits,
) -> Result<Vec<u8>, SelectError> {
    let ground = Ground {
        read,
        space,
        functions: &Functions::default(),
        limits,
    };
    evaluate_on(ground, plan)
}

/// The same, with functions.
pub fn evaluate_on(ground: Ground<'_>, plan: &Plan) -> Result<Vec<u8>, SelectError> {
    let mut evaluation = Evaluation::new(plan);
    loop {
        if let Some(answer) = evaluation.page(ground, u64::MAX)? {
            return Ok(answer);
        }
    }
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

/// A plan that is being evaluated.
pub struct Evaluation {
    parts: Vec<Part>,
    /// The part that is next.
    at: usize,
    /// Whether the answer holds those of several parts.
    several: bool,
    rows: u64,
    bytes: u64,
}

/// A plan that reads one place, and what it has found so far.
struct Part {
    plan: Plan,
    calls: Vec<Call>,
    rows: Rows,
    /// Elements visited by a plan that counts.
    count: u64,
    /// What keys of a scan begin with.
    prefix: Vec<u8>,
}

impl Part {
    fn new(plan: &Plan) -> Part {
        let (plan, calls) = match plan {
            Plan::Through { plan, calls } => ((**plan).clone(), calls.clone()),
            plan => (plan.clone(), Vec::new()),
        };
        let prefix = match &plan {
            Plan::Scan(scan) | Plan::Count(scan) => {
                let lo = &scan.span.lo;
                lo[..lo.len().min(scan.prefix_len as usize)].to_vec()
            }
            _ => Vec::new(),
        };
        Part {
            plan,
            calls,
            rows: Rows::new(),
            count: 0,
            prefix,
        }
    }
}

impl Evaluation {
    /// The beginning of an evaluation.
    pub fn new(plan: &Plan) -> Evaluation {
        let (parts, several) = match plan {
            Plan::Several(plans) => (plans.iter().map(Part::new).collect(), true),
            plan => (vec![Part::new(plan)], false),
        };
        Evaluation {
            parts,
            at: 0,
            several,
            rows: 0,
            bytes: 0,
        }
    }

    /// Visits up to `elements_max` elements more. The answer when that was all.
    pub fn page(
        &mut self,
        ground: Ground<'_>,
        elements_max: u64,
    ) -> Result<Option<Vec<u8>>, SelectError> {
        guard(|| self.run(ground, elements_max.max(1)))?
    }

    fn run(&mut self, ground: Ground<'_>, mut left: u64) -> Result<Option<Vec<u8>>, SelectError> {
        while let Some(mut part) = self.parts.get_mut(self.at).map(std::mem::take) {
            if left == 0 {
                self.parts[self.at] = part;
                return Ok(None);
            }
            ground.functions.check(&part.calls)?;
            let (visited, done) = self.read(ground, &mut part, left)?;
            left = left.saturating_sub(visited);
            self.parts[self.at] = part;
            if !done {
                return Ok(None);
            }
            self.at += 1;
        }
        let mut answers = self.parts.iter_mut().map(Part::finish);
        Ok(Some(if self.several {
            answer(&answers.map(|part| (Vec::new(), part)).collect::<Rows>())
        } else {
            answers.next().unwrap_or_default()
        }))
    }

    /// Answers with the number of elements visited, and whether the part is done.
    fn read(
        &mut self,
        Ground {
            read,
            space,
            functions,
            limits,
        }: Ground<'_>,
        part: &mut Part,
        left: u64,
    ) -> Result<(u64, bool), SelectError> {
        let row = match &part.plan {
            Plan::Get { key } => get(read, space, key),
            Plan::Exists { key, single } => Some(vec![u8::from(exists(read, space, key, *single))]),
            Plan::Len { key } => Some(get(read, space, key).unwrap_or_else(|| vec![0; 8])),
            Plan::Scan(_) | Plan::Count(_) => {
                let ground = Ground {
                    read,
                    space,
                    functions,
                    limits,
                };
                return self.scan(ground, part, left);
            }
            Plan::Through { .. } | Plan::Several(_) => {
                return Err(SelectError::BadPlan {
                    what: "a plan of plans within another",
                });
            }
        };
        if let Some(value) = row
            && let Some(value) = functions.run(&part.calls, &value)?
        {
            self.keep(limits, part.rows.as_mut(), (Vec::new(), value))?;
        }
        Ok((1, true))
    }

    fn keep(
        &mut self,
        limits: Limits,
        rows: &mut Rows,
        row: (Vec<u8>, Vec<u8>),
    ) -> Result<(), SelectError> {
        self.rows += 1;
        self.bytes += (row.0.len() + row.1.len()) as u64;
        let too_large = |limit, unit| Err(SelectError::TooLarge { limit, unit });
        if self.rows > limits.rows_max {
            return too_large(limits.rows_max, "rows");
        }
        if self.bytes > limits.bytes_max {
            return too_large(limits.bytes_max, "bytes");
        }
        rows.push(row);
        Ok(())
    }

    fn scan(
        &mut self,
        Ground {
            read,
            space,
            functions,
            limits,
        }: Ground<'_>,
        part: &mut Part,
        left: u64,
    ) -> Result<(u64, bool), SelectError> {
        let Part {
            plan,
            calls,
            rows,
            count,
            prefix,
        } = part;
        let (scan, counts) = match plan {
            Plan::Scan(scan) => (scan, false),
            Plan::Count(scan) => (scan, true),
            _ => unreachable!("only scans come here"),
        };
        let whole = scan.span.limit;
        scan.span.limit = whole.min(left);
        let (mut visited, mut last) = (0, Vec::new());
        let may_go_on = left < whole;
        visit(read, space, scan, &mut |key, value| {
            visited += 1;
            if may_go_on && visited == left {
                last = [prefix.as_slice(), key].concat();
            }
            if counts {
                *count += 1;
                return Ok(());
            }
            let Some(value) = taken(scan.take, value, calls, functions)? else {
                return Ok(());
            };
            let key = match scan.take {
                Take::Values => Vec::new(),
                Take::Keys | Take::Entries => key.to_vec(),
            };
            self.keep(limits, rows, (key, value))
        })?;
        scan.span.limit = whole - visited;
        if last.is_empty() {
            return Ok((visited, true));
        }
        Ok((visited, !go_on(scan, last)?))
    }
}

/// What a row shows of a value.
fn taken(
    take: Take,
    value: &[u8],
    calls: &[Call],
    functions: &Functions,
) -> Result<Option<Vec<u8>>, SelectError> {
    match take {
        Take::Keys if calls.is_empty() => Ok(Some(Vec::new())),
        Take::Keys => Ok(functions.run(calls, value)?.map(|_| Vec::new())),
        Take::Values | Take::Entries if calls.is_empty() => Ok(Some(value.to_vec())),
        Take::Values | Take::Entries => functions.run(calls, value),
    }
}

/// Lets a scan go on behind the element with this key; answers whether there can be more.
fn go_on(scan: &mut Scan, last: Vec<u8>) -> Result<bool, SelectError> {
    let span = &mut scan.span;
    let moved = match (span.order, &scan.structure) {
        (Order::Ascending, None) => Some([&last[..], &[0]].concat()),
        (Order::Ascending, Some(_)) => match successor(&last) {
            Some(next) => Some(next),
            None => return Ok(false),
        },
        (Order::Descending, _) => None,
    };
    // A plan whose keys do not begin as it says could otherwise walk the same elements for ever.
    let progress = match moved {
        Some(lo) => {
            let progress = lo > span.lo;
            span.lo = lo;
            progress
        }
        None => {
            let progress = span.hi.as_ref().is_none_or(|hi| last < *hi);
            span.hi = Some(last);
            progress
        }
    };
    if progress {
        Ok(true)
    } else {
        Err(SelectError::BadPlan {
            what: "keys that do not begin as it says",
        })
    }
}

impl Default for Part {
    fn default() -> Part {
        Part::new(&Plan::Several(Vec::new()))
    }
}

impl Part {
    /// The bytes of what was found.
    fn finish(&mut self) -> Vec<u8> {
        let mut rows = std::mem::take(&mut self.rows);
        match &self.plan {
            Plan::Count(_) => rows.push((Vec::new(), self.count.to_le_bytes().to_vec())),
            Plan::Scan(scan) if scan.reverse => rows.reverse(),
            _ => {}
        }
        answer(&rows)
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

fn visit(
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
