//! Dynamic options of a simulated module.
//!
//! Relies on the launchers of the machines that are up; those that start later take what is set
//! then, as workers take it from the metastore. What must stay true: what was set outlives every
//! machine.

use super::SimulatedCluster;
use crate::launcher::options::usable;
use crate::options::Level;

impl SimulatedCluster {
    /// Sets a dynamic option, as an operator does; it outlives the lives of machines. Task threads of
    /// machines that are up have heard of it when this returns, and obey when they come to it.
    ///
    /// # Panics
    /// When there is no such option, or it does not take the value.
    pub fn set_option(&self, level: Level, option: &str, value: impl Into<serde_json::Value>) {
        let world = &self.world;
        let mut options = world.options.borrow_mut();
        options.set(level, option, value.into());
        usable(&options).unwrap_or_else(|error| panic!("{error}"));
        let module = world.module();
        for machine in &world.machines {
            if let Some(launcher) = &*machine.launcher.borrow() {
                drop(launcher.change_settings(&module, |settings| settings.clone_from(&options)));
            }
        }
    }
}
