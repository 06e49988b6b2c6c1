//! Nothing dies in silence: messages that came to a bad end, accounts that cannot send, flows whose files are
//! broken are written to the log, and told to the flow that `on_failure` names.
//!
//! What is told of is on record with the runs that hear of it, in one transaction: however the engine ends,
//! it is told once. The same cause is told once until it is over; messages that end alike within a while are
//! told together.

mod event;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::{SharedClock, after, rfc3339};
use crate::flow::catalog::Catalog;
use crate::flow::{Flow, prepare};
use crate::model::delivery::AttemptOutcome;
use crate::outbox::Accounts;
use crate::service::Service;
use crate::store::records::{RunFilter, Telling, Trouble};
use crate::store::{Store, StoreError};
use crate::units::format_duration;
use crate::wake::Bell;

/// Rows read at once.
const PAGE: usize = 500;
/// Messages that end alike are told of no more often than that.
const TOGETHER: Duration = Duration::from_secs(600);
/// Lines in the log for messages that end alike, in that time.
const LINES: u64 = 5;
/// An account that does not send for so long is told of, and a flow that is broken for so long.
const PAUSED: Duration = Duration::from_secs(300);
const STALE: Duration = Duration::from_secs(60);
/// A flow that is silent is looked at so often.
const AGAIN: Duration = Duration::from_secs(60);

/// Begins the note of when a flow that may not be silent for long was last heard of.
const AWAITED: &str = "awaited:";
const DAY: Duration = Duration::from_secs(86_400);
/// After a failure of the store it is tried again then.
pub const REST: Duration = Duration::from_secs(5);

/// Messages that ended alike and are not told of yet: their places, and the last of them.
type Alike = (Vec<i64>, Trouble);

/// Tells.
pub struct Alarm {
    store: Arc<dyn Store>,
    clock: SharedClock,
    bell: Bell,
    catalog: watch::Receiver<Arc<Catalog>>,
    accounts: watch::Receiver<Arc<Accounts>>,
    /// What was told of and is not over.
    told: BTreeMap<String, Timestamp>,
    /// Causes with messages that wait to be told together. The messages themselves stay in the store until
    /// they are told: what becomes of them meanwhile counts.
    waiting: BTreeSet<String>,
    /// How many of a cause came since it was last told.
    logged: BTreeMap<String, u64>,
    /// Since when flows are broken.
    stale: BTreeMap<Arc<str>, Timestamp>,
    cursor: i64,
    /// Whether it knows what was told before.
    knows: bool,
}

impl Service for Alarm {
    type Error = StoreError;
    const TROUBLE: &'static str = "nobody can be told of what went wrong";

    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        if !self.knows {
            self.told = self.store.told().await?.into_iter().collect();
            self.knows = true;
        }
        self.look().await
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.bell.rung() => {}
            Ok(()) = self.accounts.changed() => {}
            Ok(()) = self.catalog.changed() => {}
        }
    }
}

