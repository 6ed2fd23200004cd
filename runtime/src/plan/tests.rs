//! What clients ask: functions by name, several paths at once, pages, and bytes that are no plan.

use std::cell::Cell;
use std::ops::Bound::{Excluded, Included, Unbounded};

use rama_wire::Record;

use super::*;
use crate::pstate::PState;
use crate::schema::{List, Map, Set};
use crate::test_pstate::TestPState;

type Accounts = Map<u64, Map<u64, i64>>;

const FUNDS: PState<Accounts> = PState::named("$$funds");
const TOTALS: PState<Map<u64, i64>> = PState::named("$$totals");
const NOTES: PState<Map<u64, List<String>>> = PState::named("$$notes");
const FRIENDS: PState<Map<u64, Map<u64, Set<u64>>>> = PState::named("$$friends");

const ABOVE: Function<i64, bool, i64> = Function::named("above");
const IN_EURO: Function<i64, String> = Function::named("in_euro");
const SHORT: Function<String, bool> = Function::named("short");
const BROKEN: Function<i64, bool> = Function::named("broken");
/// The name of another function, with other types.
const ABOVE_TEXT: Function<i64, bool, String> = Function::named("above");

fn functions() -> Functions {
    [
        FunctionDef::of(ABOVE, |cents, limit| cents > limit),
        FunctionDef::of(IN_EURO, |cents, ()| format!("{} €", cents / 100)),
        FunctionDef::of(SHORT, |text, ()| text.len() < 3),
        FunctionDef::of(BROKEN, |_, ()| panic!("on purpose")),
    ]
    .into_iter()
    .collect()
}

fn funds() -> TestPState<Accounts> {
    let state = TestPState::of(&FUNDS, 0, 1);
    for (account, cents) in [(1, 500), (2, 20_000), (5, 70_000), (9, 100)] {
        state.local().key(&7).key(&account).set(state.task(), cents);
    }
    state
}

/// P-34: filters and views run by name on the task, on values, ranges and lists.
#[test]
fn registered_functions_filter_and_view() {
    let state = funds();
    let functions = functions();
    let all = FUNDS.key(&7).all();
    let rich = state.select_with(&functions, all.filter(ABOVE.with(1_000)));
    assert_eq!(rich, Ok(vec![(2, 20_000), (5, 70_000)]));
    let texts = all.filter(ABOVE.with(1_000)).view(IN_EURO);
    let values = state.select_with(&functions, texts.select_values());
    assert_eq!(values, Ok(vec!["200 €".to_owned(), "700 €".to_owned()]));
    let keys = state.select_with(&functions, texts.select_keys());
    assert_eq!(keys, Ok(vec![2, 5]));
    let last = FUNDS.key(&7).last_n(2).view(IN_EURO);
    let entries = state.select_with(&functions, last);
    assert_eq!(
        entries,
        Ok(vec![(5, "700 €".to_owned()), (9, "1 €".to_owned())])
    );
    let one = FUNDS.key(&7).key(&5);
    let text = state.select_with(&functions, one.filter(ABOVE.with(0)).view(IN_EURO));
    assert_eq!(text, Ok(Some("700 €".to_owned())));
    let none = state.select_with(&functions, one.filter(ABOVE.with(70_000)));
    assert_eq!(none, Ok(None));
    let absent = state.select_with(&functions, FUNDS.key(&7).key(&3).view(IN_EURO));
    assert_eq!(absent, Ok(None));

    let notes = TestPState::of(&NOTES, 0, 1);
    notes
        .local()
        .key(&1)
        .replace(notes.task(), ["ab", "abc", ""].map(str::to_owned));
    let short = notes.select_with(&functions, NOTES.key(&1).all().filter(SHORT));
    assert_eq!(short, Ok(vec![(0, "ab".to_owned()), (2, String::new())]));
}

/// P-34, N-9: what is not registered, or with other types, is refused with what is; a function that fails
/// ends its own select only.
#[test]
fn functions_that_cannot_run_are_refused() {
    let state = funds();
    let all = FUNDS.key(&7).all();
    let refused = |functions: &Functions, path: Viewed<u64, i64>| {
        let failed = state.select_with(functions, path);
        failed.expect_err("refused").to_string()
    };
    assert_eq!(
        refused(&functions(), all.filter(Function::named("bellow"))),
        "could not call function bellow: the module registers above, broken, in_euro, short; \
         register it in define, m.function(bellow, …), or update the module"
    );
    assert_eq!(
        refused(&Functions::default(), all.filter(ABOVE.with(1))),
        "could not call function above: the module registers no functions; register it in \
         define, m.function(above, …), or update the module"
    );
    assert_eq!(
        refused(&functions(), all.filter(ABOVE_TEXT.with("1".to_owned()))),
        "could not call function above: it is registered as above(i64, i64) -> bool; build the \
         client with the constant that the running module has"
    );
    let failed = state.select_with(&functions(), all.filter(BROKEN));
    assert!(
        matches!(&failed, Err(SelectError::Failed(EventFailure::Panic { message, .. }))
        if message == "on purpose")
    );
    assert_eq!(state.select(all.select_len()), Ok(4));
}

