//! Runs groups of commands: the hot ones as sets, the others one by one behind them.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Command;
use super::sets;
use crate::ledger::work::after_commit::AfterCommit;
use crate::ledger::work::backlog::{Backlog, Door};
use crate::ledger::work::memory::{Clocks, Memory, Patterns};
use crate::ledger::work::on_the_wire::OnTheWire;
use crate::ledger::work::{Group, Work};
use crate::store::group::{Afterwards, Beginning, Rules, Undone};
use crate::store::rows;
use crate::store::tx::{Read, Tx};
use crate::store::{Signals, StoreError};

/// The rules, with what the writer knows.
pub struct Runner {
    memory: Memory,
    before: Option<crate::ledger::work::memory::Mark>,
    after: AfterCommit,
    signals: Signals,
    door: Arc<Door>,
}

impl Runner {
    /// As the database stands; `most_backlog` is how many runs may wait for their first turn.
    ///
    /// # Errors
    /// The database's.
    pub fn begin(
        tx: &dyn Tx,
        beginning: Beginning,
        most_backlog: u64,
        (signals, door): (Signals, Arc<Door>),
    ) -> Read<Self> {
        // Only runs whose first turn is to come count, and all of those are ready.
        let mut waiting: BTreeMap<String, u64> = rows::runs::waiting_for_first_turn(tx)?.into_iter().collect();
        // So do those that stand in line, which are not ready.
        for (flow, count) in rows::slots::in_line(tx)? {
            *waiting.entry(flow).or_default() += count;
        }
        let backlog = Backlog::new(most_backlog, waiting.into_iter());
        backlog.publish(&door);
        let memory = Memory {
            seq: beginning.last_number,
            backlog,
            limited: rows::slots::flows(tx)?.into_iter().collect(),
            on_the_wire: OnTheWire::default(),
            patterns: Patterns::default(),
            clocks: Clocks::default(),
            swept: 0,
            disk: beginning.disk,
        };
        Ok(Self { memory, before: None, after: AfterCommit::default(), signals, door })
    }
}

impl Rules for Runner {
    type Command = Command;

    fn run(&mut self, tx: &dyn Tx, group: &mut [Command], careful: bool) -> Result<(), Undone> {
        self.before = Some(self.memory.mark());
        self.after = AfterCommit::new(self.signals.feed.is_watched());
        let (mut happened, mut state) = (VecDeque::new(), Group::default());
        let (memory, after) = (&mut self.memory, &mut self.after);
        let mut work = Work { tx, memory, after, happened: &mut happened, group: &mut state, careful };
        if !careful {
            sets::take(&mut work, group).map_err(Undone::by)?;
        }
        for command in group {
            // What was taken in a group that is undone is taken anew.
            if !careful && command.is_taken() {
                continue;
            }
            command.take(&mut work).map_err(Undone::by)?;
            if work.group.broken || !tx.stands() {
                return Err(Undone::Command(StoreError::Other("the transaction did not hold".into())));
            }
        }
        Ok(())
    }

    fn kept(&mut self, took: Duration) -> Afterwards {
        self.before = None;
        self.signals.tally.commits().add(took);
        self.memory.keep();
        self.memory.backlog.publish(&self.door);
        self.after.ring(&self.signals);
        match (self.after.wants_scrub(), self.after.wants_reclaim()) {
            (true, _) => Afterwards::Scrub,
            (false, true) => Afterwards::Reclaim,
            (false, false) => Afterwards::Nothing,
        }
    }

    fn undone(&mut self) {
        if let Some(before) = self.before.take() {
            self.memory.back_to(&before);
        }
    }

    fn answer(command: Command, committed: Result<(), StoreError>) {
        command.done(committed);
    }
}
