//! The outbox: messages promised and not yet settled. Each account has a lane that sends them in
//! order, at its pace, and records every attempt before and after the wire.

mod lane;
mod line;
mod mover;
mod pace;
mod verdict;
mod why;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::policy::{OnUnknown, OnUnsupported, Pace, Retry};
use crate::transport::SharedTransport;

pub use lane::Lane;
pub use mover::Mover;
pub use why::why;

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
}

/// The accounts that have a lane, each with what it shows.
pub type Accounts = Vec<(Account, SharedView)>;

/// What a lane lets others see of itself.
#[derive(Clone, Debug, Default)]
pub struct LaneView {
    /// Why it is paused, if it is, and when it tries again.
    pub paused: Option<(String, Timestamp)>,
    /// The pace lets nothing out before this.
    pub paced_until: Option<Timestamp>,
}

/// The view, shared between a lane and whoever looks.
#[derive(Clone, Default)]
pub struct SharedView(Arc<Mutex<LaneView>>);

impl SharedView {
    /// What there is to see now.
    pub fn look(&self) -> LaneView {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, change: impl FnOnce(&mut LaneView)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
