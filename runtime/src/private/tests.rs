//! What the macros write: records, keys and fixed-keys schemas made by attribute.

use std::collections::{BTreeMap, BTreeSet};

use rama_wire::{Key, Record};
use serde_json::json;

use crate::schema::{List, Map, Schema, Set};
use crate::test_pstate::TestPState;

#[crate::record]
struct Deposit {
    user: String,
    cents: i64,
    note: Option<String>,
    tags: Vec<(String, u8)>,
}

#[crate::record]
#[derive(Copy, Eq, PartialOrd, Ord, Hash)]
struct Cents(i64);

#[crate::record]
#[derive(Eq, PartialOrd, Ord, Clone, Debug, PartialEq)]
enum Event {
    Opened,
    Paid(Cents, u8),
    Moved { from: String, to: String },
}

#[crate::record]
struct Wallet {
    by_amount: BTreeMap<Cents, Vec<Event>>,
    seen: BTreeSet<Event>,
    r#type: u8,
}

#[crate::record]
struct Nothing;

mod reordered {
    #[crate::record]
    pub struct Deposit {
        pub cents: i64,
        pub user: String,
        pub note: Option<String>,
        pub tags: Vec<(String, u8)>,
    }
}

mod renamed {
    #[crate::record]
    pub struct Payment {
        pub user: String,
        pub cents: i64,
        pub note: Option<String>,
        pub tags: Vec<(String, u8)>,
    }

    #[crate::record]
    pub struct Deposit {
        pub owner: String,
        pub cents: i64,
        pub note: Option<String>,
        pub tags: Vec<(String, u8)>,
    }

    #[crate::record]
    pub struct Narrow {
        pub user: String,
        pub cents: i32,
        pub note: Option<String>,
        pub tags: Vec<(String, u8)>,
    }
}

#[derive(crate::Key, Clone, Debug, PartialEq)]
struct OrderKey {
    warehouse: u32,
    district: u8,
    customer: String,
}

#[derive(crate::Key, Clone, Debug, PartialEq)]
struct Pair(i16, bool);

#[derive(crate::Key, Clone, Copy, Debug, PartialEq)]
struct UserId(u64);

#[derive(crate::Key, Clone, Copy, Debug, PartialEq)]
enum Color {
    Red,
    Green,
}

/// A member and what belongs to them.
#[derive(crate::Schema)]
struct Member {
    /// The name shown.
    name: String,
    friends: Set<UserId>,
    orders: Map<OrderKey, Cents>,
    log: List<Event>,
    wallet: Purse,
}

#[derive(crate::Schema)]
struct Purse {
    cents: i64,
    coins: Map<Color, u32>,
}

fn deposit() -> Deposit {
    Deposit {
        user: "ann".into(),
        cents: -5,
        note: None,
        tags: vec![("a".into(), 1)],
    }
}

fn check<T: Record + PartialEq>(value: T, as_json: serde_json::Value) {
    assert_eq!(T::decode(&value.to_bytes()).expect("decodes"), value);
    assert_eq!(value.to_json().expect("has JSON"), as_json);
    assert_eq!(T::from_json(&as_json).expect("reads JSON"), value);
}

#[test]
fn records_come_back_from_bytes_and_json() {
    check(
        deposit(),
        json!({ "user": "ann", "cents": -5, "note": null, "tags": [["a", 1]] }),
    );
    check(Event::Opened, json!("Opened"));
    check(Event::Paid(Cents(3), 1), json!({ "Paid": [3, 1] }));
    let moved = Event::Moved {
        from: "a".into(),
        to: "b".into(),
    };
    check(
        moved.clone(),
        json!({ "Moved": { "from": "a", "to": "b" } }),
    );
    check(Nothing, json!(null));
    let wallet = Wallet {
        by_amount: BTreeMap::from([(Cents(1), vec![Event::Opened])]),
        seen: BTreeSet::from([moved, Event::Opened]),
        r#type: 4,
    };
    assert_eq!(Wallet::decode(&wallet.to_bytes()).expect("decodes"), wallet);
}

/// The fingerprint of a record follows the names, types and order of its fields, and nothing else.
#[test]
fn fingerprints_change_with_fields_not_with_the_name() {
    assert_eq!(Deposit::fingerprint(), renamed::Payment::fingerprint());
    assert_ne!(Deposit::fingerprint(), reordered::Deposit::fingerprint());
    assert_ne!(Deposit::fingerprint(), renamed::Deposit::fingerprint());
    assert_ne!(Deposit::fingerprint(), renamed::Narrow::fingerprint());
    assert_ne!(Wallet::fingerprint(), Event::fingerprint());
    assert_eq!(
        Wallet::type_desc().layout(),
        "struct{by_amount:BTreeMap<struct{0:i64},Vec<enum{Opened{},Paid{0:struct{0:i64},1:u8},\
         Moved{from:String,to:String}}>>,seen:BTreeSet<enum{Opened{},Paid{0:struct{0:i64},1:u8},\
         Moved{from:String,to:String}}>,type:u8}"
    );
}

