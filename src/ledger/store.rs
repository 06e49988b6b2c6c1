//! The store as callers see it: what is written are steps of the ledger, what is read are rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::commands::Command;
use super::commands::groups::Runner;
use super::commands::job::{Job, Step};
use super::commands::steps::{
    AnswerErrand, Arm, Begin, CancelRun, ChangeHandset, Claim, Click, CloseSessions, CommitTurn, Decide, Divert,
    EmptyPhones, EndWait, Fire, Forget, Intake, KeepBeat, KeepFlows, KeepRefused, LimitBacklog, MoveMessages,
    NoteParts, OpenSession, OptIn, Promise, Prune, PruneVersions, Receive, ReceiveOnPhone, Recover, RetryRun, SeeFiles,
    Settle, StopCounting, Tell, Touch, WakeRuns,
};
use super::work::backlog::Door;
use super::{failover, operator};
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Degraded, MessageState, Part};
use crate::model::journal::{Entry, TurnCommit};
use crate::model::message::{NewMessage, Promised};
use crate::model::question::Answer;
use crate::model::run::{NewRun, RunState};
use crate::store::records::{
    ArmedRow, Beat, Begun, Called, ClaimRules, Claims, Committed, Decided, Decision, Diversion, DueMessage, Fate,
    Firing, FolderId, Forgotten, Gap, Handset, HandsetChange, Inbound, IncomingFilter, IncomingRecord, KeptFlows,
    LastHeard, Lately, Line, MessageFilter, MessageRecord, MessageRef, Moved, NewTrigger, OccurrenceFilter,
    OccurrenceRecord, OldRecords, Origin, Page, Person, PhoneMessage, Prunable, Pruned, ReadyRun, RefusedRow,
    ResendPolicy, RunBrief, RunDecided, RunFilter, RunRecord, Seen, SeenFile, Settlement, Spans, Spent, StateCounts,
    Telling, ToClaim, Traffic, TriggerKey, Trouble, VersionRow, Woken,
};
use crate::store::rows;
use crate::store::sqlite::Sqlite;
use crate::store::tx::{Read, Tx};
use crate::store::{Reply, Signals, Store, StoreError};

/// How often it is looked for what knows of a person who is to be forgotten: what begins during the first
/// look is found by the second.
const LOOKS: usize = 3;

/// The store in a file.
#[derive(Clone)]
pub struct Ledger {
    database: Sqlite<Command>,
    door: Arc<Door>,
}

impl Ledger {
    /// Opens `file`, creating it where there is none, and brings it to the present format.
    /// `most_backlog` is how many runs may wait for their first turn.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Foreign`], [`StoreError::Copied`], [`StoreError::Damaged`],
    /// [`StoreError::Busy`] or [`StoreError::NoRoom`]; the file is then as it was.
    pub fn open(file: &Path, most_backlog: u64, signals: Signals) -> Result<Self, StoreError> {
        let door = Arc::new(Door::default());
        let (breakdown, shown) = (signals.breakdown.clone(), door.clone());
        let database = Sqlite::open(file, breakdown, |tx, beginning| {
            Runner::begin(tx, beginning, most_backlog, (signals, shown))
        })?;
        Ok(Self { database, door })
    }

    /// Takes a step.
    fn take<S: Step>(&self, step: S) -> Reply<S::Gives> {
        let (job, reply) = Job::new(step, None);
        self.database.submit(Command::Other(Box::new(job)));
        reply
    }

    /// Takes a hot step, which a group may run with others of its kind.
    fn take_hot<S: Step>(&self, kind: impl FnOnce(Box<Job<S>>) -> Command, step: S) -> Reply<S::Gives> {
        let (job, reply) = Job::new(step, None);
        self.database.submit(kind(Box::new(job)));
        reply
    }

    /// The same of what comes from outside, in so many bytes: too many of them wait for the disk at no time.
    fn take_in<S: Step>(&self, bytes: usize, kind: impl FnOnce(Box<Job<S>>) -> Command, step: S) -> Reply<S::Gives> {
        let Some(waiting) = self.door.enter(bytes) else {
            return Box::pin(std::future::ready(Err(StoreError::Behind)));
        };
        let (job, reply) = Job::new(step, Some(waiting));
        self.database.submit(kind(Box::new(job)));
        reply
    }

    /// Reads at once, on the calling thread: for questions that touch few rows by an index.
    fn at_once<T: Send + 'static>(&self, read: impl FnOnce(&dyn Tx) -> Read<T>) -> Reply<T> {
        let result = self.database.read(read);
        Box::pin(std::future::ready(result))
    }

    /// Reads on a thread that may block: for lists, which may look at many rows.
    fn aside<T: Send + 'static>(&self, read: impl FnOnce(&dyn Tx) -> Read<T> + Send + 'static) -> Reply<T> {
        self.database.read_aside(read)
    }
}

