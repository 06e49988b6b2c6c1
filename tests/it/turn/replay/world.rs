//! The world around a run. It answers every question, and the same one at the same place of a
//! journal always in the same way; the hour depends on nothing but how much it has answered.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use postrider::id::MessageId;
use postrider::model::call::Call;
use postrider::model::journal::{Entry, Kind, Pending};
use postrider::model::question::{Answer, Change, Errand, Question, Read, Wait};
use postrider::model::run::ScriptError;
use postrider::units::parse_duration;
use serde_json::{Value, json};

use super::super::start;
use super::chance::Chance;

/// The values that may be there before the run.
const KEYS: [&str; 6] = ["a", "b", "c", "n0", "n1", "n2"];

/// One of many worlds.
pub struct World {
    seed: u64,
}

/// What the store knows of a run: its journal, of which so many entries have been committed.
#[derive(Clone, Copy)]
pub struct Kept<'a> {
    /// All of it, with what is on its way to the store.
    pub journal: &'a [Entry],
    /// How many are there.
    pub committed: usize,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// What the clock shows when the run has got so many answers from outside: more than three hours
    /// for each, which is longer than any wait.
    pub fn now(&self, answers: usize) -> Timestamp {
        let more = self.chance(&["clock", &answers.to_string()]).below(3_000_000) as u64;
        start() + Duration::from_millis(answers as u64 * 12_000_000 + more)
    }

    fn chance(&self, words: &[&str]) -> Chance {
        Chance::of(self.seed, words)
    }

    /// The answer to a question.
    pub fn answer(&self, pending: &Pending, kept: Kept<'_>, now: Timestamp) -> Answer {
        let (place, kind) = (pending.position.to_string(), format!("{:?}", pending.kind));
        let mut chance = self.chance(&[&place, &kind, pending.request.get()]);
        let refuses = |kind: &str| Err(ScriptError::new(kind, format!("refused at {place}")));
        Ok(match &pending.question {
            Question::Wait(Wait::Sleep { .. }) => Value::Null,
            Question::Wait(Wait::Delivery { .. }) => json!({
                "status": chance.word(&["sent", "delivered", "rejected", "unknown"]),
                "provider_id": format!("P{place}"),
                "error": null,
            }),
            Question::Change(Change::Cancel { .. }) => chance.one_in(2).into(),
            Question::Errand(Errand::Http { calls, all: true, .. }) => {
                calls.iter().map(|call| fetched(call, &place, &mut chance).unwrap_or_else(listed)).collect()
            }
            Question::Errand(Errand::Http { calls, all: false, .. }) => return fetched(&calls[0], &place, &mut chance),
            Question::Errand(Errand::Move { .. }) if chance.one_in(4) => return refuses("file"),
            Question::Errand(Errand::Move { .. }) => Value::Null,
            Question::Errand(Errand::Save { .. }) if chance.one_in(4) => return refuses("media"),
            Question::Errand(Errand::Save { to, .. } | Errand::Part { to, .. }) => {
                json!({ "path": to, "size": chance.below(1_000) })
            }
            Question::Change(Change::Increment { shared, key, by }) => {
                match (self.values(*shared, kept, now).get(key).map_or(Some(0), Value::as_i64), by.as_i64()) {
                    (Some(before), Some(by)) => before.wrapping_add(by).into(),
                    _ => return refuses("type"),
                }
            }
            Question::Wait(Wait::Ask(_)) if chance.one_in(6) => return refuses("undelivered"),
            Question::Wait(Wait::Ask(_)) if chance.one_in(4) => Value::Null,
            Question::Wait(Wait::Ask(asked)) => {
                let choice = asked.choices.first().filter(|_| chance.one_in(2));
                json!({ "text": format!("said at {place}"), "choice": choice, "from": asked.to, "at": now.to_string() })
            }
            Question::Wait(Wait::Message { .. }) if chance.one_in(4) => Value::Null,
            Question::Wait(Wait::Message { account, from, .. }) => {
                json!({ "trigger": "message", "account": account, "from": from, "text": format!("said at {place}") })
            }
            Question::Wait(Wait::Event { until: Some(_), .. }) if chance.one_in(4) => Value::Null,
            Question::Wait(Wait::Event { after, .. }) => {
                let number = after + 1 + chance.below(5) as i64;
                json!({ "number": number, "data": { "place": place, "after": after } })
            }
            Question::Read(read) => return self.read(read, &place, &mut chance, kept, now),
        })
    }

    fn read(&self, read: &Read, place: &str, chance: &mut Chance, kept: Kept<'_>, now: Timestamp) -> Answer {
        let missing = |kind: &str| Err(ScriptError::new(kind, format!("missing at {place}")));
        Ok(match read {
            Read::Kv { key } => self.values(false, kept, now).remove(key).unwrap_or_default(),
            Read::Shared { key } => self.values(true, kept, now).remove(key).unwrap_or_default(),
            Read::Keys { shared, prefix, unsaved } => {
                let mut values = self.values(*shared, kept, now);
                for (key, is_there) in unsaved {
                    match is_there {
                        true => values.insert(key.clone(), Value::Null),
                        false => values.remove(key),
                    };
                }
                values.into_keys().filter(|key| key.starts_with(prefix.as_str())).collect()
            }
            Read::Flow { .. } if chance.one_in(5) => return missing("unknown_flow"),
            Read::Flow { .. } => hex(chance).into(),
            Read::Snapshot { .. } | Read::File { .. } | Read::List { .. } if chance.one_in(5) => {
                return missing("file");
            }
            Read::Snapshot { path } => json!({ "blob": hex(chance), "size": chance.below(1_000), "file_name": path }),
            Read::File { .. } => format!("name,place\nAda,{place}\nBob,{}\n", chance.below(10)).into(),
            Read::Seen { .. } => json!([chance.below(1_000), chance.below(1_000), chance.below(1_000)]),
            Read::Exists { .. } => chance.one_in(2).into(),
            Read::List { path } => (0..chance.below(4)).map(|number| format!("{path}/{number}")).collect(),
            Read::Keyed { to, .. } if chance.one_in(3) => {
                json!({ "id": MessageId::from_bytes(chance.bytes()), "to": to, "account": "main" })
            }
            Read::Keyed { .. } => Value::Null,
        })
    }

    /// The values in the store: those from before the run, what it has committed, and what the store
    /// itself has added for it.
    fn values(&self, shared: bool, kept: Kept<'_>, now: Timestamp) -> BTreeMap<String, Value> {
        let first = KEYS.iter().filter_map(|key| Some(((*key).to_owned(), (self.first(shared, key)?, i64::MAX))));
        let mut values: BTreeMap<String, (Value, i64)> = first.collect();
        for (place, entry) in kept.journal.iter().enumerate() {
            let (adds, writes) = match shared {
                true => (Kind::SharedIncrement, [Kind::SharedSet, Kind::SharedDelete]),
                false => (Kind::KvIncrement, [Kind::KvSet, Kind::KvDelete]),
            };
            let writes = writes.contains(&entry.kind) && place < kept.committed;
            if entry.error.is_some() || !(writes || entry.kind == adds) {
                continue;
            }
            let request: Value = serde_json::from_str(entry.request.get()).unwrap();
            let key = request["key"].as_str().unwrap();
            if entry.kind == adds {
                let lives = values.get(key).map(|(_, until)| *until).filter(|until| *until > entry.at);
                values.insert(key.into(), (entry.result.clone(), lives.unwrap_or(i64::MAX)));
            } else if matches!(entry.kind, Kind::KvDelete | Kind::SharedDelete) {
                values.remove(key);
            } else {
                let life = request["life"].as_str().map(|life| parse_duration(life).unwrap().as_millis() as i64);
                values.insert(key.into(), (request["value"].clone(), life.map_or(i64::MAX, |life| entry.at + life)));
            }
        }
        let lives = |(key, (value, until))| (until > now.as_millisecond()).then_some((key, value));
        values.into_iter().filter_map(lives).collect()
    }

    fn first(&self, shared: bool, key: &str) -> Option<Value> {
        let mut chance = self.chance(&["value", &shared.to_string(), key]);
        match chance.below(4) {
            0 | 1 => None,
            _ if key.starts_with('n') => Some(chance.below(100).into()),
            2 => Some(json!({ "was": key })),
            _ => Some(json!(0.1)),
        }
    }
}

fn hex(chance: &mut Chance) -> String {
    chance.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fetched(call: &Call, place: &str, chance: &mut Chance) -> Answer {
    if chance.one_in(6) {
        return Err(ScriptError::new("unreachable", format!("{}: nobody there at {place}", call.url)));
    }
    let status = [200, 201, 404, 500][chance.below(4)];
    let body = match chance.one_in(2) {
        true => json!({ "place": place, "method": call.method }).to_string(),
        false => format!("plain at {place}"),
    };
    Ok(json!({ "status": status, "ok": status < 300, "headers": { "x-place": place }, "body": body }))
}

/// What stands in a list for a call without an answer.
fn listed(error: ScriptError) -> Value {
    let error = json!({ "kind": error.kind, "message": error.message });
    json!({ "status": 0, "ok": false, "headers": {}, "body": "", "error": error })
}
