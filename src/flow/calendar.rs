//! Calendar files (RFC 5545), as far as whole days go: which days have a name.

use std::collections::BTreeMap;

use jiff::civil::{Date, date};
use jiff::{Span, ToSpan as _};

/// Most days of one event.
const LONGEST: i32 = 366;

/// Days with the names that a calendar gives them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    days: BTreeMap<Date, String>,
    yearly: Vec<Yearly>,
}

/// What comes again each year.
#[derive(Debug, PartialEq, Eq)]
struct Yearly {
    first: Date,
    length: i32,
    every: i16,
    last: Option<Date>,
    name: String,
    without: Vec<Date>,
}

impl Calendar {
    /// What the calendar calls a day; none where it says nothing of it.
    pub fn name_of(&self, day: Date) -> Option<&str> {
        let yearly = || self.yearly.iter().find(|yearly| yearly.has(day)).map(|yearly| yearly.name.as_str());
        self.days.get(&day).map(String::as_str).or_else(yearly)
    }
}

impl Yearly {
    fn has(&self, day: Date) -> bool {
        // It may have begun in the year before.
        [day.year(), day.year() - 1].into_iter().any(|year| {
            let since = year - self.first.year();
            // The 29th of February comes only where there is one.
            let Ok(first) = Date::new(year, self.first.month(), self.first.day()) else { return false };
            since >= 0
                && since % self.every == 0
                && self.last.is_none_or(|last| first <= last)
                && !self.without.contains(&first)
                && (0..self.length).contains(&days_between(first, day))
        })
    }
}

fn days_between(first: Date, day: Date) -> i32 {
    day.since(first).map_or(-1, |span| span.get_days())
}

/// Reads the events of a calendar. Only lines, names and values of RFC 5545 are needed for that: a library would bring
/// a second library for times and a second one for parsing with it.
///
/// # Errors
/// A sentence, for what is no calendar and for repetitions that are not read.
pub fn parse(text: &str) -> Result<Calendar, String> {
    // A line that begins with a blank belongs to the one before (3.1).
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let unfolded = text.replace("\n ", "").replace("\n\t", "");
    let mut lines = unfolded.lines().filter(|line| !line.trim().is_empty());
    if !lines.next().is_some_and(|line| line.trim().eq_ignore_ascii_case("BEGIN:VCALENDAR")) {
        return Err("this is no calendar file".into());
    }
    let mut calendar = Calendar::default();
    let mut event: Option<Event> = None;
    // What lies within an event, such as an alarm, has dates of its own.
    let mut within = 0;
    for (name, value) in lines.filter_map(property) {
        match (name.as_str(), value.trim().to_ascii_uppercase().as_str()) {
            ("BEGIN", "VEVENT") => event = Some(Event::default()),
            ("BEGIN", _) if event.is_some() => within += 1,
            ("END", "VEVENT") => {
                if let Some(event) = event.take().filter(|event| event.text("STATUS") != Some("CANCELLED")) {
                    calendar.add(&event)?;
                }
                within = 0;
            }
            ("END", _) if within > 0 => within -= 1,
            _ => {
                if let Some(event) = event.as_mut().filter(|_| within == 0) {
                    event.0.push((name, value.trim().to_owned()));
                }
            }
        }
    }
    Ok(calendar)
}

/// The name of a line in capital letters, and its value. A parameter between the two may hold a colon in quotes.
fn property(line: &str) -> Option<(String, &str)> {
    let mut quoted = false;
    let colon = line.find(|c: char| {
        quoted ^= c == '"';
        c == ':' && !quoted
    })?;
    let name = line[..colon].split(';').next().unwrap_or_default();
    Some((name.trim().to_ascii_uppercase(), &line[colon + 1..]))
}

/// The lines of an event.
#[derive(Default)]
struct Event(Vec<(String, String)>);

