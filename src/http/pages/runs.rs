//! Lists of runs, and of what came in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use jiff::Timestamp;
use jiff::civil::Date;

use super::look::Look;
use super::overview::said;
use super::{Asked, Frame, Page, ROWS, drawn};
use crate::http::House;
use crate::http::api::runs::state;
use crate::http::error::Refused;
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
    newer: Option<String>,
    older: Option<String>,
    newest: bool,
}

/// One of several views of a list.
pub struct Chip {
    /// Where it leads.
    pub link: String,
    /// What it is called.
    pub text: &'static str,
    /// How many are there.
    pub count: String,
    /// Whether it is the one that is shown.
    pub here: bool,
}

/// A day as a form has it, in the viewer's zone: when it begins and ends.
pub fn day(look: &Look, text: Option<&str>) -> Result<Option<(Timestamp, Timestamp)>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let span = || {
        let date: Date = text.parse().ok()?;
        let from = date.to_zoned(look.zone.clone()).ok()?.timestamp();
        let to = date.tomorrow().ok()?.to_zoned(look.zone.clone()).ok()?.timestamp();
        Some((from, to))
    };
    span().map(Some).ok_or_else(|| Refused::bad(format!("`{text}` is no day such as 2026-10-26")))
}

/// The names of flows, for a form.
pub fn names(house: &House) -> Vec<String> {
    house.view.catalog.borrow().flows.keys().map(ToString::to_string).collect()
}

/// The runs.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["flow", "state", "q", "since", "after", "before"])?;
    let query = &asked.query;
    let text = |name: &str| query.text(name).unwrap_or_default();
    let (flow, shown, words_, since) = (text("flow"), text("state"), text("q"), text("since"));
    let after = query.parsed("after", str::parse)?;
    let before = query.parsed("before", str::parse)?;
    let wish = RunWish {
        flow: query.text("flow"),
        states: query.words("state", state)?,
        since: day(&asked.look, query.get("since"))?.map(|(from, _)| from),
        words: query.text("q"),
        after,
        before,
        limit: ROWS,
        counts: true,
    };
    let list = house.view.runs(wish).await?;
    let link = |pairs: &[(&str, &str)]| {
        let kept = [("flow", flow.as_str()), ("q", words_.as_str()), ("since", since.as_str())];
        let all: Vec<(&str, &str)> = kept.iter().copied().chain(pairs.iter().copied()).collect();
        format!("/runs{}", asked.look.query(&all))
    };
    let counts = list.counts.clone().unwrap_or_default();
    let kinds = [
        ("", "All", "all"),
        ("failed", "Failed", "failed"),
        ("waiting", "Waiting", "waiting"),
        ("running,queued", "Running", "running"),
        ("succeeded", "Finished", ""),
        ("cancelled", "Cancelled", "cancelled"),
        ("skipped", "Skipped", "skipped"),
    ];
    // Counts are of everything: beside a filter they would say something else.
    let narrowed = !(flow.is_empty() && words_.is_empty() && since.is_empty());
    let chip = |(value, text, count): (&str, &'static str, &str)| Chip {
        link: link(&[("state", value)]),
        text,
        count: counts.get(count).filter(|_| !narrowed).map_or(String::new(), |count| said(*count)),
        here: shown == value,
    };
    let newest = after.is_none() && before.is_none();
    let first = list.runs.first().map(|run| run.id.to_string());
    drawn(&Runs {
        chips: kinds.into_iter().map(chip).collect(),
        older: list.next.map(|next| link(&[("state", &shown), ("after", &next.to_string())])),
        newer: first.filter(|_| !newest).map(|first| link(&[("state", &shown), ("before", &first)])),
        runs: list.runs,
        flows: names(&house),
        frame: Frame::of(&house, &asked, "runs", "Runs").await?,
        flow,
        state: shown,
        words: words_,
        since,
        newest,
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
    earlier: Option<String>,
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
    let link = |pairs: &[(&str, &str)]| {
        let all: Vec<_> =
            [("q", words.as_str()), ("day", day.as_str())].into_iter().chain(pairs.iter().copied()).collect();
        format!("/incoming{}", asked.look.query(&all))
    };
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
        link: link(&[("kind", of), ("outcome", became)]),
        text,
        count: String::new(),
        here: kind == of && outcome == became,
    };
    let last = rows.last().filter(|_| rows.len() >= ROWS).map(|row| crate::clock::rfc3339(row.at.0));
    drawn(&Incoming {
        chips: chips.into_iter().map(chip).collect(),
        earlier: last.map(|last| link(&[("kind", &kind), ("outcome", &outcome), ("until", &last)])),
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
