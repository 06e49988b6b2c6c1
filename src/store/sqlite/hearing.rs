//! What runs that wait make of what a person writes.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::{Value, json as value};

use super::columns::if_readable;
use super::conversation::{Waiting, close, let_next_out, question, say, waiting};
use super::runs::{answer_run, set_aside};
use super::writer::Work;
use super::{Read, evidence, json, json_or_none, outbox, people};
use crate::clock::{from_millis, millis, rfc3339};
use crate::id::{MessageId, RunId};
use crate::model::conversation::chosen;
use crate::model::delivery::{Attempt, MessageState, OPTED_OUT, Part};
use crate::model::message::{Body, Content};
use crate::model::question::{Answer, Question, Wait};
use crate::model::run::ScriptError;
use crate::store::rows::{Inbound, Letter};

/// How far the clocks of gateways are behind ours, as the last messages of each account show: the least
/// time that one took from being written to being here is the clock's, what others took besides is the
/// way's. Answers are told from what was written before the question by that.
#[derive(Default)]
pub struct Clocks(HashMap<String, VecDeque<i64>>);

impl Clocks {
    /// How many messages show it: a clock that is set anew is known after as many.
    const LAST: usize = 4;
    /// More than that is no clock, in milliseconds.
    const MOST: i64 = 300_000;
    /// Gateways tell whole seconds.
    const GRAIN: i64 = 1_000;

    /// A message that was written at `at` by the gateway's clock is here.
    pub fn note(&mut self, account: &str, at: Timestamp, now: Timestamp) {
        let last = self.0.entry(account.to_owned()).or_default();
        last.push_back(millis(now).saturating_sub(millis(at)));
        if last.len() > Self::LAST {
            last.pop_front();
        }
    }

    /// How far an account's clock may be behind, in milliseconds.
    fn behind(&self, account: &str) -> i64 {
        let least = self.0.get(account).and_then(|last| last.iter().min()).copied().unwrap_or(Self::MOST);
        least.clamp(0, Self::MOST) + Self::GRAIN
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
pub fn hear(work: &mut Work<'_>, inbound: &Inbound, letter: &Letter) -> Read<Option<Heard>> {
    let (account, now) = (inbound.account.as_str(), inbound.now);
    let quoted = quoted(work, account, letter)?;
    // Whoever answers a message of ours stands in the chat that it was sent to, by whatever address.
    if let Some(quoted) = &quoted {
        evidence::learn(work, account, &quoted.to, &letter.written.chat)?;
    }
    let mut candidates: Vec<([u8; 16], i64)> = Vec::new();
    let chats = people::names(work.tx, account, &letter.written.chat.to_string())?;
    let senders = people::names(work.tx, account, &letter.written.from.to_string())?;
    let beside = senders.iter().filter(|name| !chats.contains(name)).map(String::as_str);
    // Whoever waits for a person hears that person in groups too; a question is answered where it
    // was asked.
    let sql = "SELECT run, place, pattern, asks FROM listening WHERE chat = ?1 AND (account = ?2 OR before = ?2) AND open = 1 AND asks <= ?3";
    let said = letter.written.text.as_deref().unwrap_or_default();
    let here = chats.iter().map(|chat| (chat.as_str(), true)).chain([("", false)]);
    for (chat, asks) in here.chain(beside.map(|name| (name, false))) {
        for account in [account, ""] {
            let mut find = work.tx.prepare_cached(sql)?;
            let mut rows = find.query(params![chat, account, asks])?;
            while let Some(row) = rows.next()? {
                let facts = || Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(3)?));
                let Some((run, place, asks)) = if_readable(facts())? else { continue };
                // A question was let through when it was asked; who only listens may be walled off since then.
                if !asks && !may_hear(work, inbound, &run)? {
                    continue;
                }
                // A pattern that cannot be read finds nothing.
                let Ok(pattern) = row.get_ref(2)?.as_str_or_null() else { continue };
                if pattern.is_none_or(|pattern| work.memory.patterns.finds(pattern, said)) {
                    candidates.push((run, place));
                }
            }
        }
    }
    candidates.sort_by_key(|(_, place)| *place);
    if let Some(place) = candidates.iter().position(|(id, _)| quoted.as_ref().is_some_and(|q| q.run == Some(*id))) {
        let quoted = candidates.remove(place);
        candidates.insert(0, quoted);
    }
    for (run, _) in candidates {
        let takes = |work: &mut Work<'_>| match waiting(work, &run, now)? {
            Some(found) => take(work, account, &run, &found, (letter, quoted.as_ref()), now),
            None => Ok(None),
        };
        let heard = work.each(takes, |work, why| set_aside(work, &run, why, now))?;
        match heard.flatten() {
            None => {}
            heard => return Ok(heard),
        }
    }
    Ok(None)
}

