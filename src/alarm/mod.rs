//! Nothing dies in silence: messages that came to a bad end, accounts that cannot send, flows whose files are
//! broken are written to the log, and told to the flow that `on_failure` names.
//!
//! What is told of is on record with the runs that hear of it, in one transaction: however the engine ends,
//! it is told once. The same cause is told once until it is over; messages that end alike within a while are
//! told together.

mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::{SharedClock, after};
use crate::flow::catalog::Catalog;
use crate::flow::{Flow, prepare};
use crate::outbox::Accounts;
use crate::shutdown::Shutdown;
use crate::store::rows::{Telling, Trouble};
use crate::store::{Store, StoreError};
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
/// After a failure of the store it is tried again then.
const REST: Duration = Duration::from_secs(5);

/// Somebody who wants no more messages is no trouble.
const OPTED_OUT: &str = "opted_out";

/// Messages that ended alike since they were last told of.
#[derive(Default)]
struct Alike {
    rows: Vec<i64>,
    newest: Option<Trouble>,
    logged: u64,
}

/// Tells.
pub struct Alarm {
    store: Arc<dyn Store>,
    clock: SharedClock,
    bell: Bell,
    catalog: watch::Receiver<Arc<Catalog>>,
    accounts: watch::Receiver<Arc<Accounts>>,
    /// What was told of and is not over.
    told: BTreeMap<String, Timestamp>,
    /// What waits to be told together, by its cause.
    waiting: BTreeMap<String, Alike>,
    /// Since when flows are broken.
    stale: BTreeMap<Arc<str>, Timestamp>,
    cursor: i64,
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
        let (told, waiting, stale) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { store, clock, bell, catalog, accounts, told, waiting, stale, cursor: 0 }
    }

    /// Tells until told to stop.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut knows = false;
        while shutdown.is_running() {
            let turn = async {
                if !knows {
                    self.told = self.store.told().await?.into_iter().collect();
                    knows = true;
                }
                self.turn().await
            };
            let next = turn.await.unwrap_or_else(|error| {
                tracing::error!(%error, "nobody can be told of what went wrong");
                Some(after(self.clock.now(), REST))
            });
            let clock = self.clock.clone();
            tokio::select! {
                () = shutdown.draining() => return,
                () = self.bell.rung() => {}
                Ok(()) = self.accounts.changed() => {}
                Ok(()) = self.catalog.changed() => {}
                () = async { match next { Some(at) => clock.sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }

    /// Looks at everything once; gives when to look again.
    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let catalog = self.catalog.borrow_and_update().clone();
        let accounts = self.accounts.borrow_and_update().clone();
        let mut telling = Telling::default();
        let listeners = listeners(&catalog);
        loop {
            let page = self.store.troubles(self.cursor, PAGE).await?;
            let whole = page.len() < PAGE;
            for trouble in page {
                self.cursor = trouble.number;
                self.take(trouble, &listeners, &mut telling);
            }
            if whole {
                break;
            }
        }
        let mut next = vec![self.messages(&catalog, &mut telling, now)];
        next.push(self.accounts(&catalog, &accounts, &mut telling, now).await?);
        next.push(self.flows(&catalog, &mut telling, now));
        if !(telling.done.is_empty() && telling.causes.is_empty() && telling.over.is_empty()) {
            let (causes, over) = (telling.causes.clone(), telling.over.clone());
            self.store.tell(telling).await?;
            self.told.extend(causes);
            self.told.retain(|cause, _| !over.contains(cause));
        }
        Ok(next.into_iter().flatten().min())
    }

    /// One that ended badly: logged, and put with those that ended alike.
    fn take(&mut self, trouble: Trouble, listeners: &BTreeSet<&str>, telling: &mut Telling) {
        if trouble.kind == OPTED_OUT {
            let (account, message) = (&trouble.account, trouble.message);
            match listeners.contains(trouble.flow.as_str()) {
                // Whoever was to be told hears nothing any more.
                true => tracing::warn!(%account, %message, "nobody was told: the person wants no more messages"),
                false => tracing::info!(%account, %message, "not sent: the person wants no more messages"),
            }
            telling.done.push(trouble.number);
            return;
        }
        let Trouble { account, flow, state, kind, .. } = &trouble;
        let alike = self.waiting.entry(format!("message:{flow}:{account}:{}:{kind}", state.name())).or_default();
        alike.logged += 1;
        if alike.logged <= LINES {
            let run = trouble.run.map(|run| run.to_string()).unwrap_or_default();
            let (state, error) = (state.name(), trouble.error.as_str());
            tracing::warn!(%account, %flow, run, message = %trouble.message, error, "a message is {state}");
        }
        alike.rows.push(trouble.number);
        alike.newest = Some(trouble);
    }

    /// Tells of messages, those that ended alike together.
    fn messages(&mut self, catalog: &Catalog, telling: &mut Telling, now: Timestamp) -> Option<Timestamp> {
        let listeners = listeners(catalog);
        let mut next = None;
        for (cause, alike) in &mut self.waiting {
            let again = self.told.get(cause).map(|at| after(*at, TOGETHER)).filter(|at| *at > now);
            let Some(trouble) = alike.newest.take_if(|_| again.is_none()) else {
                next = [next, again.filter(|_| alike.newest.is_some())].into_iter().flatten().min();
                continue;
            };
            let rows = std::mem::take(&mut alike.rows);
            if alike.logged > LINES {
                let count = alike.logged - LINES;
                tracing::warn!(account = %trouble.account, flow = %trouble.flow, count, "as many messages more are {}", trouble.state.name());
            }
            alike.logged = 0;
            let own = catalog.flow(&trouble.flow);
            // What goes wrong in the flow that is told is only logged.
            if let Some(hears) = hears(catalog, own).filter(|_| !listeners.contains(trouble.flow.as_str())) {
                telling.runs.push(prepare(hears, "failure", &event::message(&trouble, rows.len()), now));
            }
            telling.done.extend(rows);
            telling.causes.push((cause.clone(), now));
            next = [next, Some(after(now, TOGETHER))].into_iter().flatten().min();
        }
        // What was told long ago and has not come again is over.
        let fresh = |cause: &str| telling.causes.iter().any(|(known, _)| known == cause);
        for (cause, at) in self.told.iter().filter(|(cause, _)| cause.starts_with("message:")) {
            if after(*at, TOGETHER) <= now && !fresh(cause) {
                telling.over.push(cause.clone());
            }
        }
        let told = &self.told;
        self.waiting.retain(|cause, alike| alike.newest.is_some() || told.contains_key(cause) || fresh(cause));
        next
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
            let backlog = self.store.backlog(&account.name).await?;
            telling.runs.push(prepare(hears, "failure", &event::account(&state, backlog), now));
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
                telling.runs.push(prepare(hears, "failure", &event::flow(name, findings), now));
                telling.causes.push((cause, now));
            }
        }
        let mended = |cause: &str| cause.strip_prefix("flow:").is_some_and(|name| !catalog.stale.contains_key(name));
        telling.over.extend(self.told.keys().filter(|cause| mended(cause)).cloned());
        next
    }
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
