//! What runs leave behind, taken apart so that it can be compared.

use std::collections::HashSet;

use postrider::model::journal::{Entry, Kind, Pending, Promises};
use postrider::script::Ending;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What each host call leaves in a journal. (`now` leaves nothing: it is the time of what stands there.)
pub const KINDS: [Kind; 31] = [
    Kind::Send,
    Kind::Snapshot,
    Kind::Keyed,
    Kind::Wait,
    Kind::Cancel,
    Kind::Sleep,
    Kind::FileRead,
    Kind::FileExists,
    Kind::FileList,
    Kind::KvGet,
    Kind::KvSet,
    Kind::KvDelete,
    Kind::KvIncrement,
    Kind::KvList,
    Kind::SharedGet,
    Kind::SharedSet,
    Kind::SharedDelete,
    Kind::SharedIncrement,
    Kind::SharedList,
    Kind::Http,
    Kind::FileMove,
    Kind::Save,
    Kind::Ask,
    Kind::WaitMessage,
    Kind::WaitEvent,
    Kind::Emit,
    Kind::FlowVersion,
    Kind::FlowStart,
    Kind::Respond,
    Kind::Log,
    Kind::Fail,
];

/// Whether it changes a value in the store.
pub fn is_write(kind: Kind) -> bool {
    matches!(kind, Kind::KvSet | Kind::KvDelete | Kind::SharedSet | Kind::SharedDelete)
}

/// As it is stored.
pub fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// As it comes back from there.
pub fn stored<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&text(value)).unwrap()
}

/// How a turn ended, to be compared. When it asked is the clock's, and told for people only.
pub fn told(ending: &Ending) -> String {
    match ending {
        Ending::Done(value) => format!("done: {value}"),
        Ending::Waiting(pending) => format!("waiting: {}", text(&Pending { asked_at: None, ..pending.clone() })),
        Ending::Thrown(error) => format!("thrown: {error:?}"),
        Ending::Failed(error) => format!("failed: {error:?}"),
    }
}

/// The messages that these calls gave.
pub fn given(entries: &[Entry]) -> HashSet<String> {
    let sent = entries.iter().filter(|entry| entry.kind == Kind::Send);
    let ids = sent.flat_map(|entry| entry.result.as_array().into_iter().flatten());
    ids.filter_map(|message| Some(message["id"].as_str()?.to_owned())).collect()
}

/// How many calls are of such kinds.
pub fn count(entries: &[Entry], counts: impl Fn(Kind) -> bool) -> usize {
    entries.iter().filter(|entry| counts(entry.kind)).count()
}

/// What is left of promises when those of these entries, the first ones, are taken away.
pub fn behind(promises: &Promises, entries: &[Entry]) -> Promises {
    let sent = given(entries);
    let answered = count(entries, |kind| kind == Kind::Respond) > 0;
    Promises {
        messages: promises.messages.iter().filter(|one| !sent.contains(&one.id.to_string())).cloned().collect(),
        kv: promises.kv.iter().skip(count(entries, is_write)).cloned().collect(),
        events: promises.events.iter().skip(count(entries, |kind| kind == Kind::Emit)).cloned().collect(),
        runs: promises.runs.iter().skip(count(entries, |kind| kind == Kind::FlowStart)).cloned().collect(),
        response: promises.response.clone().filter(|_| !answered),
    }
}
