//! Commands: legal steps as data, and the groups in which they are run: in the general way, and the hot ones as sets.

pub mod groups;
pub mod job;
mod sets;
pub mod steps;

use crate::ledger::work::Work;
use crate::store::StoreError;
use job::{Job, Task};
use steps::{Begin, Claim, CommitTurn, Intake, Receive, Settle};

/// A command. The hot ones are known by their kind, so that a group can run them as sets.
pub enum Command {
    /// A run is accepted.
    Intake(Box<Job<Intake>>),
    /// A run is accepted with its first turn.
    Begin(Box<Job<Begin>>),
    /// A turn is committed.
    Turn(Box<Job<CommitTurn>>),
    /// Attempts are opened.
    Claim(Box<Job<Claim>>),
    /// An attempt ended.
    Settle(Box<Job<Settle>>),
    /// A gateway told something.
    Receive(Box<Job<Receive>>),
    /// Anything else.
    Other(Box<dyn Task>),
}

impl Command {
    fn task(&mut self) -> &mut dyn Task {
        match self {
            Self::Intake(job) => &mut **job,
            Self::Begin(job) => &mut **job,
            Self::Turn(job) => &mut **job,
            Self::Claim(job) => &mut **job,
            Self::Settle(job) => &mut **job,
            Self::Receive(job) => &mut **job,
            Self::Other(task) => &mut **task,
        }
    }

    /// Takes its step in the general way.
    ///
    /// # Errors
    /// As [`Task::take`].
    pub fn take(&mut self, work: &mut Work<'_>) -> Result<(), StoreError> {
        self.task().take(work)
    }

    /// Whether it has been taken already.
    pub fn is_taken(&mut self) -> bool {
        self.task().is_taken()
    }

    /// Tells whoever waits.
    pub fn done(self, committed: Result<(), StoreError>) {
        let task: Box<dyn Task> = match self {
            Self::Intake(job) => job,
            Self::Begin(job) => job,
            Self::Turn(job) => job,
            Self::Claim(job) => job,
            Self::Settle(job) => job,
            Self::Receive(job) => job,
            Self::Other(task) => task,
        };
        task.done(committed);
    }
}
