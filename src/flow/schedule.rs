//! When a schedule is due. Cron lines and intervals are walked in civil time and mapped to instants
//! here, so that daylight saving neither loses nor doubles anything by accident.
//!
//! A cron line whose minute or hour begins with `*`, and an interval of an hour or less, run through
//! gap and overlap by real time, as Vixie's cron does it. Every other one is a fixed local time: in
//! the gap it is due at the first valid instant, in the overlap once, at the first.

mod fields;

use std::fmt;
use std::sync::LazyLock;
use std::time::Duration;

use cron::parser::{CronParser, Seconds, Year};
use cron::{Cron, CronComponent};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::script::time::{When, parse_when};
use crate::units::{format_duration, nearest, parse_duration};

/// Intervals up to this run by real time, longer ones by the local clock.
const REAL_TIME: Duration = Duration::from_secs(3600);
const DAY: u64 = 86_400;
/// Whole days are counted from 1970: a longer one has no time before the last year.
const LONGEST_INTERVAL: Duration = Duration::from_secs(36_525 * DAY);
/// Nothing is due after this year, but for a single time.
pub const LAST_YEAR: u16 = 2200;
/// From 2000 to 2027 the calendar shows each of its fourteen years: what is not due by then never is.
const LAST_CYCLE: u16 = 2028;

static YEARS: LazyLock<CronComponent> = LazyLock::new(|| years_to(LAST_YEAR));
static CYCLE: LazyLock<CronComponent> = LazyLock::new(|| years_to(LAST_CYCLE));

/// All years up to this one.
fn years_to(last: u16) -> CronComponent {
    let mut years = CronComponent::new(1, last, 0, 0);
    // `*` is what every component can be.
    let _ = years.parse("*");
    years
}

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The instants at which a trigger is due.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    zone: TimeZone,
    text: String,
}

#[derive(Clone, Debug)]
enum Rule {
    /// A line.
    Cron(Line),
    /// Seconds; a divisor of nothing in particular, counted from each local midnight.
    Within(u64),
    /// Whole days, counted from the first Monday of 1970.
    Days(i64),
    /// Once.
    At(Timestamp),
}

/// A cron line that was checked. It is kept as its text: parsed it takes 6 KB, and nearly all lines wait.
#[derive(Clone, Debug)]
struct Line {
    /// In numbers, five fields or six.
    fields: Box<str>,
    /// Day and weekday must both fit, not either: one of them begins with `*`. By crontab(5).
    both_days: bool,
    /// Runs on by real time when the clock is changed.
    real_time: bool,
}

impl Line {
    fn parsed(&self, years: &CronComponent) -> Result<Cron, String> {
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Required).dom_and_dow(self.both_days);
        // No line names years, and the parser would make a mark for each up to 5000: it gets one, and then all that
        // will do, made once.
        let seconds = if self.fields.split(' ').count() == 5 { "0 " } else { "" };
        let mut cron =
            parser.build().parse(&format!("{seconds}{} 2000", self.fields)).map_err(|error| error.to_string())?;
        cron.pattern.years = years.clone();
        Ok(cron)
    }
}

impl Schedule {
    /// A cron line: five fields, six with seconds first, or a nickname such as `@daily`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and how it is written; also for a line that can never
    /// be due.
    pub fn cron(line: &str, zone: TimeZone) -> Result<Self, String> {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        let fields = match line.strip_prefix('@') {
            None => line.as_str(),
            Some(_) => nickname(&line)?,
        };
        let fields = fields::checked(fields)?;
        let parts: Vec<&str> = fields.split(' ').collect();
        let star = |place_from_end: usize| parts[parts.len() - place_from_end].starts_with('*');
        let (both_days, real_time) = (star(3) || star(1), star(5) || star(4));
        let rule = Line { fields: fields.as_str().into(), both_days, real_time };
        let cron = rule.parsed(&CYCLE).map_err(|error| format!("`{line}`: {error}"))?;
        let first = Date::constant(2000, 1, 1).at(0, 0, 0, 0);
        if cron.find_next_occurrence(&first, true).is_err() {
            return Err(format!("`{line}` can never be due: no month that it names has such a day"));
        }
        Ok(Self { rule: Rule::Cron(rule), zone, text: line })
    }

