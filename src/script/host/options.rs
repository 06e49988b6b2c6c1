//! The options of the `send_*` functions: checked at the line, each with its own sentence.

use std::time::Duration;

use jiff::Timestamp;
use rhai::{Dynamic, Map};
use serde_json::Value;

use crate::model::message::SendOptions;
use crate::model::phone::Country;
use crate::model::policy::OnUnsupported;
use crate::model::recipient::Recipient;
use crate::plain::is_blank;
use crate::script::error::{HostResult, thrown};
use crate::script::limits::room_for;
use crate::script::time::{instant_of, span_of};
use crate::script::types::type_name;
use crate::script::types::{Moment, Span};
use crate::script::value::to_json;

const COMMON: [&str; 13] = [
    "account",
    "at",
    "valid_for",
    "reply_to",
    "forwarded",
    "disappear",
    "mentions",
    "recipient_name",
    "key",
    "keep",
    "on_unsupported",
    "on_bad",
    "extra",
];

/// Options of one call, read one by one; what is left over at the end was misspelt.
pub struct Options<'a> {
    pub(super) function: &'static str,
    map: &'a Map,
}

/// The options that every kind of message has.
pub struct Common {
    /// The account that was named.
    pub account: Option<String>,
    /// Not before this.
    pub at: Option<When>,
    /// Worth sending for so long.
    pub valid_for: Option<Duration>,
    /// Identity within the flow.
    pub key: Option<String>,
    /// What travels with the message.
    pub options: SendOptions,
}

/// A time, or a duration from now.
pub enum When {
    /// A time.
    At(Timestamp),
    /// From now.
    In(Duration),
}

impl<'a> Options<'a> {
    /// Checks the names of all options: the common ones of messages and `own`.
    pub fn new(function: &'static str, map: &'a Map, own: &[&str]) -> HostResult<Self> {
        let all: Vec<&str> = COMMON.iter().chain(own).copied().collect();
        Self::only(function, map, &all)
    }

    /// Checks the names of all options.
    pub fn only(function: &'static str, map: &'a Map, all: &[&str]) -> HostResult<Self> {
        for name in map.keys() {
            let known = all.iter();
            if known.clone().any(|known| known == name) {
                continue;
            }
            let mut message = format!("{function} has no option `{name}`");
            if let Some(near) = crate::units::nearest(name, known.copied()) {
                message.push_str(&format!("; did you mean `{near}`?"));
            }
            return Err(thrown("invalid", message));
        }
        Ok(Self { function, map })
    }

    /// Its value, if it was given.
    pub fn get(&self, name: &str) -> Option<&Dynamic> {
        self.map.get(name).filter(|value| !value.is_unit())
    }

    /// It is of another type than `wanted`.
    pub fn wrong(&self, name: &str, wanted: &str, value: &Dynamic) -> Box<rhai::EvalAltResult> {
        let found = type_name(value);
        thrown("type", format!("{}: option `{name}` takes {wanted}, not a value of type {found}", self.function))
    }

    /// It is of the right type and yet wrong.
    pub fn invalid(&self, name: &str, why: &str) -> Box<rhai::EvalAltResult> {
        thrown("invalid", format!("{}: option `{name}`: {why}", self.function))
    }

