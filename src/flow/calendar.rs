//! Calendar files (RFC 5545), as far as days go: which days have a name.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan as _};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// An event is no longer than this.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366);
/// So many of the things that are not read are told one by one.
const TOLD: usize = 5;

/// Days with the names that a calendar gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Of whole days, and of times without a zone: these are the same days everywhere.
    days: BTreeMap<Date, String>,
    /// From this instant to that one, without it: which days these are depends on who asks.
    times: Vec<(Timestamp, Timestamp, String)>,
    yearly: Vec<Yearly>,
    /// Sentences.
    unread: Vec<String>,
}

/// What comes again each year.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Yearly {
    first: Moment,
    length: SignedDuration,
    every: i16,
    last: Option<DateTime>,
    name: String,
    without: Vec<Date>,
}

/// A local time, and where; of whole days and times without a zone, anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moment {
    local: DateTime,
    zone: Option<TimeZone>,
}

impl Calendar {
    /// What the calendar calls a day of a zone; none where it says nothing of it.
    pub fn name_of(&self, day: Date, zone: &TimeZone) -> Option<&str> {
        let whole = || self.days.get(&day);
        let time = || {
            let begin = |day: Date| Some(day.to_zoned(zone.clone()).ok()?.timestamp());
            let (from, to) = (begin(day)?, begin(day.tomorrow().ok()?)?);
            let lies_in = |begin: Timestamp, end: Timestamp| begin < to && (end > from || begin >= from);
            self.times.iter().find(|(begin, end, _)| lies_in(*begin, *end)).map(|(.., name)| name)
        };
        let yearly = || self.yearly.iter().find(|yearly| yearly.has(day, zone)).map(|yearly| &yearly.name);
        whole().or_else(time).or_else(yearly).map(String::as_str)
    }

    /// What of it is not read, in one sentence; none where all is.
    pub fn unread(&self) -> Option<String> {
        let told = self.unread.get(..TOLD).unwrap_or(&self.unread).join("; ");
        match self.unread.len() {
            0 => None,
            count if count > TOLD => Some(format!("{told}; and {} more", count - TOLD)),
            _ => Some(told),
        }
    }

    /// The same days, though its file has become one that cannot be read.
    pub fn kept(&self, why: &str) -> Self {
        let unread = vec![format!("{why}; the days that it had before still count")];
        Self { unread, ..self.clone() }
    }

    fn not_read(&mut self, what: String) {
        if !self.unread.contains(&what) {
            self.unread.push(what);
        }
    }
}

impl Yearly {
    fn has(&self, day: Date, zone: &TimeZone) -> bool {
        // It may have begun in the year before, and where it begins it may be the next year already.
        (day.year() - 1..=day.year() + 1).any(|year| {
            let since = year - self.first.local.year();
            // The 29th of February comes only where there is one.
            let Ok(local) = self.first.local.with().year(year).build() else { return false };
            let first = Moment { local, zone: self.first.zone.clone() };
            since >= 0
                && since % self.every == 0
                && self.last.is_none_or(|last| local <= last)
                && !self.without.contains(&local.date())
                && first.days(self.length, zone).is_some_and(|(first, last)| first <= day && day <= last)
        })
    }
}

impl Moment {
    /// `20261225`, `20261225T090000`, or with a `Z`; 3.3.4 and 3.3.5. `zone` is that of a `TZID`.
    fn read(text: &str, zone: Option<TimeZone>) -> Option<Self> {
        let number = |text: &str, from: usize| text.get(from..from + 2)?.parse::<i8>().ok();
        let year = text.get(..4)?.parse::<i16>().ok()?;
        let date = Date::new(year, number(text, 4)?, number(text, 6)?).ok()?;
        let Some(time) = text.get(8..).filter(|rest| !rest.is_empty()) else {
            return Some(Self { local: date.at(0, 0, 0, 0), zone: None });
        };
        let time = time.strip_prefix(['T', 't'])?;
        let (time, zone) = match time.strip_suffix(['Z', 'z']) {
            Some(time) => (time, Some(TimeZone::UTC)),
            None => (time, zone),
        };
        // A leap second belongs to its minute.
        let second = number(time, 4).unwrap_or_default().min(59);
        let time = Time::new(number(time, 0)?, number(time, 2)?, second, 0).ok()?;
        Some(Self { local: date.to_datetime(time), zone })
    }

