//! Hands turns in: what came of working on a run is put on record, whoever waits for it is told, and what it
//! has asked for outside is begun.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::context::Context;
use super::fresh::Fresh;
use super::in_flight::InFlight;
use super::journals::Known;
use super::queue::RunQueue;
use super::subscribers::Reply;
use super::without_script::{damaged, no_room};
use super::worker::Worked;
use crate::model::journal::{Outcome, TurnCommit};
use crate::model::question::{Errand, Question};
use crate::model::run::RunState;
use crate::store::records::{Begun, Committed, ReadyRun};
use crate::store::{STORE_REST, StoreError};

/// Puts turns on record.
#[derive(Clone)]
pub struct Committer {
    /// Where runs are taken from.
    pub queue: Arc<RunQueue>,
    /// What they are worked on with.
    pub context: Arc<Context>,
    /// Where their commits are waited for.
    pub runtime: Handle,
}

/// What becomes of a run when its turn is on disk.
struct After {
    /// What a waiting caller is told.
    said: Option<Reply>,
    /// Whether it goes on in a moment.
    next: Option<Soon>,
    /// Its journal, as far as it is known.
    known: Known,
}

impl Committer {
    /// Hands in what came of working on a run. The thread does not wait for the disk.
    pub fn commit(&self, run: Arc<ReadyRun>, fresh: Option<Arc<Fresh>>, work: Result<Worked, StoreError>) {
        let committer = self.clone();
        let work = work.map(|worked| self.with_slots(worked));
        match (work, fresh) {
            (Ok(Worked::Turn(commit, known)), None) => {
                let after = After { said: said_of(&commit), next: goes_on(&commit), known };
                let committed = self.context.store.commit_turn(*commit);
                self.runtime.spawn(async move { committer.committed(&run, run.ready, committed.await, after).await });
            }
            (Ok(Worked::Turn(commit, known)), Some(fresh)) => {
                let after = After { said: said_of(&commit), next: goes_on(&commit), known };
                self.queue.hands_in(run.id);
                match fresh.together(&self.context.store, *commit) {
                    Ok(begun) => {
                        self.runtime.spawn(async move { committer.begun(&run, &fresh, begun.await, after).await });
                    }
                    Err(commit) => {
                        drop(self.runtime.spawn(async move { committer.behind(&run, &fresh, *commit, after).await }))
                    }
                }
            }
            (Ok(Worked::Errand(position, wanted)), _) => {
                self.queue.in_flight(run.id, &run.flow, run.ready);
                let run = in_flight(&run, run.ready, position, wanted, true);
                self.runtime.spawn(async move { run.land(&committer.queue, &committer.context).await });
            }
            (Err(error), None) => {
                self.runtime.spawn(async move { committer.not_committed(&run, run.ready, error).await });
            }
            (Err(error), Some(fresh)) => {
                self.runtime.spawn(async move {
                    if let Some(ready) = committer.accepted(&run, &fresh).await {
                        committer.not_committed(&run, ready, error).await;
                    }
                });
            }
        }
    }

    /// Runs that a turn begins take the places that their flows give them today.
    fn with_slots(&self, mut worked: Worked) -> Worked {
        if let Worked::Turn(commit, _) = &mut worked
            && (!commit.promises.runs.is_empty() || commit.follow_up.is_some())
        {
            let catalog = self.context.catalog.borrow().clone();
            for run in commit.promises.runs.iter_mut().chain(&mut commit.follow_up) {
                run.slot = catalog.flow(&run.flow).and_then(|flow| flow.slot(&run.event));
            }
        }
        worked
    }

    /// A run and its first turn are on disk, or are not.
    async fn begun(&self, run: &ReadyRun, fresh: &Fresh, begun: Result<Begun, StoreError>, after: After) {
        match begun {
            Ok(Begun { ready, turn }) => {
                fresh.tell(Ok(()));
                let ready = ready.unwrap_or(run.ready);
                self.committed(run, ready, turn, after).await;
            }
            // Nobody was told that it was accepted: whoever brought it comes again.
            Err(error) => {
                self.queue.done(run.id);
                fresh.tell(Err(error));
            }
        }
    }

    /// The first turn of a run that was accepted before it.
    async fn behind(&self, run: &ReadyRun, fresh: &Fresh, commit: TurnCommit, after: After) {
        if let Some(ready) = self.accepted(run, fresh).await {
            let committed = self.context.store.commit_turn(TurnCommit { ready, ..commit }).await;
            self.committed(run, ready, committed, after).await;
        }
    }