/// Whether the flow of a run may hear what comes to the account.
fn may_hear(work: &Work<'_>, inbound: &Inbound, run: &[u8; 16]) -> Read<bool> {
    if inbound.flows.is_all() {
        return Ok(true);
    }
    let mut find = work.tx.prepare_cached("SELECT flow FROM runs WHERE id = ?")?;
    let flow = if_readable(find.query_row([run], |row| row.get::<_, String>(0)).optional())?.flatten();
    Ok(flow.is_some_and(|flow| inbound.flows.means_name(&flow)))
}

/// The message of ours that somebody quotes, or whose buttons they press.
struct Quoted {
    message: MessageId,
    run: Option<[u8; 16]>,
    to: String,
    asks: bool,
}

fn quoted(work: &Work<'_>, account: &str, letter: &Letter) -> Read<Option<Quoted>> {
    let Some(id) = letter.written.reply_to.as_deref() else { return Ok(None) };
    let Some(id) = evidence::message_of(work, account, id)? else { return Ok(None) };
    let sql = "SELECT id, run, recipient, body FROM messages WHERE id = ?";
    let row = |row: &Row<'_>| {
        let body = if_readable(json::<Body>(row, 3))?;
        let asks = matches!(body, Some(Body { content: Content::Question { .. }, .. }));
        Ok(Quoted { message: MessageId::from_bytes(row.get(0)?), run: row.get(1)?, to: row.get(2)?, asks })
    };
    work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], row).optional()
}

