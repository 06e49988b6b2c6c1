//! Promises of messages: to whom, from which account, and what the journal keeps of them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rhai::{Array, Dynamic, Map};
use serde_json::{Value, json};

use super::options::{Common, When};
use crate::id::MessageId;
use crate::model::journal::Kind;
use crate::model::message::{Body, Content, NewMessage, Promised};
use crate::model::phone::Country;
use crate::model::question::Read;
use crate::model::recipient::Recipient;
use crate::model::run::ScriptError;
use crate::script::error::{HostResult, thrown};
use crate::script::limits::room_for;
use crate::script::printed::beginning;
use crate::script::state::{self, State};
use crate::script::types::{Message, type_name};

/// Most recipients of one call.
const MOST_RECIPIENTS: usize = 1_000;
/// No name of a recipient is longer.
const LONGEST_RECIPIENT: usize = 512;
/// Most bytes of a message without its file. No gateway takes texts of a tenth of that.
const LARGEST_MESSAGE: usize = 1 << 20;

/// Whom a call goes to: one recipient gives one message, an array gives an array.
pub(super) enum Targets {
    One(Recipient),
    Many(Vec<Recipient>),
    /// The good ones of an array, and what is wrong with the others.
    Good(Vec<Recipient>, Vec<Bad>),
}

/// An address that is none.
pub(super) struct Bad {
    to: Dynamic,
    place: usize,
    error: String,
}

/// One recipient.
pub(super) fn target(function: &str, to: &Dynamic, country: Option<Country>) -> HostResult<Recipient> {
    match targets(function, to, country, false)? {
        Targets::One(recipient) => Ok(recipient),
        _ => Err(thrown("invalid", format!("{function}: give one recipient, not an array"))),
    }
}

/// Reads the addresses of a call; `skip` leaves out those of an array that are none.
pub(super) fn targets(function: &str, to: &Dynamic, country: Option<Country>, skip: bool) -> HostResult<Targets> {
    let one = |to: &Dynamic| -> Result<Recipient, String> {
        match to.as_immutable_string_ref() {
            Ok(text) if text.len() > LONGEST_RECIPIENT => {
                Err(format!("`{}` is no recipient: it has {} bytes", beginning(&*text, 40), text.len()))
            }
            Ok(text) => Recipient::read(&text, country),
            // Tables give whole numbers as fractions.
            Err(_) if to.as_float().is_ok_and(|number| number.fract() == 0.0 && number.abs() < 1e16) => {
                Recipient::read(&format!("{:.0}", to.as_float().unwrap_or_default()), country)
            }
            Err(_) if to.is_int() => Recipient::read(&to.to_string(), country),
            Err(_) => {
                Err(format!("a recipient is a text such as \"+1 541-754-3010\", not a value of type {}", type_name(to)))
            }
        }
    };
    let Some(items) = to.read_lock::<Array>() else {
        if skip {
            return Err(thrown("invalid", format!("{function}: `on_bad` is for an array of recipients")));
        }
        return one(to).map(Targets::One).map_err(|error| thrown("invalid", format!("{function}: {error}")));
    };
    // Of an empty table nobody is bad.
    if (items.is_empty() && !skip) || items.len() > MOST_RECIPIENTS {
        let message =
            format!("{function}: an array of recipients has 1 to {MOST_RECIPIENTS} of them, not {}", items.len());
        return Err(thrown("invalid", message));
    }
    let mut good: Vec<Recipient> = Vec::new();
    let mut known: HashSet<Recipient> = HashSet::new();
    let mut bad = Vec::new();
    for (place, item) in items.iter().enumerate() {
        match one(item) {
            // However it is spelt, it is one person.
            Ok(recipient) => good.extend(known.insert(recipient.person()).then_some(recipient)),
            Err(error) => bad.push(Bad { to: item.clone(), place, error }),
        }
    }
    if skip {
        return Ok(Targets::Good(good, bad));
    }
    if bad.is_empty() {
        return Ok(Targets::Many(good));
    }
    let named: Vec<String> = bad.iter().map(|bad| format!("[{}] {}", bad.place, bad.error)).collect();
    Err(thrown(
        "invalid",
        format!("{function}: {} of {} recipients are wrong: {}", bad.len(), items.len(), named.join("; ")),
    ))
}

