//! The one thread that writes. Whatever waits is put into one transaction: the price of a
//! durable commit is shared by all who came while the last one was under way.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use regex::Regex;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::Read;
use super::backlog::{Backlog, Door, Waiting};
use super::checkpoint::Checkpoints;
use super::columns::is_unreadable;
use super::disk::Disk;
use super::hearing::Clocks;
use super::readers::steady;
use super::rings::Rings;
use super::schema::error_of;
use crate::model::conversation;
use crate::shutdown::Breakdown;
use crate::store::{Reply, Signals, StoreError};

/// Most commands in one transaction; more would only make the first ones wait.
const GROUP: usize = 512;

/// How long it is waited for another program to let go of the file.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a command works with.
pub struct Work<'a> {
    pub tx: &'a Transaction<'a>,
    pub memory: &'a mut Memory,
    pub rings: &'a mut Rings,
    /// A command failed halfway: its group cannot be committed.
    broken: bool,
    /// The command is run by itself, because its group could not be committed: what one row spoils is set
    /// aside.
    pub careful: bool,
}

impl Work<'_> {
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
            Err(error) if is_unreadable(&error) => aside(self, &error.to_string()).map(|()| None),
            done => done.map(Some),
        }
    }

    /// Does something so that its failure leaves nothing behind, in the file and in memory.
    fn whole<T, E: From<rusqlite::Error>>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let mark = self.memory.mark();
        self.tx.prepare_cached("SAVEPOINT whole")?.execute([])?;
        let outcome = act(self);
        // SQLite itself gives up the transaction when the disk is full, and the outcome says so.
        if self.tx.is_autocommit() {
            return outcome;
        }
        let undone = match &outcome {
            Ok(_) => Ok(0),
            Err(_) => {
                self.memory.back_to(mark);
                self.tx.prepare_cached("ROLLBACK TO whole").and_then(|mut undo| undo.execute([]))
            }
        };
        if let Err(error) = undone.and_then(|_| self.tx.prepare_cached("RELEASE whole")?.execute([])) {
            // Half of it may stand there: nothing of the group may be kept.
            self.broken = true;
            return Err(error.into());
        }
        outcome
    }
}

/// What memory is taken back to.
struct Standing {
    seq: i64,
    changes: usize,
    early: bool,
    swept: i64,
}

/// What the writer knows without asking the file.
pub struct Memory {
    /// The last sequence number given out.
    pub seq: i64,
    /// Runs that wait for their first turn.
    pub backlog: Backlog,
    /// Somebody may want to hear no more.
    pub opted_out: bool,
    /// Something may have been told of messages whose ids are not known yet.
    pub early: bool,
    /// Patterns that runs wait for a message by.
    pub patterns: Patterns,
    /// How far the clocks of gateways are behind ours.
    pub clocks: Clocks,
    /// When what is too old was last looked for, in milliseconds since 1970.
    pub swept: i64,
    /// What the file is on.
    pub disk: Disk,
}

/// Patterns, compiled: the runs of a flow mostly wait by the same one.
#[derive(Default)]
pub struct Patterns(HashMap<String, Option<Regex>>);

impl Patterns {
    const MOST: usize = 1_000;

    /// Whether a pattern finds something in a text. One that is none finds nothing; it was checked when
    /// the script called.
    pub fn finds(&mut self, pattern: &str, text: &str) -> bool {
        if !self.0.contains_key(pattern) {
            if self.0.len() >= Self::MOST {
                self.0.clear();
            }
            self.0.insert(pattern.to_owned(), conversation::pattern(pattern).ok());
        }
        self.0.get(pattern).and_then(Option::as_ref).is_some_and(|pattern| conversation::finds(pattern, text))
    }
}

impl Memory {
    fn mark(&self) -> Standing {
        Standing { seq: self.seq, changes: self.backlog.mark(), early: self.early, swept: self.swept }
    }

    fn back_to(&mut self, mark: Standing) {
        self.backlog.undo(mark.changes);
        (self.seq, self.early, self.swept) = (mark.seq, mark.early, mark.swept);
    }

    /// The next sequence number.
    pub fn next_seq(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }
}

