//! What runs that wait make of what a person writes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::endings::set_aside;
use super::questions::{self, Waiting, close, say};
use super::reconciliation;
use super::runs::answer;
use super::work::Work;
use crate::clock::{from_millis, millis, rfc3339};
use crate::id::{MessageId, RunId};
use crate::model::conversation::chosen;
use crate::model::delivery::{Attempt, MessageState};
use crate::model::question::Asked;
use crate::store::records::{Inbound, Letter};
use crate::store::rows;
use crate::store::rows::messages::Quotable;
use crate::store::tx::Read;

/// What a waiting run makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It was what the run waited for.
    Answered(RunId),
    /// It made no sense; the question was put once more.
    Repeated(RunId),
}

/// The message of ours that somebody quotes, or whose buttons they press.
struct Quoted {
    message: MessageId,
    of: Quotable,
}

/// Gives a message to the run that waits for it: to the one whose question is quoted, else to the
/// oldest.
pub fn hear(work: &mut Work<'_>, inbound: &Inbound, letter: &Letter) -> Read<Option<Heard>> {
    let (account, now) = (inbound.account.as_str(), inbound.now);
    let quoted = quoted(work, account, letter)?;
    // Whoever answers a message of ours stands in the chat that it was sent to, by whatever address.
    if let Some(quoted) = &quoted {
        reconciliation::learn(work, account, &quoted.of.to, &letter.written.chat)?;
    }
    let mut candidates = candidates(work, inbound, letter)?;
    candidates.sort_by_key(|(_, place)| *place);
    if let Some(place) = candidates.iter().position(|(id, _)| quoted.as_ref().is_some_and(|q| q.of.run == Some(*id))) {
        let quoted = candidates.remove(place);
        candidates.insert(0, quoted);
    }
    for (run, _) in candidates {
        let takes = |work: &mut Work<'_>| match questions::waiting(work, run, now)? {
            Some(found) => take(work, account, (run, &found), (letter, quoted.as_ref()), now),
            None => Ok(None),
        };
        let heard = work.each(takes, |work, why| set_aside(work, run, why, now))?;
        match heard.flatten() {
            None => {}
            heard => return Ok(heard),
        }
    }
    Ok(None)
}

/// Runs that may be meant, each with its place. Whoever waits for a person hears that person in groups too; a question
/// is answered where it was asked.
fn candidates(work: &mut Work<'_>, inbound: &Inbound, letter: &Letter) -> Read<Vec<(RunId, i64)>> {
    let account = inbound.account.as_str();
    let chats = rows::people::names(work.tx, account, &letter.written.chat.to_string())?;
    let senders = rows::people::names(work.tx, account, &letter.written.from.to_string())?;
    let beside = senders.iter().filter(|name| !chats.contains(name)).map(String::as_str);
    let said = letter.written.text.as_deref().unwrap_or_default();
    let here = chats.iter().map(|chat| (chat.as_str(), true)).chain([("", false)]);
    let mut found: Vec<(RunId, i64)> = Vec::new();
    for (chat, asks) in here.chain(beside.map(|name| (name, false))) {
        for account in [account, ""] {
            for candidate in rows::questions::candidates(work.tx, chat, account, asks)? {
                // A question was let through when it was asked; who only listens may be walled off since then.
                if !candidate.asks && !may_hear(work, inbound, candidate.run)? {
                    continue;
                }
                let fits = match candidate.pattern {
                    None => true,
                    Some(pattern) => pattern.is_some_and(|pattern| work.memory.patterns.finds(&pattern, said)),
                };
                if fits {
                    found.push((candidate.run, candidate.place));
                }
            }
        }
    }
    Ok(found)
}

/// Whether the flow of a run may hear what comes to the account.
fn may_hear(work: &Work<'_>, inbound: &Inbound, run: RunId) -> Read<bool> {
    if inbound.flows.is_all() {
        return Ok(true);
    }
    Ok(rows::runs::flow(work.tx, run)?.is_some_and(|flow| inbound.flows.means_name(&flow)))
}

fn quoted(work: &Work<'_>, account: &str, letter: &Letter) -> Read<Option<Quoted>> {
    let Some(id) = letter.written.reply_to.as_deref() else { return Ok(None) };
    let Some(message) = reconciliation::message_of(work, account, id)? else { return Ok(None) };
    Ok(rows::messages::quoted(work.tx, message)?.map(|of| Quoted { message, of }))
}

