//! What survives: the contract of a store, its errors, and the rows it gives back.
//!
//! Each method is one transaction and one legal step; no transaction crosses the border. Once a
//! reply resolves with `Ok`, the change is on disk.

pub mod arrivals;
pub mod disk;
pub mod group;
pub mod records;
pub mod rows;
pub mod sqlite;
pub mod tx;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::feed::Feed;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Degraded, MessageState, Part};
use crate::model::journal::{Entry, TurnCommit};
use crate::model::message::{NewMessage, Promised};
use crate::model::question::Answer;
use crate::model::run::{NewRun, RunState};
use crate::shutdown::Breakdown;
use crate::tally::Tally;
use crate::wake::Bell;
use arrivals::Arrivals;
use records::{
    ArmedRow, Beat, Begun, Called, ClaimRules, Claims, Committed, Decided, Decision, Diversion, DueMessage, Fate,
    Firing, FolderId, Forgotten, Gap, Handset, HandsetChange, Inbound, IncomingFilter, IncomingRecord, KeptFlows,
    LastHeard, Lately, Line, MessageFilter, MessageRecord, MessageRef, Moved, NewTrigger, OccurrenceFilter,
    OccurrenceRecord, OldRecords, Origin, Page, Person, PhoneMessage, Prunable, Pruned, ReadyRun, RefusedRow,
    ResendPolicy, RunBrief, RunDecided, RunFilter, RunRecord, Seen, SeenFile, Settlement, Spans, Spent, StateCounts,
    Telling, ToClaim, Traffic, TriggerKey, Trouble, VersionRow, Woken,
};

/// Whoever could not reach the store tries again then.
pub const STORE_REST: Duration = Duration::from_secs(1);

/// What a store method gives: it may be awaited or not, the work is done either way.
pub type Reply<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// Why the store could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room, or the disk does not take writes: try again later.
    #[error("the state file cannot be written: {0}; free some disk space, nothing accepted so far is lost")]
    NoRoom(String),
    /// The file is not whole.
    #[error("the state file is damaged: {0}; stop, keep a copy of it, and start from your last backup")]
    Damaged(String),
    /// The file is whole, but what one row holds is not what was written.
    #[error("a row of the state file cannot be read: {0}")]
    Unreadable(String),
    /// The file is of a later version of Postrider.
    #[error("the state file has format {found}, this Postrider knows up to {known}; use the newer version again")]
    Newer {
        /// In the file.
        found: i64,
        /// In this program.
        known: i64,
    },
    /// The file is another program's.
    #[error("{0} is no Postrider state file; move it away or name another one by `store:`")]
    Foreign(String),
    /// The file was copied from somewhere else, where it may be open.
    #[error(
        "{file} is a copy of {original}: both would send the same messages. If the original is gone for good, \
         start once with `postrider run --adopt`; to look into the copy without sending, use `postrider run --sandbox`"
    )]
    Copied {
        /// It.
        file: String,
        /// Where it was copied from.
        original: String,
    },
    /// The same event has begun a run before.
    #[error("this event has begun the run {0} before")]
    Repeated(RunId),
    /// Too many runs wait for their first turn.
    #[error("{0} runs wait for their first turn already (`limits.backlog`)")]
    Backlog(u64),
    /// More waits to be written than the disk keeps up with.
    #[error("more comes in than the disk can take; come again in a moment")]
    Behind,
    /// Another program holds the file.
    #[error("the state file is held by another program, such as a backup; try again when that has ended")]
    Busy,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// Anything else.
    #[error("the store failed: {0}")]
    Other(String),
}

/// Bells that the store rings after a commit. They are hints: services look by themselves too.
#[derive(Clone, Default)]
pub struct Signals {
    /// A flow has runs that are ready.
    pub runs: Bell,
    /// An account has messages that are due.
    pub lanes: Arrivals,
    /// A run waits for an earlier time than any before.
    pub run_timer: Bell,
    /// A message waits for an earlier time than any before.
    pub message_timer: Bell,
    /// There is something that somebody is to be told of.
    pub troubles: Bell,
    /// What changes, for whoever watches.
    pub feed: Feed,
    /// Counts.
    pub tally: Tally,
    /// Told when the store cannot go on.
    pub breakdown: Breakdown,
}

