//! Placeholder head.

pub mod lsm;
