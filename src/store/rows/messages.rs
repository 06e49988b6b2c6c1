//! Messages: each with its columns, its steps, and what is asked of a single one.

use std::sync::Arc;

use jiff::Timestamp;

use crate::id::{MessageId, RunId};
use crate::model::delivery::{Attempt, Degraded, MessageState, Part};
use crate::model::message::{Body, Content, NewMessage, Promised};
use crate::model::phone::other_address;
use crate::store::records::{MessageRef, Opened};
use crate::store::tx::{Columns, Read, Tx, Value, if_readable, text, values};

/// How a new message comes into the outbox.
#[derive(Clone, Copy, Debug)]
pub struct Entering {
    /// `scheduled` or `queued`.
    pub state: MessageState,
    /// Its place in its lane, if it is queued.
    pub seq: Option<i64>,
    /// When its time comes, in milliseconds since 1970.
    pub due_at: Option<i64>,
    /// When it is too late, in the same way.
    pub expires_at: Option<i64>,
    /// When it was promised.
    pub now: Timestamp,
}

const INSERT: &str = "INSERT INTO messages
        (id, run, flow, account, recipient, state, seq, due_at, expires_at, created_at, changed_at, key, body)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING";

/// Puts a message into the outbox. Says whether it is new: the same id twice is one message.
pub fn insert(tx: &dyn Tx, message: &NewMessage, entering: Entering) -> Read<bool> {
    let (to, body) = (message.to.to_string(), text(&message.body)?);
    attach(tx, message)?;
    Ok(tx.run(INSERT, &row_of(message, &to, &body, entering))? == 1)
}

/// Puts messages into the outbox. Says of each whether it is new.
pub fn insert_all(tx: &dyn Tx, messages: &[(&Arc<NewMessage>, Entering)]) -> Read<Vec<bool>> {
    let texts: Vec<(String, String)> =
        messages.iter().map(|(message, _)| Ok((message.to.to_string(), text(&message.body)?))).collect::<Read<_>>()?;
    let rows = messages
        .iter()
        .zip(&texts)
        .map(|((message, entering), (to, body))| row_of(message, to, body, *entering).to_vec());
    let changed = tx.run_each(INSERT, &rows.collect::<Vec<_>>())?;
    messages.iter().try_for_each(|(message, _)| attach(tx, message))?;
    Ok(changed.into_iter().map(|changed| changed == 1).collect())
}

fn attach(tx: &dyn Tx, message: &NewMessage) -> Read<()> {
    match message.body.content.blob() {
        Some(blob) => super::keep::attach(tx, blob, message.id, false),
        None => Ok(()),
    }
}

fn row_of<'a>(message: &'a NewMessage, to: &'a str, body: &'a str, entering: Entering) -> [Value<'a>; 13] {
    [
        message.id.into(),
        message.run.into(),
        (&message.flow).into(),
        (&message.account).into(),
        to.into(),
        entering.state.into(),
        entering.seq.into(),
        entering.due_at.into(),
        entering.expires_at.into(),
        entering.now.into(),
        entering.now.into(),
        message.key.as_ref().into(),
        body.into(),
    ]
}

/// Whether there is such a message.
pub fn is_there(tx: &dyn Tx, id: MessageId) -> Read<bool> {
    tx.exists("SELECT 1 FROM messages WHERE id = ?", values![id])
}

/// The state of a message.
pub fn state(tx: &dyn Tx, id: MessageId) -> Read<Option<MessageState>> {
    tx.first("SELECT state FROM messages WHERE id = ?", values![id], |row| row.get(0))
}

/// The message of a flow under a key, to a person in whatever spelling.
pub fn keyed(tx: &dyn Tx, flow: &str, key: &str, to: &str) -> Read<Option<MessageRef>> {
    let sql = "SELECT id, account, recipient FROM messages WHERE flow = ? AND key = ? AND recipient IN (?, ?)";
    let other = other_address(to);
    tx.first(sql, values![flow, key, to, other.as_ref()], |row| {
        Ok(MessageRef { id: row.get(0)?, to: row.get(2)?, account: row.get(1)? })
    })
}

/// Where a message stands before a step. What is known of before is there as far as it can be read.
#[derive(Debug)]
pub struct Standing {
    /// Where it stands.
    pub state: MessageState,
    /// The account that sends it.
    pub account: String,
    /// Its tries.
    pub attempts: Vec<Attempt>,
    /// What was changed on the way.
    pub degraded: Vec<Degraded>,
    /// Somebody waits for what becomes of it.
    pub waited: bool,
    /// Tries that counted.
    pub tries: u32,
    /// Its place in its lane.
    pub seq: Option<i64>,
    /// It is too late for it at some time.
    pub expires: bool,
    /// Taken back while nobody knew whether it had gone out.
    pub recalled: bool,
    /// It needs several requests.
    pub has_parts: bool,
}

