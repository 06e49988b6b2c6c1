//! `next`: when schedules are due, by the same code that the engine counts with.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::check::report;
use super::client::Place;
use super::table::{say, table};
use super::{Failure, NextArgs};
use crate::app::Workspace;
use crate::clock::{Clock, SystemClock, rfc3339};
use crate::config::Flags;
use crate::flow::except::Calendars;
use crate::flow::schedule::{LAST_YEAR, just_before};
use crate::flow::{Flow, Trigger};
use crate::model::diagnostic::Severity;
use crate::script::time::{When, parse_when};
use crate::units::nearest;

pub fn next(place: &Place, args: &NextArgs) -> Result<(), Failure> {
    let workspace = Workspace::open(&place.root, Flags::default(), std::env::vars()).map_err(|findings| {
        report(&place.root, &findings);
        Failure::Reported
    })?;
    let from = match &args.from {
        Some(text) => {
            instant(text, &workspace.settings.zone).map_err(|why| Failure::Usage(format!("--from: {why}")))?
        }
        None => SystemClock.now(),
    };
    let catalog = workspace.catalog()?;
    let chosen: Vec<&Flow> = match &args.flow {
        None => catalog.flows.values().map(|flow| &**flow).collect(),
        Some(name) => {
            let flow = catalog.flow(name).ok_or_else(|| {
                let near = nearest(name, catalog.flows.keys().map(|name| &**name));
                let hint = near.map_or("`postrider check` says whether its file has an error".to_owned(), |near| {
                    format!("did you mean `{near}`?")
                });
                format!("there is no flow `{name}`; {hint}")
            })?;
            vec![flow]
        }
    };
    let calendars = Calendars::new(workspace.files());
    let found = due(&chosen, &calendars, from, usize::from(args.count));
    // A flow that was asked for is there, so the errors are others'.
    let broken = args.flow.is_none() && catalog.findings.iter().any(|finding| finding.severity == Severity::Error);
    if broken {
        report(&place.root, &catalog.findings);
    }
    show(place, args, &chosen, &found);
    if broken { Err(Failure::Reported) } else { Ok(()) }
}

/// A time, local to a zone where it has none of its own.
fn instant(text: &str, zone: &TimeZone) -> Result<Timestamp, String> {
    match parse_when(text)? {
        When::Instant(instant) => Ok(instant),
        When::Local(local) => zone.to_timestamp(local).map_err(|_| format!("`{text}` is out of range")),
    }
}

fn show(place: &Place, args: &NextArgs, chosen: &[&Flow], found: &[Row]) {
    if place.json {
        let row =
            |row: &Row| json!({ "flow": row.flow, "trigger": row.trigger, "at": rfc3339(row.at), "note": row.note });
        let rows: Vec<Value> = found.iter().map(row).collect();
        say(format_args!("{}", json!({ "occurrences": rows })));
        return;
    }
    // The last column is there only where the clock is changed.
    let has_notes = found.iter().any(|row| row.note.is_some());
    let row = |row: &Row| {
        let mut cells = vec![row.local.clone(), rfc3339(row.at), row.flow.clone(), row.trigger.clone()];
        cells.extend(has_notes.then(|| row.note.clone().unwrap_or_default()));
        cells
    };
    let rows: Vec<Vec<String>> = found.iter().map(row).collect();
    let heads = ["LOCAL TIME", "UTC", "FLOW", "TRIGGER", "ON THIS DAY"];
    let none = chosen.iter().all(|flow| timed(flow).next().is_none());
    let nothing = format!("nothing is due any more, up to the end of {LAST_YEAR}");
    let empty = match chosen {
        [flow] if args.flow.is_some() && !flow.enabled => "the flow is disabled",
        _ if none && args.flow.is_some() => "the flow has no trigger by the clock",
        _ if none => "no flow has a trigger by the clock",
        _ => &nothing,
    };
    table(&heads[..if has_notes { 5 } else { 4 }], &rows, empty);
}

/// An instant at which a flow is due.
struct Row {
    flow: String,
    trigger: String,
    at: Timestamp,
    /// In its zone.
    local: String,
    /// What the clock does on that day.
    note: Option<String>,
}

fn timed(flow: &Flow) -> impl Iterator<Item = (&Flow, &crate::flow::Timed, String)> {
    flow.triggers.iter().filter(|_| flow.enabled).filter_map(move |trigger| match trigger {
        Trigger::Timed(timed) => Some((flow, &**timed, trigger.key().unwrap_or_default())),
        _ => None,
    })
}

/// The next instants of all these flows, earliest first.
fn due(flows: &[&Flow], calendars: &Calendars, from: Timestamp, count: usize) -> Vec<Row> {
    let triggers = flows.iter().flat_map(|flow| timed(flow));
    let mut all: Vec<_> = triggers.map(|trigger| (trigger, just_before(from))).collect();
    let mut found = Vec::new();
    while found.len() < count {
        let next = |(place, ((_, timed, _), after)): (usize, &((&Flow, &crate::flow::Timed, String), Timestamp))| {
            timed.due_after(*after, calendars).next().map(|at| (at, place))
        };
        let Some((at, place)) = all.iter().enumerate().filter_map(next).min() else { break };
        let ((flow, timed, key), after) = &mut all[place];
        *after = at;
        let local = at.to_zoned(timed.schedule.zone().clone()).strftime("%a %Y-%m-%d %H:%M:%S").to_string();
        let (flow, trigger, note) = (flow.name.to_string(), key.clone(), timed.schedule.note(at));
        found.push(Row { flow, trigger, at, local, note });
    }
    found
}
