//! Callers that wait for what a run has to say.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::id::RunId;
use crate::model::journal::Kind;
use crate::model::run::{Response, RunState, ScriptError};
use crate::store::{Store, StoreError};

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
    waiting: Arc<Mutex<HashMap<RunId, Vec<Waiter>>>>,
}

/// One of those who wait for a run, by a number of its own.
type Waiter = (u64, oneshot::Sender<Reply>);

/// A caller that waits for a run; dropped, it waits no longer.
pub struct Subscription {
    run: RunId,
    number: u64,
    subscribers: Subscribers,
    reply: oneshot::Receiver<Reply>,
}

impl Subscribers {
    /// Begins to wait for a run; to be called before the run is accepted, or before it is looked what it has said.
    pub fn subscribe(&self, run: RunId) -> Subscription {
        let (sender, reply) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiters = waiting.entry(run).or_default();
        let number = waiters.last().map_or(0, |(number, _)| number + 1);
        waiters.push((number, sender));
        Subscription { run, number, subscribers: self.clone(), reply }
    }

    /// The runs that somebody waits for.
    pub fn waited_for(&self) -> Vec<RunId> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// Tells whoever waits for the run.
    pub fn tell(&self, run: RunId, reply: impl FnOnce() -> Reply) {
        let waiters = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        let Some(waiters) = waiters else { return };
        let reply = reply();
        for (_, waiter) in waiters {
            // The caller may have hung up.
            let _ = waiter.send(reply.clone());
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
        let mut waiting = self.subscribers.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut waiters) = waiting.entry(self.run) {
            waiters.get_mut().retain(|(number, _)| *number != self.number);
            if waiters.get().is_empty() {
                waiters.remove();
            }
        }
    }
}

/// What a run has said already; none when it has said nothing yet, or is not kept any more.
///
/// # Errors
/// As the store fails.
pub async fn said_before(store: &dyn Store, run: RunId) -> Result<Option<Reply>, StoreError> {
    let Some(record) = store.run(run).await? else { return Ok(None) };
    let calls = store.journal(run).await?;
    let answer = calls.iter().rev().find(|call| call.entry.kind == Kind::Respond);
    if let Some(response) = answer.and_then(|call| serde_json::from_str(call.entry.request.get()).ok()) {
        return Ok(Some(Reply::Response(response)));
    }
    Ok(match record.state {
        RunState::Succeeded => {
            let value = record.result.as_deref().and_then(|result| serde_json::from_str(result).ok());
            Some(Reply::Value(value.unwrap_or_default()))
        }
        RunState::Failed => record.error.map(Reply::Failed),
        RunState::Cancelled | RunState::Skipped => Some(Reply::Ended(record.state)),
        RunState::Queued | RunState::Running | RunState::Waiting => None,
    })
}
