//! The one thread that writes. Whatever waits is put into one transaction: the price of a
//! durable commit is shared by all who came while the last one was under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use super::checkpoint::Checkpoints;
use super::schema::error_of;
use super::scrub::{self, Scrub, Scrubbed};
use crate::shutdown::Breakdown;
use crate::store::StoreError;
use crate::store::group::{Afterwards, Rules, Undone};

/// Most commands in one transaction; more would only make the first ones wait.
const GROUP: usize = 512;

/// Pages that are given back at once: that takes a moment for each.
const RECLAIMED: i64 = 64;

/// The way to the writer.
pub struct Writer<C> {
    commands: Sender<C>,
    counters: Arc<Counters>,
}

impl<C> Clone for Writer<C> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), counters: self.counters.clone() }
    }
}

/// How much was written.
#[derive(Default)]
pub struct Counters {
    /// Transactions.
    pub commits: AtomicU64,
    /// Commands in them.
    pub commands: AtomicU64,
}

impl<C: Send + 'static> Writer<C> {
    /// Starts the thread that owns `connection`, and runs commands by these rules.
    pub fn start<R: Rules<Command = C>>(
        connection: Connection,
        checkpoints: Checkpoints,
        scrub: Scrub,
        rules: R,
        breakdown: Breakdown,
    ) -> Result<Self, StoreError> {
        let (commands, inbox) = std::sync::mpsc::channel();
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        let run = move || {
            let _told = Told(breakdown);
            Thread { connection, checkpoints, scrub, rules, counters: counted }.run(&inbox);
        };
        std::thread::Builder::new()
            .name("store".into())
            .spawn(run)
            .map_err(|error| StoreError::Other(error.to_string()))?;
        Ok(Self { commands, counters })
    }

    /// How much was written.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Hands in a command. A writer that is gone drops it, and whoever waits hears of that.
    pub fn submit(&self, command: C) {
        let _ = self.commands.send(command);
    }
}

/// Tells when the store's thread breaks down: nobody is to wait for ever for what it does not do any more.
struct Told(Breakdown);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.report("the thread that writes the state file broke down; the log says why");
        }
    }
}

struct Thread<R> {
    connection: Connection,
    checkpoints: Checkpoints,
    scrub: Scrub,
    rules: R,
    counters: Arc<Counters>,
}

impl<R: Rules> Thread<R> {
    fn run(mut self, inbox: &Receiver<R::Command>) {
        loop {
            // What is erased from the disk beside it has its turn even if commands never end.
            let due_in = self.scrub.due_in();
            if due_in == Some(Duration::ZERO) {
                self.scrub();
            }
            let first = match due_in {
                None => inbox.recv().map_err(RecvTimeoutError::from),
                Some(pause) => inbox.recv_timeout(pause),
            };
            let mut group = match first {
                Ok(first) => vec![first],
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            while group.len() < GROUP
                && let Ok(next) = inbox.try_recv()
            {
                group.push(next);
            }
            self.commit(group);
            self.checkpoints.between(&self.connection, self.counters.commits.load(Ordering::Relaxed));
        }
        drop(self.checkpoints);
        // The last way to it is closed: leave a file without a log behind.
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn commit(&mut self, mut group: Vec<R::Command>) {
        match self.attempt(&mut group, false) {
            Ok(()) => group.into_iter().for_each(|command| R::answer(command, Ok(()))),
            Err(Undone::Database(error)) => refuse::<R>(group.into_iter(), &error),
            Err(Undone::Command(_)) => self.one_by_one(group),
        }
    }

    /// What one command spoils is its own affair.
    fn one_by_one(&mut self, group: Vec<R::Command>) {
        let mut left = group.into_iter();
        while let Some(command) = left.next() {
            let mut alone = [command];
            let done = self.attempt(&mut alone, true);
            let [command] = alone;
            match done {
                Ok(()) => R::answer(command, Ok(())),
                Err(Undone::Command(error)) => {
                    tracing::error!(%error, "a change could not be made");
                    R::answer(command, Err(error));
                }
                Err(Undone::Database(error)) => {
                    refuse::<R>(std::iter::once(command).chain(left), &error);
                    return;
                }
            }
        }
    }

    /// Runs commands in one transaction; when this returns, what they did is on disk or undone.
    fn attempt(&mut self, group: &mut [R::Command], careful: bool) -> Result<(), Undone> {
        let result = self.transact(group, careful);
        match &result {
            Ok(took) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                self.counters.commands.fetch_add(group.len() as u64, Ordering::Relaxed);
                match self.rules.kept(*took) {
                    Afterwards::Nothing => {}
                    Afterwards::Reclaim => self.reclaim(),
                    Afterwards::Scrub => self.scrub.begin(),
                }
            }
            Err(_) => self.rules.undone(),
        }
        result.map(drop)
    }

    /// Gives how long the commit took.
    fn transact(&mut self, group: &mut [R::Command], careful: bool) -> Result<Duration, Undone> {
        let failed = |error: rusqlite::Error| Undone::Database(error_of(&error));
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        self.rules.run(&*tx, group, careful)?;
        let begun = Instant::now();
        tx.commit().map_err(failed)?;
        Ok(begun.elapsed())
    }

    /// Gives back some of the room that nothing stands in, if a quarter of the file is empty: what is deleted day by
    /// day makes room for what comes.
    fn reclaim(&self) {
        let number = |pragma: &str| self.connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).unwrap_or(0);
        let (empty, all) = (number("PRAGMA freelist_count"), number("PRAGMA page_count"));
        if empty > RECLAIMED && empty > all / 4 {
            // Should the disk not take it, the room stays where it is.
            let _ = self.connection.execute_batch(&format!("PRAGMA incremental_vacuum({RECLAIMED})"));
        }
    }

    /// Goes on with overwriting what deleted rows left.
    fn scrub(&mut self) {
        let whole = match self.scrub.step(&self.connection) {
            Ok(step) => step == Scrubbed::Whole,
            Err(error) => {
                self.scrub.give_up();
                tracing::error!(%error, "the state file cannot be overwritten where rows were erased: their bytes may stand in its free space until the engine starts again");
                return;
            }
        };
        if whole && let Err(error) = scrub::note_done(&self.connection) {
            tracing::error!(%error, "what was erased is overwritten once more at the next start: that it was done cannot be noted");
        }
    }
}

/// Everybody hears why.
fn refuse<R: Rules>(group: impl Iterator<Item = R::Command>, error: &StoreError) {
    let mut commands = 0;
    for command in group {
        commands += 1;
        R::answer(command, Err(error.clone()));
    }
    tracing::error!(%error, commands, "a group of changes could not be committed");
}
