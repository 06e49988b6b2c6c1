//! One account of `postrider.yaml`.

use std::time::Duration;

use jiff::tz::TimeZone;
use url::Url;

use super::gateways;
use crate::flow::file::node::{Fields, Findings, Node, Yaml};
use crate::flow::file::shown::named;
use crate::flow::file::strength::is_secret;
use crate::model::opt_out::OptOut;
use crate::model::opt_out::says;
use crate::model::policy::{OnUnknown, OnUnsupported, Pace, Quiet, Retry};
use crate::model::walls::FlowNames;
use crate::secret::Secret;
use crate::transport::gateway::Configured;
use crate::transport::sandbox;
use crate::units::{parse_duration, parse_rate};

/// What every account may have.
const COMMON: [&str; 11] = [
    "transport",
    "pace",
    "timeout",
    "retry",
    "on_unknown",
    "unknown_after",
    "on_unsupported",
    "fallback",
    "inbound_token",
    "opt_out",
    "flows",
];

/// One configured sender.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountSettings {
    /// Its name.
    pub name: String,
    /// Which gateway it speaks to, and how.
    pub gateway: Configured,
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
    /// The account that takes over when this one cannot send.
    pub fallback: Option<String>,
    /// The part of the address that only the gateway knows.
    pub inbound_token: Option<Secret>,
    /// What people write who want to hear no more.
    pub opt_out: Option<OptOut>,
    /// Which flows may send from it and hear it.
    pub flows: FlowNames,
    /// The workspace's zone: its calendar counts the days.
    pub zone: TimeZone,
    /// How the world reaches us.
    pub public_url: Option<Url>,
}

impl AccountSettings {
    /// An account with nothing but defaults.
    pub fn new(name: &str, gateway: Configured) -> Self {
        Self {
            name: name.into(),
            pace: gateway.row.pace,
            gateway,
            retry: Retry { attempts: 8, first: Duration::from_secs(2), max: Duration::from_secs(600) },
            on_unknown: OnUnknown::Hold,
            unknown_after: Duration::from_secs(600),
            on_unsupported: OnUnsupported::Emulate,
            fallback: None,
            inbound_token: None,
            opt_out: Some(OptOut::usual("en")),
            flows: FlowNames::ALL,
            zone: TimeZone::UTC,
            public_url: None,
        }
    }
}

impl AccountSettings {
    /// Puts the sandbox in the place of the gateway, with what that can do and at its pace.
    pub fn go_nowhere(&mut self) {
        self.gateway = sandbox::standing_for(Some(self.gateway.capabilities()));
        // It hears nobody but the phones.
        self.inbound_token = None;
    }
}

/// Reads an account; `language` is that of the people it writes to.
pub fn read(key: &Node, node: &Node, language: &str, findings: &mut Findings) -> Option<AccountSettings> {
    let name = key.as_text().unwrap_or_default();
    let sound = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !sound {
        findings
            .at(key, format!("`{}` cannot be an account's name", named(name)))
            .hint("use letters, digits, `-` and `_`");
        return None;
    }
    let known: Vec<&str> = COMMON.into_iter().chain(gateways::all_keys()).collect();
    let mut fields = Fields::of(node, &format!("account `{name}`"), &known, findings)?;
    let gateway = gateways::read(node, &mut fields, findings)?;
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
        fallback: fields.text("fallback", findings),
        inbound_token: fields.take("inbound_token").and_then(|node| token(node, findings)),
        opt_out: match fields.take("opt_out") {
            Some(node) => opt_out(node, language, findings),
            None => Some(OptOut::usual(language)),
        },
        flows: fields.take("flows").map_or(FlowNames::ALL, |node| flows(node, findings)),
        ..default
    })
}

/// A list of patterns of flow names.
pub fn flows(node: &Node, findings: &mut Findings) -> FlowNames {
    let items = node.list("flows", findings).unwrap_or_default();
    FlowNames::of(items.iter().filter_map(|item| item.parsed("flows", FlowNames::parse, findings)).collect())
}

fn token(node: &Node, findings: &mut Findings) -> Option<Secret> {
    let text = node.word("inbound_token", findings)?;
    let sound = text.len() >= 8 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b));
    if !sound {
        let finding = findings.at(node, "`inbound_token` becomes a part of an address that nobody may guess");
        finding.hint("give it at least 8 letters, digits, `-`, `_`, `.` or `~`, as `openssl rand -hex 16` makes them");
        return None;
    }
    is_secret(node, "inbound_token", &text, findings);
    Some(Secret::new(text))
}

fn opt_out(node: &Node, language: &str, findings: &mut Findings) -> Option<OptOut> {
    // YAML has made a flag of `off` for long, and some of its readers still do.
    if node.as_text() == Some("off") || matches!(node.value, Yaml::Bool(false)) {
        return None;
    }
    if node.as_text() == Some("on") || matches!(node.value, Yaml::Bool(true)) {
        return Some(OptOut::usual(language));
    }
    let mut fields = Fields::of(node, "`opt_out`", &["words", "reply"], findings)?;
    let reply = fields.text("reply", findings);
    if reply.as_ref().is_some_and(|reply| reply.trim().is_empty()) {
        findings.at(node, "`reply` is empty").hint("write what people are told, or leave it out");
        return None;
    }
    let Some(list) = fields.take("words") else { return Some(OptOut { reply, ..OptOut::usual(language) }) };
    let words: Vec<String> =
        list.list("words", findings)?.iter().filter_map(|item| item.word("words", findings)).collect();
    if words.is_empty() || words.iter().any(|word| word.trim().is_empty()) {
        let finding = findings.at(list, "`words` are what people write who want to hear no more");
        finding.hint("such as [stop, unsubscribe]; or write `opt_out: off`");
        return None;
    }
    if says(&words, "start") {
        findings.at(list, "`start` is the word by which people take it back").hint("choose another one");
        return None;
    }
    Some(OptOut { words, reply })
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
    let burst =
        |text: &str| text.parse().ok().filter(|count| *count > 0).ok_or("it is a whole number from 1".to_owned());
    let daily = |text: &str| {
        let count = text.strip_suffix("/day").unwrap_or(text).trim().parse().ok();
        count.filter(|count: &u32| *count > 0).ok_or_else(|| format!("`{text}` is no number of messages a day"))
    };
    Pace {
        daily: fields.parsed("daily", daily, findings).or(default.daily),
        new_recipients: fields.parsed("new_recipients", daily, findings).or(default.new_recipients),
        jitter: fields.parsed("jitter", parse_duration, findings).filter(|span| !span.is_zero()).or(default.jitter),
        quiet: fields.parsed("quiet", Quiet::parse, findings).or(default.quiet),
        rate: fields.parsed("rate", parse_rate, findings).or(default.rate),
        burst: fields.parsed("burst", burst, findings).unwrap_or(default.burst),
        per_recipient: fields.parsed("per_recipient", parse_rate, findings).or(default.per_recipient),
    }
}
