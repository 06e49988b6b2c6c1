//! The list of flows.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::look::Look;
use super::{Asked, Frame, Page, drawn};
use crate::http::House;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::run::RunState;
use crate::view::words::{self, Word};
use crate::view::{FlowRow, Time};

#[derive(Template)]
#[template(path = "flows.html")]
struct Flows {
    frame: Frame,
    shown: Vec<FlowRow>,
    /// Files that never had a good version.
    broken: Vec<Diagnostic>,
    chips: Vec<(&'static str, &'static str, usize)>,
    show: String,
    words: String,
    all: usize,
    today: std::collections::BTreeMap<String, u64>,
}

/// How a flow is live.
pub fn live(flow: &FlowRow) -> Word {
    match (flow.enabled, flow.stale) {
        (_, true) => Word { tone: "wait", icon: "alert", text: "old version live" },
        (false, false) => Word { tone: "", icon: "power", text: "switched off" },
        (true, false) => Word { tone: "ok", icon: "check", text: "live" },
    }
}

/// The next time that a flow is due.
pub fn next(flow: &FlowRow) -> Option<Time> {
    flow.triggers.iter().filter_map(|trigger| trigger.next_at).min()
}

/// One column of a strip of runs: colour and height.
pub fn column(state: &RunState) -> (&'static str, u32) {
    match state {
        RunState::Succeeded => ("f-ok", 9),
        RunState::Failed => ("f-fail", 18),
        RunState::Waiting | RunState::Running | RunState::Queued => ("f-wait", 12),
        RunState::Cancelled | RunState::Skipped => ("f-still", 5),
    }
}

/// The last runs in words.
pub fn strip_said(flow: &FlowRow) -> String {
    let mut said: Vec<String> = Vec::new();
    for state in RunState::ALL {
        let count = flow.last_runs.iter().filter(|known| **known == state).count();
        if count > 0 {
            said.push(format!("{count} {}", words::run(state).text));
        }
    }
    format!("Last runs: {}", said.join(", "))
}

/// Files that cannot be live, each with its first mistake.
pub fn never_live(findings: &[Diagnostic], flows: &[FlowRow]) -> Vec<Diagnostic> {
    let mut broken: Vec<Diagnostic> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Error) {
        let known = flows.iter().any(|flow| flow.file == finding.file);
        if !known && !broken.iter().any(|other| other.file == finding.file) {
            broken.push(finding.clone());
        }
    }
    broken
}

/// The page.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["show", "q"])?;
    let list = house.view.flows().await?;
    let stats = house.view.stats(house.view.midnight(&asked.look.zone)).await?;
    let frame = Frame::of(&house, &asked, "flows", "Flows").await?;
    let broken = never_live(&list.diagnostics, &list.flows);
    let is = |flow: &FlowRow, show: &str| match show {
        "mistakes" => flow.stale,
        "failed" => flow.last_runs.first() == Some(&RunState::Failed),
        "waiting" => flow.last_runs.contains(&RunState::Waiting),
        "off" => !flow.enabled,
        _ => true,
    };
    let count = |show: &str| list.flows.iter().filter(|flow| is(flow, show)).count();
    let chips = vec![
        ("", "All", list.flows.len()),
        ("mistakes", "With a mistake", count("mistakes") + broken.len()),
        ("failed", "Failed last", count("failed")),
        ("waiting", "Waiting", count("waiting")),
        ("off", "Switched off", count("off")),
    ];
    let (show, words) = (asked.query.text("show").unwrap_or_default(), asked.query.text("q").unwrap_or_default());
    let wanted = words.to_lowercase();
    let all = list.flows.len();
    let shown = list.flows.into_iter().filter(|flow| {
        let texts = [Some(&flow.name), flow.description.as_ref(), Some(&flow.file)];
        let triggers = flow.triggers.iter().any(|trigger| trigger.said.to_lowercase().contains(&wanted));
        is(flow, &show) && (triggers || texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&wanted)))
    });
    drawn(&Flows { shown: shown.collect(), broken, chips, show, words, all, today: stats.messages_of_flows, frame })
}

impl Flows {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn stale(&self) -> Vec<&FlowRow> {
        self.shown.iter().filter(|flow| flow.stale).collect()
    }

    fn sent(&self, flow: &FlowRow) -> String {
        self.today.get(&flow.name).map_or(String::new(), |count| words::grouped(*count))
    }
}
