//! The door: an event becomes a durable run before anybody is told that it was accepted.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::clock::{SharedClock, rfc3339};
use crate::flow::Flow;
use crate::id::{RunId, random_bytes};
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

    /// A run for an event, not yet accepted. `event` holds what the trigger knows; what every
    /// event has is added.
    pub fn prepare(&self, flow: &Flow, trigger: &'static str, event: Map<String, Value>) -> NewRun {
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

/// Makes the run of a flow for an event at an instant.
pub fn prepare(flow: &Flow, trigger: &'static str, mut event: Map<String, Value>, at: jiff::Timestamp) -> NewRun {
    let id = RunId::new(at);
    event.insert("trigger".into(), trigger.into());
    event.insert("at".into(), rfc3339(at).into());
    // A failure event brings its own: those of the run that failed.
    event.entry("flow").or_insert_with(|| (*flow.name).into());
    event.entry("run").or_insert_with(|| id.to_string().into());
    NewRun {
        id,
        flow: flow.name.to_string(),
        version: flow.version.clone(),
        trigger,
        event: Value::Object(event).to_string(),
        seed: random_bytes(),
        at,
    }
}
