//! Schedules: what is read is asked for its next instants, in zones with strange clocks.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use postrider::flow::schedule::Schedule;
use proptest::sample::select;

use super::writings::edited;
use super::{bounded, hunt, seeds};

const WORDS: &[&str] = &[
    "*",
    "*/5",
    "0",
    "7",
    "1-5",
    "MON-FRI",
    "mon,wed",
    "L",
    "5#3",
    "15W",
    "?",
    "@daily",
    "@yearly",
    "JAN",
    "29 2",
    "31",
    "60",
    "-",
    "/",
    ",",
    "#",
    " ",
    "LW",
    "0-59/7",
    "*/0",
    "99999999999",
    "FRI#5",
    "1W",
    "@every",
    "15m",
    "24h",
    "0s",
    "2026-12-24T18:00",
    "2026-03-29T02:30",
    "9999-12-31",
    "Z",
];

#[test]
fn schedules() {
    let zones =
        vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"];
    let instants = -9_000_000_000_i64..200_000_000_000;
    hunt("schedules", (edited(seeds("schedules"), WORDS), select(zones), instants), |(line, zone, second)| {
        let zone = TimeZone::get(zone).unwrap();
        let start = Timestamp::from_second(second).unwrap();
        // Finding out that a line never fires takes its time, in a build for tests above all.
        bounded(Duration::from_secs(2), 4 << 20, || {
            let read =
                [Schedule::cron(&line, zone.clone()), Schedule::every(&line, zone.clone()), Schedule::at(&line, zone)];
            for schedule in read.into_iter().flatten() {
                let mut last = start;
                for _ in 0..5 {
                    let Some(next) = schedule.next(last) else { break };
                    assert!(next > last, "{line}: {next} does not come after {last}");
                    last = next;
                }
            }
        });
    });
}