    /// A text that is not empty.
    pub fn text(&self, name: &str) -> HostResult<Option<String>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_immutable_string_ref().map_err(|_| self.wrong(name, "a text", value))?;
        if is_blank(&text) {
            return Err(self.invalid(name, "the text is empty"));
        }
        room_for(text.len() as u64)?;
        Ok(Some(text.to_string()))
    }

    /// True or false.
    pub fn flag(&self, name: &str) -> HostResult<Option<bool>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).map_err(|_| self.wrong(name, "true or false", value))
    }

    /// A length of time.
    pub fn span(&self, name: &str) -> HostResult<Option<Duration>> {
        let what = format!("{}: option `{name}`", self.function);
        self.get(name).map(|value| span_of(value, &what)).transpose()
    }

    fn when(&self, name: &str, zone: &jiff::tz::TimeZone) -> HostResult<Option<When>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let what = format!("{}: option `{name}`", self.function);
        let is_span = value.is::<Span>()
            || value.as_immutable_string_ref().is_ok_and(|text| crate::units::parse_duration(&text).is_ok());
        if is_span {
            return span_of(value, &what).map(|span| Some(When::In(span)));
        }
        if !value.is::<Moment>() && !value.is_string() {
            return Err(self.wrong(name, "a time or a duration from now", value));
        }
        instant_of(value, zone, &what).map(|instant| Some(When::At(instant)))
    }

    fn disappear(&self) -> HostResult<Option<u32>> {
        let Some(span) = self.span("disappear")? else { return Ok(None) };
        match span.as_secs() {
            seconds @ (86_400 | 604_800 | 7_776_000) => Ok(Some(seconds as u32)),
            _ => Err(self.invalid("disappear", "WhatsApp knows only \"24h\", \"7d\" and \"90d\"")),
        }
    }

    /// Whether bad addresses of an array are left out, and given back.
    pub fn skips_bad(&self) -> HostResult<bool> {
        match self.text("on_bad")?.as_deref() {
            None | Some("throw") => Ok(false),
            Some("skip") => Ok(true),
            Some(other) => Err(self.invalid("on_bad", &format!("`{other}` is neither `throw` nor `skip`"))),
        }
    }

    fn mentions(&self, country: Option<Country>) -> HostResult<Vec<String>> {
        let Some(value) = self.get("mentions") else { return Ok(Vec::new()) };
        let items = match value.clone().into_array() {
            Ok(items) => items,
            Err(_) => vec![value.clone()],
        };
        let mention = |item: Dynamic| {
            let text =
                item.clone().into_string().map_err(|_| self.wrong("mentions", "phones or \"everyone\"", &item))?;
            if text == "everyone" {
                return Ok(text);
            }
            match Recipient::read(&text, country) {
                Ok(phone @ Recipient::Phone(_)) => Ok(phone.to_string()),
                Ok(_) => Err(self.invalid("mentions", &format!("`{text}` is no phone"))),
                Err(error) => Err(self.invalid("mentions", &error)),
            }
        };
        items.into_iter().map(mention).collect()
    }

    fn extra(&self) -> HostResult<serde_json::Map<String, Value>> {
        let Some(value) = self.get("extra") else { return Ok(serde_json::Map::new()) };
        if self.get("account").is_none() {
            return Err(self.invalid("extra", "raw gateway fields need the option `account` beside them"));
        }
        match to_json(value) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err(self.wrong("extra", "a map", value)),
            Err(error) => Err(self.invalid("extra", &error)),
        }
    }

    /// The options that every kind of message has.
    pub fn common(&self, zone: &jiff::tz::TimeZone, country: Option<Country>) -> HostResult<Common> {
        let on_unsupported = self.text("on_unsupported")?;
        let on_unsupported = on_unsupported
            .map(|word| {
                OnUnsupported::parse(&word)
                    .ok_or_else(|| self.invalid("on_unsupported", "it is `emulate`, `drop` or `strict`"))
            })
            .transpose()?;
        let key = self.text("key")?;
        if key.as_ref().is_some_and(|key| key.len() > 512) {
            return Err(self.invalid("key", "it has more than 512 bytes"));
        }
        Ok(Common {
            account: self.text("account")?,
            at: self.when("at", zone)?,
            valid_for: self.span("valid_for")?,
            key,
            options: SendOptions {
                reply_to: self.text("reply_to")?,
                forwarded: self.flag("forwarded")?.unwrap_or(false),
                disappear: self.disappear()?,
                mentions: self.mentions(country)?,
                recipient_name: self.text("recipient_name")?,
                keep: self.flag("keep")?.unwrap_or(false),
                on_unsupported,
                extra: self.extra()?,
            },
        })
    }
}
