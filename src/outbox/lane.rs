//! The lane of one account: claims, sends, settles.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::{JoinError, JoinSet};

use super::attempt::{Attempt, breakdown};
use super::breaker::Breaker;
use super::caught::{caught, tried};
use super::claiming::{Asked, Claim, opened, sorted};
use super::failover_timing::{Failover, moved};
use super::outcome::{LaneAction, Outcome};
use super::pace::{Pacer, distance, next_day, quiet_until};
use super::permits::Permits;
use super::preparer::Preparer;
use super::queues::{Next, RecipientQueues};
use super::{Account, SharedView};
use crate::clock::{SharedClock, after};
use crate::id::MessageId;
use crate::shutdown::Shutdown;
use crate::store::arrivals::Inbox;
use crate::store::records::{Claims, Held, Settlement, Verdict};
use crate::store::{STORE_REST, Store};

/// Pages that are read before others get their turn: reading may block the thread.
const PAGES_AT_ONCE: usize = 4;

/// Even without a bell the table is looked at this often.
const LOOK: Duration = Duration::from_secs(60);

/// The lane.
pub struct Lane {
    account: Arc<Account>,
    store: Arc<dyn Store>,
    preparer: Preparer,
    clock: SharedClock,
    inbox: Inbox,
    view: SharedView,
    queues: RecipientQueues,
    /// When the table was last looked at without a bell.
    looked: Timestamp,
    /// The store could not be read; it is asked again then.
    reads_again: Option<Timestamp>,
    pacer: Pacer,
    permits: Permits,
    breaker: Breaker,
    failover: Failover,
    tasks: JoinSet<Event>,
}

/// What a task of the lane comes back with.
enum Event {
    /// Attempts are open for some of what was asked for.
    Claimed { asked: Vec<Asked>, claims: Claims, now: Timestamp },
    /// The store could not open them.
    NotClaimed { asked: Vec<Asked> },
    /// An attempt is over and on record.
    Settled { message: Next, outcome: Outcome },
    /// An attempt panicked; what the store has of it is not known.
    Broken { message: Next },
    /// Messages have left for another account, or the store could not move them.
    Moved(Option<u64>),
}

impl Lane {
    /// A lane that has read nothing yet. `again` says that the account had one before.
    pub fn new(
        account: Arc<Account>,
        store: Arc<dyn Store>,
        preparer: Preparer,
        inbox: Inbox,
        view: SharedView,
        again: bool,
    ) -> Self {
        let clock = preparer.clock.clone();
        Self {
            queues: RecipientQueues::new(),
            looked: clock.now(),
            reads_again: None,
            pacer: Pacer::new(&account.pace, again, clock.now()),
            permits: Permits::new(&account.pace, inbox.bell().clone()),
            breaker: Breaker::new(&account.name, view.clone()),
            failover: Failover::new(account.fallback.clone()),
            tasks: JoinSet::new(),
            preparer: preparer.with_own_room(),
            account,
            store,
            clock,
            inbox,
            view,
        }
    }

    /// Sends until told to stop; then waits for what is under way.
    pub async fn run(mut self, shutdown: Shutdown) {
        if !self.account.pace.counts()
            && let Err(error) = self.store.stop_counting(&self.account.name).await
        {
            tracing::error!(account = %self.account.name, %error, "the days' counts stay");
        }
        loop {
            let running = shutdown.is_running();
            if running {
                self.look();
                self.fill().await;
            } else if self.tasks.is_empty() {
                return;
            }
            // One instant for all: what has come between two looks would be waited for by nobody.
            let now = self.clock.now();
            self.pacer.give_back(self.permits.take_unspent());
            match running {
                true => self.begin(now),
                false => self.grant(now),
            }
            let reads_on = running && self.reads_again.is_none() && self.queues.wants(now).is_some();
            let wake = self.next_wake(running, now);
            let clock = self.clock.clone();
            tokio::select! {
                biased;
                () = shutdown.stopped() => return,
                Some(done) = self.tasks.join_next() => {
                    self.take(done);
                    // Whatever else is done already is taken before looking again.
                    while let Some(done) = self.tasks.try_join_next() {
                        self.take(done);
                    }
                }
                () = self.inbox.bell().rung() => {}
                () = shutdown.draining(), if shutdown.is_running() => {}
                () = tokio::task::yield_now(), if reads_on => {}
                () = async { match wake { Some(at) => clock.sleep_until(at, now).await, None => pending().await } } => {}
            }
        }
    }

    /// Takes what has come. Even without a bell the table is looked at now and then.
    fn look(&mut self) {
        let now = self.clock.now();
        self.queues.arrive(self.inbox.take(), now);
        // The clock may have been set back.
        if now < self.looked || now >= after(self.looked, LOOK) {
            self.queues.expect_more();
            self.looked = now;
        }
    }

