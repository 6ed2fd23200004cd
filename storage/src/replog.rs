//! The replog: segments of entries, their footers, and the checks that reading them back makes.
//!
//! Relies on `rama_wire::entry`. Layouts and pure walks are here; what waits for the disk is in
//! `group`. Reading order: `segment`, `footer`, `scan`.

pub(crate) mod footer;
pub(crate) mod scan;
pub(crate) mod segment;
