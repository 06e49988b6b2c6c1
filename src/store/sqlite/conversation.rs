//! Runs that wait for what a person writes. One question is open in a chat at a time; the next one
//! goes out when it is closed.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::{Value, json};

use super::people::OPTED_OUT;
use super::runs::answer_run;
use super::writer::Work;
use super::{Read, json as read_json, outbox, people, waits};
use crate::clock::{from_millis, millis, rfc3339};
use crate::id::{MessageId, RunId};
use crate::model::conversation::chosen;
use crate::model::delivery::{Attempt, MessageState, Step};
use crate::model::journal::{Answer, Pending, TurnCommit};
use crate::model::message::{Body, Content, NewMessage, SendOptions};
use crate::model::question::{Asked, Question};
use crate::model::recipient::Recipient;
use crate::model::run::ScriptError;
use crate::store::rows::Letter;

/// The goal under which a question's message is waited for.
pub const ASKED: &str = "asked";

/// A run begins to wait for a message.
pub fn listen(work: &mut Work<'_>, run: RunId, account: &str, chat: &str, pattern: Option<&str>) -> Read<()> {
    let place = work.memory.next_seq();
    let sql = "INSERT OR REPLACE INTO listening (run, account, chat, place, asks, open, pattern)
        VALUES (?, ?, ?, ?, 0, 1, ?)";
    work.tx.prepare_cached(sql)?.execute(params![run.as_bytes(), account, chat, place, pattern])?;
    Ok(())
}

/// A run asks: at once, or when the question before it in its chat is closed. Gives the question as
/// it is put.
pub fn ask(work: &mut Work<'_>, turn: &TurnCommit, asked: &Asked) -> Read<Asked> {
    let mut asked = asked.clone();
    // A message that is there already would never move again.
    while work.tx.prepare_cached("SELECT 1 FROM messages WHERE id = ?")?.exists([asked.message.as_bytes()])? {
        asked = asked.again();
    }
    let place = work.memory.next_seq();
    let open = !has_open(work, &asked.account, &asked.to)?;
    let sql = "INSERT OR REPLACE INTO listening (run, account, chat, place, asks, open) VALUES (?, ?, ?, ?, 1, ?)";
    let values = params![turn.run.as_bytes(), asked.account, asked.to, place, open];
    work.tx.prepare_cached(sql)?.execute(values)?;
    if open {
        send_question(work, turn.run, &turn.flow, &asked, turn.at)?;
    }
    Ok(asked)
}