    fn instant(&self) -> Option<Timestamp> {
        self.zone.as_ref()?.to_timestamp(self.local).ok()
    }

    /// The same instant by the clock of another one.
    fn as_seen_at(&self, other: &Self) -> DateTime {
        let there = self.instant().zip(other.zone.as_ref()).map(|(at, zone)| zone.to_datetime(at));
        there.unwrap_or(self.local)
    }

    /// The first and the last day, in a zone, of what begins then.
    fn days(&self, length: SignedDuration, zone: &TimeZone) -> Option<(Date, Date)> {
        let to_last = length.checked_sub(SignedDuration::from_nanos(1))?;
        let (first, last) = match &self.zone {
            None => (self.local, self.local.checked_add(to_last).ok()?),
            Some(_) => {
                let begin = self.instant()?;
                (zone.to_datetime(begin), zone.to_datetime(begin.checked_add(to_last).ok()?))
            }
        };
        Some((first.date(), last.date().max(first.date())))
    }
}

/// Reads the events of a calendar. Only lines, names and values of RFC 5545 are needed for that: a library would bring
/// a second library for times and a second one for parsing with it.
///
/// # Errors
/// A sentence, for what is no calendar and for one that is cut off. What cannot be read of a whole one is in `unread`.
pub fn parse(text: &str) -> Result<Calendar, String> {
    // A line that begins with a blank belongs to the one before (3.1).
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let unfolded = text.replace("\n ", "").replace("\n\t", "");
    let lines = || unfolded.lines().filter(|line| !line.trim().is_empty());
    if !lines().next().is_some_and(|line| line.trim().eq_ignore_ascii_case("BEGIN:VCALENDAR")) {
        return Err("this is no calendar file".into());
    }
    let mut calendar = Calendar::default();
    let mut event = Event::default();
    // What has begun and not ended. What lies within an event, such as an alarm, has dates of its own.
    let mut open: Vec<String> = Vec::new();
    for line in lines().filter_map(property) {
        let what = line.value.to_ascii_uppercase();
        match line.name.as_str() {
            "BEGIN" => {
                if what == "VEVENT" {
                    event = Event::default();
                }
                open.push(what);
            }
            "END" => {
                if open.pop().as_ref() != Some(&what) {
                    return Err(format!("its parts do not end as they begin, at `END:{what}`"));
                }
                if what == "VEVENT" && event.text("STATUS") != Some("CANCELLED") {
                    calendar.add(&event);
                }
            }
            _ if open.last().is_some_and(|last| last == "VEVENT") => event.0.push(line),
            _ => {}
        }
    }
    match open.pop() {
        Some(part) => Err(format!("it is cut off: `END:{part}` is missing")),
        None => Ok(calendar),
    }
}

/// A line: its name in capital letters, its `TZID`, its value.
struct Line {
    name: String,
    zone: Option<String>,
    value: String,
}

/// A parameter between name and value may hold a colon in quotes.
fn property(line: &str) -> Option<Line> {
    let mut quoted = false;
    let colon = line.find(|c: char| {
        quoted ^= c == '"';
        c == ':' && !quoted
    })?;
    let mut parts = line[..colon].split(';');
    let name = parts.next().unwrap_or_default().trim().to_ascii_uppercase();
    let mut parameters = parts.filter_map(|part| part.split_once('='));
    let zone = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("TZID"));
    let zone = zone.map(|(_, value)| value.trim().trim_matches('"').to_owned());
    Some(Line { name, zone, value: line[colon + 1..].trim().to_owned() })
}

