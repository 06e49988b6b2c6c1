//! The lane of one account: claims, sends, settles.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::line::{Line, Next};
use super::pace::{Bucket, distance};
use super::verdict::{Effect, decide};
use super::{Account, SharedView};
use crate::blobs::Blobs;
use crate::clock::{SharedClock, after};
use crate::id::MessageId;
use crate::model::delivery::{ErrorClass, Receipt, SendError};
use crate::model::message::Source;
use crate::model::recipient::Recipient;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::rows::{Claimed, Settlement, Verdict};
use crate::transport::Outgoing;
use crate::wake::Bell;

/// Messages read from the store at once.
const PAGE: usize = 256;
/// A paused lane probes after this, then twice as long, and so on.
const FIRST_PROBE: Duration = Duration::from_secs(5);
const LAST_PROBE: Duration = Duration::from_secs(300);
/// After a failure of the store the lane looks again then.
const STORE_REST: Duration = Duration::from_secs(1);

/// The lane.
pub struct Lane {
    account: Arc<Account>,
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: SharedClock,
    bell: Bell,
    view: SharedView,
    line: Line,
    bucket: Bucket,
    /// Attempts that are being opened or on the wire. One is counted off by its own task as soon
    /// as the gateway has answered; recording the answer is not the gateway's concern.
    in_flight: Arc<AtomicUsize>,
    pause: Option<Pause>,
    rest_until: Option<Timestamp>,
    tasks: JoinSet<Event>,
}

struct Pause {
    probe_at: Timestamp,
    failures: u32,
    /// The message that tries whether the gateway takes any.
    probe: Option<MessageId>,
}

/// What a task of the lane comes back with.
enum Event {
    /// Attempts are open for some of what was asked for.
    Claimed { asked: Vec<Next>, claimed: Vec<Claimed> },
    /// The store could not open them.
    NotClaimed { asked: Vec<Next> },
    /// An attempt is over and on record.
    Settled { message: Next, sent_at: Timestamp, effect: Effect, reached: bool },
}

impl Lane {
    /// A lane that has read nothing yet. `again` says that the account had one before.
    pub fn new(
        account: Arc<Account>,
        store: Arc<dyn Store>,
        blobs: Blobs,
        clock: SharedClock,
        bell: Bell,
        view: SharedView,
        again: bool,
    ) -> Self {
        let now = clock.now();
        let bucket = if again { Bucket::spent(&account.pace, now) } else { Bucket::new(&account.pace, now) };
        Self {
            account,
            store,
            blobs,
            clock,
            bell,
            view,
            line: Line::new(),
            bucket,
            in_flight: Arc::default(),
            pause: None,
            rest_until: None,
            tasks: JoinSet::new(),
        }
    }