    /// Reads what the queues have room for, a few pages at a time.
    async fn fill(&mut self) {
        let now = self.clock.now();
        if self.reads_again.is_some_and(|at| at > now) {
            return;
        }
        self.reads_again = None;
        for _ in 0..PAGES_AT_ONCE {
            let Some(wanted) = self.queues.wants(self.clock.now()) else { return };
            match tried(|| self.store.due_messages(&self.account.name, wanted.after, wanted.limit)).await {
                Ok(messages) => self.queues.load(wanted, messages, self.clock.now()),
                Err(error) => {
                    tracing::error!(account = %self.account.name, error, "the lane cannot read its messages");
                    self.reads_again = Some(after(self.clock.now(), STORE_REST));
                    return;
                }
            }
        }
    }

    /// How many may be out at once. With pauses by chance between messages, one after the other.
    fn most_out(&self) -> usize {
        match self.account.pace.jitter {
            Some(_) => 1,
            None => self.account.transport.capabilities().in_flight as usize,
        }
    }

    /// Lets those go who were prepared meanwhile, as the pace wants it. They go before anybody new; an open
    /// breaker does not stop them, for it waits for what is under way.
    fn grant(&mut self, now: Timestamp) {
        while self.permits.has_waiting(self.most_out()) && self.pacer.available(1, now) > 0 {
            if let Some(chance) = self.permits.grant_next() {
                self.pacer.pay(1, chance, now);
            }
        }
    }

    /// Opens attempts for as many messages as may go out now.
    fn begin(&mut self, now: Timestamp) {
        // Asked in any case: what is due leaves the waiting list, which is what the lane sleeps by.
        let ready = self.queues.has_ready(now);
        if self.pacer.rests(now) {
            return;
        }
        self.grant(now);
        if self.permits.held() == 0 && self.view.is_back() {
            self.breaker.probe_now(now);
        }
        if !ready || self.fail_over(now) || self.failover.is_under_way() {
            return;
        }
        let room = self.breaker.room(self.permits.held(), self.most_out(), now);
        if room > 0 && !self.pacer.rests(now) {
            let room = self.pacer.available(room, now);
            let asked = self.pick(room, now);
            self.show_pace(!asked.is_empty());
            self.claim(asked, now);
        }
    }

    /// Takes up to so many messages from the queues, each with a permit.
    fn pick(&mut self, room: usize, now: Timestamp) -> Vec<Asked> {
        let mut asked: Vec<Asked> = Vec::new();
        while asked.len() < room
            && let Some(message) = self.breaker.next(&mut self.queues, now)
        {
            match self.account.pace.quiet.and_then(|quiet| quiet_until(&quiet, &message.to, &self.account.zone, now)) {
                Some(until) if until > now => self.queues.put_back(&message, Some(until), now),
                _ => {
                    let permit = self.permits.issue(message.id.chance());
                    asked.push(Asked { message, permit });
                }
            }
        }
        if let Some(first) = asked.first() {
            self.breaker.goes_out(first.message.id);
            self.pacer.pay(asked.len(), first.message.id.chance(), now);
        }
        asked
    }

    /// Shows until when the pace holds the lane up, after a look at what could go.
    fn show_pace(&self, goes: bool) {
        let paced = self.pacer.next();
        // What was said of the link before says nothing of how these will end.
        self.view.show(|view| (view.paced_until, view.back) = (paced, view.back && !goes));
    }

    fn claim(&mut self, asked: Vec<Asked>, now: Timestamp) {
        if asked.is_empty() {
            return;
        }
        let claims = opened(&self.store, &self.account, &asked, now);
        self.tasks.spawn(async move {
            match claims.await {
                Some(claims) => Event::Claimed { asked, claims, now },
                None => Event::NotClaimed { asked },
            }
        });
    }

