//! The lane of one account: claims, sends, settles.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::attempt::{Attempt, Outcome};
use super::caught::tried;
use super::diversion::diverted;
use super::gate::{Gate, Place};
use super::line::{Line, Next};
use super::opening::opened;
use super::pace::{Bucket, by_chance, distance, next_day, quiet_until};
use super::pause::{FIRST_PROBE, Pause};
use super::supply::Supply;
use super::verdict::Effect;
use super::{Account, SharedView};
use crate::clock::{SharedClock, after};
use crate::id::MessageId;
use crate::shutdown::Shutdown;
use crate::store::rows::{Budget, ClaimRules, Claims, Diversion, Held};
use crate::store::{STORE_REST, Store};
use crate::wake::Bell;

/// Messages read from the store at once.
const PAGE: usize = 256;
/// The lane.
pub struct Lane {
    account: Arc<Account>,
    store: Arc<dyn Store>,
    supply: Supply,
    clock: SharedClock,
    bell: Bell,
    view: SharedView,
    line: Line,
    bucket: Bucket,
    gate: Gate,
    pause: Option<Pause>,
    /// The view says that the gateway takes messages; it is not locked for each of them.
    sends: bool,
    /// Messages for which the lane has paused, and others went out all the same: how often.
    blamed: HashMap<MessageId, u32>,
    rest_until: Option<Timestamp>,
    /// The messages are being moved to another account.
    diverting: bool,
    tasks: JoinSet<Event>,
}

/// What a task of the lane comes back with.
enum Event {
    /// Attempts are open for some of what was asked for.
    Claimed { asked: Vec<Next>, claims: Claims, now: Timestamp },
    /// The store could not open them.
    NotClaimed { asked: Vec<Next> },
    /// An attempt is over and on record.
    Settled { message: Next, outcome: Outcome },
    /// Messages have left for another account, or the store could not move them.
    Diverted(Option<u64>),
}