    /// Sends until told to stop; then waits for what is under way.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            if shutdown.is_running() {
                self.fill().await;
                self.begin();
            } else if self.tasks.is_empty() {
                return;
            }
            let wake = self.next_wake();
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
            match self.store.due_messages(&self.account.name, cursor, PAGE).await {
                Ok(messages) => {
                    let whole = messages.len() < PAGE;
                    self.line.load(messages, whole, self.clock.now());
                }
                Err(error) => {
                    tracing::error!(account = %self.account.name, %error, "the lane cannot read its messages");
                    self.rest_until = Some(after(self.clock.now(), STORE_REST));
                    return;
                }
            }
        }
    }

    /// Opens attempts for as many messages as may go out now.
    fn begin(&mut self) {
        let now = self.clock.now();
        // Asked in any case: what is due leaves the waiting list, which is what the lane sleeps by.
        let ready = self.line.has_ready(now);
        if self.rest_until.is_some_and(|until| until > now) {
            return;
        }
        self.rest_until = None;
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let room = match &self.pause {
            Some(pause) if pause.probe_at > now || in_flight > 0 || pause.probe.is_some() => 0,
            Some(_) => 1,
            None => (self.account.transport.capabilities().in_flight as usize).saturating_sub(in_flight),
        };
        if room == 0 || !ready {
            return;
        }
        let count = self.bucket.available(room, now);
        let asked: Vec<Next> = std::iter::from_fn(|| self.line.next(now)).take(count).collect();
        if let (Some(pause), [probe]) = (&mut self.pause, asked.as_slice()) {
            pause.probe = Some(probe.id);
        }
        self.bucket.take(asked.len());
        self.in_flight.fetch_add(asked.len(), Ordering::Relaxed);
        self.view.show(|view| view.paced_until = self.bucket.next());
        if asked.is_empty() {
            return;
        }
        let claim = self.store.claim(asked.iter().map(|next| next.id).collect(), now);
        let account = self.account.name.clone();
        self.tasks.spawn(async move {
            match claim.await {
                Ok(claimed) => Event::Claimed { asked, claimed },
                Err(error) => {
                    tracing::error!(%account, %error, "the lane cannot open attempts");
                    Event::NotClaimed { asked }
                }
            }
        });
    }

    fn take(&mut self, done: Result<Event, tokio::task::JoinError>) {
        let now = self.clock.now();
        match done {
            Ok(Event::Claimed { asked, claimed }) => self.send(asked, claimed, now),
            Ok(Event::NotClaimed { asked }) => {
                self.in_flight.fetch_sub(asked.len(), Ordering::Relaxed);
                asked.iter().for_each(|next| self.line.back(next, None, now));
                self.no_probe();
                self.rest_until = Some(after(now, STORE_REST));
            }
            Ok(Event::Settled { message, sent_at, effect, reached }) => {
                self.settled(&message, sent_at, effect, reached, now);
            }
            // A transport that panics leaves its attempt open, as a crash would; the next start
            // finds it. The lane goes on.
            Err(error) => {
                self.no_probe();
                tracing::error!(account = %self.account.name, %error, "an attempt broke down");
            }
        }
    }

    fn send(&mut self, asked: Vec<Next>, mut claimed: Vec<Claimed>, now: Timestamp) {
        for next in asked {
            let Some(place) = claimed.iter().position(|message| message.id == next.id) else {
                // Taken back, expired or decided by a person meanwhile.
                self.in_flight.fetch_sub(1, Ordering::Relaxed);
                self.line.left(&next, now, None, now);
                self.no_probe();
                continue;
            };
            let message = claimed.swap_remove(place);
            let attempt = Attempt {
                account: self.account.clone(),
                store: self.store.clone(),
                blobs: self.blobs.clone(),
                clock: self.clock.clone(),
                in_flight: OnWire(self.in_flight.clone()),
            };
            self.tasks.spawn(async move {
                let (effect, reached) = attempt.make(message).await;
                Event::Settled { message: next, sent_at: now, effect, reached }
            });
        }
    }

    /// What was to be the probe never went out: the next message may be it.
    fn no_probe(&mut self) {
        if let Some(pause) = &mut self.pause {
            pause.probe = None;
        }
    }

    fn settled(&mut self, message: &Next, sent_at: Timestamp, effect: Effect, reached: bool, now: Timestamp) {
        if reached && self.pause.take().is_some() {
            tracing::info!(account = %self.account.name, "the lane goes on");
            self.view.show(|view| view.paused = None);
        }
        // A probe that failed for a reason of its own says nothing about the gateway.
        if let Some(pause) = self.pause.as_mut().filter(|pause| pause.probe == Some(message.id)) {
            pause.probe = None;
            if !matches!(effect, Effect::Pause(_)) {
                pause.probe_at = after(now, FIRST_PROBE);
                self.view.show(|view| {
                    if let Some((_, at)) = &mut view.paused {
                        *at = pause.probe_at;
                    }
                });
            } else {
                pause.failures += 1;
                pause.probe_at = after(now, probe_wait(pause.failures));
            }
        }
        match effect {
            Effect::Leave => self.line.left(message, sent_at, distance(&self.account.pace), now),
            Effect::Back(at) => self.line.back(message, Some(at), now),
            Effect::Rest(until) => {
                self.line.back(message, Some(until), now);
                self.rest_until = Some(until);
                self.view.show(|view| view.paced_until = Some(until));
            }
            Effect::Pause(reason) => {
                self.line.back(message, None, now);
                // The rest of the volley in which the pause began counts for nothing.
                let first = self.pause.is_none();
                let pause = self.pause.get_or_insert_with(|| Pause {
                    probe_at: after(now, probe_wait(0)),
                    failures: 0,
                    probe: None,
                });
                if first {
                    tracing::warn!(account = %self.account.name, %reason, "the lane is paused");
                }
                self.view.show(|view| view.paused = Some((reason, pause.probe_at)));
            }
        }
    }

    fn next_wake(&self) -> Option<Timestamp> {
        let now = self.clock.now();
        let paused =
            self.pause.as_ref().map(|pause| pause.probe_at).filter(|_| self.in_flight.load(Ordering::Relaxed) == 0);
        let blocked = [paused, self.rest_until, self.bucket.next()];
        let blocked = blocked.into_iter().flatten().filter(|at| *at > now).max();
        // Nothing goes out while the lane is blocked, whatever may be due in it.
        blocked.or_else(|| self.line.next_wake())
    }
}

