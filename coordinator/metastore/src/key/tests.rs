//! The layout as a golden list, and what the parser refuses.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Key, Level, Scope, Space};

const ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd);

/// Every key, with a name that needs escaping where names stand.
fn every_key() -> Vec<Key> {
    let name = || "shop/Orders %1".to_owned();
    let plain = || "com.shop::Orders".to_owned();
    vec![
        Key::ClusterId,
        Key::ClusterState,
        Key::ClusterVersion,
        Key::Conductor,
        Key::Placement,
        Key::Supervisor(ID),
        Key::SupervisorFlags(ID),
        Key::ModuleMeta(name()),
        Key::InstanceSpec(plain(), ID),
        Key::Worker(plain(), ID, 7),
        Key::WorkerLive(plain(), ID, 7),
        Key::WorkerExit(plain(), ID, 7),
        Key::GroupIsr(plain(), ID, 511),
        Key::GroupLeader(plain(), ID, 0),
        Key::GroupResign(plain(), ID, 0),
        Key::Setting(
            plain(),
            Level::Module,
            "worker.combined.transfer.limit".into(),
        ),
        Key::Setting(
            plain(),
            Level::Topology("mb/1".into()),
            "max.records".into(),
        ),
        Key::Setting(plain(), Level::Depot("*lines".into()), "max.records".into()),
        Key::Setting(
            plain(),
            Level::PState("$$counts".into()),
            "max.records".into(),
        ),
        Key::Paused(plain(), "counts".into()),
        Key::Dependency(plain(), name()),
        Key::ModuleLog(plain(), 42),
        Key::Operation(ID),
        Key::BackupLast("nightly".into()),
        Key::BackupLock("nightly".into()),
    ]
}

