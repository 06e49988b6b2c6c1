//! Steps that somebody waits for, as data. Each can be taken twice, should its group not be committed.

use jiff::Timestamp;
use tokio::sync::oneshot;

use crate::ledger::react::react;
use crate::ledger::work::backlog::Waiting;
use crate::ledger::work::{Refusal, Work};
use crate::store::{Reply, StoreError};

/// A legal step with all that it needs to know.
pub trait Step: Send + 'static {
    /// What whoever takes it gets to know.
    type Gives: Send + 'static;

    /// Its data are a script's or a person's: a failure is to be its own, and not that of its group.
    const GUARDED: bool = true;

    /// When it is taken: what follows from it happens then. None where nothing follows.
    fn at(&self) -> Option<Timestamp> {
        None
    }

    /// Takes it.
    ///
    /// # Errors
    /// The rules say no, or the database failed.
    fn take(&self, work: &mut Work<'_>) -> Result<Self::Gives, Refusal>;
}

/// A step that somebody waits for.
pub struct Job<S: Step> {
    /// The step.
    pub step: S,
    outcome: Option<Result<S::Gives, Refusal>>,
    answer: oneshot::Sender<Result<S::Gives, StoreError>>,
    /// Bytes from outside that wait until it is done.
    _waiting: Option<Waiting>,
}

impl<S: Step> Job<S> {
    /// Hands a step in, with what it holds of the room for what waits from outside.
    pub fn new(step: S, waiting: Option<Waiting>) -> (Self, Reply<S::Gives>) {
        let (answer, reply) = oneshot::channel();
        let reply = Box::pin(async move { reply.await.unwrap_or(Err(StoreError::Closed)) });
        (Self { step, outcome: None, answer, _waiting: waiting }, reply)
    }

    /// It has been taken in a set, with this outcome.
    pub fn taken(&mut self, outcome: Result<S::Gives, Refusal>) {
        self.outcome = Some(outcome);
    }
}

/// A job, whatever its step.
pub trait Task: Send {
    /// Takes the step inside a transaction, with all that follows from it.
    ///
    /// # Errors
    /// Nothing of its group may be kept.
    fn take(&mut self, work: &mut Work<'_>) -> Result<(), StoreError>;

    /// Whether it has been taken already.
    fn is_taken(&self) -> bool;

    /// Tells whoever waits, once the work is on disk, or is not.
    fn done(self: Box<Self>, committed: Result<(), StoreError>);
}

impl<S: Step> Task for Job<S> {
    fn take(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        let step = &self.step;
        let take = |work: &mut Work<'_>| {
            let given = step.take(work)?;
            if let Some(at) = step.at() {
                react(work, at)?;
            }
            Ok(given)
        };
        let outcome = if S::GUARDED { work.whole(take) } else { take(work) };
        let failure = match &outcome {
            // What is unreadable is set aside when the command is run by itself.
            Err(Refusal::Failed(error @ StoreError::Unreadable(_))) if !work.careful => Some(error.clone()),
            Err(Refusal::Failed(error)) if !S::GUARDED || work.group.broken || !work.tx.stands() => Some(error.clone()),
            Err(Refusal::Failed(error @ (StoreError::NoRoom(_) | StoreError::Busy | StoreError::Damaged(_)))) => {
                Some(error.clone())
            }
            _ => None,
        };
        self.outcome = Some(outcome);
        failure.map_or(Ok(()), Err)
    }

    fn is_taken(&self) -> bool {
        self.outcome.is_some()
    }

    fn done(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(Refusal::Rule(error))), _) | (_, Err(error)) => Err(error),
            (Some(Err(Refusal::Failed(error))), Ok(())) => Err(error),
            (Some(Ok(given)), Ok(())) => Ok(given),
            // It was never run, which is the group's end and comes with its reason.
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Whoever asked may have gone; the work is done all the same.
        let _ = self.answer.send(outcome);
    }
}