/// How long a paused lane waits for its next probe after so many that failed.
fn probe_wait(failures: u32) -> Duration {
    FIRST_PROBE.saturating_mul(1 << failures.min(10)).min(LAST_PROBE)
}

/// All that one attempt needs.
struct Attempt {
    account: Arc<Account>,
    store: Arc<dyn Store>,
    blobs: Blobs,
    clock: SharedClock,
    in_flight: OnWire,
}

/// A place on the wire, given back when dropped: also by a task that breaks down.
struct OnWire(Arc<AtomicUsize>);

impl Drop for OnWire {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Attempt {
    /// Sends, decides, and records; gives what it means for the lane.
    async fn make(self, message: Claimed) -> (Effect, bool) {
        let (id, tries) = (message.id, message.tries);
        let result = self.send(message).await;
        drop(self.in_flight);
        let now = self.clock.now();
        if let Err(error) = &result {
            tracing::warn!(account = %self.account.name, id = %id, class = error.class.name(), "{}", error.message);
        }
        let chance = u64::from_be_bytes(id.as_bytes()[8..].try_into().unwrap_or_default());
        let (verdict, effect) = decide(result, tries, &self.account.retry, now, chance ^ u64::from(tries));
        loop {
            let settlement = Settlement { id, at: now, verdict: verdict.clone() };
            match self.store.settle(settlement).await {
                Ok(()) => return (effect, matches!(verdict, Verdict::Reached { .. })),
                // What the gateway said must not be lost: it is recorded as soon as the store
                // takes writes again. If the engine dies before, the message is unknown.
                Err(error) => tracing::error!(id = %id, %error, "an attempt's end cannot be recorded"),
            }
            self.clock.sleep_until(after(self.clock.now(), STORE_REST)).await;
        }
    }

    async fn send(&self, message: Claimed) -> Result<Receipt, SendError> {
        let invalid = |error: String| SendError::new(ErrorClass::Invalid, error);
        let to = Recipient::from_canonical(&message.to).map_err(invalid)?;
        let capabilities = self.account.transport.capabilities();
        capabilities.addresses(&to).map_err(|error| SendError::new(ErrorClass::Unsupported, error))?;
        let policy = message.body.options.on_unsupported.unwrap_or(self.account.on_unsupported);
        let (body, mut degraded) = capabilities.adapt(message.body, policy)?;
        let file = body.content.source().and_then(|source| self.file(source));
        let mut receipt = self.account.transport.send(Outgoing { id: message.id, to, body, file }).await?;
        degraded.append(&mut receipt.degraded);
        receipt.degraded = degraded;
        Ok(receipt)
    }

    fn file(&self, source: &Source) -> Option<PathBuf> {
        match source {
            Source::Snapshot(copy) => Some(self.blobs.path(&copy.blob)),
            Source::Url { .. } => None,
        }
    }
}
