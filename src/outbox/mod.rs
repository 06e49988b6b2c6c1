//! The outbox: messages promised and not yet settled. Each account has a lane that sends them in
//! order, at its pace, and records every attempt before and after the wire.

mod addresses;
mod attachments;
mod attempt;
mod breaker;
mod cards;
mod caught;
mod claiming;
mod failover_timing;
mod file_types;
mod lane;
mod link_tracking;
mod outcome;
mod pace;
mod permits;
mod preparer;
mod queues;
mod reply_window;
mod set_aside;
mod timers;
mod why;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock::after;
use crate::feed::{Change, Feed};
use crate::model::capability::Capabilities;
use crate::model::opt_out::OptOut;
use crate::model::policy::{OnUnknown, OnUnsupported, Pace, Retry};
use crate::secret::Secret;
use crate::transport::SharedTransport;
use crate::wake::Bell;

pub use file_types::served_type;
pub use lane::Lane;
pub use preparer::Preparer;
pub use timers::MessageTimers;
pub use why::{Why, why};

/// Recipients that are shown as waiting for another day.
const MOST_HELD: usize = 100_000;

/// An account as the outbox sees it.
#[derive(Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// The word for its transport.
    pub kind: &'static str,
    /// What speaks to its gateway.
    pub transport: SharedTransport,
    /// How fast it may send.
    pub pace: Pace,
    /// How often and how soon to try again.
    pub retry: Retry,
    /// What to do in doubt.
    pub on_unknown: OnUnknown,
    /// How long to wait for evidence.
    pub unknown_after: Duration,
    /// What to do with wishes that the gateway cannot fulfil.
    pub on_unsupported: OnUnsupported,
    /// Whose calendar and night count where a recipient's are not known.
    pub zone: TimeZone,
    /// The account that takes over when this one cannot send.
    pub fallback: Option<Fallback>,
    /// How the world reaches us.
    pub public_url: Option<url::Url>,
    /// The part of the address that only the gateway knows.
    pub inbound_token: Option<Secret>,
    /// What people write who want to hear no more.
    pub opt_out: Option<OptOut>,
}

/// The account that takes over.
#[derive(Clone, Debug, PartialEq)]
pub struct Fallback {
    /// Its name.
    pub name: String,
    /// What it can do.
    pub capabilities: &'static Capabilities,
    /// What becomes there of what it cannot do.
    pub on_unsupported: OnUnsupported,
}

/// The accounts that have a lane, each with what it shows.
pub type Accounts = Vec<(Account, SharedView)>;

/// What a lane lets others see of itself.
#[derive(Clone, Debug, Default)]
pub struct LaneView {
    /// Why it is paused, if it is, and when it tries again.
    pub paused: Option<(String, Timestamp)>,
    /// Since when.
    pub paused_since: Option<Timestamp>,
    /// Its gateway has taken something since the engine started, and the lane is not paused.
    pub sends: bool,
    /// The pace lets nothing out before this.
    pub paced_until: Option<Timestamp>,
    /// The day's messages are used up until then.
    pub full_until: Option<Timestamp>,
    /// What the gateway last said of its link to WhatsApp, while that is down.
    pub link_down: Option<String>,
    /// What the last look at the gateway gave, and when.
    pub checked: Option<(Timestamp, Result<String, String>)>,
    /// What its gateway told, or somebody in its name, that was not taken: the last time.
    pub unheard: Option<Unheard>,
    /// The link has come back since the lane last looked.
    back: bool,
    /// New recipients for whom the day has no room, and until when; at most [`MOST_HELD`].
    held: HashMap<String, Timestamp>,
}

/// Something that came for an account and was not taken.
#[derive(Clone, Debug)]
pub struct Unheard {
    /// When it came last.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// How often it has come for this reason, one after the other.
    pub count: u64,
    /// When the log said so last.
    logged_at: Timestamp,
}

/// How often the log says so again.
const LOGGED_EVERY: Duration = Duration::from_secs(3_600);

impl LaneView {
    /// Until when a recipient waits because too many new ones were written to.
    pub fn held_until(&self, to: &str) -> Option<Timestamp> {
        self.held.get(to).copied()
    }

    fn hold(&mut self, to: &str, until: Timestamp, now: Timestamp) {
        if self.held.len() >= MOST_HELD {
            self.held.retain(|_, until| *until > now);
        }
        if self.held.len() < MOST_HELD {
            self.held.insert(to.to_owned(), until);
        }
    }
}

/// The view, shared between a lane and whoever looks.
#[derive(Clone)]
pub struct SharedView {
    view: Arc<Mutex<LaneView>>,
    /// Rung when the lane pauses, or goes on.
    bell: Bell,
    /// Whoever watches is told so too, with this name.
    feed: Feed,
    name: Arc<str>,
}

impl SharedView {
    /// Nothing yet; `bell` is rung when the lane pauses, and when it goes on, and `feed` is told.
    pub fn new(name: &str, bell: Bell, feed: Feed) -> Self {
        Self { view: Arc::default(), bell, feed, name: name.into() }
    }

    fn tell(&self) {
        self.feed.tell([Change::Account { name: self.name.to_string() }]);
    }

    fn lock(&self) -> MutexGuard<'_, LaneView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing goes out, for this reason, before another try.
    fn pauses(&self, reason: String, probe_at: Timestamp, since: Timestamp) {
        let begins = {
            let mut view = self.lock();
            (view.paused, view.sends) = (Some((reason, probe_at)), false);
            let known = view.paused_since;
            view.paused_since = known.or(Some(since));
            known.is_none()
        };
        if begins {
            self.bell.nudge();
        }
        self.tell();
    }

    /// The gateway takes messages.
    fn goes_on(&self) {
        {
            let mut view = self.lock();
            (view.sends, view.paused, view.paused_since) = (true, None, None);
        }
        self.bell.nudge();
        self.tell();
    }

    /// What there is to see now.
    pub fn look(&self) -> LaneView {
        self.lock().clone()
    }

    /// The gateway says how its link to WhatsApp stands. Whoever waits for it to come back should look
    /// again.
    pub fn link(&self, is_up: bool, state: &str) {
        self.show(|view| {
            view.back = is_up;
            view.link_down = (!is_up).then(|| state.to_owned());
        });
        self.tell();
    }

    /// Somebody has looked at the gateway.
    pub fn checked(&self, at: Timestamp, found: Result<String, String>) {
        self.lock().checked = Some((at, found));
        self.tell();
    }

    /// Something came for the account and is not taken. Gives how often it came, when the log is to say so.
    pub fn leaves_out(&self, reason: &str, now: Timestamp) -> Option<u64> {
        let mut view = self.lock();
        match &mut view.unheard {
            Some(unheard) if unheard.reason == reason => {
                (unheard.at, unheard.count) = (now, unheard.count.saturating_add(1));
                let count = unheard.count;
                (after(unheard.logged_at, LOGGED_EVERY) <= now).then(|| {
                    unheard.logged_at = now;
                    count
                })
            }
            other => {
                *other = Some(Unheard { at: now, reason: reason.to_owned(), count: 1, logged_at: now });
                Some(1)
            }
        }
    }

    /// Somebody wants a paused lane to try now.
    pub fn try_now(&self) {
        self.lock().back = true;
    }

    /// Whether the link has come back since this was last asked.
    fn is_back(&self) -> bool {
        std::mem::take(&mut self.lock().back)
    }

    fn show(&self, change: impl FnOnce(&mut LaneView)) {
        change(&mut self.lock());
    }
}
