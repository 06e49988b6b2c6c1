//! What a question changes when it goes on record: some are answered at once, some by others later.

use serde_json::Value;

use super::runs::Leaving;
use super::writer::Work;
use super::{Read, conversation, events, outbox, text, values, waits};
use crate::clock::{from_millis, rfc3339};
use crate::model::call::Call;
use crate::model::journal::{Pending, TurnCommit};
use crate::model::question::{Answer, Change, Errand, Question, Wait};
use crate::store::rows::WaitingFor;

/// A turn ends with a question: how it leaves its run.
pub fn wait(work: &mut Work<'_>, turn: &TurnCommit, pending: &Pending, leaving: &mut Leaving) -> Read<()> {
    leaving.wake_at = match &pending.question {
        Question::Wait(wait) => wait.until(),
        _ => None,
    };
    leaving.pending = Some(text(pending)?);
    let at_once = || ("time", "goes on at once".to_owned());
    let answered = |leaving: &mut Leaving, answer: &Answer| -> Read<()> {
        leaving.ready = true;
        leaving.answer = Some(text(answer)?);
        Ok(())
    };
    let (kind, detail) = match &pending.question {
        Question::Wait(Wait::Sleep { until }) => ("time", format!("sleeps until {}", rfc3339(from_millis(*until)))),
        Question::Wait(Wait::Delivery { message, goal, .. }) => {
            leaving.ready = waits::wait_for(work, turn.run, *message, goal)?;
            ("delivery", format!("message {message} to be {goal}"))
        }
        Question::Change(Change::Cancel { message }) => {
            let in_time = outbox::cancel(work, *message, turn.at)?;
            answered(leaving, &Ok(Value::Bool(in_time)))?;
            at_once()
        }
        Question::Change(Change::Increment { shared, key, by }) => {
            answered(leaving, &values::increment(work, turn, *shared, key, by)?)?;
            at_once()
        }
        Question::Errand(errand) => {
            // So that it is found after a crash.
            (leaving.ready, leaving.errand) = (true, true);
            match errand {
                Errand::Http { calls, .. } => ("http", shown(calls)),
                Errand::Move { from, to, .. } => ("file", format!("`{from}` to be moved to `{to}`")),
                Errand::Save { .. } => ("file", "a file of a message to be saved".into()),
            }
        }
        Question::Wait(Wait::Ask(asked)) => {
            // How long it waits is counted from when the gateway has the question.
            let (asked, open) = conversation::ask(work, turn, asked)?;
            let detail = conversation::detail(&asked, open);
            let question = Question::Wait(Wait::Ask(Box::new(asked)));
            leaving.pending = Some(text(&Pending { question, ..pending.clone() })?);
            ("reply", detail)
        }
        Question::Wait(Wait::Message { account, from, text: pattern, .. }) => {
            let (account, chat) = (account.as_deref().unwrap_or_default(), from.as_deref().unwrap_or_default());
            conversation::listen(work, turn.run, account, chat, pattern.as_deref())?;
            ("reply", format!("a message from {}", from.as_deref().unwrap_or("anybody")))
        }
        Question::Wait(Wait::Event { name, key, after, got, .. }) => {
            if let Some(event) = events::wait(work, turn.run.as_bytes(), name, key.as_deref(), *after, got)? {
                answered(leaving, &Ok(event))?;
            }
            let key = key.as_ref().map_or(String::new(), |key| format!(" for {key}"));
            ("event", format!("the event `{name}`{key}"))
        }
        // Most are answered within their turn; one that goes on record is answered at the next.
        Question::Read(_) => {
            leaving.ready = true;
            at_once()
        }
    };
    leaving.waiting = Some(text(&WaitingFor { kind: kind.into(), until: leaving.wake_at, detail })?);
    Ok(())
}

fn shown(calls: &[Call]) -> String {
    let one = |call: &Call| {
        let url = call.url.split(['?', '#']).next().unwrap_or_default();
        format!("{} {url}", call.method)
    };
    match calls {
        [call] => format!("the answer to {}", one(call)),
        [call, rest @ ..] => format!("the answers to {} and {} more", one(call), rest.len()),
        [] => "nothing".into(),
    }
}
