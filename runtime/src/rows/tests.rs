//! A disk for rows that is a sorted map, and how often rows are weighed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use rama_storage::lsm;

use super::{Disk, Memory, Packed, Rows, Waiting};

/// Rows on a disk that never fails.
#[derive(Default)]
pub(crate) struct MapDisk(RefCell<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Disk for MapDisk {
    fn add(&self, rows: Packed) -> LocalBoxFuture<'_, Result<(), lsm::Error>> {
        let mut last: Option<Vec<u8>> = None;
        for (key, value) in rows {
            assert!(last.is_none_or(|last| last < key), "keys ascend");
            last = Some(key.clone());
            assert!(self.0.borrow_mut().insert(key, value).is_none(), "twice");
        }
        Box::pin(async { Ok(()) })
    }

    fn scan(&self, lo: &[u8], visit: lsm::Visit<'_>) -> Result<(), lsm::Error> {
        for (key, value) in self.0.borrow().range(lo.to_vec()..) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// Moves what waits in memory to disk.
pub(crate) fn move_out<M: Memory>(rows: &mut Waiting<M>) {
    let disk = rows.disk().unwrap_or_else(|| {
        let disk: Rc<dyn Disk> = Rc::new(MapDisk::default());
        rows.lie_on(disk.clone());
        disk
    });
    let packed = rows.pack();
    disk.add(packed).now_or_never().unwrap().unwrap();
}

/// Rows of ten bytes each, and how often they were weighed.
#[derive(Default)]
struct Tens {
    count: usize,
    weighed: Cell<u32>,
}

impl Memory for Tens {
    fn count(&self) -> usize {
        self.count
    }

    fn weigh(&self) -> usize {
        self.weighed.set(self.weighed.get() + 1);
        self.count * 10
    }

    fn pack(&mut self, _: u32) -> Packed {
        self.count = 0;
        Box::new(std::iter::empty())
    }
}

/// However many rows come, they never take much more than they may, and are weighed a few times.
#[test]
fn rows_are_weighed_seldom_and_in_time() {
    let mut rows = Waiting::<Tens>::default();
    let mut most = 0;
    for _ in 0..1_000_000 {
        rows.memory.count += 1;
        most = most.max(rows.memory.count * 10);
        if rows.is_heavy(100_000) {
            move_out(&mut rows);
        }
    }
    assert!(most < 150_000, "{most} bytes");
    let (weighed, runs) = (rows.memory.weighed.get(), rows.runs);
    assert!(runs >= 66, "{runs} runs");
    assert!(weighed < 20 * (runs + 1), "weighed {weighed} times");
}