impl Alarm {
    /// For these flows and accounts; `bell` is rung when there may be something.
    pub fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        bell: Bell,
        catalog: watch::Receiver<Arc<Catalog>>,
        accounts: watch::Receiver<Arc<Accounts>>,
    ) -> Self {
        let (told, waiting, logged, stale) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { store, clock, bell, catalog, accounts, told, waiting, logged, stale, cursor: 0, knows: false }
    }

    /// Looks at everything once; gives when to look again.
    async fn look(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let catalog = self.catalog.borrow_and_update().clone();
        let accounts = self.accounts.borrow_and_update().clone();
        let mut telling = Telling::default();
        let listeners = listeners(&catalog);
        loop {
            let page = self.store.troubles(self.cursor, PAGE).await?;
            // A short one is not the last: rows that cannot be read are left out.
            if page.is_empty() {
                break;
            }
            for trouble in page {
                self.cursor = trouble.number;
                self.log(&trouble, &listeners);
            }
        }
        let mut next = vec![self.messages(&catalog, &listeners, &mut telling, now).await?];
        next.push(self.accounts(&catalog, &accounts, &mut telling, now).await?);
        next.push(self.flows(&catalog, &mut telling, now));
        next.push(self.silence(&catalog, &mut telling, now).await?);
        if !(telling.done.is_empty() && telling.causes.is_empty() && telling.over.is_empty()) {
            let (causes, over) = (telling.causes.clone(), telling.over.clone());
            self.store.tell(telling).await?;
            for (cause, _) in &causes {
                self.waiting.remove(cause);
                self.logged.remove(cause);
            }
            self.told.extend(causes);
            self.told.retain(|cause, _| !over.contains(cause));
        }
        Ok(next.into_iter().flatten().min())
    }

    /// One that ended badly is logged, and waits to be told with those that ended alike.
    fn log(&mut self, trouble: &Trouble, listeners: &BTreeSet<&str>) {
        let Trouble { account, flow, message, .. } = trouble;
        let cause = cause(trouble);
        self.waiting.insert(cause.clone());
        // Somebody who wants no more messages is no trouble.
        if trouble.outcome == Some(AttemptOutcome::OptedOut) {
            match listeners.contains(flow.as_str()) {
                // Whoever was to be told hears nothing any more.
                true => tracing::warn!(%account, %message, "nobody was told: the person wants no more messages"),
                false => tracing::info!(%account, %message, "not sent: the person wants no more messages"),
            }
            return;
        }
        let logged = self.logged.entry(cause).or_default();
        *logged += 1;
        if *logged <= LINES {
            let run = trouble.run.map(|run| run.to_string()).unwrap_or_default();
            let (state, error) = (trouble.state.name(), trouble.error.as_str());
            tracing::warn!(%account, %flow, run, %message, error, "a message is {state}");
        }
    }

    /// Tells of messages, those that ended alike together.
    async fn messages(
        &mut self,
        catalog: &Catalog,
        listeners: &BTreeSet<&str>,
        telling: &mut Telling,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let again = |cause: &str| self.told.get(cause).map(|at| after(*at, TOGETHER)).filter(|at| *at > now);
        if self.waiting.iter().any(|cause| again(cause).is_none()) {
            let mut alike = self.untold().await?;
            self.waiting.retain(|cause| alike.contains_key(cause));
            alike.retain(|cause, _| again(cause).is_none());
            for (cause, (rows, trouble)) in alike {
                telling.done.extend(&rows);
                if trouble.outcome == Some(AttemptOutcome::OptedOut) {
                    self.waiting.remove(&cause);
                    continue;
                }
                if let Some(count) = self.logged.get(&cause).and_then(|logged| logged.checked_sub(LINES + 1)) {
                    let (state, count) = (trouble.state.name(), count + 1);
                    tracing::warn!(account = %trouble.account, flow = %trouble.flow, count, "as many messages more are {state}");
                }
                let own = catalog.flow(&trouble.flow);
                // What goes wrong in the flow that is told is only logged.
                if let Some(hears) = hears(catalog, own).filter(|_| !listeners.contains(trouble.flow.as_str())) {
                    let run = prepare(hears, "failure", &event::message(&trouble, rows.len()), now);
                    telling.runs.push((run, Some(trouble.number)));
                }
                telling.causes.push((cause, now));
            }
        }
        // What was told long ago and has not come again is over.
        let fresh = |cause: &str| telling.causes.iter().any(|(known, _)| known == cause);
        let mut next: Option<Timestamp> = None;
        for (cause, at) in self.told.iter().filter(|(cause, _)| cause.starts_with("message:") && !fresh(cause)) {
            match after(*at, TOGETHER) {
                until if until <= now => telling.over.push(cause.clone()),
                until => next = Some(next.map_or(until, |next| next.min(until))),
            }
        }
        let soon = (!telling.causes.is_empty()).then(|| after(now, TOGETHER));
        Ok([next, soon].into_iter().flatten().min())
    }

    /// What is in the store and was logged, by its cause.
    async fn untold(&self) -> Result<BTreeMap<String, Alike>, StoreError> {
        let mut alike: BTreeMap<String, Alike> = BTreeMap::new();
        let mut behind = 0;
        loop {
            let page = self.store.troubles(behind, PAGE).await?;
            if page.is_empty() {
                return Ok(alike);
            }
            for trouble in page {
                behind = trouble.number;
                if behind > self.cursor {
                    return Ok(alike);
                }
                let number = trouble.number;
                match alike.entry(cause(&trouble)) {
                    Entry::Vacant(new) => drop(new.insert((vec![number], trouble))),
                    Entry::Occupied(mut known) => {
                        let (rows, newest) = known.get_mut();
                        rows.push(number);
                        *newest = trouble;
                    }
                }
            }
        }
    }

    /// Tells of accounts that have not sent for a while, and of those that do so again.
    async fn accounts(
        &mut self,
        catalog: &Catalog,
        accounts: &Accounts,
        telling: &mut Telling,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let mut next = None;
        for (account, view) in accounts {
            let cause = format!("account:{}", account.name);
            // Where nobody hears it yet, it is told as soon as somebody does.
            let Some(hears) = hears(catalog, None) else { continue };
            let view = view.look();
            let told = self.told.contains_key(&cause);
            let state = match &view.paused {
                Some((reason, _)) if !told => {
                    let due = after(view.paused_since.unwrap_or(now), PAUSED);
                    if due > now {
                        next = [next, Some(due)].into_iter().flatten().min();
                        continue;
                    }
                    telling.causes.push((cause, now));
                    event::Account {
                        name: &account.name,
                        state: "paused",
                        reason: Some(reason),
                        since: view.paused_since,
                    }
                }
                None if told && view.sends => {
                    telling.over.push(cause);
                    event::Account { name: &account.name, state: "ready", reason: None, since: None }
                }
                _ => continue,
            };
            let backlog = self.store.lane_length(&account.name).await?;
            telling.runs.push((prepare(hears, "failure", &event::account(&state, backlog), now), None));
        }
        let gone = |cause: &str| {
            let name = cause.strip_prefix("account:");
            name.is_some_and(|name| accounts.iter().all(|(account, _)| account.name != name))
        };
        telling.over.extend(self.told.keys().filter(|cause| gone(cause)).cloned());
        Ok(next)
    }

    /// Tells of flows whose files have been broken for a while.
    fn flows(&mut self, catalog: &Catalog, telling: &mut Telling, now: Timestamp) -> Option<Timestamp> {
        self.stale.retain(|name, _| catalog.stale.contains_key(name));
        let mut next = None;
        for (name, findings) in &catalog.stale {
            let cause = format!("flow:{name}");
            let due = after(*self.stale.entry(name.clone()).or_insert(now), STALE);
            if self.told.contains_key(&cause) {
                continue;
            }
            if due > now {
                next = [next, Some(due)].into_iter().flatten().min();
                continue;
            }
            let own = catalog.flow(name);
            if let Some(hears) = hears(catalog, own).filter(|hears| hears.name != *name) {
                telling.runs.push((prepare(hears, "failure", &event::flow(name, findings), now), None));
                telling.causes.push((cause, now));
            }
        }
        let mended = |cause: &str| cause.strip_prefix("flow:").is_some_and(|name| !catalog.stale.contains_key(name));
        telling.over.extend(self.told.keys().filter(|cause| mended(cause)).cloned());
        next
    }
}

