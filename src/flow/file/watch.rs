//! The trigger by files in a flow file.

use std::time::Duration;

use super::node::{Fields, Findings, Node, Yaml};
use crate::flow::pattern::Pattern;
use crate::flow::{Backlog, Watch};
use crate::units::{nearest, parse_duration};

const EVENTS: [&str; 3] = ["created", "modified", "deleted"];
const SETTLE: Duration = Duration::from_secs(2);

/// Reads the short form (a pattern) or the long one.
pub fn read(node: &Node, findings: &mut Findings) -> Option<Watch> {
    let plain = |patterns: Vec<Pattern>| Watch {
        patterns,
        created: true,
        modified: true,
        deleted: false,
        settle: SETTLE,
        backlog: Backlog::Known,
        poll: None,
    };
    if node.as_text().is_some() {
        return Some(plain(vec![node.parsed("watch", Pattern::parse, findings)?]));
    }
    let keys = ["paths", "events", "settle", "backlog", "poll"];
    let mut fields = Fields::of(node, "a watch trigger", &keys, findings)?;
    let backlog = |word: &str| match word {
        "known" => Ok(Backlog::Known),
        "all" => Ok(Backlog::All),
        "none" => Ok(Backlog::None),
        other => Err(format!("`{other}` is none of `known`, `all`, `none`")),
    };
    let poll = |text: &str| match text {
        "auto" => Ok(None),
        text => match parse_duration(text)? {
            span if span < Duration::from_secs(1) => Err("it is at least `1s`".to_owned()),
            span => Ok(Some(span)),
        },
    };
    let backlog = fields.parsed("backlog", backlog, findings).unwrap_or(Backlog::Known);
    let poll = fields.parsed("poll", poll, findings).flatten();
    let settled = |text: &str| match parse_duration(text)? {
        span if span < Duration::from_millis(100) => Err("it is at least `100ms`".to_owned()),
        span => Ok(span),
    };
    let settle = fields.parsed("settle", settled, findings).unwrap_or(SETTLE);
    let events = match fields.take("events") {
        Some(node) => events(node, findings)?,
        None => vec!["created", "modified"],
    };
    let Some(paths) = fields.take("paths") else {
        findings.at(node, "a watch trigger needs `paths`").hint("add `paths: [\"inbox/*.csv\"]`");
        return None;
    };
    let items = match &paths.value {
        Yaml::List(items) if !items.is_empty() => items.as_slice(),
        Yaml::List(_) => {
            findings.at(paths, "`paths` is empty, so nothing can come").hint("write `paths: [\"inbox/*.csv\"]`");
            return None;
        }
        _ => std::slice::from_ref(paths),
    };
    let patterns = items.iter().map(|item| item.parsed("paths", Pattern::parse, findings));
    let patterns = patterns.collect::<Option<Vec<_>>>()?;
    let has = |name: &str| events.contains(&name);
    let (created, modified, deleted) = (has("created"), has("modified"), has("deleted"));
    Some(Watch { created, modified, deleted, settle, backlog, poll, ..plain(patterns) })
}

fn events<'a>(node: &'a Node, findings: &mut Findings) -> Option<Vec<&'a str>> {
    let mut events = Vec::new();
    for item in node.list("events", findings)? {
        let word = item.text("events", findings)?;
        if !EVENTS.contains(&word) {
            let finding = findings.at(item, format!("there is no event `{word}`"));
            match nearest(word, EVENTS) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("it is one of {}", EVENTS.join(", "))),
            }
            return None;
        }
        events.push(word);
    }
    if events.is_empty() {
        findings.at(node, "`events` is empty, so nothing can come").hint("write `events: [created]`");
        return None;
    }
    Some(events)
}