fn has_open(work: &Work<'_>, account: &str, chat: &str) -> Read<bool> {
    let sql = "SELECT 1 FROM listening WHERE chat = ? AND account = ? AND asks = 1 AND open = 1";
    for name in people::names(work.tx, account, chat)? {
        if work.tx.prepare_cached(sql)?.exists([&name, account])? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn send_question(work: &mut Work<'_>, run: RunId, flow: &str, asked: &Asked, now: Timestamp) -> Read<()> {
    say(work, run, flow, asked, asked.message, None, now)?;
    waits::note(work, &asked.message, run.as_bytes(), ASKED)
}

/// Puts the words of a question into the outbox.
fn say(
    work: &mut Work<'_>,
    run: RunId,
    flow: &str,
    asked: &Asked,
    id: MessageId,
    reply_to: Option<String>,
    now: Timestamp,
) -> Read<()> {
    let text = asked.text.clone();
    let content = match asked.choices.is_empty() {
        true => Content::Text { text },
        false => Content::Question { text, choices: asked.choices.clone() },
    };
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
struct Waiting {
    flow: String,
    asked: Option<Asked>,
    deadline: Option<i64>,
    /// That is counted from when nobody knew whether the question had gone out.
    doubtful: bool,
    reminded: bool,
    repeated: bool,
    open: bool,
}

fn waiting(work: &Work<'_>, run: &[u8; 16]) -> Read<Option<Waiting>> {
    let sql = "SELECT flow, pending, listening.account, deadline, reminded, repeated, open, doubtful
        FROM listening JOIN runs ON id = run WHERE run = ?";
    let row = |row: &Row<'_>| {
        let asked = match read_json::<Pending>(row, 1)?.question {
            // By now it may be asked through another account.
            Question::Ask(asked) => Some(Asked { account: row.get(2)?, ..*asked }),
            _ => None,
        };
        Ok(Waiting {
            flow: row.get(0)?,
            asked,
            deadline: row.get(3)?,
            reminded: row.get(4)?,
            repeated: row.get(5)?,
            open: row.get(6)?,
            doubtful: row.get(7)?,
        })
    };
    work.tx.prepare_cached(sql)?.query_row([run], row).optional()
}

/// The message of a question has come to another state: from when the gateway has it, time runs.
pub fn question_moved(work: &mut Work<'_>, run: &[u8; 16], state: MessageState, now: Timestamp) -> Read<()> {
    let Some(found) = waiting(work, run)? else { return Ok(()) };
    let Some(asked) = &found.asked else { return Ok(()) };
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
            let row = |row: &Row<'_>| Ok((row.get::<_, Option<String>>(0)?, read_json::<Vec<Attempt>>(row, 1)?));
            let found = work.tx.prepare_cached(sql)?.query_row([asked.message.as_bytes()], row).optional()?;
            let (why, attempts) = found.unwrap_or_default();
            let why = why.unwrap_or_else(|| format!("its message is {}", state.name()));
            let kind = match attempts.last() {
                Some(last) if last.outcome == OPTED_OUT => OPTED_OUT,
                _ => "undeliverable",
            };
            let error = ScriptError::new(kind, format!("ask: the question could not be delivered: {why}"));
            close(work, run, now)?;
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
    let sql = "UPDATE runs SET wake_at = ?1, waiting = json_set(waiting, '$.until', ?1) WHERE id = ?2 AND state = 2";
    work.tx.prepare_cached(sql)?.execute(params![at, run])?;
    work.rings.run_timer();
    Ok(())
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
        let Some(found) = waiting(work, run)? else { return Ok(Time::Else) };
        if let Some(asked) = found.asked.as_ref().filter(|_| !found.reminded) {
            say(work, RunId::from_bytes(*run), &found.flow, asked, asked.reminder, None, now)?;
        }
        work.tx.prepare_cached("UPDATE listening SET reminded = 1 WHERE run = ?")?.execute([run])?;
        wake_at(work, run, Some(deadline))?;
        return Ok(Time::Reminds);
    }
    close(work, run, now)?;
    Ok(Time::IsOut)
}

/// A run waits for no message any more; the next question in its chat goes out.
pub fn close(work: &mut Work<'_>, run: &[u8; 16], now: Timestamp) -> Read<()> {
    let sql = "DELETE FROM listening WHERE run = ? RETURNING account, chat, asks AND open";
    let row = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?));
    let Some((account, chat, was_open)) = work.tx.prepare_cached(sql)?.query_row([run], row).optional()? else {
        return Ok(());
    };
    work.tx.prepare_cached("DELETE FROM waits WHERE run = ? AND goal = 'asked'")?.execute([run])?;
    // What was still to be said about it need not be said any more.
    let sql = "SELECT id FROM messages WHERE run = ? AND state IN (0, 1)";
    if was_open && let Some(Question::Ask(asked)) = question(work, run)? {
        let unsent: Vec<[u8; 16]> =
            work.tx.prepare_cached(sql)?.query_map([run], |row| row.get(0))?.collect::<Read<_>>()?;
        for id in unsent.into_iter().map(MessageId::from_bytes) {
            if [asked.message, asked.reminder, asked.repetition].contains(&id) {
                outbox::step(work, id, Step::Cancel, now)?;
            }
        }
    }
    if was_open && !has_open(work, &account, &chat)? { open_next(work, &account, &chat, now) } else { Ok(()) }
}

fn question(work: &Work<'_>, run: &[u8; 16]) -> Read<Option<Question>> {
    let sql = "SELECT pending FROM runs WHERE id = ? AND pending IS NOT NULL";
    let found = work.tx.prepare_cached(sql)?.query_row([run], |row| read_json::<Pending>(row, 0)).optional()?;
    Ok(found.map(|pending| pending.question))
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
    let Some(found) = waiting(work, &run)? else { return Ok(()) };
    match &found.asked {
        Some(asked) => send_question(work, RunId::from_bytes(run), &found.flow, asked, now),
        None => Ok(()),
    }
}

/// What a waiting run makes of a message.
pub enum Heard {
    /// It was what the run waited for.
    Answered(RunId),
    /// It made no sense; the question was put once more.
    Repeated(RunId),
}

/// Gives a message to the run that waits for it: to the one whose question is quoted, else to the
/// oldest.
pub fn hear(work: &mut Work<'_>, account: &str, letter: &Letter, now: Timestamp) -> Read<Option<Heard>> {
    let mut candidates: Vec<([u8; 16], i64)> = Vec::new();
    let chats = people::names(work.tx, account, &letter.written.chat.to_string())?;
    let senders = people::names(work.tx, account, &letter.written.from.to_string())?;
    let beside = senders.iter().filter(|name| !chats.contains(name)).map(String::as_str);
    // Whoever waits for a person hears that person in groups too; a question is answered where it
    // was asked.
    let sql = "SELECT run, place, pattern FROM listening WHERE chat = ?1 AND account = ?2 AND open = 1 AND asks <= ?3";
    let said = letter.written.text.as_deref().unwrap_or_default();
    let here = chats.iter().map(|chat| (chat.as_str(), true)).chain([("", false)]);
    for (chat, asks) in here.chain(beside.map(|name| (name, false))) {
        for account in [account, ""] {
            let mut find = work.tx.prepare_cached(sql)?;
            let mut rows = find.query(params![chat, account, asks])?;
            while let Some(row) = rows.next()? {
                let pattern = row.get_ref(2)?.as_str_or_null()?;
                if pattern.is_none_or(|pattern| work.memory.patterns.finds(pattern, said)) {
                    candidates.push((row.get(0)?, row.get(1)?));
                }
            }
        }
    }
    candidates.sort_by_key(|(_, place)| *place);
    if let Some(quoted) = letter.written.reply_to.as_deref() {
        let sql =
            "SELECT run FROM posted JOIN messages ON id = message WHERE posted.account = ? AND posted.provider_id = ?";
        let run: Option<Option<[u8; 16]>> =
            work.tx.prepare_cached(sql)?.query_row([account, quoted], |row| row.get(0)).optional()?;
        if let Some(place) = candidates.iter().position(|(id, _)| run.flatten() == Some(*id)) {
            let quoted = candidates.remove(place);
            candidates.insert(0, quoted);
        }
    }
    for (run, _) in candidates {
        let Some(found) = waiting(work, &run)? else { continue };
        match take(work, &run, &found, letter, now)? {
            None => {}
            heard => return Ok(heard),
        }
    }
    Ok(None)
}

