//! Schedules against a plain walk over time, minute by minute, written from the rules in docs/triggers.md:
//!
//! - A line is due at each minute that all its fields fit. Of day and weekday either is enough, unless one of them
//!   begins with `*`: then both must fit.
//! - Where minute or hour begins with `*`, that is all: it is asked at each minute that passes.
//! - Else a time of the local clock counts once, the first time that the clock shows it. Times that the clock leaves
//!   out count when it goes on behind them: all of them together once, and with the time that it goes on with.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use postrider::clock::Clock as _;
use postrider::flow::schedule::Schedule;
use serde_json::Value;

use crate::support::engine::House;
use crate::support::until;

/// Changes of half an hour, an hour and two, at midnight and at night, in both halves of the year, suspended for a
/// month, and none.
const ZONES: [&str; 30] = [
    "UTC",
    "Europe/Berlin",
    "Europe/London",
    "Europe/Lisbon",
    "Europe/Athens",
    "Europe/Moscow",
    "America/New_York",
    "America/Chicago",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/Nuuk",
    "America/Sao_Paulo",
    "Atlantic/Azores",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Jerusalem",
    "Asia/Gaza",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Antarctica/Troll",
];

const LINES: [&str; 22] = [
    "30 2 * * *",
    "0 0 * * *",
    "15,45 1-3 * * *",
    "0 3 * * *",
    "*/10 2 * * *",
    "0 * * * *",
    "7 */6 * * *",
    "5-55/10 0-4 * * SUN",
    "59 23 31 12 *",
    "0 9 29 2 *",
    "0 9 1 1 *",
    "30 0,1,2,3 25-31 3,10 *",
    "0 9 13 * FRI",
    "0 9 */2 * MON",
    "20 2 * 3,10 0",
    "0 12 1-7 * 1-5",
    "0 1-4/2 * * 6,7",
    "40 23 * * MON-FRI",
    "0,30 2 * APR,SEP,OCT *",
    "1 0 * * */2",
    "0 22-23 28-31 * *",
    "*/29 0-2 * 4,9,11 SAT",
];

/// 400 days: both changes of 2028 everywhere, its leap day, and the turn of the year.
fn span() -> (Timestamp, Timestamp) {
    let begin: Timestamp = "2027-12-20T00:00:00Z".parse().unwrap();
    (begin, begin.checked_add(SignedDuration::from_hours(400 * 24)).unwrap())
}

/// A line, read the plain way: five fields, each as the values that fit.
struct Line {
    fields: [Vec<bool>; 5],
    stars: [bool; 5],
}

impl Line {
    fn read(line: &str) -> Self {
        let ranges = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)];
        let months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
        let days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
        let number = |text: &str, place: usize| -> usize {
            let named = match place {
                3 => months.iter().position(|name| *name == text).map(|place| place + 1),
                4 => days.iter().position(|name| *name == text),
                _ => None,
            };
            named.unwrap_or_else(|| text.parse().unwrap())
        };
        let parts: Vec<&str> = line.split(' ').collect();
        let fields = std::array::from_fn(|place| {
            let (least, most) = ranges[place];
            let mut fits = vec![false; most + 1];
            for item in parts[place].split(',') {
                let (range, step) =
                    item.split_once('/').map_or((item, 1), |(range, step)| (range, step.parse().unwrap()));
                let (from, to) = match (range, range.split_once('-')) {
                    ("*", _) => (least, if place == 4 { 6 } else { most }),
                    (_, Some((from, to))) => (number(from, place), number(to, place)),
                    (one, None) => (number(one, place), number(one, place)),
                };
                (from..=to).step_by(step).for_each(|value| fits[value] = true);
            }
            if place == 4 {
                fits[0] |= fits[7];
            }
            fits
        });
        Self { fields, stars: std::array::from_fn(|place| parts[place].starts_with('*')) }
    }

    fn fits(&self, local: DateTime) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let day = days[local.day() as usize];
        let weekday = weekdays[local.weekday().to_sunday_zero_offset() as usize];
        let on_day = if self.stars[2] || self.stars[4] { day && weekday } else { day || weekday };
        minutes[local.minute() as usize] && hours[local.hour() as usize] && months[local.month() as usize] && on_day
    }

    fn runs_on(&self) -> bool {
        self.stars[0] || self.stars[1]
    }
}

/// The walk: what is due behind `begin`, up to `end`, of several lines in one zone.
fn walk(lines: &[Line], zone: &TimeZone, begin: Timestamp, end: Timestamp) -> Vec<BTreeSet<Timestamp>> {
    let minute = SignedDuration::from_mins(1);
    let mut due = vec![BTreeSet::new(); lines.len()];
    let mut shown: HashSet<DateTime> = HashSet::new();
    // From a day before, so that it is known what the clock has shown.
    let mut now = begin.checked_sub(SignedDuration::from_hours(24)).unwrap();
    let mut before: Option<DateTime> = None;
    while now <= end {
        let local = zone.to_datetime(now);
        let is_new = shown.insert(local);
        // Times between the minute before and this one that no clock has shown.
        let mut left_out = Vec::new();
        if let Some(before) = before {
            let mut time = before.checked_add(minute).unwrap();
            while time < local {
                if shown.insert(time) {
                    left_out.push(time);
                }
                time = time.checked_add(minute).unwrap();
            }
        }
        for (line, due) in lines.iter().zip(&mut due) {
            let fits = line.fits(local);
            let is_due = match line.runs_on() {
                true => fits,
                false => (fits && is_new) || left_out.iter().any(|time| line.fits(*time)),
            };
            if is_due && now > begin {
                due.insert(now);
            }
        }
        before = Some(local);
        now = now.checked_add(minute).unwrap();
    }
    due
}

