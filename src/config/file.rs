//! `postrider.yaml`: from text to settings, with all findings at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;

use jiff::tz::TimeZone;

use super::account::{AccountSettings, flows, read as account};
use super::gateways::web_address;
use super::{Flags, Settings};
use crate::fetch::{Allowed, parse_allowed};
use crate::flow::file::country;
use crate::flow::file::fill::{Environment, is_name, names};
use crate::flow::file::net::networks;
use crate::flow::file::node::{self, Fields, Findings, Node, Yaml};
use crate::model::diagnostic::Diagnostic;
use crate::model::opt_out::OptOut;
use crate::model::policy::{Keep, Limits};
use crate::model::walls::FlowNames;
use crate::transport::sandbox;
use crate::units::{nearest, parse_bytes, parse_duration};

const FILE: &str = "postrider.yaml";
const KEYS: [&str; 17] = [
    "timezone",
    "country",
    "locale",
    "on_failure",
    "store",
    "listen",
    "admin",
    "admin_hosts",
    "public_url",
    "trusted_proxies",
    "default_account",
    "accounts",
    "http",
    "secrets",
    "dashboard",
    "limits",
    "keep",
];
/// What several callers may send at once has room for one of these.
const LARGEST_BODY: u64 = 16 << 20;
/// An empty state file is not much smaller.
const SMALLEST_STATE: u64 = 4 << 20;

pub fn read(
    root: &Path,
    text: Option<&str>,
    flags: Flags,
    environment: Environment,
    system_zone: Result<TimeZone, String>,
) -> Result<Settings, Vec<Diagnostic>> {
    let mut findings = Findings::new(FILE);
    let empty = Node { line: 0, column: 0, value: Yaml::Map(Vec::new()) };
    // A file of comments alone says as much as no file.
    let text =
        text.filter(|text| text.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')));
    let mut environment = environment;
    let node = match text.map(|text| node::parse(FILE, text)) {
        None => empty,
        Some(Ok(node)) => {
            environment.grants.taken = asked(&node);
            node.all_filled(&environment, &mut findings)
        }
        Some(Err(finding)) => return Err(vec![finding]),
    };
    let settings = build(root, &node, flags, environment, system_zone, &mut findings);
    let doubts = findings.finish()?;
    let settings = settings.ok_or_else(|| vec![Diagnostic::error(FILE, 0, 0, "the settings cannot be read")])?;
    Ok(Settings { doubts, ..settings })
}

/// The names that the texts of a file are to be filled in with.
fn asked(node: &Node) -> BTreeSet<String> {
    match &node.value {
        Yaml::Text(text) => names(text),
        Yaml::List(items) => items.iter().flat_map(asked).collect(),
        Yaml::Map(entries) => entries.iter().flat_map(|(_, value)| asked(value)).collect(),
        _ => BTreeSet::new(),
    }
}

fn build(
    root: &Path,
    node: &Node,
    flags: Flags,
    mut environment: Environment,
    system_zone: Result<TimeZone, String>,
    findings: &mut Findings,
) -> Option<Settings> {
    let mut fields = Fields::of(node, "postrider.yaml", &KEYS, findings)?;
    let zone = match fields.take("timezone") {
        Some(node) => zone(node, findings),
        None => system_zone.unwrap_or_else(|why| unknown_zone(node, why, findings)),
    };
    let country = fields.take("country").and_then(|node| country(node, findings));
    let on_failure = fields.text("on_failure", findings);
    let store = store(node, &fields, flags.store, findings);
    let (listen, admin, admin_hosts) = sides(node, &fields, (flags.listen, flags.admin), findings);
    let public_url = fields.take("public_url").and_then(|node| {
        let text = node.word("public_url", findings)?;
        web_address(node, "public_url", &text, findings)
    });
    let allowed = allowed(fields.take("http"), findings);
    let trusted_proxies = networks("trusted_proxies", fields.take("trusted_proxies"), findings);
    let language = fields.parsed("locale", language, findings).unwrap_or_else(|| "en".into());
    let mut accounts = accounts(fields.take("accounts"), &language, findings);
    for account in &mut accounts {
        account.zone.clone_from(&zone);
        account.public_url.clone_from(&public_url);
        if flags.sandbox {
            account.go_nowhere();
        }
    }
    let default_account = default(fields.take("default_account"), &accounts, findings);
    let editable = dashboard(fields.take("dashboard"), findings);
    let (limits, keep) = (limits(fields.take("limits"), findings), keep(fields.take("keep"), findings));
    environment.grants.listed = fields.take("secrets").map(|node| secrets(node, &environment, findings));
    Some(Settings {
        sandbox: flags.sandbox,
        adopt: flags.adopt,
        zone,
        country,
        on_failure,
        store: root.join(store),
        listen: listen?,
        admin: admin?,
        admin_hosts,
        public_url,
        trusted_proxies,
        allowed,
        default_account,
        accounts,
        limits,
        keep,
        editable,
        environment,
        doubts: Vec::new(),
        said_by: Vec::new(),
    })
}

/// A key that a flag wins over, with where it is written.
fn flagged<'a>(
    fields: &Fields<'a>,
    key: &str,
    (flag, default): (Option<String>, &str),
    findings: &mut Findings,
) -> (String, Option<&'a Node>) {
    let node = fields.take(key);
    let written = node.and_then(|node| node.word(key, findings));
    (flag.or(written).unwrap_or_else(|| default.into()), node)
}

