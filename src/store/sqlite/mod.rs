//! A store in one SQLite file: one thread writes, others read beside it.

mod asking;
mod attempts;
mod backlog;
mod checkpoint;
mod columns;
mod conversation;
mod decisions;
mod disk;
mod diversion;
mod events;
mod evidence;
mod flows;
mod forget;
mod handsets;
mod hearing;
mod inbound;
mod listing;
mod outbox;
mod people;
pub mod place;
mod readers;
mod reading;
mod rings;
mod runs;
mod schema;
mod start;
mod triggers;
mod troubles;
mod values;
mod waits;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value;

use super::rows::{
    ArmedRow, Called, ClaimRules, Claims, Committed, Decided, Decision, Diversion, DueMessage, Fate, Firing, Forgotten,
    Handset, HandsetChange, Inbound, IncomingFilter, IncomingRecord, KeptFlows, LastHeard, Lately, LedgerRow,
    MessageFilter, MessageRecord, MessageRef, Moved, NewTrigger, OccurrenceFilter, OccurrenceRecord, Origin, Page,
    Person, PhoneMessage, ReadyRun, ResendPolicy, RunBrief, RunDecided, RunFilter, RunRecord, Seen, Settlement, Spent,
    StateCounts, Telling, Traffic, TriggerKey, Trouble, VersionRow, Woken,
};
use super::{Reply, Signals, Store, StoreError};
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Degraded, MessageState, Part};
use crate::model::journal::{Entry, TurnCommit};
use crate::model::message::{NewMessage, Promised};
use crate::model::question::Answer;
use crate::model::run::{NewRun, RunState};
use checkpoint::Checkpoints;
use columns::{instant, json, json_or_none, text};
use disk::Disk;
use readers::{Readers, read_only};
use schema::error_of;
use writer::Writer;

/// The store in a file.
pub struct SqliteStore {
    writer: Writer,
    readers: Arc<Readers>,
}

/// How often it is looked for what knows of a person who is to be forgotten: what begins during the first
/// look is found by the second.
const LOOKS: usize = 3;

/// What a read may fail with: SQLite, or a row that does not read as what it should be.
type Read<T> = rusqlite::Result<T>;

impl SqliteStore {
    /// Opens `file`, creating it where there is none, and brings it to the present format.
    /// `most_backlog` is how many runs may wait for their first turn.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Foreign`], [`StoreError::Copied`], [`StoreError::Damaged`],
    /// [`StoreError::Busy`] or [`StoreError::NoRoom`]; the file is then as it was.
    pub fn open(file: &Path, most_backlog: u64, signals: Signals) -> Result<Self, StoreError> {
        // A file that is not ours is looked at by a reader first: opening it for writing would
        // already change its journal mode.
        if file.is_dir() {
            return Err(StoreError::Foreign(file.display().to_string()));
        }
        if file.exists() {
            let reader = read_only(file)?;
            schema::examine(&reader, &file.display().to_string())?;
            place::check(&reader, file)?;
        }
        restrict(file)?;
        let mut connection = writer::connect(file)?;
        schema::migrate(&mut connection)?;
        place::settle(&connection, file)?;
        // From here on the file by itself shows what it is and where it belongs.
        place::fold_some(&connection);
        let disk = Disk::of(file.to_owned());
        let memory = start::memory(&connection, most_backlog, disk).map_err(|error| error_of(&error))?;
        let writer = Writer::start(connection, Checkpoints::start(file)?, memory, signals)?;
        Ok(Self { writer, readers: Arc::new(Readers::new(file)) })
    }

    /// Reads at once, on the calling thread: for questions that touch few rows by an index.
    fn at_once<T: Send + 'static>(&self, read: impl FnOnce(&Connection) -> Read<T>) -> Reply<T> {
        let result = self.readers.with(read);
        Box::pin(std::future::ready(result))
    }

    /// Reads on a thread that may block: for lists, which may look at many rows.
    fn aside<T: Send + 'static>(&self, read: impl FnOnce(&Connection) -> Read<T> + Send + 'static) -> Reply<T> {
        self.readers.clone().aside(read)
    }
}