impl Lane {
    /// A lane that has read nothing yet. `again` says that the account had one before.
    pub fn new(
        account: Arc<Account>,
        store: Arc<dyn Store>,
        supply: Supply,
        bell: Bell,
        view: SharedView,
        again: bool,
    ) -> Self {
        let clock = supply.clock.clone();
        let now = clock.now();
        let bucket = if again { Bucket::spent(&account.pace, now) } else { Bucket::new(&account.pace, now) };
        let gate = Gate::new(&account.pace, bell.clone());
        Self {
            account,
            store,
            supply: supply.with_own_room(),
            clock,
            gate,
            bell,
            view,
            line: Line::new(),
            bucket,
            pause: None,
            sends: false,
            blamed: HashMap::new(),
            rest_until: None,
            diverting: false,
            tasks: JoinSet::new(),
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
                self.fill().await;
            } else if self.tasks.is_empty() {
                return;
            }
            // One instant for both: what has come between two looks would be waited for by nobody.
            let now = self.clock.now();
            match running {
                true => self.begin(now),
                false => self.let_out(now),
            }
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
                () = self.bell.rung() => self.line.expect_more(),
                () = shutdown.draining(), if shutdown.is_running() => {}
                () = async { match wake { Some(at) => clock.sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }

    /// Reads what the line has room for.
    async fn fill(&mut self) {
        while let Some(cursor) = self.line.wants() {
            match tried(|| self.store.due_messages(&self.account.name, cursor, PAGE)).await {
                Ok(messages) => {
                    let whole = messages.len() < PAGE;
                    self.line.load(messages, whole, self.clock.now());
                }
                Err(error) => {
                    tracing::error!(account = %self.account.name, error, "the lane cannot read its messages");
                    self.rest_until = Some(after(self.clock.now(), STORE_REST));
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

    /// Lets those out who were prepared meanwhile, as the pace wants it. They go before anybody
    /// new; a pause does not stop them, for it waits for what is under way.
    fn let_out(&mut self, now: Timestamp) {
        (0..self.gate.take_unused()).for_each(|_| self.bucket.give_back());
        while self.rest_until.is_none_or(|until| until <= now)
            && self.gate.has_waiting(self.most_out())
            && self.bucket.available(1, now) > 0
        {
            if let Some(chance) = self.gate.let_next_out() {
                self.bucket.take(1);
                self.rest_until = by_chance(&self.account.pace, chance, now);
            }
        }
    }

    /// Opens attempts for as many messages as may go out now.
    fn begin(&mut self, now: Timestamp) {
        // Asked in any case: what is due leaves the waiting list, which is what the lane sleeps by.
        let ready = self.line.has_ready(now);
        if self.rest_until.is_some_and(|until| until > now) {
            return;
        }
        self.rest_until = None;
        self.let_out(now);
        let is_back = self.gate.out() == 0 && self.view.is_back();
        self.pause.iter_mut().filter(|_| is_back).for_each(|pause| pause.probe_at = now);
        if ready && self.divert(now) {
            return;
        }
        let out = self.gate.out();
        let room = match &self.pause {
            Some(pause) if pause.probe_at > now || out > 0 || pause.probe.is_some() => 0,
            Some(_) => 1,
            None => self.most_out().saturating_sub(out),
        };
        if room == 0 || !ready || self.diverting || self.rest_until.is_some_and(|until| until > now) {
            return;
        }
        let count = self.bucket.available(room, now);
        let mut asked: Vec<Next> = Vec::new();
        while asked.len() < count
            && let Some(next) = self.next(now)
        {
            match self.account.pace.quiet.and_then(|quiet| quiet_until(&quiet, &next.to, &self.account.zone, now)) {
                Some(until) if until > now => self.line.back(&next, Some(until), now),
                _ => asked.push(next),
            }
        }
        if let (Some(pause), [probe]) = (&mut self.pause, asked.as_slice()) {
            pause.probe = Some(probe.id);
        }
        self.bucket.take(asked.len());
        self.gate.let_out(asked.len());
        self.rest_until = asked.first().and_then(|first| by_chance(&self.account.pace, first.id.chance(), now));
        let paced = self.bucket.next().max(self.rest_until);
        // What was said of the link before says nothing of how these will end.
        self.view.show(|view| (view.paced_until, view.back) = (paced, view.back && asked.is_empty()));
        if asked.is_empty() {
            return;
        }
        let cards = self.account.transport.capabilities().cards;
        let budget = self.account.pace.counts().then(|| Budget {
            day: now.to_zoned(self.account.zone.clone()).date().to_string(),
            daily: self.account.pace.daily,
            new_recipients: self.account.pace.new_recipients,
        });
        let claim = opened(&self.store, &self.account, &asked, ClaimRules { budget, cards }, now);
        self.tasks.spawn(async move {
            match claim.await {
                Some(claims) => Event::Claimed { asked, claims, now },
                None => Event::NotClaimed { asked },
            }
        });
    }

    /// The next message; of a paused lane one for somebody who has not tried yet.
    fn next(&mut self, now: Timestamp) -> Option<Next> {
        let Some(pause) = &mut self.pause else { return self.line.next(now) };
        self.line.next_but(now, &pause.tried).or_else(|| {
            pause.tried.clear();
            self.line.next(now)
        })
    }

    /// Sends messages another way, when theirs has been closed for long enough and no probe is due.
    fn divert(&mut self, now: Timestamp) -> bool {
        let (Some(pause), Some(fallback)) = (&self.pause, &self.account.fallback) else { return false };
        // What is under way settles first, up to its last record.
        if self.diverting
            || !self.tasks.is_empty()
            || pause.probe.is_some()
            || pause.diverts_at() > now
            || pause.probe_at <= now
        {
            return false;
        }
        self.diverting = true;
        let diversion = Diversion {
            from: self.account.name.clone(),
            to: fallback.name.clone(),
            capabilities: fallback.capabilities,
            on_unsupported: fallback.on_unsupported,
            hosted: self.account.public_url.is_some(),
            reason: pause.reason.clone(),
        };
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let moved = tried(|| diverted(&*store, diversion, now)).await;
            Event::Diverted(moved.inspect_err(|error| tracing::error!(error, "messages cannot be moved")).ok())
        });
        true
    }

    fn take(&mut self, done: Result<Event, tokio::task::JoinError>) {
        let now = self.clock.now();
        match done {
            Ok(Event::Claimed { asked, claims, now }) => self.send(asked, claims, now),
            Ok(Event::NotClaimed { asked }) => {
                for next in &asked {
                    self.gate.comes_back();
                    self.line.back(next, None, now);
                }
                self.no_probe();
                self.rest_until = Some(after(now, STORE_REST));
            }
            Ok(Event::Settled { message, outcome }) => self.settled(&message, outcome),
            Ok(Event::Diverted(moved)) => {
                self.diverting = false;
                if let (Some(count @ 1..), Some(fallback)) = (moved, &self.account.fallback) {
                    tracing::warn!(account = %self.account.name, to = %fallback.name, count, "messages go another way");
                    self.line = Line::new();
                } else if let Some(pause) = &self.pause {
                    // What cannot move waits for the next probe here.
                    self.rest_until = Some(pause.probe_at);
                }
            }
            // What tasks call is caught within them, so that they come back with what they hold.
            Err(error) => {
                self.no_probe();
                tracing::error!(account = %self.account.name, %error, "a task of the lane broke down");
            }
        }
    }

    fn send(&mut self, asked: Vec<Next>, claims: Claims, now: Timestamp) {
        let Claims { mut claimed, held } = claims;
        for next in asked {
            if let Some((_, held)) = held.iter().find(|(id, _)| *id == next.id) {
                self.held(&next, *held, now);
                continue;
            }
            let Some(place) = claimed.iter().position(|message| message.id == next.id) else {
                // Taken back, expired, moved or decided by a person meanwhile.
                self.gate.comes_back();
                self.line.left(&next, now, None, now);
                self.no_probe();
                continue;
            };
            let message = claimed.swap_remove(place);
            let place = Place::taken(self.gate.clone(), message.id.chance());
            let blamed = self.blamed.get(&message.id).copied().unwrap_or_default();
            let attempt = Attempt::new(self.account.clone(), self.store.clone(), self.supply.clone(), place, blamed);
            self.tasks.spawn(async move { Event::Settled { message: next, outcome: attempt.make(message).await } });
        }
    }

    /// The day has no room for a message: it waits for the next one.
    fn held(&mut self, message: &Next, held: Held, now: Timestamp) {
        self.gate.comes_back();
        self.bucket.give_back();
        self.no_probe();
        let tomorrow = next_day(&self.account.zone, now);
        // The others are asked for themselves: one that was tried before has its place in the day.
        self.line.back(message, Some(tomorrow), now);
        self.view.show(|view| match held {
            Held::Daily => view.full_until = Some(tomorrow),
            Held::NewRecipients => view.hold(&message.to, tomorrow, now),
        });
    }

    /// What was to be the probe never went out: the next message may be it.
    fn no_probe(&mut self) {
        if let Some(pause) = &mut self.pause {
            pause.probe = None;
        }
    }

    fn settled(&mut self, message: &Next, outcome: Outcome) {
        let Outcome { effect, reached, sent_at, at: now } = outcome;
        if let Some(pause) = self.pause.take_if(|_| reached) {
            for id in pause.failed.into_iter().filter(|id| *id != message.id) {
                *self.blamed.entry(id).or_default() += 1;
            }
            tracing::info!(account = %self.account.name, "account `{}` sends again", self.account.name);
        }
        if reached && !std::mem::replace(&mut self.sends, true) {
            self.view.goes_on();
        }
        if let Some(pause) = self.pause.as_mut().filter(|pause| pause.probe == Some(message.id)) {
            pause.probe = None;
            match &effect {
                Effect::Pause { reason, certain, .. } => pause.failed(reason.clone(), *certain, now),
                // A probe that failed for a reason of its own says nothing about the gateway.
                _ => {
                    pause.probe_at = after(now, FIRST_PROBE);
                    let probe_at = pause.probe_at;
                    self.view.show(|view| {
                        if let Some((_, at)) = &mut view.paused {
                            *at = probe_at;
                        }
                    });
                }
            }
        }
        match effect {
            Effect::Leave => {
                self.blamed.remove(&message.id);
                let distance = sent_at.and(distance(&self.account.pace));
                self.line.left(message, sent_at.unwrap_or(now), distance, now);
            }
            Effect::Back(at) => self.line.back(message, Some(at), now),
            Effect::Rest(until) => {
                self.line.back(message, Some(until), now);
                // A shorter wish does not shorten a longer one.
                self.rest_until = self.rest_until.max(Some(until));
                let rests = self.rest_until;
                self.view.show(|view| view.paced_until = rests);
            }
            Effect::Pause { reason, certain, unreached } => {
                // One that has been in the way of others comes back later and later.
                let wait = self.blamed.get(&message.id).map(|blamed| self.account.retry.delay(*blamed, 0));
                self.line.back(message, wait.map(|wait| after(now, wait)), now);
                // The rest of the volley in which the pause began counts for nothing.
                if self.pause.is_none() {
                    tracing::warn!(account = %self.account.name, %reason, "account `{}` is paused", self.account.name);
                }
                let pause = self.pause.get_or_insert_with(|| Pause::new(reason.clone(), certain, now));
                pause.tried.insert(message.to.clone());
                if !unreached {
                    pause.failed.insert(message.id);
                }
                self.sends = false;
                self.view.pauses(reason, pause.probe_at, now);
            }
        }
    }

    fn next_wake(&self, running: bool, now: Timestamp) -> Option<Timestamp> {
        let ahead = |times: &[Option<Timestamp>]| times.iter().copied().flatten().filter(|at| *at > now).max();
        let paced = [self.rest_until, self.bucket.next()];
        let waiting = self.gate.has_waiting(self.most_out()).then(|| ahead(&paced)).flatten();
        if !running {
            return waiting;
        }
        let idle = self.gate.out() == 0;
        let paused = self.pause.as_ref().filter(|_| idle).map(|pause| match self.account.fallback {
            Some(_) => pause.probe_at.min(pause.diverts_at().max(now)),
            None => pause.probe_at,
        });
        // Nothing new goes out while the lane is blocked, whatever may be due in it.
        let line = ahead(&[paused, paced[0], paced[1]]).or_else(|| self.line.next_wake());
        [waiting, line].into_iter().flatten().min()
    }
}