impl Store for Ledger {
    fn keep_flows(&self, kept: KeptFlows) -> Reply<()> {
        self.take(KeepFlows { kept })
    }

    fn good_versions(&self) -> Reply<BTreeMap<String, String>> {
        self.at_once(rows::flows::good)
    }

    fn flows_home(&self) -> Reply<Option<FolderId>> {
        self.at_once(rows::flows::home)
    }

    fn beat(&self, beat: Beat, gaps: Vec<Gap>) -> Reply<()> {
        self.take(KeepBeat { beat, gaps })
    }

    fn last_beat(&self) -> Reply<Option<Beat>> {
        self.at_once(rows::presence::last_beat)
    }

    fn gaps(&self, from: Timestamp, to: Timestamp) -> Reply<Vec<Gap>> {
        self.aside(move |tx| rows::presence::gaps(tx, from, to))
    }

    fn keep_refused(&self, rows: Vec<RefusedRow>, gone: Vec<i64>) -> Reply<()> {
        self.take(KeepRefused { rows, gone })
    }

    fn refused(&self) -> Reply<Vec<RefusedRow>> {
        self.aside(rows::refused::all)
    }

    fn version(&self, id: &str) -> Reply<Option<VersionRow>> {
        self.at_once(|tx| rows::flows::version(tx, id))
    }

    fn armed(&self) -> Reply<Vec<ArmedRow>> {
        self.at_once(rows::triggers::armed)
    }

    fn arm(&self, gone: Vec<TriggerKey>, come: Vec<NewTrigger>) -> Reply<()> {
        self.take(Arm { gone, come })
    }

    fn fire(&self, firings: Vec<Firing>) -> Reply<u64> {
        self.take(Fire { firings })
    }

    fn occurrences(&self, filter: OccurrenceFilter) -> Reply<Vec<OccurrenceRecord>> {
        self.aside(move |tx| rows::triggers::occurrences(tx, &filter))
    }

    fn seen_files(&self, key: &TriggerKey) -> Reply<Vec<SeenFile>> {
        let key = key.clone();
        self.aside(move |tx| rows::seen_files::seen(tx, &key))
    }

    fn see_files(&self, key: &TriggerKey, seen: Vec<Seen>, forget: Timestamp) -> Reply<()> {
        self.take(SeeFiles { key: key.clone(), seen, forget })
    }

    fn limit_backlog(&self, most: u64) -> Reply<()> {
        self.take(LimitBacklog { most })
    }

    fn has_room(&self, flow: &str) -> bool {
        self.door.has_room(flow)
    }

    fn begin(&self, run: NewRun, turn: TurnCommit) -> Reply<Begun> {
        self.take_in(run.event.len(), Command::Begin, Begin { run, turn })
    }

    fn intake(&self, run: NewRun) -> Reply<i64> {
        self.take_in(run.event.len(), Command::Intake, Intake { run })
    }

    fn ready_flows(&self) -> Reply<Vec<String>> {
        self.at_once(rows::runs::flows_with_ready)
    }

    fn ready_runs(&self, flow: &str, after: i64, limit: usize) -> Reply<Vec<ReadyRun>> {
        self.at_once(|tx| rows::runs::ready(tx, flow, after, limit))
    }

    fn journal_after(&self, id: RunId, part: i64) -> Reply<(Vec<Entry>, i64)> {
        self.at_once(|tx| rows::journal::after(tx, id, part))
    }

    fn promised(&self, root: RunId, but: RunId) -> Reply<Vec<Promised>> {
        self.at_once(|tx| operator::promised(tx, root, but))
    }

    fn answer_errand(&self, id: RunId, ready: i64, answer: Answer) -> Reply<bool> {
        self.take(AnswerErrand { run: id, ready, answer })
    }

    fn cancel_run(&self, id: RunId, now: Timestamp) -> Reply<RunDecided> {
        self.take(CancelRun { run: id, now })
    }

    fn retry_run(&self, id: RunId) -> Reply<RunDecided> {
        self.take(RetryRun { run: id })
    }

    fn unused_versions(&self) -> Reply<Vec<String>> {
        self.aside(rows::flows::unused)
    }

    fn prunable(&self, until: Spans, after: Prunable, limit: usize) -> Reply<Prunable> {
        self.aside(move |tx| rows::keep::page(tx, &until, &after, limit))
    }

    fn prune(&self, runs: Vec<RunId>, messages: Vec<MessageId>, until: Spans, records: OldRecords) -> Reply<Pruned> {
        self.take(Prune { runs, messages, until, records })
    }

    fn used(&self) -> Reply<u64> {
        self.aside(|tx| tx.used())
    }

    fn unattached(&self, blobs: Vec<String>) -> Reply<Vec<String>> {
        self.aside(move |tx| rows::keep::unattached(tx, blobs))
    }

