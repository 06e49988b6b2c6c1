//! Callers that wait for what a run has to say.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::id::RunId;
use crate::model::run::{Response, RunState, ScriptError};

/// What a run says to its caller.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The script called `respond`.
    Response(Response),
    /// The script ended with this value.
    Value(serde_json::Value),
    /// The script failed.
    Failed(ScriptError),
    /// The run was taken back or skipped.
    Ended(RunState),
}

/// Who waits for which run. Only the first thing that a run says counts.
#[derive(Clone, Default)]
pub struct Subscribers {
    waiting: Arc<Mutex<HashMap<RunId, oneshot::Sender<Reply>>>>,
}

/// A caller that waits for a run; dropped, it waits no longer.
pub struct Subscription {
    run: RunId,
    subscribers: Subscribers,
    reply: oneshot::Receiver<Reply>,
}

impl Subscribers {
    /// Begins to wait for a run; to be called before the run is accepted.
    pub fn subscribe(&self, run: RunId) -> Subscription {
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(run, sender);
        Subscription { run, subscribers: self.clone(), reply }
    }

    /// Tells whoever waits for the run.
    pub fn tell(&self, run: RunId, reply: impl FnOnce() -> Reply) {
        let subscriber = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        if let Some(subscriber) = subscriber {
            // The caller may have hung up.
            let _ = subscriber.send(reply());
        }
    }
}

impl Subscription {
    /// What the run says; none when nobody will say anything any more.
    pub async fn reply(&mut self) -> Option<Reply> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subscribers.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}