impl Alarm {
    /// Tells of flows that have been silent for longer than they say. One that never ran is silent since it was first
    /// seen here.
    async fn silence(
        &mut self,
        catalog: &Catalog,
        telling: &mut Telling,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let expects = |name: &str| catalog.flow(name).and_then(|flow| flow.expect.filter(|_| flow.enabled));
        let mut next = None;
        for flow in catalog.flows.values() {
            let Some(every) = expects(&flow.name) else { continue };
            let cause = format!("silence:{}", flow.name);
            let filter = RunFilter { flow: Some(flow.name.to_string()), limit: 1, ..RunFilter::default() };
            let last = self.store.runs(filter).await?.rows.first().map(|run| run.created_at);
            let since = self.heard_of(&flow.name, last, telling, now);
            let due = after(since, every);
            if due > now {
                next = [next, Some(due)].into_iter().flatten().min();
                if self.told.contains_key(&cause) {
                    tracing::info!(flow = %flow.name, "it is not silent any more");
                    telling.over.push(cause);
                }
            } else if !self.told.contains_key(&cause) {
                let silent = format_duration(every);
                tracing::warn!(flow = %flow.name, since = rfc3339(since), "nothing has come for longer than {silent} (`expect`)");
                if let Some(hears) = hears(catalog, Some(flow)).filter(|hears| hears.name != flow.name) {
                    let event = event::silence(&flow.name, every, last);
                    telling.runs.push((prepare(hears, "failure", &event, now), None));
                }
                telling.causes.push((cause, now));
            } else {
                // It is looked at again, for nothing rings when a run begins.
                next = [next, Some(after(now, AGAIN))].into_iter().flatten().min();
            }
        }
        let gone = |cause: &str| {
            let name = cause.strip_prefix("silence:").or_else(|| cause.strip_prefix(AWAITED));
            name.is_some_and(|name| expects(name).is_none())
        };
        telling.over.extend(self.told.keys().filter(|cause| gone(cause)).cloned());
        Ok(next)
    }
}

impl Alarm {
    /// Since when nothing has come to a flow: since its last run, else since it was first seen. That is kept, or each
    /// restart would begin the wait anew; from time to time it follows the runs, which do not stay on record for ever.
    fn heard_of(&self, flow: &str, last: Option<Timestamp>, telling: &mut Telling, now: Timestamp) -> Timestamp {
        let cause = format!("{AWAITED}{flow}");
        let known = self.told.get(&cause).copied();
        let since = last.into_iter().chain(known).max().unwrap_or(now);
        if known.is_none_or(|known| after(known, DAY) <= since) {
            telling.causes.push((cause, since));
        }
        since
    }
}

/// What a message that ended badly has in common with others.
fn cause(trouble: &Trouble) -> String {
    let Trouble { account, flow, state, .. } = trouble;
    format!("message:{flow}:{account}:{}:{}", state.name(), trouble.kind())
}

/// The flow that hears of what goes wrong in another one, or in none.
fn hears<'a>(catalog: &'a Catalog, flow: Option<&Arc<Flow>>) -> Option<&'a Arc<Flow>> {
    let own = flow.and_then(|flow| flow.on_failure.as_deref());
    catalog.flow(own.or(catalog.ground.on_failure.as_deref())?)
}

/// All flows that hear of something.
fn listeners(catalog: &Catalog) -> BTreeSet<&str> {
    let own = catalog.flows.values().filter_map(|flow| flow.on_failure.as_deref());
    own.chain(catalog.ground.on_failure.as_deref()).collect()
}
