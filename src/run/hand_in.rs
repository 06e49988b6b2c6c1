//! Hands turns in: what came of working on a run is put on record, whoever waits for it is told, and what it
//! has asked for outside is begun.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::away::{Whose, errand};
use super::board::Board;
use super::commits::{damaged, no_room};
use super::context::Context;
use super::journals::Known;
use super::waiters::Reply;
use super::worker::Worked;
use crate::clock::after;
use crate::model::journal::{Outcome, TurnCommit};
use crate::model::question::{Errand, Question};
use crate::model::run::RunState;
use crate::store::rows::{Committed, ReadyRun};
use crate::store::{STORE_REST, StoreError};

/// Where turns are handed in.
#[derive(Clone)]
pub struct Door {
    /// Where runs are taken from.
    pub board: Arc<Board>,
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

impl Door {
    /// Hands in what came of working on a run. The thread does not wait for the disk.
    pub fn hand_in(&self, run: Arc<ReadyRun>, work: Result<Worked, StoreError>) {
        let door = self.clone();
        match work {
            Ok(Worked::Turn(commit, known)) => {
                let after = After { said: said_of(&commit), next: goes_on(&commit), known };
                let committed = self.context.store.commit_turn(*commit);
                self.runtime.spawn(async move { door.committed(&run, committed.await, after).await });
            }
            Ok(Worked::Errand(position, wanted)) => {
                self.board.away(run.id, &run.flow, run.ready);
                let whose = whose(&run, run.ready, position, wanted, true);
                self.runtime.spawn(async move { errand(&door.board, &door.context, &whose).await });
            }
            Err(error) => drop(self.runtime.spawn(async move { door.not_committed(&run, error).await })),
        }
    }

    /// A turn is on disk, or is not.
    async fn committed(&self, run: &ReadyRun, committed: Result<Committed, StoreError>, mut after: After) {
        let (mut committed, context) = (committed, &self.context);
        let instead = match &committed {
            Ok(Committed::NoRoom) => Some(no_room(context, run)),
            Err(StoreError::Unreadable(what)) => Some(damaged(context, run, what)),
            _ => None,
        };
        if let Some(commit) = instead {
            // With all that it promised, the turn's question is gone too.
            (after.said, after.next) = (said_of(&commit), None);
            committed = context.store.commit_turn(commit).await;
        }
        match committed {
            Ok(Committed::Yes { part, ready }) => self.on_disk(run, part, ready, after),
            // Read again before word of its commit came: that turn is done.
            Ok(Committed::Stale) => self.board.done(run.id),
            Ok(Committed::KeyTaken | Committed::NoRoom) => self.board.again(run.id, run.ready),
            Ok(Committed::Over) => {
                self.board.done(run.id);
                context.waiters.tell(run.id, || Reply::Ended(RunState::Cancelled));
            }
            Err(error) => self.not_committed(run, error).await,
        }
    }

    fn on_disk(&self, run: &ReadyRun, part: Option<i64>, ready: Option<i64>, after: After) {
        let After { said, next, known } = after;
        if let Some(reply) = said {
            self.context.waiters.tell(run.id, || reply);
        }
        if let Some(next) = next {
            self.context.journals.put(run.id, Known { part: part.unwrap_or(known.part), ..known });
            if let (Some(ready), Soon::Errand(position, wanted)) = (ready, next) {
                self.board.away(run.id, &run.flow, ready);
                let (door, whose) = (self.clone(), whose(run, ready, position, wanted, false));
                // A task of its own: this one holds the event, which may be large.
                tokio::spawn(async move { errand(&door.board, &door.context, &whose).await });
                return;
            }
        }
        self.board.done(run.id);
    }

    async fn not_committed(&self, run: &ReadyRun, error: StoreError) {
        tracing::error!(flow = %run.flow, run = %run.id, %error, "a turn could not be committed; it is done again");
        let clock = &self.context.clock;
        clock.sleep_until(after(clock.now(), STORE_REST)).await;
        self.board.again(run.id, run.ready);
    }
}

fn whose(run: &ReadyRun, ready: i64, position: u32, errand: Errand, again: bool) -> Whose {
    let (flow, version) = (run.flow.clone(), run.version.clone());
    Whose { id: run.id, ready, flow, version, position, errand, again }
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
