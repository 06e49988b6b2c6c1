//! The webhook trigger in a flow file.

use url::Url;

use super::node::{Fields, Findings, Node, Yaml};
use super::share::Share;
use super::shown::named;
use super::strength::is_secret;
use crate::flow::{Encoding, Hmac, Respond, Verify, Webhook};
use crate::secret::{Hash, Secret};
use crate::units::nearest;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const VERIFY_LATER: [&str; 8] = ["basic", "github", "stripe", "slack", "shopify", "meta", "standard-webhooks", "mode"];

/// Reads the short form (a path) or the long one.
pub fn read(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Webhook> {
    let plain = |path: String| Webhook {
        path,
        methods: vec!["POST".into()],
        verify: None,
        open: false,
        respond: Respond::Accepted,
        origins: Vec::new(),
        at: (node.line, node.column),
    };
    if node.as_text().is_some() {
        return path(node, findings).map(plain);
    }
    let keys = ["path", "methods", "verify", "respond", "origins", "dedupe", "rate"];
    let mut fields = Fields::of(node, "a webhook", &keys, findings)?;
    for key in ["dedupe", "rate"] {
        if let Some(node) = fields.take(key) {
            findings.not_yet(node, key);
        }
    }
    let methods = fields.take("methods").map_or(Some(vec!["POST".into()]), |node| methods(node, findings));
    let rule = fields.take("verify");
    let open = rule.is_some_and(|rule| rule.as_text() == Some("none"));
    let verify = match rule.filter(|_| !open) {
        Some(rule) => Some(verify(rule, share, findings)?),
        None => None,
    };
    let respond = |word: &str| match word {
        "accepted" => Ok(Respond::Accepted),
        "result" => Ok(Respond::Result),
        other => Err(format!("`{other}` is neither `accepted` nor `result`")),
    };
    let respond = fields.parsed("respond", respond, findings).unwrap_or(Respond::Accepted);
    let origins = match fields.take("origins") {
        Some(node) => origins(node, verify.is_some(), findings)?,
        None => Vec::new(),
    };
    let Some(path_node) = fields.take("path") else {
        findings.at(node, "a webhook needs a `path`").hint("add `path: /orders`");
        return None;
    };
    let path = path(path_node, findings)?;
    Some(Webhook { methods: methods?, verify, open, respond, origins, ..plain(path) })
}

fn path(node: &Node, findings: &mut Findings) -> Option<String> {
    let path = node.text("path", findings)?;
    let why = if !path.starts_with('/') {
        "it begins with `/`"
    } else if path.contains(|c: char| c.is_whitespace() || c.is_control() || "?#%*".contains(c)) {
        "it has no blanks, `?`, `#`, `%` or `*`"
    } else if path.len() > 1 && path.split('/').skip(1).any(str::is_empty) {
        "it has no empty part and does not end with `/`"
    } else if !path.split('/').all(parameter) {
        "a parameter is a whole part between two `/`, such as `{shop}`"
    } else {
        return Some(path.to_owned());
    };
    findings.at(node, format!("`{path}` cannot be a webhook's path: {why}"));
    None
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

fn verify(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Verify> {
    let Yaml::Map(entries) = &node.value else {
        node.wrong("verify", "a map such as `{ token: \"${TOKEN}\" }`, or the word `none`", findings);
        return None;
    };
    if let Some((key, _)) =
        entries.iter().find(|(key, _)| key.as_text().is_some_and(|name| VERIFY_LATER.contains(&name)))
    {
        findings.not_yet(key, key.as_text().unwrap_or_default());
        return None;
    }
    let [(key, value)] = entries.as_slice() else {
        findings.at(node, "`verify` takes one way of verifying").hint("write `verify: { token: \"${TOKEN}\" }`");
        return None;
    };
    match key.as_text().unwrap_or_default() {
        "token" => secrets("token", value, share, findings).map(Verify::Token),
        "hmac" => hmac(value, share, findings).map(Verify::Hmac),
        other => {
            let finding = findings.at(key, format!("there is no way to verify called `{}`", named(other)));
            match nearest(other, ["token", "hmac"]) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint("it is `token` or `hmac`"),
            }
            None
        }
    }
}

fn hmac(node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Hmac> {
    let keys = ["header", "secret", "algorithm", "encoding", "prefix", "timestamp_header", "tolerance"];
    let mut fields = Fields::of(node, "`hmac`", &keys, findings)?;
    for key in ["timestamp_header", "tolerance"] {
        if let Some(node) = fields.take(key) {
            findings.not_yet(node, key);
        }
    }
    let algorithm = |word: &str| match word {
        "sha1" => Ok(Hash::Sha1),
        "sha256" => Ok(Hash::Sha256),
        "sha512" => Ok(Hash::Sha512),
        other => Err(format!("`{other}` is none of `sha1`, `sha256`, `sha512`")),
    };
    let encoding = |word: &str| match word {
        "hex" => Ok(Encoding::Hex),
        "base64" => Ok(Encoding::Base64),
        other => Err(format!("`{other}` is neither `hex` nor `base64`")),
    };
    let header = |word: &str| match !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        true => Ok(word.to_ascii_lowercase()),
        false => Err("a header's name has letters, digits and `-` only".to_owned()),
    };
    let algorithm = fields.parsed("algorithm", algorithm, findings).unwrap_or(Hash::Sha256);
    let encoding = fields.parsed("encoding", encoding, findings).unwrap_or(Encoding::Hex);
    let prefix = fields.text("prefix", findings).unwrap_or_default();
    for key in ["header", "secret"] {
        if fields.take(key).is_none() {
            findings
                .at(node, format!("`hmac` needs `{key}`"))
                .hint("write `hmac: { header: X-Signature, secret: \"${SECRET}\" }`");
        }
    }
    let header = fields.parsed("header", header, findings);
    let secrets = secrets("secret", fields.take("secret")?, share, findings)?;
    Some(Hmac { header: header?, secrets, algorithm, encoding, prefix })
}

/// One secret, or two while one replaces the other.
fn secrets(name: &str, node: &Node, share: &Share<'_>, findings: &mut Findings) -> Option<Vec<Secret>> {
    let items = match &node.value {
        Yaml::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if items.is_empty() || items.len() > 2 {
        findings.at(node, format!("`{name}` takes one secret, or two while one replaces the other"));
        return None;
    }
    let mut secrets = Vec::new();
    for item in items {
        let text = item.filled(name, share, findings)?;
        if !is_secret(item, name, &text, findings) {
            return None;
        }
        secrets.push(Secret::new(text));
    }
    Some(secrets)
}
