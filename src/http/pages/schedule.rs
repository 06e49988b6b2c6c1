//! The schedule: a week of times, flow by flow.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::look::{Look, city};
use super::{Asked, Frame, Page, drawn};
use crate::http::House;
use crate::http::error::Refused;
use crate::model::occurrence::Fate;
use crate::view::{DayDue, DueRow, Lane, OccurrenceRow, Shift, Time, View, words};

/// More than so many times of a day are drawn as a band.
const DENSE: usize = 12;
/// So many cities are named whose clocks change together.
const CITIES: usize = 3;

#[derive(Template)]
#[template(path = "schedule.html")]
struct Schedule {
    frame: Frame,
    title: String,
    before: String,
    after: String,
    days: Vec<Day>,
    lanes: Vec<Row>,
    odd: Vec<OccurrenceRow>,
    /// What is said where nothing is odd.
    calm: String,
    due: Vec<DueRow>,
}

struct Day {
    name: String,
    today: bool,
    far: bool,
    shifts: Vec<String>,
}

struct Row {
    flow: String,
    cells: Vec<Cell>,
}

struct Cell {
    past: bool,
    far: bool,
    said: String,
    caption: String,
    now: Option<String>,
    dots: Vec<(&'static str, String, &'static str)>,
    bands: Vec<(&'static str, String, String)>,
}

/// The page.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["from"])?;
    let (look, zone) = (asked.look.clone(), asked.look.zone.clone());
    let today = look.now.to_zoned(zone.clone()).date();
    let sound = |text: &str| text.parse::<Date>().map_err(|_| format!("`{text}` is no day such as 2026-10-26"));
    let first = asked.query.parsed("from", sound)?.unwrap_or(today.saturating_sub(3.days()));
    let start = |day: Date| day.to_zoned(zone.clone()).map(|at| at.timestamp()).unwrap_or(look.now);
    let all: Vec<Date> = (0..=7).map(|place: i32| first.saturating_add(place.days())).collect();
    let instants: Vec<Timestamp> = all.iter().map(|day| start(*day)).collect();
    // A zone may have left out a day, and calendars end.
    if instants[0] == instants[7] || !instants.is_sorted() {
        return Err(Refused::bad(format!("no week begins on {first}")));
    }
    let view = &house.view;
    let lanes = view.lanes(&instants).await?;
    let days = all[..7].iter().enumerate().map(|(place, day)| Day {
        name: day.strftime("%a %-d").to_string(),
        today: *day == today,
        far: (day.since(today).map_or(9, |span| span.get_days())).abs() > 1,
        shifts: shifts_said(view, &zone, instants[place], instants[place + 1]),
    });
    let days: Vec<Day> = days.collect();
    let mut odd: Vec<OccurrenceRow> = Vec::new();
    for lane in &lanes {
        let is_odd = |row: &&OccurrenceRow| !matches!(row.fate_is, Fate::Ran | Fate::BeforeKnown);
        odd.extend(lane.past.iter().filter(is_odd).cloned());
    }
    odd.sort_by_key(|row| std::cmp::Reverse(row.at));
    odd.truncate(30);
    let rows = lanes.iter().map(|lane| Row {
        flow: lane.flow.clone(),
        cells: (0..7).map(|place| cell(&look, lane, place, &instants, days[place].far)).collect(),
    });
    let month = |day: &Date| day.strftime("%-d %B").to_string();
    drawn(&Schedule {
        title: format!("{} to {}", month(&all[0]), month(&all[6])),
        before: first.saturating_sub(7.days()).to_string(),
        after: first.saturating_add(7.days()).to_string(),
        lanes: rows.collect(),
        days,
        calm: calm(&lanes, instants[0] >= look.now, instants[7] <= look.now),
        odd,
        due: view.soonest(look.now, 8),
        frame: Frame::of(&house, &asked, "schedule", "Schedule").await?,
    })
}

