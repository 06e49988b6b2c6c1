//! What a step works with: the transaction, the writer's memory, what follows from it for others inside, and what is
//! told outside once it is on disk.

pub mod after_commit;
pub mod backlog;
pub mod memory;
pub mod on_the_wire;

use std::collections::VecDeque;

use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::store::StoreError;
use crate::store::rows;
use crate::store::tx::{Read, Tx};
use after_commit::AfterCommit;
use memory::Memory;

/// Why a step was not done.
#[derive(Debug)]
pub enum Refusal {
    /// The rules say no: nothing was written.
    Rule(StoreError),
    /// The database failed, or a row cannot be read.
    Failed(StoreError),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// Something that means more for others than the step itself says. It is worked off before the commit.
#[derive(Clone, Copy, Debug)]
pub enum Happened {
    /// A message that somebody waits for has come to a state.
    Moved(MessageId, MessageState),
    /// A run has come to its end.
    Over(RunId),
    /// Another run of its flow takes the place of this one.
    Replaced(RunId),
}

/// What holds for a whole group: what is true of everybody, asked once as long as the group has not changed it.
#[derive(Default)]
pub struct Group {
    opted_out: Option<bool>,
    early: Option<bool>,
    /// A part could not be ended: half of it may stand there, and nothing of the group may be kept.
    pub broken: bool,
}

/// What a step works with.
pub struct Work<'a> {
    /// The transaction.
    pub tx: &'a dyn Tx,
    /// What the writer knows without asking.
    pub memory: &'a mut Memory,
    /// What is told once the group is on disk.
    pub after: &'a mut AfterCommit,
    /// What is still to be worked off.
    pub happened: &'a mut VecDeque<Happened>,
    /// What holds for the whole group.
    pub group: &'a mut Group,
    /// The command is run by itself, because its group could not be committed: what one row spoils is set
    /// aside.
    pub careful: bool,
}

impl Work<'_> {
    /// Whether anybody wants to hear no more.
    pub fn anybody_opted_out(&mut self) -> Read<bool> {
        match self.group.opted_out {
            Some(known) => Ok(known),
            None => Ok(*self.group.opted_out.insert(rows::people::anybody_opted_out(self.tx)?)),
        }
    }

    /// Whether a gateway told something of messages whose ids are not known.
    pub fn any_early(&mut self) -> Read<bool> {
        match self.group.early {
            Some(known) => Ok(known),
            None => Ok(*self.group.early.insert(rows::reconciliation::any_early(self.tx)?)),
        }
    }

    /// Who wants to hear no more, or what came too early, has changed: it is asked anew.
    pub fn ask_anew(&mut self) {
        (self.group.opted_out, self.group.early) = (None, None);
    }

    /// Does something with one row of many. In a careful command, a row that does not read as what it should
    /// be is set `aside`, and the others go on; else it fails the command, which is then run carefully.
    pub fn each<T>(
        &mut self,
        act: impl FnOnce(&mut Self) -> Read<T>,
        aside: impl FnOnce(&mut Self, &str) -> Read<()>,
    ) -> Read<Option<T>> {
        if !self.careful {
            return act(self).map(Some);
        }
        match self.whole(act) {
            Err(StoreError::Unreadable(why)) => aside(self, &why).map(|()| None),
            done => done.map(Some),
        }
    }

    /// Does something so that its failure leaves nothing behind, in the database and in memory.
    pub fn whole<T, E: From<StoreError>>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let (mark, told, happened) = (self.memory.mark(), self.after.mark(), self.happened.len());
        self.tx.begin_part()?;
        let outcome = act(self);
        // What the database has given up by itself is undone already, and the outcome says why.
        if self.tx.stands()
            && let Err(error) = self.tx.end_part(outcome.is_ok())
        {
            self.group.broken = true;
            return Err(error.into());
        }
        if outcome.is_err() {
            self.memory.back_to(&mark);
            self.after.back_to(told);
            self.happened.truncate(happened);
            self.ask_anew();
        }
        outcome
    }
}
