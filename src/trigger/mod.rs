//! Triggers by the clock and by files: one supervisor arms and disarms them as the set of flows
//! says, and leaves alone what did not change.

mod clockwork;
mod due;
mod file_watch;
mod reading;
mod scan;
mod writers;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::changes::Changes;
use crate::clock::SharedClock;
use crate::files::Files;
use crate::flow::catalog::Catalog;
use crate::flow::except::Calendars;
use crate::flow::{Backlog, Flow, Trigger, Watch};
use crate::model::occurrence::{Fate, Occurrence};
use crate::service::Service;
use crate::store::records::{ArmedRow, NewTrigger, Seen, SeenFile, TriggerKey};
use crate::store::{Store, StoreError};
use clockwork::Clockwork;
use file_watch::{FileWatch, Surroundings, differences, present};

/// The supervisor.
pub struct Supervisor {
    around: Surroundings,
    catalog: watch::Receiver<Arc<Catalog>>,
    /// The set that the triggers are armed by; none at first.
    armed: Option<Arc<Catalog>>,
    clockwork: Clockwork,
    folders: BTreeMap<TriggerKey, Watched>,
    /// Triggers of flows that cannot be built today, with their positions: nothing is forgotten.
    dormant: BTreeMap<TriggerKey, Timestamp>,
}

/// A watch trigger at work.
struct Watched {
    rule: watch::Sender<(Arc<Flow>, Arc<Watch>)>,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A trigger of a flow, with what it is known by.
type Armed<'a> = BTreeMap<TriggerKey, (&'a Arc<Flow>, &'a Trigger)>;

impl Supervisor {
    /// Arms the triggers of the set that is live: when this returns, nothing that comes is missed.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: SharedClock,
        files: Files,
        changes: Changes,
        catalog: watch::Receiver<Arc<Catalog>>,
    ) -> Result<Self, StoreError> {
        let around = Surroundings::new(store, clock, files, changes);
        let (clockwork, folders) = (Clockwork::new(Calendars::new(around.files.clone())), BTreeMap::new());
        let dormant = BTreeMap::new();
        let mut supervisor = Self { around, catalog, armed: None, clockwork, folders, dormant };
        supervisor.follow().await?;
        Ok(supervisor)
    }

