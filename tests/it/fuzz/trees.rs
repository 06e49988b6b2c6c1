//! Values of JSON that were good once, changed at any place.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::writings::{Edit, edit};

/// What may happen to a value.
#[derive(Clone, Debug)]
pub enum Change {
    Put(Index, Value),
    Drop(Index),
    Repeat(Index, usize),
    Deepen(Index, usize),
    Copy(Index, Index),
    Write(Index, Edit),
}

const WORDS: &[&str] = &[
    "+15417543010",
    "15417543010@s.whatsapp.net",
    "15417543010@c.us",
    "77@lid",
    "120363024512345678@g.us",
    "0029@newsletter",
    "true_15417543010@c.us_3EB0",
    "status@broadcast",
    "wamid.HBgLMTU0",
    "-1",
    "1e999",
    "1795158000",
    "2026-11-20T07:00:00Z",
    "https://example.com/a",
    "data:image/png;base64,AAAA",
    "../../etc/passwd",
    "message",
    "ack",
    "READ",
    "failed",
    "\n",
    "\"",
];

fn strange() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(WORDS).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        select(vec![json!(""), json!("x".repeat(70_000)), json!(-0.0), json!(i64::MIN), json!([]), json!({})]),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-z_]{1,8}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => (any::<Index>(), strange()).prop_map(|(at, value)| Change::Put(at, value)),
        2 => any::<Index>().prop_map(Change::Drop),
        1 => (any::<Index>(), 2..300_usize).prop_map(|(at, times)| Change::Repeat(at, times)),
        1 => (any::<Index>(), 1..120_usize).prop_map(|(at, depth)| Change::Deepen(at, depth)),
        2 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Copy(from, to)),
        3 => (any::<Index>(), edit(WORDS)).prop_map(|(at, edit)| Change::Write(at, edit)),
    ]
}

/// A place in a value for every field and element of it, the whole first.
fn places(value: &Value, place: &str, found: &mut Vec<String>) {
    found.push(place.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                places(inner, &format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (number, inner) in items.iter().enumerate() {
                places(inner, &format!("{place}/{number}"), found);
            }
        }
        _ => {}
    }
}

impl Change {
    fn apply(&self, value: &mut Value) {
        let mut all = Vec::new();
        places(value, "", &mut all);
        let at = |index: &Index| all[index.index(all.len())].clone();
        match self {
            Self::Put(index, other) => *value.pointer_mut(&at(index)).unwrap() = other.clone(),
            Self::Drop(index) => {
                let place = at(index);
                let Some((parent, name)) = place.rsplit_once('/') else { return };
                match value.pointer_mut(parent) {
                    Some(Value::Object(fields)) => drop(fields.remove(&name.replace("~1", "/").replace("~0", "~"))),
                    Some(Value::Array(items)) => drop(items.remove(name.parse().unwrap())),
                    _ => {}
                }
            }
            Self::Repeat(index, times) => {
                let inner = value.pointer_mut(&at(index)).unwrap();
                // Not what is large already.
                if inner.to_string().len() < 4_096 {
                    *inner = Value::Array(vec![inner.clone(); *times]);
                }
            }
            Self::Deepen(index, depth) => {
                let inner = value.pointer_mut(&at(index)).unwrap();
                for _ in 0..*depth {
                    *inner = json!([inner.take()]);
                }
            }
            Self::Copy(from, to) => {
                let other = value.pointer(&at(from)).unwrap().clone();
                *value.pointer_mut(&at(to)).unwrap() = other;
            }
            Self::Write(index, edit) => {
                if let Some(Value::String(text)) = value.pointer_mut(&at(index)) {
                    edit.apply(text);
                }
            }
        }
    }
}

/// One of the values, changed a few times.
pub fn changed(values: Vec<Value>) -> impl Strategy<Value = Value> {
    (select(values), vec(change(), 0..6)).prop_map(|(mut value, changes)| {
        for change in &changes {
            change.apply(&mut value);
        }
        value
    })
}
