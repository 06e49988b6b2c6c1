//! Runs that wait for what a person writes. One question is open in a chat at a time; the next one
//! goes out when it is closed.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::if_readable;
use super::runs::{answer_run, make_ready};
use super::writer::Work;
use super::{Read, json as read_json, json_or_none, outbox, people, text, waits};
use crate::clock::millis;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Attempt, AttemptOutcome, MessageState, OPTED_OUT};
use crate::model::journal::{Pending, TurnCommit};
use crate::model::message::{Body, Content, NewMessage, SendOptions};
use crate::model::question::{Asked, Question, Wait};
use crate::model::recipient::Recipient;
use crate::model::run::ScriptError;
use crate::store::rows::WaitingFor;

/// The goal under which a question's message is waited for.
pub const ASKED: &str = "asked";

/// A run begins to wait for a message.
pub fn listen(work: &mut Work<'_>, run: RunId, account: &str, chat: &str, pattern: Option<&str>) -> Read<()> {
    note(work, run, (account, chat), (false, true), pattern)
}

/// A run waits in a chat, behind whoever waits there already: for an answer (`asks`), and whether its question is
/// `open`.
fn note(
    work: &mut Work<'_>,
    run: RunId,
    (account, chat): (&str, &str),
    (asks, open): (bool, bool),
    pattern: Option<&str>,
) -> Read<()> {
    let place = work.memory.next_seq();
    let sql = "INSERT INTO listening (run, account, chat, place, asks, open, pattern) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (run) DO UPDATE SET account = excluded.account, before = NULL, chat = excluded.chat,
            place = excluded.place, asks = excluded.asks, open = excluded.open, pattern = excluded.pattern,
            deadline = NULL, doubtful = 0, reminded = 0, repeated = 0";
    work.tx.prepare_cached(sql)?.execute(params![run.as_bytes(), account, chat, place, asks, open, pattern])?;
    Ok(())
}

/// A run asks: at once, or when the question before it in its chat is closed. Gives the question as
/// it is put, and whether it is out.
pub fn ask(work: &mut Work<'_>, turn: &TurnCommit, asked: &Asked) -> Read<(Asked, bool)> {
    let mut asked = asked.clone();
    // A message that is there already would never move again.
    while work.tx.prepare_cached("SELECT 1 FROM messages WHERE id = ?")?.exists([asked.message.as_bytes()])? {
        asked = asked.again();
    }
    let open = !has_open(work.tx, &asked.account, &asked.to, None)?;
    note(work, turn.run, (&asked.account, &asked.to), (true, open), None)?;
    if open {
        send_question(work, turn.run, &turn.flow, &asked, turn.at)?;
    }
    Ok((asked, open))
}

/// What the run waits for, as people are told.
pub fn detail(asked: &Asked, open: bool) -> String {
    match open {
        true => format!("the answer of {} to: {}", asked.to, asked.text),
        false => format!("the end of another question to {}, before it asks: {}", asked.to, asked.text),
    }
}