    /// An interval, counted from local midnight.
    ///
    /// # Errors
    /// A sentence: not below a second, whole seconds; above a day whole days.
    pub fn every(text: &str, zone: TimeZone) -> Result<Self, String> {
        let span = parse_duration(text)?;
        if span > LONGEST_INTERVAL {
            return Err(format!(
                "`{text}` is longer than a hundred years, so it would never be due; write a shorter one"
            ));
        }
        let seconds = span.as_secs();
        if seconds == 0 || span.subsec_nanos() != 0 {
            return Err(format!("`{text}` is no whole number of seconds, from `1s` on"));
        }
        let rule = match seconds {
            0..DAY => Rule::Within(seconds),
            _ if seconds % DAY == 0 => Rule::Days(i64::try_from(seconds / DAY).unwrap_or(i64::MAX)),
            _ => return Err(format!("`{text}` is more than a day; write whole days, or a cron line")),
        };
        Ok(Self { rule, zone, text: format_duration(span) })
    }

    /// One instant: local to the zone, or with `Z` or an offset.
    ///
    /// # Errors
    /// A sentence that says how a time is written.
    pub fn at(text: &str, zone: TimeZone) -> Result<Self, String> {
        let instant = match parse_when(text)? {
            When::Instant(instant) => instant,
            When::Local(local) => first_valid(&zone, local).ok_or_else(|| format!("`{text}` is out of range"))?,
        };
        Ok(Self { rule: Rule::At(instant), zone, text: text.trim().into() })
    }

    /// The zone that it is in.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What its zone is called.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("local time")
    }

    /// The one instant of an `at`.
    pub fn only(&self) -> Option<Timestamp> {
        match self.rule {
            Rule::At(instant) => Some(instant),
            _ => None,
        }
    }

    /// The first instant after `after` at which it is due.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.after(after).next()
    }

    /// What the clock does on the day of an instant at which it is due, and what that means for it; none on a day
    /// like all others.
    pub fn note(&self, at: Timestamp) -> Option<String> {
        let day = at.to_zoned(self.zone.clone()).start_of_day().ok()?;
        let end = day.tomorrow().ok()?.start_of_day().ok()?.timestamp();
        // Where the clock is put forward at midnight, the day begins with that.
        let change = self.zone.following(just_before(day.timestamp())).take_while(|change| change.timestamp() < end);
        let (change, before) = change.into_iter().find_map(|change| {
            let second = change.timestamp().checked_sub(jiff::SignedDuration::from_secs(1)).ok()?;
            let before = self.zone.to_offset(second);
            (before != change.offset()).then_some((change, before))
        })?;
        let clock = |offset: jiff::tz::Offset| offset.to_datetime(change.timestamp()).strftime("%H:%M").to_string();
        let (from, to) = (clock(before), clock(change.offset()));
        let local = self.zone.to_datetime(at);
        let fits = self.after(at).civil(local, true) == Some(local);
        if change.offset() > before {
            let gap = match at == change.timestamp() && !fits {
                true => ", over the time of this line: it is due right behind",
                false => "",
            };
            return Some(format!("the clock goes from {from} to {to}{gap}"));
        }
        let twice = self.zone.to_ambiguous_timestamp(local).is_ambiguous();
        let which = match twice {
            false => "",
            true if !self.runs_on() => "; this time comes twice, and it is due the first time",
            true if at < change.timestamp() => "; this time comes twice, and this is the first",
            true => "; this time comes twice, and this is the second",
        };
        Some(format!("the clock goes from {from} back to {to}{which}"))
    }

    /// Whether it goes on by real time when the clock is changed.
    fn runs_on(&self) -> bool {
        match &self.rule {
            Rule::Cron(line) => line.real_time,
            Rule::Within(seconds) => *seconds <= REAL_TIME.as_secs(),
            Rule::Days(_) | Rule::At(_) => false,
        }
    }

    /// All instants after `after` at which it is due, earliest first. Cheaper than one `next` for each.
    pub fn after(&self, after: Timestamp) -> Instants<'_> {
        let cron = match &self.rule {
            // It was parsed when it was read.
            Rule::Cron(line) => line.parsed(&YEARS).ok(),
            _ => None,
        };
        Instants { schedule: self, cron, after }
    }
}

/// The instants of a schedule, one after the other.
pub struct Instants<'a> {
    schedule: &'a Schedule,
    cron: Option<Cron>,
    after: Timestamp,
}

impl Iterator for Instants<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        let next = match &self.schedule.rule {
            Rule::At(instant) => Some(*instant).filter(|instant| *instant > self.after),
            Rule::Cron(Line { real_time: true, .. }) => self.by_real_time(),
            Rule::Within(seconds) if *seconds <= REAL_TIME.as_secs() => self.since_midnight(*seconds),
            _ => self.by_local_time(),
        }?;
        self.after = next;
        Some(next)
    }
}

