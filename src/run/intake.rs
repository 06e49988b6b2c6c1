//! The door: an event becomes a durable run before anybody is told that it was accepted.

use std::sync::Arc;

use serde::Serialize;

use super::fresh::{Fresh, PATIENCE};
use super::queue::RunQueue;
use crate::clock::SharedClock;
use crate::flow::{Flow, prepare};
use crate::model::run::NewRun;
use crate::store::records::ReadyRun;
use crate::store::{Store, StoreError};

/// Accepts events.
#[derive(Clone)]
pub struct Intake {
    store: Arc<dyn Store>,
    queue: Arc<RunQueue>,
    clock: SharedClock,
}

impl Intake {
    /// Into this store, by this clock; what this queue has threads for is begun at once.
    pub fn new(store: Arc<dyn Store>, queue: Arc<RunQueue>, clock: SharedClock) -> Self {
        Self { store, queue, clock }
    }

    /// A run for an event, not yet accepted. `event` is what the trigger knows, a map; what every
    /// event has is added.
    pub fn prepare(&self, flow: &Flow, trigger: &'static str, event: &impl Serialize) -> NewRun {
        prepare(flow, trigger, event, self.clock.now())
    }

    /// Accepts a run: when this returns, it is on disk.
    ///
    /// # Errors
    /// [`StoreError::Backlog`] and [`StoreError::NoRoom`] mean that the caller may come again.
    pub async fn accept(&self, run: NewRun) -> Result<(), StoreError> {
        let ready = ReadyRun::fresh(&run);
        let (fresh, mut accepted) = Fresh::new(run);
        if !self.queue.offer(ready, &fresh)
            && let Some(run) = fresh.withdrawn()
        {
            return self.store.intake(run).await.map(drop);
        }
        tokio::select! {
            biased;
            accepted = &mut accepted => return accepted.unwrap_or(Err(StoreError::Closed)),
            () = tokio::time::sleep(PATIENCE) => {}
        }
        // The turn takes long, or has to wait: it follows.
        match fresh.alone(&self.store) {
            Some(ready) => ready.await.map(drop),
            None => accepted.await.unwrap_or(Err(StoreError::Closed)),
        }
    }
}
