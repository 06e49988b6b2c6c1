//! The set of flows that is live. Readers hold a snapshot; a new set replaces it whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use url::Url;

use super::file::Home;
use super::file::fill::Environment;
use super::routes::{Matched, Routes};
use super::webhook::{Way, Webhook};
use super::{Flow, OnMessage, Trigger};
use crate::model::accounts::{Accounts, unknown};
use crate::model::diagnostic::Diagnostic;
use crate::model::phone::Country;
use crate::model::policy::{Keep, Limits};

/// What settings say that flows stand on.
pub struct Ground {
    /// The accounts that they send from.
    pub accounts: Arc<Accounts>,
    /// Values for `${NAME}` and `secrets:`.
    pub environment: Environment,
    /// Zone of flows that name none.
    pub zone: TimeZone,
    /// The country of flows that name none.
    pub country: Option<Country>,
    /// The flow that hears of what goes wrong where no other is named.
    pub on_failure: Option<String>,
    /// Bounds.
    pub limits: Limits,
    /// How long what is over is kept.
    pub keep: Keep,
    /// Whether other computers can reach the public side.
    pub exposed: bool,
    /// What the world calls the public side.
    pub public_url: Option<Url>,
    /// Proxies that are believed when they say whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether flows may be edited in the browser.
    pub editable: bool,
    /// Warnings about the settings.
    pub doubts: Vec<Diagnostic>,
}

/// A set of flows.
pub struct Catalog {
    /// Those that are live, by name.
    pub flows: BTreeMap<Arc<str>, Arc<Flow>>,
    /// Those of them that are not what their files say now, with what is wrong there.
    pub stale: BTreeMap<Arc<str>, Vec<Diagnostic>>,
    /// Flows that are known and cannot be built today: what is kept of them stays.
    pub withheld: BTreeSet<Arc<str>>,
    /// Everything that is wrong, with live flows and others.
    pub findings: Vec<Diagnostic>,
    /// What they stand on.
    pub ground: Arc<Ground>,
    /// Hash over all versions.
    pub hash: String,
    routes: Routes,
    /// Triggers by what people write.
    pub listeners: Vec<(Arc<Flow>, Arc<OnMessage>)>,
}

/// A flow that wants to be in the set.
#[derive(Clone)]
pub struct Candidate {
    /// The flow.
    pub flow: Arc<Flow>,
    /// Who comes first when two cannot both be there.
    pub standing: Standing,
    /// What is wrong with its file, when this is an earlier version of it.
    pub wrong: Vec<Diagnostic>,
    /// What was live before.
    pub before: Option<Arc<Flow>>,
}

/// Who comes first when two flows cannot both be there: what is live cannot be pushed out by what
/// is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Live, and as it was.
    Same,
    /// Live, and changed.
    Changed,
    /// Not live yet.
    New,
    /// Live, and its file is away.
    Away,
}

impl Ground {
    /// What flows take from it.
    pub fn home(&self) -> Home<'_> {
        Home { environment: &self.environment, zone: &self.zone, country: self.country }
    }
}

impl Catalog {
    /// The set of these flows. Of two that collide one is left out, with a finding; if it was live
    /// in another version, that one stays.
    pub fn of(candidates: Vec<Candidate>, findings: Vec<Diagnostic>, ground: Arc<Ground>) -> Self {
        let mut set = Self::settled(candidates, &findings, &ground);
        set.findings.sort_by(|a, b| a.file.cmp(&b.file));
        // A folder that is away is told once, and not for each of its flows.
        let mut told = HashSet::new();
        set.findings.retain(|finding| told.insert((finding.file.clone(), finding.line, finding.message.clone())));
        set.look_at_failures();
        set.look_at_listeners();
        set.look_at_calls();
        set.look_at_doors();
        set.look_at_senders();
        let mut hash = Sha256::new();
        for flow in set.flows.values() {
            hash.update(flow.version.as_bytes());
        }
        set.hash = hex::encode(&hash.finalize()[..8]);
        set
    }

    /// A changed flow that is refused stays as it was, and so outranks the changed ones: the
    /// set is made again until none falls back any more.
    fn settled(mut candidates: Vec<Candidate>, findings: &[Diagnostic], ground: &Arc<Ground>) -> Self {
        loop {
            // Whoever calls itself by the place of another file does not keep that one out.
            candidates.sort_by_cached_key(|Candidate { flow, standing, .. }| {
                (*standing, *flow.name != flow.who.place, flow.file.clone())
            });
            let mut set = Self::empty(findings.to_vec(), ground.clone());
            let fallen: Vec<Candidate> =
                candidates.iter().filter_map(|candidate| set.place(candidate.clone())).collect();
            if fallen.is_empty() {
                return set;
            }
            let files: BTreeSet<Arc<str>> = fallen.iter().map(|fallen| fallen.flow.file.clone()).collect();
            candidates.retain(|candidate| !files.contains(&candidate.flow.file));
            candidates.extend(fallen);
        }
    }

