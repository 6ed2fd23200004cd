//! The group against a model: what must be there after anything that can happen to a machine.
//!
//! Relies on the simulator. `model` is the naive truth, `world` drives a group and compares,
//! `crashes` are random lives, `memory` is about its limits,
//! `migrations` about values that change type, `gathering` about parts that become values, `scripts` single stories, `damage` changes bytes on disk.

mod crashes;
mod damage;
mod gathering;
mod memory;
mod migrations;
mod model;
mod scripts;
mod world;
