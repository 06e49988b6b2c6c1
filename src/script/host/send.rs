//! Promises of messages: to whom, from which account, and what the journal keeps of them.

use std::collections::HashSet;

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
    // Messages that an earlier call promised under the same key, by recipient.
    let mut earlier = Vec::new();
    if let Some(key) = &common.key {
        for recipient in recipients {
            let read = Read::Keyed { key: key.clone(), to: recipient.to_string() };
            earlier.push(match turn.keyed.get(&(key.clone(), recipient.person().to_string())) {
                Some(known) => known.clone(),
                None => turn.read(Kind::Keyed, line, read)?,
            });
        }
    }
    let at = common.at.map(|at| match at {
        When::At(instant) => instant,
        When::In(span) => crate::clock::after(turn.moment, span),
    });
    let body = Body { content, options: common.options };
    let weight = state::json(&body)?.len();
    let request = state::json(&json!({
        "account": common.account,
        "to": recipients,
        "body": body,
        "at": at.map(crate::clock::rfc3339),
        "valid_for": common.valid_for.map(crate::units::format_duration),
        "key": common.key,
    }))?;
    let before: Vec<Option<Value>> =
        recipients.iter().map(|recipient| turn.promised_before(recipient, &body.content)).collect::<HostResult<_>>()?;
    let sent = match turn.recall(Kind::Send, &request)? {
        Some(sent) => sent,
        None => {
            if weight > LARGEST_MESSAGE {
                let message = format!("{function}: a message has at most {LARGEST_MESSAGE} bytes, this one {weight}");
                return turn.refuse(Kind::Send, request, line, ScriptError::new("invalid", message));
            }
            // The account is resolved when the message is promised, and recorded: what is
            // configured later changes nothing about it.
            let account = match account(turn, function, common.account.as_deref(), recipients) {
                Ok(account) => account,
                Err(error) => return turn.refuse(Kind::Send, request, line, error),
            };
            let position = turn.next_position();
            let mut sent = Vec::with_capacity(recipients.len());
            for (index, recipient) in recipients.iter().enumerate() {
                if let Some(known @ Value::Object(_)) = earlier.get(index) {
                    sent.push(known.clone());
                    continue;
                }
                if let Some(Some(before)) = before.get(index) {
                    sent.push(before.clone());
                    continue;
                }
                room_for((2 * weight) as u64)?;
                let id = MessageId::promised(turn.run_time, &turn.seed, position, index as u32, &request);
                sent.push(json!({ "id": id, "to": recipient, "account": account }));
                turn.promises.messages.push(NewMessage {
                    id,
                    run: Some(turn.run),
                    flow: turn.flow.clone(),
                    account: account.clone(),
                    to: recipient.clone(),
                    body: body.clone(),
                    at,
                    valid_for: common.valid_for,
                    key: common.key.clone(),
                });
            }
            let sent = Value::Array(sent);
            turn.record(Kind::Send, request, line, sent.clone())?;
            sent
        }
    };
    if let Some(key) = &common.key {
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
    let accounts = &turn.accounts;
    let Some(name) = named.or(turn.account.as_deref()).or(accounts.default.as_deref()) else {
        let names: Vec<_> = accounts.by_name.keys().map(String::as_str).collect();
        return Err(ScriptError::new(
            "invalid",
            format!(
                "{function}: which account? name one of {} by the option `account`, by `account:` in the flow, \
             or by `default_account:` in postrider.yaml",
                names.join(", ")
            ),
        ));
    };
    let Some(known) = accounts.by_name.get(name) else {
        let mut message = format!("{function}: there is no account `{name}` in postrider.yaml");
        if let Some(near) = crate::units::nearest(name, accounts.by_name.keys().map(String::as_str)) {
            message.push_str(&format!("; did you mean `{near}`?"));
        }
        return Err(ScriptError::new("invalid", message));
    };
    turn.may_use(function, name)?;
    match to.iter().find_map(|to| known.capabilities.addresses(to).err()) {
        Some(error) => Err(ScriptError::new("unsupported", format!("{function}: account `{name}`: {error}"))),
        None => Ok(name.to_owned()),
    }
}
