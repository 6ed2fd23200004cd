//! Which changes of a module a program outside has to know.

use crate::pstate::PState;
use crate::schema::Map;
use crate::{Definition, Depot, Module, Partition, Setup};

/// What differs between two versions of a module.
#[derive(Clone, Copy, Default)]
struct Version {
    longer: bool,
    signed: bool,
    spread: bool,
    more: bool,
}

impl Module for Version {
    fn name(&self) -> String {
        "M".to_owned()
    }

    fn define(&self, m: &mut Setup) {
        let by = match self.spread {
            true => Partition::random(),
            false => Partition::hash_by(|n: &u64| *n),
        };
        m.depot(Depot::<u64>::named("*numbers"), by);
        if self.more {
            m.depot(Depot::<u64>::named("*more"), Partition::random());
        }
        let mut stream = m.stream("sums");
        let numbers = Depot::<u64>::named("*numbers");
        if self.signed {
            let sums = stream.pstate(PState::<Map<u64, i64>>::named("$$sums"));
            let add = move |task: &crate::Task, n: u64| sums.key(&n).set(task, 1);
            stream.source(numbers).each(add);
        } else {
            let sums = stream.pstate(PState::<Map<u64, u64>>::named("$$sums"));
            let step = if self.longer { 2 } else { 1 };
            let add = move |task: &crate::Task, n: u64| sums.key(&n).set(task, step);
            stream.source(numbers).each(add);
        }
    }
}

#[test]
fn the_interface_changes_with_objects_and_not_with_code() {
    let of = |version: Version| Definition::of(&version).unwrap().interface();
    let plain = Version::default();
    let first = of(plain);
    assert_eq!(first, of(plain), "the same code gives the same number");
    let code = Version {
        longer: true,
        ..plain
    };
    assert_eq!(first, of(code));
    for other in [
        Version {
            signed: true,
            ..plain
        },
        Version {
            spread: true,
            ..plain
        },
        Version {
            more: true,
            ..plain
        },
    ] {
        assert_ne!(first, of(other));
    }
}