#[test]
fn schedules_are_due_when_a_plain_walk_over_time_says_so() {
    let (begin, end) = span();
    let lines: Vec<Line> = LINES.iter().map(|line| Line::read(line)).collect();
    std::thread::scope(|threads| {
        for some in ZONES.chunks(ZONES.len().div_ceil(2)) {
            let lines = &lines;
            threads.spawn(move || {
                for name in some {
                    let zone = TimeZone::get(name).unwrap();
                    let walked = walk(lines, &zone, begin, end);
                    for (line, walked) in LINES.iter().zip(walked) {
                        let schedule = Schedule::cron(line, zone.clone()).unwrap();
                        let found: BTreeSet<Timestamp> = schedule.after(begin).take_while(|at| *at <= end).collect();
                        let (more, less) = (found.difference(&walked), walked.difference(&found));
                        let differs: Vec<String> =
                            more.map(|at| format!("+{at}")).chain(less.map(|at| format!("-{at}"))).collect();
                        assert!(differs.is_empty(), "{line} in {name}: {differs:?}");
                        // One by one, and from within a minute.
                        let mut after = begin;
                        for at in walked.iter().take(50) {
                            assert_eq!(schedule.next(after), Some(*at), "{line} in {name}");
                            after = at.checked_add(SignedDuration::from_millis(500)).unwrap();
                        }
                    }
                }
            });
        }
    });
}

/// Lines that the engine is driven through, and what they do about missed times.
const DRIVEN: [(&str, &str); 5] = [
    ("30 2 * * *", "latest"),
    ("15,45 1-3 * * *", "skip"),
    ("0 * * * *", "skip"),
    ("59 23 31 12 *", "all"),
    ("0 9 29 2 *", "latest"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_gives_each_time_of_400_days_in_30_zones_one_fate() {
    let (begin, end) = span();
    let mut files = Vec::new();
    for (number, zone) in ZONES.iter().enumerate() {
        for (place, (line, missed)) in DRIVEN.iter().enumerate() {
            let text = format!(
                "timezone: {zone}\ntriggers:\n  - cron: {{ schedule: \"{line}\", missed: {missed}, not_after: 48h }}\nrun: 1\n"
            );
            files.push((format!("flows/z{number}/l{place}.yaml"), text));
        }
    }
    // Nothing of these days is forgotten meanwhile.
    files.push(("postrider.yaml".into(), "keep: { runs: 1000d, messages: 1000d }\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let clock = std::sync::Arc::new(postrider::clock::HandClock::new(begin));
    let mut house = House::again(crate::support::folder(&files), clock).await;
    let schedules: Vec<Vec<Schedule>> = ZONES
        .iter()
        .map(|zone| {
            let zone = TimeZone::get(zone).unwrap();
            DRIVEN.iter().map(|(line, _)| Schedule::cron(line, zone.clone()).unwrap()).collect()
        })
        .collect();
    // A day at a time, and once a hundred days the engine is away for that day.
    for day in 1..=400 {
        if day % 100 == 0 {
            let (folder, clock) = house.stop().await;
            clock.advance(Duration::from_secs(86_400));
            house = House::again(folder, clock).await;
        } else {
            house.pass(Duration::from_secs(86_400));
        }
        let (now, present) = (house.clock_text(), house.clock.now());
        until(&format!("all schedules to come past {now}"), async || {
            let armed = house.engine.store().armed().await.unwrap();
            let is_past = |row: &postrider::store::records::ArmedRow| {
                let (zone, place) = row.key.flow[1..].split_once("/l").unwrap();
                let schedule = &schedules[zone.parse::<usize>().unwrap()][place.parse::<usize>().unwrap()];
                schedule.next(row.position).is_none_or(|next| next > present)
            };
            (armed.len() + 1 == files.len() && armed.iter().all(is_past)).then_some(())
        })
        .await;
    }
    let lines: Vec<Line> = DRIVEN.iter().map(|(line, _)| Line::read(line)).collect();
    for (number, name) in ZONES.iter().enumerate() {
        let walked = walk(&lines, &TimeZone::get(name).unwrap(), begin, end);
        for (place, walked) in walked.into_iter().enumerate() {
            let answer = house.get(&format!("/occurrences?flow=z{number}/l{place}&limit=1000")).await;
            let rows = answer["occurrences"].as_array().unwrap();
            let mut fates: BTreeMap<Timestamp, &str> = BTreeMap::new();
            for row in rows {
                let at = |name: &str| row[name].as_str().map(|text| text.parse::<Timestamp>().unwrap());
                let (first, last) = (at("at").unwrap(), at("until").or(at("at")).unwrap());
                let of: Vec<Timestamp> = walked.range(first..=last).copied().collect();
                assert_eq!(row["count"], of.len(), "{name} {}: {row}", DRIVEN[place].0);
                for at in of {
                    let twice = fates.insert(at, row["fate"].as_str().unwrap());
                    assert_eq!(twice, None, "{name} {}: {at} has two fates", DRIVEN[place].0);
                }
            }
            let missing: Vec<&Timestamp> = walked.iter().filter(|at| !fates.contains_key(at)).collect();
            assert!(missing.is_empty(), "{name} {}: without a fate: {missing:?}", DRIVEN[place].0);
            // Each run is one instant's.
            let runs: Vec<&Value> = rows.iter().map(|row| &row["run"]).filter(|run| !run.is_null()).collect();
            let different: HashSet<String> = runs.iter().map(ToString::to_string).collect();
            assert_eq!(different.len(), runs.len(), "{name} {}", DRIVEN[place].0);
        }
    }
}
