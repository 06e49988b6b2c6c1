//! `send_text`, `send_link`, `send_image`, `send_file` and `send`: what a message says, checked at
//! the line.

use rhai::{Array, Dynamic, Map, Module, NativeCallContext};
use serde_json::Value;

use super::options::Options;
use super::send::{promise, targets};
use crate::model::journal::Kind;
use crate::model::message::{Contact, Content, Media, Snapshot, Source};
use crate::model::phone::Country;
use crate::model::question::Read;
use crate::model::recipient::Recipient;
use crate::plain::is_blank;
use crate::script::error::{HostResult, thrown};
use crate::script::limits::room_for;
use crate::script::state::{self, State};
use crate::script::types::type_name;
use crate::script::value::to_json;
use crate::units::nearest;

/// WhatsApp's own bounds on a poll.
const POLL_ANSWERS: std::ops::RangeInclusive<usize> = 2..=12;

/// The fields that a kind is made of.
fn fields(kind: &str) -> &'static [&'static str] {
    match kind {
        "text" => &["text"],
        "link" => &["url", "caption", "title", "description", "thumbnail", "high_quality", "preview", "track"],
        "image" => &["source", "caption", "view_once", "hd"],
        "file" => &["source", "caption", "name"],
        "video" => &["source", "caption", "view_once", "hd", "gif", "note"],
        "audio" | "voice" | "sticker" => &["source"],
        "location" => &["latitude", "longitude", "name", "address"],
        "contact" => &["name", "phone", "organization", "contacts"],
        "poll" => &["question", "options", "max_answers"],
        "reaction" => &["message", "emoji", "own"],
        "template" => &["name", "language", "components", "variables"],
        _ => &[],
    }
}

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

/// A URL as it is, or a copy of a file below the workspace.
fn source(turn: &mut State, line: u32, options: &Options<'_>) -> HostResult<Source> {
    let text = said(options.function, "source", options.get("source"))?;
    if text.contains("://") {
        link(options.function, "source", &text)?;
        return Ok(Source::Url { url: text });
    }
    let answer = turn.read(Kind::Snapshot, line, Read::Snapshot { path: text })?;
    let snapshot: Result<Snapshot, _> = serde_json::from_value(answer);
    snapshot.map(Source::Snapshot).map_err(|error| thrown("replay", error.to_string()))
}

fn number(options: &Options<'_>, name: &str, most: f64) -> HostResult<f64> {
    let Some(value) = options.get(name) else {
        return Err(thrown("invalid", format!("{}: the {name} is missing", options.function)));
    };
    let number = value.as_float().or_else(|_| value.as_int().map(|whole| whole as f64));
    match number {
        Ok(number) if number.abs() <= most => Ok(number),
        Ok(number) => Err(options.invalid(name, &format!("{number} is not between -{most} and {most} degrees"))),
        Err(_) => Err(options.wrong(name, "a number of degrees", value)),
    }
}

fn answers(options: &Options<'_>) -> HostResult<Vec<String>> {
    let name = "options";
    let Some(value) = options.get(name) else {
        return Err(thrown("invalid", format!("{}: the {name} are missing", options.function)));
    };
    let Some(items) = value.read_lock::<Array>() else { return Err(options.wrong(name, "an array of texts", value)) };
    if !POLL_ANSWERS.contains(&items.len()) {
        return Err(options.invalid(name, &format!("a poll has 2 to 12 answers, not {}", items.len())));
    }
    items.iter().map(|item| said(options.function, &format!("item of `{name}`"), Some(item))).collect()
}

