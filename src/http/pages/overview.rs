//! The overview: first what needs a person. Before anything has run: the first steps.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::flow::{TEMPLATES, Template as Example};
use super::look::Look;
use super::{Asked, Frame, Page, drawn};
use crate::http::House;
use crate::model::run::RunState;
use crate::view::{AccountRow, Activity, Count, DueRow, Minute, RunRow, RunWish, Stats, words};

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    frame: Frame,
    stats: Stats,
    bars: Vec<Bar>,
    waiting: Vec<RunRow>,
    all_waiting: String,
    due: Vec<DueRow>,
    accounts: Vec<AccountRow>,
    activity: Vec<Activity>,
}

#[derive(Template)]
#[template(path = "welcome.html")]
struct Welcome {
    frame: Frame,
    examples: &'static [Example],
    has_flows: bool,
}

/// A bar of the chart.
struct Bar {
    class: &'static str,
    x: usize,
    y: u32,
    height: u32,
}

/// The page.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &[])?;
    let view = &house.view;
    let frame = Frame::of(&house, &asked, "overview", "Overview").await?;
    let any = view.runs(RunWish { limit: 1, ..RunWish::default() }).await?;
    if any.runs.is_empty() && frame.needs.is_empty() {
        let has_flows = frame.flows > 0;
        return drawn(&Welcome { frame, examples: TEMPLATES, has_flows });
    }
    let midnight = view.midnight(&asked.look.zone);
    let stats = view.stats(midnight).await?;
    let wish = RunWish { states: vec![RunState::Waiting], limit: 5, counts: true, ..RunWish::default() };
    let waiting = view.runs(wish).await?;
    let all_waiting = waiting.counts.as_ref().and_then(|counts| counts.get("waiting").copied());
    drawn(&Overview {
        bars: bars(&stats.minutes),
        all_waiting: said(all_waiting.unwrap_or(Count::exactly(0))),
        waiting: waiting.runs,
        due: view.soonest(asked.look.now, 5),
        accounts: view.accounts().await?,
        activity: view.activity(12).await?,
        stats,
        frame,
    })
}

/// A count as people read it.
pub fn said(count: Count) -> String {
    let more = if count.0.more { "+" } else { "" };
    format!("{}{more}", words::grouped(count.0.count))
}

/// The chart: each minute a stack of what went out, what waits, and what went wrong.
fn bars(minutes: &[Minute]) -> Vec<Bar> {
    let most = minutes.iter().map(|minute| minute.out + minute.waiting + minute.bad).max().unwrap_or(0).max(8);
    let mut bars = Vec::new();
    for (place, minute) in minutes.iter().enumerate() {
        let mut below = 0;
        for (class, count) in [("f-go", minute.out), ("f-wait", minute.waiting), ("f-fail", minute.bad)] {
            let height = (count * 92).div_ceil(most);
            if count > 0 {
                bars.push(Bar { class, x: 1 + place * 10, y: 96 - below - height, height });
            }
            below += height;
        }
    }
    bars
}

impl Overview {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn number(&self, counts: &crate::view::Counts, names: &[&str]) -> String {
        let mut sum = 0;
        let mut more = "";
        for name in names {
            if let Some(count) = counts.get(name) {
                sum += count.0.count;
                if count.0.more {
                    more = "+";
                }
            }
        }
        format!("{}{more}", words::grouped(sum))
    }

    fn gauge(&self, account: &AccountRow) -> Option<(u32, u32, String)> {
        let today = account.today?;
        Some((today.used, today.most?, today.percent()))
    }

    fn chart_said(&self) -> String {
        let (mut out, mut bad) = (0, 0);
        for minute in &self.stats.minutes {
            out += minute.out;
            bad += minute.bad;
        }
        let gone = words::many(u64::from(out), "message", "messages");
        format!("{gone} went out in the last hour, {bad} failed or were refused")
    }
}