    fn prune_versions(&self, unused: Vec<String>) -> Reply<u64> {
        self.take(PruneVersions { unused })
    }

    fn origin(&self, id: RunId) -> Reply<Option<Origin>> {
        self.at_once(|tx| rows::runs::origin(tx, id))
    }

    fn commit_turn(&self, turn: TurnCommit) -> Reply<Committed> {
        self.take_hot(Command::Turn, CommitTurn { turn })
    }

    fn wake_runs(&self, now: Timestamp) -> Reply<Woken> {
        self.take(WakeRuns { now })
    }

    fn kv_get(&self, flow: &str, key: &str, now: Timestamp) -> Reply<Option<Value>> {
        self.at_once(|tx| rows::values::get(tx, flow, key, now))
    }

    fn kv_keys(&self, flow: &str, prefix: &str, now: Timestamp) -> Reply<Vec<String>> {
        self.at_once(|tx| rows::values::keys(tx, flow, prefix, now))
    }

    fn promise(&self, messages: Vec<NewMessage>, now: Timestamp) -> Reply<()> {
        self.take(Promise { messages, now })
    }

    fn keyed(&self, flow: &str, key: &str, to: &str) -> Reply<Option<MessageRef>> {
        self.at_once(|tx| rows::messages::keyed(tx, flow, key, to))
    }

    fn due_messages(&self, account: &str, after: i64, limit: usize) -> Reply<Vec<DueMessage>> {
        self.at_once(|tx| rows::outbox::due(tx, account, after, limit))
    }

    fn claim(&self, account: &str, messages: Vec<ToClaim>, rules: ClaimRules, now: Timestamp) -> Reply<Claims> {
        self.take_hot(Command::Claim, Claim { account: account.to_owned(), messages, rules, now })
    }

    fn touch(&self, id: MessageId) -> Reply<()> {
        self.take(Touch { id })
    }

    fn stop_counting(&self, account: &str) -> Reply<()> {
        self.take(StopCounting { account: account.to_owned() })
    }

    fn note_parts(&self, id: MessageId, parts: Vec<Part>, cut: Vec<Degraded>, now: Timestamp) -> Reply<()> {
        self.take(NoteParts { id, parts, cut, now })
    }

    fn divertible(&self, diversion: &Diversion) -> Reply<Vec<Vec<MessageId>>> {
        let diversion = diversion.clone();
        self.aside(move |tx| failover::plan(tx, &diversion))
    }

    fn divert(&self, messages: Vec<MessageId>, diversion: Diversion, now: Timestamp) -> Reply<u64> {
        self.take(Divert { messages, diversion, now })
    }

    fn receive(&self, inbound: Inbound) -> Reply<Vec<Fate>> {
        self.take_in(inbound.weight(), Command::Receive, Receive { inbound })
    }

    fn is_listening(&self) -> Reply<bool> {
        self.at_once(rows::questions::is_anybody)
    }

    fn names(&self, account: &str, who: &str) -> Reply<Vec<String>> {
        self.at_once(|tx| rows::people::names(tx, account, who))
    }

    fn line(&self, run: RunId) -> Reply<Option<Line>> {
        self.at_once(move |tx| rows::slots::standing(tx, run))
    }

    fn forget(&self, who: &str, mark: &str, now: Timestamp) -> Reply<Forgotten> {
        let (this, who, mark) = (self.clone(), who.to_owned(), mark.to_owned());
        Box::pin(async move {
            let (mut all, mut names) = (Forgotten::default(), BTreeSet::new());
            for round in 0..LOOKS {
                let name = who.clone();
                let led = names.len();
                let known = this.aside(move |tx| rows::forget::known_by(tx, &name, names)).await?;
                if round > 0 && known.is_empty() && known.names.len() == led {
                    break;
                }
                names = known.names.clone();
                all.add(this.take(Forget { known, mark: mark.clone(), now }).await?);
            }
            Ok(all)
        })
    }

    fn heard(&self, account: &str, recipient: &str) -> Reply<LastHeard> {
        self.at_once(|tx| rows::accounts::heard(tx, account, recipient))
    }

    fn click(&self, id: MessageId, now: Timestamp) -> Reply<()> {
        self.take(Click { id, now })
    }

    fn settle(&self, settlement: Settlement) -> Reply<()> {
        self.take_hot(Command::Settle, Settle { settlement })
    }

    fn move_messages(&self, now: Timestamp, resend: Vec<ResendPolicy>) -> Reply<Moved> {
        self.take(MoveMessages { now, resend })
    }

    fn recover(&self, now: Timestamp) -> Reply<u64> {
        self.take(Recover { now })
    }

    fn decide(&self, id: MessageId, decision: Decision, now: Timestamp) -> Reply<Decided> {
        self.take(Decide { id, decision, now })
    }

