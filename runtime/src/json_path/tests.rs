//! JSON paths: the specification's vectors, the same answers as typed paths, and messages.

use std::collections::BTreeMap;

use rama_wire::Record;
use serde_json::{Value, json};

use super::{Step, compile, value};
use crate::plan::{Limits, Plan, evaluate};
use crate::schema::{List, Map, Root, Schema, Set};
use crate::test_pstate::TestPState;

fn select<S: Root>(state: &TestPState<S>, path: Value) -> Vec<Value> {
    let compiled = compile(&S::desc(), &path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let plan = Plan::from_bytes(&compiled.plan().to_bytes()).expect("a plan survives its encoding");
    assert_eq!(plan, *compiled.plan());
    let (read, space) = state.read_access();
    let answer = evaluate(read, space, &plan, Limits::default()).expect("evaluates");
    compiled.results(&answer).expect("decodes")
}

fn refused<S: Schema>(path: Value) -> String {
    compile(&S::desc(), &path).expect_err("refused").to_string()
}

fn inside(value: Value, path: Value) -> Vec<Value> {
    let steps = path
        .as_array()
        .expect("a list")
        .iter()
        .map(|step| Step::parse(step, 0));
    let steps: Vec<Step> = steps.collect::<Result<_, _>>().expect("parses");
    let mut found = Vec::new();
    value::navigate(&value, &steps, &mut |value| found.push(value));
    found
}

/// §17.1, the selects of the first table, inside one value.
#[test]
fn vectors_of_the_specification_hold_inside_a_value() {
    let d = || json!({ "a0": { "a1": [9, 3, 6], "b1": [0, 8] }, "b0": { "c1": ["x", "y"] } });
    let check = |value: Value, path: Value, wanted: Value| {
        assert_eq!(Value::from(inside(value, path.clone())), wanted, "{path}");
    };
    check(d(), json!(["a0", "a1", ["nth", 1]]), json!([3]));
    check(
        d(),
        json!(["a0", ["mapVals"], ["all"]]),
        json!([9, 3, 6, 0, 8]),
    );
    check(
        d(),
        json!(["a0", ["mapVals"], ["all"], ["filterLessThan", 7]]),
        json!([3, 6, 0]),
    );
    check(d(), json!([["key", "b0", "c1"], ["first"]]), json!(["x"]));
    check(d(), json!(["z", ["first"]]), json!([]));
    check(
        d(),
        json!(["a0", ["all"]]),
        json!([["a1", [9, 3, 6]], ["b1", [0, 8]]]),
    );
    let eight = json!(["filterSelected", ["mapVals"], ["all"], ["filterEqual", 8]]);
    check(
        d(),
        json!([["mapVals"], eight, "a1", ["all"]]),
        json!([9, 3, 6]),
    );
    check(
        d(),
        json!([["key", "a0", "a1"], ["sublist", 1, 3]]),
        json!([[3, 6]]),
    );
    let single = || json!({ "a": 1 });
    check(single(), json!(["a", ["nullToVal", "xyz"]]), json!([1]));
    check(single(), json!(["b", ["nullToVal", "xyz"]]), json!(["xyz"]));
    let list = || json!({ "a": [1, 5, 10] });
    let conditional =
        |condition: Value| json!(["a", ["ifPath", condition, ["nth", 1], ["nth", 2]]]);
    check(
        list(),
        conditional(json!([["nth", 0], ["filterEqual", 1]])),
        json!([5]),
    );
    check(
        list(),
        conditional(json!([["all"], ["filterEqual", "x"]])),
        json!([10]),
    );
    check(
        list(),
        json!(["a", ["ifPath", ["stop"], ["stay"]], ["nth", 0]]),
        json!([]),
    );
    let abc = || json!({ "a": 1, "b": 2, "c": 3 });
    check(abc(), json!([["multiPath", "a", "b"]]), json!([1, 2]));
    let lists = json!({ "a": [1, 2, 3], "b": [4, 5] });
    let small = json!(["subselect", ["all"], ["filterLessThan", 3]]);
    check(lists, json!([["mapVals"], small]), json!([[1, 2], []]));
    check(abc(), json!([["must", "z"]]), json!([]));
    check(abc(), json!([["mapKey", "b"]]), json!(["b"]));
    check(json!([1, 2]), json!([["setElem", 3]]), json!([]));
    check(abc(), json!([["view", "size"]]), json!([3]));
}

fn shop() -> TestPState<Map<String, Map<u64, String>>> {
    let state = TestPState::<Map<String, Map<u64, String>>>::new();
    for (key, value) in [(1, "a"), (2, "b"), (3, "c"), (5, "e"), (7, "g")] {
        state
            .local()
            .key("m")
            .key(&key)
            .set(state.task(), value.to_owned());
    }
    state
}

/// §17.1: the range vectors, on stored entries.
#[test]
fn range_vectors_of_the_specification_hold_on_entries() {
    let state = shop();
    let check = |path: Value, wanted: Value| {
        assert_eq!(Value::from(select(&state, path.clone())), wanted, "{path}");
    };
    check(
        json!(["m", ["sortedMapRange", 2, 5]]),
        json!([[[2, "b"], [3, "c"]]]),
    );
    check(
        json!(["m", ["sortedMapRangeFrom", 2, 2]]),
        json!([[[2, "b"], [3, "c"]]]),
    );
    check(
        json!(["m", ["sorted-map-range-to", 7, 2]]),
        json!([[[3, "c"], [5, "e"]]]),
    );
    check(
        json!(["m", ["sortedMapRange", 2, 5, { "inclusive-start?": false, "inclusive-end?": true }]]),
        json!([[[3, "c"], [5, "e"]]]),
    );
    check(
        json!(["m", ["sortedMapRangeTo", 7, { "inclusive?": true, "max-amt": 1 }]]),
        json!([[[7, "g"]]]),
    );
    check(
        json!(["m", ["sortedMapRangeFromStart", 1], ["mapVals"]]),
        json!(["a"]),
    );
    check(
        json!(["m", ["sortedMapRangeToEnd", 2], ["mapKeys"]]),
        json!([5, 7]),
    );
    check(
        json!(["m", ["sortedMapRangeFrom", null], ["view", "size"]]),
        json!([5]),
    );
    check(
        json!(["m", ["sortedMapRange", 2, 4], ["all"], ["last"]]),
        json!(["b", "c"]),
    );
    check(
        json!(["m", ["mapVals"], ["filterGreaterThan", "d"]]),
        json!(["e", "g"]),
    );
    check(json!(["m", ["first"]]), json!([[1, "a"]]));
    check(json!(["m", ["last"]]), json!([[7, "g"]]));
    check(json!(["m", ["view", "size"]]), json!([5]));
    check(json!(["m", ["view", "contains", 3]]), json!([true]));
    check(json!([["key", "m", 3]]), json!(["c"]));
    check(json!(["m", 4]), json!([null]));
    check(json!(["m", ["must", 4]]), json!([]));
    check(json!(["nobody", ["view", "size"]]), json!([0]));
    check(json!([["pkey", "m"], ["mapKeys"]]), json!(["m"]));
    check(
        json!([["pkey", "m"], ["view", "contains", "x"]]),
        json!([false]),
    );
    check(json!([["pkey", "m"], ["view", "size"]]), json!([1]));
}

#[test]
fn sets_lists_and_values_are_navigated_in_place() {
    let sets = TestPState::<Map<u64, Set<String>>>::new();
    for element in ["x", "y", "z"] {
        sets.local().key(&1).insert(sets.task(), element);
    }
    assert_eq!(
        select(&sets, json!([1, ["all"]])),
        [json!("x"), json!("y"), json!("z")]
    );
    assert_eq!(
        select(&sets, json!([1, ["sortedSetRangeFrom", "y"]])),
        [json!(["y", "z"])]
    );
    assert_eq!(select(&sets, json!([1, ["setElem", "y"]])), [json!("y")]);
    assert_eq!(
        select(&sets, json!([1, ["setElem", "q"]])),
        Vec::<Value>::new()
    );
    assert_eq!(select(&sets, json!([1, ["last"]])), [json!("z")]);
    assert_eq!(
        select(&sets, json!(["#__L1", ["view", "size"]])),
        [json!(3)]
    );

    let lists = TestPState::<Map<u64, List<Vec<u8>>>>::new();
    for value in [vec![1], vec![2, 3], vec![]] {
        lists.local().key(&1).append(lists.task(), value);
    }
    assert_eq!(
        select(&lists, json!([1, ["sublist", 1, 9]])),
        [json!([[2, 3], []])]
    );
    assert_eq!(select(&lists, json!([1, 1, ["last"]])), [json!(3)]);
    assert_eq!(
        select(&lists, json!([1, ["all"], ["view", "size"]])),
        [json!(1), json!(2), json!(0)]
    );
    assert_eq!(select(&lists, json!([1, ["view", "size"]])), [json!(3)]);

    let top = TestPState::<BTreeMap<String, u64>>::new();
    top.local()
        .set(top.task(), BTreeMap::from([("a".to_owned(), 4)]));
    assert_eq!(select(&top, json!(["a"])), [json!(4)]);
    assert_eq!(select(&top, json!([])), [json!({ "a": 4 })]);
}

#[test]
fn the_route_is_the_first_key() {
    let desc = <Map<String, Map<u64, String>>>::desc();
    let compiled = compile(&desc, &json!(["m", 3])).expect("compiles");
    assert_eq!(compiled.route(), Some(&b"m\0"[..]));
    let compiled = compile(&desc, &json!([["pkey", "p"], "m", 3])).expect("compiles");
    assert_eq!(compiled.route(), Some(&b"p\0"[..]));
    assert_eq!(
        compile(&desc, &json!([["mapKeys"]]))
            .expect("compiles")
            .route(),
        None
    );
}

#[test]
fn mistakes_name_the_step_and_the_way_out() {
    type Nested = Map<String, Map<u64, String>>;
    insta::assert_snapshot!(
        "mistakes",
        [
            refused::<Nested>(json!("m")),
            refused::<Nested>(json!(["m"])),
            refused::<Nested>(json!([])),
            refused::<Nested>(json!(["m", "x"])),
            refused::<Nested>(json!([["mapVals"]])),
            refused::<Nested>(json!(["m", ["sortedMapRange", 1]])),
            refused::<Nested>(json!(["m", ["sortedSetRange", 1, 2]])),
            refused::<Nested>(json!(["m", 1, ["collect", "x"]])),
            refused::<Map<u8, Set<u8>>>(json!([1, 2])),
            refused::<Map<u8, Set<u8>>>(json!([1])),
            refused::<Map<u8, List<Map<u8, u8>>>>(json!([1, ["all"]])),
            refused::<Map<u8, List<u8>>>(json!([300])),
        ]
        .join("\n")
    );
}

/// Bytes that are not a plan are refused, and no plan can make the evaluation panic.
#[test]
fn hostile_plans_are_refused_or_answered() {
    let state = shop();
    let (read, space) = state.read_access();
    let compiled = compile(
        &<Map<String, Map<u64, String>>>::desc(),
        &json!([["mapKeys"]]),
    );
    let bytes = compiled.expect("compiles").plan().to_bytes();
    for len in 0..bytes.len() {
        assert!(
            Plan::from_bytes(&bytes[..len]).is_err(),
            "{len} bytes of a plan are no plan"
        );
    }
    for bit in 0..bytes.len() * 8 {
        let mut hostile = bytes.clone();
        hostile[bit / 8] ^= 1 << (bit % 8);
        if let Ok(plan) = Plan::from_bytes(&hostile) {
            let _ = evaluate(read, space, &plan, Limits::default());
        }
    }
    let everything = compile(
        &<Map<String, Map<u64, String>>>::desc(),
        &json!(["m", ["all"]]),
    );
    let limits = Limits {
        rows_max: 3,
        bytes_max: 1 << 20,
    };
    let refused = evaluate(read, space, everything.expect("compiles").plan(), limits);
    let message = refused.expect_err("too large").to_string();
    assert!(
        message.starts_with("the selection has more than 3 rows"),
        "{message}"
    );
    assert!(super::rows(&[1, 255, 255, 255, 255]).is_err());
    assert!(super::rows(&5u64.to_bytes()).is_err());
}
