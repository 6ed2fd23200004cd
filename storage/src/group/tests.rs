//! The group against a model: what must be there after anything that can happen to a machine.
//!
//! Relies on the simulator. `model` is the naive truth, `world` drives a group and compares,
//! `crashes` are random lives, `memory` is about its limits, `scripts` single stories, `damage` changes bytes on disk.

mod crashes;
mod damage;
mod memory;
mod model;
mod scripts;
mod world;