    fn runs(&self, filter: RunFilter) -> Reply<Page<RunRecord, RunId>> {
        self.aside(move |tx| rows::lists::runs(tx, &filter))
    }

    fn run(&self, id: RunId) -> Reply<Option<RunRecord>> {
        self.at_once(|tx| rows::lists::run(tx, id))
    }

    fn journal(&self, id: RunId) -> Reply<Vec<Called>> {
        self.aside(move |tx| rows::lists::journal(tx, id))
    }

    fn messages(&self, filter: MessageFilter) -> Reply<Page<MessageRecord, MessageId>> {
        self.aside(move |tx| rows::lists::messages(tx, &filter))
    }

    fn message(&self, id: MessageId) -> Reply<Option<MessageRecord>> {
        self.at_once(|tx| rows::lists::message(tx, id))
    }

    fn lane_length(&self, account: &str) -> Reply<u64> {
        let account = account.to_owned();
        self.aside(move |tx| rows::outbox::count_in_lane(tx, &account))
    }

    fn bad_messages(&self) -> Reply<Vec<(String, String, u64)>> {
        self.aside(rows::troubles::bad)
    }

    fn bad_messages_of(&self, runs: Vec<RunId>) -> Reply<Vec<(RunId, u64)>> {
        self.aside(move |tx| rows::troubles::bad_of(tx, &runs))
    }

    fn run_counts(&self) -> Reply<StateCounts<RunState>> {
        self.aside(rows::lists::run_counts)
    }

    fn message_counts(&self) -> Reply<StateCounts<MessageState>> {
        self.aside(rows::lists::message_counts)
    }

    fn lately(&self, since: Timestamp) -> Reply<Lately> {
        self.aside(move |tx| rows::lists::lately(tx, since))
    }

    fn last_runs(&self, flows: Vec<String>, most: usize) -> Reply<Vec<Vec<RunBrief>>> {
        self.aside(move |tx| rows::lists::last_runs(tx, &flows, most))
    }

    fn incoming(&self, filter: IncomingFilter) -> Reply<Vec<IncomingRecord>> {
        self.aside(move |tx| rows::lists::incoming(tx, &filter))
    }

    fn called(&self, addresses: Vec<String>) -> Reply<BTreeMap<String, String>> {
        self.aside(move |tx| rows::people::called(tx, &addresses))
    }

    fn person(&self, who: &str) -> Reply<Person> {
        let who = who.to_owned();
        self.aside(move |tx| rows::people::person(tx, &who))
    }

    fn opt_in(&self, account: &str, who: &str) -> Reply<bool> {
        self.take(OptIn { account: account.to_owned(), who: who.to_owned() })
    }

    fn spent(&self, account: &str, day: &str) -> Reply<Spent> {
        let (account, day) = (account.to_owned(), day.to_owned());
        self.aside(move |tx| rows::accounts::spent(tx, &account, &day))
    }

    fn end_wait(&self, id: RunId, now: Timestamp) -> Reply<RunDecided> {
        self.take(EndWait { run: id, now })
    }

    fn troubles(&self, after: i64, limit: usize) -> Reply<Vec<Trouble>> {
        self.aside(move |tx| rows::troubles::behind(tx, after, limit))
    }

    fn told(&self) -> Reply<Vec<(String, Timestamp)>> {
        self.aside(rows::troubles::told)
    }

    fn tell(&self, telling: Telling) -> Reply<()> {
        self.take(Tell { telling })
    }

    fn receive_on_phone(&self, message: PhoneMessage) -> Reply<bool> {
        self.take(ReceiveOnPhone { message })
    }

    fn phone_messages(&self, phone: Option<String>, limit: usize) -> Reply<Vec<PhoneMessage>> {
        self.aside(move |tx| rows::phones::messages(tx, phone.as_deref(), limit))
    }

    fn handsets(&self) -> Reply<Vec<Handset>> {
        self.aside(rows::phones::all)
    }

    fn change_handset(&self, phone: &str, change: HandsetChange, now: Timestamp) -> Reply<()> {
        self.take(ChangeHandset { phone: phone.to_owned(), change, now })
    }

    fn empty_phones(&self) -> Reply<()> {
        self.take(EmptyPhones {})
    }

    fn open_session(&self, digest: [u8; 32], now: Timestamp) -> Reply<()> {
        self.take(OpenSession { digest, now })
    }

    fn session(&self, digest: [u8; 32], oldest: Timestamp) -> Reply<bool> {
        self.at_once(move |tx| rows::phones::has_session(tx, &digest, oldest))
    }

    fn close_sessions(&self, digest: Option<[u8; 32]>) -> Reply<u64> {
        self.take(CloseSessions { digest })
    }

    fn traffic(&self) -> Traffic {
        self.database.traffic()
    }
}