fn refused<T: Send + 'static>(why: StoreError) -> Reply<T> {
    Box::pin(std::future::ready(Err(why)))
}

/// A store's file and those that SQLite keeps beside it while it is open.
pub fn files_of(file: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|ending| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        name.into()
    })
}

/// The files hold what people wrote to each other: they are their owner's alone. The first one is made
/// before SQLite makes it, for those beside it get its mode.
fn restrict(file: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let failed = |error: std::io::Error| StoreError::NoRoom(error.to_string());
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(failed(error));
    }
    for file in files_of(file) {
        match std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}

impl Store for SqliteStore {
    fn keep_flows(&self, kept: KeptFlows) -> Reply<()> {
        self.writer.submit_guarded(move |work| Ok(flows::keep(work, &kept)?))
    }

    fn good_versions(&self) -> Reply<BTreeMap<String, String>> {
        self.at_once(flows::good)
    }

    fn version(&self, id: &str) -> Reply<Option<VersionRow>> {
        self.at_once(|connection| flows::version(connection, id))
    }

    fn armed(&self) -> Reply<Vec<ArmedRow>> {
        self.at_once(triggers::armed)
    }

    fn arm(&self, gone: Vec<TriggerKey>, come: Vec<NewTrigger>) -> Reply<()> {
        self.writer.submit_guarded(move |work| Ok(triggers::arm(work, &gone, &come)?))
    }

    fn fire(&self, firings: Vec<Firing>) -> Reply<u64> {
        self.writer.submit_guarded(move |work| triggers::fire(work, &firings))
    }

    fn occurrences(&self, filter: OccurrenceFilter) -> Reply<Vec<OccurrenceRecord>> {
        self.aside(move |connection| triggers::occurrences(connection, &filter))
    }

    fn ledger(&self, key: &TriggerKey) -> Reply<Vec<LedgerRow>> {
        let key = key.clone();
        self.aside(move |connection| triggers::ledger(connection, &key))
    }

    fn see_files(&self, key: &TriggerKey, seen: Vec<Seen>, forget: Timestamp) -> Reply<()> {
        let key = key.clone();
        self.writer.submit_guarded(move |work| triggers::see(work, &key, &seen, forget))
    }

    fn limit_backlog(&self, most: u64) -> Reply<()> {
        self.writer.submit(move |work| {
            work.memory.backlog.limit(most);
            Ok(())
        })
    }

    fn has_room(&self, flow: &str) -> bool {
        self.writer.has_room(flow)
    }

    fn intake(&self, run: NewRun) -> Reply<()> {
        let Some(waiting) = self.writer.enter(run.event.len()) else { return refused(StoreError::Behind) };
        self.writer.submit(move |work| {
            let _held_until_done = &waiting;
            runs::intake(work, &run)
        })
    }

    fn ready_flows(&self) -> Reply<Vec<String>> {
        self.at_once(runs::ready_flows)
    }

    fn ready_runs(&self, flow: &str, after: i64, limit: usize) -> Reply<Vec<ReadyRun>> {
        self.at_once(|connection| runs::ready(connection, flow, after, limit))
    }

    fn journal_after(&self, id: RunId, part: i64) -> Reply<(Vec<Entry>, i64)> {
        self.at_once(|connection| runs::journal_after(connection, id, part))
    }

    fn promised(&self, root: RunId, but: RunId) -> Reply<Vec<Promised>> {
        self.at_once(|connection| decisions::promised(connection, root, but))
    }

    fn answer_errand(&self, id: RunId, ready: i64, answer: Answer) -> Reply<bool> {
        self.writer.submit_guarded(move |work| runs::answer_errand(work, id, ready, &answer))
    }

