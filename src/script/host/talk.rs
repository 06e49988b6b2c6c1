//! What people say: answers to questions, messages of their own accord, and the files in them.

use rhai::{Dynamic, Map, Module, NativeCallContext};

use super::options::Options;
use super::send::{account, target};
use crate::clock::after;
use crate::id::MessageId;
use crate::model::conversation::pattern;
use crate::model::journal::Kind;
use crate::model::opt_out::says;
use crate::model::question::{Asked, Errand, Question, Wait};
use crate::model::run::ScriptError;
use crate::plain::is_blank;
use crate::script::error::{HostResult, thrown};
use crate::script::printed::plain;
use crate::script::state::{self, State, json};
use crate::script::value::to_dynamic;
use crate::units::format_duration;

/// How long an answer or a message is waited for if nobody says.
const USUAL: std::time::Duration = std::time::Duration::from_secs(86_400);
/// Most answers to choose from.
const MOST_CHOICES: usize = 20;

fn choices(options: &Options<'_>) -> HostResult<Vec<String>> {
    let Some(value) = options.get("choices") else { return Ok(Vec::new()) };
    let Some(items) = value.read_lock::<rhai::Array>() else {
        return Err(options.wrong("choices", "an array of texts", value));
    };
    if items.len() > MOST_CHOICES {
        let count = items.len();
        return Err(options.invalid("choices", &format!("there are 2 to {MOST_CHOICES} of them, not {count}")));
    }
    let mut choices: Vec<String> = Vec::new();
    for item in items.iter() {
        let text = plain(item).trim().to_owned();
        if !(item.is_string() || item.is_int()) || text.is_empty() || text.contains('\n') {
            return Err(options.invalid("choices", "each of them is a line of text"));
        }
        if says(&choices, &text) {
            return Err(options.invalid("choices", &format!("`{text}` cannot be told from another one")));
        }
        choices.push(text);
    }
    match choices.len() {
        2..=MOST_CHOICES => Ok(choices),
        count => Err(options.invalid("choices", &format!("there are 2 to {MOST_CHOICES} of them, not {count}"))),
    }
}

fn ask(ctx: &NativeCallContext, to: &Dynamic, question: &str, options: &Map) -> HostResult<Dynamic> {
    if is_blank(question) {
        return Err(thrown("invalid", "ask: the question is empty"));
    }
    let options = Options::only("ask", options, &["choices", "timeout", "remind", "account"])?;
    let choices = choices(&options)?;
    let timeout = options.span("timeout")?.unwrap_or(USUAL);
    let remind = options.span("remind")?;
    if timeout.is_zero() || remind.is_some_and(|remind| remind.is_zero() || remind >= timeout) {
        return Err(options.invalid("remind", "it lies before `timeout`, and both are more than nothing"));
    }
    let named = options.text("account")?;
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let to = target("ask", to, turn.country)?;
        let request = json(&serde_json::json!({
            "to": to,
            "question": question,
            "choices": choices,
            "timeout": format_duration(timeout),
            "remind": remind.map(format_duration),
            "account": named,
        }))?;
        if let Some(answer) = turn.recall(Kind::Ask, &request)? {
            return Ok(to_dynamic(&answer));
        }
        let account = match account(turn, "ask", named.as_deref(), std::slice::from_ref(&to)) {
            Ok(account) => account,
            Err(error) => return turn.refuse(Kind::Ask, request, line, error),
        };
        let position = turn.next_position();
        let id = |turn: &State, index| MessageId::promised(turn.run_time, &turn.seed, position, index, &request);
        let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let asked = Asked {
            message: id(turn, 0),
            reminder: id(turn, 1),
            repetition: id(turn, 2),
            account,
            to: to.to_string(),
            text: question.to_owned(),
            choices,
            timeout: millis(timeout),
            remind: remind.map(millis),
        };
        turn.ask(Kind::Ask, request, line, Question::Wait(Wait::Ask(Box::new(asked))))
    })
}

fn wait_for_message(ctx: &NativeCallContext, options: &Map) -> HostResult<Dynamic> {
    let options = Options::only("wait_for_message", options, &["from", "account", "text", "timeout"])?;
    let text = options.text("text")?;
    let timeout = options.span("timeout")?.unwrap_or(USUAL);
    let named = options.text("account")?;
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let from = options.get("from").map(|from| target("wait_for_message", from, turn.country)).transpose()?;
        let request = json(&serde_json::json!({
            "from": from,
            "account": named,
            "text": text,
            "timeout": format_duration(timeout),
        }))?;
        if let Some(answer) = turn.recall(Kind::WaitMessage, &request)? {
            return Ok(to_dynamic(&answer));
        }
        if let Some(Err(why)) = text.as_deref().map(pattern) {
            let message = format!("wait_for_message: option `text`: {why}");
            return turn.refuse(Kind::WaitMessage, request, line, ScriptError::new("invalid", message));
        }
        let account = match heard(turn, named.as_deref(), from.is_none()) {
            Ok(account) => account,
            Err(error) => return turn.refuse(Kind::WaitMessage, request, line, error),
        };
        let until = after(turn.moment, timeout).as_millisecond();
        let from = from.map(|from| from.to_string());
        let wait = Wait::Message { account, from, text, until };
        turn.ask(Kind::WaitMessage, request, line, Question::Wait(wait))
    })
}