/// P-35: several paths of one partition are one read; P-32: with an explicit key of the partition.
#[test]
fn several_paths_are_answered_together() {
    let state = funds();
    let seven = FUNDS.key(&7);
    let both = state.select((seven.key(&1), seven.range(2..6), seven.select_len()));
    assert_eq!(both, Ok((Some(500), vec![(2, 20_000), (5, 70_000)], 4)));
    let paths: Vec<_> = [1, 3, 9].iter().map(|account| seven.key(account)).collect();
    assert_eq!(state.select(paths), Ok(vec![Some(500), None, Some(100)]));
    let whole = FUNDS.routed_by(&7u64);
    let keys = (whole.all().select_keys(), whole.select_contains(&8));
    assert_eq!(state.select(keys), Ok((vec![7], false)));
    let viewed = (seven.key(&1).view(IN_EURO), seven.first_n(1));
    let viewed = state.select_with(&functions(), viewed);
    assert_eq!(viewed, Ok((Some("5 €".to_owned()), vec![(1, 500)])));
}

#[test]
fn paths_of_different_places_are_refused_together() {
    let state = funds();
    let failed = |outcome: Result<(), SelectError>| outcome.expect_err("apart").to_string();
    let keys = (FUNDS.key(&7).key(&1), FUNDS.key(&8).key(&1));
    assert_eq!(
        failed(state.select(keys).map(drop)),
        "two paths into $$funds begin with different keys, which may be on different tasks; \
         select them one by one"
    );
    let other = (FUNDS.key(&7).key(&1), TOTALS.key(&7));
    assert_eq!(
        failed(state.select(other).map(drop)),
        "one path leads into $$funds, another into $$totals; select them one by one"
    );
    let none: Vec<Selection<u64>> = Vec::new();
    assert_eq!(
        failed(state.select(none).map(drop)),
        "no path was given; select them one by one"
    );
    let many = vec![FUNDS.key(&7).key(&1); 65];
    assert_eq!(
        failed(state.select(many).map(drop)),
        "65 paths were given, the limit is 64; select them one by one"
    );
    let nested = (
        (FUNDS.key(&7).key(&1), FUNDS.key(&7).key(&2)),
        FUNDS.key(&7).key(&1),
    );
    assert_eq!(
        failed(state.select(nested).map(drop)),
        "several paths are given within several; select them one by one"
    );
}

/// Plans of every kind, over values and over structures.
fn plans() -> Vec<Plan> {
    let seven = FUNDS.key(&7);
    let whole = FUNDS.routed_by(&7u64);
    let friends = FRIENDS.key(&1);
    let (one, range) = (seven.key(&1), seven.all());
    let mut plans = vec![
        one.selection().plan,
        seven.select_contains(&5).plan,
        seven.select_len().plan,
        range.select_len().plan,
        range.filter(ABOVE.with(1_000)).selection().plan,
        range
            .filter(ABOVE.with(1_000))
            .view(IN_EURO)
            .select_keys()
            .plan,
        one.view(IN_EURO).selection().plan,
        whole.all().select_keys().plan,
        whole.all().select_len().plan,
        friends.all().select_keys().plan,
        friends.last_n(4).select_keys().plan,
        friends.all().descending().select_keys().plan,
        (one, seven.last_n(3).filter(ABOVE.with(200)), seven.all())
            .selection()
            .plan,
    ];
    for keys in [
        (Unbounded, Unbounded),
        (Included(2), Excluded(9)),
        (Excluded(0), Included(200)),
    ] {
        let range = seven.range(keys);
        plans.push(range.selection().plan);
        plans.push(range.clone().descending().selection().plan);
        plans.push(range.clone().first_n(2).select_values().plan);
        plans.push(range.clone().last_n(3).selection().plan);
        plans.push(range.last_n(40).descending().select_keys().plan);
    }
    plans
}

/// Many accounts, and friends whose sets have other sizes, in one store.
fn crowded() -> TestPState<Accounts> {
    let state = funds();
    for account in (0..40).map(|n| n * 5) {
        state
            .local()
            .key(&7)
            .key(&account)
            .set(state.task(), account as i64 * 37);
        state
            .local()
            .key(&(account + 100))
            .key(&1)
            .set(state.task(), 1);
    }
    state
}

