//! The one thread that writes. Whatever waits is put into one transaction: the price of a
//! durable commit is shared by all who came while the last one was under way.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use regex::Regex;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::checkpoint::Checkpoints;
use super::disk::Disk;
use super::hearing::Clocks;
use super::schema::error_of;
use crate::store::{Reply, Signals, StoreError};
use crate::wake::Bell;

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
}

/// What the writer knows without asking the file.
pub struct Memory {
    /// The last sequence number given out.
    pub seq: i64,
    /// Runs that wait for their first turn.
    pub backlog: u64,
    /// How many there may be.
    pub most_backlog: u64,
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
            self.0.insert(pattern.to_owned(), Regex::new(pattern).ok());
        }
        self.0.get(pattern).and_then(Option::as_ref).is_some_and(|pattern| pattern.is_match(text))
    }
}

impl Memory {
    /// The next sequence number.
    pub fn next_seq(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }
}

/// Bells to be rung once the group is on disk.
#[derive(Default)]
pub struct Rings {
    runs: HashSet<Arc<str>>,
    lanes: Vec<String>,
    run_timer: bool,
    message_timer: bool,
    compact: bool,
}

impl Rings {
    /// The flow has a ready run.
    pub fn run(&mut self, flow: &str) {
        if !self.runs.contains(flow) {
            self.runs.insert(flow.into());
        }
    }

    /// The account has a due message.
    pub fn lane(&mut self, account: &str) {
        if !self.lanes.iter().any(|known| known == account) {
            self.lanes.push(account.into());
        }
    }

    /// A run waits for a time.
    pub fn run_timer(&mut self) {
        self.run_timer = true;
    }

    /// A message waits for a time.
    pub fn message_timer(&mut self) {
        self.message_timer = true;
    }

    /// What was deleted is to be gone from the disk too.
    pub fn compact(&mut self) {
        self.compact = true;
    }

    fn ring(&mut self, signals: &Signals) {
        self.runs.drain().for_each(|flow| signals.runs.ring(&flow));
        self.lanes.drain(..).for_each(|account| signals.lanes.ring(&account));
        let timed: [(&mut bool, &Bell); 2] =
            [(&mut self.run_timer, &signals.run_timer), (&mut self.message_timer, &signals.message_timer)];
        for (wanted, bell) in timed {
            if std::mem::take(wanted) {
                bell.nudge();
            }
        }
    }
}

/// A command: does its work inside the group's transaction and gives what is to be done once
/// that is on disk (or is not).
type Command = Box<dyn FnOnce(&mut Work<'_>) -> Done + Send>;
type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The door to the writer.
#[derive(Clone)]
pub struct Writer {
    commands: Sender<Command>,
    counters: Arc<Counters>,
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
        let counters = Arc::new(Counters::default());
        let counted = counters.clone();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || Thread { connection, checkpoints, memory, signals, counters: counted }.run(&inbox))
            .map_err(|error| StoreError::Other(error.to_string()))?;
        Ok(Self { commands, counters })
    }

    /// How much was written.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Hands in a command whose data are our own. Should SQLite fail it all the same, its whole
    /// group is undone: everybody in it may come again.
    pub fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Work<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Reply<T> {
        self.hand_in(move |context| {
            let outcome = work(context);
            context.broken |= matches!(outcome, Err(Refusal::Sql(_)));
            outcome
        })
    }

    /// Hands in a command whose data are a script's or a person's: it gets a savepoint, so that
    /// its failure is its own.
    pub fn submit_guarded<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Work<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Reply<T> {
        self.hand_in(move |context| alone(context, work))
    }

    fn hand_in<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Work<'_>) -> Result<T, Refusal> + Send + 'static,
    ) -> Reply<T> {
        let (answer, reply) = oneshot::channel();
        let command: Command = Box::new(move |context| {
            let outcome = work(context);
            Box::new(move |committed| {
                let outcome = match (outcome, committed) {
                    (Err(Refusal::Own(error)), _) => Err(error),
                    (Err(Refusal::Sql(error)), _) => Err(error_of(&error)),
                    (Ok(_), Err(error)) => Err(error),
                    (Ok(value), Ok(())) => Ok(value),
                };
                // Whoever asked may have gone; the work is done all the same.
                let _ = answer.send(outcome);
            })
        });
        let sent = self.commands.send(command).is_ok();
        Box::pin(async move {
            match sent {
                true => reply.await.unwrap_or_else(|_| Err(StoreError::Other(GIVEN_UP.into()))),
                false => Err(StoreError::Closed),
            }
        })
    }
}

const GIVEN_UP: &str = "the change was given up with its group";

/// Does one command's work so that its failure leaves nothing behind.
fn alone<T>(context: &mut Work<'_>, work: impl FnOnce(&mut Work<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let (seq, backlog) = (context.memory.seq, context.memory.backlog);
    context.tx.prepare_cached("SAVEPOINT command")?.execute([])?;
    let outcome = work(context);
    if outcome.is_err() && !context.tx.is_autocommit() {
        context.tx.prepare_cached("ROLLBACK TO command")?.execute([])?;
        (context.memory.seq, context.memory.backlog) = (seq, backlog);
    }
    if !context.tx.is_autocommit() {
        context.tx.prepare_cached("RELEASE command")?.execute([])?;
    }
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
}

impl Thread {
    fn run(mut self, inbox: &Receiver<Command>) {
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

    fn commit(&mut self, group: Vec<Command>) {
        let count = group.len() as u64;
        let mut rings = Rings::default();
        let mut done = Vec::with_capacity(group.len());
        let (seq, backlog) = (self.memory.seq, self.memory.backlog);
        let result = (|| {
            let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for command in group {
                let mut work = Work { tx: &tx, memory: &mut self.memory, rings: &mut rings, broken: false };
                done.push(command(&mut work));
                // SQLite itself gives up the transaction when the disk is full.
                if work.broken || tx.is_autocommit() {
                    return Err(rusqlite::Error::SqliteFailure(
                        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL),
                        Some(GIVEN_UP.into()),
                    ));
                }
            }
            tx.commit()
        })();
        match result {
            Ok(()) => {
                self.counters.commits.fetch_add(1, Ordering::Relaxed);
                self.counters.commands.fetch_add(count, Ordering::Relaxed);
                if rings.compact {
                    self.compact();
                }
                done.into_iter().for_each(|done| done(Ok(())));
                rings.ring(&self.signals);
            }
            Err(error) => {
                self.memory.seq = seq;
                self.memory.backlog = backlog;
                let error = error_of(&error);
                tracing::error!(%error, commands = count, "a group of changes could not be committed");
                done.into_iter().for_each(|done| done(Err(error.clone())));
            }
        }
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
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
