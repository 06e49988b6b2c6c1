//! A flow's YAML file: from text to a checked flow, with all findings at once.

pub mod fill;
pub mod grants;
mod message;
pub mod net;
pub mod node;
mod parts;
pub mod share;
pub mod shown;
pub mod strength;
mod timed;
mod verify;
mod watch;
mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use parts::retry;
pub use timed::named_zone;

use super::{Concurrency, Flow, Trigger};
use crate::few::Few;
use crate::model::diagnostic::Diagnostic;
use crate::model::phone::Country;
use crate::model::policy::Retry;
use crate::model::run::WhenFull;
use crate::model::walls::Who;
use crate::script::{Main, Program};
use fill::Environment;
use node::{Fields, Findings, Node, Yaml};
use share::Share;

/// Everything that a flow version is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Path below the workspace.
    pub file: Arc<str>,
    /// Text of the flow file.
    pub yaml: Arc<str>,
    /// Texts of the script files that it uses, by path below the workspace.
    pub scripts: Few<Arc<str>>,
    /// Its constants, filled in: whatever becomes of the environment, its runs go on with these.
    #[serde(default)]
    pub params: Option<serde_json::Value>,
    /// The zone that it inherits, for the same reason.
    #[serde(default)]
    pub zone: Option<String>,
    /// The country that it inherits, by its two letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
}

/// What a flow file is read against.
pub struct Surroundings<'a> {
    /// Text of a file below `scripts/`, by its path there.
    pub script: &'a dyn Fn(&str) -> Option<Arc<str>>,
    /// What the settings say.
    pub home: Home<'a>,
    /// Constants that were filled in before.
    pub params: Option<&'a serde_json::Value>,
}

/// What flows take from the settings.
#[derive(Clone, Copy)]
pub struct Home<'a> {
    /// Values for `${NAME}` and `secrets:`.
    pub environment: &'a Environment,
    /// Zone of flows that name none.
    pub zone: &'a TimeZone,
    /// Country of flows that name none.
    pub country: Option<Country>,
}

const KEYS: [&str; 15] = [
    "name",
    "description",
    "enabled",
    "timezone",
    "country",
    "triggers",
    "script",
    "run",
    "params",
    "secrets",
    "account",
    "concurrency",
    "retry",
    "on_failure",
    "expect",
];

/// A run whose file says nothing of it is not tried again.
const ONCE: Retry = Retry { attempts: 1, first: Duration::from_secs(1), max: Duration::from_secs(300) };

/// Reads a flow.
///
/// # Errors
/// All findings in the file and its scripts.
pub fn read(file: &Arc<str>, yaml: &Arc<str>, around: &Surroundings<'_>) -> Result<Flow, Vec<Diagnostic>> {
    let mut findings = Findings::new(file);
    let root = match node::parse(file, yaml) {
        Ok(root) => root,
        Err(finding) => return Err(vec![finding]),
    };
    let flow = build(file, yaml, &root, around, &mut findings);
    match (flow, findings.finish()) {
        (Some(flow), Ok(doubts)) => Ok(Flow { doubts, ..flow }),
        (_, Err(list)) => Err(list),
        (None, Ok(_)) => Err(vec![Diagnostic::error(file, 0, 0, "the flow cannot be read")]),
    }
}