impl Event {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Calendar {
    fn add(&mut self, event: &Event) -> Result<(), String> {
        let name = event.text("SUMMARY").map_or_else(|| "a day of the calendar".to_owned(), plain);
        let Some(begin) = event.text("DTSTART") else { return Ok(()) };
        let first = day_of(begin).ok_or_else(|| format!("`DTSTART:{begin}` is no day"))?;
        let length = length(event, first)?.clamp(1, LONGEST);
        match event.text("RRULE") {
            Some(rule) => {
                let yearly = yearly(rule, first, length, name.clone(), exceptions(event));
                self.yearly.push(yearly.ok_or_else(|| {
                    format!("`{name}` comes again by `{rule}`; only `FREQ=YEARLY` is read, so list its days one by one")
                })?);
            }
            None => {
                let days = (0..length).filter_map(|number| first.checked_add(number.days()).ok());
                days.for_each(|day| _ = self.days.entry(day).or_insert_with(|| name.clone()));
            }
        }
        Ok(())
    }
}

/// RFC 5545, 3.3.11.
fn plain(text: &str) -> String {
    text.replace("\\n", " ").replace("\\N", " ").replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\")
}

/// `20261225`, also with a time behind it.
fn day_of(text: &str) -> Option<Date> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i16>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// How many days it has. The end of an event of whole days is the day behind it (3.6.1).
fn length(event: &Event, first: Date) -> Result<i32, String> {
    if let Some(end) = event.text("DTEND") {
        let last = day_of(end).ok_or_else(|| format!("`DTEND:{end}` is no day"))?;
        let is_whole = !end.contains('T') || end.contains("T000000");
        return Ok(days_between(first, last) + i32::from(!is_whole));
    }
    let Some(span) = event.text("DURATION") else { return Ok(1) };
    let span: Span = span.parse().map_err(|_| format!("`DURATION:{span}` is no span"))?;
    Ok(span.get_weeks() * 7 + span.get_days())
}

fn exceptions(event: &Event) -> Vec<Date> {
    let listed = event.0.iter().filter(|(name, _)| name == "EXDATE");
    listed.flat_map(|(_, value)| value.split(',').filter_map(day_of)).collect()
}

/// What comes again each year on its day; none for another rule (3.3.10).
fn yearly(rule: &str, first: Date, length: i32, name: String, without: Vec<Date>) -> Option<Yearly> {
    let (mut every, mut last, mut is_yearly) = (1, None, false);
    for (key, value) in rule.split(';').filter_map(|part| part.split_once('=')) {
        match key.to_ascii_uppercase().as_str() {
            "FREQ" => is_yearly = value.eq_ignore_ascii_case("YEARLY"),
            "INTERVAL" => every = value.parse::<i16>().ok().filter(|every| *every > 0)?,
            "UNTIL" => last = Some(day_of(value)?),
            "COUNT" => {
                let count = value.parse::<i16>().ok().filter(|count| *count > 0)?;
                let year = first.year().checked_add((count - 1).checked_mul(every)?)?;
                last = Some(date(year.min(9999), 12, 31));
            }
            "BYMONTH" if value.parse() == Ok(first.month()) => {}
            "BYMONTHDAY" if value.parse() == Ok(first.day()) => {}
            "WKST" => {}
            _ => return None,
        }
    }
    is_yearly.then_some(Yearly { first, length, every, last, name, without })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(events: &str) -> Result<Calendar, String> {
        parse(&format!(
            "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\n{}END:VCALENDAR\r\n",
            events.replace('\n', "\r\n")
        ))
    }

    #[test]
    fn days_ranges_and_what_comes_each_year_have_names() {
        let calendar = calendar(
            "BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261227\nSUMMARY:Christmas\\, both\n  days\nEND:VEVENT\n\
             BEGIN:VEVENT\nDTSTART;VALUE=DATE:20200101\nRRULE:FREQ=YEARLY\nSUMMARY:New Year\nEXDATE;VALUE=DATE:20280101\nEND:VEVENT\n\
             BEGIN:VEVENT\nDTSTART:20270301T080000Z\nDTEND:20270301T170000Z\nSUMMARY:Stocktaking\nEND:VEVENT\n\
             BEGIN:VEVENT\nDTSTART;VALUE=DATE:20270401\nSTATUS:CANCELLED\nSUMMARY:No\nEND:VEVENT\n\
             BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261231\nDURATION:P2D\nRRULE:FREQ=YEARLY;INTERVAL=2;COUNT=2\nSUMMARY:Turn\nEND:VEVENT\n",
        )
        .unwrap();
        for (day, name) in [
            (date(2026, 12, 24), None),
            (date(2026, 12, 25), Some("Christmas, both days")),
            (date(2026, 12, 26), Some("Christmas, both days")),
            (date(2026, 12, 27), None),
            (date(2027, 1, 1), Some("New Year")),
            (date(2028, 1, 1), None),
            (date(2019, 1, 1), None),
            (date(2027, 3, 1), Some("Stocktaking")),
            (date(2027, 3, 2), None),
            (date(2027, 4, 1), None),
            (date(2026, 12, 31), Some("Turn")),
            (date(2027, 12, 31), None),
            (date(2028, 12, 31), Some("Turn")),
            (date(2030, 12, 31), None),
        ] {
            assert_eq!(calendar.name_of(day), name, "{day}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for (events, part) in [
            ("BEGIN:VEVENT\nDTSTART:soon\nEND:VEVENT\n", "`DTSTART:soon` is no day"),
            ("BEGIN:VEVENT\nDTSTART:20260101\nRRULE:FREQ=WEEKLY\nSUMMARY:Yoga\nEND:VEVENT\n", "`Yoga` comes again"),
            ("BEGIN:VEVENT\nDTSTART:20260101\nRRULE:FREQ=YEARLY;BYDAY=-1MO\nEND:VEVENT\n", "FREQ=YEARLY"),
        ] {
            assert!(calendar(events).unwrap_err().contains(part), "{events}");
        }
        assert!(parse("name,phone\n").unwrap_err().contains("no calendar"));
    }
}