    fn cancel_run(&self, id: RunId, now: Timestamp) -> Reply<RunDecided> {
        self.writer.submit_guarded(move |work| decisions::cancel(work, id, now))
    }

    fn retry_run(&self, id: RunId) -> Reply<RunDecided> {
        self.writer.submit_guarded(move |work| decisions::retry(work, id))
    }

    fn unused_versions(&self) -> Reply<Vec<String>> {
        self.aside(flows::unused)
    }

    fn prune_versions(&self, unused: Vec<String>) -> Reply<u64> {
        self.writer.submit_guarded(move |work| Ok(flows::prune(work, &unused)?))
    }

    fn origin(&self, id: RunId) -> Reply<Option<Origin>> {
        self.at_once(|connection| runs::origin(connection, id))
    }

    fn commit_turn(&self, turn: TurnCommit) -> Reply<Committed> {
        self.writer.submit_guarded(move |work| runs::commit_turn(work, &turn))
    }

    fn wake_runs(&self, now: Timestamp) -> Reply<Woken> {
        self.writer.submit(move |work| runs::wake(work, now))
    }

    fn kv_get(&self, flow: &str, key: &str, now: Timestamp) -> Reply<Option<Value>> {
        self.at_once(|connection| values::get(connection, flow, key, now))
    }

    fn kv_keys(&self, flow: &str, prefix: &str, now: Timestamp) -> Reply<Vec<String>> {
        self.at_once(|connection| values::keys(connection, flow, prefix, now))
    }

    fn promise(&self, messages: Vec<NewMessage>, now: Timestamp) -> Reply<()> {
        self.writer.submit_guarded(move |work| {
            for message in &messages {
                outbox::insert(work, message, now)?;
            }
            Ok(())
        })
    }

    fn keyed(&self, flow: &str, key: &str, to: &str) -> Reply<Option<MessageRef>> {
        self.at_once(|connection| outbox::keyed(connection, flow, key, to))
    }

    fn due_messages(&self, account: &str, after: i64, limit: usize) -> Reply<Vec<DueMessage>> {
        self.at_once(|connection| outbox::due(connection, account, after, limit))
    }

    fn claim(&self, account: &str, messages: Vec<MessageId>, rules: ClaimRules, now: Timestamp) -> Reply<Claims> {
        let account = account.to_owned();
        self.writer.submit(move |work| Ok(attempts::claim(work, &account, &messages, &rules, now)?))
    }

    fn touch(&self, id: MessageId) -> Reply<()> {
        self.writer.submit(move |work| outbox::each(work, id, None, |work| attempts::touch(work, id)))
    }

    fn stop_counting(&self, account: &str) -> Reply<()> {
        let account = account.to_owned();
        self.writer.submit(move |work| Ok(attempts::stop_counting(work, &account)?))
    }

    fn note_parts(&self, id: MessageId, parts: Vec<Part>, cut: Vec<Degraded>, now: Timestamp) -> Reply<()> {
        self.writer.submit(move |work| {
            outbox::each(work, id, Some(now), |work| attempts::note_parts(work, id, &parts, &cut, now))
        })
    }

    fn divertible(&self, diversion: &Diversion) -> Reply<Vec<Vec<MessageId>>> {
        let diversion = diversion.clone();
        self.aside(move |connection| diversion::plan(connection, &diversion))
    }

    fn divert(&self, messages: Vec<MessageId>, diversion: Diversion, now: Timestamp) -> Reply<u64> {
        self.writer.submit_guarded(move |work| Ok(diversion::divert(work, &messages, &diversion, now)?))
    }

    fn receive(&self, inbound: Inbound) -> Reply<Vec<Fate>> {
        let Some(waiting) = self.writer.enter(inbound.weight()) else { return refused(StoreError::Behind) };
        self.writer.submit_guarded(move |work| {
            let _held_until_done = &waiting;
            inbound::receive(work, &inbound)
        })
    }