fn store(node: &Node, fields: &Fields<'_>, flag: Option<String>, findings: &mut Findings) -> String {
    let (store, written) = flagged(fields, "store", (flag, ".postrider/state.db"), findings);
    if store.contains("://") || store == ":memory:" {
        findings
            .at(written.unwrap_or(node), "`store` is the path of a file; no other store is supported yet")
            .hint("such as `store: .postrider/state.db`");
    }
    store
}

/// The public side, the private side, and what that may be called.
fn sides(
    node: &Node,
    fields: &Fields<'_>,
    (listen, admin): (Option<String>, Option<String>),
    findings: &mut Findings,
) -> (Option<SocketAddr>, Option<SocketAddr>, Vec<String>) {
    let listen = flagged(fields, "listen", (listen, "127.0.0.1:8700"), findings);
    let listen = socket("listen", &listen.0, listen.1, findings);
    let admin = flagged(fields, "admin", (admin, "127.0.0.1:8701"), findings);
    let admin = socket("admin", &admin.0, admin.1, findings);
    let admin_hosts = hosts(fields.take("admin_hosts"), findings);
    if admin.is_some_and(|admin| !admin.ip().is_loopback()) && admin_hosts.as_ref().is_some_and(Vec::is_empty) {
        findings
            .at(node, "`admin` is open to others, so `admin_hosts` must name how it may be called")
            .hint("add `admin_hosts: [postrider.example.com]`, or leave `admin` on 127.0.0.1");
    }
    if listen.zip(admin).is_some_and(|(listen, admin)| is_one_place(listen, admin)) {
        findings
            .at(fields.take("admin").unwrap_or(node), "`admin` and `listen` are the same address")
            .hint("give them two ports: the public side must not show what the private one does");
    }
    (listen, admin, admin_hosts.unwrap_or_default())
}

/// Whether two sides would come in each other's way. Port 0 is any that is free.
fn is_one_place(one: SocketAddr, other: SocketAddr) -> bool {
    let same_host = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    same_host && one.port() == other.port() && one.port() != 0
}

fn unknown_zone(node: &Node, why: String, findings: &mut Findings) -> TimeZone {
    findings.at(node, why).hint("set it to one such as `Europe/Berlin`, or write `timezone:` in postrider.yaml");
    TimeZone::UTC
}

fn zone(node: &Node, findings: &mut Findings) -> TimeZone {
    let name = node.word("timezone", findings).unwrap_or_default();
    TimeZone::get(&name).unwrap_or_else(|_| {
        findings.at(node, format!("there is no time zone `{name}`")).hint("write one such as `Europe/Berlin` or `UTC`");
        TimeZone::UTC
    })
}

fn socket(key: &str, text: &str, node: Option<&Node>, findings: &mut Findings) -> Option<SocketAddr> {
    let address = text.parse().or_else(|_| text.replacen("localhost", "127.0.0.1", 1).parse());
    if address.is_err() {
        let nowhere = Node { line: 0, column: 0, value: Yaml::Null };
        findings
            .at(node.unwrap_or(&nowhere), format!("`{key}`: `{text}` is no address to listen on"))
            .hint("write one such as `127.0.0.1:8700`");
    }
    address.ok()
}

