//! What a backend runs: the rules of the product, a group of commands in a transaction.

use std::time::Duration;

use super::StoreError;
use super::disk::Disk;
use super::tx::Tx;

/// The rules that a backend runs, in a thread of its own.
pub trait Rules: Send + 'static {
    /// A change that somebody waits for, as data: it can be run twice.
    type Command: Send + 'static;

    /// Runs commands in a transaction. In a `careful` group there is one, and what a row spoils that does not read as
    /// what it should be is set aside.
    ///
    /// # Errors
    /// Nothing of the group may be kept.
    fn run(&mut self, tx: &dyn Tx, group: &mut [Self::Command], careful: bool) -> Result<(), Undone>;

    /// What was run last is on disk; the commit took so long. What it means for others is told now.
    fn kept(&mut self, took: Duration) -> Afterwards;

    /// What was run last is undone.
    fn undone(&mut self);

    /// Tells whoever waits for a command, once what it did is on disk, or is not.
    fn answer(command: Self::Command, committed: Result<(), StoreError>);
}

/// Why nothing of a group may be kept.
#[derive(Debug)]
pub enum Undone {
    /// The database does not take writes: that is so for everybody.
    Database(StoreError),
    /// One of its commands failed: each is run by itself.
    Command(StoreError),
}

impl Undone {
    /// What an error of the database means for the group.
    pub fn by(error: StoreError) -> Self {
        match error {
            StoreError::NoRoom(_) | StoreError::Busy | StoreError::Damaged(_) => Self::Database(error),
            error => Self::Command(error),
        }
    }
}

/// What a backend does after a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// Nothing.
    Nothing,
    /// Room that nothing stands in is given back, if it is much.
    Reclaim,
    /// What was deleted is to be gone from the disk too.
    Scrub,
}

/// What a backend knows when it begins.
pub struct Beginning {
    /// The last number that was given out to a ready run, a message or a waiting run.
    pub last_number: i64,
    /// What the database is on.
    pub disk: Disk,
}
