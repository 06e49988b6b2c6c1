//! The door: an event becomes a durable run before anybody is told that it was accepted.

use std::sync::Arc;

use serde::Serialize;

use crate::clock::SharedClock;
use crate::flow::{Flow, prepare};
use crate::model::run::NewRun;
use crate::store::{Store, StoreError};

/// Accepts events.
#[derive(Clone)]
pub struct Intake {
    store: Arc<dyn Store>,
    clock: SharedClock,
}

impl Intake {
    /// Into this store, by this clock.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock) -> Self {
        Self { store, clock }
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
        self.store.intake(run).await
    }
}