/// None when one of them is no name.
fn hosts(node: Option<&Node>, findings: &mut Findings) -> Option<Vec<String>> {
    let Some(node) = node else { return Some(Vec::new()) };
    let items = node.list("admin_hosts", findings)?;
    items.iter().map(|item| item.parsed("admin_hosts", host, findings)).collect()
}

/// A host's name as browsers send it.
fn host(text: &str) -> Result<String, String> {
    let sound = |name: &str| {
        let letter = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
        name.split('.').all(|label| !label.is_empty() && label.bytes().all(letter))
    };
    let bare = text.parse::<Ipv6Addr>().map_or_else(|_| text.to_owned(), |address| format!("[{address}]"));
    match url::Host::parse(&bare) {
        Ok(url::Host::Domain(name)) if sound(&name) => Ok(name),
        Ok(url::Host::Ipv4(address)) if address.to_string() == text => Ok(address.to_string()),
        Ok(url::Host::Ipv6(address)) => Ok(format!("[{address}]")),
        _ => Err(format!(
            "`{text}` is no host's name; write one such as `postrider.example.com`, without scheme and port"
        )),
    }
}

/// Which flows may have which names of the environment.
fn secrets(node: &Node, environment: &Environment, findings: &mut Findings) -> BTreeMap<String, FlowNames> {
    let Yaml::Map(entries) = &node.value else {
        let hint = "write `secrets: { CRM_TOKEN: [crm/*] }`";
        findings.at(node, "`secrets` is a map of names to the flows that may have them").hint(hint);
        return BTreeMap::new();
    };
    let mut listed = BTreeMap::new();
    for (key, node) in entries {
        let name = key.as_text().unwrap_or_default();
        if !is_name(name) {
            findings.at(key, format!("`{name}` is no name")).hint("write letters, digits and `_`");
        } else if environment.grants.is_for_none(name) {
            let message = format!("`{name}` is for no flow, for Postrider itself is set up with it");
            findings.warn(key, message).hint("remove it, and give the flows a name of their own in .env");
        }
        listed.insert(name.to_owned(), flows(node, findings));
    }
    listed
}

/// The language of a locale such as `de` or `pt-BR`.
fn language(text: &str) -> Result<String, String> {
    let mut parts = text.split(['-', '_']);
    let language = parts.next().unwrap_or_default().to_ascii_lowercase();
    let sound = |part: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    match sound(&language, 2..=3) && parts.all(|part| sound(part, 2..=8)) {
        true => Ok(language),
        false => Err(format!("`{text}` is no locale; write one such as `de` or `pt-BR`")),
    }
}

fn accounts(node: Option<&Node>, language: &str, findings: &mut Findings) -> Vec<AccountSettings> {
    let sandbox = || {
        let opt_out = Some(OptOut::usual(language));
        vec![AccountSettings { opt_out, ..AccountSettings::new(sandbox::NAME, sandbox::standing_for(None)) }]
    };
    let Some(node) = node else { return sandbox() };
    let Yaml::Map(entries) = &node.value else {
        node.wrong("accounts", "a map of names to accounts", findings);
        return sandbox();
    };
    if entries.is_empty() {
        return sandbox();
    }
    let accounts: Vec<AccountSettings> =
        entries.iter().filter_map(|(name, node)| account(name, node, language, findings)).collect();
    // A name that could not be read is complained about already; here it only has to be there.
    let exists = |name: &str| entries.iter().any(|(key, _)| key.as_text() == Some(name));
    for (name, node) in entries {
        let find = |name: &str| accounts.iter().find(|account| account.name == name);
        let Some(account) = name.as_text().and_then(find) else { continue };
        let Some(first) = &account.fallback else { continue };
        if !exists(first) {
            let place = node.value_of("fallback").unwrap_or(node);
            let finding = findings.at(place, format!("`fallback`: there is no account `{first}`"));
            match nearest(first, accounts.iter().map(|account| account.name.as_str())) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint("add it under `accounts:`"),
            }
            continue;
        }
        let mut next = Some(first);
        let mut steps = 0;
        while let Some(name) = next {
            steps += 1;
            if *name == account.name || steps > accounts.len() {
                findings
                    .at(node, format!("the `fallback` of `{}` leads back to it", account.name))
                    .hint("messages would go round in circles; let the last account in the row have none");
                break;
            }
            next = find(name).and_then(|account| account.fallback.as_ref());
        }
    }
    accounts
}