    /// Arms and disarms by what is different in the set that is live now.
    async fn follow(&mut self) -> Result<(), StoreError> {
        let catalog = self.catalog.borrow_and_update().clone();
        let before = self.armed.clone();
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &catalog)) {
            return Ok(());
        }
        let now = self.around.clock.now();
        let (old, new) = changed(before.as_deref(), &catalog);
        // At the start, what is known is what the store knows.
        let mut known: BTreeMap<TriggerKey, Option<Timestamp>> = old.into_keys().map(|key| (key, None)).collect();
        let mut asleep = self.dormant.clone();
        if before.is_none() {
            asleep.extend(self.around.store.armed().await?.into_iter().map(|row| (row.key, row.position)));
        }
        known.extend(asleep.iter().map(|(key, position)| (key.clone(), Some(*position))));
        let waits = |key: &TriggerKey| catalog.withheld.contains(&key.flow);
        let gone: Vec<TriggerKey> =
            known.keys().filter(|key| !new.contains_key(*key) && !waits(key)).cloned().collect();
        let mut come = Vec::new();
        for (key, (_, trigger)) in new.iter().filter(|(key, _)| !known.contains_key(*key)) {
            come.push(self.first_seen(key, trigger, now).await);
        }
        // Stopped before they are forgotten: nothing of theirs comes after that.
        for key in &gone {
            self.clockwork.disarm(key);
            self.folders.remove(key);
        }
        if !gone.is_empty() || !come.is_empty() {
            self.around.store.arm(gone, come.clone()).await?;
        }
        asleep.retain(|key, _| waits(key) && !new.contains_key(key));
        let mut files: BTreeMap<TriggerKey, _> = come.into_iter().map(|new| (new.row.key, new.files)).collect();
        for (key, (flow, trigger)) in new {
            match (trigger, known.get(&key)) {
                (Trigger::Timed(timed), Some(None)) => self.clockwork.update(&key, flow, timed),
                (Trigger::Timed(timed), position) => {
                    self.clockwork.arm(key, flow, timed, position.copied().flatten().unwrap_or(now), now);
                }
                (Trigger::Watch(watch), Some(None)) => {
                    if let Some(watched) = self.folders.get(&key) {
                        watched.rule.send_replace((flow.clone(), watch.clone()));
                    }
                }
                (Trigger::Watch(watch), _) => {
                    let seen = match files.remove(&key) {
                        Some(files) => files,
                        None => self.known_files(&key, watch, now).await?,
                    };
                    self.begin(key, flow, watch, seen);
                }
                (Trigger::Webhook(_) | Trigger::Message(_), _) => {}
            }
        }
        // Only now: whoever fails on the way knows the next time what it knew.
        self.dormant = asleep;
        self.armed = Some(catalog);
        Ok(())
    }

    /// Begins to watch.
    fn begin(&mut self, key: TriggerKey, flow: &Arc<Flow>, watch: &Arc<Watch>, seen: Vec<SeenFile>) {
        let (rule, follow) = watch::channel((flow.clone(), watch.clone()));
        let folder = FileWatch::new(key.clone(), self.around.clone(), follow, seen);
        let task = tokio::spawn(folder.run()).abort_handle();
        self.folders.insert(key, Watched { rule, task });
    }

    /// What is past, or there, when a trigger is first seen is nothing that happened to it.
    async fn first_seen(&self, key: &TriggerKey, trigger: &Trigger, now: Timestamp) -> NewTrigger {
        let past = match trigger {
            Trigger::Timed(timed) => timed.schedule.only().filter(|at| *at <= now),
            _ => None,
        };
        let past = past.map(|at| Occurrence {
            reason: Some("it was past when the flow was first seen".into()),
            ..Occurrence::new(at, Fate::BeforeKnown)
        });
        let mut files = Vec::new();
        if let Trigger::Watch(watch) = trigger
            && watch.backlog != Backlog::All
        {
            files = self.present(watch).await;
        }
        NewTrigger { row: ArmedRow { key: key.clone(), position: now }, past, files }
    }

    async fn present(&self, watch: &Watch) -> Vec<SeenFile> {
        let (watch, below) = (watch.clone(), self.around.files.clone());
        tokio::task::spawn_blocking(move || present(&below, &watch)).await.unwrap_or_default()
    }

    /// What a trigger saw when it last looked; with `backlog: none`, also what came since.
    async fn known_files(&self, key: &TriggerKey, watch: &Watch, now: Timestamp) -> Result<Vec<SeenFile>, StoreError> {
        let seen = self.around.store.seen_files(key).await?;
        if watch.backlog != Backlog::None {
            return Ok(seen);
        }
        let changed = differences(&seen, &self.present(watch).await, now);
        let since = changed.iter().map(|row| Seen { row: row.clone(), run: None }).collect();
        self.around.store.see_files(key, since, Timestamp::MIN).await?;
        let mut rows: BTreeMap<String, SeenFile> = seen.into_iter().map(|row| (row.path.clone(), row)).collect();
        rows.extend(changed.into_iter().map(|row| (row.path.clone(), row)));
        Ok(rows.into_values().collect())
    }
}

impl Service for Supervisor {
    type Error = StoreError;
    const TROUBLE: &'static str = "triggers have to wait";

    /// Follows the set, and fires what is due by the clock.
    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.follow().await?;
        self.clockwork.fire(&self.around.store, self.around.clock.now()).await?;
        Ok(self.clockwork.next())
    }

    async fn woken(&mut self) {
        // Without anybody who could publish another set, this one stays.
        if self.catalog.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// The triggers with a state of those flows that are not the same in both sets.
fn changed<'a>(before: Option<&'a Catalog>, now: &'a Catalog) -> (Armed<'a>, Armed<'a>) {
    let same = |flow: &Arc<Flow>, other: Option<&Catalog>| {
        other.and_then(|other| other.flow(&flow.name)).is_some_and(|other| Arc::ptr_eq(flow, other))
    };
    let of = |set: &'a Catalog, other: Option<&Catalog>| {
        let flows = set.flows.values().filter(|flow| flow.enabled && !same(flow, other));
        let triggers = flows.flat_map(|flow| flow.triggers.iter().map(move |trigger| (flow, trigger)));
        let keyed = triggers.filter_map(|(flow, trigger)| {
            let key = TriggerKey { flow: flow.name.clone(), trigger: trigger.key()?.into() };
            Some((key, (flow, trigger)))
        });
        keyed.collect()
    };
    (before.map_or_else(BTreeMap::new, |before| of(before, Some(now))), of(now, before))
}
