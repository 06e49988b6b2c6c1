//! Runs that wait for what a person writes. One question is open in a chat at a time; the next one
//! goes out when it is closed.

use jiff::Timestamp;

use super::messages;
use super::runs::{answer, make_ready};
use super::work::Work;
use crate::clock::millis;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{AttemptOutcome, MessageState, OPTED_OUT};
use crate::model::journal::TurnCommit;
use crate::model::message::{Body, Content, NewMessage, SendOptions};
use crate::model::question::{Asked, Question, Wait};
use crate::model::recipient::Recipient;
use crate::model::run::ScriptError;
use crate::store::records::WaitingFor;
use crate::store::rows;
use crate::store::rows::questions::{Closed, Listener};
use crate::store::tx::{Read, Tx};

/// The goal under which a question's message is waited for.
pub const ASKED: &str = "asked";

/// A run begins to wait for a message.
pub fn listen(work: &mut Work<'_>, run: RunId, account: &str, chat: &str, pattern: Option<&str>) -> Read<()> {
    let place = work.memory.next_seq();
    rows::questions::listen(work.tx, run, Listener { account, chat, asks: false, open: true, pattern }, place)
}

/// A run asks: at once, or when the question before it in its chat is closed. Gives the question as
/// it is put, and whether it is out.
pub fn ask(work: &mut Work<'_>, turn: &TurnCommit, asked: &Asked) -> Read<(Asked, bool)> {
    let mut asked = asked.clone();
    // A message that is there already would never move again.
    while rows::messages::is_there(work.tx, asked.message)? {
        asked = asked.again();
    }
    let open = !has_open(work.tx, &asked.account, &asked.to, None)?;
    let listener = Listener { account: &asked.account, chat: &asked.to, asks: true, open, pattern: None };
    let place = work.memory.next_seq();
    rows::questions::listen(work.tx, turn.run, listener, place)?;
    if open {
        send(work, turn.run, &turn.flow, &asked, turn.at)?;
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
pub fn has_open(tx: &dyn Tx, account: &str, chat: &str, but: Option<RunId>) -> Read<bool> {
    for name in rows::people::names(tx, account, chat)? {
        for (by, pending) in rows::questions::open_in(tx, &name, but)? {
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

fn send(work: &mut Work<'_>, run: RunId, flow: &str, asked: &Asked, now: Timestamp) -> Read<()> {
    say(work, (run, flow), asked, asked.message, None, now)?;
    rows::delivery_waits::insert(work.tx, asked.message, run, ASKED)
}

/// Puts the words of a question into the outbox.
pub fn say(
    work: &mut Work<'_>,
    (run, flow): (RunId, &str),
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
    messages::insert(work, &message, now)
}

/// A waiting run as it stands, with what it asked, if it asked.
pub struct Waiting {
    /// Name of its flow.
    pub flow: String,
    /// What it asked, by the account that it is asked by now.
    pub asked: Option<Asked>,
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

/// What a run waits for, if it can be read. One that cannot waits no longer: its next turn says why.
pub fn waiting(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Read<Option<Waiting>> {
    let Some(found) = rows::questions::waiting(work.tx, run)? else { return Ok(None) };
    let Some(found) = found else {
        close(work, run, false, now)?;
        make_ready(work, run)?;
        return Ok(None);
    };
    let rows::questions::Waiting { flow, pending, account, deadline, doubtful, reminded, repeated, open } = found;
    let asked = match pending.question {
        Question::Wait(Wait::Ask(asked)) => Some(Asked { account, ..*asked }),
        _ => None,
    };
    Ok(Some(Waiting { flow, asked, deadline, doubtful, reminded, repeated, open }))
}

/// The message of a question has come to another state: from when the gateway has it, time runs.
pub fn moved(work: &mut Work<'_>, run: RunId, message: MessageId, state: MessageState, now: Timestamp) -> Read<()> {
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
            let (why, attempts) = rows::messages::end(work.tx, asked.message)?.unwrap_or_default();
            let why = why.unwrap_or_else(|| format!("its message is {}", state.name()));
            let kind = match attempts.last() {
                Some(last) if last.outcome == AttemptOutcome::OptedOut => OPTED_OUT,
                _ => "undeliverable",
            };
            let error = ScriptError::new(kind, format!("ask: the question could not be delivered: {why}"));
            close(work, run, false, now)?;
            answer(work, run, &Err(error))
        }
    }
}

/// Time runs from now on, or stands still.
fn run_time(work: &mut Work<'_>, run: RunId, from: Option<(&Asked, Timestamp)>, doubtful: bool) -> Read<()> {
    let deadline = from.map(|(asked, now)| millis(now).saturating_add(asked.timeout));
    rows::questions::set_deadline(work.tx, run, deadline, doubtful)?;
    let remind = from.and_then(|(asked, now)| asked.remind.map(|after| millis(now).saturating_add(after)));
    wake_at(work, run, remind.filter(|at| Some(*at) < deadline).or(deadline))
}

fn wake_at(work: &mut Work<'_>, run: RunId, at: Option<i64>) -> Read<()> {
    let told = rows::runs::waiting_for(work.tx, run)?.map(|told| WaitingFor { until: at, ..told });
    rows::runs::wake_waiting_at(work.tx, run, at, told.as_ref())?;
    work.after.run_timer();
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
pub fn time_came(work: &mut Work<'_>, run: RunId, now: Timestamp) -> Read<Time> {
    let Some((asks, deadline)) = rows::questions::deadline(work.tx, run)? else { return Ok(Time::Else) };
    if let Some(deadline) = deadline.filter(|deadline| asks && *deadline > millis(now)) {
        let Some(found) = waiting(work, run, now)? else { return Ok(Time::Else) };
        if let Some(asked) = found.asked.as_ref().filter(|_| !found.reminded) {
            say(work, (run, &found.flow), asked, asked.reminder, None, now)?;
        }
        rows::questions::set_reminded(work.tx, run)?;
        wake_at(work, run, Some(deadline))?;
        return Ok(Time::Reminds);
    }
    close(work, run, false, now)?;
    Ok(Time::IsOut)
}

/// A run waits for no message any more; the next question in its chat goes out. A question that was
/// answered has arrived, whatever was known of it.
pub fn close(work: &mut Work<'_>, run: RunId, answered: bool, now: Timestamp) -> Read<()> {
    let Some(Closed { account, chat, was_open }) = rows::questions::close(work.tx, run)? else { return Ok(()) };
    let mut accounts = vec![account];
    if let Some(Question::Wait(Wait::Ask(asked))) = question(work, run)? {
        rows::delivery_waits::delete(work.tx, asked.message, run)?;
        if !accounts.contains(&asked.account) {
            accounts.push(asked.account.clone());
        }
        if was_open && answered {
            messages::infer(work, asked.message, "the person answered", now)?;
        }
        // What was still to be said about it need not be said any more.
        for id in [asked.message, asked.reminder, asked.repetition].into_iter().filter(|_| was_open) {
            messages::recall(work, id, now)?;
        }
    }
    for account in accounts.iter().filter(|_| was_open) {
        let_next_out(work, account, &chat, now)?;
    }
    Ok(())
}

/// What a run waits for, if it can be read.
pub fn question(work: &Work<'_>, run: RunId) -> Read<Option<Question>> {
    Ok(rows::runs::pending(work.tx, run)?.map(|pending| pending.question))
}

/// Lets the next question of a chat out, unless one is open in it.
pub fn let_next_out(work: &mut Work<'_>, account: &str, chat: &str, now: Timestamp) -> Read<()> {
    if has_open(work.tx, account, chat, None)? {
        return Ok(());
    }
    let mut next: Option<(RunId, i64)> = None;
    for name in rows::people::names(work.tx, account, chat)? {
        next = match (next, rows::questions::next_question(work.tx, account, &name)?) {
            (Some(one), Some(other)) if one.1 < other.1 => Some(one),
            (one, other) => other.or(one),
        };
    }
    let Some((run, _)) = next else { return Ok(()) };
    rows::questions::set_open(work.tx, run, true)?;
    let Some(found) = waiting(work, run, now)? else { return Ok(()) };
    let Some(asked) = &found.asked else { return Ok(()) };
    let told = rows::runs::waiting_for(work.tx, run)?.map(|told| WaitingFor { detail: detail(asked, true), ..told });
    rows::runs::tell_waiting_for(work.tx, run, told.as_ref())?;
    send(work, run, &found.flow, asked, now)
}

/// A message went to another account. If it is a question, a reminder or a repetition, its answer is
/// waited for there too; and the questions that wait for that go the same way.
pub fn went_elsewhere(work: &Work<'_>, message: MessageId, from: &str, to: &str) -> Read<()> {
    let Some((run, chat)) = rows::questions::asking_with(work.tx, message, from)? else { return Ok(()) };
    let Some(Question::Wait(Wait::Ask(asked))) = question(work, run)? else { return Ok(()) };
    if ![asked.message, asked.reminder, asked.repetition].contains(&message) {
        return Ok(());
    }
    // Where it was asked before it may be answered still.
    let before = (asked.message != message).then_some(from);
    rows::questions::move_to(work.tx, run, to, before)?;
    for name in rows::people::names(work.tx, from, &chat)? {
        rows::questions::move_closed(work.tx, &name, from, to)?;
    }
    Ok(())
}

/// A person wants to hear no more: whoever has asked them something gets to know.
pub fn refuse_all(work: &mut Work<'_>, account: &str, names: &[String], now: Timestamp) -> Read<()> {
    let mut elsewhere: Vec<(String, String)> = Vec::new();
    for name in names {
        for run in rows::questions::asking_in(work.tx, name, account)? {
            if let Some(Question::Wait(Wait::Ask(asked))) = question(work, run)? {
                elsewhere.push((asked.account, asked.to));
            }
            let sentence = "ask: the person wants to get no more messages from this account";
            rows::questions::set_open(work.tx, run, false)?;
            close(work, run, false, now)?;
            answer(work, run, &Err(ScriptError::new(OPTED_OUT, sentence)))?;
        }
    }
    // What was asked by another account, and went out by this one, has kept others waiting there.
    for (asked_by, chat) in elsewhere.iter().filter(|(asked_by, _)| asked_by != account) {
        let_next_out(work, asked_by, chat, now)?;
    }
    Ok(())
}