/// How clocks change on a day: the viewer's first, then those that flows go by, together what is the same.
fn shifts_said(view: &View, own: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<String> {
    let mut zones = vec![own.clone()];
    zones.extend(view.zones_in_use().into_iter().filter(|zone| zone != own));
    let mut changes: Vec<(String, Vec<String>)> = Vec::new();
    for zone in zones {
        for shift in view.shifts(&zone, from, to) {
            let (change, city) = (shift_said(&zone, &shift), city(&shift.timezone));
            match changes.iter_mut().find(|(known, _)| *known == change) {
                Some((_, cities)) => cities.push(city),
                None => changes.push((change, vec![city])),
            }
        }
    }
    let said = |(change, cities): (String, Vec<String>)| match cities.len() {
        count if count > CITIES => {
            format!("{change} in {} and {} other zones", cities[..CITIES].join(", "), count - CITIES)
        }
        _ => format!("{change} in {}", cities.join(", ")),
    };
    changes.into_iter().map(said).collect()
}

/// By the hands as they stand before they are moved.
fn shift_said(zone: &TimeZone, shift: &Shift) -> String {
    let behind = zone.to_datetime(shift.at.0);
    let before = behind.saturating_sub(i64::from(shift.minutes).minutes());
    let hours = f64::from(shift.minutes.abs()) / 60.0;
    let long = if hours == 1.0 { "an hour".to_owned() } else { format!("{} min", shift.minutes.abs()) };
    let way = if shift.minutes > 0 { "goes on" } else { "goes back" };
    format!("the clock {way} by {long} at {}", before.strftime("%H:%M"))
}

/// That all is well in a week, or that nobody knows yet.
fn calm(lanes: &[Lane], to_come: bool, over: bool) -> String {
    let due = lanes.iter().flat_map(|lane| &lane.due);
    let (due, more) = due.fold((0, false), |(due, more), day| (due + day.times.len() as u64, more || day.more));
    match lanes.iter().any(|lane| !lane.past.is_empty()) {
        true if over => "Everything of these days went as planned.".into(),
        true => "Everything went as planned so far.".into(),
        false if over => "Nothing was due on these days, as far as is on record.".into(),
        false if !to_come => "Nothing was due so far.".into(),
        false if due == 0 => "These days have yet to come. Nothing is due on them.".into(),
        false => {
            let least = if more { "more than " } else { "" };
            let are = if due == 1 && !more { "is" } else { "are" };
            format!("These days have yet to come: {least}{} {are} due.", words::many(due, "time", "times"))
        }
    }
}

/// How many of a day's times ended how.
struct Count {
    ran: u64,
    late: u64,
    not: u64,
    skipped: u64,
}

impl Count {
    fn of(past: &[&OccurrenceRow]) -> Self {
        let count = |fates: &[Fate]| -> u64 {
            past.iter().filter(|row| fates.contains(&row.fate_is)).map(|row| u64::from(row.count.unwrap_or(1))).sum()
        };
        Self {
            ran: count(&[Fate::Ran]),
            late: count(&[Fate::Late, Fate::Coalesced]),
            not: count(&[Fate::TooLate, Fate::Down]),
            skipped: count(&[Fate::Skipped]),
        }
    }

    fn said(&self) -> Vec<String> {
        let counts =
            [(self.ran, "ran"), (self.late, "late or made up"), (self.not, "did not run"), (self.skipped, "skipped")];
        let some = counts.into_iter().filter(|(number, _)| *number > 0);
        some.map(|(number, word)| format!("{} {word}", words::grouped(number))).collect()
    }

    fn class(&self) -> &'static str {
        match (self.not, self.late) {
            (1.., _) => "f-fail",
            (_, 1..) => "f-wait",
            _ => "f-go",
        }
    }
}

fn dot_class(fate: Fate) -> &'static str {
    match fate {
        Fate::Ran => "f-ok",
        Fate::Late | Fate::Coalesced => "f-wait",
        Fate::TooLate | Fate::Down => "f-fail",
        Fate::Skipped | Fate::BeforeKnown => "skip",
    }
}

/// One day of one flow.
fn cell(look: &Look, lane: &Lane, day: usize, days: &[Timestamp], far: bool) -> Cell {
    let (from, to) = (days[day], days[day + 1]);
    let all = to.duration_since(from).as_secs_f64().max(1.0);
    let place = |at: Timestamp| (at.duration_since(from).as_secs_f64() * 100.0 / all).clamp(0.0, 100.0);
    let within = |at: Timestamp| at >= from && at < to;
    let past: Vec<&OccurrenceRow> = lane.past.iter().filter(|row| within(row.at.0)).collect();
    let DayDue { times: due, more } = &lane.due[day];
    let count = Count::of(&past);
    let mut said = count.said();
    let is_cut = lane.read_from.is_some_and(|first| from < first);
    if is_cut {
        said.push(
            if past.is_empty() { "too much to count here" } else { "more before, too much to count here" }.into(),
        );
    }
    let dense = is_cut || past.len() + due.len() > DENSE;
    let few = past.len() + due.len() <= 3 && !dense;
    let clock = |at: Timestamp| at.to_zoned(look.zone.clone()).strftime("%H:%M").to_string();
    let (mut dots, mut bands) = (Vec::new(), Vec::new());
    if !due.is_empty() {
        said.push(match (dense, due.first()) {
            (true, Some(first)) if !past.is_empty() => format!("next {}", clock(*first)),
            _ if *more => format!("more than {} due", words::grouped(due.len() as u64)),
            _ => format!("{} due", words::grouped(due.len() as u64)),
        });
    }
    if dense {
        let until = place(look.now.clamp(from, to));
        if !past.is_empty() || is_cut {
            let class = if past.is_empty() { "f-line" } else { count.class() };
            bands.push((class, "0%".to_owned(), format!("{until:.1}%")));
        }
        if !due.is_empty() {
            bands.push(("f-line", format!("{until:.1}%"), format!("{:.1}%", 100.0 - until)));
        }
    } else {
        dots.extend(past.iter().map(|row| (dot_class(row.fate_is), format!("{:.1}%", place(row.at.0)), "4.5")));
        dots.extend(due.iter().map(|at| ("due", format!("{:.1}%", place(*at)), "4")));
    }
    let said = if said.is_empty() { "nothing due".to_owned() } else { said.join(", ") };
    let times: Vec<String> = past.iter().map(|row| row.at.0).rev().chain(due.iter().copied()).map(clock).collect();
    Cell {
        past: to <= look.now,
        far,
        caption: match () {
            () if few && count.late + count.not + count.skipped == 0 => times.join(", "),
            () if past.is_empty() && due.is_empty() && !is_cut => String::new(),
            () => said.clone(),
        },
        said: if few && !times.is_empty() { format!("{}: {said}", times.join(", ")) } else { said },
        now: within(look.now).then(|| format!("{:.1}%", place(look.now))),
        dots,
        bands,
    }
}

impl Schedule {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    /// A time in a flow's own zone, where that is another one.
    fn own(&self, due: &DueRow) -> Option<String> {
        let zone = jiff::tz::TimeZone::get(&due.timezone).ok()?;
        let differs = zone.to_offset(due.at.0) != self.look().zone.to_offset(due.at.0);
        differs.then(|| format!("{} {}", due.at.0.to_zoned(zone).strftime("%H:%M"), city(&due.timezone)))
    }

    fn until(&self, row: &OccurrenceRow) -> Option<Time> {
        row.until.filter(|until| *until != row.at)
    }
}
