//! What is declared, which value holds, and what is refused.

use serde_json::json;

use super::*;
use crate::mutants::{self, Mutant};

fn depot(name: &str) -> Level {
    Level::Depot(name.to_owned())
}

fn topology(name: &str) -> Level {
    Level::Topology(name.to_owned())
}

#[test]
fn declarations_are_sorted_and_take_their_defaults() {
    assert!(DECLARED.is_sorted_by(|a, b| a.name < b.name));
    for option in DECLARED {
        let name = option.name;
        assert!(option.takes(&option.default()), "{name}");
        assert!(option.help.ends_with('.'), "{name}: {}", option.help);
        assert_eq!(find(name), Ok(*option));
        let unit = name.rsplit('.').next().unwrap_or_default();
        if let Kind::Whole { unit: counted, .. } = option.kind {
            let expected = match unit {
                "millis" => "ms",
                "seconds" => "s",
                _ => continue,
            };
            assert_eq!(counted, expected, "{name}");
        }
    }
}

/// What `OPTIONS.md` says is what is declared. `UPDATE_SCRIPTS=1 cargo test` writes it anew.
#[test]
fn the_table_of_the_documentation_is_the_declaration() {
    let mut text = "# Dynamic options\n\nMade from `src/options/declared.rs`; a test compares. \
                    `rama list-options` prints the same.\n\n| option | set on | values | \
                    default | meaning |\n|---|---|---|---|---|\n"
        .to_owned();
    for option in DECLARED {
        let (name, levels, range) = (option.name, option.scope.levels(), option.range());
        let (default, help) = (option.default(), option.help);
        text += &format!("| `{name}` | {levels} | {range} | `{default}` | {help} |\n");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/OPTIONS.md");
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

/// The own value, then that of the module, then the default (spec operations §6.3).
fn precedence() -> [u64; 4] {
    let name = MICROBATCH_MAX_RECORDS.name;
    let whole = |settings: &Settings, at: &str| settings.whole(&MICROBATCH_MAX_RECORDS, &depot(at));
    let none = Settings::new();
    let module = none.clone().with(Level::Module, name, 7);
    let both = module.clone().with(depot("*a"), name, 3);
    [
        whole(&none, "*a"),
        whole(&module, "*a"),
        whole(&both, "*a"),
        whole(&both, "*b"),
    ]
}

#[test]
fn the_most_specific_value_holds() {
    assert_eq!(precedence(), [16_384, 7, 3, 7]);
}

#[test]
fn mutant_module_before_own_is_red() {
    mutants::set(Some(Mutant::ModuleBeforeOwn));
    let wrong = precedence();
    mutants::set(None);
    assert_ne!(wrong, precedence());
}

#[test]
fn what_is_unset_falls_back_to_what_is_above() {
    let name = ACK_FAILURE_ON_ANY.name;
    let mut settings =
        Settings::new()
            .with(Level::Module, name, false)
            .with(depot("*a"), name, true);
    let holds = |settings: &Settings| settings.switch(&ACK_FAILURE_ON_ANY, &depot("*a"));
    assert!(holds(&settings));
    assert_eq!(settings.unset(&depot("*a"), name), Some(json!(true)));
    assert!(!holds(&settings));
    assert_eq!(settings.unset(&depot("*a"), name), None);
    settings.unset(&Level::Module, name);
    assert!(holds(&settings) && settings.is_empty());
}

/// Another release may have left what this one does not take.
#[test]
fn a_value_that_is_not_taken_counts_as_not_set() {
    let name = STREAM_TIMEOUT.name;
    let settings = Settings::new()
        .with(Level::Module, name, 9)
        .with(topology("etl"), name, "soon")
        .with(Level::Module, "depot.shape", "round");
    assert_eq!(settings.whole(&STREAM_TIMEOUT, &topology("etl")), 9);
    let useless: Vec<String> = settings.useless().map(|why| why.to_string()).collect();
    assert_eq!(
        useless,
        [
            "there is no option depot.shape",
            "topology.stream.timeout.seconds does not take \"soon\""
        ]
    );
}

#[test]
fn weights_that_are_left_out_keep_their_defaults() {
    let option = &EVENT_CATEGORY_PROPORTIONS;
    let settings = Settings::new().with(Level::Module, option.name, json!({"client": 9}));
    let mut expected = EVENT_CATEGORIES.to_vec();
    expected[1].1 = 9;
    assert_eq!(settings.weights(option, &Level::Module), expected);
    assert_eq!(settings.value(option, &Level::Module)["background"], 100);
    for wrong in [json!({"client": 0}), json!({"clients": 1}), json!(3)] {
        assert!(!option.takes(&wrong), "{wrong}");
    }
}

#[test]
fn every_refusal_names_what_would_do() {
    let objects = Objects::of_manifest(&json!({
        "topologies": [{"name": "etl", "kind": "stream"}, {"name": "counts", "kind": "microbatch"}],
        "depots": [{"name": "*lines"}, {"name": "*users"}],
        "pstates": [],
    }));
    let refusal = |level: Level, option: &str, value: Value| {
        let refused = check(Some(&objects), &level, option, &value).unwrap_err();
        format!("{refused}; {}", refused.hint())
    };
    let records = MICROBATCH_MAX_RECORDS.name;
    let timeout = STREAM_TIMEOUT.name;
    let seen = [
        refusal(Level::Module, "depot.microbatch.max.record", json!(1)),
        refusal(Level::Module, "replication.min.isr", json!(1)),
        refusal(topology("etl"), records, json!(1)),
        refusal(depot("*lines"), EVENT_TARGET_MILLIS.name, json!(1)),
        refusal(depot("*line"), records, json!(1)),
        refusal(Level::PState("$$p".into()), PROXY_LIMIT.name, json!(1)),
        refusal(topology("counts"), timeout, json!(1)),
        refusal(topology("etl"), timeout, json!(0)),
        refusal(topology("etl"), timeout, json!(1.5)),
        refusal(depot("*users"), ACK_FAILURE_ON_ANY.name, json!("yes")),
        refusal(
            Level::Module,
            EVENT_CATEGORY_PROPORTIONS.name,
            json!({"x": 1}),
        ),
    ];
    let expected = [
        "there is no option depot.microbatch.max.record; did you mean \
         depot.microbatch.max.records? `rama listOptions` shows all",
        "there is no option replication.min.isr; `rama listOptions` shows those that there are",
        "depot.microbatch.max.records cannot be set on a topology; set it on a depot or module",
        "worker.event.target.max.millis cannot be set on a depot; set it on a module",
        "the module has no depot *line; it has *lines, *users",
        "the module has no pstate $$p; it has no pstate at all",
        "topology.stream.timeout.seconds has no meaning for topology counts, which is a \
         microbatch; it has one for etl",
        "topology.stream.timeout.seconds does not take 0; it takes 1 to 86400 s",
        "topology.stream.timeout.seconds does not take 1.5; it takes 1 to 86400 s",
        "depot.ack.failure.on.any.streaming.failure does not take \"yes\"; it takes true or false",
        "worker.event.category.proportions does not take {\"x\":1}; it takes an object of \
         weights, 1 to 1000, for isr.replication, client, low.latency, flex.latency, \
         mirror.client, background",
    ];
    for (seen, expected) in seen.iter().zip(expected) {
        assert_eq!(seen, expected);
    }
    let good = check(Some(&objects), &topology("etl"), timeout, &json!(5));
    assert_eq!(good, Ok(&STREAM_TIMEOUT));
    check(None, &topology("any"), timeout, &json!(5)).unwrap();
}