/// Whether a question is open in a chat, but for the one of the run `but`. One that went out by another
/// account keeps its place also in the chat in which it was asked.
pub fn has_open(connection: &Connection, account: &str, chat: &str, but: Option<&[u8; 16]>) -> Read<bool> {
    let sql = "SELECT account, pending FROM listening JOIN runs ON id = run
        WHERE chat = ?1 AND asks = 1 AND open = 1 AND run IS DISTINCT FROM ?2";
    let row = |row: &Row<'_>| {
        let pending = if_readable(json_or_none::<Pending>(row, 1))?.flatten();
        Ok((if_readable(row.get::<_, String>(0))?, pending))
    };
    for name in people::names(connection, account, chat)? {
        for open in connection.prepare_cached(sql)?.query_map(params![name, but], row)? {
            let (by, pending) = open?;
            let asked = pending.map(|pending| pending.question);
            if by.as_deref() == Some(account)
                || matches!(asked, Some(Question::Wait(Wait::Ask(asked))) if asked.account == account)
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn send_question(work: &mut Work<'_>, run: RunId, flow: &str, asked: &Asked, now: Timestamp) -> Read<()> {
    say(work, run, flow, asked, asked.message, None, now)?;
    waits::note(work, &asked.message, run.as_bytes(), ASKED)
}

/// Puts the words of a question into the outbox.
pub fn say(
    work: &mut Work<'_>,
    run: RunId,
    flow: &str,
    asked: &Asked,
    id: MessageId,
    reply_to: Option<String>,
    now: Timestamp,
) -> Read<()> {
    let content = Content::Question { text: asked.text.clone(), choices: asked.choices.clone() };
    // The recipient was checked when the script asked.
    let Ok(to) = Recipient::from_canonical(&asked.to) else { return Ok(()) };
    let message = NewMessage {
        id,
        run: Some(run),
        flow: flow.to_owned(),
        account: asked.account.clone(),
        to,
        body: Body { content, options: SendOptions { reply_to, ..SendOptions::default() } },
        at: None,
        valid_for: None,
        key: None,
    };
    outbox::insert(work, &message, now)
}

/// A waiting run as it stands in the store.
pub struct Waiting {
    pub flow: String,
    pub asked: Option<Asked>,
    pub deadline: Option<i64>,
    /// That is counted from when nobody knew whether the question had gone out.
    pub doubtful: bool,
    pub reminded: bool,
    pub repeated: bool,
    pub open: bool,
}

/// What a run waits for, if it can be read. One that cannot waits no longer: its next turn says why.
pub fn waiting(work: &mut Work<'_>, run: &[u8; 16], now: Timestamp) -> Read<Option<Waiting>> {
    let sql = "SELECT flow, pending, listening.account, deadline, reminded, repeated, open, doubtful
        FROM listening JOIN runs ON id = run WHERE run = ?";
    let row = |row: &Row<'_>| {
        let Ok(pending) = read_json::<Pending>(row, 1) else { return Ok(None) };
        let asked = match pending.question {
            // By now it may be asked through another account.
            Question::Wait(Wait::Ask(asked)) => Some(Asked { account: row.get(2)?, ..*asked }),
            _ => None,
        };
        Ok(Some(Waiting {
            flow: row.get(0)?,
            asked,
            deadline: row.get(3)?,
            reminded: row.get(4)?,
            repeated: row.get(5)?,
            open: row.get(6)?,
            doubtful: row.get(7)?,
        }))
    };
    let found = work.tx.prepare_cached(sql)?.query_row([run], row).optional()?;
    if found.as_ref().is_some_and(Option::is_none) {
        close(work, run, false, now)?;
        make_ready(work, run)?;
    }
    Ok(found.flatten())
}

/// The message of a question has come to another state: from when the gateway has it, time runs.
pub fn question_moved(
    work: &mut Work<'_>,
    run: &[u8; 16],
    message: MessageId,
    state: MessageState,
    now: Timestamp,
) -> Read<()> {
    let Some(found) = waiting(work, run, now)? else { return Ok(()) };
    let Some(asked) = found.asked.as_ref().filter(|asked| asked.message == message) else { return Ok(()) };
    use MessageState::*;
    match state {
        Scheduled | Sending => Ok(()),
        // It goes out once more: time does not run in the outbox.
        Queued => match found.deadline.is_some() && found.doubtful {
            true => run_time(work, run, None, false),
            false => Ok(()),
        },
        Accepted | Sent | Delivered | Read | Unknown if found.deadline.is_some() && !found.doubtful => Ok(()),
        // In doubt it is taken for delivered, for it may be answered; when there is none, time runs anew.
        Accepted | Sent | Delivered | Read | Unknown => run_time(work, run, Some((asked, now)), state == Unknown),
        Rejected | Dead | Expired | Cancelled => {
            let sql = "SELECT error, attempts FROM messages WHERE id = ?";
            let row = |row: &Row<'_>| {
                Ok((
                    row.get::<_, Option<String>>(0)?,
                    if_readable(read_json::<Vec<Attempt>>(row, 1))?.unwrap_or_default(),
                ))
            };
            let found = work.tx.prepare_cached(sql)?.query_row([asked.message.as_bytes()], row).optional()?;
            let (why, attempts) = found.unwrap_or_default();
            let why = why.unwrap_or_else(|| format!("its message is {}", state.name()));
            let kind = match attempts.last() {
                Some(last) if last.outcome == AttemptOutcome::OptedOut => OPTED_OUT,
                _ => "undeliverable",
            };
            let error = ScriptError::new(kind, format!("ask: the question could not be delivered: {why}"));
            close(work, run, false, now)?;
            answer_run(work, run, &Err(error))
        }
    }
}

