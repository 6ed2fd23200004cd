//! What the JSON looks like: other languages read it.

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use super::*;

const ID: Uuid = Uuid::from_u128(0x0123_4567_89ab_4cde_8f01_2345_6789_abcd);

#[test]
fn a_deployment_needs_only_what_has_no_default() {
    let deploy: Deploy = serde_json::from_value(json!({
        "action": "launch", "module": "M", "artifact": "ab", "manifest": {},
        "tasks": 8, "threads": 4, "workers": 2, "someday": true,
    }))
    .expect("the rest has defaults");
    assert_eq!(deploy.replication_factor, 1);
    assert!(!deploy.dry_run);
    assert_eq!(deploy.options, OptionsByLevel::default());
}

#[test]
fn options_name_their_level_and_object() {
    let setting = OptionSetting {
        level: Level::Topology("t".into()),
        option: "o".into(),
        value: json!(1),
    };
    let text = json!({"level": "topology", "object": "t", "option": "o", "value": 1});
    assert_eq!(serde_json::to_value(&setting).unwrap(), text);
    let module: OptionSetting =
        serde_json::from_value(json!({"level": "module", "option": "o"})).unwrap();
    assert_eq!(module.level, Level::Module);
}

#[test]
fn an_entry_of_the_log_tells_all_that_was_done_together() {
    let entry = LogEntry {
        number: 3,
        at_ms: 4,
        by: "me".into(),
        done: vec![
            Done::SetOption(OptionSetting {
                level: Level::Depot("*d".into()),
                option: "o".into(),
                value: json!(1),
            }),
            Done::UnsetOption(Unset {
                level: Level::Module,
                option: "p".into(),
            }),
            Done::Operation {
                operation: ID,
                kind: Kind::Launch,
                outcome: Outcome::Succeeded,
            },
        ],
    };
    let text = json!({"number": 3, "atMs": 4, "by": "me", "done": [
        {"what": "set-option", "level": "depot", "object": "*d", "option": "o", "value": 1},
        {"what": "unset-option", "level": "module", "option": "p"},
        {"what": "operation", "operation": ID, "kind": "launch",
         "outcome": {"result": "succeeded"}},
    ]});
    assert_eq!(serde_json::to_value(&entry).unwrap(), text);
    assert_eq!(serde_json::from_value::<LogEntry>(text).unwrap(), entry);
}

#[test]
fn a_module_is_told_in_the_words_of_rama() {
    let status = ModuleStatus {
        module: "M".into(),
        module_state: "RUNNING".into(),
        detail: String::new(),
        read_target_id: Some(ID),
        append_target_id: None,
        instances: vec![ID],
        operation: None,
        last_operation: Some(Operation {
            id: ID,
            kind: Kind::Launch,
            module: "M".into(),
            instance: Some(ID),
            step: "done".into(),
            waits_for: String::new(),
            started_ms: 1,
            by: "me".into(),
            outcome: Some(Outcome::RolledBack {
                reason: "why".into(),
            }),
        }),
        paused: vec![],
    };
    let value = serde_json::to_value(&status).unwrap();
    assert_eq!(value["moduleState"], "RUNNING");
    assert_eq!(value["readTargetId"], json!(ID));
    assert_eq!(value["appendTargetId"], json!(null));
    let outcome = json!({"result": "rolled-back", "reason": "why"});
    assert_eq!(value["lastOperation"]["outcome"], outcome);
    assert_eq!(
        serde_json::from_value::<ModuleStatus>(value).unwrap(),
        status
    );
}

#[test]
fn names_are_encoded_into_paths() {
    let path = paths::fill(paths::PAUSE, &["a/b c", "t"]);
    assert_eq!(path, "/v1/modules/a%2Fb%20c/topologies/t/pause");
    let options = BTreeMap::from([("o".to_owned(), json!(true))]);
    let by_level = OptionsByLevel {
        module: options,
        ..OptionsByLevel::default()
    };
    assert_eq!(serde_json::to_value(by_level).unwrap()["module"]["o"], true);
}
