//! One account of `postrider.yaml`.

use std::time::Duration;

use crate::flow::file::node::{Fields, Findings, Node};
use crate::model::policy::{OnUnknown, OnUnsupported, Pace, Retry};
use crate::secret::Secret;
use crate::transport::gowa::GowaOptions;
use crate::units::{nearest, parse_duration, parse_rate};

/// What every account may have.
const COMMON: [&str; 9] = [
    "transport",
    "pace",
    "timeout",
    "retry",
    "on_unknown",
    "unknown_after",
    "on_unsupported",
    "fallback",
    "inbound_token",
];
const GOWA: [&str; 4] = ["url", "device", "basic_auth", "webhook_secret"];
const TRANSPORTS: [&str; 9] =
    ["sandbox", "gowa", "wapim", "wawp", "express-chat", "waha", "meta", "evolution", "twilio"];

/// One configured sender.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountSettings {
    /// Its name.
    pub name: String,
    /// Which gateway it speaks to, and how.
    pub gateway: Gateway,
    /// How fast it may send.
    pub pace: Pace,
    /// How often and how soon to try again.
    pub retry: Retry,
    /// What to do in doubt.
    pub on_unknown: OnUnknown,
    /// How long to wait for evidence.
    pub unknown_after: Duration,
    /// What to do with wishes that the gateway cannot fulfil.
    pub on_unsupported: OnUnsupported,
}

/// Which gateway an account speaks to.
#[derive(Clone, Debug, PartialEq)]
pub enum Gateway {
    /// The built-in stand-in.
    Sandbox,
    /// GOWA.
    Gowa(GowaOptions),
}

impl AccountSettings {
    /// An account with nothing but defaults.
    pub fn new(name: &str, gateway: Gateway) -> Self {
        let pace = match gateway {
            Gateway::Sandbox => Pace::UNLIMITED,
            Gateway::Gowa(_) => Pace::PHONE,
        };
        Self {
            name: name.into(),
            gateway,
            pace,
            retry: Retry { attempts: 8, first: Duration::from_secs(2), max: Duration::from_secs(600) },
            on_unknown: OnUnknown::Hold,
            unknown_after: Duration::from_secs(600),
            on_unsupported: OnUnsupported::Emulate,
        }
    }
}

pub fn read(key: &Node, node: &Node, findings: &mut Findings) -> Option<AccountSettings> {
    let name = key.as_text().unwrap_or_default();
    let sound = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !sound {
        findings.at(key, format!("`{name}` cannot be an account's name")).hint("use letters, digits, `-` and `_`");
        return None;
    }
    let known: Vec<&str> = COMMON.iter().chain(&GOWA).copied().collect();
    let mut fields = Fields::of(node, &format!("account `{name}`"), &known, findings)?;
    let gateway = gateway(node, &mut fields, findings)?;
    for key in ["fallback", "inbound_token", "webhook_secret"] {
        if let Some(node) = fields.take(key) {
            findings.not_yet(node, key);
        }
    }
    if matches!(gateway, Gateway::Sandbox) {
        for key in GOWA.into_iter().chain(["timeout"]) {
            if let Some(node) = fields.take(key) {
                findings.at(node, format!("the sandbox has no `{key}`")).hint("remove it");
            }
        }
    }
    let default = AccountSettings::new(name, gateway);
    let on_unknown = |word: &str| match word {
        "hold" => Ok(OnUnknown::Hold),
        "resend" => Ok(OnUnknown::Resend),
        other => Err(format!("`{other}` is neither `hold` nor `resend`")),
    };
    let on_unsupported =
        |word: &str| OnUnsupported::parse(word).ok_or(format!("`{word}` is none of `emulate`, `drop`, `strict`"));
    Some(AccountSettings {
        pace: fields.take("pace").map_or(default.pace, |node| pace(node, default.pace, findings)),
        retry: crate::flow::file::retry(fields.take("retry"), default.retry, findings),
        on_unknown: fields.parsed("on_unknown", on_unknown, findings).unwrap_or(default.on_unknown),
        unknown_after: fields.parsed("unknown_after", parse_duration, findings).unwrap_or(default.unknown_after),
        on_unsupported: fields.parsed("on_unsupported", on_unsupported, findings).unwrap_or(default.on_unsupported),
        ..default
    })
}

fn gateway(node: &Node, fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Gateway> {
    let Some(transport) = fields.take("transport") else {
        findings.at(node, "an account needs a `transport`").hint(format!("it is one of {}", TRANSPORTS.join(", ")));
        return None;
    };
    match transport.text("transport", findings)? {
        "sandbox" => Some(Gateway::Sandbox),
        "gowa" => gowa(fields, findings).map(Gateway::Gowa),
        known if TRANSPORTS.contains(&known) => {
            findings.not_yet(transport, &format!("transport: {known}"));
            None
        }
        other => {
            let finding = findings.at(transport, format!("there is no transport `{other}`"));
            match nearest(other, TRANSPORTS) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("it is one of {}", TRANSPORTS.join(", "))),
            }
            None
        }
    }
}

fn gowa(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<GowaOptions> {
    let url_node = fields.take("url");
    let url = match url_node {
        Some(node) => node.word("url", findings)?,
        None => "http://127.0.0.1:3000".into(),
    };
    let parsed = url::Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = match parsed {
        Some(url) if url.password().is_none() && url.username().is_empty() => url,
        Some(_) => {
            if let Some(node) = url_node {
                findings.at(node, "credentials do not belong into `url`").hint("use `basic_auth: ${NAME}`");
            }
            return None;
        }
        None => {
            if let Some(node) = url_node {
                findings
                    .at(node, format!("`{url}` is no web address"))
                    .hint("write one such as `http://127.0.0.1:3000`");
            }
            return None;
        }
    };
    let basic_auth = fields.take("basic_auth").and_then(|node| {
        let text = node.word("basic_auth", findings)?;
        if !text.contains(':') {
            findings.at(node, "`basic_auth` is a user and a password with `:` between them");
            return None;
        }
        Some(Secret::new(text))
    });
    let device = fields.take("device").and_then(|node| node.word("device", findings));
    // The server gives up after 45 s; a little more lets its own answer arrive.
    let timeout = fields.parsed("timeout", parse_duration, findings).unwrap_or(Duration::from_secs(60));
    Some(GowaOptions { url, device, basic_auth, timeout })
}

fn pace(node: &Node, default: Pace, findings: &mut Findings) -> Pace {
    if let Some(word) = node.as_text() {
        if word == "unlimited" {
            return Pace::UNLIMITED;
        }
        findings
            .at(node, format!("`{word}` is no pace"))
            .hint("write `pace: unlimited` or `pace: { rate: 30/min, burst: 10 }`");
        return default;
    }
    let keys = ["rate", "burst", "per_recipient", "daily", "new_recipients", "jitter", "quiet"];
    let Some(mut fields) = Fields::of(node, "`pace`", &keys, findings) else { return default };
    for key in ["daily", "new_recipients", "jitter", "quiet"] {
        if let Some(node) = fields.take(key) {
            findings.not_yet(node, key);
        }
    }
    let burst =
        |text: &str| text.parse().ok().filter(|count| *count > 0).ok_or("it is a whole number from 1".to_owned());
    Pace {
        rate: fields.parsed("rate", parse_rate, findings).or(default.rate),
        burst: fields.parsed("burst", burst, findings).unwrap_or(default.burst),
        per_recipient: fields.parsed("per_recipient", parse_rate, findings).or(default.per_recipient),
    }
}
