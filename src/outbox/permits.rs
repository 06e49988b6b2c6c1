//! Send permits: who is on the wire, and who gave a permit back for a while (to fetch a file, or between two
//! parts) and wants one again, at the lane's pace like everybody else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::model::policy::Pace;
use crate::wake::Bell;

/// Messages that are prepared (files fetched, pages read) beside those on the wire, ...
const PREPARING: usize = 32;
/// ... and no more than the pace lets out in this time: whoever is prepared waits no longer.
const AHEAD: Duration = Duration::from_secs(60);

/// The permits of one lane. Cheap to clone.
#[derive(Clone)]
pub struct Permits {
    state: Arc<Mutex<State>>,
    /// Room for messages that are prepared without a permit.
    preparing: Arc<Semaphore>,
    /// Tells the lane to look again.
    bell: Bell,
}

#[derive(Default)]
struct State {
    /// Permits that are held: attempts that are being opened or on the wire. An attempt gives its permit back
    /// as soon as the gateway has answered; recording the answer is not the gateway's concern.
    held: usize,
    /// Tokens of the pace that were paid for permits that came back unused.
    unspent: usize,
    waiting: VecDeque<Waiter>,
}

/// An attempt that wants to touch the wire.
struct Waiter {
    /// It gave its permit back and needs one again.
    needs_permit: bool,
    chance: u64,
    granted: oneshot::Sender<()>,
}

impl Permits {
    /// With none held.
    pub fn new(pace: &Pace, bell: Bell) -> Self {
        let each = pace.rate.map(|(count, span)| span / count).max(pace.jitter).unwrap_or_default();
        let ahead = AHEAD.as_nanos().checked_div(each.as_nanos()).unwrap_or(u128::MAX);
        let preparing = Semaphore::new(ahead.clamp(1, PREPARING as u128) as usize);
        Self { state: Arc::default(), preparing: Arc::new(preparing), bell }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One for an attempt that the lane has room for and has paid the pace for. `chance` is any number, by which
    /// the lane spreads what it sends.
    pub fn issue(&self, chance: u64) -> Permit {
        self.state().held += 1;
        Permit { permits: self.clone(), chance, paid: true, preparing: None }
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.state().held
    }

    /// How many tokens of the pace were paid for nothing since this was last asked.
    pub fn take_unspent(&self) -> usize {
        std::mem::take(&mut self.state().unspent)
    }

    /// Whether somebody waits who could go if the pace lets it, with at most `most` permits held.
    pub fn has_waiting(&self, most: usize) -> bool {
        let state = self.state();
        state.waiting.front().is_some_and(|first| !first.needs_permit || state.held < most)
    }

    /// Lets the first of those who wait go; gives its chance. None if it is gone.
    pub fn grant_next(&self) -> Option<u64> {
        let mut state = self.state();
        let Waiter { needs_permit, chance, granted } = state.waiting.pop_front()?;
        // Counted here, so that the lane sees it at once; a task that is gone needs nothing.
        granted.send(()).ok()?;
        state.held += usize::from(needs_permit);
        Some(chance)
    }

    /// Whoever still holds a permit goes first: the others may be waiting for just that one.
    fn queue(&self, waiter: Waiter) {
        let mut state = self.state();
        match waiter.needs_permit {
            true => state.waiting.push_back(waiter),
            false => state.waiting.push_front(waiter),
        }
    }
}

/// Leave for one attempt to touch the wire, paid for by the pace. Given back when dropped, also by a task that
/// panics; if it was not used by then, so is what was paid for it.
pub struct Permit {
    permits: Permits,
    chance: u64,
    /// The pace has been paid, and nothing has gone out for it yet.
    paid: bool,
    /// Held instead of the permit while that is released.
    preparing: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// Gives it back while something is fetched or waited for, as long as not too many do that.
    pub fn release(&mut self) {
        if self.preparing.is_none()
            && let Ok(room) = self.permits.preparing.clone().try_acquire_owned()
        {
            self.preparing = Some(room);
            let mut state = self.permits.state();
            state.held -= 1;
            state.unspent += usize::from(std::mem::take(&mut self.paid));
            drop(state);
            self.permits.bell.nudge();
        }
    }

    /// Resolves when the wire may be touched, once: immediately if the permit is still held and paid for, else as
    /// soon as the lane grants it.
    pub async fn acquire(&mut self) {
        if !self.paid {
            let (granted, is_granted) = oneshot::channel();
            let waiter = Waiter { needs_permit: self.preparing.is_some(), chance: self.chance, granted };
            self.permits.queue(waiter);
            self.permits.bell.nudge();
            // The lane outlives its tasks; if it does not, this one is about to end as well.
            if is_granted.await.is_err() {
                std::future::pending::<()>().await;
            }
            self.preparing = None;
        }
        self.paid = false;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.permits.state();
        state.held -= usize::from(self.preparing.is_none());
        state.unspent += usize::from(self.paid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_that_comes_back_unused_gives_back_what_was_paid() {
        let permits = Permits::new(&Pace::UNLIMITED, Bell::default());
        drop(permits.issue(0));
        assert_eq!((permits.held(), permits.take_unspent()), (0, 1));
        let mut used = permits.issue(0);
        used.acquire().await;
        drop(used);
        assert_eq!((permits.held(), permits.take_unspent()), (0, 0));
    }

    #[tokio::test]
    async fn a_released_permit_is_counted_again_when_it_is_granted() {
        let permits = Permits::new(&Pace::UNLIMITED, Bell::default());
        let mut permit = permits.issue(7);
        permit.release();
        assert_eq!((permits.held(), permits.take_unspent()), (0, 1));
        let task = tokio::spawn(async move {
            permit.acquire().await;
            permit
        });
        permits.bell.rung().await;
        while !permits.has_waiting(1) {
            tokio::task::yield_now().await;
        }
        assert!(!permits.has_waiting(0));
        assert_eq!(permits.grant_next(), Some(7));
        assert_eq!(permits.held(), 1);
        drop(task.await.unwrap());
        assert_eq!((permits.held(), permits.take_unspent()), (0, 0));
    }
}
