//! Golden values of every key, and what readers refuse.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use uuid::Uuid;

use super::*;

const ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd);

/// One value of each kind with its key and its bytes.
fn golden() -> Vec<(Key, Record, &'static str)> {
    let m = || "m".to_owned();
    vec![
        (
            Key::ClusterId,
            ClusterId {
                id: ID,
                generation: 1,
                created_ms: 2,
            }
            .into(),
            r#"{"v":1,"id":"01234567-89ab-4cde-8f01-23456789abcd","generation":1,"created_ms":2}"#,
        ),
        (
            Key::ClusterState,
            ClusterState {
                phase: Phase::Open,
                intent: None,
                operation: None,
            }
            .into(),
            r#"{"v":1,"phase":"open"}"#,
        ),
        (
            Key::ClusterVersion,
            ClusterVersion {
                running: "0.1.0".into(),
                available: vec![],
            }
            .into(),
            r#"{"v":1,"running":"0.1.0","available":[]}"#,
        ),
        (
            Key::Conductor,
            Conductor {
                incarnation: u64::MAX,
                host_internal: "a".into(),
                host_external: "b".into(),
                rpc_port: 1973,
                http_port: 8888,
                release: "0.1.0".into(),
                started_ms: 3,
            }
            .into(),
            concat!(
                r#"{"v":1,"incarnation":18446744073709551615,"host_internal":"a","#,
                r#""host_external":"b","rpc_port":1973,"http_port":8888,"#,
                r#""release":"0.1.0","started_ms":3}"#
            ),
        ),
        (
            Key::Supervisor(ID),
            Supervisor {
                incarnation: 4,
                host_internal: "a".into(),
                host_external: "b".into(),
                port: 3000,
                http_port: None,
                labels: BTreeSet::from(["gpu".into()]),
                cores: 8,
                memory_bytes: 1 << 40,
                release: "0.1.0".into(),
                started_ms: 5,
                load_permille: 12,
            }
            .into(),
            concat!(
                r#"{"v":1,"incarnation":4,"host_internal":"a","host_external":"b","port":3000,"#,
                r#""labels":["gpu"],"cores":8,"memory_bytes":1099511627776,"#,
                r#""release":"0.1.0","started_ms":5,"load_permille":12}"#
            ),
        ),
        (
            Key::SupervisorFlags(ID),
            SupervisorFlags {
                leaders_disallowed: true,
                draining: false,
            }
            .into(),
            r#"{"v":1,"leaders_disallowed":true,"draining":false}"#,
        ),
        (
            Key::ModuleMeta(m()),
            ModuleMeta {
                state: "running".into(),
                read_target: Some(ID),
                append_target: Some(ID),
                operation: None,
                log_last: 6,
            }
            .into(),
            concat!(
                r#"{"v":1,"state":"running","read_target":"01234567-89ab-4cde-8f01-23456789abcd","#,
                r#""append_target":"01234567-89ab-4cde-8f01-23456789abcd","log_last":6}"#
            ),
        ),
        (
            Key::InstanceSpec(m(), ID),
            InstanceSpec {
                artifact: "ab".into(),
                tasks: 8,
                threads: 4,
                workers: 2,
                replication: 1,
                label: None,
                overrides: BTreeMap::from([("a.b".into(), json!(1))]),
                metadata: "x".into(),
                created_ms: 7,
            }
            .into(),
            concat!(
                r#"{"v":1,"artifact":"ab","tasks":8,"threads":4,"workers":2,"replication":1,"#,
                r#""overrides":{"a.b":1},"metadata":"x","created_ms":7}"#
            ),
        ),
        (
            Key::Worker(m(), ID, 1),
            Worker {
                supervisor: ID,
                port: Some(3001),
                replica_set: 0,
                groups: vec![GroupReplica {
                    group: 1,
                    replica: 0,
                    preferred_leader: true,
                }],
            }
            .into(),
            concat!(
                r#"{"v":1,"supervisor":"01234567-89ab-4cde-8f01-23456789abcd","port":3001,"#,
                r#""replica_set":0,"groups":[{"group":1,"replica":0,"preferred_leader":true}]}"#
            ),
        ),
        (
            Key::WorkerLive(m(), ID, 1),
            WorkerLive {
                incarnation: 8,
                supervisor: ID,
                pid: 9,
                host_internal: "a".into(),
                host_external: "b".into(),
                executors: vec![Executor {
                    group: 1,
                    port: 3002,
                }],
                phase: WorkerPhase::Serving,
                release: "0.1.0".into(),
                started_ms: 10,
            }
            .into(),
            concat!(
                r#"{"v":1,"incarnation":8,"supervisor":"01234567-89ab-4cde-8f01-23456789abcd","#,
                r#""pid":9,"host_internal":"a","host_external":"b","#,
                r#""executors":[{"group":1,"port":3002}],"phase":"serving","#,
                r#""release":"0.1.0","started_ms":10}"#
            ),
        ),
        (
            Key::GroupIsr(m(), ID, 1),
            GroupIsr {
                epoch: 2,
                isr: BTreeSet::from([0, 1]),
                osr: BTreeSet::from([2]),
                min_seen: 2,
            }
            .into(),
            r#"{"v":1,"epoch":2,"isr":[0,1],"osr":[2],"min_seen":2}"#,
        ),
        (
            Key::GroupLeader(m(), ID, 1),
            GroupLeader {
                replica: 0,
                worker: 1,
                incarnation: 8,
                epoch: 2,
            }
            .into(),
            r#"{"v":1,"replica":0,"worker":1,"incarnation":8,"epoch":2}"#,
        ),
        (
            Key::GroupResign(m(), ID, 1),
            GroupResign {
                target: 1,
                deadline_ms: 11,
            }
            .into(),
            r#"{"v":1,"target":1,"deadline_ms":11}"#,
        ),
        (
            Key::Setting(m(), crate::key::Level::Module, "o".into()),
            Setting {
                value: json!({"a": [1.5, null]}),
            }
            .into(),
            r#"{"v":1,"value":{"a":[1.5,null]}}"#,
        ),
        (
            Key::Paused(m(), "t".into()),
            Paused {
                since_ms: 12,
                by: "cli".into(),
            }
            .into(),
            r#"{"v":1,"since_ms":12,"by":"cli"}"#,
        ),
        (
            Key::Dependency(m(), "n".into()),
            Dependency {
                objects: vec![Object {
                    kind: "depot".into(),
                    name: "*d".into(),
                }],
            }
            .into(),
            r#"{"v":1,"objects":[{"kind":"depot","name":"*d"}]}"#,
        ),
        (
            Key::ModuleLog(m(), 6),
            ModuleLog {
                at_ms: 13,
                operation: None,
                action: "setOption".into(),
                outcome: "succeeded".into(),
                by: "ui".into(),
            }
            .into(),
            r#"{"v":1,"at_ms":13,"action":"setOption","outcome":"succeeded","by":"ui"}"#,
        ),
        (
            Key::Operation(ID),
            Operation {
                kind: OperationKind::Launch,
                module: Some("m".into()),
                instance: None,
                args: json!({"tasks": 8}),
                step: "assigned".into(),
                started_ms: 14,
                step_started_ms: 15,
                attempts: 1,
                cancelled: false,
                by: "cli".into(),
                outcome: Some(Outcome::RolledBack {
                    reason: "no nodes".into(),
                }),
            }
            .into(),
            concat!(
                r#"{"v":1,"kind":"launch","module":"m","args":{"tasks":8},"step":"assigned","#,
                r#""started_ms":14,"step_started_ms":15,"attempts":1,"cancelled":false,"#,
                r#""by":"cli","outcome":{"result":"rolled-back","reason":"no nodes"}}"#
            ),
        ),
        (
            Key::BackupLast("n".into()),
            BackupLast {
                id: "i".into(),
                completed_ms: 16,
                bytes: 17,
            }
            .into(),
            r#"{"v":1,"id":"i","completed_ms":16,"bytes":17}"#,
        ),
        (
            Key::BackupLock("n".into()),
            BackupLock {
                holder: 18,
                since_ms: 19,
            }
            .into(),
            r#"{"v":1,"holder":18,"since_ms":19}"#,
        ),
    ]
}