/// The bad ones as a script gets them back.
fn given_back(bad: &[Bad]) -> Array {
    let one = |bad: &Bad| {
        Map::from_iter([
            ("to".into(), bad.to.clone()),
            ("place".into(), (bad.place as i64).into()),
            ("error".into(), bad.error.clone().into()),
        ])
    };
    bad.iter().map(|bad| one(bad).into()).collect()
}

/// Promises `content` to everybody, or gives back what was promised before.
pub(super) fn promise(
    turn: &mut State,
    line: u32,
    function: &'static str,
    to: &Targets,
    content: Content,
    common: Common,
) -> HostResult<Dynamic> {
    let recipients = match to {
        Targets::One(recipient) => std::slice::from_ref(recipient),
        Targets::Many(recipients) | Targets::Good(recipients, _) => recipients,
    };
    let Common { account, at, valid_for, key, options } = common;
    let earlier = earlier(turn, line, key.as_deref(), recipients)?;
    let at = at.map(|at| match at {
        When::At(instant) => instant,
        When::In(span) => crate::clock::after(turn.moment, span),
    });
    let body = Body { content, options };
    let weight = state::json(&body)?.len();
    let request = state::json(&json!({
        "account": account,
        "to": recipients,
        "body": body,
        "at": at.map(crate::clock::rfc3339),
        "valid_for": valid_for.map(crate::units::format_duration),
        "key": key,
    }))?;
    let elsewhere: Vec<Option<Value>> =
        recipients.iter().map(|recipient| turn.promised_before(recipient, &body.content)).collect::<HostResult<_>>()?;
    let sent = match turn.recall(Kind::Send, &request)? {
        Some(sent) => sent,
        None => {
            let known: Vec<Option<Value>> =
                earlier.into_iter().zip(elsewhere).map(|(own, other)| own.or(other)).collect();
            let wish = Wish { function, line, account, body, weight, at, valid_for, key: key.clone(), request };
            wish.record(turn, recipients, known)?
        }
    };
    if let Some(key) = &key {
        for (recipient, message) in recipients.iter().zip(sent.as_array().into_iter().flatten()) {
            turn.keyed.insert((key.clone(), recipient.person().to_string()), message.clone());
        }
    }
    let messages = sent.as_array().into_iter().flatten().map(recorded);
    let mut messages = messages.collect::<HostResult<Array>>()?;
    Ok(match to {
        Targets::One(_) => messages.pop().unwrap_or(Dynamic::UNIT),
        Targets::Many(_) => messages.into(),
        Targets::Good(_, bad) => {
            Map::from_iter([("messages".into(), messages.into()), ("bad".into(), given_back(bad).into())]).into()
        }
    })
}

/// For each recipient the message that an earlier call promised under the same key, if there is one.
fn earlier(turn: &mut State, line: u32, key: Option<&str>, recipients: &[Recipient]) -> HostResult<Vec<Option<Value>>> {
    let Some(key) = key else { return Ok(vec![None; recipients.len()]) };
    let one = |recipient: &Recipient| {
        let known = match turn.keyed.get(&(key.to_owned(), recipient.person().to_string())) {
            Some(known) => known.clone(),
            None => {
                let read = Read::Keyed { key: key.to_owned(), to: recipient.to_string() };
                turn.read(Kind::Keyed, line, read)?
            }
        };
        Ok(known.is_object().then_some(known))
    };
    recipients.iter().map(one).collect()
}

