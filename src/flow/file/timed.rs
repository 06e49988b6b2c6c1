//! The triggers by the clock in a flow file: `cron`, `every`, `at`.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::node::{Fields, Findings, Node, Yaml};
use crate::flow::except::Except;
use crate::flow::schedule::Schedule;
use crate::flow::{Missed, Timed};
use crate::units::parse_duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const LARGEST_JITTER: Duration = HOUR;

/// A zone by its name.
pub fn named_zone(node: Option<&Node>, findings: &mut Findings) -> Option<TimeZone> {
    let node = node?;
    let name = node.text("timezone", findings)?;
    match TimeZone::get(name) {
        Ok(zone) => Some(zone),
        Err(_) => {
            findings
                .at(node, format!("there is no time zone `{name}`"))
                .hint("write one such as `Europe/Berlin` or `UTC`");
            None
        }
    }
}

/// Reads the short form (a line) or the long one.
pub fn cron(node: &Node, zone: &TimeZone, findings: &mut Findings) -> Option<Timed> {
    let with = |schedule: Schedule| Timed::plain("cron", schedule, HOUR);
    if !matches!(node.value, Yaml::Map(_)) {
        return node.parsed("cron", |line| Schedule::cron(line, zone.clone()), findings).map(with);
    }
    let keys = ["schedule", "timezone", "missed", "not_after", "jitter", "except"];
    let mut fields = Fields::of(node, "a cron trigger", &keys, findings)?;
    let jitter = |text: &str| match parse_duration(text)? {
        span if span > LARGEST_JITTER => Err("1h is the most".to_owned()),
        span => Ok(span),
    };
    let jitter = fields.parsed("jitter", jitter, findings).unwrap_or_default();
    let except = fields.take("except").map(|node| except(node, findings)).unwrap_or_default();
    let zone = named_zone(fields.take("timezone"), findings).unwrap_or_else(|| zone.clone());
    let missed = |word: &str| match word {
        "skip" => Ok(Missed::Skip),
        "latest" => Ok(Missed::Latest),
        "all" => Ok(Missed::All),
        other => Err(format!("`{other}` is none of `skip`, `latest`, `all`")),
    };
    let missed = fields.parsed("missed", missed, findings).unwrap_or(Missed::Latest);
    let not_after = fields.parsed("not_after", parse_duration, findings).unwrap_or(HOUR);
    let Some(line) = fields.take("schedule") else {
        findings.at(node, "a cron trigger needs a `schedule`").hint("add `schedule: \"0 9 * * MON-FRI\"`");
        return None;
    };
    let schedule = line.parsed("schedule", |line| Schedule::cron(line, zone), findings)?;
    Some(Timed { missed, not_after, jitter, except: except.into(), ..with(schedule) })
}

/// Days on which it is not due: one, or a list.
fn except(node: &Node, findings: &mut Findings) -> Vec<Except> {
    let items = match node.as_text() {
        Some(_) => std::slice::from_ref(node),
        None => node.list("except", findings).unwrap_or_default(),
    };
    let read = |item: &Node| item.parsed("except", |text| Except::parse(text, (item.line, item.column)), findings);
    items.iter().filter_map(read).collect()
}

/// Reads an interval.
pub fn every(node: &Node, zone: &TimeZone, findings: &mut Findings) -> Option<Timed> {
    scalar(node, "every", findings)?;
    let schedule = node.parsed("every", |text| Schedule::every(text, zone.clone()), findings)?;
    Some(Timed::plain("every", schedule, HOUR))
}

/// Reads an instant.
pub fn at(node: &Node, zone: &TimeZone, findings: &mut Findings) -> Option<Timed> {
    scalar(node, "at", findings)?;
    let schedule = node.parsed("at", |text| Schedule::at(text, zone.clone()), findings)?;
    Some(Timed::plain("at", schedule, DAY))
}

/// Only `cron` has a long form.
fn scalar(node: &Node, name: &str, findings: &mut Findings) -> Option<()> {
    let map = matches!(node.value, Yaml::Map(_));
    if map {
        findings
            .at(node, format!("`{name}` takes no map"))
            .hint("write the time itself; `missed` and the like belong to `cron`");
    }
    (!map).then_some(())
}
