//! Makes waiting runs ready when their time has come.

use std::sync::Arc;

use jiff::Timestamp;

use crate::clock::SharedClock;
use crate::service::Service;
use crate::store::{Store, StoreError};
use crate::wake::Bell;

/// The service.
pub struct RunTimers {
    store: Arc<dyn Store>,
    clock: SharedClock,
    bell: Bell,
}

impl RunTimers {
    /// For the runs in this store; `bell` is rung when one waits for an earlier time than any before.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, bell: Bell) -> Self {
        Self { store, clock, bell }
    }
}

impl Service for RunTimers {
    type Error = StoreError;
    const TROUBLE: &'static str = "waiting runs cannot be woken";

    /// Wakes everything that is due now.
    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let woken = self.store.wake_runs(self.clock.now()).await?;
            if woken.count == 0 {
                return Ok(woken.next);
            }
        }
    }

    async fn woken(&mut self) {
        self.bell.rung().await;
    }
}
