//! A typed client outside of the cluster.
//!
//! Relies on `Cluster::connect`, which follows every move for as long as anyone answers.

use std::time::Duration;

use rama::{ClientConfig, Cluster, Module, ModuleClient, block_on};

use crate::world::World;

/// Longer than any outage.
const DEADLINE: Duration = Duration::from_secs(120);

/// The client.
pub struct Typed {
    /// Its connections live as long as it does.
    _cluster: Cluster,
    module: ModuleClient,
}

impl Typed {
    /// A client of a module that runs.
    pub fn open(world: &World, module: &dyn Module) -> Typed {
        let (files, conductor) = (world.client_dir(), world.conductor_address());
        let config = ClientConfig::at(conductor.to_string())
            .certificates(
                files.join("ca.pem"),
                files.join("client.pem"),
                files.join("client.key"),
            )
            .deadline(DEADLINE);
        let supervisors = world.supervisor_addresses().into_iter();
        let config = supervisors.fold(config, |config, at| config.address(at.to_string()));
        let cluster = block_on(Cluster::connect(config)).expect("a cluster");
        let module = block_on(cluster.open(module)).expect("a module that runs");
        Typed {
            _cluster: cluster,
            module,
        }
    }

    /// Its handle.
    pub fn module(&self) -> ModuleClient {
        self.module.clone()
    }
}
