//! A message that a person sends: checked by the very functions that scripts call.

use std::sync::Arc;

use serde_json::{Value, json};

use super::context::Context;
use super::local_answers::snapshot;
use crate::id::{MessageId, RunId, random_bytes};
use crate::model::journal::snapshot_answer;
use crate::model::message::NewMessage;
use crate::model::question::{Question, Read};
use crate::model::run::ScriptError;
use crate::script::{Ending, Main, Program, TurnInput, turn};

/// Makes the messages of `{kind, to, ...}`: the fields of the kind and the options beside them.
///
/// # Errors
/// What a script would get thrown for the same call.
pub fn by_hand(context: &Context, wish: &Value) -> Result<Vec<NewMessage>, ScriptError> {
    let invalid = |message: &str| ScriptError::new("invalid", message);
    let Value::Object(fields) = wish else { return Err(invalid("a message is a map")) };
    let mut message = fields.clone();
    let to = message.remove("to").ok_or_else(|| invalid("`to` is missing"))?;
    message.entry("kind").or_insert("text".into());
    let event = json!({ "to": to, "message": message }).to_string();
    let text = "send(event.to, event.message)";
    let program = Program::compile(Main { file: &"message".into(), text: &text.into(), indent: 0 }, &|_| None)
        .map_err(|_| invalid("the message cannot be made"))?;
    let ground = context.catalog.borrow().ground.clone();
    let now = context.clock.now();
    let run = RunId::new(now);
    let seed = random_bytes();
    let mut journal = Arc::new(Vec::new());
    loop {
        let output = turn(TurnInput {
            event: &event,
            zone: ground.zone.clone(),
            country: ground.country,
            accounts: ground.accounts.clone(),
            seed,
            journal: journal.clone(),
            limits: ground.limits,
            cpu_left: ground.limits.cpu_turn,
            ..TurnInput::first(&program, run, now)
        });
        match output.ending {
            Ending::Done(_) => {
                let own = |message| NewMessage { run: None, id: MessageId::new(now), ..Arc::unwrap_or_clone(message) };
                return Ok(output.promises.messages.into_iter().map(own).collect());
            }
            Ending::Thrown(error) | Ending::Failed(error) => return Err(error),
            Ending::Waiting(pending) => match &pending.question {
                Question::Read(Read::Snapshot { path }) => {
                    let copy = snapshot(context, path).map_err(|error| ScriptError::new("file", error))?;
                    Arc::make_mut(&mut journal).push(pending.answered(now, Ok(snapshot_answer(&copy))));
                }
                _ => return Err(invalid("`key` belongs to flows; a message by hand is always a new one")),
            },
        }
    }
}