impl Instants<'_> {
    /// The next civil time that fits, after `from` or from `from` on.
    fn civil(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        match &self.schedule.rule {
            Rule::Cron(_) => self.cron.as_ref()?.find_next_occurrence(&from, inclusive).ok(),
            Rule::Within(seconds) => {
                let passed = from.time().duration_since(jiff::civil::Time::midnight()).as_secs().unsigned_abs();
                let rest = passed % seconds;
                if inclusive && rest == 0 {
                    return Some(from);
                }
                let next = passed - rest + seconds;
                let midnight = from.date().at(0, 0, 0, 0);
                match next < DAY {
                    true => midnight.checked_add(Duration::from_secs(next)).ok(),
                    false => from.date().tomorrow().ok().map(|day| day.at(0, 0, 0, 0)),
                }
            }
            Rule::Days(days) => {
                let midnight = from.date().at(0, 0, 0, 0);
                let number = from.date().duration_since(Date::constant(1970, 1, 5)).as_hours() / 24;
                if inclusive && number.rem_euclid(*days) == 0 && from == midnight {
                    return Some(from);
                }
                let ahead = days - number.rem_euclid(*days);
                midnight.checked_add(jiff::Span::new().try_days(ahead).ok()?).ok()
            }
            Rule::At(_) => None,
        }
    }

    fn by_local_time(&self) -> Option<Timestamp> {
        let zone = &self.schedule.zone;
        let mut local = whole_second(zone.to_datetime(self.after));
        loop {
            local = self.civil(local, false)?;
            let instant = first_valid(zone, local)?;
            if instant > self.after {
                return Some(instant);
            }
        }
    }

    /// Counted in real time from the beginning of each local day.
    fn since_midnight(&self, seconds: u64) -> Option<Timestamp> {
        let today = self.after.to_zoned(self.schedule.zone.clone()).start_of_day().ok()?;
        let tomorrow = today.tomorrow().ok()?.start_of_day().ok()?.timestamp();
        let passed = self.after.duration_since(today.timestamp()).as_secs().unsigned_abs();
        let next = Duration::from_secs((passed / seconds + 1) * seconds);
        today.timestamp().checked_add(next).ok().map(|next| next.min(tomorrow))
    }

    /// Between two changes of the clock civil and real time run alike; each such stretch is
    /// searched by itself.
    fn by_real_time(&self) -> Option<Timestamp> {
        let zone = &self.schedule.zone;
        let (mut from, mut inclusive) = (self.after, false);
        loop {
            let offset = zone.to_offset(from);
            let local = self.civil(whole_second(offset.to_datetime(from)), inclusive)?;
            let instant = offset.to_timestamp(local).ok()?;
            match zone.following(from).next() {
                Some(change) if change.timestamp() <= instant => (from, inclusive) = (change.timestamp(), true),
                _ => return Some(instant),
            }
        }
    }
}

/// What lies behind this is what is due from `at` on.
pub fn just_before(at: Timestamp) -> Timestamp {
    at.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap_or(at)
}

/// The fields that a name such as `@daily` stands for.
fn nickname(line: &str) -> Result<&'static str, String> {
    if let Some((_, fields)) = NICKNAMES.iter().find(|(name, _)| line.eq_ignore_ascii_case(name)) {
        return Ok(fields);
    }
    let name = line.split(' ').next().unwrap_or(line);
    let names = NICKNAMES.map(|(name, _)| name);
    Err(match (name.to_ascii_lowercase().as_str(), line.split_once(' ')) {
        ("@every", Some((_, span))) => format!("there is no `@every` here; write the trigger `- every: {span}`"),
        ("@reboot", _) => "nothing is due when the engine starts; say when it is wanted, such as `@hourly`".into(),
        _ => match nearest(line, names) {
            Some(near) => format!("there is no `{line}`; did you mean `{near}`?"),
            None => format!("there is no `{line}`; there are {}", names.join(", ")),
        },
    })
}

/// As it is written, with its zone.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.text, self.zone_name())
    }
}

fn whole_second(local: DateTime) -> DateTime {
    local.with().subsec_nanosecond(0).build().unwrap_or(local)
}

/// The first instant at which a local clock shows `local`, or would have if it had not been put
/// forward over it.
fn first_valid(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(local);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok(),
        AmbiguousOffset::Gap { before, .. } => {
            // By the old offset this lies at or behind the change that made the gap.
            let behind = before.to_timestamp(local).ok()?;
            let after = behind.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
            zone.preceding(after).next().map(|change| change.timestamp())
        }
    }
}

#[cfg(test)]
mod tests;
