//! JSON paths: the specification's vectors, the same answers as typed paths, and messages.

use std::collections::BTreeMap;

use rama_wire::Record;
use serde_json::{Value, json};

use super::{Step, compile, compile_with, value};
use crate::plan::{Function, FunctionDef, Functions, Ground, Limits, Plan, evaluate, evaluate_on};
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

/// §17.1 and §3: what else can be said about one value: collected values, parts, indices, branches.
#[test]
fn further_navigators_work_inside_a_value() {
    let check = |value: Value, path: Value, wanted: Value| {
        assert_eq!(Value::from(inside(value, path.clone())), wanted, "{path}");
    };
    let ab = || json!({ "a": 1, "b": 2 });
    // {a 1 b 2}: collectOne(key b).key a → [2 1]
    check(ab(), json!([["collectOne", "b"], "a"]), json!([[2, 1]]));
    // {a 1 b 2}: collect(mapKeys).multiPath(a,b).putCollected xyz.collectOne stay
    let path = json!([
        ["collect", ["mapKeys"]],
        ["multiPath", "a", "b"],
        ["putCollected", "xyz"],
        ["collectOne", ["stay"]]
    ]);
    let wanted = json!([[["a", "b"], "xyz", 1, 1], [["a", "b"], "xyz", 2, 2]]);
    check(ab(), path, wanted);
    let gone = json!([["putval", 7], "a", ["dispenseCollected"]]);
    check(ab(), gone, json!([1]));
    let list = || json!([5, 6, 7, 8]);
    check(
        json!([5, 6]),
        json!([["indexedVals"]]),
        json!([[0, 5], [1, 6]]),
    );
    check(list(), json!([["index", 3]]), json!([3]));
    check(list(), json!([["index", 4]]), json!([]));
    check(
        list(),
        json!([["filteredList", ["filterLessThan", 7]]]),
        json!([[5, 6]]),
    );
    check(list(), json!([["subset", 6, 9]]), json!([[6]]));
    check(
        list(),
        json!([["sortedSetRangeFrom", 6, 2]]),
        json!([[6, 7]]),
    );
    check(
        list(),
        json!([["sortedSetRangeTo", 8, { "inclusive?": true, "max-amt": 1 }]]),
        json!([[8]]),
    );
    check(ab(), json!([["subMap", "b", "c"]]), json!([{ "b": 2 }]));
    check(
        ab(),
        json!([["sorted-map-range", "a", "b"]]),
        json!([{ "a": 1 }]),
    );
    let numbers = json!({ "1": 1, "10": 10, "2": 2, "7": 7 });
    let two = json!([["sortedMapRange", 2, 10, { "inclusive-end?": true }], ["mapVals"]]);
    check(numbers.clone(), two, json!([10, 2, 7]));
    check(
        numbers,
        json!([["sortedMapRangeTo", 10, 2]]),
        json!([{ "2": 2, "7": 7 }]),
    );
    let arms = json!(["condPath", ["must", "z"], "a", ["must", "b"], "b"]);
    check(ab(), json!([arms]), json!([2]));
    let up = json!(["continueThenStay", ["mapVals"]]);
    check(ab(), json!([up]), json!([1, 2, { "a": 1, "b": 2 }]));
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
    check(json!([["must", "m"], 4]), json!([null]));
    check(json!([["must", "m"], ["view", "size"]]), json!([5]));
    check(json!([["must", "n"], 4]), json!([]));
    check(json!([["must", "n"], ["view", "size"]]), json!([]));
    check(json!([["must", "n", 4]]), json!([]));
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

fn functions() -> Functions {
    const LONGER: Function<String, bool, u64> = Function::named("longer");
    const LENGTH: Function<String, u64> = Function::named("length");
    [
        FunctionDef::of(LONGER, |text, than| text.len() as u64 > *than),
        FunctionDef::of(LENGTH, |text, ()| text.len() as u64),
    ]
    .into_iter()
    .collect()
}

/// P-34: filters and views by the name of a function run on the task; what follows, on their answers.
#[test]
fn functions_are_called_by_name() {
    let state = shop();
    let functions = functions();
    state
        .local()
        .key("m")
        .key(&9)
        .set(state.task(), "long".to_owned());
    let (read, space) = state.read_access();
    let ground = Ground {
        read,
        space,
        functions: &functions,
        limits: Limits::default(),
    };
    let desc = <Map<String, Map<u64, String>>>::desc();
    let select = |path: Value| {
        let compiled = compile_with(&desc, &functions, &path).expect("compiles");
        let plan = Plan::from_bytes(&compiled.plan().to_bytes()).expect("a plan");
        assert!(
            matches!(plan, Plan::Through { .. }),
            "{path} runs on the task"
        );
        let answer = evaluate_on(ground, &plan).expect("evaluates");
        Value::from(compiled.results(&answer).expect("decodes"))
    };
    let longer = json!(["filterPred", "longer", 1]);
    assert_eq!(select(json!(["m", ["mapVals"], longer])), json!(["long"]));
    let length = json!(["view", "length"]);
    assert_eq!(select(json!(["m", 9, length])), json!([4]));
    assert_eq!(select(json!(["m", 1, longer])), json!([]));
    assert_eq!(select(json!(["m", 4, longer])), json!([]));
    let lengths = json!([
        "m",
        ["sortedMapRangeFrom", 7],
        ["mapVals"],
        length,
        ["filterGreaterThan", 1]
    ]);
    assert_eq!(select(lengths), json!([4]));
    assert_eq!(select(json!([["key", "m"], 9, longer, length])), json!([4]));

    let refused = |path: Value| {
        let refused = compile_with(&desc, &functions, &path);
        refused.expect_err("refused").to_string()
    };
    insta::assert_snapshot!(
        "mistakes_with_functions",
        [
            refused(json!(["m", 1, ["filterPred", "shorter", 1]])),
            refused(json!(["m", 1, ["filterPred", "length"]])),
            refused(json!(["m", 1, length, longer])),
            refused(json!(["m", 1, ["filterPred", "longer", "x"]])),
            refused(json!(["m", 1, ["filterPred", "longer"]])),
            refused(json!(["m", ["all"], longer])),
            refused(json!(["m", ["sortedMapRangeFrom", 1], longer])),
        ]
        .join("\n")
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
            refused::<Nested>(json!(["m", 1, ["gather", "x"]])),
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