fn take(work: &mut Work<'_>, run: &[u8; 16], found: &Waiting, letter: &Letter, now: Timestamp) -> Read<Option<Heard>> {
    let id = RunId::from_bytes(*run);
    let said = letter.written.text.as_deref().unwrap_or_default();
    let Some(asked) = &found.asked else {
        close(work, run, now)?;
        answer_run(work, run, &Ok(letter.event.clone()))?;
        return Ok(Some(Heard::Answered(id)));
    };
    // Nobody answers what has not left yet. One that waits to go out once more may have.
    let sql = "SELECT state, attempts FROM messages WHERE id = ?";
    let row = |row: &Row<'_>| Ok((outbox::state(row, 0)?, read_json::<Vec<Attempt>>(row, 1)?));
    let question = work.tx.prepare_cached(sql)?.query_row([asked.message.as_bytes()], row).optional()?;
    let has_left = question.is_some_and(|(state, attempts)| {
        !matches!(state, MessageState::Scheduled | MessageState::Queued)
            || attempts.iter().any(|attempt| matches!(attempt.outcome.as_str(), "ambiguous" | "interrupted"))
    });
    if !found.open || !has_left {
        return Ok(None);
    }
    // What cannot be read at all (a message of a kind that the gateway does not know) is no answer.
    if letter.written.kind == "other" && said.is_empty() {
        return Ok(None);
    }
    let choice = chosen(&asked.choices, said);
    if choice.is_none() && !asked.choices.is_empty() {
        if found.repeated {
            return Ok(None);
        }
        work.tx.prepare_cached("UPDATE listening SET repeated = 1 WHERE run = ?")?.execute([run])?;
        let quoted = Some(letter.written.message_id.clone());
        say(work, id, &found.flow, asked, asked.repetition, quoted, now)?;
        return Ok(Some(Heard::Repeated(id)));
    }
    let mut answer = json!({
        "text": said,
        "choice": choice,
        "from": letter.event["from"],
        "at": rfc3339(from_millis(millis(now))),
    });
    if letter.event["media"] != Value::Null {
        answer["media"] = letter.event["media"].clone();
    }
    close(work, run, now)?;
    answer_run(work, run, &Ok(answer))?;
    Ok(Some(Heard::Answered(id)))
}

/// A person wants to hear no more: whoever has asked them something gets to know.
pub fn refuse_all(work: &mut Work<'_>, account: &str, names: &[String], now: Timestamp) -> Read<()> {
    let sql = "SELECT run FROM listening WHERE chat = ? AND account = ? AND asks = 1";
    for name in names {
        let runs: Vec<[u8; 16]> =
            work.tx.prepare_cached(sql)?.query_map([name.as_str(), account], |row| row.get(0))?.collect::<Read<_>>()?;
        for run in runs {
            let sentence = "ask: the person wants to get no more messages from this account";
            let answer: Answer = Err(ScriptError::new(OPTED_OUT, sentence));
            work.tx.prepare_cached("UPDATE listening SET open = 0 WHERE run = ?")?.execute([run])?;
            close(work, &run, now)?;
            answer_run(work, &run, &answer)?;
        }
    }
    Ok(())
}

/// A message went to another account. If it is a question, its answer is waited for there; and the
/// questions that wait for that go the same way.
pub fn divert(work: &Work<'_>, message: MessageId, from: &str, to: &str) -> Read<()> {
    let sql = "UPDATE listening SET account = ?1 WHERE asks = 1 AND account = ?2 AND run IN
        (SELECT run FROM waits WHERE message = ?3 AND goal = 'asked') RETURNING chat";
    let values = params![to, from, message.as_bytes()];
    let chat: Option<String> = work.tx.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    let Some(chat) = chat else { return Ok(()) };
    let sql = "UPDATE listening SET account = ? WHERE chat = ? AND account = ? AND asks = 1 AND open = 0";
    for name in people::names(work.tx, from, &chat)? {
        work.tx.prepare_cached(sql)?.execute([to, &name, from])?;
    }
    Ok(())
}