    /// Warns of flows that would hear of failures and are not there.
    fn look_at_failures(&mut self) {
        if let Some(next) = self.ground.on_failure.as_deref().filter(|next| !self.flows.contains_key(*next)) {
            let message = format!("`on_failure`: there is no flow `{next}`");
            self.findings.push(Diagnostic::warning("postrider.yaml", 0, 0, message));
        }
        for flow in self.flows.values() {
            if let Some(next) = flow.on_failure.as_deref().filter(|next| !self.flows.contains_key(*next)) {
                let message = format!("`on_failure`: there is no flow `{next}`");
                self.findings.push(Diagnostic::warning(&flow.file, 0, 0, message));
            }
        }
    }

    /// Lists the triggers by what people write, and warns of those that will hear nothing.
    fn look_at_listeners(&mut self) {
        for flow in self.flows.values().filter(|flow| flow.enabled) {
            for trigger in &flow.triggers {
                let Some(on) = trigger.message() else { continue };
                self.listeners.push((flow.clone(), on.clone()));
                if let Some(account) =
                    on.account.as_ref().filter(|name| !self.ground.accounts.by_name.contains_key(*name))
                {
                    let message = format!("`message`: {}", unknown(account));
                    self.findings.push(Diagnostic::warning(&flow.file, 0, 0, message));
                }
                self.findings.extend(self.is_deaf(flow, on));
            }
        }
    }

    /// Warns of flows that name no account where nothing else says which one is meant.
    fn look_at_senders(&mut self) {
        let accounts = &self.ground.accounts;
        if accounts.default.is_none()
            && accounts.by_name.len() > 1
            && let Some(flow) = self.flows.values().find(|flow| flow.account.is_none())
        {
            let message = format!(
                "there are {} accounts and no `default_account`: flows that name none, such as `{}`, cannot send",
                accounts.by_name.len(),
                flow.name
            );
            let hint = "add `default_account: ...` here, or `account: ...` in the flow";
            self.findings.push(Diagnostic::warning("postrider.yaml", 0, 0, message).with_hint(hint));
        }
    }

    /// Warns of a trigger for messages that no account can hear.
    fn is_deaf(&self, flow: &Flow, on: &OnMessage) -> Option<Diagnostic> {
        let meant = |name: &str| on.account.as_deref().is_none_or(|account| account == name);
        let mut accounts = self.ground.accounts.by_name.iter().filter(|(name, _)| meant(name)).peekable();
        let hint = accounts.peek()?.1.hears.err();
        if accounts.any(|(_, facts)| facts.hears.is_ok()) {
            return None;
        }
        let message = match &on.account {
            Some(account) => format!("account `{account}` can hear nothing: its gateway has no way to show who it is"),
            None => "no account can hear anything: its gateway has no way to show who it is".to_owned(),
        };
        Some(Diagnostic::warning(&flow.file, on.at.0, on.at.1, message).with_hint(hint?))
    }

    /// Warns of calls that ask for what their account's gateway has not, and of those that cannot go well.
    fn look_at_calls(&mut self) {
        let accounts = &self.ground.accounts;
        let mut found: Vec<Diagnostic> = Vec::new();
        for flow in self.flows.values() {
            for call in flow.program.calls() {
                for finding in call.lacks(accounts, flow.account.as_deref(), &flow.who, flow.country) {
                    // A module is seen once for each flow that uses it.
                    if *call.file == *flow.file || !found.contains(&finding) {
                        found.push(finding);
                    }
                }
            }
            for doubt in flow.program.doubts().iter().chain(&flow.doubts) {
                if !found.contains(doubt) {
                    found.push(doubt.clone());
                }
            }
        }
        self.findings.extend(found);
    }

    /// Warns of webhooks that anybody may call, where others can reach them and the file does not say so.
    fn look_at_doors(&mut self) {
        let ajar = |webhook: &&Arc<Webhook>| !webhook.is_verified() && !webhook.open;
        for flow in self.flows.values().filter(|flow| flow.enabled && self.ground.exposed) {
            let Some(webhook) = flow.triggers.iter().filter_map(Trigger::webhook).find(ajar) else { continue };
            let message = format!("anybody who can reach this computer may call the webhook {}", webhook.path);
            let finding = Diagnostic::warning(&flow.file, webhook.at.0, webhook.at.1, message);
            let hint = match webhook.verify.is_some() {
                true => "take `mode: observe` away when the log shows that callers are verified as they should be",
                false => "add `verify: { token: \"${NAME}\" }` to it, or `verify: none` if that is how it should be",
            };
            self.findings.push(finding.with_hint(hint));
        }
        let shut = |webhook: &&Arc<Webhook>| {
            webhook.verify.as_ref().is_some_and(|rule| matches!(rule.way, Way::Twilio(_)) && !rule.observe)
        };
        for flow in self.flows.values().filter(|flow| flow.enabled && self.ground.public_url.is_none()) {
            let Some(webhook) = flow.triggers.iter().filter_map(Trigger::webhook).find(shut) else { continue };
            let message = format!("nobody can call the webhook {}: Twilio signs an address", webhook.path);
            let finding = Diagnostic::warning(&flow.file, webhook.at.0, webhook.at.1, message);
            self.findings.push(finding.with_hint("write `public_url: https://...` in postrider.yaml"));
        }
    }

