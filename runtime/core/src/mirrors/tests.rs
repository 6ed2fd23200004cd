//! What one module says of another, by manifests.

use serde_json::json;

use super::*;

fn offers() -> Offers {
    Offers::of_manifest(&json!({
        "depots": [
            {"name": "*events", "kind": "depot", "record": {"type": "u64", "fingerprint": "aa"}},
            {"name": "*hourly", "kind": "tick depot", "record": {"type": "()", "fingerprint": "00"}},
        ],
        "pstates": [
            {"name": "$$open", "private": false, "type": "Map<u64, u64>", "fingerprint": "bb"},
            {"name": "$$hidden", "private": true, "type": "Map<u64, u64>", "fingerprint": "bb"},
        ],
        "queries": [{
            "name": "reach",
            "arguments": {"type": "u64", "fingerprint": "aa"},
            "result": {"type": "bool", "fingerprint": "cc"},
        }],
    }))
}

fn used(kind: &str, name: &str, types: &[&str]) -> Use {
    let manifest = json!({"mirrors": [
        {"module": "Shop", "kind": kind, "name": name, "types": types, "type": "String"},
    ]});
    uses_of_manifest(&manifest).remove(0)
}

/// what is missing, private, of another type or without records is told, with what to do.
#[test]
fn what_another_module_does_not_offer_is_told() {
    let uses = [
        used("depot", "*events", &["aa"]),
        used("PState", "$$open", &["bb"]),
        used("query", "reach", &["aa", "cc"]),
        used("depot", "*event", &["aa"]),
        used("depot", "*events", &["ab"]),
        used("depot", "*hourly", &["00"]),
        used("PState", "$$hidden", &["bb"]),
        used("query", "reach", &["aa", "cd"]),
    ];
    let told: Vec<String> = offers().lacks(&uses).iter().map(Lack::to_string).collect();
    let expected = [
        "depot *event of module Shop: it has no such depot (it has *events, *hourly)",
        "depot *events of module Shop: its type is u64 there and String here; build both from the \
         same constant",
        "depot *hourly of module Shop: it is a tick depot, which has no records; declare one of \
         your own",
        "PState $$hidden of module Shop: it is private; drop .private() there, or use a query that \
         reads it",
        "query reach of module Shop: its type is u64 -> bool there and String here; build both from \
         the same constant",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_manifest_without_mirrors_uses_nothing() {
    assert!(uses_of_manifest(&json!({"module": "M"})).is_empty());
    assert!(Offers::of_manifest(&json!({})).lacks(&[]).is_empty());
}
