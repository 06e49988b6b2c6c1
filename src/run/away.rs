//! Runs that are away on an errand.

use super::board::Board;
use super::context::Context;
use super::errand::Caller;
use crate::clock::after;
use crate::flow::versions::Missing;
use crate::id::RunId;
use crate::model::question::Errand;
use crate::store::STORE_REST;

/// A run that waits for an errand. Its event and its journal are in the store.
pub struct Whose {
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

/// Runs an errand and puts its answer on record, which makes the run ready.
pub async fn errand(board: &Board, context: &Context, run: &Whose) {
    let errand = async {
        let flow = match context.versions.get(&run.flow, &run.version).await {
            Ok(flow) => flow,
            Err(Missing::Store(error)) => return Err(error),
            Err(Missing::Broken(error)) => return Ok(Some(Err(error))),
        };
        let caller = Caller { run: run.id, flow: &flow, position: run.position, again: run.again };
        Ok(context.errands.run(&run.errand, caller, &context.shutdown).await)
    };
    let answer = tokio::select! {
        answer = errand => answer.transpose(),
        () = context.shutdown.stopped() => None,
    };
    // The end has come before: it is taken up after the next start.
    let Some(answer) = answer else { return board.back(run.id, &run.flow) };
    let recorded = match answer {
        Ok(answer) => context.store.answer_errand(run.id, run.ready, answer).await.map(|_| ()),
        Err(error) => Err(error),
    };
    let Err(error) = recorded else { return board.back(run.id, &run.flow) };
    tracing::error!(flow = %run.flow, run = %run.id, %error, "the answer to a question could not be recorded; it is asked again");
    context.clock.sleep_until(after(context.clock.now(), STORE_REST)).await;
    board.back(run.id, &run.flow);
    board.reread(&run.flow, run.ready);
}
