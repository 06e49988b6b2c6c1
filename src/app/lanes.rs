//! The lanes of all accounts, started and stopped as the settings say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::SharedClock;
use crate::config::{AccountSettings, Settings};
use crate::feed::Change;
use crate::outbox::{Account, Accounts, Lane, Preparer, SharedView};
use crate::shutdown::{Phase, Shutdown, Stopper, Unasked, channel};
use crate::store::{Signals, Store};
use crate::transport::site::Phones;

use super::workspace::account;

/// How often a gateway that is not there is looked for while there is nothing to send.
const LOOKS: Duration = Duration::from_secs(60);

/// The lanes of all accounts.
pub struct Lanes {
    store: Arc<dyn Store>,
    preparer: Preparer,
    signals: Signals,
    shutdown: Shutdown,
    phones: Arc<dyn Phones>,
    running: BTreeMap<String, Running>,
    /// Lanes of accounts that are gone, which may still end what they have on the wire.
    leaving: BTreeMap<String, Running>,
    shown: watch::Sender<Arc<Accounts>>,
    tasks: JoinSet<()>,
    /// Accounts that had a lane in this life.
    seen: BTreeSet<String>,
}

struct Running {
    settings: AccountSettings,
    account: Account,
    view: SharedView,
    stopper: Arc<Stopper>,
    /// Falls when the lane has ended.
    ended: watch::Receiver<()>,
}

/// Accounts that are ready to get their lanes.
pub struct Prepared(Vec<(AccountSettings, Account)>);

impl Prepared {
    /// The accounts.
    pub fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.0.iter().map(|(_, account)| account)
    }
}

impl Lanes {
    /// No lane yet.
    pub fn new(
        store: Arc<dyn Store>,
        preparer: Preparer,
        signals: Signals,
        shutdown: Shutdown,
        phones: Arc<dyn Phones>,
    ) -> Self {
        let (shown, _) = watch::channel(Arc::default());
        let (running, leaving, seen) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let tasks = JoinSet::new();
        Self { store, preparer, signals, shutdown, phones, running, leaving, shown, tasks, seen }
    }

    /// Whoever watches is told of what changed.
    pub fn tell(&self, changes: impl IntoIterator<Item = Change>) {
        self.signals.feed.tell(changes);
    }

    /// The accounts that have a lane, each with what it shows.
    pub fn accounts(&self) -> watch::Receiver<Arc<Accounts>> {
        self.shown.subscribe()
    }

    /// Makes the accounts of these settings; those that are as before stay what they are.
    ///
    /// # Errors
    /// When no client for HTTP can be made, or a credential cannot be sent.
    pub fn prepare(&self, all: &Settings) -> Result<Prepared, String> {
        let make = |settings: &AccountSettings| {
            let same = self.running.get(&settings.name).filter(|running| running.settings == *settings);
            let made = account(settings, &all.accounts, &self.phones)?;
            let account = match same {
                // What it can fall back to may have changed with another account.
                Some(running) if running.account.fallback == made.fallback => running.account.clone(),
                _ => made,
            };
            Ok((settings.clone(), account))
        };
        all.accounts.iter().map(make).collect::<Result<_, String>>().map(Prepared)
    }

    /// Gives each account its lane. One that is new or was changed begins when the lane before it
    /// has ended what it had on the wire; one that is gone ends. No message is touched by that.
    pub fn apply(&mut self, prepared: Prepared) {
        let mut before = std::mem::take(&mut self.running);
        for (settings, account) in prepared.0 {
            let old = before.remove(&settings.name);
            let running = match old {
                Some(old) if old.settings == settings && old.account.fallback == account.fallback => old,
                old => {
                    let old = old.or_else(|| self.leaving.remove(&settings.name));
                    self.start(settings, account, old)
                }
            };
            self.running.insert(running.settings.name.clone(), running);
        }
        for (name, gone) in before {
            gone.stopper.enter(Phase::Draining);
            tracing::info!(account = %name, "the account is gone; its messages wait");
            self.leaving.insert(name, gone);
        }
        let shown = self.running.values().map(|running| (running.account.clone(), running.view.clone())).collect();
        self.shown.send_replace(Arc::new(shown));
        while self.tasks.try_join_next().is_some() {}
    }

    fn start(&mut self, settings: AccountSettings, account: Account, old: Option<Running>) -> Running {
        let view = SharedView::new(&settings.name, self.signals.troubles.clone(), self.signals.feed.clone());
        let inbox = self.signals.lanes.of(&account.name);
        let (stopper, shutdown) = channel();
        let stopper = Arc::new(stopper);
        // Nobody waits for it: it is only shown.
        self.tasks.spawn(look(account.clone(), view.clone(), self.preparer.clock.clone(), shutdown.clone()));
        let (end, ended) = watch::channel(());
        let lane = Lane::new(
            Arc::new(account.clone()),
            self.store.clone(),
            self.preparer.clone(),
            inbox,
            view.clone(),
            !self.seen.insert(account.name.clone()),
        );
        let unasked =
            Unasked::new(format!("the lane of `{}`", account.name), shutdown.clone(), self.signals.breakdown.clone());
        self.tasks.spawn(async move {
            let (_end, _unasked) = (end, unasked);
            if let Some(mut old) = old {
                old.stopper.enter(Phase::Draining);
                // Nothing is ever sent here: this is the end.
                let _ = old.ended.changed().await;
            }
            lane.run(shutdown).await;
        });
        // Beside the lane, which is woken for every message and should not look at this each time.
        self.tasks.spawn(pass_on(self.shutdown.clone(), stopper.clone(), ended.clone()));
        Running { settings, account, view, stopper, ended }
    }

    /// Resolves when all lanes have ended.
    pub async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Looks whether anybody is there, and as long as nothing could be sent, whoever found that, asks again; until a
/// message has shown more.
async fn look(account: Account, view: SharedView, clock: SharedClock, shutdown: Shutdown) {
    let mut looking = Some(account.transport.reach());
    let mut said = None;
    loop {
        if let Some(looking) = looking.take() {
            let found = tokio::select! {
                found = looking => found,
                () = shutdown.draining() => return,
            };
            if let Some(why) = found.as_ref().err().filter(|why| said.as_ref() != Some(*why)) {
                tracing::warn!(account = %account.name, "account `{}` cannot send: {why}", account.name);
                said = Some(why.clone());
            }
            view.checked(clock.now(), found);
        }
        tokio::select! {
            () = clock.rest(LOOKS) => {}
            () = shutdown.draining() => return,
        }
        let seen = view.look();
        if seen.sends {
            return;
        }
        looking = seen.checked.is_some_and(|(_, found)| found.is_err()).then(|| account.transport.check());
    }
}

/// Passes the end of everything on to one lane, for as long as there is one.
async fn pass_on(all: Shutdown, own: Arc<Stopper>, mut ended: watch::Receiver<()>) {
    tokio::select! {
        () = all.draining() => own.enter(Phase::Draining),
        _ = ended.changed() => return,
    }
    tokio::select! {
        () = all.stopped() => own.enter(Phase::Stopped),
        _ = ended.changed() => {}
    }
}