    /// Accepts a run by itself, unless it was before. Gives its number; none when it could not be accepted.
    async fn accepted(&self, run: &ReadyRun, fresh: &Fresh) -> Option<i64> {
        let ready = match fresh.alone(&self.context.store) {
            Some(ready) => ready.await,
            None => Err(StoreError::Closed),
        };
        match &ready {
            Ok(ready) => self.queue.numbered(run.id, *ready),
            Err(_) => self.queue.done(run.id),
        }
        fresh.tell(ready.clone().map(drop));
        ready.ok()
    }

    /// A turn is on disk, or is not.
    async fn committed(&self, run: &ReadyRun, ready: i64, committed: Result<Committed, StoreError>, mut after: After) {
        let (mut committed, context) = (committed, &self.context);
        let instead = match &committed {
            Ok(Committed::NoRoom) => Some(no_room(context, run)),
            Err(StoreError::Unreadable(what)) => Some(damaged(context, run, what)),
            _ => None,
        };
        if let Some(commit) = instead {
            // With all that it promised, the turn's question is gone too.
            (after.said, after.next) = (said_of(&commit), None);
            committed = context.store.commit_turn(TurnCommit { ready, ..commit }).await;
        }
        match committed {
            Ok(Committed::Yes { part, ready }) => self.on_disk(run, part, ready, after),
            // Read again before word of its commit came: that turn is done.
            Ok(Committed::Stale) => self.queue.done(run.id),
            Ok(Committed::KeyTaken | Committed::NoRoom) => self.queue.again(run.id, ready),
            Ok(Committed::Over) => {
                self.queue.done(run.id);
                context.subscribers.tell(run.id, || Reply::Ended(RunState::Cancelled));
            }
            Err(error) => self.not_committed(run, ready, error).await,
        }
    }

    fn on_disk(&self, run: &ReadyRun, part: Option<i64>, ready: Option<i64>, after: After) {
        let After { said, next, known } = after;
        if let Some(reply) = said {
            self.context.subscribers.tell(run.id, || reply);
        }
        if let Some(next) = next {
            self.context.journals.put(run.id, Known { part: part.unwrap_or(known.part), ..known });
            if let (Some(ready), Soon::Errand(position, wanted)) = (ready, next) {
                self.queue.in_flight(run.id, &run.flow, ready);
                let (committer, run) = (self.clone(), in_flight(run, ready, position, wanted, false));
                // A task of its own: this one holds the event, which may be large.
                tokio::spawn(async move { run.land(&committer.queue, &committer.context).await });
                return;
            }
        }
        self.queue.done(run.id);
    }

    async fn not_committed(&self, run: &ReadyRun, ready: i64, error: StoreError) {
        tracing::error!(flow = %run.flow, run = %run.id, %error, "a turn could not be committed; it is done again");
        self.context.clock.rest(STORE_REST).await;
        self.queue.again(run.id, ready);
    }
}

fn in_flight(run: &ReadyRun, ready: i64, position: u32, errand: Errand, again: bool) -> InFlight {
    let (flow, version) = (run.flow.clone(), run.version.clone());
    InFlight { id: run.id, ready, flow, version, position, errand, again }
}

/// Whence a run will have its answer in a moment.
enum Soon {
    /// The commit gives it.
    Commit,
    /// An errand is run for it, whose answer will stand at this place of the journal.
    Errand(u32, Errand),
}

/// Whether a run will go on in a moment.
fn goes_on(commit: &TurnCommit) -> Option<Soon> {
    let Outcome::Waiting(pending) = &commit.outcome else { return None };
    match &pending.question {
        Question::Change(_) => Some(Soon::Commit),
        Question::Errand(errand) => Some(Soon::Errand(pending.position, errand.clone())),
        Question::Wait(_) | Question::Read(_) => None,
    }
}

/// What a waiting caller is told once the turn is on disk.
fn said_of(commit: &TurnCommit) -> Option<Reply> {
    if let Some(response) = &commit.promises.response {
        return Some(Reply::Response(response.clone()));
    }
    match &commit.outcome {
        Outcome::Succeeded(value) => Some(Reply::Value(value.clone())),
        Outcome::Failed(error) => Some(Reply::Failed(error.clone())),
        Outcome::Waiting(_) | Outcome::Retrying(_) => None,
    }
}