#[test]
fn every_value_has_its_golden_form() {
    for (key, record, text) in golden() {
        assert_eq!(String::from_utf8(record.encode()).unwrap(), text, "{key}");
        assert_eq!(Record::decode(&key, text.as_bytes()), Ok(record.clone()));
        assert!(record.belongs_to(&key));
    }
    let all = golden();
    for (key, ..) in &all {
        let fits = all.iter().filter(|(_, record, _)| record.belongs_to(key));
        assert_eq!(fits.count(), 1, "{key}");
    }
}

#[test]
fn fields_of_a_newer_release_are_passed_over() {
    for (key, record, text) in golden() {
        let more = text.replacen('{', r#"{"new field":[{}],"#, 1);
        assert_eq!(Record::decode(&key, more.as_bytes()), Ok(record), "{key}");
    }
}

#[test]
fn another_version_is_refused_by_its_number() {
    for (key, _, text) in golden() {
        for (other, says) in [
            ("\"v\":2", "its version is 2"),
            ("\"w\":1", "missing field `v`"),
        ] {
            let error = Record::decode(&key, text.replacen("\"v\":1", other, 1).as_bytes());
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains(says) && error.contains(&key.to_string()),
                "{error}"
            );
        }
    }
}

#[test]
fn broken_values_are_errors_and_never_a_crash() {
    for (key, _, text) in golden() {
        for end in 0..text.len() {
            assert!(
                Record::decode(&key, &text.as_bytes()[..end]).is_err(),
                "{key}: {end}"
            );
        }
        for at in 0..text.len() {
            for byte in [0, b'"', b'{', b'9', 0xff] {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = byte;
                // Some are still values; none may panic.
                let _ = Record::decode(&key, &bytes);
            }
        }
        let large = vec![b' '; VALUE_BYTES_MAX + 1];
        assert!(Record::decode(&key, &large).is_err());
        assert!(Record::decode(&key, "[".repeat(100_000).as_bytes()).is_err());
    }
}
