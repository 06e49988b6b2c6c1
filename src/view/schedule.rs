//! Times: what is due, and what became of what was.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Seen, Time, View, words};
use crate::flow::schedule::just_before;
use crate::flow::{Timed, Trigger};
use crate::id::RunId;
use crate::model::occurrence::Fate;
use crate::store::records::{OccurrenceFilter, OccurrenceRecord};
use crate::units::format_duration;

/// Past times that are read of all flows together. Where there are more, each flow is read by itself.
const MOST: usize = 10_000;
/// Past times of one flow that are read then: four days of one that is due each minute.
const MOST_OF_A_FLOW: usize = 6_000;
/// Coming times of a flow that are counted of a day: what is due each 30 seconds stays below.
const MOST_OF_A_DAY: usize = 3_000;
/// Past times that are read, and coming ones that are counted, in all; from there on only some of each.
const MOST_COUNTED: usize = 100_000;
/// As many of a day as are drawn one by one, and some more.
const FEWEST: usize = 20;

/// A time that was due.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OccurrenceRow {
    /// Name of the flow.
    pub flow: String,
    /// Which of its triggers.
    pub trigger: String,
    /// When it was due; of a stretch, the first.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Of a stretch, the last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// How many this is; none when nobody counted.
    pub count: Option<u32>,
    /// `ran`, `late`, `coalesced`, `too_late`, `skipped`, `down` or `before_known`.
    pub fate: &'static str,
    /// The same, to be matched.
    #[serde(skip)]
    pub fate_is: Fate,
    /// How much later the run was begun.
    pub late_by: Option<String>,
    /// The same in words.
    #[serde(skip)]
    pub late_said: Option<String>,
    /// The run that it began.
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// In words.
    pub reason: Option<String>,
}

/// A time that will be due.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DueRow {
    /// Name of the flow.
    pub flow: String,
    /// Which of its triggers.
    pub trigger: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Its zone.
    pub timezone: String,
    /// What the clock does on that day, if it is changed, and what that means.
    pub note: Option<String>,
}

/// All times of one flow in some days.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Name of the flow.
    pub flow: String,
    /// Whether its triggers are armed.
    pub enabled: bool,
    /// What was due.
    pub past: Vec<OccurrenceRow>,
    /// What was due before this was not read: it is too much.
    pub read_from: Option<Timestamp>,
    /// What will be, day by day.
    pub due: Vec<DayDue>,
}

/// What will be due on one day.
#[derive(Clone, Debug, Default)]
pub struct DayDue {
    /// When, earliest first.
    pub times: Vec<Timestamp>,
    /// There are more than these; nobody counted.
    pub more: bool,
}

/// A change of a zone's clock.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Shift {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// The zone.
    pub timezone: String,
    /// By how many minutes the clock goes on, or back.
    pub minutes: i32,
}

fn row(record: &OccurrenceRecord) -> OccurrenceRow {
    OccurrenceRow {
        flow: record.key.flow.to_string(),
        trigger: record.key.trigger.to_string(),
        at: Time(record.at),
        until: record.until.map(Time),
        count: record.count,
        fate: record.fate.name(),
        fate_is: record.fate,
        late_by: record.late_by.map(format_duration),
        late_said: record.late_by.map(|late| words::span(late.as_secs_f64())),
        run: record.run,
        reason: record.reason.clone(),
    }
}

impl View {
    /// What was due, newest first.
    pub async fn occurrences(&self, filter: OccurrenceFilter) -> Seen<Vec<OccurrenceRow>> {
        Ok(self.store.occurrences(filter).await?.iter().map(row).collect())
    }

    fn due_next(&self, timed: &Timed, after: Timestamp) -> Option<Timestamp> {
        timed.due_after(after, &self.calendars).next()
    }

    fn timed(&self) -> Vec<(String, String, Arc<Timed>, bool)> {
        let catalog = self.catalog.borrow().clone();
        let mut all = Vec::new();
        for flow in catalog.flows.values() {
            for trigger in &flow.triggers {
                if let Trigger::Timed(timed) = trigger {
                    let key = trigger.key().unwrap_or_default();
                    all.push((flow.name.to_string(), key, timed.clone(), flow.enabled));
                }
            }
        }
        all
    }

    /// What will be due, from `from` on, earliest first.
    pub fn next(&self, from: Timestamp, to: Option<Timestamp>, most: usize) -> Vec<DueRow> {
        let mut heads: Vec<_> = self
            .timed()
            .into_iter()
            .filter(|(.., enabled)| *enabled)
            .filter_map(|(flow, key, timed, _)| {
                self.due_next(&timed, just_before(from)).map(|at| (at, flow, key, timed))
            })
            .collect();
        let mut rows = Vec::new();
        while rows.len() < most {
            let Some(place) = (0..heads.len()).min_by_key(|place| heads[*place].0) else { break };
            let (at, flow, trigger, timed) = &mut heads[place];
            if to.is_some_and(|to| *at >= to) {
                break;
            }
            let (timezone, note) = (timed.schedule.zone_name().to_owned(), timed.schedule.note(*at));
            rows.push(DueRow { flow: flow.clone(), trigger: trigger.clone(), at: Time(*at), timezone, note });
            match self.due_next(timed, *at) {
                Some(next) => *at = next,
                None => drop(heads.swap_remove(place)),
            }
        }
        rows
    }

