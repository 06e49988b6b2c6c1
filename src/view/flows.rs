//! Flows.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::{Seen, Time, View, words};
use crate::flow::catalog::Catalog;
use crate::flow::library::checked;
use crate::flow::webhook::Respond;
use crate::flow::{Flow, Missed, Timed, Trigger};
use crate::id::RunId;
use crate::model::diagnostic::Diagnostic;
use crate::model::run::RunState;
use crate::units::format_duration;

/// Last runs that are told of.
const LAST: usize = 12;

/// A flow as it is shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowRow {
    /// Its name.
    pub name: String,
    /// Its file, below the workspace.
    pub file: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whether its triggers are armed.
    pub enabled: bool,
    /// The version that is live.
    pub version: String,
    /// The file has a mistake, and an earlier version goes on working.
    pub stale: bool,
    /// What is wrong with the file.
    #[schema(value_type = Vec<Object>)]
    pub diagnostics: Vec<Diagnostic>,
    /// What starts it.
    pub triggers: Vec<TriggerRow>,
    /// The file that the script is in.
    pub script: String,
    /// The account that it sends from, where it names one.
    pub account: Option<String>,
    /// The flow that hears of its failures.
    pub on_failure: Option<String>,
    /// Its last run.
    pub last_run: Option<LastRun>,
    /// The states of its last runs, newest first.
    #[schema(value_type = Vec<String>)]
    pub last_runs: Vec<RunState>,
    /// Its messages that are rejected, dead or unknown.
    pub bad_messages: u64,
}

/// The last run of a flow.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LastRun {
    /// Which.
    #[schema(value_type = String)]
    pub id: RunId,
    /// Where it stands.
    #[schema(value_type = String)]
    pub state: RunState,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
}

/// A trigger as it is shown: the fields of its kind.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct TriggerRow {
    /// `webhook`, `cron`, `every`, `at`, `watch` or `message`.
    pub kind: &'static str,
    /// In words.
    pub said: String,
    /// Of a webhook: where it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of a webhook: what starts a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// Of a webhook: whether callers have to show that they may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// Of a webhook: `accepted` or `result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub respond: Option<&'static str>,
    /// Of the clock: as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Of the clock: its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Of the clock: what happens to times that were missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<String>,
    /// Of files: which.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Of messages: to which account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Of messages: from whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Of messages: what the text must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Of messages: `private`, `groups` or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chats: Option<&'static str>,
    /// Of messages: it comes before runs that wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<bool>,
    /// Of messages: only what no other takes.
    #[serde(rename = "else", skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<bool>,
    /// When it is due next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Time>,
}

/// All flows.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowList {
    /// Those that are live, by name.
    pub flows: Vec<FlowRow>,
    /// Everything that is wrong, with live flows and others.
    #[schema(value_type = Vec<Object>)]
    pub diagnostics: Vec<Diagnostic>,
    /// The set that is live.
    pub hash: String,
}

/// The text of a flow's file.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FlowSource {
    /// Below the workspace.
    pub file: String,
    /// As it is in the file now.
    pub text: String,
    /// Of that text: what a change says that it is a change of.
    pub hash: String,
    /// When the file was saved.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub saved_at: Option<Time>,
    /// What is live, where that is another text.
    pub live_text: Option<String>,
}

/// Tells one text from another.
pub fn hash_of(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..12])
}

impl View {
    /// All flows that are live.
    pub async fn flows(&self) -> Seen<FlowList> {
        let catalog = self.catalog.borrow().clone();
        let flows: Vec<_> = catalog.flows.values().map(|flow| &**flow).collect();
        let rows = self.flow_rows(&catalog, &flows).await?;
        Ok(FlowList { flows: rows, diagnostics: catalog.findings.clone(), hash: catalog.hash.clone() })
    }

    /// Flows as they are shown.
    pub async fn flow_rows(&self, catalog: &Catalog, flows: &[&Flow]) -> Seen<Vec<FlowRow>> {
        let mut bad: BTreeMap<String, u64> = BTreeMap::new();
        for (_, flow, count) in self.store.bad_messages().await? {
            *bad.entry(flow).or_default() += count;
        }
        let names = flows.iter().map(|flow| flow.name.to_string()).collect();
        let last = self.store.last_runs(names, LAST).await?;
        let now = self.clock.now();
        let row = |(flow, last): (&&Flow, Vec<crate::store::records::RunBrief>)| {
            let stale = catalog.stale.get(&flow.name);
            let newest = last.first();
            FlowRow {
                name: flow.name.to_string(),
                file: flow.file.to_string(),
                description: flow.description.clone(),
                enabled: flow.enabled,
                version: flow.version.to_string(),
                stale: stale.is_some(),
                diagnostics: stale.cloned().unwrap_or_default(),
                triggers: flow.triggers.iter().map(|trigger| trigger_row(trigger, flow.enabled, now)).collect(),
                script: flow.program.file().to_owned(),
                account: flow.account.clone(),
                on_failure: flow.on_failure.clone().or_else(|| catalog.ground.on_failure.clone()),
                last_run: newest.map(|run| LastRun { id: run.id, state: run.state, created_at: Time(run.created_at) }),
                last_runs: last.iter().map(|run| run.state).collect(),
                bad_messages: bad.get(&*flow.name).copied().unwrap_or_default(),
            }
        };
        Ok(flows.iter().zip(last).map(row).collect())
    }

