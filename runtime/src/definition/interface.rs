//! What programs outside of a module rely on, as one number.
//!
//! Relies on the order of declaration, which is that of the indexes by which objects are named on
//! links. What must stay true: two definitions with the same number take each other's messages; what
//! no client sees, such as code between two objects, does not count.

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_64;

use super::Definition;

impl Definition {
    /// A fingerprint of the depots, PStates and topologies with their names, kinds, types and
    /// partitioning: programs whose code has the same one may use the module.
    pub fn interface(&self) -> u64 {
        xxh3_64(self.interface_text().as_bytes())
    }

    fn interface_text(&self) -> String {
        let mut text = format!("module {}\n", self.module);
        // Writing to a string cannot fail.
        for depot in &self.depots {
            let (kind, by) = (depot.kind.as_str(), depot.placement.kind());
            let record = depot.record.fingerprint;
            let _ = writeln!(text, "{kind} {} {by:?} {record:016x}", depot.name);
        }
        for pstate in &self.pstates {
            let (global, private) = (pstate.global, pstate.private);
            let (custom, schema) = (pstate.key_placement.is_some(), pstate.schema.fingerprint());
            let name = &pstate.name;
            let _ = writeln!(
                text,
                "pstate {name} {global} {private} {custom} {schema:016x}"
            );
        }
        for topology in &self.topologies {
            let _ = writeln!(text, "{} {}", topology.kind.as_str(), topology.name);
        }
        for query in &self.queries {
            let (args, result) = (query.args.fingerprint, query.result.fingerprint);
            let led = query.leading.is_some();
            let _ = writeln!(text, "query {} {args:016x} {result:016x} {led}", query.name);
        }
        text
    }
}

#[cfg(test)]
mod tests;
