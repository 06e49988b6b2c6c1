//! Failover: an account that cannot send leaves its messages to another one.

use std::time::Duration;

use jiff::Timestamp;

use super::breaker::Outage;
use super::{Account, Fallback};
use crate::clock::after;
use crate::id::MessageId;
use crate::store::records::Diversion;
use crate::store::{Store, StoreError};

/// An outage that may end by itself is given so long before the messages go another way.
const PATIENCE: Duration = Duration::from_secs(600);
/// Messages that move in one transaction.
const MOVED_AT_ONCE: usize = 200;

/// Whether and when a lane's messages move.
pub struct Failover {
    target: Option<Fallback>,
    is_under_way: bool,
}

impl Failover {
    /// To the account that takes over, if there is one.
    pub fn new(target: Option<Fallback>) -> Self {
        Self { target, is_under_way: false }
    }

    /// Whether messages are being moved: nothing is sent meanwhile.
    pub fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// When messages may move in an outage; none when there is nobody who takes over.
    pub fn starts_at(&self, outage: &Outage) -> Option<Timestamp> {
        let at = if outage.certain { outage.since } else { after(outage.since, PATIENCE) };
        self.target.is_some().then_some(at)
    }

    /// Begins to move messages, if the time has come and no probe is due or under way. Gives what is to be moved.
    pub fn start(&mut self, account: &Account, outage: Option<&Outage>, now: Timestamp) -> Option<Diversion> {
        let (outage, target) = (outage?, self.target.as_ref()?);
        let is_time = self.starts_at(outage).is_some_and(|at| at <= now);
        if self.is_under_way || outage.is_half_open() || !is_time || outage.probe_at <= now {
            return None;
        }
        self.is_under_way = true;
        Some(Diversion {
            from: account.name.clone(),
            to: target.name.clone(),
            capabilities: target.capabilities,
            on_unsupported: target.on_unsupported,
            hosted: account.public_url.is_some(),
            reason: outage.reason.clone(),
        })
    }

    /// It is over; so many were moved, if that is known. Gives the account to which some have gone.
    pub fn ended(&mut self, moved: Option<u64>) -> Option<&str> {
        self.is_under_way = false;
        self.target.as_ref().filter(|_| moved.is_some_and(|count| count > 0)).map(|target| &*target.name)
    }
}

/// Moves what may leave, a few at a time: others want to write too.
///
/// # Errors
/// Of the store. What was moved before stays there.
pub async fn moved(store: &dyn Store, diversion: Diversion, now: Timestamp) -> Result<u64, StoreError> {
    let mut moved = 0;
    let mut some: Vec<MessageId> = Vec::new();
    // Whoever dies in the middle leaves each recipient's messages in one place.
    for group in store.divertible(&diversion).await? {
        if some.len() + group.len() > MOVED_AT_ONCE && !some.is_empty() {
            moved += store.divert(std::mem::take(&mut some), diversion.clone(), now).await?;
        }
        some.extend(group);
    }
    moved += store.divert(some, diversion, now).await?;
    Ok(moved)
}