/// P-25: read in pages of any size, a plan answers what it answers at once; a page visits no more
/// elements than it may.
#[test]
fn pages_answer_what_one_read_answers() {
    let accounts = crowded();
    let friends = TestPState::of(&FRIENDS, 0, 1);
    for n in 0..60u64 {
        friends
            .local()
            .key(&1)
            .key(&(n % 13))
            .insert(friends.task(), &n);
    }
    let functions = functions();
    for plan in plans() {
        for state in [accounts.read_access(), friends.read_access()] {
            let ground = Ground {
                read: state.0,
                space: state.1,
                functions: &functions,
                limits: Limits::default(),
            };
            let wanted = evaluate_on(ground, &plan).expect("evaluates");
            for elements in [1, 2, 3, 7, 64] {
                let mut evaluation = Evaluation::new(&plan);
                let pages = Cell::new(0);
                let answer = loop {
                    pages.set(pages.get() + 1);
                    if let Some(answer) = evaluation.page(ground, elements).expect("evaluates") {
                        break answer;
                    }
                };
                assert_eq!(answer, wanted, "pages of {elements}: {plan:?}");
                let found = rows(&wanted).expect("rows").len() as u64;
                let several = matches!(plan, Plan::Several(_));
                let least = if elements == 1 && !several { found } else { 1 };
                assert!(
                    pages.get() >= least,
                    "{} pages of {elements}: {plan:?}",
                    pages.get()
                );
            }
        }
    }
}

/// Limits hold over all pages and all paths of a select.
#[test]
fn limits_count_everything_that_is_answered() {
    let state = crowded();
    let (read, space) = state.read_access();
    let limits = Limits {
        rows_max: 50,
        bytes_max: 1 << 20,
    };
    let functions = Functions::default();
    let ground = Ground {
        read,
        space,
        functions: &functions,
        limits,
    };
    let all = FUNDS.key(&7).all();
    let fits = evaluate_on(ground, &all.selection().plan);
    assert!(fits.is_ok());
    let twice = (all.clone(), all).selection().plan;
    let mut evaluation = Evaluation::new(&twice);
    let failed = loop {
        match evaluation.page(ground, 3) {
            Ok(None) => {}
            Ok(Some(_)) => panic!("answered more than it may"),
            Err(error) => break error,
        }
    };
    assert_eq!(
        failed,
        SelectError::TooLarge {
            limit: 50,
            unit: "rows"
        }
    );
}

/// Every plan survives its bytes; what an older task understands is sent in its version.
#[test]
fn plans_are_sent_in_the_oldest_version_that_can_say_them() {
    for plan in plans() {
        let mut bytes = plan.to_bytes();
        assert_eq!(Plan::from_bytes(&bytes), Ok(plan.clone()));
        let newer = matches!(plan, Plan::Through { .. } | Plan::Several(_));
        assert_eq!(bytes[0], if newer { 2 } else { 1 }, "{plan:?}");
        if newer {
            bytes[0] = 1;
            assert!(Plan::from_bytes(&bytes).is_err(), "{plan:?}");
        }
        bytes[0] = 3;
        let what = "an unknown version";
        assert_eq!(Plan::from_bytes(&bytes), Err(SelectError::BadPlan { what }));
    }
}

/// Bytes that are not a plan are refused, and no plan can make the evaluation panic, go on for ever
/// or read what it may not: each is cut everywhere, and each bit is turned.
#[test]
fn hostile_plans_are_refused_or_answered_in_pages() {
    let state = crowded();
    let (read, space) = state.read_access();
    let functions = functions();
    let ground = Ground {
        read,
        space,
        functions: &functions,
        limits: Limits::default(),
    };
    for plan in plans() {
        let bytes = plan.to_bytes();
        for len in 0..bytes.len() {
            assert!(
                Plan::from_bytes(&bytes[..len]).is_err(),
                "{len} bytes of {plan:?}"
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut hostile = bytes.clone();
            hostile[bit / 8] ^= 1 << (bit % 8);
            let Ok(plan) = Plan::from_bytes(&hostile) else {
                continue;
            };
            let mut evaluation = Evaluation::new(&plan);
            let entries = state.entry_count();
            let ended = (0..8 * entries).any(|_| !matches!(evaluation.page(ground, 5), Ok(None)));
            assert!(ended, "bit {bit} makes endless pages: {plan:?}");
        }
    }
    let nested = Plan::Several(vec![Plan::Several(vec![Plan::Len { key: vec![1] }])]);
    assert!(evaluate_on(ground, &nested).is_err());
    assert!(Plan::from_bytes(&nested.to_bytes()).is_err());
    let empty = Plan::Several(Vec::new());
    assert!(Plan::from_bytes(&empty.to_bytes()).is_err());
    assert!(rows(&5u64.to_bytes()).is_err());
}
