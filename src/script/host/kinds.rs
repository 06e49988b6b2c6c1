//! `send_text`, `send_link`, `send_image`, `send_file` and `send`: what a message says, checked at
//! the line.

use rhai::{Array, Dynamic, Map, Module, NativeCallContext};
use serde_json::Value;

use super::options::Options;
use super::send::{promise, targets};
use crate::model::journal::Kind;
use crate::model::message::{Contact, Content, Snapshot, Source};
use crate::model::phone::Country;
use crate::model::question::Read;
use crate::model::recipient::Recipient;
use crate::plain::is_blank;
use crate::script::error::{HostResult, thrown};
use crate::script::limits::room_for;
use crate::script::message::{self, Fields};
use crate::script::state::{self, State};
use crate::script::types::type_name;
use crate::script::value::to_json;
use crate::units::nearest;

/// WhatsApp's own bounds on a poll.
const POLL_ANSWERS: std::ops::RangeInclusive<usize> = 2..=12;

fn said(function: &str, what: &str, value: Option<&Dynamic>) -> HostResult<String> {
    let Some(value) = value else { return Err(thrown("invalid", format!("{function}: the {what} is missing"))) };
    let text = value.as_immutable_string_ref().map_err(|_| {
        let hint =
            if value.is::<crate::script::types::SecretText>() { "; a secret never goes into a message" } else { "" };
        thrown(
            "type",
            format!("{function}: the {what} must be a string, not a value of type {}{hint}", type_name(value)),
        )
    })?;
    if is_blank(&text) {
        return Err(thrown("invalid", format!("{function}: the {what} is empty")));
    }
    room_for(text.len() as u64)?;
    Ok(text.to_string())
}

fn link(function: &str, what: &str, text: &str) -> HostResult<()> {
    let web = |url: url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    let blank = text.contains(|c: char| c.is_whitespace() || c.is_control());
    let sound = !blank && text.contains("://") && url::Url::parse(text).is_ok_and(web);
    if sound {
        return Ok(());
    }
    Err(thrown(
        "invalid",
        format!("{function}: the {what} `{text}` is no web address; it begins with `https://` or `http://`"),
    ))
}

fn contact(options: &Options<'_>, country: Option<Country>) -> HostResult<Contact> {
    let function = options.function;
    let phone = said(function, "phone of the contact", options.get("phone"))?;
    match Recipient::read(&phone, country) {
        Ok(phone @ Recipient::Phone(_)) => Ok(Contact {
            name: said(function, "name of the contact", options.get("name"))?,
            phone: phone.to_string(),
            organization: options.text("organization")?,
        }),
        Ok(_) => Err(options.invalid("phone", &format!("`{phone}` is no phone"))),
        Err(error) => Err(options.invalid("phone", &error)),
    }
}

/// A call that runs: its map, and the turn that it is a part of.
struct Running<'a, 'b> {
    turn: &'a mut State,
    line: u32,
    options: &'a Options<'b>,
}

impl Running<'_, '_> {
    fn missing(&self, what: &str) -> Box<rhai::EvalAltResult> {
        thrown("invalid", format!("{}: the {what} missing", self.options.function))
    }

    fn json(&self, name: &str) -> HostResult<Option<Value>> {
        let Some(value) = self.options.get(name) else { return Ok(None) };
        to_json(value).map(Some).map_err(|error| self.options.invalid(name, &error))
    }
}

impl Fields for Running<'_, '_> {
    type Wrong = Box<rhai::EvalAltResult>;

    fn words(&mut self, name: &str) -> HostResult<String> {
        self.must(name, name)
    }

    fn must(&mut self, name: &str, what: &str) -> HostResult<String> {
        said(self.options.function, what, self.options.get(name))
    }

    fn text(&mut self, name: &str) -> HostResult<Option<String>> {
        self.options.text(name)
    }

    fn flag(&mut self, name: &str) -> HostResult<Option<bool>> {
        self.options.flag(name)
    }

    fn link(&mut self, name: &str, what: &str) -> HostResult<String> {
        let text = self.must(name, what)?;
        link(self.options.function, what, &text)?;
        Ok(text)
    }

