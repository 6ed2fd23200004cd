//! Parts that become a value while some of them are in tables, some in the log, and some prepared and
//! not decided.

use std::sync::Arc;
use std::time::Duration;

use rama_io::sim::{Faults, ProcessId, Sim, SimConfig, SimEnv};

use super::model::SPACE;
use super::world::{IDENTITY, PARTITIONS, dir, small_options};
use crate::lsm::{self, Gather, Migration, Migrations, Read, WriteBatch};
use crate::{Entry, Group, Op};

const PARTITION: u32 = PARTITIONS[0];

/// Everything below a key of one byte, one after the other.
struct Together;

impl Gather for Together {
    fn owner_len(&self, key: &[u8]) -> Option<usize> {
        (!key.is_empty()).then_some(1)
    }

    fn gather(&self, parts: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Vec<u8>, String> {
        Ok(parts
            .into_iter()
            .flat_map(|(key, value)| [key, value].concat())
            .collect())
    }
}

fn gathering() -> Migrations {
    let step = Migration {
        space: SPACE,
        id: "together".to_owned(),
        effect: lsm::Effect::Gathered(Arc::new(Together)),
        reach: lsm::Reach::Everywhere,
    };
    Migrations {
        steps: vec![step],
        ..Migrations::default()
    }
}

struct Life {
    sim: Sim,
    process: ProcessId,
}

impl Life {
    fn open(&self, migrations: Migrations) -> Group<SimEnv> {
        let env = self.sim.env(self.process, "group");
        let mut options = small_options(None);
        options.migrations = migrations;
        let opened = Group::open(&env, dir(), IDENTITY, &PARTITIONS, options);
        self.sim.block_on(opened).unwrap().0
    }

    fn append(&self, group: &Group<SimEnv>, entry: Entry<'_>) {
        let index = group.append(entry).unwrap().index;
        self.sim.block_on(group.wait_durable(index)).unwrap();
        group.apply(index).unwrap();
    }

    /// The process dies and comes again.
    fn again(&self, group: Group<SimEnv>) -> Group<SimEnv> {
        self.sim.kill(self.process);
        drop(group);
        self.open(gathering())
    }

    fn check(&self, group: &Group<SimEnv>, want: [Option<&[u8]>; 2]) {
        let store = group.partition(PARTITION).unwrap().store().clone();
        for (key, want) in [1u8, 2].into_iter().zip(want) {
            let mut found = None;
            let got = store.get(SPACE, &[key], &mut |value| {
                found = value.map(<[u8]>::to_vec)
            });
            got.unwrap();
            assert_eq!(found.as_deref(), want, "under {key}");
        }
    }

    fn bytes_left(&self, group: &Group<SimEnv>) -> u64 {
        let store = group.partition(PARTITION).unwrap().store().clone();
        store.migrations()[0].bytes_left
    }
}

fn puts(parts: &[(u8, u8, u8)]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (key, part, value) in parts {
        batch.put(SPACE, &[*key, *part], &[*value]);
    }
    batch
}

/// P-51: what the old code prepared is of the old code, whenever it is decided, and nothing is merged
/// before that.
#[test]
fn prepared_parts_become_values_however_late_they_are_committed() {
    for kills in 0..8u8 {
        let kill = |bit: u8| kills & 1 << bit > 0;
        let sim = Sim::new(u64::from(kills), SimConfig::with_faults(Faults::none()));
        let process = sim.process();
        let life = Life { sim, process };
        let group = life.open(Migrations::default());
        life.append(&group, Entry::new().write(PARTITION, puts(&[(1, 1, 11)])));
        life.sim.block_on(group.checkpoint()).unwrap();
        life.append(&group, Entry::new().write(PARTITION, puts(&[(1, 2, 12)])));
        let mut batch = puts(&[(1, 3, 13), (2, 1, 21)]);
        batch.delete(SPACE, &[1, 1]);
        let (partition, slot, txn, attempt) = (PARTITION, 0, 1, 1);
        let prepare = Op::Prepare {
            partition,
            slot,
            txn,
            attempt,
            batch,
        };
        life.append(&group, Entry::new().with(prepare));

        let before = [Some(&[1, 11, 2, 12][..]), None];
        let mut group = life.again(group);
        life.check(&group, before);
        life.sim.run_for(Duration::from_secs(1));
        assert!(life.bytes_left(&group) > 0, "merged before the decision");
        if kill(0) {
            group = life.again(group);
            life.check(&group, before);
        }
        let commit = Op::Commit {
            partition,
            slot,
            txn,
        };
        life.append(&group, Entry::new().with(commit));
        let after = [Some(&[2, 12, 3, 13][..]), Some(&[1, 21][..])];
        life.check(&group, after);
        if kill(1) {
            group = life.again(group);
            life.check(&group, after);
        }
        while life.bytes_left(&group) > 0 {
            life.sim.run_for(Duration::from_millis(10));
        }
        life.check(&group, after);
        if kill(2) {
            group = life.again(group);
        }
        let mut batch = WriteBatch::new();
        batch.put(SPACE, &[2], b"new");
        life.append(&group, Entry::new().write(PARTITION, batch));
        life.check(&group, [after[0], Some(b"new")]);
        life.sim.block_on(group.close()).unwrap();
        let over = vec![(SPACE, "together".to_owned())];
        let group = life.open(Migrations {
            retired: over,
            ..Migrations::default()
        });
        life.check(&group, [after[0], Some(b"new")]);
    }
}
