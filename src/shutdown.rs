//! Stopping in two steps: first no new work, then no more patience.

use tokio::sync::watch;

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