fn take(
    work: &mut Work<'_>,
    account: &str,
    run: &[u8; 16],
    found: &Waiting,
    (letter, quoted): (&Letter, Option<&Quoted>),
    now: Timestamp,
) -> Read<Option<Heard>> {
    let id = RunId::from_bytes(*run);
    let said = letter.written.text.as_deref().unwrap_or_default();
    let Some(asked) = &found.asked else {
        close(work, run, true, now)?;
        answer_run(work, run, &Ok(letter.event.clone()))?;
        return Ok(Some(Heard::Answered(id)));
    };
    let means = quoted.map(|quoted| asked.is_put_by(quoted.message));
    // A "yes" to another question, which is closed by now, is no "yes" to this one.
    if !found.open || (means == Some(false) && quoted.is_some_and(|quoted| quoted.asks)) {
        return Ok(None);
    }
    // Who says which question is meant needs no clock.
    if means != Some(true) && !can_mean(work, account, asked.message, letter)? {
        return Ok(None);
    }
    // A button or a vote belongs to what it stands under. That may be this question as long as the gateway has
    // not told its id.
    let chosen_elsewhere = letter.written.kind == "choice" && letter.written.reply_to.is_some() && quoted.is_none();
    if chosen_elsewhere && has_id(work, asked.message)? {
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
    let mut answer = value!({
        "text": said,
        "choice": choice,
        "from": writer(work, account, letter)?,
        "at": rfc3339(from_millis(millis(now))),
    });
    answer["kind"] = letter.written.kind.into();
    for part in ["media", "fields"] {
        if letter.event[part] != Value::Null {
            answer[part] = letter.event[part].clone();
        }
    }
    close(work, run, true, now)?;
    answer_run(work, run, &Ok(answer))?;
    Ok(Some(Heard::Answered(id)))
}

/// Whether the gateway has told by what id it knows a message.
fn has_id(work: &Work<'_>, message: MessageId) -> Read<bool> {
    let sql = "SELECT 1 FROM messages WHERE id = ? AND provider_id IS NOT NULL";
    work.tx.prepare_cached(sql)?.exists([message.as_bytes()])
}

/// Who wrote, by the phone where that is known by now.
fn writer(work: &Work<'_>, account: &str, letter: &Letter) -> Read<Value> {
    let known = letter.event["from"].clone();
    if known.as_str().is_some_and(|known| known.starts_with('+')) {
        return Ok(known);
    }
    let mut names = people::names(work.tx, account, &letter.written.from.to_string())?.into_iter();
    Ok(names.find(|name| name.starts_with('+')).map_or(known, Value::String))
}

/// Whether a message can be the answer to a question: nobody answers what has not left yet (one that
/// waits to go out once more may have), nor what was asked long after they wrote.
fn can_mean(work: &Work<'_>, account: &str, question: MessageId, letter: &Letter) -> Read<bool> {
    let sql = "SELECT state, attempts, parts FROM messages WHERE id = ?";
    let row = |row: &Row<'_>| {
        let parts: Vec<Part> = if_readable(json_or_none(row, 2))?.flatten().unwrap_or_default();
        let attempts = if_readable(json::<Vec<Attempt>>(row, 1))?.unwrap_or_default();
        Ok((outbox::state(row, 0)?, attempts, parts))
    };
    let found = work.tx.prepare_cached(sql)?.query_row([question.as_bytes()], row).optional()?;
    let Some((state, attempts, parts)) = found else { return Ok(false) };
    let doubtful = |attempt: &Attempt| attempt.outcome.is_doubtful();
    let has_left = !matches!(state, MessageState::Scheduled | MessageState::Queued)
        || attempts.iter().any(doubtful)
        || parts.iter().any(|part| part.is_out() || part.is_in_doubt());
    let asked_at = attempts.first().map_or(i64::MIN, |attempt| attempt.at);
    let written_at = millis(letter.written.at).saturating_add(work.memory.clocks.behind(account));
    Ok(has_left && written_at >= asked_at)
}

/// A person wants to hear no more: whoever has asked them something gets to know.
pub fn refuse_all(work: &mut Work<'_>, account: &str, names: &[String], now: Timestamp) -> Read<()> {
    let sql = "SELECT run FROM listening WHERE chat = ? AND account = ? AND asks = 1";
    let mut elsewhere: Vec<(String, String)> = Vec::new();
    for name in names {
        let runs: Vec<[u8; 16]> =
            work.tx.prepare_cached(sql)?.query_map([name.as_str(), account], |row| row.get(0))?.collect::<Read<_>>()?;
        for run in runs {
            if let Some(Question::Wait(Wait::Ask(asked))) = question(work, &run)? {
                elsewhere.push((asked.account, asked.to));
            }
            let sentence = "ask: the person wants to get no more messages from this account";
            let answer: Answer = Err(ScriptError::new(OPTED_OUT, sentence));
            work.tx.prepare_cached("UPDATE listening SET open = 0 WHERE run = ?")?.execute([run])?;
            close(work, &run, false, now)?;
            answer_run(work, &run, &answer)?;
        }
    }
    // What was asked by another account, and went out by this one, has kept others waiting there.
    for (asked_by, chat) in elsewhere.iter().filter(|(asked_by, _)| asked_by != account) {
        let_next_out(work, asked_by, chat, now)?;
    }
    Ok(())
}
