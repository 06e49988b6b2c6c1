//! Runs whose errand is under way: between the turn that asked and the one that has the answer.

use super::context::Context;
use super::effects::Caller;
use super::queue::RunQueue;
use crate::flow::versions::Missing;
use crate::id::RunId;
use crate::model::event::part_of;
use crate::model::question::{Answer, Errand};
use crate::model::run::ScriptError;
use crate::store::{STORE_REST, StoreError};

/// A run that waits for an errand. Its event and its journal are in the store.
pub struct InFlight {
    /// Which.
    pub id: RunId,
    /// The number that it is found by after a crash.
    pub ready: i64,
    /// Name of its flow.
    pub flow: String,
    /// What it is pinned to.
    pub version: String,
    /// Where in its journal the answer will stand.
    pub position: u32,
    /// What is to be done.
    pub errand: Errand,
    /// It may have been run before, by an engine that died.
    pub again: bool,
}

impl InFlight {
    /// Runs the errand and puts its answer on record, which makes the run ready.
    pub async fn land(&self, queue: &RunQueue, context: &Context) {
        let answer = tokio::select! {
            answer = self.answer(context) => answer.transpose(),
            () = context.shutdown.stopped() => None,
        };
        // The end has come before: it is taken up after the next start.
        let Some(answer) = answer else { return queue.landed(self.id, &self.flow) };
        let recorded = match answer {
            Ok(answer) => context.store.answer_errand(self.id, self.ready, answer).await.map(|_| ()),
            Err(error) => Err(error),
        };
        let Err(error) = recorded else { return queue.landed(self.id, &self.flow) };
        tracing::error!(flow = %self.flow, run = %self.id, %error, "the answer to a question could not be recorded; it is asked again");
        context.clock.rest(STORE_REST).await;
        queue.landed(self.id, &self.flow);
        queue.reread(&self.flow, self.ready);
    }

    /// What the errand gives; none when the end has come before it began.
    async fn answer(&self, context: &Context) -> Result<Option<Answer>, StoreError> {
        let flow = match context.versions.get(&self.flow, &self.version).await {
            Ok(flow) => flow,
            Err(Missing::Store(error)) => return Err(error),
            Err(Missing::Broken(error)) => return Ok(Some(Err(error))),
        };
        let part = match &self.errand {
            Errand::Part { part, .. } => {
                let record = context.store.run(self.id).await?;
                let Some(bytes) = record.and_then(|record| part_of(&record.event, *part as usize)) else {
                    return Ok(Some(Err(ScriptError::new("file", "save: the event has no such file any more"))));
                };
                Some(bytes)
            }
            _ => None,
        };
        let caller = Caller { run: self.id, flow: &flow, position: self.position, again: self.again, part };
        Ok(context.effects.run(&self.errand, caller, &context.shutdown).await)
    }
}