/// The lines of an event.
#[derive(Default)]
struct Event(Vec<Line>);

impl Event {
    fn line(&self, name: &str) -> Option<&Line> {
        self.0.iter().find(|line| line.name == name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.line(name).map(|line| line.value.as_str())
    }

    /// How long it takes (3.6.1): without an end a whole day, or no time at all.
    fn length(&self, first: &Moment, is_whole: bool) -> Result<SignedDuration, String> {
        let length = if let Some(line) = self.line("DTEND") {
            let wrong = || format!("`DTEND:{}` is no day", line.value);
            let end = line.moment().ok_or_else(wrong)?;
            match (first.instant(), end.instant()) {
                (Some(first), Some(end)) => end.duration_since(first),
                _ => end.local.duration_since(first.local),
            }
        } else if let Some(text) = self.text("DURATION") {
            let wrong = |_| format!("`DURATION:{text}` is no span");
            let span: Span = text.parse().map_err(wrong)?;
            let home = first.zone.clone().unwrap_or(TimeZone::UTC);
            let first = first.local.to_zoned(home).map_err(wrong)?;
            first.checked_add(span).map_err(wrong)?.duration_since(&first)
        } else {
            SignedDuration::ZERO
        };
        Ok(length.clamp(if is_whole { DAY } else { SignedDuration::ZERO }, LONGEST))
    }

    /// Days on which it does not come, where it is at home.
    fn without(&self, first: &Moment) -> Vec<Date> {
        let listed = self.0.iter().filter(|line| line.name == "EXDATE");
        let moments = listed.flat_map(|line| {
            line.value.split(',').filter_map(|text| Moment::read(text, line.zone().unwrap_or_default()))
        });
        moments.map(|moment| moment.as_seen_at(first).date()).collect()
    }
}

impl Line {
    /// The zone that it names, if it names one.
    ///
    /// # Errors
    /// The name, where the tz database does not have it.
    fn zone(&self) -> Result<Option<TimeZone>, &str> {
        let Some(name) = self.zone.as_deref() else { return Ok(None) };
        // Some programs put their own address before the name, with a `/` first (3.2.19).
        let mut names = name
            .strip_prefix('/')
            .into_iter()
            .flat_map(|name| std::iter::successors(Some(name), |name| name.split_once('/').map(|(_, rest)| rest)));
        let found = TimeZone::get(name).ok().or_else(|| names.find_map(|name| TimeZone::get(name).ok()));
        found.map(Some).ok_or(name)
    }

    fn moment(&self) -> Option<Moment> {
        Moment::read(&self.value, self.zone().unwrap_or_default())
    }
}

impl Calendar {
    fn add(&mut self, event: &Event) {
        let name = event.text("SUMMARY").map_or_else(|| "a day of the calendar".to_owned(), plain);
        let said =
            event.text("SUMMARY").map_or("an event without a name".to_owned(), |name| format!("`{}`", plain(name)));
        if let Err(why) = self.read(event, &name) {
            self.not_read(format!("{said} is not read: {why}"));
        }
        if event.line("RDATE").is_some() {
            self.not_read(format!("the further days of {said} (`RDATE`) are not read; make each an event of its own"));
        }
        for zone in ["DTSTART", "DTEND"].into_iter().filter_map(|name| event.line(name)?.zone().err()) {
            self.not_read(format!("`TZID={zone}` is no zone that is known here, so its times count as local ones"));
        }
    }