    fn is_listening(&self) -> Reply<bool> {
        self.at_once(|connection| connection.prepare_cached("SELECT 1 FROM listening")?.exists([]))
    }

    fn names(&self, account: &str, who: &str) -> Reply<Vec<String>> {
        self.at_once(|connection| people::names(connection, account, who))
    }

    fn forget(&self, who: &str, mark: &str, now: Timestamp) -> Reply<Forgotten> {
        let (who, mark, writer) = (who.to_owned(), mark.to_owned(), self.writer.clone());
        let look = {
            let (who, readers) = (who.clone(), self.readers.clone());
            move || {
                let who = who.clone();
                readers.clone().aside(move |connection| forget::known_by(connection, &who))
            }
        };
        Box::pin(async move {
            let mut all = Forgotten::default();
            for round in 0..LOOKS {
                let known = look().await?;
                if round > 0 && known.is_empty() {
                    break;
                }
                let (who, mark) = (who.clone(), mark.clone());
                all.add(writer.submit_guarded(move |work| forget::forget(work, &who, &known, &mark, now)).await?);
            }
            Ok(all)
        })
    }

    fn heard(&self, account: &str, recipient: &str) -> Reply<LastHeard> {
        self.at_once(|connection| attempts::heard(connection, account, recipient))
    }

    fn click(&self, id: MessageId, now: Timestamp) -> Reply<()> {
        self.writer.submit(move |work| outbox::each(work, id, Some(now), |work| waits::click(work, id, now)))
    }

    fn settle(&self, settlement: Settlement) -> Reply<()> {
        self.writer.submit(move |work| {
            let (id, at) = (settlement.id, settlement.at);
            outbox::each(work, id, Some(at), |work| outbox::settle(work, &settlement))
        })
    }

    fn move_messages(&self, now: Timestamp, resend: Vec<ResendPolicy>) -> Reply<Moved> {
        self.writer.submit(move |work| Ok(outbox::advance(work, now, &resend)?))
    }

    fn recover(&self, now: Timestamp) -> Reply<u64> {
        self.writer.submit(move |work| Ok(outbox::recover(work, now)?))
    }

    fn decide(&self, id: MessageId, decision: Decision, now: Timestamp) -> Reply<Decided> {
        self.writer.submit_guarded(move |work| Ok(decisions::decide(work, id, decision, now)?))
    }

    fn runs(&self, filter: RunFilter) -> Reply<Page<RunRecord, RunId>> {
        self.aside(move |connection| listing::runs(connection, &filter))
    }

    fn run(&self, id: RunId) -> Reply<Option<RunRecord>> {
        self.at_once(|connection| reading::run(connection, id))
    }

    fn journal(&self, id: RunId) -> Reply<Vec<Called>> {
        self.aside(move |connection| reading::journal(connection, id))
    }

    fn messages(&self, filter: MessageFilter) -> Reply<Page<MessageRecord, MessageId>> {
        self.aside(move |connection| listing::messages(connection, &filter))
    }

    fn message(&self, id: MessageId) -> Reply<Option<MessageRecord>> {
        self.at_once(|connection| reading::message(connection, id))
    }

    fn backlog(&self, account: &str) -> Reply<u64> {
        let account = account.to_owned();
        self.aside(move |connection| {
            let sql = "SELECT count(*) FROM messages WHERE account = ? AND seq IS NOT NULL";
            connection.prepare_cached(sql)?.query_row([account], |row| row.get::<_, i64>(0).map(i64::unsigned_abs))
        })
    }

    fn bad_messages(&self) -> Reply<Vec<(String, String, u64)>> {
        self.aside(troubles::bad)
    }

    fn bad_messages_of(&self, runs: Vec<RunId>) -> Reply<Vec<(RunId, u64)>> {
        self.aside(move |connection| troubles::bad_of(connection, &runs))
    }

    fn run_counts(&self) -> Reply<StateCounts<RunState>> {
        self.aside(listing::run_counts)
    }