/// A call that was not promised yet.
struct Wish {
    function: &'static str,
    line: u32,
    account: Option<String>,
    body: Body,
    /// Bytes of the body, as JSON.
    weight: usize,
    at: Option<Timestamp>,
    valid_for: Option<Duration>,
    key: Option<String>,
    request: String,
}

impl Wish {
    /// Promises a message to each recipient that has none, and notes the call; `known` are those that others have.
    fn record(self, turn: &mut State, recipients: &[Recipient], known: Vec<Option<Value>>) -> HostResult<Value> {
        let Self { function, line, weight, request, .. } = self;
        if weight > LARGEST_MESSAGE {
            let message = format!("{function}: a message has at most {LARGEST_MESSAGE} bytes, this one {weight}");
            return turn.refuse(Kind::Send, request, line, ScriptError::new("invalid", message));
        }
        // The account is resolved when the message is promised, and recorded: what is
        // configured later changes nothing about it.
        let account = match account(turn, function, self.account.as_deref(), recipients) {
            Ok(account) => account,
            Err(error) => return turn.refuse(Kind::Send, request, line, error),
        };
        let position = turn.next_position();
        let mut sent = Vec::with_capacity(recipients.len());
        for (index, (recipient, known)) in recipients.iter().zip(known).enumerate() {
            if let Some(known) = known {
                sent.push(known);
                continue;
            }
            room_for((2 * weight) as u64)?;
            let id = MessageId::promised(turn.run_time, &turn.seed, position, index as u32, &request);
            sent.push(json!({ "id": id, "to": recipient, "account": account }));
            turn.promises.messages.push(Arc::new(NewMessage {
                id,
                run: Some(turn.run),
                flow: turn.flow.clone(),
                account: account.clone(),
                to: recipient.clone(),
                body: self.body.clone(),
                at: self.at,
                valid_for: self.valid_for,
                key: self.key.clone(),
            }));
        }
        let sent = Value::Array(sent);
        turn.record(Kind::Send, request, line, sent.clone())?;
        Ok(sent)
    }
}

impl State {
    /// The same message as another run for this event promised it: the first for the first, the second
    /// for the second.
    fn promised_before(&mut self, to: &Recipient, content: &Content) -> HostResult<Option<Value>> {
        if self.already.is_empty() {
            return Ok(None);
        }
        let to = to.to_string();
        let count = self.promised.entry(format!("{to} {}", state::json(content)?)).or_default();
        *count += 1;
        let same = |other: &&Promised| other.to == to && other.content == *content;
        let before = self.already.iter().filter(same).nth(*count - 1);
        Ok(before.map(|other| json!({ "id": other.id, "to": other.to, "account": other.account })))
    }
}

fn recorded(message: &Value) -> HostResult<Dynamic> {
    let text = |field: &str| message.get(field).and_then(Value::as_str);
    let whole = (|| {
        Some(Message {
            id: text("id")?.parse().ok()?,
            to: text("to")?.to_owned(),
            account: text("account")?.to_owned(),
        })
    })();
    whole.map(Dynamic::from).ok_or_else(|| thrown("replay", "the journal holds no readable message here"))
}

/// The account that is meant: the named one, else the flow's, else the workspace's. It must be able to
/// reach all of `to`.
pub(super) fn account(
    turn: &State,
    function: &str,
    named: Option<&str>,
    to: &[Recipient],
) -> Result<String, ScriptError> {
    let found = turn.accounts.resolve(named, turn.account.as_deref(), turn.who.as_deref());
    let (name, facts) = found.map_err(|why| {
        let (message, remedy) = turn.accounts.explained(why);
        let remedy = remedy.map_or(String::new(), |remedy| format!("; {remedy}"));
        ScriptError::new("invalid", format!("{function}: {message}{remedy}"))
    })?;
    match to.iter().find_map(|to| facts.capabilities.addresses(to).err()) {
        Some(error) => Err(ScriptError::new("unsupported", format!("{function}: account `{name}`: {error}"))),
        None => Ok(name.to_owned()),
    }
}