const GOLDEN: &str = "\
/rama/v1/cluster/id
/rama/v1/cluster/state
/rama/v1/cluster/version
/rama/v1/cluster/conductor
/rama/v1/cluster/placement
/rama/v1/sup/01234567-89ab-4cde-8f01-23456789abcd
/rama/v1/sup/01234567-89ab-4cde-8f01-23456789abcd/flags
/rama/v1/mod/shop%2FOrders%20%251/meta
/rama/v1/mod/com.shop::Orders/inst/01234567-89ab-4cde-8f01-23456789abcd/spec
/rama/v1/mod/com.shop::Orders/inst/01234567-89ab-4cde-8f01-23456789abcd/worker/7
/rama/v1/mod/com.shop::Orders/inst/01234567-89ab-4cde-8f01-23456789abcd/live/7
/rama/v1/mod/com.shop::Orders/inst/01234567-89ab-4cde-8f01-23456789abcd/exit/7
/rama/v1/mod/com.shop::Orders/inst/01234567-89ab-4cde-8f01-23456789abcd/g/511/isr
/rama/v1/mod/com.shop::Orders/inst/01234567-89ab-4cde-8f01-23456789abcd/g/0/leader
/rama/v1/mod/com.shop::Orders/inst/01234567-89ab-4cde-8f01-23456789abcd/g/0/resign
/rama/v1/mod/com.shop::Orders/opt/module/worker.combined.transfer.limit
/rama/v1/mod/com.shop::Orders/opt/topology/mb%2F1/max.records
/rama/v1/mod/com.shop::Orders/opt/depot/*lines/max.records
/rama/v1/mod/com.shop::Orders/opt/pstate/$$counts/max.records
/rama/v1/mod/com.shop::Orders/paused/counts
/rama/v1/mod/com.shop::Orders/deps/shop%2FOrders%20%251
/rama/v1/mod/com.shop::Orders/log/00000000000000000042
/rama/v1/op/01234567-89ab-4cde-8f01-23456789abcd
/rama/v1/backup/nightly/last
/rama/v1/backup/nightly/lock";

fn space() -> Space {
    Space::new("rama").unwrap()
}

#[test]
fn every_key_is_spelled_as_in_appendix_a() {
    let spelled: Vec<String> = every_key().iter().map(|key| space().key(key)).collect();
    assert_eq!(spelled.join("\n"), GOLDEN);
}

#[test]
fn every_key_is_read_back_as_it_was_built() {
    for key in every_key() {
        assert_eq!(space().parse(&space().key(&key)), Ok(key));
    }
}

#[test]
fn a_scope_holds_its_keys_and_no_others() {
    let module = || "com.shop::Orders".to_owned();
    let counts = [
        (Scope::All, 25),
        (Scope::Cluster, 5),
        (Scope::Supervisors, 2),
        (Scope::Modules, 15),
        (Scope::Module(module()), 14),
        (Scope::Instance(module(), ID), 7),
        (Scope::Workers(module(), ID), 1),
        (Scope::WorkersLive(module(), ID), 1),
        (Scope::Groups(module(), ID), 3),
        (Scope::Settings(module()), 4),
        (Scope::Paused(module()), 1),
        (Scope::Dependencies(module()), 1),
        (Scope::ModuleLog(module()), 1),
        (Scope::Operations, 1),
        (Scope::Backups, 2),
        // A name that another name begins with is another module.
        (Scope::Module("com.shop".into()), 0),
    ];
    for (scope, count) in counts {
        let prefix = space().prefix(&scope);
        let keys = every_key();
        let under = keys
            .iter()
            .filter(|key| space().key(key).starts_with(&prefix));
        assert_eq!(under.count(), count, "{scope:?}");
    }
}

#[test]
fn the_log_is_listed_in_the_order_of_its_entries() {
    let numbers = [0, 9, 10, 99, 1 << 40, u64::MAX];
    let keys: Vec<String> = numbers
        .iter()
        .map(|number| space().key(&Key::ModuleLog("m".into(), *number)))
        .collect();
    assert!(keys.is_sorted(), "{keys:?}");
}

#[test]
fn what_is_not_spelled_as_we_spell_it_is_refused() {
    let refused = [
        "",
        "/rama/v1/",
        "/rama/v2/cluster/state",
        "/other/v1/cluster/state",
        "/rama/v1/cluster/stat",
        "/rama/v1/cluster/state/",
        "/rama/v1/cluster//state",
        "/rama/v1/sup/not-an-id",
        "/rama/v1/sup/0123456789AB4CDE8F0123456789ABCD",
        "/rama/v1/sup/01234567-89AB-4cde-8f01-23456789abcd",
        "/rama/v1/mod//meta",
        "/rama/v1/mod/a%2fb/meta",
        "/rama/v1/mod/%61/meta",
        "/rama/v1/mod/%FF/meta",
        "/rama/v1/mod/%2/meta",
        "/rama/v1/mod/a b/meta",
        "/rama/v1/mod/m/log/42",
        "/rama/v1/mod/m/log/000000000000000000042",
        "/rama/v1/mod/m/inst/01234567-89ab-4cde-8f01-23456789abcd/worker/07",
        "/rama/v1/mod/m/inst/01234567-89ab-4cde-8f01-23456789abcd/worker/+7",
        "/rama/v1/mod/m/inst/01234567-89ab-4cde-8f01-23456789abcd/g/4294967296/isr",
        "/rama/v1/op/01234567-89ab-4cde-8f01-23456789abcd/x",
    ];
    for text in refused {
        assert!(space().parse(text).is_err(), "{text} was read");
    }
    let error = space()
        .parse("/rama/v1/mod/%61/meta")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("it is spelled /rama/v1/mod/a/meta"),
        "{error}"
    );
}

#[test]
fn no_mutilated_key_is_read_as_another_spelling() {
    for key in every_key() {
        let text = space().key(&key);
        for at in 0..text.len() {
            for byte in [b'/', b'%', b'0', b'a', b'A', b'z'] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = byte;
                let other = String::from_utf8(bytes).unwrap();
                if let Ok(key) = space().parse(&other) {
                    assert_eq!(space().key(&key), other);
                }
            }
            assert_ne!(
                space().parse(&text[..at]),
                Ok(key.clone()),
                "{}",
                &text[..at]
            );
        }
    }
}

#[test]
fn names_of_any_text_keep_keys_apart() {
    let names = [
        "a", "a/b", "a%2Fb", "A", "ä", "a ", "/", "%", "..", "meta", "\u{0}",
    ];
    let keys: BTreeSet<String> = names
        .iter()
        .map(|name| space().key(&Key::ModuleMeta((*name).into())))
        .collect();
    assert_eq!(keys.len(), names.len());
    for name in names {
        let key = Key::ModuleMeta(name.into());
        assert_eq!(space().parse(&space().key(&key)), Ok(key));
    }
}

#[test]
fn a_root_is_plain_text() {
    for root in ["", "a/b", "a b", "ü", &"r".repeat(65)] {
        assert!(Space::new(root).is_err(), "{root}");
    }
}