/// A store.
pub trait Store: Send + Sync + 'static {
    /// Keeps the texts of flow versions, and which of them is the last good one of each file.
    fn keep_flows(&self, kept: KeptFlows) -> Reply<()>;
    /// The last good version of each file, by its id.
    fn good_versions(&self) -> Reply<BTreeMap<String, String>>;
    /// The folder that flows were last read from.
    fn flows_home(&self) -> Reply<Option<FolderId>>;
    /// The engine is there, and these gaps are over.
    fn beat(&self, beat: Beat, gaps: Vec<Gap>) -> Reply<()>;
    /// When it was last known to be there.
    fn last_beat(&self) -> Reply<Option<Beat>>;
    /// Times in a span in which nobody was there, oldest first.
    fn gaps(&self, from: Timestamp, to: Timestamp) -> Reply<Vec<Gap>>;
    /// Keeps requests that were turned away as they are now, and forgets others.
    fn keep_refused(&self, rows: Vec<RefusedRow>, gone: Vec<i64>) -> Reply<()>;
    /// The requests that were turned away, oldest first.
    fn refused(&self) -> Reply<Vec<RefusedRow>>;
    /// The text of a flow version.
    fn version(&self, id: &str) -> Reply<Option<VersionRow>>;

    /// The triggers that are known.
    fn armed(&self) -> Reply<Vec<ArmedRow>>;
    /// Forgets triggers, with all that is known of them but the record of what they did, and gets
    /// to know others.
    fn arm(&self, gone: Vec<TriggerKey>, come: Vec<NewTrigger>) -> Reply<()>;
    /// Gives instants their fate and begins their runs, all or none. An instant that has one is
    /// left alone. Gives how many runs began. Refused only when there is no room for a single one.
    fn fire(&self, firings: Vec<Firing>) -> Reply<u64>;
    /// Occurrences, newest first.
    fn occurrences(&self, filter: OccurrenceFilter) -> Reply<Vec<OccurrenceRecord>>;
    /// The files that a trigger has seen.
    fn seen_files(&self, key: &TriggerKey) -> Reply<Vec<SeenFile>>;
    /// Records what a trigger saw, with the runs that begin because of it, all or none; forgets
    /// files that have been gone since before `forget`.
    fn see_files(&self, key: &TriggerKey, seen: Vec<Seen>, forget: Timestamp) -> Reply<()>;

    /// How many runs may wait for their first turn.
    fn limit_backlog(&self, most: u64) -> Reply<()>;
    /// Whether there is room for one run more of a flow, as of the last change: a look without waiting.
    fn has_room(&self, flow: &str) -> bool;

    /// Accepts a run; it is ready. Gives its number among the ready runs, 0 for one that was accepted before.
    fn intake(&self, run: NewRun) -> Reply<i64>;
    /// Accepts a run together with its first turn.
    fn begin(&self, run: NewRun, turn: TurnCommit) -> Reply<Begun>;
    /// Flows that have ready runs.
    fn ready_flows(&self) -> Reply<Vec<String>>;
    /// Ready runs of a flow with a sequence number above `after`, lowest first.
    fn ready_runs(&self, flow: &str, after: i64, limit: usize) -> Reply<Vec<ReadyRun>>;
    /// What a run has done behind a part of its journal, and the number of the last part.
    fn journal_after(&self, id: RunId, part: i64) -> Reply<(Vec<Entry>, i64)>;
    /// What the other runs for the same event have promised and may have sent, oldest first.
    fn promised(&self, root: RunId, but: RunId) -> Reply<Vec<Promised>>;
    /// Commits a turn whole, or says why it does not count.
    fn commit_turn(&self, turn: TurnCommit) -> Reply<Committed>;
    /// The answer to a question that is an errand, of a run that was ready with this number. Says
    /// whether anybody still wants it.
    fn answer_errand(&self, id: RunId, ready: i64, answer: Answer) -> Reply<bool>;
    /// Makes the waiting runs ready whose time has come.
    fn wake_runs(&self, now: Timestamp) -> Reply<Woken>;
    /// A value of a flow (of the workspace, under no name) that has not expired at `now`.
    fn kv_get(&self, flow: &str, key: &str, now: Timestamp) -> Reply<Option<Value>>;
    /// The names of such values that begin with `prefix`, sorted.
    fn kv_keys(&self, flow: &str, prefix: &str, now: Timestamp) -> Reply<Vec<String>>;
    /// Takes a run back.
    fn cancel_run(&self, id: RunId, now: Timestamp) -> Reply<RunDecided>;
    /// Lets a failed run go on from the last answer that came from outside.
    fn retry_run(&self, id: RunId) -> Reply<RunDecided>;
    /// Flow versions that are not live and that no run needs.
    fn unused_versions(&self) -> Reply<Vec<String>>;
    /// What is settled and may go, behind what was given before.
    fn prunable(&self, until: Spans, after: Prunable, limit: usize) -> Reply<Prunable>;
    /// Deletes what may go of these, and some of what is recorded by its time. What is under way stays.
    fn prune(&self, runs: Vec<RunId>, messages: Vec<MessageId>, until: Spans, records: OldRecords) -> Reply<Pruned>;
    /// Bytes that are in use.
    fn used(&self) -> Reply<u64>;
    /// Those of some copies of files that nothing needs.
    fn unattached(&self, blobs: Vec<String>) -> Reply<Vec<String>>;
    /// Forgets those of them that are not live. Gives how many.
    fn prune_versions(&self, unused: Vec<String>) -> Reply<u64>;
    /// Where a run comes from.
    fn origin(&self, id: RunId) -> Reply<Option<Origin>>;

    /// Puts messages without a run into the outbox, all or none.
    fn promise(&self, messages: Vec<NewMessage>, now: Timestamp) -> Reply<()>;
    /// The message that a flow promised under a key to a recipient.
    fn keyed(&self, flow: &str, key: &str, to: &str) -> Reply<Option<MessageRef>>;
    /// Queued messages of an account with a sequence number above `after`, lowest first.
    fn due_messages(&self, account: &str, after: i64, limit: usize) -> Reply<Vec<DueMessage>>;
    /// Opens an attempt for each of the messages that is still queued in `account`, as far as the
    /// day's budget goes.
    fn claim(&self, account: &str, messages: Vec<ToClaim>, rules: ClaimRules, now: Timestamp) -> Reply<Claims>;
    /// The attempt of a message has all that it needs and touches the wire now.
    fn touch(&self, id: MessageId) -> Reply<()>;
    /// An account counts its days no more: when it does again, it looks anew at whom it knows.
    fn stop_counting(&self, account: &str) -> Reply<()>;
    /// Records how far a message of several parts has come, before the next part touches the wire.
    fn note_parts(&self, id: MessageId, parts: Vec<Part>, cut: Vec<Degraded>, now: Timestamp) -> Reply<()>;
    /// Messages that may leave an account for another one, recipient by recipient.
    fn divertible(&self, diversion: &Diversion) -> Reply<Vec<Vec<MessageId>>>;
    /// Moves those of the messages that are still there. Gives how many.
    fn divert(&self, messages: Vec<MessageId>, diversion: Diversion, now: Timestamp) -> Reply<u64>;
    /// Takes in what a gateway told, once however often it comes. Gives what became of each person's
    /// message.
    fn receive(&self, inbound: Inbound) -> Reply<Vec<Fate>>;
    /// All addresses of whom this one leads to, itself among them.
    fn names(&self, account: &str, who: &str) -> Reply<Vec<String>>;
    /// Whether a run waits for what a person writes.
    fn is_listening(&self) -> Reply<bool>;
    /// Where a run stands in line among those of its flow, if it does.
    fn line(&self, run: RunId) -> Reply<Option<Line>>;
    /// Erases a person; `mark` stays.
    fn forget(&self, who: &str, mark: &str, now: Timestamp) -> Reply<Forgotten>;
    /// What is known of when a recipient last wrote to an account.
    fn heard(&self, account: &str, recipient: &str) -> Reply<LastHeard>;
    /// Somebody followed a message's link. What comes before the message was sent is the gateway
    /// looking at the page, and does not count.
    fn click(&self, id: MessageId, now: Timestamp) -> Reply<()>;
    /// Records how an attempt ended.
    fn settle(&self, settlement: Settlement) -> Reply<()>;
    /// Moves the messages whose time has come: due, expired, resent.
    fn move_messages(&self, now: Timestamp, resend: Vec<ResendPolicy>) -> Reply<Moved>;
    /// After a start: attempts that a dead engine left open become unknown. Gives their number.
    fn recover(&self, now: Timestamp) -> Reply<u64>;
    /// A person's decision about a message.
    fn decide(&self, id: MessageId, decision: Decision, now: Timestamp) -> Reply<Decided>;

    /// Runs, newest first.
    fn runs(&self, filter: RunFilter) -> Reply<Page<RunRecord, RunId>>;
    /// One run.
    fn run(&self, id: RunId) -> Reply<Option<RunRecord>>;
    /// A run's journal, and what is kept of turns that were thrown away.
    fn journal(&self, id: RunId) -> Reply<Vec<Called>>;
    /// Messages, newest first.
    fn messages(&self, filter: MessageFilter) -> Reply<Page<MessageRecord, MessageId>>;
    /// One message.
    fn message(&self, id: MessageId) -> Reply<Option<MessageRecord>>;
    /// How many messages of an account wait or are on the wire.
    fn lane_length(&self, account: &str) -> Reply<u64>;
    /// How many messages are rejected, dead or unknown, by account and flow.
    fn bad_messages(&self) -> Reply<Vec<(String, String, u64)>>;
    /// The same of runs.
    fn bad_messages_of(&self, runs: Vec<RunId>) -> Reply<Vec<(RunId, u64)>>;

    /// How many runs there are in states that are looked for, each counted up to a most.
    fn run_counts(&self) -> Reply<StateCounts<RunState>>;
    /// The same of messages.
    fn message_counts(&self) -> Reply<StateCounts<MessageState>>;
    /// What was begun since then, newest first, as far as one look goes.
    fn lately(&self, since: Timestamp) -> Reply<Lately>;
    /// The last runs of each of the flows, newest first.
    fn last_runs(&self, flows: Vec<String>, most: usize) -> Reply<Vec<Vec<RunBrief>>>;
    /// What people wrote, newest first; kept for as long as a gateway may tell it again.
    fn incoming(&self, filter: IncomingFilter) -> Reply<Vec<IncomingRecord>>;
    /// What people are called, by those of these addresses that are known.
    fn called(&self, addresses: Vec<String>) -> Reply<BTreeMap<String, String>>;
    /// What is known of whom an address leads to.
    fn person(&self, who: &str) -> Reply<Person>;
    /// A person wants to hear of an account again. Says whether that is new.
    fn opt_in(&self, account: &str, who: &str) -> Reply<bool>;
    /// How an account stands on one of its calendar days.
    fn spent(&self, account: &str, day: &str) -> Reply<Spent>;
    /// Lets the wait of a run end now, as if its time were up.
    fn end_wait(&self, id: RunId, now: Timestamp) -> Reply<RunDecided>;

    /// Messages that came to a bad end of which nobody has been told yet, behind a place.
    fn troubles(&self, after: i64, limit: usize) -> Reply<Vec<Trouble>>;
    /// The causes of trouble that were told of and are not over, with the time of telling.
    fn told(&self) -> Reply<Vec<(String, Timestamp)>>;
    /// Tells of troubles, all or none.
    fn tell(&self, telling: Telling) -> Reply<()>;

    /// Puts a message onto a phone of the sandbox, once for each id. Says whether the phone is on.
    fn receive_on_phone(&self, message: PhoneMessage) -> Reply<bool>;
    /// What the phones of the sandbox got, newest first; of one of them, if it is named.
    fn phone_messages(&self, phone: Option<String>, limit: usize) -> Reply<Vec<PhoneMessage>>;
    /// The phones of the sandbox, the one that got something last first.
    fn handsets(&self) -> Reply<Vec<Handset>>;
    /// Makes a phone of the sandbox, or changes it.
    fn change_handset(&self, phone: &str, change: HandsetChange, now: Timestamp) -> Reply<()>;
    /// Takes everything off the phones of the sandbox.
    fn empty_phones(&self) -> Reply<()>;

    /// Lets a browser in that shows what has this digest.
    fn open_session(&self, digest: [u8; 32], now: Timestamp) -> Reply<()>;
    /// Whether a browser is let in that was since `oldest`; notes that it came.
    fn session(&self, digest: [u8; 32], oldest: Timestamp) -> Reply<bool>;
    /// Lets a browser in no more; all of them, if none is named. Gives how many.
    fn close_sessions(&self, digest: Option<[u8; 32]>) -> Reply<u64>;

    /// How much has been written.
    fn traffic(&self) -> Traffic;
}
