//! The parts of a flow file that are not a trigger or a script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::node::{Fields, Findings, Node, Yaml};
use super::share::Share;
use super::{message, timed, watch, webhook};
use crate::flow::routes::overlap;
use crate::flow::{Concurrency, Timed, Trigger};
use crate::model::phone::Country;
use crate::model::policy::Retry;
use crate::model::run::WhenFull;
use crate::secret::Secret;
use crate::units::{nearest, parse_duration};

/// A flow may be silent for so long at least before anybody is told.
const SHORTEST_SILENCE: Duration = Duration::from_secs(60);

/// The kinds of trigger.
const TRIGGERS: [&str; 6] = ["webhook", "cron", "every", "at", "watch", "message"];

/// The flow's name: as given, or the path under `flows/` without its ending.
pub fn name(node: Option<&Node>, file: &str, findings: &mut Findings) -> Option<String> {
    let given = match node {
        Some(node) => node.text("name", findings)?.to_owned(),
        None => {
            let path = file.strip_prefix("flows/").unwrap_or(file);
            path.trim_end_matches(".yaml").trim_end_matches(".yml").to_owned()
        }
    };
    let first = given.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/_-".contains(&b));
    if first && rest && given.len() <= 200 {
        return Some(given);
    }
    let nowhere = Node { line: 0, column: 0, value: Yaml::Null };
    findings
        .at(node.unwrap_or(&nowhere), format!("`{given}` cannot be a flow's name"))
        .hint("use small letters, digits, `/`, `_` and `-`, beginning with a letter or digit");
    None
}

/// The triggers, those that can be read. `home` are the zone of their times and the country of their phones.
pub fn triggers(
    node: Option<&Node>,
    share: &Share<'_>,
    home: (&TimeZone, Option<Country>),
    findings: &mut Findings,
) -> Vec<Trigger> {
    let Some(items) = node.and_then(|node| node.list("triggers", findings)) else { return Vec::new() };
    let mut keys = BTreeSet::new();
    let mut triggers = Vec::new();
    for item in items {
        let Some(trigger) = trigger(item, share, home, findings) else { continue };
        match trigger.key() {
            Some(key) if !keys.insert(key.clone()) => {
                findings.at(item, format!("this trigger stands here twice: {key}")).hint("remove one of them");
            }
            _ => {
                look_beside(&trigger, &triggers, item, findings);
                triggers.push(trigger);
            }
        }
    }
    triggers
}

/// Warns of a webhook that some calls of another one reach, where the two ask callers for other proof.
fn look_beside(trigger: &Trigger, before: &[Trigger], item: &Node, findings: &mut Findings) {
    let Some(webhook) = trigger.webhook() else { return };
    let mut others = before.iter().filter_map(Trigger::webhook);
    if let Some(other) = others.find(|other| other.verify != webhook.verify && overlap(other, webhook)) {
        let message = format!(
            "some calls of {} are meant by {} as well, which verifies its callers otherwise",
            webhook.path, other.path
        );
        findings.warn(item, message).hint("the more exact path decides; use another path, or the same `verify`");
    }
}

fn trigger(
    item: &Node,
    share: &Share<'_>,
    (zone, country): (&TimeZone, Option<Country>),
    findings: &mut Findings,
) -> Option<Trigger> {
    let Yaml::Map(entries) = &item.value else {
        let finding = findings.at(item, "a trigger is its kind, `:`, a blank, and what belongs to it");
        finding.hint("write one such as `- webhook: /orders` or `- cron: \"0 9 * * MON-FRI\"`");
        return None;
    };
    let [(key, value)] = entries.as_slice() else {
        findings
            .at(item, format!("a trigger has one key, this one has {}", entries.len()))
            .hint("indent what belongs to it further, or begin the next trigger with `-`");
        return None;
    };
    let own = |mut timed: Timed| {
        timed.lot = share.lot(&timed.schedule.to_string());
        Trigger::Timed(Arc::new(timed))
    };
    match key.as_text().unwrap_or_default() {
        "webhook" => webhook::read(value, share, findings).map(|webhook| Trigger::Webhook(Arc::new(webhook))),
        "cron" => timed::cron(value, zone, findings).map(own),
        "every" => timed::every(value, zone, findings).map(own),
        "at" => timed::at(value, zone, findings).map(own),
        "watch" => watch::read(value, findings).map(|watch| Trigger::Watch(Arc::new(watch))),
        "message" => message::read(value, country, findings).map(|on| Trigger::Message(Arc::new(on))),
        other => {
            let finding = findings.at(key, format!("there is no trigger `{other}`"));
            match nearest(other, TRIGGERS) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("it is one of {}", TRIGGERS.join(", "))),
            }
            None
        }
    }
}