/// A change that somebody waits for. It can be run twice: should its group not be committed, it is run by
/// itself.
trait Command: Send {
    /// Does its work inside a transaction.
    fn run(&mut self, work: &mut Work<'_>);

    /// What SQLite failed it with, if it did.
    fn failure(&self) -> Option<&rusqlite::Error>;

    /// Tells whoever waits, once the work is on disk, or is not.
    fn done(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Job<T, W> {
    work: W,
    outcome: Option<Result<T, Refusal>>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, W: FnMut(&mut Work<'_>) -> Result<T, Refusal> + Send> Command for Job<T, W> {
    fn run(&mut self, work: &mut Work<'_>) {
        self.outcome = Some((self.work)(work));
    }

    fn failure(&self) -> Option<&rusqlite::Error> {
        match &self.outcome {
            Some(Err(Refusal::Sql(error))) => Some(error),
            _ => None,
        }
    }

    fn done(self: Box<Self>, committed: Result<(), StoreError>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(Refusal::Own(error))), _) | (_, Err(error)) => Err(error),
            (Some(Err(Refusal::Sql(error))), Ok(())) => Err(error_of(&error)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            // It was never run, which is the group's end and comes with its reason.
            (None, Ok(())) => Err(StoreError::Closed),
        };
        // Whoever asked may have gone; the work is done all the same.
        let _ = self.answer.send(outcome);
    }
}

/// The door to the writer.
#[derive(Clone)]
pub struct Writer {
    commands: Sender<Box<dyn Command>>,
    counters: Arc<Counters>,
    door: Arc<Door>,
}

/// How much was written.
#[derive(Default)]
pub struct Counters {
    /// Transactions.
    pub commits: AtomicU64,
    /// Commands in them.
    pub commands: AtomicU64,
}

impl Writer {
    /// Starts the thread that owns `connection`.
    pub fn start(
        connection: Connection,
        checkpoints: Checkpoints,
        memory: Memory,
        signals: Signals,
    ) -> Result<Self, StoreError> {
        let (commands, inbox) = std::sync::mpsc::channel();
        let (counters, door) = (Arc::new(Counters::default()), Arc::new(Door::default()));
        memory.backlog.publish(&door);
        let (counted, shown) = (counters.clone(), door.clone());
        let run = move || {
            let _told = Told(signals.breakdown.clone());
            Thread { connection, checkpoints, memory, signals, counters: counted, door: shown }.run(&inbox);
        };
        std::thread::Builder::new()
            .name("store".into())
            .spawn(run)
            .map_err(|error| StoreError::Other(error.to_string()))?;
        Ok(Self { commands, counters, door })
    }

    /// Whether there is room for one run more of this flow, as far as is known.
    pub fn has_room(&self, flow: &str) -> bool {
        self.door.has_room(flow)
    }

    /// How much was written.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Hands in a command whose data are our own. Should SQLite fail it all the same, its whole group is undone,
    /// and each of its commands is run by itself.
    pub fn submit<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Work<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Reply<T> {
        self.enqueue(move |context| {
            let outcome = work(context);
            context.broken |= matches!(outcome, Err(Refusal::Sql(_)));
            outcome
        })
    }

    /// Hands in a command whose data are a script's or a person's: it gets a savepoint, so that its failure is
    /// its own.
    pub fn submit_guarded<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Work<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Reply<T> {
        self.enqueue(move |context| alone(context, &mut work))
    }

    /// Room for so many bytes from outside that wait to be written, held until they are; none while too many
    /// wait already.
    pub fn enter(&self, bytes: usize) -> Option<Waiting> {
        self.door.enter(bytes)
    }

    fn enqueue<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut Work<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Reply<T> {
        let (answer, reply) = oneshot::channel();
        let sent = self.commands.send(Box::new(Job { work, outcome: None, answer })).is_ok();
        Box::pin(async move {
            match sent {
                true => reply.await.unwrap_or(Err(StoreError::Closed)),
                false => Err(StoreError::Closed),
            }
        })
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

/// Does one command's work so that its failure leaves nothing behind.
fn alone<T>(context: &mut Work<'_>, work: &mut impl FnMut(&mut Work<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let outcome = context.whole(work);
    // What was unreadable is set aside when the command is run by itself.
    context.broken |= !context.careful && matches!(&outcome, Err(Refusal::Sql(error)) if is_unreadable(error));
    outcome
}

/// Why a command did not do its work.
pub enum Refusal {
    /// We refuse.
    Own(StoreError),
    /// SQLite failed.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Own(error)
    }
}

struct Thread {
    connection: Connection,
    checkpoints: Checkpoints,
    memory: Memory,
    signals: Signals,
    counters: Arc<Counters>,
    door: Arc<Door>,
}

/// Why a group could not be committed.
enum Undone {
    /// The file does not take writes: that is so for everybody.
    File(rusqlite::Error),
    /// One of its commands failed.
    Command,
}

impl Thread {
    fn run(mut self, inbox: &Receiver<Box<dyn Command>>) {
        while let Ok(first) = inbox.recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = inbox.try_recv()
            {
                group.push(next);
            }
            self.commit(group);
            self.checkpoints.between(&self.connection, self.counters.commits.load(Ordering::Relaxed));
        }
        drop(self.checkpoints);
        // The last door is closed: leave a file without a log behind.
        let _ = self.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
    }

    fn commit(&mut self, mut group: Vec<Box<dyn Command>>) {
        match self.attempt(&mut group, false) {
            Ok(()) => group.into_iter().for_each(|command| command.done(Ok(()))),
            Err(Undone::File(error)) => refuse(group, &error),
            Err(Undone::Command) => self.one_by_one(group),
        }
    }

    /// What one command spoils is its own affair.
    fn one_by_one(&mut self, group: Vec<Box<dyn Command>>) {
        let mut left = group.into_iter();
        while let Some(command) = left.next() {
            let mut alone = [command];
            let done = self.attempt(&mut alone, true);
            let [command] = alone;
            match done {
                Ok(()) => command.done(Ok(())),
                Err(Undone::Command) => {
                    let error = command.failure().map_or(StoreError::Closed, error_of);
                    tracing::error!(%error, "a change could not be made");
                    command.done(Err(error));
                }
                Err(Undone::File(error)) => {
                    refuse(std::iter::once(command).chain(left).collect(), &error);
                    return;
                }
            }
        }
    }

    /// Runs commands in one transaction; when this returns, what they did is on disk or undone.
    fn attempt(&mut self, group: &mut [Box<dyn Command>], careful: bool) -> Result<(), Undone> {
        let mut rings = Rings::new(self.signals.feed.is_watched());
        let mark = self.memory.mark();
        let result = (|| {
            let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Undone::File)?;
            for command in group.iter_mut() {
                let mut work = Work { tx: &tx, memory: &mut self.memory, rings: &mut rings, broken: false, careful };
                command.run(&mut work);
                // SQLite itself gives up the transaction when the disk is full.
                if work.broken || tx.is_autocommit() {
                    return Err(match command.failure() {
                        Some(error) if is_of_the_file(error) => Undone::File(copy(error)),
                        _ => Undone::Command,
                    });
                }
            }
            let begun = Instant::now();
            tx.commit().map_err(Undone::File)?;
            self.signals.tally.commits().add(begun.elapsed());
            Ok(())
        })();
        match result {
            Ok(()) => {
                self.memory.backlog.keep();
                self.memory.backlog.publish(&self.door);
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                self.counters.commands.fetch_add(group.len() as u64, Ordering::Relaxed);
                if rings.wants_compact() {
                    self.compact();
                }
                rings.ring(&self.signals);
            }
            Err(_) => self.memory.back_to(mark),
        }
        result
    }

    /// Writes the file anew: rows that were deleted or changed leave their bytes in free space, and pages
    /// that were balanced leave copies. Whoever hands in something meanwhile waits.
    fn compact(&mut self) {
        // In memory the copy might not have room.
        let done = self.connection.execute_batch("PRAGMA temp_store = FILE; VACUUM;");
        let done = self.connection.execute_batch("PRAGMA temp_store = MEMORY;").and(done).and_then(|()| {
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
        });
        match done {
            Ok(0) => {}
            Ok(_) => tracing::warn!("the log was being read; what was erased may stand in it until the engine stops"),
            Err(error) => {
                tracing::error!(%error, "the state file cannot be written anew; what was erased may still stand in its free space");
            }
        }
    }
}

/// Everybody hears why.
fn refuse(group: Vec<Box<dyn Command>>, error: &rusqlite::Error) {
    let error = error_of(error);
    tracing::error!(%error, commands = group.len(), "a group of changes could not be committed");
    group.into_iter().for_each(|command| command.done(Err(error.clone())));
}

/// Whether an error is that of the whole file.
fn is_of_the_file(error: &rusqlite::Error) -> bool {
    matches!(error_of(error), StoreError::NoRoom(_) | StoreError::Busy | StoreError::Damaged(_))
}

/// The command keeps its own.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => rusqlite::Error::SqliteFailure(*code, text.clone()),
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

/// Opens a connection that may write.
pub fn connect(file: &Path) -> Result<Connection, StoreError> {
    // One thread alone uses such a connection, so SQLite needs no locks of its own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(|error| error_of(&error))?;
    // Others (a backup, an engine that is just closing it) may hold the file for a moment.
    connection.busy_timeout(PATIENCE).map_err(|error| error_of(&error))?;
    let set = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;
        PRAGMA cache_size = -8192;";
    connection.execute_batch(set).map_err(|error| error_of(&error))?;
    steady(&connection).map_err(|error| error_of(&error))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
