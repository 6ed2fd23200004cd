//! UDP ports for the workers of a machine, out of `supervisor.port_range`.
//!
//! Relies on its caller for which ports are given and which are free. What must stay true: a worker gets
//! ports that follow each other, because its assignment names the first; it keeps them over its
//! restarts while they are free, so that who knew them finds it again; a range that is used up is said
//! with what to do.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// The ports that workers may have; none: any that the system gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange(Option<RangeInclusive<u16>>);

impl PortRange {
    /// From the first to the last; any free ones for two zeros.
    pub fn new([first, last]: [u16; 2]) -> PortRange {
        PortRange((last > 0).then_some(first..=last))
    }

    /// The first of `count` ports that follow each other; 0 when any free ones will do.
    ///
    /// # Errors
    /// There are not so many, with how many are given.
    pub fn pick(
        &self,
        count: u16,
        previous: Option<u16>,
        given: &BTreeSet<u16>,
        is_free: impl Fn(u16) -> bool,
    ) -> Result<u16, String> {
        let Some(range) = &self.0 else { return Ok(0) };
        let (first, last) = (*range.start(), *range.end());
        let fits = |at: u16| {
            let end = at.checked_add(count - 1).filter(|end| *end <= last)?;
            (at >= first).then_some(at..=end)
        };
        let usable = |at: u16| {
            fits(at)
                .is_some_and(|mut ports| ports.all(|port| !given.contains(&port) && is_free(port)))
        };
        if let Some(previous) = previous.filter(|at| usable(*at)) {
            return Ok(previous);
        }
        range.clone().find(|at| usable(*at)).ok_or_else(|| {
            let others = given.range(range.clone()).count();
            format!(
                "no {count} UDP ports in a row are free of supervisor.port_range [{first}, {last}]: \
                 {others} are given to other workers here, others may be taken by other programs; \
                 widen the range in rama.toml and start the supervisor again"
            )
        })
    }
}
