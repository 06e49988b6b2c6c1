//! What needs a person.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::words::capital;
use super::{Seen, Time, View, words};
use crate::id::RunId;
use crate::model::delivery::MessageState;
use crate::model::diagnostic::Severity;
use crate::model::run::RunState;
use crate::store::records::MessageFilter;

/// Runs and messages that are looked through for causes.
const LOOKED_AT: usize = 200;

/// What kind of thing needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NeedKind {
    /// Nobody knows whether messages went out.
    Unknown,
    /// An account cannot send.
    Account,
    /// Runs failed.
    Run,
    /// A file has a mistake.
    Flow,
    /// Messages were given up or refused.
    Message,
    /// Calls were turned away.
    Refused,
}

/// One cause, with all that came of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Need {
    /// What kind.
    pub kind: NeedKind,
    /// What it is about: an account, a flow, a file, a path.
    pub about: String,
    /// In one sentence.
    pub title: String,
    /// Why, and what happens by itself.
    pub why: Option<String>,
    /// How many.
    pub count: u64,
    /// Since when.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Time>,
    /// When it changes by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// Where it can be settled: a page of ours.
    pub link: String,
}

impl View {
    /// What needs a person, the most urgent first. Runs count since `today`, and so do calls that were turned away.
    pub async fn needs(&self, today: Timestamp) -> Seen<Vec<Need>> {
        let mut needs = self.messages_in_need(today).await?;
        for account in self.accounts().await? {
            if account.state != "paused" {
                continue;
            }
            let waits = match account.backlog {
                0 => "nothing waits".to_owned(),
                count => format!("{} for it; nothing is lost", words::many(count, "message waits", "messages wait")),
            };
            let reason = account.reason.unwrap_or_default();
            needs.push(Need {
                kind: NeedKind::Account,
                title: format!("Account {} cannot send", account.name),
                why: Some(format!("{} {}", words::sentence(&reason), words::sentence(&capital(&waits)))),
                count: account.backlog,
                since: account.since,
                until: account.probe_at,
                link: format!("/accounts#{}", account.name),
                about: account.name,
            });
        }
        needs.extend(self.failed_runs(today).await?);
        needs.extend(self.broken_files());
        let mut turned: BTreeMap<String, Need> = BTreeMap::new();
        for one in self.turned_away.all().into_iter().filter(|turned| turned.at.0 >= today && turned.status != 404) {
            let need = turned.entry(one.what.clone()).or_insert_with(|| Need {
                kind: NeedKind::Refused,
                title: String::new(),
                why: Some(one.reason.clone()),
                count: 0,
                since: Some(one.since),
                until: None,
                link: "/incoming?outcome=refused".into(),
                about: one.what.clone(),
            });
            need.count += one.count;
            need.since = need.since.min(Some(one.since));
            need.title = format!("{} to {} turned away", words::many(need.count, "call", "calls"), one.what);
        }
        needs.extend(turned.into_values());
        needs.sort_by_key(|need| need.kind);
        Ok(needs)
    }

    async fn messages_in_need(&self, today: Timestamp) -> Seen<Vec<Need>> {
        let mut needs: BTreeMap<(NeedKind, String), Need> = BTreeMap::new();
        let states = vec![MessageState::Unknown, MessageState::Dead, MessageState::Rejected];
        let filter = MessageFilter { states, limit: LOOKED_AT, ..MessageFilter::default() };
        for message in self.store.messages(filter).await?.rows {
            let unknown = message.state == MessageState::Unknown;
            // What was refused long ago is known by now.
            if message.state == MessageState::Rejected && message.created_at < today {
                continue;
            }
            let kind = if unknown { NeedKind::Unknown } else { NeedKind::Message };
            let key = (kind, format!("{} {}", message.account, message.state.name()));
            let need = needs.entry(key).or_insert_with(|| Need {
                kind,
                about: message.account.clone(),
                title: String::new(),
                why: message.error.clone(),
                count: 0,
                since: None,
                until: None,
                link: format!("/messages?state={}", message.state.name()),
            });
            need.count += 1;
            need.since = Some(Time(message.created_at));
            let many = words::many(need.count, "message", "messages");
            need.title = match message.state {
                MessageState::Unknown => format!("We do not know whether {many} of {} went out", need.about),
                MessageState::Rejected => format!("{many} of {} were refused", need.about),
                _ => format!("{many} of {} were given up", need.about),
            };
            if need.count == 1 {
                need.title = need.title.replace(" were ", " was ");
            }
        }
        Ok(needs.into_values().collect())
    }

    async fn failed_runs(&self, today: Timestamp) -> Seen<Vec<Need>> {
        let wish = super::RunWish {
            states: vec![RunState::Failed],
            since: Some(today),
            limit: LOOKED_AT,
            ..super::RunWish::default()
        };
        let mut needs: BTreeMap<(String, Option<u32>), (Need, RunId)> = BTreeMap::new();
        for run in self.runs(wish).await?.runs {
            let line = run.error.as_ref().and_then(|error| error.line);
            let (need, _) = needs.entry((run.flow.clone(), line)).or_insert_with(|| {
                let message = run.error.as_ref().map(|error| error.message.clone());
                let need = Need {
                    kind: NeedKind::Run,
                    about: run.flow.clone(),
                    title: String::new(),
                    why: message.map(|message| match line {
                        Some(line) => format!("{} Line {line}.", words::sentence(&message)),
                        None => message,
                    }),
                    count: 0,
                    since: None,
                    until: None,
                    link: format!("/runs/{}", run.id),
                };
                (need, run.id)
            });
            need.count += 1;
            need.since = Some(run.created_at);
            need.title = match need.count {
                1 => format!("{} failed today", run.flow),
                count => format!("{} failed {count} times today", run.flow),
            };
        }
        Ok(needs.into_values().map(|(need, _)| need).collect())
    }

    fn broken_files(&self) -> Vec<Need> {
        let catalog = self.catalog.borrow().clone();
        let mut needs: BTreeMap<String, Need> = BTreeMap::new();
        for finding in catalog.findings.iter().filter(|finding| finding.severity == Severity::Error) {
            let flow = catalog.flows.values().find(|flow| *flow.file == *finding.file);
            let place = if finding.line > 0 { format!(" Line {}.", finding.line) } else { String::new() };
            let need = needs.entry(finding.file.clone()).or_insert_with(|| Need {
                kind: NeedKind::Flow,
                about: flow.map_or(finding.file.clone(), |flow| flow.name.to_string()),
                title: format!("{} has a mistake", finding.file),
                why: Some(match flow {
                    Some(_) => {
                        let said = words::sentence(&words::capital(&finding.message));
                        format!("{said}{place} The version before goes on working meanwhile.")
                    }
                    None => format!("{}{place}", words::sentence(&words::capital(&finding.message))),
                }),
                count: 0,
                since: None,
                until: None,
                link: match (flow, finding.file.starts_with("flows/")) {
                    (Some(flow), _) => format!("/flows/{}", flow.name),
                    (None, true) => format!("/file?path={}", finding.file),
                    _ => "/flows".into(),
                },
            });
            need.count += 1;
        }
        needs.into_values().collect()
    }
}
