//! The set of flows that is live. Readers hold a snapshot; a new set replaces it whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::file::fill::Environment;
use super::file::{self, Surroundings};
use super::{Flow, Trigger, Webhook};
use crate::model::diagnostic::Diagnostic;
use crate::script::Accounts;

/// A set of flows.
pub struct Catalog {
    /// The good ones, by name.
    pub flows: BTreeMap<Arc<str>, Arc<Flow>>,
    /// What is wrong with the others.
    pub findings: Vec<Diagnostic>,
    /// The accounts that the flows send from.
    pub accounts: Arc<Accounts>,
    /// Hash over all versions.
    pub hash: String,
    routes: matchit::Router<Vec<Route>>,
}

/// One webhook trigger of one flow.
#[derive(Clone)]
pub struct Route {
    /// The flow.
    pub flow: Arc<Flow>,
    /// Which of its triggers.
    pub trigger: usize,
}

impl Route {
    /// The trigger itself.
    pub fn webhook(&self) -> &Webhook {
        let Trigger::Webhook(webhook) = &self.flow.triggers[self.trigger];
        webhook
    }
}

/// What a path leads to.
pub struct Matched<'a> {
    /// The webhooks with this path, one for each method at most.
    pub routes: &'a [Route],
    /// The path's parameters.
    pub params: Vec<(String, String)>,
}

impl Catalog {
    /// Reads all flows of a workspace. Broken ones are left out, with findings.
    pub fn load(root: &Path, environment: &Environment, zone: &TimeZone, accounts: Arc<Accounts>) -> Self {
        let mut findings = Vec::new();
        let mut flows = Vec::new();
        let scripts = root.join("scripts");
        let script = |path: &str| std::fs::read_to_string(scripts.join(path)).ok().map(Arc::from);
        let around = Surroundings { script: &script, environment, zone };
        for path in flow_files(&root.join("flows"), "flows", &mut findings) {
            match std::fs::read_to_string(root.join(&path)) {
                Ok(yaml) => match file::read(&path, &yaml.into(), &around) {
                    Ok(flow) => flows.push(flow),
                    Err(list) => findings.extend(list),
                },
                Err(error) => {
                    findings.push(Diagnostic::error(&path, 0, 0, format!("the file cannot be read: {error}")))
                }
            }
        }
        Self::of(flows, findings, accounts)
    }

    /// The set of these flows. Of two that collide the later one is left out, with a finding.
    pub fn of(flows: Vec<Flow>, mut findings: Vec<Diagnostic>, accounts: Arc<Accounts>) -> Self {
        let mut set: BTreeMap<Arc<str>, Arc<Flow>> = BTreeMap::new();
        let mut paths: BTreeMap<String, Vec<Route>> = BTreeMap::new();
        let mut routes = matchit::Router::new();
        for flow in flows {
            let refuse = |message: String, hint: &str| Diagnostic::error(&flow.file, 0, 0, message).with_hint(hint);
            if let Some(other) = set.get(&flow.name) {
                let message = format!("{} has the name `{}` already", other.file, flow.name);
                findings.push(refuse(message, "give one of them another `name:`"));
                continue;
            }
            if let Some(account) = &flow.account
                && !accounts.by_name.contains_key(account)
            {
                let known: Vec<_> = accounts.by_name.keys().map(String::as_str).collect();
                let message = format!("there is no account `{account}` in postrider.yaml");
                findings.push(refuse(message, &format!("the accounts are {}", known.join(", "))));
                continue;
            }
            if let Some(finding) = collision(&flow, &paths, &mut routes) {
                findings.push(finding);
                continue;
            }
            let flow = Arc::new(flow);
            for (trigger, Trigger::Webhook(webhook)) in flow.triggers.iter().enumerate().filter(|_| flow.enabled) {
                paths.entry(webhook.path.clone()).or_default().push(Route { flow: flow.clone(), trigger });
            }
            set.insert(flow.name.clone(), flow);
        }
        for flow in set.values() {
            if let Some(next) = flow.on_failure.as_deref().filter(|next| !set.contains_key(*next)) {
                let mut finding =
                    Diagnostic::error(&flow.file, 0, 0, format!("`on_failure`: there is no flow `{next}`"));
                finding.severity = crate::model::diagnostic::Severity::Warning;
                findings.push(finding);
            }
        }
        let mut routes = matchit::Router::new();
        for (path, list) in paths {
            // Collisions were found above.
            let _ = routes.insert(path, list);
        }
        let mut hash = Sha256::new();
        for flow in set.values() {
            hash.update(flow.version.as_bytes());
        }
        let hash = hex::encode(&hash.finalize()[..8]);
        Self { flows: set, findings, accounts, hash, routes }
    }

    /// A flow by its name.
    pub fn flow(&self, name: &str) -> Option<&Arc<Flow>> {
        self.flows.get(name)
    }

    /// What a path below `/hooks` leads to.
    pub fn route(&self, path: &str) -> Option<Matched<'_>> {
        let found = self.routes.at(path).ok()?;
        let params = found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Matched { routes: found.value, params })
    }
}

/// A webhook that another flow has already, or that cannot be told from another's.
fn collision(flow: &Flow, paths: &BTreeMap<String, Vec<Route>>, probe: &mut matchit::Router<()>) -> Option<Diagnostic> {
    let mut own: BTreeSet<(&str, &str)> = BTreeSet::new();
    for Trigger::Webhook(webhook) in &flow.triggers {
        for method in &webhook.methods {
            let taken = paths.get(&webhook.path).into_iter().flatten();
            let other =
                taken.filter(|route| route.webhook().methods.contains(method)).map(|route| &route.flow.file).next();
            if other.is_some() || !own.insert((webhook.path.as_str(), method.as_str())) {
                let file = other.map_or("this file", String::as_str);
                let message = format!("{file} has the webhook {method} {} already", webhook.path);
                return Some(Diagnostic::error(&flow.file, 0, 0, message).with_hint("use another path"));
            }
        }
        if flow.enabled
            && !paths.contains_key(&webhook.path)
            && let Err(matchit::InsertError::Conflict { with }) = probe.insert(webhook.path.clone(), ())
            && with != webhook.path
        {
            let message = format!("the webhook {} cannot be told from {with}", webhook.path);
            return Some(
                Diagnostic::error(&flow.file, 0, 0, message)
                    .with_hint("name the parameters alike, or use another path"),
            );
        }
    }
    None
}

fn flow_files(folder: &Path, path: &str, findings: &mut Vec<Diagnostic>) -> Vec<String> {
    let mut files = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return files,
        Err(error) => {
            findings.push(Diagnostic::error(path, 0, 0, format!("the folder cannot be read: {error}")));
            return files;
        }
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let below = format!("{path}/{name}");
        if entry.path().is_dir() {
            files.extend(flow_files(&entry.path(), &below, findings));
        } else if name.ends_with(".yaml") && !name.ends_with(".test.yaml") {
            files.push(below);
        }
    }
    files.sort();
    files
}
