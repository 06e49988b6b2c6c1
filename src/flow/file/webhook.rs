//! The webhook trigger in a flow file.

use std::collections::BTreeSet;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::net::networks;
use super::node::{Fields, Findings, Node};
use super::share::Share;
use super::verify::{header, verify};
use crate::flow::webhook::{Dedupe, Mark, Rate, Respond, Webhook};
use crate::units::{parse_duration, parse_rate};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// What an event's name is remembered for.
const WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Longer than this nobody sends again.
const LONGEST_WINDOW: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads the short form (a path) or the long one.
pub fn read(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Webhook> {
    let plain = |path: String| Webhook {
        path,
        methods: vec!["POST".into()],
        verify: None,
        open: false,
        respond: Respond::Accepted(200),
        origins: Vec::new(),
        from: Vec::new(),
        dedupe: None,
        rate: None,
        at: (node.line, node.column),
    };
    if node.as_text().is_some() {
        return path(node, findings).map(plain);
    }
    let keys = ["path", "methods", "verify", "respond", "origins", "from", "dedupe", "rate"];
    let mut fields = Fields::of(node, "a webhook", &keys, findings)?;
    let methods = fields.take("methods").map_or(Some(vec!["POST".into()]), |node| methods(node, findings));
    let rule = fields.take("verify");
    let open = rule.is_some_and(|rule| rule.as_text() == Some("none"));
    let verify = match rule.filter(|_| !open) {
        Some(rule) => Some(Box::new(verify(rule, share, findings)?)),
        None => None,
    };
    let respond = match fields.take("respond") {
        Some(node) => respond(node, findings)?,
        None => Respond::Accepted(200),
    };
    let from = from(fields.take("from"), findings)?;
    let dedupe = match fields.take("dedupe") {
        Some(node) => Some(dedupe(node, findings)?),
        None => None,
    };
    let rate = fields.parsed("rate", parse_rate, findings).map(|(most, per)| Rate { most, per });
    let origins = match fields.take("origins") {
        Some(node) => origins(node, verify.as_ref().is_some_and(|rule| !rule.observe), findings)?,
        None => Vec::new(),
    };
    let Some(path_node) = fields.take("path") else {
        findings.at(node, "a webhook needs a `path`").hint("add `path: /orders`");
        return None;
    };
    let path = path(path_node, findings)?;
    Some(Webhook { methods: methods?, verify, open, respond, origins, from, dedupe, rate, ..plain(path) })
}

fn path(node: &Node, findings: &mut Findings) -> Option<String> {
    let path = node.text("path", findings)?;
    let why = if !path.starts_with('/') {
        "it begins with `/`"
    } else if path.contains(|c: char| c.is_whitespace() || c.is_control() || "?#%*".contains(c)) {
        "it has no blanks, `?`, `#`, `%` or `*`"
    } else if path.len() > 1 && path.split('/').skip(1).any(str::is_empty) {
        "it has no empty part and does not end with `/`"
    } else if path == "/" {
        "it needs a name, such as `/orders`"
    } else if path.split('/').any(|part| matches!(part, "." | "..")) {
        "callers leave out `.` and `..` before they ask"
    } else if path.starts_with("/hooks/") {
        "`/hooks` is put before it, so that callers would need it twice"
    } else if path.split('/').any(|part| part.starts_with(':')) {
        "a parameter is written in braces, such as `{id}`"
    } else if repeated(path) {
        "a parameter stands there twice"
    } else if !path.split('/').all(parameter) {
        "a parameter is a whole part between two `/`, such as `{shop}`"
    } else {
        return Some(path.to_owned());
    };
    findings.at(node, format!("`{path}` cannot be a webhook's path: {why}"));
    None
}

fn repeated(path: &str) -> bool {
    let mut seen = BTreeSet::new();
    path.split('/').filter(|part| part.starts_with('{')).any(|part| !seen.insert(part))
}

/// When the caller is answered, and with which status.
fn respond(node: &Node, findings: &mut Findings) -> Option<Respond> {
    if node.as_text().is_some() {
        let known = |word: &str| match word {
            "accepted" => Ok(Respond::Accepted(200)),
            "result" => Ok(Respond::Result),
            other => Err(format!("`{other}` is neither `accepted` nor `result`")),
        };
        return node.parsed("respond", known, findings);
    }
    let mut fields = Fields::of(node, "`respond`", &["status"], findings)?;
    let status = |word: &str| match word.parse::<u16>() {
        Ok(status @ 200..=202) => Ok(Respond::Accepted(status)),
        _ => Err(format!("`{word}` is none of 200, 201 and 202")),
    };
    let status = fields.parsed("status", status, findings);
    if status.is_none() {
        findings
            .at(node, "`respond` is `accepted`, `result`, or a map with `status`")
            .hint("write `respond: { status: 202 }`");
    }
    status
}

/// What makes two requests one event.
fn dedupe(node: &Node, findings: &mut Findings) -> Option<Dedupe> {
    let mut fields = Fields::of(node, "`dedupe`", &["body", "header", "hash", "window"], findings)?;
    let names = |text: &str| {
        let names: Vec<String> = text.split('.').map(|name| name.trim().to_owned()).collect();
        match names.iter().any(String::is_empty) {
            true => Err(format!("`{text}` is no path of names; write one such as `order.id`")),
            false => Ok(Mark::Body(names)),
        }
    };
    let whole = |word: &str| match word {
        "body" => Ok(Mark::Whole),
        other => Err(format!("`{other}` is not `body`")),
    };
    let ways = [
        fields.parsed("body", names, findings),
        fields.parsed("header", |word| header(word).map(Mark::Header), findings),
        fields.parsed("hash", whole, findings),
    ];
    let mut ways = ways.into_iter().flatten();
    let (Some(by), None) = (ways.next(), ways.next()) else {
        findings
            .at(node, "`dedupe` needs one of `body`, `header` and `hash`")
            .hint("write `dedupe: { body: order.id }`, or `dedupe: { header: Idempotency-Key }`");
        return None;
    };
    let window = |text: &str| match parse_duration(text)? {
        window if window.is_zero() || window > LONGEST_WINDOW => Err("it lies between 1s and 366d".to_owned()),
        window => Ok(window),
    };
    let window = fields.parsed("window", window, findings).unwrap_or(WINDOW);
    Some(Dedupe { by, window })
}

fn parameter(part: &str) -> bool {
    match part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
        None => !part.contains(['{', '}']),
    }
}

