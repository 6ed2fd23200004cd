//! Recorded machines: what the kernel tells of them, and which cores workers get.

use super::*;

/// A machine as `/sys/devices/system` shows it.
struct Machine(BTreeMap<String, String>);

impl Machine {
    /// Nodes with their cores; physical cores with their threads.
    fn new(nodes: &[&str], online: &str, threads: &[&str]) -> Machine {
        let mut files = BTreeMap::from([
            ("node/online".to_owned(), format!("0-{}\n", nodes.len() - 1)),
            ("cpu/online".to_owned(), format!("{online}\n")),
        ]);
        for (node, cores) in nodes.iter().enumerate() {
            files.insert(format!("node/node{node}/cpulist"), format!("{cores}\n"));
        }
        for list in threads {
            for core in numbers(list).unwrap() {
                let path = format!("cpu/cpu{core}/topology/thread_siblings_list");
                files.insert(path, format!("{list}\n"));
            }
        }
        Machine(files)
    }

    fn topology(&self, usable: &str) -> Topology {
        let usable: Vec<usize> = numbers(usable).unwrap().into_iter().collect();
        Topology::parse(|path| self.0.get(path).cloned(), &usable)
    }
}

/// One node, two cores.
fn small() -> Machine {
    Machine::new(&["0-1"], "0-1", &["0", "1"])
}

/// Two nodes of four cores with two threads each; threads of a core are eight apart.
fn two_nodes() -> Machine {
    let threads = ["0,8", "1,9", "2,10", "3,11", "4,12", "5,13", "6,14", "7,15"];
    Machine::new(&["0-3,8-11", "4-7,12-15"], "0-15", &threads)
}

/// Eight nodes of two cores; numbers 4 and 9 are switched off.
fn eight_nodes() -> Machine {
    let nodes = ["0-1", "2-3", "5", "6-7", "8", "10-11", "12-13", "14-15"];
    Machine::new(&nodes, "0-3,5-8,10-15", &[])
}

fn given(cores: &[usize]) -> BTreeSet<usize> {
    cores.iter().copied().collect()
}

#[test]
fn lists_of_the_kernel_are_read_as_it_writes_them() {
    let read = |text| numbers(text).map(|found| found.into_iter().collect::<Vec<_>>());
    assert_eq!(read("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
    assert_eq!(read("\n"), Some(vec![]));
    assert_eq!(read("0-"), None);
    assert_eq!(read("zero"), None);
    assert_eq!(read("0-99999999999"), None);
}

#[test]
fn workers_of_a_small_machine_get_cores_until_there_are_none() {
    let machine = small().topology("0-1");
    assert_eq!(machine.pick(1, &[], &given(&[])), [0]);
    assert_eq!(machine.pick(1, &[], &given(&[0])), [1]);
    assert_eq!(machine.pick(2, &[], &given(&[])), [0, 1]);
    assert!(machine.pick(2, &[], &given(&[0])).is_empty());
    assert!(machine.pick(3, &[], &given(&[])).is_empty());
    assert_eq!(machine.limited(1).pick(1, &[], &given(&[])), [0]);
}

#[test]
fn task_threads_of_one_worker_are_on_one_node_and_on_cores_of_their_own() {
    let machine = two_nodes().topology("0-15");
    // One thread of each physical core, then the others.
    assert_eq!(machine.pick(4, &[], &given(&[])), [0, 1, 2, 3]);
    assert_eq!(machine.pick(6, &[], &given(&[])), [0, 1, 2, 3, 8, 9]);
    // The first node has six left, which is enough; the other stays whole.
    assert_eq!(machine.pick(2, &[], &given(&[0, 1])), [2, 3]);
    // Three cores have a busy thread: the one without comes first.
    assert_eq!(machine.pick(2, &[], &given(&[0, 1, 2])), [3, 8]);
    // No room for all on the first node.
    assert_eq!(
        machine.pick(7, &[], &given(&[0, 1])),
        [4, 5, 6, 7, 12, 13, 14]
    );
    // On no node: as few as possible.
    let both = machine.pick(10, &[], &given(&[]));
    assert_eq!(both, [0, 1, 2, 3, 8, 9, 10, 11, 4, 5]);
}

#[test]
fn workers_of_a_machine_never_share_a_core_while_there_are_enough() {
    let machine = two_nodes().topology("0-15");
    let mut all = BTreeSet::new();
    for count in [4, 4, 3, 2, 2, 1] {
        let picked = machine.pick(count, &[], &all);
        assert_eq!(picked.len(), count);
        for core in picked {
            assert!(all.insert(core), "core {core} was given twice");
        }
    }
    assert!(machine.pick(1, &[], &all).is_empty());
}

#[test]
fn a_worker_keeps_its_cores_while_nobody_has_them() {
    let machine = two_nodes().topology("0-15");
    assert_eq!(machine.pick(2, &[6, 7], &given(&[0])), [6, 7]);
    assert_eq!(machine.pick(2, &[6, 7], &given(&[7])), [4, 5]);
    assert_eq!(machine.pick(1, &[6, 7], &given(&[])), [0]);
    assert_eq!(machine.pick(1, &[99], &given(&[])), [0]);
}

/// Cores that are off, or that the cpuset of the supervisor leaves out, are not there.
#[test]
fn only_cores_that_are_on_and_allowed_are_given() {
    let machine = eight_nodes().topology("1-15");
    assert_eq!(machine.pick(2, &[], &given(&[])), [2, 3]);
    // The smallest node that has room.
    assert_eq!(machine.pick(1, &[], &given(&[])), [1]);
    assert_eq!(machine.pick(1, &[], &given(&[1])), [5]);
    assert_eq!(machine.pick(13, &[], &given(&[])).len(), 13);
    assert!(machine.pick(14, &[], &given(&[])).is_empty());
    let cpuset = two_nodes().topology("3-5");
    assert_eq!(cpuset.pick(2, &[], &given(&[])), [4, 5]);
}

#[test]
fn a_machine_that_tells_nothing_is_one_node() {
    let machine = Machine(BTreeMap::new()).topology("0-3");
    assert_eq!(machine.pick(4, &[], &given(&[])), [0, 1, 2, 3]);
    assert!(Topology::default().pick(1, &[], &given(&[])).is_empty());
}