    fn read(&mut self, event: &Event, name: &str) -> Result<(), String> {
        let Some(begin) = event.line("DTSTART") else { return Err("it has no `DTSTART`".into()) };
        let first = begin.moment().ok_or_else(|| format!("`DTSTART:{}` is no day", begin.value))?;
        let length = event.length(&first, begin.value.len() == 8)?;
        if let Some(rule) = event.text("RRULE") {
            let yearly = yearly(rule, first, length, name.to_owned(), event);
            self.yearly.push(yearly.ok_or_else(|| {
                format!("it comes again by `{rule}`, and only `FREQ=YEARLY` is known; list its days one by one")
            })?);
        } else if let Some(begin) = first.instant() {
            let end = begin.checked_add(length).unwrap_or(Timestamp::MAX);
            self.times.push((begin, end, name.to_owned()));
        } else if let Some((first, last)) = first.days(length, &TimeZone::UTC) {
            let days = first.series(1.day()).take_while(|day| *day <= last);
            days.for_each(|day| _ = self.days.entry(day).or_insert_with(|| name.to_owned()));
        }
        Ok(())
    }
}

/// RFC 5545, 3.3.11.
fn plain(text: &str) -> String {
    text.replace("\\n", " ").replace("\\N", " ").replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\")
}

/// What comes again each year on its day; none for another rule (3.3.10).
fn yearly(rule: &str, first: Moment, length: SignedDuration, name: String, event: &Event) -> Option<Yearly> {
    let (mut every, mut last, mut is_yearly) = (1, None, false);
    let end_of = |day: Date| day.at(23, 59, 59, 0);
    let own = first.local;
    for (key, value) in rule.split(';').filter_map(|part| part.split_once('=')) {
        match key.to_ascii_uppercase().as_str() {
            "FREQ" => is_yearly = value.eq_ignore_ascii_case("YEARLY"),
            "INTERVAL" => every = value.parse::<i16>().ok().filter(|every| *every > 0)?,
            "UNTIL" => {
                let until = Moment::read(value, None)?.as_seen_at(&first);
                last = Some(if value.len() == 8 { end_of(until.date()) } else { until });
            }
            "COUNT" => {
                let count = value.parse::<i16>().ok().filter(|count| *count > 0)?;
                let year = own.year().checked_add((count - 1).checked_mul(every)?)?;
                last = Some(end_of(date(year.min(9999), 12, 31)));
            }
            "BYMONTH" if value.parse() == Ok(own.month()) => {}
            "BYMONTHDAY" if value.parse() == Ok(own.day()) => {}
            "WKST" => {}
            _ => return None,
        }
    }
    let without = event.without(&first);
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
            assert_eq!(calendar.name_of(day, &TimeZone::UTC), name, "{day}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_and_the_other_days_count() {
        for (event, part) in [
            ("DTSTART:soon\n", "an event without a name is not read: `DTSTART:soon` is no day"),
            ("DTSTART:20260101T2560Z\n", "`DTSTART:20260101T2560Z` is no day"),
            ("SUMMARY:Yoga\n", "`Yoga` is not read: it has no `DTSTART`"),
            (
                "DTSTART:20260101\nRRULE:FREQ=WEEKLY\nSUMMARY:Yoga\n",
                "`Yoga` is not read: it comes again by `FREQ=WEEKLY`",
            ),
            ("DTSTART:20260101\nRRULE:FREQ=YEARLY;BYDAY=-1MO\n", "BYDAY"),
            ("DTSTART:20260101\nRDATE:20260105\nSUMMARY:Yoga\n", "the further days of `Yoga` (`RDATE`) are not read"),
            ("DTSTART;TZID=Home:20260101T090000\n", "`TZID=Home` is no zone that is known here"),
        ] {
            let text = format!(
                "BEGIN:VEVENT\n{event}END:VEVENT\nBEGIN:VEVENT\nDTSTART:20261225\nSUMMARY:Christmas\nEND:VEVENT\n"
            );
            let calendar = calendar(&text).unwrap();
            assert!(calendar.unread().is_some_and(|unread| unread.contains(part)), "{event}: {:?}", calendar.unread());
            assert_eq!(calendar.name_of(date(2026, 12, 25), &TimeZone::UTC), Some("Christmas"), "{event}");
        }
        let many = "BEGIN:VEVENT\nDTSTART:@\nEND:VEVENT\n";
        let many: String = (0..7).map(|number| many.replace('@', &number.to_string())).collect();
        assert!(calendar(&many).unwrap().unread().is_some_and(|unread| unread.ends_with("; and 2 more")));
        assert!(parse("name,phone\n").unwrap_err().contains("no calendar"));
    }

    #[test]
    fn a_calendar_that_is_cut_off_is_none() {
        let whole = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20261225\nBEGIN:VALARM\nTRIGGER:-P1D\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR";
        assert!(parse(whole).unwrap().unread().is_none());
        let kept = parse(whole).unwrap().kept("it is cut off");
        assert!(kept.name_of(date(2026, 12, 25), &TimeZone::UTC).is_some() && kept.unread().is_some());
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err(), "{}", &whole[..end]);
        }
        assert!(parse(&whole.replace("END:VEVENT\n", "")).is_err(), "an event without an end");
    }

    #[test]
    fn times_lie_on_the_local_days_of_the_schedule() {
        let [berlin, tokyo, york] = ["Europe/Berlin", "Asia/Tokyo", "America/New_York"];
        for (event, zone, days) in [
            // The local 25th, by instants.
            ("DTSTART:20261224T230000Z\nDTEND:20261225T230000Z", berlin, "25"),
            ("DTSTART:20261224T230000Z\nDTEND:20261225T230000Z", "UTC", "24 25"),
            // 00:30 on the 26th.
            ("DTSTART:20261225T233000Z\nDTEND:20261225T234500Z", berlin, "26"),
            ("DTSTART:20261225T233000Z\nDURATION:PT15M", berlin, "26"),
            ("DTSTART:20261225T230000Z", berlin, "26"),
            ("DTSTART:20261225T223000Z\nDURATION:PT1H", berlin, "25 26"),
            ("DTSTART;TZID=America/New_York:20261225T200000", berlin, "26"),
            ("DTSTART;TZID=\"America/New_York\":20261225T200000", york, "25"),
            ("DTSTART;TZID=/example.org/2026/America/New_York:20261225T200000", berlin, "26"),
            // No zone: the same days everywhere.
            ("DTSTART:20261225T200000\nDTEND:20261225T230000", tokyo, "25"),
            ("DTSTART:20261225T200000\nDTEND:20261226T000000", tokyo, "25"),
            ("DTSTART;TZID=Home:20261225T200000", tokyo, "25"),
            ("DTSTART;VALUE=DATE:20261225", tokyo, "25"),
            // Each year, at 02:00 on the 26th.
            ("DTSTART;TZID=America/New_York:20201225T200000\nRRULE:FREQ=YEARLY", berlin, "26"),
            ("DTSTART:20201225T233000Z\nRRULE:FREQ=YEARLY;UNTIL=20261225T233000Z", berlin, "26"),
            ("DTSTART:20201225T233000Z\nRRULE:FREQ=YEARLY;UNTIL=20261225T230000Z", berlin, ""),
            ("DTSTART:20201225T233000Z\nRRULE:FREQ=YEARLY\nEXDATE:20261225T233000Z", berlin, ""),
            ("DTSTART:20201225T233000Z\nRRULE:FREQ=YEARLY\nEXDATE;TZID=Europe/Berlin:20261226T003000", berlin, ""),
        ] {
            let calendar = calendar(&format!("BEGIN:VEVENT\n{event}\nSUMMARY:x\nEND:VEVENT\n")).unwrap();
            let zone = TimeZone::get(zone).unwrap();
            let taken = (23..=28).filter(|day| calendar.name_of(date(2026, 12, *day), &zone).is_some());
            assert_eq!(taken.map(|day| day.to_string()).collect::<Vec<_>>().join(" "), days, "{event}");
        }
        // In Tokyo it is the next year already.
        let new_year = calendar("BEGIN:VEVENT\nDTSTART:20201231T160000Z\nRRULE:FREQ=YEARLY\nSUMMARY:x\nEND:VEVENT\n");
        let tokyo = TimeZone::get(tokyo).unwrap();
        assert_eq!(new_year.unwrap().name_of(date(2027, 1, 1), &tokyo), Some("x"));
    }
}
