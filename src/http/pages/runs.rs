//! Lists of runs, and of what came in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::list::{Address, Chip, Steps, day, names};
use super::look::Look;
use super::{Asked, Frame, Page, ROWS, drawn};
use crate::http::House;
use crate::http::api::runs::state;
use crate::view::{ArrivalRow, ArrivalWish, RunRow, RunWish, words};

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    frame: Frame,
    runs: Vec<RunRow>,
    chips: Vec<Chip>,
    flows: Vec<String>,
    flow: String,
    state: String,
    words: String,
    since: String,
    steps: Steps,
}

/// The runs.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["flow", "state", "q", "since", "after", "before"])?;
    let query = &asked.query;
    let text = |name: &str| query.text(name).unwrap_or_default();
    let (flow, shown, words_, since) = (text("flow"), text("state"), text("q"), text("since"));
    let wish = RunWish {
        flow: query.text("flow"),
        states: query.words("state", state)?,
        since: day(&asked.look, query.get("since"))?.map(|(from, _)| from),
        words: query.text("q"),
        after: query.parsed("after", str::parse)?,
        before: query.parsed("before", str::parse)?,
        limit: ROWS,
        counts: true,
    };
    let list = house.view.runs(wish).await?;
    let address = Address::new(&asked.look, "/runs", &[("flow", &flow), ("q", &words_), ("since", &since)]);
    let kinds = [
        ("", "All", "all"),
        ("failed", "Failed", "failed"),
        ("waiting", "Waiting", "waiting"),
        ("running,queued", "Running", "running"),
        ("succeeded", "Finished", ""),
        ("cancelled", "Cancelled", "cancelled"),
        ("skipped", "Skipped", "skipped"),
    ];
    let chips = address.chips(&kinds, &shown, list.counts.as_ref());
    let first = list.runs.first().map(|run| run.id.to_string());
    let steps = address.steps(query, first, list.next.map(|next| next.to_string()));
    drawn(&Runs {
        chips,
        steps,
        runs: list.runs,
        flows: names(&house),
        frame: Frame::of(&house, &asked, "runs", "Runs").await?,
        flow,
        state: shown,
        words: words_,
        since,
    })
}

impl Runs {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn is_narrowed(&self) -> bool {
        !(self.flow.is_empty() && self.words.is_empty() && self.since.is_empty() && self.state.is_empty())
    }
}

/// How long a run took, or has been going on.
pub fn took(look: &Look, run: &RunRow) -> String {
    match run.finished_at {
        Some(end) => look.took(&run.created_at, &end),
        None if run.state == crate::model::run::RunState::Running => {
            format!("so far {}", words::span(look.now.duration_since(run.created_at.0).as_secs_f64()))
        }
        None => String::new(),
    }
}

/// The last letters of an id.
pub fn short(id: &impl ToString) -> String {
    let id = id.to_string();
    id[id.len().saturating_sub(6)..].to_owned()
}

#[derive(Template)]
#[template(path = "incoming.html")]
struct Incoming {
    frame: Frame,
    rows: Vec<ArrivalRow>,
    chips: Vec<Chip>,
    words: String,
    day: String,
    steps: Steps,
}

/// What came in.
pub async fn incoming(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["q", "day", "kind", "outcome", "until"])?;
    let query = &asked.query;
    let span = day(&asked.look, query.get("day"))?;
    let until = query.time("until")?.or(span.map(|(_, to)| to));
    let wish = ArrivalWish {
        kind: query.text("kind"),
        outcome: query.text("outcome"),
        people: Vec::new(),
        words: query.text("q"),
        since: span.map(|(from, _)| from),
        until,
        limit: ROWS,
    };
    let rows = house.view.arrivals(wish).await?;
    let text = |name: &str| query.text(name).unwrap_or_default();
    let (words, day, kind, outcome) = (text("q"), text("day"), text("kind"), text("outcome"));
    let address = Address::new(&asked.look, "/incoming", &[("q", &words), ("day", &day)]);
    let chips = [
        ("", "", "All"),
        ("", "refused", "Turned away"),
        ("", "known", "Came twice"),
        ("", "unwanted", "Nobody wanted it"),
        ("webhook", "", "Webhooks"),
        ("message", "", "Messages"),
        ("file", "", "Files"),
    ];
    let chip = |(of, became, text): (&str, &str, &'static str)| Chip {
        link: address.with(&[("kind", of), ("outcome", became)]),
        text,
        count: String::new(),
        here: kind == of && outcome == became,
    };
    let last = rows.last().filter(|_| rows.len() >= ROWS).map(|row| crate::clock::rfc3339(row.at.0));
    let older = last.map(|last| address.with(&[("kind", &kind), ("outcome", &outcome), ("until", &last)]));
    drawn(&Incoming {
        chips: chips.into_iter().map(chip).collect(),
        steps: Steps { older, ..Steps::default() },
        rows,
        frame: Frame::of(&house, &asked, "runs", "What came in").await?,
        words,
        day,
    })
}

impl Incoming {
    fn look(&self) -> &Look {
        &self.frame.look
    }
}