    fn maybe_link(&mut self, name: &str) -> HostResult<Option<String>> {
        let text = self.text(name)?;
        if let Some(text) = &text {
            link(self.options.function, name, text)?;
        }
        Ok(text)
    }

    fn track(&mut self, name: &str) -> HostResult<Option<bool>> {
        let track = self.flag(name)?.filter(|track| *track);
        // What was promised already stays promised.
        if track.is_some() && !self.turn.accounts.public && self.turn.next_kind().is_none() {
            let why = "people must reach Postrider for that; set `public_url` in postrider.yaml";
            return Err(self.options.invalid(name, why));
        }
        Ok(track)
    }

    fn degrees(&mut self, name: &str, most: f64) -> HostResult<f64> {
        let options = self.options;
        let Some(value) = options.get(name) else { return Err(self.missing(&format!("{name} is"))) };
        let number = value.as_float().or_else(|_| value.as_int().map(|whole| whole as f64));
        match number {
            Ok(number) if number.abs() <= most => Ok(number),
            Ok(number) => Err(options.invalid(name, &format!("{number} is not between -{most} and {most} degrees"))),
            Err(_) => Err(options.wrong(name, "a number of degrees", value)),
        }
    }

    fn contacts(&mut self, list: &str) -> HostResult<Vec<Contact>> {
        let (options, country) = (self.options, self.turn.country);
        let Some(value) = options.get(list) else { return Ok(vec![contact(options, country)?]) };
        let Some(items) = value.read_lock::<Array>() else {
            return Err(options.wrong(list, "an array of maps", value));
        };
        let one = |item: &Dynamic| {
            let Some(map) = item.read_lock::<Map>() else {
                return Err(options.wrong(list, "an array of maps", item));
            };
            contact(&Options::new(options.function, &map, &["name", "phone", "organization"])?, country)
        };
        match items.len() {
            1..=20 => items.iter().map(one).collect(),
            other => Err(options.invalid(list, &format!("1 to 20 of them go into a message, not {other}"))),
        }
    }

    fn answers(&mut self, name: &str) -> HostResult<Vec<String>> {
        let options = self.options;
        let Some(value) = options.get(name) else { return Err(self.missing(&format!("{name} are"))) };
        let Some(items) = value.read_lock::<Array>() else {
            return Err(options.wrong(name, "an array of texts", value));
        };
        if !POLL_ANSWERS.contains(&items.len()) {
            return Err(options.invalid(name, &format!("a poll has 2 to 12 answers, not {}", items.len())));
        }
        let one = |item: &Dynamic| said(options.function, &format!("item of `{name}`"), Some(item));
        let answers: Vec<String> = items.iter().map(one).collect::<HostResult<_>>()?;
        match answers.iter().enumerate().find(|(place, answer)| answers[..*place].contains(answer)) {
            Some((_, twice)) => Err(options.invalid(name, &format!("`{twice}` stands there twice"))),
            None => Ok(answers),
        }
    }

    fn count(&mut self, name: &str, most: usize) -> HostResult<u32> {
        let Some(value) = self.options.get(name) else { return Ok(1) };
        match value.as_int() {
            Ok(number) if (1..=most as i64).contains(&number) => Ok(number as u32),
            Ok(number) => {
                let why = format!("{number} is not between 1 and the number of answers");
                Err(self.options.invalid(name, &why))
            }
            Err(_) => Err(self.options.wrong(name, "a whole number", value)),
        }
    }

    fn emoji(&mut self, name: &str) -> HostResult<String> {
        match self.options.get(name) {
            // Empty takes the mark back.
            Some(emoji) if emoji.as_immutable_string_ref().is_ok_and(|text| text.is_empty()) => Ok(String::new()),
            emoji => said(self.options.function, name, emoji),
        }
    }