fn methods(node: &Node, findings: &mut Findings) -> Option<Vec<String>> {
    let mut methods = Vec::new();
    for item in node.list("methods", findings)? {
        let method = item.text("methods", findings)?;
        if !METHODS.contains(&method) {
            findings.at(item, format!("`{method}` is no method")).hint(format!("use {}", METHODS.join(", ")));
            return None;
        }
        methods.push(method.to_owned());
    }
    if methods.is_empty() {
        findings.at(node, "`methods` is empty, so nothing can come").hint("write `methods: [POST]`");
        return None;
    }
    Some(methods)
}

/// Addresses that may call. An empty list would let in everybody, where it looks as if it let in nobody.
fn from(node: Option<&Node>, findings: &mut Findings) -> Option<Vec<IpNet>> {
    let Some(node) = node else { return Some(Vec::new()) };
    if node.as_text().is_none() && node.list("from", findings)?.is_empty() {
        findings.at(node, "`from` is empty").hint("list the addresses that may call, or remove the line");
        return None;
    }
    Some(networks("from", Some(node), findings))
}

/// Pages by their origins, as browsers write them.
fn origins(node: &Node, is_verified: bool, findings: &mut Findings) -> Option<Vec<String>> {
    let mut origins = Vec::new();
    for item in node.list("origins", findings)? {
        let text = item.text("origins", findings)?;
        if text == "*" && is_verified {
            origins.push(text.to_owned());
            continue;
        }
        let Some(origin) = origin(text) else {
            match text {
                "*" => findings
                    .at(item, "`*` lets every page in, and this webhook has no `verify`")
                    .hint("list the pages, or add `verify`"),
                _ => findings
                    .at(item, format!("`{text}` is no page's origin"))
                    .hint("write one such as `https://shop.example.com`: no path, no slash at the end"),
            };
            return None;
        };
        origins.push(origin);
    }
    if origins.is_empty() {
        findings.at(node, "`origins` is empty").hint("list the pages that may call, or remove the line");
        return None;
    }
    Some(origins)
}

fn origin(text: &str) -> Option<String> {
    let (scheme, host) = text.split_once("://")?;
    let url = Url::parse(text).ok()?;
    let sound = ["http", "https"].contains(&url.scheme())
        && scheme.eq_ignore_ascii_case(url.scheme())
        && url.has_host()
        && !host.contains(['/', '\\', '?', '#', '@', '*'])
        && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    sound.then(|| url.origin().ascii_serialization())
}