/// Time runs from now on, or stands still.
fn run_time(work: &mut Work<'_>, run: &[u8; 16], from: Option<(&Asked, Timestamp)>, doubtful: bool) -> Read<()> {
    let deadline = from.map(|(asked, now)| millis(now).saturating_add(asked.timeout));
    let sql = "UPDATE listening SET deadline = ?, doubtful = ? WHERE run = ?";
    work.tx.prepare_cached(sql)?.execute(params![deadline, doubtful, run])?;
    let remind = from.and_then(|(asked, now)| asked.remind.map(|after| millis(now).saturating_add(after)));
    wake_at(work, run, remind.filter(|at| Some(*at) < deadline).or(deadline))
}

fn wake_at(work: &mut Work<'_>, run: &[u8; 16], at: Option<i64>) -> Read<()> {
    let waiting = said_of(work, run)?.map(|waiting| text(&WaitingFor { until: at, ..waiting })).transpose()?;
    let sql = "UPDATE runs SET wake_at = ?, waiting = ? WHERE id = ? AND state = 2";
    work.tx.prepare_cached(sql)?.execute(params![at, waiting, run])?;
    work.rings.run_timer();
    Ok(())
}

/// What people are told that a run waits for, as far as it can be read.
fn said_of(work: &Work<'_>, run: &[u8; 16]) -> Read<Option<WaitingFor>> {
    let mut find = work.tx.prepare_cached("SELECT waiting FROM runs WHERE id = ?")?;
    let found = find.query_row([run], |row| if_readable(json_or_none(row, 0))).optional()?;
    Ok(found.flatten().flatten())
}

/// What the clock means for a waiting run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// It goes on waiting: it was only to remind.
    Reminds,
    /// Nobody has said anything in time.
    IsOut,
    /// It waits for nobody.
    Else,
}

/// The clock has come to a waiting run.
pub fn time_came(work: &mut Work<'_>, run: &[u8; 16], now: Timestamp) -> Read<Time> {
    let sql = "SELECT asks, deadline FROM listening WHERE run = ?";
    let row = |row: &Row<'_>| Ok((row.get::<_, bool>(0)?, row.get::<_, Option<i64>>(1)?));
    let Some((asks, deadline)) = work.tx.prepare_cached(sql)?.query_row([run], row).optional()? else {
        return Ok(Time::Else);
    };
    if let Some(deadline) = deadline.filter(|deadline| asks && *deadline > millis(now)) {
        let Some(found) = waiting(work, run, now)? else { return Ok(Time::Else) };
        if let Some(asked) = found.asked.as_ref().filter(|_| !found.reminded) {
            say(work, RunId::from_bytes(*run), &found.flow, asked, asked.reminder, None, now)?;
        }
        work.tx.prepare_cached("UPDATE listening SET reminded = 1 WHERE run = ?")?.execute([run])?;
        wake_at(work, run, Some(deadline))?;
        return Ok(Time::Reminds);
    }
    close(work, run, false, now)?;
    Ok(Time::IsOut)
}

/// A run waits for no message any more; the next question in its chat goes out. A question that was
/// answered has arrived, whatever was known of it.
pub fn close(work: &mut Work<'_>, run: &[u8; 16], answered: bool, now: Timestamp) -> Read<()> {
    let sql = "DELETE FROM listening WHERE run = ? RETURNING account, chat, asks * open";
    let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?));
    let Some((account, chat, was_open)) = work.tx.prepare_cached(sql)?.query_row([run], row).optional()? else {
        return Ok(());
    };
    let mut accounts = vec![account];
    if let Some(Question::Wait(Wait::Ask(asked))) = question(work, run)? {
        waits::forget(work, asked.message, run)?;
        if !accounts.contains(&asked.account) {
            accounts.push(asked.account.clone());
        }
        if was_open && answered {
            outbox::infer(work, asked.message, "the person answered", now)?;
        }
        // What was still to be said about it need not be said any more.
        for id in [asked.message, asked.reminder, asked.repetition].into_iter().filter(|_| was_open) {
            outbox::recall(work, id, now)?;
        }
    }
    for account in accounts.iter().filter(|_| was_open) {
        let_next_out(work, account, &chat, now)?;
    }
    Ok(())
}