impl Standing {
    /// That of a message which is as its claim left it.
    pub fn of_opened(opened: &Opened) -> Self {
        Self {
            state: MessageState::Sending,
            account: opened.account.clone(),
            attempts: vec![Attempt::open(1, opened.at)],
            degraded: Vec::new(),
            waited: false,
            tries: opened.tries,
            seq: None,
            expires: false,
            recalled: false,
            has_parts: false,
        }
    }
}

const STANDING: &str =
    "SELECT state, account, attempts, waited, tries, seq, expires_at IS NOT NULL, degraded, recalled,
        parts IS NOT NULL FROM messages WHERE id = ?";

fn standing_of(row: &dyn Columns) -> Read<Standing> {
    Ok(Standing {
        state: row.get(0)?,
        account: row.get(1)?,
        attempts: row.json_or_default(2)?,
        waited: row.maybe(3)?.unwrap_or(true),
        tries: row.maybe(4)?.unwrap_or_default(),
        seq: row.maybe::<Option<i64>>(5)?.flatten(),
        expires: row.get(6)?,
        degraded: row.json_or_default(7)?,
        recalled: row.maybe(8)?.unwrap_or_default(),
        has_parts: row.get(9)?,
    })
}

/// Where a message stands.
pub fn standing(tx: &dyn Tx, id: MessageId) -> Read<Option<Standing>> {
    tx.first(STANDING, values![id], standing_of)
}

/// Where messages stand, each in the place of its id; none where there is no such message.
pub fn standings(tx: &dyn Tx, ids: &[MessageId]) -> Read<Vec<Option<Standing>>> {
    let mut found: Vec<Option<Standing>> = ids.iter().map(|_| None).collect();
    let rows: Vec<Vec<Value<'_>>> = ids.iter().map(|id| vec![(*id).into()]).collect();
    tx.visit_each(STANDING, &rows, &mut |place, row| {
        found[place] = Some(standing_of(row)?);
        Ok(())
    })?;
    Ok(found)
}

/// A message after a step.
#[derive(Debug)]
pub struct Stepped {
    /// Where it stands now.
    pub state: MessageState,
    /// Its place in its lane.
    pub seq: Option<i64>,
    /// Not before this, in milliseconds since 1970.
    pub due_at: Option<i64>,
    /// Tries that counted.
    pub tries: u32,
    /// Its tries.
    pub attempts: Vec<Attempt>,
    /// What last went wrong.
    pub error: Option<String>,
    /// The gateway's id, where it is told now.
    pub provider_id: Option<String>,
    /// What was changed on the way, where that has changed.
    pub degraded: Option<Vec<Degraded>>,
    /// Its parts, where they have changed.
    pub parts: Vec<Part>,
}

const STEP: &str = "UPDATE messages SET state = ?, seq = ?, due_at = ?, tries = ?, attempts = ?,
            error = ?, provider_id = coalesce(?, provider_id), degraded = coalesce(?, degraded),
            parts = coalesce(?, parts), changed_at = ?
        WHERE id = ?";
/// Whatever would let the step be another one than it was made for.
const STEP_IF_OPENED: &str = "UPDATE messages SET state = ?, seq = ?, due_at = ?, tries = ?, attempts = ?,
            error = ?, provider_id = coalesce(?, provider_id), degraded = coalesce(?, degraded),
            parts = coalesce(?, parts), changed_at = ?
        WHERE id = ? AND account = ? AND attempts = ? AND tries = ? AND state = 2 AND waited = 0 AND recalled = 0
            AND parts IS NULL AND degraded IS NULL";

/// What a step writes as JSON: tries, changes, parts.
struct Texts(String, Option<String>, Option<String>);

impl Stepped {
    fn texts(&self) -> Read<Texts> {
        let parts = (!self.parts.is_empty()).then(|| text(&self.parts)).transpose()?;
        Ok(Texts(text(&self.attempts)?, self.degraded.as_ref().map(text).transpose()?, parts))
    }

    fn row<'a>(&'a self, texts: &'a Texts, at: Timestamp, id: MessageId) -> Vec<Value<'a>> {
        vec![
            self.state.into(),
            self.seq.into(),
            self.due_at.into(),
            self.tries.into(),
            (&texts.0).into(),
            self.error.as_ref().into(),
            self.provider_id.as_ref().into(),
            texts.1.as_ref().into(),
            texts.2.as_ref().into(),
            at.into(),
            id.into(),
        ]
    }
}

