//! The door: an event becomes a durable run before anybody is told that it was accepted.

use std::sync::Arc;

use serde::Serialize;

use super::fresh::{Fresh, PATIENCE};
use super::queue::RunQueue;
use super::subscribers::{Reply, Subscribers, said_before};
use crate::clock::SharedClock;
use crate::flow::{Flow, prepare};
use crate::model::run::{NewRun, WhenFull};
use crate::store::records::ReadyRun;
use crate::store::{Store, StoreError};

/// Accepts events.
#[derive(Clone)]
pub struct Intake {
    store: Arc<dyn Store>,
    queue: Arc<RunQueue>,
    clock: SharedClock,
    subscribers: Subscribers,
}

impl Intake {
    /// Into this store, by this clock; what this queue has threads for is begun at once.
    pub fn new(store: Arc<dyn Store>, queue: Arc<RunQueue>, clock: SharedClock, subscribers: Subscribers) -> Self {
        Self { store, queue, clock, subscribers }
    }

    /// Callers that wait for runs which another one has taken the place of.
    async fn tell_replaced(&self) {
        for run in self.subscribers.waited_for() {
            if let Ok(Some(reply @ Reply::Ended(_))) = said_before(&*self.store, run).await {
                self.subscribers.tell(run, || reply);
            }
        }
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
        // Whether it may begin is decided where it is put on record.
        if let Some(slot) = &run.slot {
            let replaces = slot.when_full == WhenFull::Replace;
            self.store.intake(run).await?;
            if replaces {
                self.tell_replaced().await;
            }
            return Ok(());
        }
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