    fn empty(findings: Vec<Diagnostic>, ground: Arc<Ground>) -> Self {
        Self {
            flows: BTreeMap::new(),
            stale: BTreeMap::new(),
            withheld: BTreeSet::new(),
            findings,
            ground,
            hash: String::new(),
            routes: Routes::default(),
            listeners: Vec::new(),
        }
    }

    /// Lets a candidate in, or says what is to stand in its place: what it was before.
    fn place(&mut self, candidate: Candidate) -> Option<Candidate> {
        let Candidate { flow, standing, mut wrong, before } = candidate;
        if wrong.is_empty() {
            wrong.extend(self.unknown_account(&flow));
            wrong.extend(self.barred_account(&flow));
        }
        // What was never live and is wrong does not come in; what was live stays as it was.
        let refused = match wrong.is_empty() || matches!(standing, Standing::Same | Standing::Away) {
            true => self.admit(&flow).err(),
            false => Some(None),
        };
        match refused {
            None if wrong.is_empty() => {}
            None => {
                self.findings.extend(wrong.iter().cloned());
                self.stale.insert(flow.name.clone(), wrong);
            }
            // Its place was taken by another file: that is what it was renamed to.
            Some(_) if standing == Standing::Away => {}
            Some(finding) => {
                wrong.extend(finding);
                match before {
                    Some(old) if old.version != flow.version => {
                        return Some(Candidate { flow: old, standing: Standing::Same, wrong, before: None });
                    }
                    _ => self.findings.extend(wrong),
                }
            }
        }
        None
    }

    fn unknown_account(&self, flow: &Flow) -> Option<Diagnostic> {
        let known = &self.ground.accounts;
        let account = flow.account.as_ref().filter(|account| !known.by_name.contains_key(*account))?;
        let hint = format!("the accounts are {}", known.names());
        Some(Diagnostic::error(&flow.file, 0, 0, unknown(account)).with_hint(hint))
    }

    /// An account that the flow names and may not use.
    fn barred_account(&self, flow: &Flow) -> Option<Diagnostic> {
        let heard = flow.triggers.iter().filter_map(|trigger| trigger.message()?.account.as_ref());
        let barred = flow.account.iter().chain(heard).find(|name| !self.ground.accounts.allows(name, &flow.who))?;
        let (message, hint) = flow.who.barred_from(barred);
        Some(Diagnostic::error(&flow.file, 0, 0, message).with_hint(hint))
    }

    /// Lets a flow in whole, or not at all.
    fn admit(&mut self, flow: &Arc<Flow>) -> Result<(), Option<Diagnostic>> {
        let refuse = |message: String, hint: &str| Some(Diagnostic::error(&flow.file, 0, 0, message).with_hint(hint));
        if let Some(other) = self.flows.get(&flow.name) {
            let message = format!("{} has the name `{}` already", other.file, flow.name);
            return Err(refuse(message, "give one of them another `name:`"));
        }
        let webhooks = || flow.triggers.iter().filter(|_| flow.enabled).filter_map(Trigger::webhook);
        let mut added: Vec<&str> = Vec::new();
        let mut own = BTreeSet::new();
        let mut wrong = None;
        for webhook in webhooks() {
            let taken = self.routes.list(&webhook.path).iter();
            let mut taken =
                taken.flat_map(|route| route.webhook.methods.iter().map(|method| (&route.flow.file, method)));
            let other = taken.find(|(_, method)| webhook.methods.contains(method));
            let twice = webhook.methods.iter().find(|method| !own.insert((webhook.path.as_str(), method.as_str())));
            if let Some((file, method)) = other.or(twice.map(|method| (&flow.file, method))) {
                let file = if *file == flow.file { "this file" } else { file };
                let message = format!("{file} has the webhook {method} {} already", webhook.path);
                wrong = refuse(message, "use another path");
                break;
            }
            match self.routes.add(&webhook.path) {
                Ok(is_new) => added.extend(is_new.then_some(webhook.path.as_str())),
                Err(other) => {
                    let message = format!("the webhook {} cannot be told from {other}", webhook.path);
                    wrong = refuse(message, "name the parameters alike, or use another path");
                    break;
                }
            }
            if let Some(other) = self.routes.beside(webhook) {
                let (path, file) = (&other.webhook.path, &other.flow.file);
                let message =
                    format!("some calls of the webhook {} are meant by {path} of {file} as well", webhook.path);
                wrong = refuse(message, "use another path, or other methods");
                break;
            }
        }
        if wrong.is_some() {
            added.into_iter().rev().for_each(|path| self.routes.take_back(path));
            return Err(wrong);
        }
        for webhook in webhooks() {
            self.routes.lead(flow, webhook);
        }
        self.flows.insert(flow.name.clone(), flow.clone());
        Ok(())
    }

    /// A flow by its name.
    pub fn flow(&self, name: &str) -> Option<&Arc<Flow>> {
        self.flows.get(name)
    }

    /// What a path below `/hooks` leads to.
    pub fn route(&self, path: &str) -> Option<Matched<'_>> {
        self.routes.find(path)
    }
}