/// Messages after their steps.
pub fn step_all(tx: &dyn Tx, steps: &[(MessageId, &Stepped, Timestamp)]) -> Read<()> {
    let texts: Vec<_> = steps.iter().map(|(_, stepped, _)| stepped.texts()).collect::<Read<_>>()?;
    let rows = steps.iter().zip(&texts).map(|((id, stepped, at), texts)| stepped.row(texts, *at, *id));
    tx.run_each(STEP, &rows.collect::<Vec<_>>()).map(drop)
}

/// Messages after their steps, as far as they are as their claims left them. Says of each whether it was so.
pub fn step_all_if_opened(tx: &dyn Tx, steps: &[(MessageId, &Opened, &Stepped, Timestamp)]) -> Read<Vec<bool>> {
    let texts: Vec<_> = steps
        .iter()
        .map(|(_, opened, stepped, _)| Ok((stepped.texts()?, text(&[Attempt::open(1, opened.at)])?)))
        .collect::<Read<_>>()?;
    let rows = steps.iter().zip(&texts).map(|((id, opened, stepped, at), (texts, attempts))| {
        let mut row = stepped.row(texts, *at, *id);
        row.extend::<[Value<'_>; 3]>([(&opened.account).into(), attempts.into(), opened.tries.into()]);
        row
    });
    Ok(tx.run_each(STEP_IF_OPENED, &rows.collect::<Vec<_>>())?.into_iter().map(|changed| changed == 1).collect())
}

/// A message after a step.
pub fn step(tx: &dyn Tx, id: MessageId, stepped: &Stepped, at: Timestamp) -> Read<()> {
    step_all(tx, &[(id, stepped, at)])
}

/// What is on the wire, or may have been, is not tried again.
pub fn recall_if_out(tx: &dyn Tx, id: MessageId) -> Read<()> {
    tx.run("UPDATE messages SET recalled = 1 WHERE id = ? AND state IN (2, 7)", values![id]).map(drop)
}

/// Somebody wants it to go out after all.
pub fn no_more_recalled(tx: &dyn Tx, id: MessageId) -> Read<()> {
    tx.run("UPDATE messages SET recalled = 0 WHERE id = ?", values![id]).map(drop)
}

/// Whether nobody knows if a message went out.
pub fn is_unknown(tx: &dyn Tx, id: MessageId) -> Read<bool> {
    tx.exists("SELECT 1 FROM messages WHERE id = ? AND state = 7", values![id])
}

/// Whether a message has not left yet, or is on the wire.
pub fn is_open(tx: &dyn Tx, id: MessageId) -> Read<bool> {
    tx.exists("SELECT 1 FROM messages WHERE id = ? AND state <= 2", values![id])
}

/// Whether the gateway has told by what id it knows a message.
pub fn has_provider_id(tx: &dyn Tx, id: MessageId) -> Read<bool> {
    tx.exists("SELECT 1 FROM messages WHERE id = ? AND provider_id IS NOT NULL", values![id])
}

/// The run that promised a message, and whom it is for, as far as both can be read.
pub fn about(tx: &dyn Tx, id: MessageId) -> Read<Option<(Option<RunId>, String)>> {
    let sql = "SELECT run, recipient FROM messages WHERE id = ?";
    Ok(if_readable(tx.first(sql, values![id], |row| Ok((row.get(0)?, row.get(1)?))))?.flatten())
}

/// The account and the recipient of a message.
pub fn route(tx: &dyn Tx, id: MessageId) -> Read<Option<(String, String)>> {
    let sql = "SELECT account, recipient FROM messages WHERE id = ?";
    tx.first(sql, values![id], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Tries of a message, as far as they can be read.
pub fn attempts(tx: &dyn Tx, id: MessageId) -> Read<Option<Vec<Attempt>>> {
    let sql = "SELECT attempts FROM messages WHERE id = ?";
    Ok(if_readable(tx.first(sql, values![id], |row| row.json(0)))?.flatten())
}

/// Tries of a message.
pub fn set_attempts(tx: &dyn Tx, id: MessageId, attempts: &[Attempt]) -> Read<()> {
    tx.run("UPDATE messages SET attempts = ? WHERE id = ?", values![&text(&attempts)?, id]).map(drop)
}

/// Parts of a message, as far as they can be read.
pub fn parts(tx: &dyn Tx, id: MessageId) -> Read<Vec<Part>> {
    let sql = "SELECT parts FROM messages WHERE id = ?";
    Ok(tx.first(sql, values![id], |row| row.json_or_default(0))?.unwrap_or_default())
}

/// Parts of a message. Gives its account.
pub fn set_parts(tx: &dyn Tx, id: MessageId, parts: &[Part]) -> Read<Option<String>> {
    let sql = "UPDATE messages SET parts = ? WHERE id = ? RETURNING account";
    tx.first(sql, values![&text(&parts)?, id], |row| row.get(0))
}

/// Parts of a message, and the id by which the gateway knows the whole of it, where that is told now.
pub fn set_parts_and_id(tx: &dyn Tx, id: MessageId, parts: &[Part], provider_id: Option<&String>) -> Read<()> {
    let sql = "UPDATE messages SET parts = ?, provider_id = coalesce(?, provider_id) WHERE id = ?";
    tx.run(sql, values![&text(&parts)?, provider_id, id]).map(drop)
}

/// What was changed of a message on the way, as far as it can be read.
pub fn degraded(tx: &dyn Tx, id: MessageId) -> Read<Vec<Degraded>> {
    let sql = "SELECT degraded FROM messages WHERE id = ?";
    Ok(tx.first(sql, values![id], |row| row.json_or_default(0))?.unwrap_or_default())
}

/// What was changed of a message on the way.
pub fn set_degraded(tx: &dyn Tx, id: MessageId, degraded: &[Degraded]) -> Read<()> {
    tx.run("UPDATE messages SET degraded = ? WHERE id = ?", values![&text(&degraded)?, id]).map(drop)
}

/// Why a message came to its end, and its tries, as far as they can be read.
pub fn end(tx: &dyn Tx, id: MessageId) -> Read<Option<(Option<String>, Vec<Attempt>)>> {
    let sql = "SELECT error, attempts FROM messages WHERE id = ?";
    tx.first(sql, values![id], |row| Ok((row.get(0)?, row.json_or_default(1)?)))
}

/// A message's state, its tries and its parts.
pub type Progress = (MessageState, Vec<Attempt>, Vec<Part>);

/// How far a message is: its state, and its tries and parts as far as they can be read.
pub fn progress(tx: &dyn Tx, id: MessageId) -> Read<Option<Progress>> {
    let sql = "SELECT state, attempts, parts FROM messages WHERE id = ?";
    tx.first(sql, values![id], |row| Ok((row.get(0)?, row.json_or_default(1)?, row.json_or_default(2)?)))
}

/// The tries and the parts of a message.
pub fn open_attempt(tx: &dyn Tx, id: MessageId) -> Read<Option<(Vec<Attempt>, Vec<Part>)>> {
    let sql = "SELECT attempts, parts FROM messages WHERE id = ?";
    tx.first(sql, values![id], |row| Ok((row.json(0)?, row.json_or_none(1)?.unwrap_or_default())))
}

/// A message of ours that somebody may quote.
#[derive(Debug)]
pub struct Quotable {
    /// The run that promised it.
    pub run: Option<RunId>,
    /// Canonical recipient.
    pub to: String,
    /// It is a question.
    pub asks: bool,
}

/// A message of ours that somebody quotes.
pub fn quoted(tx: &dyn Tx, id: MessageId) -> Read<Option<Quotable>> {
    let sql = "SELECT run, recipient, body FROM messages WHERE id = ?";
    tx.first(sql, values![id], |row| {
        let body: Option<Body> = if_readable(row.json(2))?;
        let asks = matches!(body, Some(Body { content: Content::Question { .. }, .. }));
        Ok(Quotable { run: row.get(0)?, to: row.get(1)?, asks })
    })
}

/// What a gateway's word about a message is held against.
#[derive(Debug)]
pub struct Acked {
    /// Its parts, as far as they can be read.
    pub parts: Vec<Part>,
    /// The account that sends it.
    pub account: String,
    /// Canonical recipient.
    pub to: String,
    /// Tries that counted, if that can be read.
    pub tries: Option<u32>,
}

/// What a gateway's word about a message is held against.
pub fn acked(tx: &dyn Tx, id: MessageId) -> Read<Option<Acked>> {
    let sql = "SELECT parts, account, recipient, tries FROM messages WHERE id = ?";
    tx.first(sql, values![id], |row| {
        Ok(Acked { parts: row.json_or_default(0)?, account: row.get(1)?, to: row.get(2)?, tries: row.maybe(3)? })
    })
}

/// A message of which nobody knows whether it went out.
#[derive(Debug)]
pub struct Unknown {
    /// Which.
    pub id: MessageId,
    /// The account that sends it.
    pub account: String,
    /// Canonical recipient.
    pub to: String,
    /// What it says.
    pub content: Content,
    /// Its parts.
    pub parts: Vec<Part>,
    /// Its tries.
    pub attempts: Vec<Attempt>,
}

fn unknown_of(row: &dyn Columns) -> Read<Unknown> {
    Ok(Unknown {
        id: row.get(0)?,
        account: row.get(1)?,
        to: row.get(2)?,
        content: row.json(3)?,
        parts: row.json_or_none(4)?.unwrap_or_default(),
        attempts: row.json(5)?,
    })
}

/// A message, if nobody knows whether it went out and it can be read.
pub fn unknown(tx: &dyn Tx, id: MessageId) -> Read<Option<Unknown>> {
    let sql = "SELECT id, account, recipient, body, parts, attempts FROM messages WHERE id = ? AND state = 7";
    Ok(if_readable(tx.first(sql, values![id], unknown_of))?.flatten())
}

/// The first of the messages to an address of which nobody knows whether they went out, the oldest first, that
/// `looks` says something of. One that cannot be read is passed over.
pub fn first_unknown<T>(
    tx: &dyn Tx,
    (account, to): (&str, &str),
    looks: &mut dyn FnMut(&Unknown) -> Option<T>,
) -> Read<Option<(Unknown, T)>> {
    let sql = "SELECT id, account, recipient, body, parts, attempts FROM messages
        WHERE account = ? AND recipient = ? AND state = 7 ORDER BY changed_at, id";
    let mut found = None;
    tx.visit(sql, values![account, to], &mut |row| {
        if let Some(unknown) = if_readable(unknown_of(row))? {
            found = looks(&unknown).map(|seen| (unknown, seen));
        }
        Ok(found.is_none())
    })?;
    Ok(found)
}

/// A message, if it is on the wire from this account to this address and can be read.
pub fn on_the_wire(tx: &dyn Tx, id: MessageId, (account, to): (&str, &str)) -> Read<Option<Unknown>> {
    let sql = "SELECT id, account, recipient, body, parts, attempts FROM messages
        WHERE id = ? AND account = ? AND recipient = ? AND state = 2";
    Ok(if_readable(tx.first(sql, values![id, account, to], unknown_of))?.flatten())
}

/// A message whose row cannot be read: where it stands and who sends it, as far as that can be.
pub fn damaged(tx: &dyn Tx, id: MessageId) -> Read<Option<(Option<MessageState>, String)>> {
    let sql = "SELECT state, account FROM messages WHERE id = ?";
    tx.first(sql, values![id], |row| Ok((row.maybe(0)?, row.maybe(1)?.unwrap_or_default())))
}

/// A message goes out no more, nor does the clock come back to it.
pub fn set_aside(tx: &dyn Tx, id: MessageId, state: MessageState, error: &str, now: Timestamp) -> Read<()> {
    let sql = "UPDATE messages SET seq = NULL, due_at = NULL, expires_at = NULL, recalled = 1, state = ?, error = ?,
        changed_at = ? WHERE id = ?";
    tx.run(sql, values![state, error, now, id]).map(drop)
}

/// What a run promised and may still be taken back, each with whether it is to be kept. What cannot be read cannot
/// be sent either.
pub fn unsent_of(tx: &dyn Tx, run: RunId) -> Read<Vec<(MessageId, bool)>> {
    let sql = "SELECT id, body FROM messages WHERE run = ? AND state IN (0, 1, 2, 7)";
    tx.readable(sql, values![run], "messages", |row| {
        Ok((row.get(0)?, row.json::<Body>(1).is_ok_and(|body| body.options.keep)))
    })
}

/// What a run and all that replay it have promised, oldest first; `but` is left out.
pub fn promised_by_family(tx: &dyn Tx, root: RunId, but: RunId) -> Read<Vec<(Promised, MessageState)>> {
    let sql = "WITH family AS (SELECT ?1 AS id UNION SELECT id FROM runs WHERE root = ?1)
        SELECT messages.id, account, recipient, body, state FROM family JOIN messages ON run = family.id
        WHERE family.id <> ?2 ORDER BY created_at, messages.id";
    tx.readable(sql, values![root, but], "messages", |row| {
        let content = row.json::<Body>(3)?.content;
        let promised = Promised { id: row.get(0)?, account: row.get(1)?, to: row.get(2)?, content };
        Ok((promised, row.get(4)?))
    })
}
