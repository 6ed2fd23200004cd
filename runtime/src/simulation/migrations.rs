//! How far the migrations of a simulated module are.
//!
//! Relies on the launcher of the one machine.

use super::SimulatedCluster;
use crate::error::Result;
use crate::status::MigrationStatus;

impl SimulatedCluster {
    /// As [`crate::InProcessCluster::migrations`], for the module that the simulation began with and
    /// where [`update`](SimulatedCluster::update) may be.
    ///
    /// # Errors
    /// As there.
    pub async fn migrations(&self) -> Result<Vec<MigrationStatus>> {
        let machine = self.world.only_machine();
        let module = self.world.definitions.borrow()[0].0.module.clone();
        let launcher = machine.launcher.take().expect("a calm machine is up");
        let found = launcher.migrations(&module).await;
        machine.launcher.replace(Some(launcher));
        found
    }
}