    /// One flow.
    pub async fn flow(&self, name: &str) -> Seen<Option<FlowRow>> {
        let catalog = self.catalog.borrow().clone();
        let Some(flow) = catalog.flow(name) else { return Ok(None) };
        Ok(self.flow_rows(&catalog, &[flow]).await?.pop())
    }

    /// The text of a flow's file, and of the version that is live; none when there is no such flow.
    pub async fn source(&self, name: &str) -> Option<Result<FlowSource, String>> {
        let flow = self.catalog.borrow().flow(name)?.clone();
        let (files, file) = (self.files.clone(), flow.file.clone());
        let read = tokio::task::spawn_blocking(move || {
            let saved = std::fs::metadata(files.root().join(&*file)).and_then(|data| data.modified()).ok();
            (files.text(&file), saved)
        });
        let Ok((text, saved)) = read.await else { return Some(Err("the file cannot be read now".into())) };
        Some(match text {
            Ok(text) => Ok(FlowSource {
                hash: hash_of(&text),
                saved_at: saved.and_then(|at| Timestamp::try_from(at).ok()).map(Time),
                live_text: (*flow.content.yaml != *text).then(|| flow.content.yaml.to_string()),
                file: flow.file.to_string(),
                text,
            }),
            Err(why) => Err(why),
        })
    }

    /// What is to be said about a text, were it the file's.
    pub async fn check(&self, file: String, text: String) -> Vec<Diagnostic> {
        let (files, catalog) = (self.files.clone(), self.catalog.borrow().clone());
        let looked = tokio::task::spawn_blocking(move || checked(&files, &catalog, &file, &text)).await;
        looked.unwrap_or_else(|_| vec![Diagnostic::error("", 0, 0, "the text cannot be checked now")])
    }
}

fn trigger_row(trigger: &Trigger, enabled: bool, now: Timestamp) -> TriggerRow {
    let kind = trigger.kind();
    match trigger {
        Trigger::Webhook(webhook) => TriggerRow {
            kind,
            said: format!("{} /hooks{}", webhook.methods.join(", "), webhook.path),
            path: Some(format!("/hooks{}", webhook.path)),
            methods: Some(webhook.methods.clone()),
            verified: Some(webhook.is_verified()),
            respond: Some(if webhook.respond == Respond::Result { "result" } else { "accepted" }),
            ..TriggerRow::default()
        },
        Trigger::Timed(timed) => TriggerRow {
            kind,
            said: timed_said(timed),
            schedule: Some(timed.schedule.text().to_owned()),
            timezone: Some(timed.schedule.zone_name().to_owned()),
            missed: Some(missed_said(timed)),
            next_at: timed.schedule.next(now).filter(|_| enabled).map(Time),
            ..TriggerRow::default()
        },
        Trigger::Watch(watch) => {
            let paths: Vec<String> = watch.patterns.iter().map(ToString::to_string).collect();
            TriggerRow { kind, said: paths.join(", "), paths: Some(paths), ..TriggerRow::default() }
        }
        Trigger::Message(on) => {
            let text = on.text.as_ref().map(|text| text.as_str().to_owned());
            TriggerRow {
                kind,
                said: match (&text, &on.from) {
                    (Some(text), _) => format!("a message with “{text}”"),
                    (None, Some(from)) => format!("a message from {from}"),
                    (None, None) if on.otherwise => "a message that nothing else takes".into(),
                    (None, None) => "any message".into(),
                },
                account: on.account.clone(),
                from: on.from.as_ref().map(ToString::to_string),
                text,
                chats: Some(on.chats.name()),
                first: Some(on.first),
                otherwise: Some(on.otherwise),
                ..TriggerRow::default()
            }
        }
    }
}

fn timed_said(timed: &Timed) -> String {
    let text = timed.schedule.text();
    match timed.kind {
        "every" => format!("every {text}"),
        "at" => format!("once, {}", text.replace('T', " at ")),
        _ => words::cron(text).unwrap_or_else(|| format!("the line {text}")),
    }
}

fn missed_said(timed: &Timed) -> String {
    let late = format_duration(timed.not_after);
    match timed.missed {
        Missed::Skip => "nothing: they are passed over".into(),
        Missed::Latest => format!("the latest one, up to {late} late"),
        Missed::All => format!("all of them, up to {late} late"),
    }
}
