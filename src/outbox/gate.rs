//! The gate between a lane and the wire: who is out there, and who left for a while (to fetch a
//! file, or between two parts) and wants to go out again, at the lane's pace like everybody else.

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

/// The gate of one lane. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    state: Arc<Mutex<State>>,
    /// Room for messages that leave their place to others.
    preparing: Arc<Semaphore>,
    /// Tells the lane to look again.
    bell: Bell,
}

#[derive(Default)]
struct State {
    /// Attempts that are being opened or on the wire. One is counted off by its own task as soon
    /// as the gateway has answered; recording the answer is not the gateway's concern.
    out: usize,
    /// What the pace had let out and did not go.
    unused: usize,
    waiting: VecDeque<Waiting>,
}

/// Somebody who wants to go out.
struct Waiting {
    /// It left its place and needs one again.
    place: bool,
    chance: u64,
    go: oneshot::Sender<()>,
}

impl Gate {
    /// With nobody out.
    pub fn new(pace: &Pace, bell: Bell) -> Self {
        let each = pace.rate.map(|(count, span)| span / count).max(pace.jitter).unwrap_or_default();
        let ahead = AHEAD.as_nanos().checked_div(each.as_nanos()).unwrap_or(u128::MAX);
        let preparing = Semaphore::new(ahead.clamp(1, PREPARING as u128) as usize);
        Self { state: Arc::default(), preparing: Arc::new(preparing), bell }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever holds a place still goes first: the others may be waiting for just that one.
    fn line_up(&self, waiting: Waiting) {
        let mut state = self.state();
        match waiting.place {
            true => state.waiting.push_back(waiting),
            false => state.waiting.push_front(waiting),
        }
    }

    /// How many are out.
    pub fn out(&self) -> usize {
        self.state().out
    }

    /// Lets `count` out, for whom there was room.
    pub fn let_out(&self, count: usize) {
        self.state().out += count;
    }

    /// One that was let out comes back before it had a place of its own.
    pub fn comes_back(&self) {
        self.state().out -= 1;
    }

    /// How many the pace let out for nothing since this was last asked.
    pub fn take_unused(&self) -> usize {
        std::mem::take(&mut self.state().unused)
    }

    /// Whether somebody waits who could go if the pace lets it.
    pub fn has_waiting(&self, most: usize) -> bool {
        let state = self.state();
        state.waiting.front().is_some_and(|first| !first.place || state.out < most)
    }

    /// Lets the first of those who wait out; gives its chance. None if it is gone.
    pub fn let_next_out(&self) -> Option<u64> {
        let mut state = self.state();
        let Waiting { place, chance, go } = state.waiting.pop_front()?;
        // Counted here, so that the lane sees it at once; a task that is gone needs nothing.
        go.send(()).ok()?;
        state.out += usize::from(place);
        Some(chance)
    }
}

/// A message's place on the wire, paid for by the pace. Given back when dropped: also by a task
/// that breaks down.
pub struct Place {
    gate: Gate,
    chance: u64,
    /// The pace has let it out, and it has not gone yet.
    paid: bool,
    /// Held while the place is left to others.
    left: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// One that the lane has counted and paid for already.
    pub fn taken(gate: Gate, chance: u64) -> Self {
        Self { gate, chance, paid: true, left: None }
    }

    /// Leaves it to others while something is fetched or waited for, as long as not too many do
    /// that.
    pub fn leave(&mut self) {
        if self.left.is_none()
            && let Ok(permit) = self.gate.preparing.clone().try_acquire_owned()
        {
            self.left = Some(permit);
            let mut state = self.gate.state();
            state.out -= 1;
            state.unused += usize::from(std::mem::take(&mut self.paid));
            drop(state);
            self.gate.bell.nudge();
        }
    }

    /// Goes out: at once if nothing stands in the way, else as soon as the lane says so.
    pub async fn go(&mut self) {
        if !self.paid {
            let (go, gone) = oneshot::channel();
            let waiting = Waiting { place: self.left.is_some(), chance: self.chance, go };
            self.gate.line_up(waiting);
            self.gate.bell.nudge();
            // The lane outlives its tasks; if it does not, this one is about to end as well.
            if gone.await.is_err() {
                std::future::pending::<()>().await;
            }
            self.left = None;
        }
        self.paid = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.out -= usize::from(self.left.is_none());
        state.unused += usize::from(self.paid);
    }
}
