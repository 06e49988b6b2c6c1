//! The door: an event becomes a durable run before anybody is told that it was accepted.

use std::sync::Arc;

use serde::Serialize;

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

/// Makes the run of a flow for an event at an instant.
pub fn prepare(flow: &Flow, trigger: &'static str, event: &impl Serialize, at: jiff::Timestamp) -> NewRun {
    let id = RunId::new(at);
    let whole = Event { trigger, at: rfc3339(at), flow: &flow.name, run: id, rest: event };
    NewRun {
        id,
        flow: flow.name.to_string(),
        version: flow.version.clone(),
        trigger,
        // Texts and numbers under text keys: that cannot fail to be written as JSON.
        event: serde_json::to_string(&whole).unwrap_or_default(),
        seed: random_bytes(),
        at,
    }
}

/// What every event has, and what its trigger adds. A key of the trigger's own wins, because a
/// reader of JSON keeps the last: a failure event names the flow and the run that failed.
#[derive(Serialize)]
struct Event<'a, E: Serialize> {
    trigger: &'static str,
    at: String,
    flow: &'a str,
    run: RunId,
    #[serde(flatten)]
    rest: &'a E,
}