    /// Moves messages to another account, if it is time for that and nothing is under way up to its last record.
    fn fail_over(&mut self, now: Timestamp) -> bool {
        if !self.tasks.is_empty() {
            return false;
        }
        let Some(diversion) = self.failover.start(&self.account, self.breaker.outage(), now) else { return false };
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let moved = tried(|| moved(&*store, diversion, now)).await;
            Event::Moved(moved.inspect_err(|error| tracing::error!(error, "messages cannot be moved")).ok())
        });
        true
    }

    fn take(&mut self, done: Result<Event, JoinError>) {
        let now = self.clock.now();
        match done {
            Ok(Event::Claimed { asked, claims, now }) => self.send(asked, claims, now),
            Ok(Event::NotClaimed { asked }) => {
                for Asked { message, .. } in &asked {
                    self.breaker.never_went(&message.id);
                    self.queues.put_back(message, None, now);
                }
                self.pacer.rest_until(after(now, STORE_REST));
            }
            Ok(Event::Settled { message, outcome }) => self.settled(&message, outcome),
            // It is asked for again: the store knows where it stands.
            Ok(Event::Broken { message }) => {
                self.breaker.never_went(&message.id);
                self.queues.put_back(&message, Some(after(now, STORE_REST)), now);
            }
            Ok(Event::Moved(count)) => {
                if let Some(to) = self.failover.ended(count) {
                    tracing::warn!(account = %self.account.name, to, count, "messages go another way");
                    self.queues = RecipientQueues::new();
                } else if let Some(outage) = self.breaker.outage() {
                    // What cannot move waits for the next probe here.
                    self.pacer.rest_until(outage.probe_at);
                }
            }
            // What tasks call is caught within them, so that they come back with what they hold.
            Err(error) => {
                self.breaker.forget_probe();
                tracing::error!(account = %self.account.name, %error, "a task of the lane broke down");
            }
        }
    }

    fn send(&mut self, asked: Vec<Asked>, claims: Claims, now: Timestamp) {
        for (Asked { message, permit }, claim) in sorted(asked, claims) {
            match claim {
                Claim::Open(claimed) => {
                    let blamed = self.breaker.blame(&message.id);
                    let (account, store) = (self.account.clone(), self.store.clone());
                    let attempt = Attempt::new(account, store.clone(), self.preparer.clone(), permit, blamed);
                    self.tasks.spawn(attempted(message, store, now, attempt.make(*claimed)));
                }
                Claim::Held(held) => self.held(&message, held, now),
                Claim::Gone => {
                    self.queues.leave(&message, now, None, now);
                    self.breaker.never_went(&message.id);
                }
            }
        }
    }

    /// The day has no room for a message: it waits for the next one.
    fn held(&mut self, message: &Next, held: Held, now: Timestamp) {
        self.breaker.never_went(&message.id);
        let tomorrow = next_day(&self.account.zone, now);
        // The others are asked for themselves: one that was tried before has its place in the day.
        self.queues.put_back(message, Some(tomorrow), now);
        self.view.show(|view| match held {
            Held::Daily => view.full_until = Some(tomorrow),
            Held::NewRecipients => view.hold(&message.to, tomorrow, now),
        });
    }

    fn settled(&mut self, message: &Next, outcome: Outcome) {
        self.breaker.ended(message, &outcome);
        let Outcome { action, sent_at, at: now, .. } = outcome;
        match action {
            LaneAction::Advance => {
                self.breaker.forget(&message.id);
                let distance = sent_at.and(distance(&self.account.pace));
                self.queues.leave(message, sent_at.unwrap_or(now), distance, now);
            }
            LaneAction::RetryAt(at) => self.queues.put_back(message, Some(at), now),
            LaneAction::RestUntil(until) => {
                self.queues.put_back(message, Some(until), now);
                self.pacer.rest_until(until);
                let rests = self.pacer.rests_until();
                self.view.show(|view| view.paced_until = rests);
            }
            LaneAction::Open { reason, certain, unreached } => {
                // One that has been in the way of others comes back later and later.
                let wait = match self.breaker.blame(&message.id) {
                    0 => None,
                    blamed => Some(after(now, self.account.retry.delay(blamed, 0))),
                };
                self.queues.put_back(message, wait, now);
                self.breaker.open(message, reason, certain, unreached, now);
            }
        }
    }

    fn next_wake(&self, running: bool, now: Timestamp) -> Option<Timestamp> {
        let paced = self.pacer.next().filter(|at| *at > now);
        let waiting = paced.filter(|_| self.permits.has_waiting(self.most_out()));
        if !running {
            return waiting;
        }
        let outage = self.breaker.outage().filter(|_| self.permits.held() == 0);
        let probes = outage.map(|outage| match self.failover.starts_at(outage) {
            Some(at) => outage.probe_at.min(at.max(now)),
            None => outage.probe_at,
        });
        // Nothing new goes out while the lane is blocked, whatever may be due in it.
        let queues = probes.filter(|at| *at > now).max(paced).or_else(|| self.queues.next_wake());
        [waiting, queues, self.reads_again, Some(after(self.looked, LOOK))].into_iter().flatten().min()
    }
}

/// Makes an attempt. Whatever panics in it, its message comes back, and its permit is dropped with it.
async fn attempted(
    message: Next,
    store: Arc<dyn Store>,
    now: Timestamp,
    attempt: impl Future<Output = Outcome>,
) -> Event {
    match caught(|| attempt).await {
        Ok(outcome) => Event::Settled { message, outcome },
        Err(panic) => {
            let error = breakdown("the attempt", &panic);
            tracing::error!(id = %message.id, error);
            doubted(&*store, message.id, error, now).await;
            Event::Broken { message }
        }
    }
}

/// An attempt of which nobody knows how far it came is put on record as such, if none is yet.
async fn doubted(store: &dyn Store, id: MessageId, error: String, at: Timestamp) {
    let verdict = Verdict::Doubt { error, provider_id: None };
    if let Err(error) = tried(|| store.settle(Settlement { id, at, verdict, parts: Vec::new(), opened: None })).await {
        tracing::error!(%id, error, "an attempt stays open until the next start");
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
