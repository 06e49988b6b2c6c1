//! Runs that wait for what a person writes, each in a chat.

use crate::id::{MessageId, RunId};
use crate::model::journal::Pending;
use crate::store::tx::{Read, Tx, if_readable, values};

/// A run that waits in a chat.
#[derive(Clone, Copy, Debug)]
pub struct Listener<'a> {
    /// To this account; empty means any.
    pub account: &'a str,
    /// In this chat, or from this person; empty means anybody.
    pub chat: &'a str,
    /// It waits for the answer to a question, ...
    pub asks: bool,
    /// ... which is out, or need not be. Else it waits for the end of the one before it.
    pub open: bool,
    /// That this pattern finds something in.
    pub pattern: Option<&'a str>,
}

/// A run waits in a chat, behind whoever waits there already.
pub fn listen(tx: &dyn Tx, run: RunId, listener: Listener<'_>, place: i64) -> Read<()> {
    let sql = "INSERT INTO listening (run, account, chat, place, asks, open, pattern) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (run) DO UPDATE SET account = excluded.account, before = NULL, chat = excluded.chat,
            place = excluded.place, asks = excluded.asks, open = excluded.open, pattern = excluded.pattern,
            deadline = NULL, doubtful = 0, reminded = 0, repeated = 0";
    let Listener { account, chat, asks, open, pattern } = listener;
    tx.run(sql, values![run, account, chat, place, asks, open, pattern]).map(drop)
}

/// Whether anybody waits.
pub fn is_anybody(tx: &dyn Tx) -> Read<bool> {
    tx.exists("SELECT 1 FROM listening", values![])
}

/// Open questions in a chat, but for that of the run `but`: the account that each is asked by now, and the question
/// as it was asked, as far as these can be read.
pub fn open_in(tx: &dyn Tx, chat: &str, but: Option<RunId>) -> Read<Vec<(Option<String>, Option<Pending>)>> {
    let sql = "SELECT account, pending FROM listening JOIN runs ON id = run
        WHERE chat = ?1 AND asks = 1 AND open = 1 AND run IS DISTINCT FROM ?2";
    tx.all(sql, values![chat, but], |row| Ok((row.maybe(0)?, if_readable(row.json_or_none(1))?.flatten())))
}

/// A waiting run as it stands.
#[derive(Debug)]
pub struct Waiting {
    /// Name of its flow.
    pub flow: String,
    /// What it waits for.
    pub pending: Pending,
    /// The account that it waits at.
    pub account: String,
    /// When it waits no more, in milliseconds since 1970.
    pub deadline: Option<i64>,
    /// That is counted from when nobody knew whether the question had gone out.
    pub doubtful: bool,
    /// The person was reminded.
    pub reminded: bool,
    /// The question was put once more.
    pub repeated: bool,
    /// The question is out.
    pub open: bool,
}

/// What a run waits for: nothing (none), or what cannot be read (none within).
pub fn waiting(tx: &dyn Tx, run: RunId) -> Read<Option<Option<Waiting>>> {
    let sql = "SELECT flow, pending, listening.account, deadline, reminded, repeated, open, doubtful
        FROM listening JOIN runs ON id = run WHERE run = ?";
    tx.first(sql, values![run], |row| {
        let Ok(pending) = row.json(1) else { return Ok(None) };
        Ok(Some(Waiting {
            flow: row.get(0)?,
            pending,
            account: row.get(2)?,
            deadline: row.get(3)?,
            reminded: row.get(4)?,
            repeated: row.get(5)?,
            open: row.get(6)?,
            doubtful: row.get(7)?,
        }))
    })
}

