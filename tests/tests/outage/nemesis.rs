//! Kills processes at random moments, from a seed.
//!
//! Relies on a killed daemon being started again, as systemd would, and on workers being started again
//! by their supervisor alone. What must stay true: when it ends, everything is on its way back; the same
//! seed chooses the same victims and pauses.

use std::time::{Duration, Instant};

use rama_tests::random::Random;
use rustix::process::Signal;

use crate::service::kill;
use crate::world::{NODES, World};

/// Kills for so long, then waits until the modules run again.
pub fn kills(world: &mut World, modules: &[&str], mut random: Random, time: Duration) {
    let end = Instant::now() + time;
    let (mut workers, mut daemons) = (0, 0);
    while Instant::now() < end {
        std::thread::sleep(Duration::from_millis(300 + random.below(2_000)));
        let (chance, which) = (random.below(6), random.below(64) as usize);
        let down = Duration::from_millis(random.below(1_000));
        match chance {
            0 => {
                let supervisor = &mut world.supervisors[which % NODES];
                supervisor.kill();
                std::thread::sleep(down);
                supervisor.start_again();
                daemons += 1;
            }
            1 => {
                world.conductor.kill();
                std::thread::sleep(down);
                world.conductor.start_again();
                daemons += 1;
            }
            _ => workers += u32::from(worker(world, modules[which % modules.len()], which / 2)),
        }
    }
    let killed = Instant::now();
    let is_well = |module: &&str| world.is_well(module);
    world.until("the modules run again", || modules.iter().all(is_well));
    let again = killed.elapsed().as_secs_f64();
    println!("killed: {workers} workers, {daemons} daemons; all well {again:.1} s after the last");
}

/// Kills a worker, if one is known to run.
fn worker(world: &World, module: &str, which: usize) -> bool {
    let Some(instance) = world.instance(module) else {
        return false;
    };
    let victim = &instance.processes[which % instance.processes.len()];
    // It may have ended meanwhile; a worker that is not there has no process.
    victim.pid != 0 && kill(victim.pid, Signal::KILL).is_ok()
}
