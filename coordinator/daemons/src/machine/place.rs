//! Where on the machine a worker is put: its directories, ports and cores.
//!
//! Relies on the assignments of the other slots, which lie beside their data: what was given to them is
//! theirs until they are deleted, whether they run now or not. What must stay true: a worker that is
//! started again is put where it was, as far as that is still to be had.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use super::files::Files;
use crate::cores::Topology;
use crate::ports::PortRange;
use crate::supervisor::SlotName;

/// What can be given to workers.
#[derive(Clone, Debug)]
pub struct Room {
    /// Ports.
    pub ports: PortRange,
    /// Where they are bound.
    pub bind: IpAddr,
    /// The supervisor's own.
    pub own_port: u16,
    /// Cores.
    pub topology: Topology,
}

/// Where one worker is put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its data.
    pub data_dir: PathBuf,
    /// Its signs of life.
    pub beat: PathBuf,
    /// The first of its ports; 0: any free ones.
    pub first_port: u16,
    /// A core for each of its task threads, or none at all.
    pub cores: Vec<usize>,
}

impl Room {
    /// Puts a worker with so many task threads somewhere.
    pub(super) fn place(
        &self,
        files: &Files,
        slot: &SlotName,
        threads: usize,
        pinned: bool,
    ) -> Result<Place, String> {
        let others = files.slots().map_err(|error| error.to_string())?;
        let others = others.iter().filter(|other| *other != slot);
        let (mut ports, mut cores) = (BTreeSet::from([self.own_port]), BTreeSet::new());
        for told in others.filter_map(|other| files.told(other)) {
            let count = port_count(told.groups.len());
            ports.extend((0..count).filter_map(|at| told.first_port.checked_add(at)));
            cores.extend(told.cores);
        }
        let before = files.told(slot);
        let previous = before.as_ref().map(|told| told.first_port);
        let is_free = |port| UdpSocket::bind(SocketAddr::new(self.bind, port)).is_ok();
        let first_port = self
            .ports
            .pick(port_count(threads), previous, &ports, is_free)?;
        let previous = before.map(|told| told.cores).unwrap_or_default();
        Ok(Place {
            data_dir: files.data(slot),
            beat: files.beat(slot),
            first_port,
            cores: match pinned {
                true => self.topology.pick(threads, &previous, &cores),
                false => Vec::new(),
            },
        })
    }
}

/// One for each task thread, and one for requests.
fn port_count(threads: usize) -> u16 {
    u16::try_from(threads).unwrap_or(u16::MAX - 1) + 1
}
