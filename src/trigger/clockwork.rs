//! The schedules that are armed, and what happens when they are due.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::due::{Due, Dues, GRACE, due};
use crate::clock::rfc3339;
use crate::flow::prepare;
use crate::flow::{Flow, Timed};
use crate::model::occurrence::{Fate, Occurrence};
use crate::store::records::{ArmedRow, Firing, TriggerKey};
use crate::store::{Store, StoreError};
use crate::units::format_duration;

/// Triggers handed in together.
const CHUNK: usize = 256;
/// Runs begun in one go, about.
const AT_ONCE: usize = 2_000;

/// All armed schedules.
#[derive(Default)]
pub struct Clockwork {
    items: HashMap<TriggerKey, Item>,
    queue: BTreeSet<(Timestamp, TriggerKey)>,
    last: Option<Timestamp>,
}

struct Item {
    flow: Arc<Flow>,
    timed: Timed,
    /// All instants up to this one have their fate.
    position: Timestamp,
    /// What was due up to here was missed: nobody was there.
    since: Timestamp,
    next: Option<Timestamp>,
}

impl Clockwork {
    /// A schedule begins to count, or goes on with another version of its flow.
    pub fn arm(&mut self, key: TriggerKey, flow: &Arc<Flow>, timed: &Timed, position: Timestamp, now: Timestamp) {
        // A clock that was wrong must not silence a schedule for ever; what was done is on record.
        let position = position.min(now);
        let item = Item { flow: flow.clone(), timed: timed.clone(), position, since: now, next: None };
        self.items.insert(key.clone(), item);
        self.queue_up(&key);
    }

    /// Its flow has another version, the schedule is the same.
    pub fn update(&mut self, key: &TriggerKey, flow: &Arc<Flow>, timed: &Timed) {
        if let Some(item) = self.items.get_mut(key) {
            (item.flow, item.timed) = (flow.clone(), timed.clone());
        }
    }

    /// It does not count any more.
    pub fn disarm(&mut self, key: &TriggerKey) {
        if let Some(next) = self.items.remove(key).and_then(|item| item.next) {
            self.queue.remove(&(next, key.clone()));
        }
    }

    fn queue_up(&mut self, key: &TriggerKey) {
        let Some(item) = self.items.get_mut(key) else { return };
        let next = item.timed.schedule.next(item.position);
        if let Some(before) = std::mem::replace(&mut item.next, next) {
            self.queue.remove(&(before, key.clone()));
        }
        if let Some(next) = next {
            self.queue.insert((next, key.clone()));
        }
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// The clock may have been set back: then all begin to count from there.
    fn mind_the_clock(&mut self, now: Timestamp) {
        let back = self.last.is_some_and(|last| now < last.saturating_sub(Duration::from_secs(1)).unwrap_or(last));
        self.last = Some(now);
        if back {
            tracing::warn!("the clock was set back; schedules count from its new time on");
            for key in self.items.keys().cloned().collect::<Vec<_>>() {
                if let Some(item) = self.items.get_mut(&key) {
                    item.position = item.position.min(now);
                }
                self.queue_up(&key);
            }
        }
    }

    /// Gives everything that is due by now its fate, and begins the runs.
    ///
    /// # Errors
    /// As the store fails; what could not be handed in is still due.
    pub async fn fire(&mut self, store: &Arc<dyn Store>, now: Timestamp) -> Result<(), StoreError> {
        self.mind_the_clock(now);
        let due = self.queue.iter().take_while(|(at, _)| *at <= now);
        // What is due now comes before what was missed, and nobody takes all the room: what is left
        // over is due again at once.
        let (missed, met): (Vec<_>, Vec<_>) = due.partition(|(at, _)| now.duration_since(*at).unsigned_abs() > GRACE);
        let mut firings = Vec::new();
        let mut runs = 0;
        for key in met.into_iter().chain(missed).map(|(_, key)| key) {
            let Some(item) = self.items.get(key) else { continue };
            let firing = firing(key, item, now);
            runs += firing.occurrences.iter().filter(|occurrence| occurrence.run.is_some()).count();
            firings.push(firing);
            if runs >= AT_ONCE {
                break;
            }
        }
        let mut failed = None;
        let mut replies = Vec::new();
        let mut firings = firings.into_iter();
        loop {
            let chunk: Vec<Firing> = firings.by_ref().take(CHUNK).collect();
            if chunk.is_empty() {
                break;
            }
            let rows: Vec<ArmedRow> = chunk.iter().map(|firing| firing.row.clone()).collect();
            replies.push((rows, store.fire(chunk)));
        }
        for (rows, reply) in replies {
            match reply.await {
                Ok(_) => {
                    for row in rows {
                        if let Some(item) = self.items.get_mut(&row.key) {
                            item.position = row.position;
                        }
                        self.queue_up(&row.key);
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

fn firing(key: &TriggerKey, item: &Item, now: Timestamp) -> Firing {
    let Dues { fates, reached } = due(&item.timed, item.position, item.since, now);
    let missed: Vec<&Due> = fates.iter().filter(|due| due.fate != Fate::Ran).collect();
    if let [first, ..] = missed.as_slice() {
        let runs = missed.iter().filter(|due| due.begins()).count();
        let at = rfc3339(first.at);
        tracing::info!(flow = %key.flow, trigger = %key.trigger, %at, runs, "nobody was there at this time; the missed times have their fate now");
    }
    let occurrences = fates.into_iter().map(|due| occurrence(item, due, now)).collect();
    Firing { row: ArmedRow { key: key.clone(), position: reached }, occurrences }
}

fn occurrence(item: &Item, due: Due, now: Timestamp) -> Occurrence {
    let late = now.duration_since(due.at).unsigned_abs();
    let run = due.begins().then(|| {
        let event = json!({ "scheduled_at": rfc3339(due.at), "late_by": in_words(late), "missed": due.missed });
        prepare(&item.flow, item.timed.kind, &event, now)
    });
    let reason = match due.fate {
        Fate::TooLate => Some(format!("later than `not_after` ({})", format_duration(item.timed.not_after))),
        Fate::Coalesced => Some("a later one stands for it".into()),
        Fate::Down => Some("nobody was there, and `missed` is `skip`".into()),
        _ => None,
    };
    Occurrence {
        reason,
        until: due.until,
        count: due.count,
        late_by: run.as_ref().map(|_| late),
        run,
        ..Occurrence::new(due.at, due.fate)
    }
}

/// From a second on, whole seconds: nobody cares for more.
fn in_words(late: Duration) -> String {
    format_duration(if late < Duration::from_secs(1) { late } else { Duration::from_secs(late.as_secs()) })
}
