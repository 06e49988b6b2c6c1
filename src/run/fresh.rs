//! Runs that are not on disk yet. Where a thread is free, a run's first turn is taken at once, and both go to the
//! disk in one commit; if that turn takes long, the run is accepted without it.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::model::journal::TurnCommit;
use crate::model::run::NewRun;
use crate::store::records::Begun;
use crate::store::{Reply, Store, StoreError};

/// How long the first turn of a run may hold up whoever brought it; then the run is accepted without it.
pub const PATIENCE: Duration = Duration::from_millis(5);

/// A run that may be accepted together with its first turn.
pub struct Fresh {
    stage: Mutex<Stage>,
    /// For whoever brought it.
    accepted: Mutex<Option<oneshot::Sender<Result<(), StoreError>>>>,
}

enum Stage {
    /// It was not handed in.
    Open(NewRun),
    /// It was handed in by itself; its number among the ready runs follows.
    Alone(watch::Receiver<Option<Result<i64, StoreError>>>),
    /// Whoever took it out hands it in: with its turn, or in the usual way.
    Withdrawn,
}

impl Fresh {
    /// A run, and word of its acceptance.
    pub fn new(run: NewRun) -> (Arc<Self>, oneshot::Receiver<Result<(), StoreError>>) {
        let (tell, told) = oneshot::channel();
        let (stage, accepted) = (Mutex::new(Stage::Open(run)), Mutex::new(Some(tell)));
        (Arc::new(Self { stage, accepted }), told)
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands it in by itself, if nobody has yet. Gives its number among the ready runs once it is on disk; nothing
    /// when it was withdrawn.
    pub fn alone(&self, store: &Arc<dyn Store>) -> Option<impl Future<Output = Result<i64, StoreError>> + use<>> {
        let mut stage = self.stage();
        let mut numbered = match std::mem::replace(&mut *stage, Stage::Withdrawn) {
            Stage::Open(run) => {
                let reply = store.intake(run);
                let (tell, numbered) = watch::channel(None);
                // Whoever brought it may go meanwhile.
                tokio::spawn(async move { tell.send_replace(Some(reply.await)) });
                numbered
            }
            Stage::Alone(numbered) => numbered,
            Stage::Withdrawn => return None,
        };
        *stage = Stage::Alone(numbered.clone());
        Some(async move {
            match numbered.wait_for(Option::is_some).await {
                Ok(number) => number.clone().unwrap_or(Err(StoreError::Closed)),
                Err(_) => Err(StoreError::Closed),
            }
        })
    }

    /// Hands it in with its first turn, unless it was handed in before: then the turn comes back.
    pub fn together(&self, store: &Arc<dyn Store>, turn: TurnCommit) -> Result<Reply<Begun>, Box<TurnCommit>> {
        match self.withdrawn() {
            Some(run) => Ok(store.begin(run, turn)),
            None => Err(Box::new(turn)),
        }
    }

    /// The run, for whoever hands it in, unless somebody has.
    pub fn withdrawn(&self) -> Option<NewRun> {
        let mut stage = self.stage();
        match std::mem::replace(&mut *stage, Stage::Withdrawn) {
            Stage::Open(run) => Some(run),
            other => {
                *stage = other;
                None
            }
        }
    }

    /// Its number among the ready runs, if it was accepted by itself and that is known.
    pub fn number(&self) -> Option<i64> {
        match &*self.stage() {
            Stage::Alone(numbered) => numbered.borrow().as_ref()?.as_ref().ok().copied(),
            Stage::Open(_) | Stage::Withdrawn => None,
        }
    }

    /// Tells whoever brought it what became of it.
    pub fn tell(&self, accepted: Result<(), StoreError>) {
        if let Some(tell) = self.accepted.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // The caller may have hung up.
            let _ = tell.send(accepted);
        }
    }
}
