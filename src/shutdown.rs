//! Stopping in two steps: first no new work, then no more patience.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Notify, watch};

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Business as usual.
    Running,
    /// Take no new work; finish what is in flight.
    Draining,
    /// Drop everything; whatever is unfinished is taken up after the next start.
    Stopped,
}

/// The hand that stops.
pub struct Stopper(watch::Sender<Phase>);

/// What services listen to.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<Phase>);

/// A stopper and the signal that it gives.
pub fn channel() -> (Stopper, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Stopper(sender), Shutdown(receiver))
}

impl Stopper {
    /// Moves on to `phase`; going back is not possible.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }
}

impl Shutdown {
    /// Whether new work may still be taken.
    pub fn is_running(&self) -> bool {
        *self.0.borrow() == Phase::Running
    }

    /// Resolves when no new work is to be taken. A stopper that was dropped counts as stopped.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves when even work in flight is to be dropped.
    pub async fn stopped(&self) {
        self.reached(Phase::Stopped).await;
    }

    async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.clone();
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }
}

/// Where it is said that the engine cannot go on. Cheap to clone.
#[derive(Clone, Default)]
pub struct Breakdown {
    reason: Arc<OnceLock<String>>,
    told: Arc<Notify>,
}

impl Breakdown {
    /// Something that the engine cannot do without has ended. The first reason is the one that counts.
    pub fn report(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.told.notify_one();
    }

    /// Resolves, with the reason, once it has been reported. One waits at a time.
    pub async fn reported(&self) -> String {
        loop {
            if let Some(reason) = self.reason.get() {
                return reason.clone();
            }
            self.told.notified().await;
        }
    }
}

/// Held by something that is to run until the end: if it is dropped before, by a panic or otherwise, that
/// is a breakdown.
pub struct Unasked {
    name: String,
    shutdown: Shutdown,
    breakdown: Breakdown,
}

impl Unasked {
    /// For what people know by this name.
    pub fn new(name: impl Into<String>, shutdown: Shutdown, breakdown: Breakdown) -> Self {
        Self { name: name.into(), shutdown, breakdown }
    }
}

impl Drop for Unasked {
    fn drop(&mut self) {
        if self.shutdown.is_running() {
            let how = if std::thread::panicking() { "broke down" } else { "ended" };
            self.breakdown.report(format!("{} {how} though nobody had asked for it", self.name));
        }
    }
}