    /// The next time of each flow, earliest first.
    pub fn soonest(&self, from: Timestamp, most: usize) -> Vec<DueRow> {
        let mut rows: Vec<DueRow> = Vec::new();
        for (flow, trigger, timed, enabled) in self.timed() {
            let Some(at) = self.due_next(&timed, from).filter(|_| enabled).map(Time) else { continue };
            let (timezone, note) = (timed.schedule.zone_name().to_owned(), timed.schedule.note(at.0));
            match rows.iter_mut().find(|row| row.flow == flow) {
                Some(row) if row.at <= at => {}
                Some(row) => *row = DueRow { flow, trigger, at, timezone, note },
                None => rows.push(DueRow { flow, trigger, at, timezone, note }),
            }
        }
        rows.sort_by_key(|row| row.at);
        rows.truncate(most);
        rows
    }

    /// All times of some days, flow by flow: what became of those before now, and what comes. A day ends where the
    /// next one begins, the last one at the last instant.
    pub async fn lanes(&self, days: &[Timestamp]) -> Seen<Vec<Lane>> {
        let filter =
            OccurrenceFilter { flow: None, from: days.first().copied(), to: days.last().copied(), limit: MOST };
        let past = self.occurrences(filter.clone()).await?;
        let (mut read, mut counted) = (0, 0);
        let mut lanes: Vec<Lane> = Vec::new();
        for (flow, _, timed, enabled) in self.timed() {
            let place = match lanes.iter().position(|lane| lane.flow == flow) {
                Some(place) => place,
                None => {
                    let limit = MOST_OF_A_FLOW.min(MOST_COUNTED.saturating_sub(read)).max(FEWEST * 7);
                    let own = OccurrenceFilter { flow: Some(flow.clone()), limit, ..filter.clone() };
                    let (past, read_from) = match past.len() < MOST {
                        true => (past.iter().filter(|row| row.flow == flow).cloned().collect(), None),
                        false => {
                            let own = self.occurrences(own).await?;
                            let oldest = own.get(limit - 1).map(|oldest| oldest.at.0);
                            (own, oldest)
                        }
                    };
                    read += past.len();
                    let due = vec![DayDue::default(); days.len().saturating_sub(1)];
                    lanes.push(Lane { flow, enabled, past, read_from, due });
                    lanes.len() - 1
                }
            };
            for (day, due) in days.windows(2).zip(&mut lanes[place].due).filter(|_| enabled) {
                let most = MOST_OF_A_DAY.min(MOST_COUNTED.saturating_sub(counted)).max(FEWEST);
                counted += self.fill(due, &timed, day, most);
            }
        }
        lanes.iter_mut().flat_map(|lane| &mut lane.due).for_each(|day| day.times.sort_unstable());
        Ok(lanes)
    }

    /// Adds what a trigger has to come on a day; gives how many times it added.
    fn fill(&self, day: &mut DayDue, timed: &Timed, span: &[Timestamp], most: usize) -> usize {
        let &[from, to] = span else { return 0 };
        let now = self.clock.now();
        // What is due just now has its fate already.
        let after = if from > now { just_before(from) } else { now };
        if after >= to {
            return 0;
        }
        let before = day.times.len();
        let room = most.saturating_sub(before);
        let mut coming = timed.due_after(after, &self.calendars).take_while(|at| *at < to);
        day.times.extend(coming.by_ref().take(room));
        day.more |= coming.next().is_some();
        day.times.len() - before
    }

    /// The zones whose clocks flows go by, each once.
    pub fn zones_in_use(&self) -> Vec<TimeZone> {
        let mut zones: Vec<TimeZone> = Vec::new();
        for (.., timed, _) in self.timed().into_iter().filter(|(.., enabled)| *enabled) {
            if !zones.contains(timed.schedule.zone()) {
                zones.push(timed.schedule.zone().clone());
            }
        }
        zones
    }

    /// When clocks change in a span, in one zone.
    pub fn shifts(&self, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Shift> {
        let offset = |at: Timestamp| zone.to_offset(at).seconds();
        let changes = zone.following(just_before(from)).take_while(|change| change.timestamp() < to);
        let shift = |change: jiff::tz::TimeZoneTransition<'_>| {
            let at = change.timestamp();
            let before = at.checked_sub(std::time::Duration::from_secs(1)).unwrap_or(at);
            let minutes = (offset(at) - offset(before)) / 60;
            let timezone = zone.iana_name().unwrap_or("local time").to_owned();
            (minutes != 0).then_some(Shift { at: Time(at), timezone, minutes })
        };
        changes.filter_map(shift).collect()
    }
}