    fn message_counts(&self) -> Reply<StateCounts<MessageState>> {
        self.aside(listing::message_counts)
    }

    fn lately(&self, since: Timestamp) -> Reply<Lately> {
        self.aside(move |connection| listing::lately(connection, since))
    }

    fn last_runs(&self, flows: Vec<String>, most: usize) -> Reply<Vec<Vec<RunBrief>>> {
        self.aside(move |connection| listing::last_runs(connection, &flows, most))
    }

    fn incoming(&self, filter: IncomingFilter) -> Reply<Vec<IncomingRecord>> {
        self.aside(move |connection| listing::incoming(connection, &filter))
    }

    fn called(&self, addresses: Vec<String>) -> Reply<BTreeMap<String, String>> {
        self.aside(move |connection| people::called(connection, &addresses))
    }

    fn person(&self, who: &str) -> Reply<Person> {
        let who = who.to_owned();
        self.aside(move |connection| people::person(connection, &who))
    }

    fn opt_in(&self, account: &str, who: &str) -> Reply<bool> {
        let (account, who) = (account.to_owned(), who.to_owned());
        self.writer.submit_guarded(move |work| Ok(people::opt_in(work, &account, &who)?))
    }

    fn spent(&self, account: &str, day: &str) -> Reply<Spent> {
        let (account, day) = (account.to_owned(), day.to_owned());
        self.aside(move |connection| attempts::spent(connection, &account, &day))
    }

    fn end_wait(&self, id: RunId, now: Timestamp) -> Reply<RunDecided> {
        self.writer.submit_guarded(move |work| decisions::end_wait(work, id, now))
    }

    fn troubles(&self, after: i64, limit: usize) -> Reply<Vec<Trouble>> {
        self.aside(move |connection| troubles::behind(connection, after, limit))
    }

    fn told(&self) -> Reply<Vec<(String, Timestamp)>> {
        self.aside(troubles::told)
    }

    fn tell(&self, telling: Telling) -> Reply<()> {
        self.writer.submit_guarded(move |work| Ok(troubles::tell(work, &telling)?))
    }

    fn receive_on_phone(&self, message: PhoneMessage) -> Reply<bool> {
        self.writer.submit_guarded(move |work| Ok(handsets::receive(work, &message)?))
    }

    fn phone_messages(&self, phone: Option<String>, limit: usize) -> Reply<Vec<PhoneMessage>> {
        self.aside(move |connection| handsets::messages(connection, phone.as_deref(), limit))
    }

    fn handsets(&self) -> Reply<Vec<Handset>> {
        self.aside(handsets::all)
    }

    fn change_handset(&self, phone: &str, change: HandsetChange, now: Timestamp) -> Reply<()> {
        let phone = phone.to_owned();
        self.writer.submit_guarded(move |work| Ok(handsets::change(work, &phone, &change, now)?))
    }

    fn empty_phones(&self) -> Reply<()> {
        self.writer.submit_guarded(move |work| Ok(handsets::empty(work)?))
    }

    fn open_session(&self, digest: [u8; 32], now: Timestamp) -> Reply<()> {
        self.writer.submit_guarded(move |work| Ok(handsets::open_session(work, &digest, now)?))
    }

    fn session(&self, digest: [u8; 32], oldest: Timestamp) -> Reply<bool> {
        self.at_once(move |connection| handsets::session(connection, &digest, oldest))
    }

    fn close_sessions(&self, digest: Option<[u8; 32]>) -> Reply<u64> {
        self.writer.submit_guarded(move |work| Ok(handsets::close_sessions(work, digest.as_ref())?))
    }

    fn traffic(&self) -> Traffic {
        use std::sync::atomic::Ordering::Relaxed;
        let counters = self.writer.counters();
        Traffic { commits: counters.commits.load(Relaxed), commands: counters.commands.load(Relaxed) }
    }
}
