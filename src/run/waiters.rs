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
pub struct Waiters {
    waiting: Arc<Mutex<HashMap<RunId, oneshot::Sender<Reply>>>>,
}

/// A place among the waiters, given up when dropped.
pub struct Place {
    run: RunId,
    waiters: Waiters,
    reply: oneshot::Receiver<Reply>,
}

impl Waiters {
    /// Begins to wait for a run; to be called before the run is accepted.
    pub fn wait_for(&self, run: RunId) -> Place {
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(run, sender);
        Place { run, waiters: self.clone(), reply }
    }

    /// Tells whoever waits for the run.
    pub fn tell(&self, run: RunId, reply: impl FnOnce() -> Reply) {
        let waiter = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        if let Some(waiter) = waiter {
            // The caller may have hung up.
            let _ = waiter.send(reply());
        }
    }
}

impl Place {
    /// What the run says; none when nobody will say anything any more.
    pub async fn reply(&mut self) -> Option<Reply> {
        (&mut self.reply).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiters.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}
