//! When a schedule is due. Cron lines and intervals are walked in civil time and mapped to instants
//! here, so that daylight saving neither loses nor doubles anything by accident.
//!
//! A cron line whose minute and hour both begin with `*`, and an interval of an hour or less, run
//! through gap and overlap by real time. Every other one is a fixed local time: in the gap it is
//! due at the first valid instant, in the overlap once, at the first.

mod fields;

use std::fmt;
use std::sync::Arc;
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
/// Nothing is due after this year.
const LAST_YEAR: u16 = 2200;
/// From 2000 to 2027 the calendar shows each of its fourteen years: what is not due by then never is.
const LAST_CYCLE: u16 = 2028;

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
    /// `real_time` says how it goes through a change of the clock.
    Cron { cron: Arc<Cron>, real_time: bool },
    /// Seconds; a divisor of nothing in particular, counted from each local midnight.
    Within(u64),
    /// Whole days, counted from the first Monday of 1970.
    Days(i64),
    /// Once.
    At(Timestamp),
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
            Some(_) => match NICKNAMES.iter().find(|(name, _)| line.eq_ignore_ascii_case(name)) {
                Some((_, fields)) => fields,
                None => {
                    let names = NICKNAMES.map(|(name, _)| name);
                    return Err(match nearest(&line, names) {
                        Some(near) => format!("there is no `{line}`; did you mean `{near}`?"),
                        None => format!("there is no `{line}`; there are {}", names.join(", ")),
                    });
                }
            },
        };
        let fields = fields::checked(fields)?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Optional).build();
        let mut cron = parser.parse(&fields).map_err(|error| format!("`{line}`: {error}"))?;
        let parts: Vec<&str> = fields.split(' ').collect();
        let clock = &parts[parts.len() - 5..];
        let real_time = clock[0].starts_with('*') && clock[1].starts_with('*');
        // No line names years, yet the parser keeps a mark for each up to 5000: as many as will do.
        cron.pattern.years = every_year(LAST_CYCLE)?;
        let first = Date::constant(2000, 1, 1).at(0, 0, 0, 0);
        if cron.find_next_occurrence(&first, true).is_err() {
            return Err(format!("`{line}` can never be due: no month that it names has such a day"));
        }
        cron.pattern.years = every_year(LAST_YEAR)?;
        Ok(Self { rule: Rule::Cron { cron: Arc::new(cron), real_time }, zone, text: line })
    }

    /// An interval, counted from local midnight.
    ///
    /// # Errors
    /// A sentence: not below a second, whole seconds; above a day whole days.
    pub fn every(text: &str, zone: TimeZone) -> Result<Self, String> {
        let span = parse_duration(text)?;
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
        match &self.rule {
            Rule::At(instant) => Some(*instant).filter(|instant| *instant > after),
            Rule::Cron { real_time: true, .. } => self.by_real_time(after),
            Rule::Within(seconds) if *seconds <= REAL_TIME.as_secs() => self.since_midnight(*seconds, after),
            _ => self.by_local_time(after),
        }
    }

    /// The next civil time that fits, after `from` or from `from` on.
    fn civil(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        match &self.rule {
            Rule::Cron { cron, .. } => cron.find_next_occurrence(&from, inclusive).ok(),
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

    fn by_local_time(&self, after: Timestamp) -> Option<Timestamp> {
        let mut local = whole_second(self.zone.to_datetime(after));
        loop {
            local = self.civil(local, false)?;
            let instant = first_valid(&self.zone, local)?;
            if instant > after {
                return Some(instant);
            }
        }
    }

    /// Counted in real time from the beginning of each local day.
    fn since_midnight(&self, seconds: u64, after: Timestamp) -> Option<Timestamp> {
        let today = after.to_zoned(self.zone.clone()).start_of_day().ok()?;
        let tomorrow = today.tomorrow().ok()?.start_of_day().ok()?.timestamp();
        let passed = after.duration_since(today.timestamp()).as_secs().unsigned_abs();
        let next = Duration::from_secs((passed / seconds + 1) * seconds);
        today.timestamp().checked_add(next).ok().map(|next| next.min(tomorrow))
    }

    /// Between two changes of the clock civil and real time run alike; each such stretch is
    /// searched by itself.
    fn by_real_time(&self, after: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        loop {
            let offset = self.zone.to_offset(from);
            let local = self.civil(whole_second(offset.to_datetime(from)), inclusive)?;
            let instant = offset.to_timestamp(local).ok()?;
            match self.zone.following(from).next() {
                Some(change) if change.timestamp() <= instant => (from, inclusive) = (change.timestamp(), true),
                _ => return Some(instant),
            }
        }
    }
}

fn every_year(last: u16) -> Result<CronComponent, String> {
    let mut years = CronComponent::new(1, last, 0, 0);
    years.parse("*").map_err(|error| error.to_string())?;
    Ok(years)
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