fn allowed(node: Option<&Node>, findings: &mut Findings) -> Vec<Allowed> {
    let Some(node) = node else { return Vec::new() };
    let Some(fields) = Fields::of(node, "`http`", &["allow"], findings) else { return Vec::new() };
    let items = fields.take("allow").and_then(|node| node.list("allow", findings)).unwrap_or_default();
    items.iter().filter_map(|item| item.parsed("allow", parse_allowed, findings)).collect()
}

fn default(node: Option<&Node>, accounts: &[AccountSettings], findings: &mut Findings) -> Option<String> {
    let Some(node) = node else {
        return match accounts {
            [only] => Some(only.name.clone()),
            _ => None,
        };
    };
    let name = node.text("default_account", findings)?;
    if accounts.iter().any(|account| account.name == name) {
        return Some(name.to_owned());
    }
    let finding = findings.at(node, format!("there is no account `{name}`"));
    match nearest(name, accounts.iter().map(|account| account.name.as_str())) {
        Some(near) => finding.hint(format!("did you mean `{near}`?")),
        None => finding.hint("add it under `accounts:`"),
    }
    None
}

/// Whether flows may be edited in the browser.
fn dashboard(node: Option<&Node>, findings: &mut Findings) -> bool {
    let Some(node) = node else { return true };
    let Some(mut fields) = Fields::of(node, "`dashboard`", &["edit"], findings) else { return true };
    fields.flag("edit", findings).unwrap_or(true)
}

fn keep(node: Option<&Node>, findings: &mut Findings) -> Keep {
    let default = Keep::default();
    let Some(node) = node else { return default };
    let Some(mut fields) = Fields::of(node, "`keep`", &["runs", "messages", "size"], findings) else { return default };
    let size = |text: &str| match parse_bytes(text)? {
        size if size < SMALLEST_STATE => Err(format!("{} MiB are the least", SMALLEST_STATE >> 20)),
        size => Ok(size),
    };
    Keep {
        runs: fields.parsed("runs", parse_duration, findings).unwrap_or(default.runs),
        messages: fields.parsed("messages", parse_duration, findings).unwrap_or(default.messages),
        size: fields.parsed("size", size, findings).unwrap_or(default.size),
    }
}

fn limits(node: Option<&Node>, findings: &mut Findings) -> Limits {
    let default = Limits::default();
    let Some(node) = node else { return default };
    let keys = ["body", "cpu_turn", "cpu_run", "memory", "journal", "journal_bytes", "backlog"];
    let Some(mut fields) = Fields::of(node, "`limits`", &keys, findings) else { return default };
    let positive = |text: &str| match parse_bytes(text)? {
        0 => Err("it must be more than nothing".to_owned()),
        number => Ok(number),
    };
    let some_time = |text: &str| match parse_duration(text)? {
        span if span.is_zero() => Err("it must be more than nothing".to_owned()),
        span => Ok(span),
    };
    let some_body = |text: &str| match positive(text)? {
        bytes if bytes > LARGEST_BODY => Err(format!("{} MiB are the most", LARGEST_BODY >> 20)),
        bytes => Ok(bytes),
    };
    Limits {
        body: fields.parsed("body", some_body, findings).unwrap_or(default.body),
        cpu_turn: fields.parsed("cpu_turn", some_time, findings).unwrap_or(default.cpu_turn),
        cpu_run: fields.parsed("cpu_run", some_time, findings).unwrap_or(default.cpu_run),
        memory: fields.parsed("memory", positive, findings).unwrap_or(default.memory),
        journal: fields
            .parsed("journal", positive, findings)
            .map_or(default.journal, |number| u32::try_from(number).unwrap_or(u32::MAX)),
        journal_bytes: fields.parsed("journal_bytes", positive, findings).unwrap_or(default.journal_bytes),
        backlog: fields.parsed("backlog", positive, findings).unwrap_or(default.backlog),
    }
}