/// Whether a run waits for an answer, and until when.
pub fn deadline(tx: &dyn Tx, run: RunId) -> Read<Option<(bool, Option<i64>)>> {
    let sql = "SELECT asks, deadline FROM listening WHERE run = ?";
    tx.first(sql, values![run], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Until when a run waits, and whether that is counted from a doubt.
pub fn set_deadline(tx: &dyn Tx, run: RunId, deadline: Option<i64>, doubtful: bool) -> Read<()> {
    let sql = "UPDATE listening SET deadline = ?, doubtful = ? WHERE run = ?";
    tx.run(sql, values![deadline, doubtful, run]).map(drop)
}

/// A run waits no longer than this, and nobody is reminded any more.
pub fn cut_short(tx: &dyn Tx, run: RunId, deadline: i64) -> Read<()> {
    tx.run("UPDATE listening SET deadline = ?, reminded = 1 WHERE run = ?", values![deadline, run]).map(drop)
}

/// The person was reminded.
pub fn set_reminded(tx: &dyn Tx, run: RunId) -> Read<()> {
    tx.run("UPDATE listening SET reminded = 1 WHERE run = ?", values![run]).map(drop)
}

/// The question was put once more.
pub fn set_repeated(tx: &dyn Tx, run: RunId) -> Read<()> {
    tx.run("UPDATE listening SET repeated = 1 WHERE run = ?", values![run]).map(drop)
}

/// The question of a run is out, or is not any more.
pub fn set_open(tx: &dyn Tx, run: RunId, open: bool) -> Read<()> {
    tx.run("UPDATE listening SET open = ? WHERE run = ?", values![open, run]).map(drop)
}

/// What a run waited for.
#[derive(Debug)]
pub struct Closed {
    /// At this account.
    pub account: String,
    /// In this chat.
    pub chat: String,
    /// It was an open question.
    pub was_open: bool,
}

/// A run waits in no chat any more. Gives what it waited for.
pub fn close(tx: &dyn Tx, run: RunId) -> Read<Option<Closed>> {
    let sql = "DELETE FROM listening WHERE run = ? RETURNING account, chat, asks * open";
    tx.first(sql, values![run], |row| Ok(Closed { account: row.get(0)?, chat: row.get(1)?, was_open: row.get(2)? }))
}

/// A run waits in no chat any more, whatever stands in its row.
pub fn erase(tx: &dyn Tx, run: RunId) -> Read<()> {
    tx.run("DELETE FROM listening WHERE run = ?", values![run]).map(drop)
}

/// The question that is next in a chat, by an account: its run and its place.
pub fn next_question(tx: &dyn Tx, account: &str, chat: &str) -> Read<Option<(RunId, i64)>> {
    let sql = "SELECT run, place FROM listening WHERE chat = ? AND account = ? AND asks = 1 AND open = 0
        ORDER BY place LIMIT 1";
    tx.first(sql, values![chat, account], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// The run whose open question at an account a message belongs to, and its chat.
pub fn asking_with(tx: &dyn Tx, message: MessageId, account: &str) -> Read<Option<(RunId, String)>> {
    let sql = "SELECT listening.run, chat FROM listening JOIN messages ON messages.run = listening.run
        WHERE messages.id = ? AND listening.account = ? AND asks = 1 AND open = 1";
    tx.first(sql, values![message, account], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// A question is waited for at another account; also, if it is out there, at the one before.
pub fn move_to(tx: &dyn Tx, run: RunId, account: &str, before: Option<&str>) -> Read<()> {
    let sql = "UPDATE listening SET account = ?, before = coalesce(?, before) WHERE run = ?";
    tx.run(sql, values![account, before, run]).map(drop)
}

/// The questions that are not out yet go out by another account.
pub fn move_closed(tx: &dyn Tx, chat: &str, from: &str, to: &str) -> Read<()> {
    let sql = "UPDATE listening SET account = ? WHERE chat = ? AND account = ? AND asks = 1 AND open = 0";
    tx.run(sql, values![to, chat, from]).map(drop)
}

/// A run that may be meant by what somebody writes.
#[derive(Debug)]
pub struct Candidate {
    /// Which.
    pub run: RunId,
    /// Its place among those who wait.
    pub place: i64,
    /// It waits for an answer.
    pub asks: bool,
    /// That this pattern finds something in. One that cannot be read finds nothing, and is none within.
    pub pattern: Option<Option<String>>,
}

/// Who waits in a chat, with an open question if `asks`, else for a message of somebody's own accord.
pub fn candidates(tx: &dyn Tx, chat: &str, account: &str, asks: bool) -> Read<Vec<Candidate>> {
    let sql = "SELECT run, place, pattern, asks FROM listening WHERE chat = ?1 AND (account = ?2 OR before = ?2) AND open = 1 AND asks <= ?3";
    let found = tx.all(sql, values![chat, account, asks], |row| {
        let pattern = match row.maybe::<Option<String>>(2)? {
            Some(None) => None,
            read => Some(read.flatten()),
        };
        let facts = || Ok((row.get(0)?, row.get(1)?, row.get(3)?));
        Ok(if_readable(facts())?.map(|(run, place, asks)| Candidate { run, place, asks, pattern }))
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Runs that ask in a chat by an account, out or not.
pub fn asking_in(tx: &dyn Tx, chat: &str, account: &str) -> Read<Vec<RunId>> {
    tx.all("SELECT run FROM listening WHERE chat = ? AND account = ? AND asks = 1", values![chat, account], |row| {
        row.get(0)
    })
}
