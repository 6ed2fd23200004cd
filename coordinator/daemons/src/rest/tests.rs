//! Which names of hosts who asks is given, and which names of modules.

use rama_planner::ids::InstanceId;
use rama_planner::records::{ModuleMeta, ModuleState};
use rama_planner::view::{Event, View};

use super::*;

/// a module is listed as soon as it takes appends, and not while it is only on its way.
#[test]
fn modules_that_take_appends_are_listed() {
    let mut view = View::default();
    let modules = [("Words", true), ("Coming", false), ("Bank", true)];
    for (revision, (name, runs)) in (1..).zip(modules) {
        let target = runs.then_some(InstanceId(Uuid::from_u128(7)));
        let meta = ModuleMeta {
            state: ModuleState::Running,
            read_target: target,
            append_target: target,
            operation: None,
            last_operation: None,
            log_last: 0,
        };
        view.apply(Event {
            revision,
            key: Key::Module(ModuleName::new(name).unwrap()),
            value: Some(Value::Module(meta)),
        });
    }
    let snapshot = Snapshot {
        view,
        ..Snapshot::default()
    };
    assert_eq!(running(&snapshot), ["Bank", "Words"]);
    assert!(running(&Snapshot::default()).is_empty());
}

#[test]
fn hosts_are_named_as_who_asks_names_them() {
    let hosts = ("node7.internal".to_owned(), "node7.example.org".to_owned());
    let wants = |headers: &[(&'static str, &str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        wants_internal(&map, &hosts)
    };
    assert!(!wants(&[]));
    assert!(wants(&[(HOSTS, "internal")]));
    assert!(wants(&[("host", "node7.internal:8888")]));
    assert!(wants(&[("host", "node7.internal")]));
    assert!(!wants(&[("host", "node7.example.org:8888")]));
    // The header is the stronger word.
    assert!(!wants(&[
        ("host", "node7.internal:8888"),
        (HOSTS, "external")
    ]));
    let six = ("::1".to_owned(), "example.org".to_owned());
    let mut map = HeaderMap::new();
    map.insert("host", HeaderValue::from_static("[::1]:8888"));
    assert!(wants_internal(&map, &six));
    // Where both are the same there is nothing to choose.
    let same = ("a".to_owned(), "a".to_owned());
    map.insert("host", HeaderValue::from_static("a:1"));
    assert!(!wants_internal(&map, &same));
}
