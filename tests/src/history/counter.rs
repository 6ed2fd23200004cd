//! Counters against the records they count: W3 (a microbatch's is exact) and W4 (a stream's is not less).
//!
//! Relies on every record adding one to a shared counter. What must stay true: while records are on
//! their way a microbatch's counter is never above the number that may have been appended, and equal to
//! what the depot holds once all is processed; a stream may count a record again, never not at all, and
//! its writes that do not add up but are set show each record once.

#[cfg(test)]
mod tests;

use super::{Operation, Outcome};

/// Reads of the counter: no key, and what was read.
pub type Reads = [Operation<(), u64>];

/// W3, at all times: no read is above what had been appended when it was answered.
pub fn is_never_ahead<C, A>(appends: &[Operation<C, A>], reads: &Reads) -> Vec<String> {
    let may_count = |append: &&Operation<C, A>| !matches!(append.outcome, Outcome::Failed);
    let mut calls: Vec<u64> = appends
        .iter()
        .filter(may_count)
        .map(|it| it.invoked)
        .collect();
    calls.sort_unstable();
    let mut wrong = Vec::new();
    for read in reads {
        let (Outcome::Ok(value), Some(returned)) = (&read.outcome, read.returned) else {
            continue;
        };
        let called = calls.partition_point(|invoked| *invoked < returned) as u64;
        if *value > called {
            wrong.push(format!(
                "the counter was {value} at {returned}, when {called} records had been appended"
            ));
        }
    }
    wrong
}

/// W3, at the end: it is the number of records.
pub fn is_exact(counter: u64, records: u64) -> Vec<String> {
    let wrong = format!("the exact counter is {counter}, and there are {records} records");
    Vec::from_iter((counter != records).then_some(wrong))
}

/// W4, at the end: what adds up is not less than the number of records, and what is set shows each
/// of them once.
pub fn is_at_least_once(counter: u64, shown: u64, records: u64) -> Vec<String> {
    let less = format!("the stream's counter is {counter}, and there are {records} records");
    let other = format!("the stream shows {shown} records, and there are {records}");
    let less = (counter < records).then_some(less);
    less.into_iter()
        .chain((shown != records).then_some(other))
        .collect()
}