/// The account that is to be listened to; none for all of them. Whoever waits for `anybody` would take
/// the messages of people who mean other flows, so the flow must be one that people write to.
fn heard(turn: &State, named: Option<&str>, anybody: bool) -> Result<Option<String>, ScriptError> {
    let function = "wait_for_message";
    let accounts = &turn.accounts;
    let listens = |name: &str| !anybody || turn.who.as_ref().is_none_or(|who| who.listens_to(name));
    let nobody = |account: &str| {
        let message = format!(
            "{function}: without `from` it takes what anybody writes to {account}, so the flow needs a `message` \
             trigger of that account; name a person by `from`, or add the trigger"
        );
        Err(ScriptError::new("invalid", message))
    };
    if let Some(name) = accounts.meant(named, turn.account.as_deref()) {
        account(turn, function, Some(name), &[])?;
        return match listens(name) {
            true => Ok(Some(name.to_owned())),
            false => nobody(&format!("account `{name}`")),
        };
    }
    // Without a word about it any account will do, of those that are for this flow.
    let fit: Vec<&String> =
        accounts.by_name.keys().filter(|name| turn.may_use(function, name).is_ok() && listens(name)).collect();
    match fit.as_slice() {
        all if all.len() == accounts.by_name.len() => Ok(None),
        [] if anybody => nobody("its account"),
        [only] => Ok(Some((*only).clone())),
        _ => {
            let message =
                format!("{function}: which account? name one by the option `account`, or by `account:` in the flow");
            Err(ScriptError::new("invalid", message))
        }
    }
}

fn save(ctx: &NativeCallContext, media: &Map, path: &str) -> HostResult<Dynamic> {
    let text = |name: &str| media.get(name).and_then(|value| value.clone().into_string().ok());
    if let Some(part) = media.get("part").and_then(|part| u32::try_from(part.as_int().ok()?).ok()) {
        return save_part(ctx, part, path);
    }
    let (Some(account), Some(source)) = (text("account"), text("source")) else {
        let message = "save: what stands before the dot is not the `media` of a message; does the message have a file?";
        return Err(thrown("type", message));
    };
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let request = json(&serde_json::json!({ "account": account, "source": source, "to": path }))?;
        match turn.recall(Kind::Save, &request)? {
            Some(answer) => Ok(to_dynamic(&answer)),
            None => {
                if let Err(error) = turn.may_use("save", &account) {
                    return turn.refuse(Kind::Save, request, line, error);
                }
                let (mime, to) = (text("mime"), path.to_owned());
                let errand = Errand::Save { account, source, mime, to };
                turn.ask(Kind::Save, request, line, Question::Errand(errand))
            }
        }
    })
}

/// A file that came with the event itself.
fn save_part(ctx: &NativeCallContext, part: u32, path: &str) -> HostResult<Dynamic> {
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let request = json(&serde_json::json!({ "part": part, "to": path }))?;
        match turn.recall(Kind::Save, &request)? {
            Some(answer) => Ok(to_dynamic(&answer)),
            None => {
                let errand = Errand::Part { part, to: path.to_owned() };
                turn.ask(Kind::Save, request, line, Question::Errand(errand))
            }
        }
    })
}

/// Registers `ask`, `wait_for_message` and the file of a message.
pub fn register(module: &mut Module) {
    module.set_native_fn("ask", |ctx: NativeCallContext, to: Dynamic, question: &str| {
        ask(&ctx, &to, question, &Map::new())
    });
    module.set_native_fn("ask", |ctx: NativeCallContext, to: Dynamic, question: &str, options: Map| {
        ask(&ctx, &to, question, &options)
    });
    module.set_native_fn("wait_for_message", |ctx: NativeCallContext| wait_for_message(&ctx, &Map::new()));
    module.set_native_fn("wait_for_message", |ctx: NativeCallContext, options: Map| wait_for_message(&ctx, &options));
    module.set_native_fn("save", |ctx: NativeCallContext, media: &mut Map, path: &str| save(&ctx, media, path));
    let nothing = "save: there is no file; ask first whether the message has one: `if event.media != () { ... }`";
    module.set_native_fn("save", move |_: (), _: &str| -> HostResult<()> { Err(thrown("type", nothing)) });
}