    fn list(&mut self, name: &str) -> HostResult<Vec<Value>> {
        match self.json(name)? {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.options.invalid(name, "it is an array of maps")),
        }
    }

    fn map(&mut self, name: &str) -> HostResult<serde_json::Map<String, Value>> {
        match self.json(name)? {
            None => Ok(serde_json::Map::new()),
            Some(Value::Object(fields)) => Ok(fields),
            Some(_) => Err(self.options.invalid(name, "it is a map of names or numbers to values")),
        }
    }

    fn file(&mut self, name: &str) -> HostResult<Source> {
        let text = self.must(name, name)?;
        if text.contains("://") {
            link(self.options.function, name, &text)?;
            return Ok(Source::Url { url: text });
        }
        let answer = self.turn.read(Kind::Snapshot, self.line, Read::Snapshot { path: text })?;
        let snapshot: Result<Snapshot, _> = serde_json::from_value(answer);
        snapshot.map(Source::Snapshot).map_err(|error| thrown("replay", error.to_string()))
    }
}

fn no_kind(function: &str, kind: &str) -> Box<rhai::EvalAltResult> {
    let mut message = format!("{function}: there is no kind `{kind}`");
    match nearest(kind, Content::KINDS) {
        Some(near) => message.push_str(&format!("; did you mean `{near}`?")),
        None => message.push_str(&format!("; it is one of {}", Content::KINDS.join(", "))),
    }
    thrown("invalid", message)
}

/// Sends a message of a kind whose fields and options are all in one map.
fn send_kind(
    ctx: &NativeCallContext,
    function: &'static str,
    to: &Dynamic,
    kind: &str,
    all: &Map,
) -> HostResult<Dynamic> {
    let options = Options::new(function, all, message::names(kind))?;
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let to = targets(function, to, turn.country, options.skips_bad()?)?;
        let common = options.common(&turn.zone, turn.country)?;
        let content = message::read(kind, &mut Running { turn, line, options: &options })?;
        let content = content.ok_or_else(|| no_kind(function, kind))?;
        promise(turn, line, function, &to, content, common)
    })
}

/// `send_text` and its like: the kind by the name, what is sent as an argument of its own.
fn send_named(
    ctx: &NativeCallContext,
    (function, kind, field): (&'static str, &str, &str),
    to: &Dynamic,
    what: Dynamic,
    mut options: Map,
) -> HostResult<Dynamic> {
    if options.insert(field.into(), what).is_some() {
        return Err(thrown("invalid", format!("{function} has no option `{field}`; it is the second argument")));
    }
    send_kind(ctx, function, to, kind, &options)
}

fn send(ctx: &NativeCallContext, to: &Dynamic, message: &Map, options: &Map) -> HostResult<Dynamic> {
    let mut all = message.clone();
    let kind = match all.remove("kind") {
        Some(kind) => said("send", "kind", Some(&kind))?,
        None => {
            return Err(thrown("invalid", "send: the message has no `kind`, such as `#{ kind: \"location\", ... }`"));
        }
    };
    if !Content::KINDS.contains(&kind.as_str()) {
        return Err(no_kind("send", &kind));
    }
    for (name, value) in options {
        if all.insert(name.clone(), value.clone()).is_some() {
            return Err(thrown("invalid", format!("send: `{name}` stands in the message and in the options")));
        }
    }
    send_kind(ctx, "send", to, &kind, &all)
}

/// Registers the functions, each with and without options.
pub fn register(module: &mut Module) {
    const NAMED: [(&str, &str, &str); 4] = [
        ("send_text", "text", "text"),
        ("send_link", "link", "url"),
        ("send_image", "image", "source"),
        ("send_file", "file", "source"),
    ];
    for named in NAMED {
        module.set_native_fn(named.0, move |ctx: NativeCallContext, to: Dynamic, what: Dynamic| {
            send_named(&ctx, named, &to, what, Map::new())
        });
        module.set_native_fn(named.0, move |ctx: NativeCallContext, to: Dynamic, what: Dynamic, options: Map| {
            send_named(&ctx, named, &to, what, options)
        });
    }
    module.set_native_fn("send", |ctx: NativeCallContext, to: Dynamic, message: Map| {
        send(&ctx, &to, &message, &Map::new())
    });
    module.set_native_fn("send", |ctx: NativeCallContext, to: Dynamic, message: Map, options: Map| {
        send(&ctx, &to, &message, &options)
    });
}
