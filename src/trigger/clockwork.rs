//! The schedules that are armed, and what happens when they are due.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::due::{Due, Dues, GRACE, Question, due};
use crate::clock::{after, rfc3339};
use crate::flow::except::{Calendars, Except};
use crate::flow::prepare;
use crate::flow::{Flow, Timed};
use crate::model::occurrence::{Fate, Occurrence};
use crate::store::records::{ArmedRow, Firing, OccurrenceFilter, TriggerKey};
use crate::store::{Store, StoreError};
use crate::units::format_duration;

/// Triggers handed in together.
const CHUNK: usize = 256;
/// Most fates that are looked for behind a clock that was set back.
const MOST_DONE: usize = 10_000;
/// Runs begun in one go, about.
const AT_ONCE: usize = 2_000;

/// All armed schedules.
pub struct Clockwork {
    calendars: Calendars,
    /// What was said of calendars that cannot be read, or not in full.
    said: HashMap<String, String>,
    /// Boxed: the table is half empty after it grew.
    items: HashMap<TriggerKey, Box<Item>>,
    queue: BTreeSet<(Timestamp, TriggerKey)>,
    last: Option<Timestamp>,
}

struct Item {
    flow: Arc<Flow>,
    timed: Arc<Timed>,
    /// All instants up to this one have their fate.
    position: Timestamp,
    /// The same before the clock was set back.
    furthest: Timestamp,
    /// What has its fate already between the two, from and until; none where nobody has looked.
    done: Option<Vec<(Timestamp, Timestamp)>>,
    /// What was due up to here was missed: nobody was there.
    since: Timestamp,
    next: Option<Timestamp>,
}

impl Clockwork {
    /// None yet; days are left out by these calendars.
    pub fn new(calendars: Calendars) -> Self {
        let (items, queue) = (HashMap::new(), BTreeSet::new());
        Self { calendars, said: HashMap::new(), items, queue, last: None }
    }

    /// A schedule begins to count, or goes on with another version of its flow.
    pub fn arm(&mut self, key: TriggerKey, flow: &Arc<Flow>, timed: &Arc<Timed>, position: Timestamp, now: Timestamp) {
        // A clock that was wrong must not silence a schedule for ever; what was done is on record.
        let (position, furthest) = (position.min(now), position);
        let (flow, timed) = (flow.clone(), timed.clone());
        let item = Item { flow, timed, position, furthest, done: None, since: now, next: None };
        self.items.insert(key.clone(), Box::new(item));
        self.queue_up(&key);
    }

    /// Its flow has another version, the schedule is the same.
    pub fn update(&mut self, key: &TriggerKey, flow: &Arc<Flow>, timed: &Arc<Timed>) {
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
        let next = item.timed.schedule.next(item.position).map(|at| item.timed.begins_at(at));
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
                    (item.furthest, item.done) = (item.furthest.max(item.position), None);
                    item.position = item.position.min(now);
                }
                self.queue_up(&key);
            }
        }
    }

    /// After the clock was set back: what has its fate already is due once more by its hands, and gets no second one.
    async fn look_back(&mut self, store: &Arc<dyn Store>, now: Timestamp) -> Result<(), StoreError> {
        for (key, item) in &mut self.items {
            if item.position >= item.furthest {
                item.done = None;
            } else if item.done.is_none() && item.next.is_some_and(|next| next <= now) {
                let (from, to) = (Some(item.position), Some(after(item.furthest, Duration::from_millis(1))));
                let filter = OccurrenceFilter { flow: Some(key.flow.to_string()), from, to, limit: MOST_DONE };
                let rows = store.occurrences(filter).await?;
                let own = rows.iter().filter(|row| row.key == *key);
                item.done = Some(own.map(|row| (row.at, row.until.unwrap_or(row.at))).collect());
            }
        }
        Ok(())
    }

    /// Gives everything that is due by now its fate, and begins the runs.
    ///
    /// # Errors
    /// As the store fails; what could not be handed in is still due.
    pub async fn fire(&mut self, store: &Arc<dyn Store>, now: Timestamp) -> Result<(), StoreError> {
        self.mind_the_clock(now);
        self.look_back(store, now).await?;
        let due = self.queue.iter().take_while(|(at, _)| *at <= now);
        // What is due now comes before what was missed, and nobody takes all the room: what is left
        // over is due again at once.
        let (missed, met): (Vec<_>, Vec<_>) = due.partition(|(at, _)| now.duration_since(*at).unsigned_abs() > GRACE);
        let mut firings = Vec::new();
        let mut runs = 0;
        for key in met.into_iter().chain(missed).map(|(_, key)| key) {
            let Some(item) = self.items.get(key) else { continue };
            say_unread(&mut self.said, &self.calendars, key, item);
            let firing = firing(key, item, &self.calendars, now);
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

/// Says once of each calendar that it cannot be read, or what of it is not.
fn say_unread(said: &mut HashMap<String, String>, calendars: &Calendars, key: &TriggerKey, item: &Item) {
    for except in item.timed.except.iter() {
        let Except::Calendar { path, .. } = except else { continue };
        let Some(complaint) = calendars.complaint(path) else {
            said.remove(path);
            continue;
        };
        if said.get(path) != Some(&complaint) {
            tracing::error!(flow = %key.flow, "{complaint}");
            said.insert(path.clone(), complaint);
        }
    }
}

fn firing(key: &TriggerKey, item: &Item, calendars: &Calendars, now: Timestamp) -> Firing {
    let (timed, position, since) = (&item.timed, item.position, item.since);
    let why_not = |at: Timestamp| calendars.why_not(&timed.except, timed.schedule.zone(), at);
    let is_done = |at: Timestamp| item.done.iter().flatten().any(|(from, until)| *from <= at && at <= *until);
    let Dues { fates, reached } = due(&Question { timed, why_not: &why_not, is_done: &is_done, position, since, now });
    let missed: Vec<&Due> = fates.iter().filter(|due| !matches!(due.fate, Fate::Ran | Fate::Skipped)).collect();
    if let [first, ..] = missed.as_slice() {
        let runs = missed.iter().filter(|due| due.begins()).count();
        let at = rfc3339(first.at);
        tracing::info!(flow = %key.flow, trigger = %key.trigger, %at, runs, "nobody was there at this time; the missed times have their fate now");
    }
    let occurrences = fates.into_iter().map(|due| occurrence(item, due, now)).collect();
    Firing { row: ArmedRow { key: key.clone(), position: reached }, occurrences }
}

fn occurrence(item: &Item, due: Due, now: Timestamp) -> Occurrence {
    let late = now.duration_since(item.timed.begins_at(due.at)).unsigned_abs();
    let run = due.begins().then(|| {
        let event = json!({ "scheduled_at": rfc3339(due.at), "late_by": in_words(late), "missed": due.missed });
        prepare(&item.flow, item.timed.kind, &event, now)
    });
    let reason = match due.fate {
        Fate::TooLate => Some(format!("later than `not_after` ({})", format_duration(item.timed.not_after))),
        Fate::Coalesced => Some("a later one stands for it".into()),
        Fate::Down => Some("nobody was there, and `missed` is `skip`".into()),
        _ => due.reason,
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
