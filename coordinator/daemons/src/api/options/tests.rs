//! What a deployment may set, and what is listed.

use serde_json::{Value, json};

use super::*;

fn deploy(options: Value) -> Deploy {
    serde_json::from_value(json!({
        "action": "launch", "module": "Bank", "artifact": "ab", "tasks": 8, "threads": 4,
        "workers": 2, "options": options,
        "manifest": {
            "topologies": [{"name": "bank", "kind": "microbatch"}],
            "depots": [{"name": "*deposits"}],
            "pstates": [{"name": "$$funds"}],
        },
    }))
    .unwrap()
}

fn settings(options: Value) -> Result<Settings, String> {
    let deploy = deploy(options);
    let objects = Objects::of_manifest(&deploy.manifest);
    of_deploy(&deploy, &objects).map_err(|refusal| format!("{refusal:?}"))
}

#[test]
fn a_deployment_sets_options_at_all_four_levels() {
    let set = settings(json!({
        "module": {"worker.event.target.max.millis": 2},
        "topology": {"bank": {"topology.microbatch.force.delay.millis": 3}},
        "depot": {"deposits": {"depot.max.fetch": 4}},
        "pstate": {"$$funds": {"pstate.proxy.limit": 5}},
    }));
    let set = set.unwrap();
    let found: Vec<String> = set
        .iter()
        .map(|(level, option, value)| format!("{level}: {option} = {value}"))
        .collect();
    assert_eq!(
        found,
        [
            "module: worker.event.target.max.millis = 2",
            "topology bank: topology.microbatch.force.delay.millis = 3",
            "depot *deposits: depot.max.fetch = 4",
            "pstate $$funds: pstate.proxy.limit = 5",
        ]
    );
}

/// Spec operations §6.3: unknown names and wrong levels are refused, before anything is done.
#[test]
fn a_deployment_with_a_wrong_option_is_refused() {
    let refused = |options| settings(options).unwrap_err();
    let text = refused(json!({"module": {"depot.max.fetsch": 1}}));
    assert!(text.contains("of module Bank") && text.contains("did you mean depot.max.fetch?"));
    let text = refused(json!({"topology": {"bank": {"depot.max.fetch": 1}}}));
    assert!(text.contains("cannot be set on a topology"), "{text}");
    let text = refused(json!({"depot": {"*d": {"depot.max.fetch": 1}}}));
    assert!(text.contains("it has *deposits"), "{text}");
    let text = refused(json!({"module": {"depot.max.fetch": "many"}}));
    assert!(text.contains("it takes 1 to 65536 records"), "{text}");
}

#[test]
fn a_list_shows_what_holds_and_what_another_release_left() {
    let set = Settings::new()
        .with(Level::Module, "depot.max.fetch", 7)
        .with(Level::Depot("*d".to_owned()), "depot.max.fetch", 8)
        .with(Level::Module, "of.yore", 9);
    let infos = infos(&set);
    assert_eq!(infos.len(), DECLARED.len() + 2);
    let fetch: Vec<_> = infos
        .iter()
        .filter(|info| info.option == "depot.max.fetch")
        .collect();
    assert_eq!((&fetch[0].value, fetch[0].set), (&json!(7), true));
    assert_eq!(fetch[0].default, json!(512));
    assert_eq!(
        (&fetch[1].value, &fetch[1].level),
        (&json!(8), &ApiLevel::Depot("*d".into()))
    );
    let old = infos.iter().find(|info| info.option == "of.yore").unwrap();
    assert!(
        old.set && old.help.contains("there is no option of.yore"),
        "{}",
        old.help
    );
    let unset = infos.iter().filter(|info| !info.set);
    assert!(unset.clone().all(|info| info.value == info.default));
}