/// The flow's constants as JSON, with `${NAME}` filled in.
pub fn params(node: Option<&Node>, share: &Share<'_>, findings: &mut Findings) -> Value {
    match node {
        None => Value::Object(serde_json::Map::new()),
        Some(node) => {
            if !matches!(node.value, Yaml::Map(_)) {
                node.wrong("params", "a map", findings);
            }
            json(node, share, findings)
        }
    }
}

fn json(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Value {
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => (*flag).into(),
        Yaml::Int(number) => (*number).into(),
        Yaml::Float(number) => (*number).into(),
        Yaml::Text(_) => node.filled("params", share, findings).map_or(Value::Null, Value::String),
        Yaml::List(items) => items.iter().map(|item| json(item, share, findings)).collect(),
        Yaml::Map(entries) => {
            let entry = |(key, value): &(Node, Node)| {
                (key.as_text().unwrap_or_default().to_owned(), json(value, share, findings))
            };
            entries.iter().map(entry).collect()
        }
    }
}

/// The secrets that the script may ask for. One that is not set is a finding now, not at night.
pub fn secrets(node: Option<&Node>, share: &Share<'_>, findings: &mut Findings) -> BTreeMap<String, Option<Secret>> {
    let mut secrets = BTreeMap::new();
    for item in node.and_then(|node| node.list("secrets", findings)).unwrap_or_default() {
        let Some(name) = item.text("secrets", findings) else { continue };
        let value = match share.get(name) {
            Ok(Some(value)) => Some(Secret::new(value)),
            Ok(None) => {
                findings.at(item, format!("secret `{name}` is not set")).hint("set it in the environment or in .env");
                None
            }
            Err(why) => {
                findings.at(item, why);
                None
            }
        };
        secrets.insert(name.to_owned(), value);
    }
    secrets
}

/// How many runs may be under way.
pub fn concurrency(node: &Node, findings: &mut Findings) -> Option<Concurrency> {
    let mut fields = Fields::of(node, "`concurrency`", &["limit", "key", "when_full"], findings)?;
    let limit = |text: &str| match text.parse() {
        Ok(number @ 1..=1_000) => Ok(number),
        _ => Err("it is a whole number from 1 to 1000".to_owned()),
    };
    let limit = match fields.take("limit") {
        Some(_) => fields.parsed("limit", limit, findings)?,
        None => 1,
    };
    let names = |text: &str| {
        let names: Vec<String> = text.split('.').map(|name| name.trim().to_owned()).collect();
        match names.iter().any(String::is_empty) {
            true => Err(format!("`{text}` is no path of names in the event; write one such as `body.customer`")),
            false => Ok(names.into_iter().skip_while(|name| name == "event").collect::<Vec<_>>()),
        }
    };
    let key = fields.parsed("key", names, findings);
    let when_full = |word: &str| match word {
        "queue" => Ok(WhenFull::Queue),
        "skip" => Ok(WhenFull::Skip),
        "replace" => Ok(WhenFull::Replace),
        other => Err(format!("`{other}` is none of `queue`, `skip`, `replace`")),
    };
    let when_full = fields.parsed("when_full", when_full, findings).unwrap_or(WhenFull::Queue);
    Some(Concurrency { limit, key, when_full })
}

/// How long a flow may be silent.
pub fn expect(node: Option<&Node>, findings: &mut Findings) -> Option<Duration> {
    let node = node?;
    let mut fields = Fields::of(node, "`expect`", &["every"], findings)?;
    let every = |text: &str| match parse_duration(text)? {
        span if span < SHORTEST_SILENCE => Err("a minute is the least".to_owned()),
        span => Ok(span),
    };
    if fields.take("every").is_none() {
        findings.at(node, "`expect` needs `every`").hint("write `expect: { every: 25h }`");
    }
    fields.parsed("every", every, findings)
}

/// How often and how soon to try again; what is left out is as in `default`.
pub fn retry(node: Option<&Node>, default: Retry, findings: &mut Findings) -> Retry {
    let Some(node) = node else { return default };
    let Some(mut fields) = Fields::of(node, "`retry`", &["attempts", "first", "max"], findings) else {
        return default;
    };
    let attempts = fields.parsed(
        "attempts",
        |text| match text.parse() {
            Ok(number @ 1..=1000) => Ok(number),
            _ => Err("it is a whole number from 1 (the first try counts) to 1000".into()),
        },
        findings,
    );
    let first = fields.parsed("first", parse_duration, findings);
    let max = fields.parsed("max", parse_duration, findings);
    Retry {
        attempts: attempts.unwrap_or(default.attempts),
        first: first.unwrap_or(default.first),
        max: max.unwrap_or(default.max),
    }
}