fn json_of(options: &Options<'_>, name: &str) -> HostResult<Option<Value>> {
    let Some(value) = options.get(name) else { return Ok(None) };
    to_json(value).map(Some).map_err(|error| options.invalid(name, &error))
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

fn contacts(options: &Options<'_>, country: Option<Country>) -> HostResult<Vec<Contact>> {
    let Some(value) = options.get("contacts") else { return Ok(vec![contact(options, country)?]) };
    let Some(items) = value.read_lock::<Array>() else {
        return Err(options.wrong("contacts", "an array of maps", value));
    };
    let one = |item: &Dynamic| {
        let Some(map) = item.read_lock::<Map>() else {
            return Err(options.wrong("contacts", "an array of maps", item));
        };
        contact(&Options::new(options.function, &map, &["name", "phone", "organization"])?, country)
    };
    match items.len() {
        1..=20 => items.iter().map(one).collect(),
        other => Err(options.invalid("contacts", &format!("1 to 20 of them go into a message, not {other}"))),
    }
}

fn content(turn: &mut State, line: u32, kind: &str, options: &Options<'_>) -> HostResult<Content> {
    let function = options.function;
    let content = match kind {
        "text" => Content::Text { text: said(function, "text", options.get("text"))? },
        "link" => {
            let url = said(function, "link", options.get("url"))?;
            link(function, "link", &url)?;
            let thumbnail = options.text("thumbnail")?;
            if let Some(thumbnail) = &thumbnail {
                link(function, "thumbnail", thumbnail)?;
            }
            let track = options.flag("track")?.filter(|track| *track);
            // What was promised already stays promised.
            if track.is_some() && !turn.accounts.public && turn.next_kind().is_none() {
                let why = "people must reach Postrider for that; set `public_url` in postrider.yaml";
                return Err(options.invalid("track", why));
            }
            Content::Link {
                url,
                caption: options.text("caption")?,
                title: options.text("title")?,
                description: options.text("description")?,
                thumbnail,
                high_quality: options.flag("high_quality")?,
                preview: options.flag("preview")?,
                track,
            }
        }
        "location" => Content::Location {
            latitude: number(options, "latitude", 90.0)?,
            longitude: number(options, "longitude", 180.0)?,
            name: options.text("name")?,
            address: options.text("address")?,
        },
        "contact" => Content::Contact { contacts: contacts(options, turn.country)? },
        "poll" => poll(options)?,
        "reaction" => Content::Reaction {
            message: said(function, "message (the gateway's id of it)", options.get("message"))?,
            // Empty takes the mark back.
            emoji: match options.get("emoji") {
                Some(emoji) if emoji.as_immutable_string_ref().is_ok_and(|text| text.is_empty()) => String::new(),
                emoji => said(function, "emoji", emoji)?,
            },
            own: options.flag("own")?.unwrap_or(false),
        },
        "template" => Content::Template {
            name: said(function, "name of the template", options.get("name"))?,
            language: options.text("language")?,
            components: match json_of(options, "components")? {
                None => Vec::new(),
                Some(Value::Array(components)) => components,
                Some(_) => return Err(options.invalid("components", "it is an array of maps")),
            },
            variables: match json_of(options, "variables")? {
                None => serde_json::Map::new(),
                Some(Value::Object(variables)) => variables,
                Some(_) => return Err(options.invalid("variables", "it is a map of names or numbers to values")),
            },
        },
        _ => {
            let media = Media {
                source: source(turn, line, options)?,
                caption: options.text("caption")?,
                name: options.text("name")?,
                view_once: options.flag("view_once")?,
                hd: options.flag("hd")?,
                gif: options.flag("gif")?,
                note: options.flag("note")?,
            };
            Content::of_media(kind, media).ok_or_else(|| no_kind(function, kind))?
        }
    };
    Ok(content)
}

fn poll(options: &Options<'_>) -> HostResult<Content> {
    let question = said(options.function, "question", options.get("question"))?;
    let answers = answers(options)?;
    if let Some(twice) = answers.iter().enumerate().find(|(place, answer)| answers[..*place].contains(answer)) {
        return Err(options.invalid("options", &format!("`{}` stands there twice", twice.1)));
    }
    let max_answers = match options.get("max_answers") {
        None => 1,
        Some(value) => match value.as_int() {
            Ok(number) if (1..=answers.len() as i64).contains(&number) => number as u32,
            Ok(number) => {
                let why = format!("{number} is not between 1 and the number of answers");
                return Err(options.invalid("max_answers", &why));
            }
            Err(_) => return Err(options.wrong("max_answers", "a whole number", value)),
        },
    };
    Ok(Content::Poll { question, answers, max_answers })
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
    let options = Options::new(function, all, fields(kind))?;
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let to = targets(function, to, turn.country, options.skips_bad()?)?;
        let common = options.common(&turn.zone, turn.country)?;
        let content = content(turn, line, kind, &options)?;
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