/// Lets the next question of a chat out, unless one is open in it.
pub fn let_next_out(work: &mut Work<'_>, account: &str, chat: &str, now: Timestamp) -> Read<()> {
    if has_open(work.tx, account, chat, None)? { Ok(()) } else { open_next(work, account, chat, now) }
}

/// What a run waits for, if it can be read.
pub fn question(work: &Work<'_>, run: &[u8; 16]) -> Read<Option<Question>> {
    let sql = "SELECT pending FROM runs WHERE id = ? AND pending IS NOT NULL";
    let row = |row: &Row<'_>| Ok(read_json::<Pending>(row, 0).ok());
    let found = work.tx.prepare_cached(sql)?.query_row([run], row).optional()?;
    Ok(found.flatten().map(|pending| pending.question))
}

fn open_next(work: &mut Work<'_>, account: &str, chat: &str, now: Timestamp) -> Read<()> {
    let sql = "SELECT run, place FROM listening WHERE chat = ? AND account = ? AND asks = 1 AND open = 0
        ORDER BY place LIMIT 1";
    let mut next: Option<([u8; 16], i64)> = None;
    for name in people::names(work.tx, account, chat)? {
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found: Option<([u8; 16], i64)> =
            work.tx.prepare_cached(sql)?.query_row([&name, account], row).optional()?;
        next = match (next, found) {
            (Some(one), Some(other)) if one.1 < other.1 => Some(one),
            (one, other) => other.or(one),
        };
    }
    let Some((run, _)) = next else { return Ok(()) };
    work.tx.prepare_cached("UPDATE listening SET open = 1 WHERE run = ?")?.execute([run])?;
    let Some(found) = waiting(work, &run, now)? else { return Ok(()) };
    let Some(asked) = &found.asked else { return Ok(()) };
    let detail = detail(asked, true);
    let waiting = said_of(work, &run)?.map(|waiting| text(&WaitingFor { detail, ..waiting })).transpose()?;
    work.tx.prepare_cached("UPDATE runs SET waiting = ? WHERE id = ?")?.execute(params![waiting, run])?;
    send_question(work, RunId::from_bytes(run), &found.flow, asked, now)
}

/// A message went to another account. If it is a question, a reminder or a repetition, its answer is
/// waited for there too; and the questions that wait for that go the same way.
pub fn divert(work: &Work<'_>, message: MessageId, from: &str, to: &str) -> Read<()> {
    let sql = "SELECT listening.run, chat FROM listening JOIN messages ON messages.run = listening.run
        WHERE messages.id = ? AND listening.account = ? AND asks = 1 AND open = 1";
    let row = |row: &Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, String>(1)?));
    let found = work.tx.prepare_cached(sql)?.query_row(params![message.as_bytes(), from], row).optional()?;
    let Some((run, chat)) = found else { return Ok(()) };
    let Some(Question::Wait(Wait::Ask(asked))) = question(work, &run)? else { return Ok(()) };
    if ![asked.message, asked.reminder, asked.repetition].contains(&message) {
        return Ok(());
    }
    // Where it was asked before it may be answered still.
    let before = (asked.message != message).then_some(from);
    let sql = "UPDATE listening SET account = ?, before = coalesce(?, before) WHERE run = ?";
    work.tx.prepare_cached(sql)?.execute(params![to, before, run])?;
    let sql = "UPDATE listening SET account = ? WHERE chat = ? AND account = ? AND asks = 1 AND open = 0";
    for name in people::names(work.tx, from, &chat)? {
        work.tx.prepare_cached(sql)?.execute([to, &name, from])?;
    }
    Ok(())
}
