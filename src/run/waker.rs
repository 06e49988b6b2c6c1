//! Makes waiting runs ready when their time has come.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{SharedClock, after};
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use crate::wake::Bell;

/// The service.
pub struct Waker {
    store: Arc<dyn Store>,
    clock: SharedClock,
    bell: Bell,
}

impl Waker {
    /// For the runs in this store.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, bell: Bell) -> Self {
        Self { store, clock, bell }
    }

    /// Wakes until told to stop.
    pub async fn run(self, shutdown: Shutdown) {
        while shutdown.is_running() {
            let next = match self.turn().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "waiting runs cannot be woken");
                    Some(after(self.clock.now(), Duration::from_secs(1)))
                }
            };
            tokio::select! {
                () = shutdown.draining() => return,
                () = self.bell.rung() => {}
                () = async { match next { Some(at) => self.clock.sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }

    /// Wakes everything that is due now; gives when to look again.
    async fn turn(&self) -> Result<Option<jiff::Timestamp>, StoreError> {
        loop {
            let woken = self.store.wake_runs(self.clock.now()).await?;
            if woken.count == 0 {
                return Ok(woken.next);
            }
        }
    }
}