fn take(
    work: &mut Work<'_>,
    account: &str,
    (run, found): (RunId, &Waiting),
    (letter, quoted): (&Letter, Option<&Quoted>),
    now: Timestamp,
) -> Read<Option<Heard>> {
    let said = letter.written.text.as_deref().unwrap_or_default();
    let Some(asked) = &found.asked else {
        close(work, run, true, now)?;
        answer(work, run, &Ok(letter.event.clone()))?;
        return Ok(Some(Heard::Answered(run)));
    };
    if !found.open || !is_meant(work, account, asked, (letter, quoted))? {
        return Ok(None);
    }
    let choice = chosen(&asked.choices, said);
    if choice.is_none() && !asked.choices.is_empty() {
        if found.repeated {
            return Ok(None);
        }
        rows::questions::set_repeated(work.tx, run)?;
        let quoted = Some(letter.written.message_id.clone());
        say(work, (run, &found.flow), asked, asked.repetition, quoted, now)?;
        return Ok(Some(Heard::Repeated(run)));
    }
    let mut given = json!({
        "text": said,
        "choice": choice,
        "from": writer(work, account, letter)?,
        "at": rfc3339(from_millis(millis(now))),
    });
    given["kind"] = letter.written.kind.into();
    for part in ["media", "fields"] {
        if letter.event[part] != Value::Null {
            given[part] = letter.event[part].clone();
        }
    }
    close(work, run, true, now)?;
    answer(work, run, &Ok(given))?;
    Ok(Some(Heard::Answered(run)))
}

/// Whether a message is said to this question, as far as that can be told.
fn is_meant(work: &Work<'_>, account: &str, asked: &Asked, (letter, quoted): (&Letter, Option<&Quoted>)) -> Read<bool> {
    let means = quoted.map(|quoted| asked.is_put_by(quoted.message));
    // A "yes" to another question, which is closed by now, is no "yes" to this one.
    if means == Some(false) && quoted.is_some_and(|quoted| quoted.of.asks) {
        return Ok(false);
    }
    // Who says which question is meant needs no clock.
    if means != Some(true) && !can_mean(work, account, asked.message, letter)? {
        return Ok(false);
    }
    // A button or a vote belongs to what it stands under. That may be this question as long as the gateway has
    // not told its id.
    let chosen_elsewhere = letter.written.kind == "choice" && letter.written.reply_to.is_some() && quoted.is_none();
    if chosen_elsewhere && rows::messages::has_provider_id(work.tx, asked.message)? {
        return Ok(false);
    }
    // What cannot be read at all (a message of a kind that the gateway does not know) is no answer.
    let said = letter.written.text.as_deref().unwrap_or_default();
    Ok(letter.written.kind != "other" || !said.is_empty())
}

/// Who wrote, by the phone where that is known by now.
fn writer(work: &Work<'_>, account: &str, letter: &Letter) -> Read<Value> {
    let known = letter.event["from"].clone();
    if known.as_str().is_some_and(|known| known.starts_with('+')) {
        return Ok(known);
    }
    let mut names = rows::people::names(work.tx, account, &letter.written.from.to_string())?.into_iter();
    Ok(names.find(|name| name.starts_with('+')).map_or(known, Value::String))
}

/// Whether a message can be the answer to a question: nobody answers what has not left yet (one that
/// waits to go out once more may have), nor what was asked long after they wrote.
fn can_mean(work: &Work<'_>, account: &str, question: MessageId, letter: &Letter) -> Read<bool> {
    let Some((state, attempts, parts)) = rows::messages::progress(work.tx, question)? else { return Ok(false) };
    let doubtful = |attempt: &Attempt| attempt.outcome.is_doubtful();
    let has_left = !matches!(state, MessageState::Scheduled | MessageState::Queued)
        || attempts.iter().any(doubtful)
        || parts.iter().any(|part| part.is_out() || part.is_in_doubt());
    let asked_at = attempts.first().map_or(i64::MIN, |attempt| attempt.at);
    let written_at = millis(letter.written.at).saturating_add(work.memory.clocks.behind(account));
    Ok(has_left && written_at >= asked_at)
}