#[test]
fn json_schemas_say_what_serde_writes() {
    assert_eq!(
        Deposit::json_schema(),
        json!({
            "title": "Deposit",
            "type": "object",
            "properties": {
                "user": { "type": "string" },
                "cents": { "type": "integer", "format": "i64" },
                "note": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
                "tags": {
                    "type": "array",
                    "uniqueItems": false,
                    "items": {
                        "type": "array",
                        "prefixItems": [
                            { "type": "string" },
                            { "type": "integer", "minimum": 0, "format": "u8" },
                        ],
                        "minItems": 2,
                        "maxItems": 2,
                    },
                },
            },
            "required": ["user", "cents", "tags"],
        })
    );
    assert_eq!(Cents::json_schema()["format"], "i64");
    assert_eq!(
        Event::json_schema()["anyOf"][0],
        json!({ "const": "Opened" })
    );
}

#[test]
fn composite_keys_sort_field_by_field() {
    let key = |warehouse, district, customer: &str| OrderKey {
        warehouse,
        district,
        customer: customer.into(),
    };
    let sorted = [
        key(1, 2, "z"),
        key(1, 3, ""),
        key(1, 3, "a"),
        key(256, 0, ""),
    ];
    for pair in sorted.windows(2) {
        assert!(pair[0].key_bytes() < pair[1].key_bytes(), "{pair:?}");
    }
    for key in sorted {
        assert_eq!(OrderKey::from_key_bytes(&key.key_bytes()), Ok(key.clone()));
        assert_eq!(OrderKey::key_from_json(&key.key_to_json()), Ok(key));
    }
    assert!(Pair(-1, true).key_bytes() < Pair(0, false).key_bytes());
    assert_eq!(Pair(-1, true).key_to_json(), json!([-1, true]));
    assert_eq!(Pair::key_from_json(&json!([-1, true])), Ok(Pair(-1, true)));
    assert!(Pair::key_from_json(&json!([-1])).is_err());
    assert_eq!(UserId(7).key_to_json(), json!(7));
    assert_eq!(UserId::key_from_json(&json!(7)), Ok(UserId(7)));
    assert!(Color::Red.key_bytes() < Color::Green.key_bytes());
    assert_eq!(Color::from_key_bytes(&[1]), Ok(Color::Green));
    assert!(Color::from_key_bytes(&[2]).is_err());
    assert!(Color::from_key_bytes(&[]).is_err());
    assert_eq!(Color::key_from_json(&json!("Green")), Ok(Color::Green));
    assert_eq!(
        OrderKey::key_desc().layout(),
        "struct{warehouse:u32,district:u8,customer:String}"
    );
    assert_eq!(
        OrderKey::key_from_json(&json!(1))
            .expect_err("no object")
            .to_string(),
        "could not read 1 as a key of type OrderKey"
    );
}

#[test]
fn derived_schemas_navigate_by_field() {
    let state = TestPState::<Map<UserId, Member>>::new();
    let task = state.task();
    let ann = state.local().key(&UserId(1));
    ann.name().set(task, "ann".into());
    ann.friends().insert(task, &UserId(2));
    let order = OrderKey {
        warehouse: 1,
        district: 2,
        customer: "c".into(),
    };
    ann.orders().key(&order).set(task, Cents(5));
    ann.log().append(task, Event::Opened);
    ann.wallet()
        .cents()
        .update(task, |cents| cents.unwrap_or(0) + 3);
    ann.wallet().coins().key(&Color::Red).set(task, 2);
    assert_eq!(ann.name().get(task).as_deref(), Some("ann"));
    assert_eq!(ann.friends().len(task), 1);
    assert_eq!(ann.orders().entries(task), [(order, Cents(5))]);
    assert_eq!(ann.log().values(task), [Event::Opened]);
    assert_eq!(ann.wallet().cents().get(task), Some(3));
    assert_eq!(ann.wallet().coins().keys(task), [Color::Red]);
    assert_eq!(state.local().keys(task), [UserId(1)]);
    state.local().remove(task, &UserId(1));
    assert_eq!(state.entry_count(), 0);
    assert_eq!(ann.clone().unaligned().name().get(task), None);
    assert_eq!(
        Map::<UserId, Member>::desc().layout(),
        "Map<struct{0:u64},Struct{name:String,friends:Set<struct{0:u64},true>,orders:Map<struct{\
         warehouse:u32,district:u8,customer:String},struct{0:i64},true>,log:List<enum{Opened{},\
         Paid{0:struct{0:i64},1:u8},Moved{from:String,to:String}}>,wallet:Struct{cents:i64,coins:\
         Map<enum{Red,Green},u32,true>}},true>"
    );
}