fn build(
    file: &Arc<str>,
    yaml: &Arc<str>,
    root: &Node,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<Flow> {
    let mut fields = Fields::of(root, "a flow", &KEYS, findings)?;
    let name = parts::name(fields.take("name"), file, findings);
    // Without a good name it is nobody, who has no more than anybody.
    let name_or_none: Arc<str> = name.as_deref().unwrap_or_default().into();
    let author = Who::new(name_or_none, file, Vec::new());
    let share = Share::of(around.home.environment, &author);
    let description = fields.text("description", findings);
    let enabled = fields.flag("enabled", findings).unwrap_or(true);
    let zone = timed::named_zone(fields.take("timezone"), findings).unwrap_or_else(|| around.home.zone.clone());
    let country = fields.take("country").and_then(|node| country(node, findings)).or(around.home.country);
    let account = fields.text("account", findings);
    let triggers = parts::triggers(fields.take("triggers"), &share, (&zone, country), findings);
    let params = match around.params {
        Some(filled) => filled.clone(),
        None => parts::params(fields.take("params"), &share, findings),
    };
    let secrets = parts::secrets(fields.take("secrets"), &share, findings);
    let holds = share.given();
    let retry = parts::retry(fields.take("retry"), ONCE, findings);
    let on_failure = fields.text("on_failure", findings);
    let expect = parts::expect(fields.take("expect"), findings);
    let program = program(file, yaml, root, &mut fields, around, findings)?;
    let concurrency = limited(&fields, &program, findings);
    let content = content(file, yaml, &program, &params, around);
    let version = version(&content, &params, around).into();
    let name: Arc<str> = name?.into();
    let listens = triggers.iter().filter_map(Trigger::message).map(|on| on.account.clone()).collect();
    Some(Flow {
        who: Arc::new(Who::new(name.clone(), file, listens)),
        name,
        file: file.clone(),
        description,
        enabled,
        zone,
        country,
        account,
        triggers,
        params,
        secrets: Arc::new(secrets),
        veil: OnceLock::new(),
        holds,
        retry,
        on_failure,
        concurrency,
        expect,
        program,
        version,
        content,
        doubts: Vec::new(),
    })
}

/// How many runs may be under way; warns of a script that holds its place while it waits.
fn limited(fields: &Fields<'_>, program: &Program, findings: &mut Findings) -> Option<Concurrency> {
    let node = fields.take("concurrency")?;
    let concurrency = parts::concurrency(node, findings)?;
    if let Some((call, line)) = program.first_wait() {
        let (what, other) = match concurrency.when_full {
            WhenFull::Queue => ("others wait for its run meanwhile", ", or `when_full: skip`"),
            WhenFull::Skip => ("what comes meanwhile is passed over", ", or `when_full: queue`"),
            WhenFull::Replace => ("a newer run ends it meanwhile", ", or `when_full: queue`"),
        };
        let message = format!("`{call}` at line {line} waits, and {what}");
        findings.warn(node, message).hint(format!("that may be meant; else a larger `limit`{other}"));
    }
    Some(concurrency)
}

/// Reads a country. Some readers of YAML take Norway for a denial.
pub fn country(node: &Node, findings: &mut Findings) -> Option<Country> {
    match node.value {
        Yaml::Bool(false) => Country::parse("NO").ok(),
        _ => node.parsed("country", Country::parse, findings),
    }
}

/// All that the flow is made of.
fn content(
    file: &Arc<str>,
    yaml: &Arc<str>,
    program: &Program,
    params: &serde_json::Value,
    around: &Surroundings<'_>,
) -> Content {
    let mut scripts = BTreeMap::new();
    for (name, text) in program.sources() {
        scripts.insert(format!("scripts/{name}.rhai"), text);
    }
    let script = program.file();
    if let Some(path) = script.strip_prefix("scripts/")
        && let Some(text) = (around.script)(path)
    {
        scripts.insert(script.to_owned(), text);
    }
    let zone = around.home.zone.iana_name().map(str::to_owned);
    let country = around.home.country.map(|country| country.name().to_owned());
    let scripts = scripts.into();
    Content { file: file.clone(), yaml: yaml.clone(), scripts, params: Some(params.clone()), zone, country }
}

/// The version of a flow is the hash of all it is made of: its texts, its filled-in constants
/// and the zone and the country it inherits.
fn version(content: &Content, params: &serde_json::Value, around: &Surroundings<'_>) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    add(&content.file);
    add(&content.yaml);
    for (path, text) in content.scripts.iter() {
        add(path);
        add(text);
    }
    add(&params.to_string());
    add(around.home.zone.iana_name().unwrap_or_default());
    if let Some(country) = around.home.country {
        add(country.name());
    }
    hex::encode(&hash.finalize()[..16])
}

fn program(
    file: &Arc<str>,
    yaml: &str,
    root: &Node,
    fields: &mut Fields<'_>,
    around: &Surroundings<'_>,
    findings: &mut Findings,
) -> Option<Program> {
    let load = |name: &str| (around.script)(&format!("{name}.rhai"));
    let (file, text, indent): (Arc<str>, Arc<str>, u32) = match (fields.take("script"), fields.take("run")) {
        (Some(script), None) => {
            let path = script.text("script", findings)?;
            let sound = path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
            let text = sound.then(|| (around.script)(path)).flatten();
            let Some(text) = text else {
                let hint = format!("create scripts/{path}, or write the script here under `run: |`");
                findings.at(script, format!("there is no script `{path}`")).hint(hint);
                return None;
            };
            (format!("scripts/{path}").into(), text, 0)
        }
        (None, Some(run)) => {
            let text = run.word("run", findings)?;
            match in_place(yaml, root, run, &text) {
                Some((text, indent)) => (file.clone(), text.into(), indent),
                None => {
                    findings
                        .at(run, "YAML makes one line of these lines, and the script is another one than it looks")
                        .hint("write `run: |` and the script below it, indented");
                    return None;
                }
            }
        }
        (Some(_), Some(run)) => {
            findings.at(run, "a flow has either `script` or `run`, not both").hint("remove one of them");
            return None;
        }
        (None, None) => {
            findings
                .at(root, "the flow has no script")
                .hint("add `run: |` with the script below it, or `script: name.rhai`");
            return None;
        }
    };
    match Program::compile(Main { file: &file, text: &text, indent }, &load) {
        Ok(program) => Some(program),
        Err(list) => {
            findings.extend(list);
            None
        }
    }
}

/// A script inside the YAML file with as many empty lines before it as stand above it there, and
/// by how much it is indented: so its places are the file's. None for one of several lines that
/// YAML folds into one.
fn in_place(yaml: &str, root: &Node, run: &Node, text: &str) -> Option<(String, u32)> {
    let line = |number: u32| yaml.lines().nth(number.saturating_sub(1) as usize).unwrap_or_default();
    let Yaml::Map(entries) = &root.value else { return None };
    let (key, _) = entries.iter().find(|(key, _)| key.as_text() == Some("run"))?;
    let behind: String = line(key.line).chars().skip(key.column.saturating_sub(1) as usize).collect();
    let behind = behind.split_once(':').map_or("", |(_, behind)| behind).trim();
    if behind.starts_with('|') {
        let body = yaml.lines().skip(key.line as usize).find(|line| !line.trim().is_empty()).unwrap_or_default();
        let indent = body.len() - body.trim_start_matches(' ').len();
        return Some((format!("{}{text}", "\n".repeat(key.line as usize)), indent as u32));
    }
    let own: String = line(run.line).chars().skip(run.column.saturating_sub(1) as usize).collect();
    let whole = match own.chars().next() {
        Some(quote @ ('"' | '\'')) => own[1..].contains(quote),
        _ => own.contains(text.trim()),
    };
    let above = "\n".repeat(run.line.saturating_sub(1) as usize);
    whole.then(|| (format!("{above}{text}"), run.column.saturating_sub(1)))
}

/// Builds a flow version again from what was kept of it, to be live.
///
/// # Errors
/// All findings: a version that once was accepted can only fail when its environment changed.
pub fn rebuild(content: &Content, home: Home<'_>) -> Result<Flow, Vec<Diagnostic>> {
    let script = |path: &str| content.scripts.get(&format!("scripts/{path}")).cloned();
    read(&content.file, &content.yaml, &Surroundings { script: &script, home, params: None })
}

/// Builds a flow version again for the runs that are pinned to it: with the constants, the zone and the
/// country that it had, and whatever is wrong today with what a run does not need, such as a secret of a
/// webhook.
///
/// # Errors
/// All findings, when there is no script to run.
pub fn revive(content: &Content, home: Home<'_>) -> Result<Flow, Vec<Diagnostic>> {
    let script = |path: &str| content.scripts.get(&format!("scripts/{path}")).cloned();
    let zone = content.zone.as_deref().and_then(|name| TimeZone::get(name).ok());
    let home = Home {
        zone: zone.as_ref().unwrap_or(home.zone),
        country: content.country.as_deref().and_then(|name| Country::parse(name).ok()),
        ..home
    };
    let around = Surroundings { script: &script, home, params: content.params.as_ref() };
    let root = node::parse(&content.file, &content.yaml).map_err(|finding| vec![finding])?;
    let mut findings = Findings::new(&content.file);
    match (build(&content.file, &content.yaml, &root, &around, &mut findings), findings.finish()) {
        (Some(flow), _) => Ok(flow),
        (None, Err(list)) => Err(list),
        (None, Ok(_)) => Err(vec![Diagnostic::error(&content.file, 0, 0, "the flow cannot be read")]),
    }
}
