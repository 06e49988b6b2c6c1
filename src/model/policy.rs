//! Policies: what to do about failure, doubt, haste and scarcity.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// How often and how soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, counted from 1.
    pub attempts: u32,
    /// Before the second try.
    pub first: Duration,
    /// Never longer than this.
    pub max: Duration,
}

impl Retry {
    /// The wait after try number `tries` (1 or more): doubling from `first` up to `max`, and of
    /// that between three quarters and the whole, so that many failures at once do not come back
    /// at once. `chance` is any number; the same one gives the same wait.
    pub fn delay(&self, tries: u32, chance: u64) -> Duration {
        let doublings = tries.saturating_sub(1).min(20);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.75 + (chance % 1024) as f64 / 4096.0)
    }
}

/// What to do with a message whose fate is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// A person decides.
    Hold,
    /// Send again after `unknown_after`, at the risk of a second copy.
    Resend,
}

/// What to do with a wish that a gateway cannot fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnsupported {
    /// Come as near as possible and record it.
    Emulate,
    /// Leave it out and record it.
    Drop,
    /// Refuse to send.
    Strict,
}

impl OnUnsupported {
    /// Reads `emulate`, `drop` or `strict`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "emulate" => Some(Self::Emulate),
            "drop" => Some(Self::Drop),
            "strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// How fast an account may send; `None` means as fast as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// So many messages in such a span.
    pub rate: Option<(u32, Duration)>,
    /// How many may go out at once after a rest.
    pub burst: u32,
    /// So many messages in such a span to one recipient.
    pub per_recipient: Option<(u32, Duration)>,
    /// So many messages in a calendar day of the account.
    pub daily: Option<u32>,
    /// So many people a day who got nothing from this account before.
    pub new_recipients: Option<u32>,
    /// Up to so much time, by chance, between two messages.
    pub jitter: Option<Duration>,
    /// When people are left in peace.
    pub quiet: Option<Quiet>,
}

/// Hours of the day in which nothing is sent, in the recipient's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// From this time of day on.
    pub from: Time,
    /// Until this one, which may be on the next day.
    pub until: Time,
}

impl Quiet {
    /// Reads `22:00-07:00`.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let teach = || format!("`{text}` are no quiet hours; write them such as \"22:00-07:00\"");
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':').ok_or_else(teach)?;
            let number = |text: &str| text.parse::<i8>().map_err(|_| teach());
            Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| teach())
        };
        let (from, until) = text.split_once('-').ok_or_else(teach)?;
        let quiet = Self { from: time(from)?, until: time(until)? };
        match quiet.from == quiet.until {
            true => Err(format!("`{text}` would be the whole day; leave `quiet` out, or write two times")),
            false => Ok(quiet),
        }
    }

    /// When the quiet hours end that `now` lies in; none outside of them.
    pub fn ends(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = now.to_zoned(zone.clone());
        let time = local.time();
        let overnight = self.from > self.until;
        let inside = match overnight {
            true => time >= self.from || time < self.until,
            false => time >= self.from && time < self.until,
        };
        if !inside {
            return None;
        }
        let day = match overnight && time >= self.from {
            true => local.date().tomorrow().ok()?,
            false => local.date(),
        };
        // In the gap of a change of clocks: the first instant after it. In the hour that comes twice:
        // the one that is still to come.
        let end = day.to_datetime(self.until);
        let times = zone.to_ambiguous_zoned(end);
        let ends = [times.clone().compatible(), times.later()];
        ends.into_iter().flatten().map(|end| end.timestamp()).find(|end| *end > now)
    }
}

impl std::fmt::Display for Quiet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (a, b) = (self.from, self.until);
        write!(f, "{:02}:{:02}-{:02}:{:02}", a.hour(), a.minute(), b.hour(), b.minute())
    }
}

impl Pace {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        rate: None,
        burst: 0,
        per_recipient: None,
        daily: None,
        new_recipients: None,
        jitter: None,
        quiet: None,
    };

    /// For a bridge to a single phone: what a busy person might do. Faster than this, numbers
    /// get banned.
    pub const PHONE: Self = Self {
        rate: Some((30, Duration::from_secs(60))),
        burst: 10,
        per_recipient: Some((1, Duration::from_secs(2))),
        ..Self::UNLIMITED
    };

    /// What Meta takes by default: 80 a second for a number, one in six seconds for a pair. (A pair
    /// may borrow a burst of 45 from its future, which a pace that never fails need not use.)
    pub const META: Self = Self {
        rate: Some((80, Duration::from_secs(1))),
        burst: 80,
        per_recipient: Some((1, Duration::from_secs(6))),
        ..Self::UNLIMITED
    };

    /// What Twilio takes by default: ten texts a second.
    pub const TWILIO: Self = Self { rate: Some((10, Duration::from_secs(1))), burst: 10, ..Self::UNLIMITED };

    /// Whether anything is counted by the day.
    pub fn counts(&self) -> bool {
        self.daily.is_some() || self.new_recipients.is_some()
    }
}

/// Bounds on what scripts and callers may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a webhook's body.
    pub body: u64,
    /// CPU time of one turn.
    pub cpu_turn: Duration,
    /// CPU time of all turns of a run.
    pub cpu_run: Duration,
    /// Bytes that one turn may hold.
    pub memory: u64,
    /// Entries of one journal.
    pub journal: u32,
    /// Bytes of one journal.
    pub journal_bytes: u64,
    /// Runs that may wait for their first turn.
    pub backlog: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            cpu_turn: Duration::from_secs(2),
            cpu_run: Duration::from_secs(60),
            memory: 64 << 20,
            journal: 10_000,
            journal_bytes: 16 << 20,
            backlog: 1_000_000,
        }
    }
}

/// How long what is over is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Runs with their journals, and records of what began them, after their end.
    pub runs: Duration,
    /// Messages, after the last thing that happened to them.
    pub messages: Duration,
    /// Bytes of the state file: with more of them the oldest goes sooner.
    pub size: u64,
}

impl Default for Keep {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self { runs: 30 * DAY, messages: 90 * DAY, size: 2 << 30 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_end_where_people_are() {
        let quiet = Quiet::parse("22:00-07:00").unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let ends = |at: &str| quiet.ends(at.parse().unwrap(), &zone).map(|at| at.to_string());
        assert_eq!(ends("2026-11-20T20:59:59Z"), None);
        assert_eq!(ends("2026-11-20T21:00:00Z").as_deref(), Some("2026-11-21T06:00:00Z"));
        assert_eq!(ends("2026-11-21T05:59:59Z").as_deref(), Some("2026-11-21T06:00:00Z"));
        assert_eq!(ends("2026-11-21T06:00:00Z"), None);
        // 02:30 does not exist on this day.
        let early = Quiet::parse("01:00-02:30").unwrap();
        let end = early.ends("2026-03-29T00:30:00Z".parse().unwrap(), &zone).unwrap();
        assert_eq!(end.to_string(), "2026-03-29T01:30:00Z");
        // 02:30 comes twice on this day; at 02:10 the second time the first one is past.
        let night = Quiet::parse("22:00-02:30").unwrap();
        let end = |at: &str| night.ends(at.parse().unwrap(), &zone).map(|end| end.to_string());
        assert_eq!(end("2026-10-25T00:10:00Z").as_deref(), Some("2026-10-25T00:30:00Z"));
        assert_eq!(end("2026-10-25T01:10:00Z").as_deref(), Some("2026-10-25T01:30:00Z"));
        assert_eq!(end("2026-10-25T01:30:00Z"), None);
        assert_eq!(quiet.to_string(), "22:00-07:00");
        for wrong in ["", "22-7", "25:00-07:00", "22:00-22:00"] {
            assert!(Quiet::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let retry = Retry { attempts: 8, first: Duration::from_secs(2), max: Duration::from_secs(600) };
        for (tries, full) in [(1, 2), (2, 4), (5, 32), (9, 512), (10, 600), (60, 600)] {
            for chance in [0, 511, 1023] {
                let delay = retry.delay(tries, chance);
                assert!(delay <= Duration::from_secs(full) && delay >= Duration::from_secs(full).mul_f64(0.75));
            }
        }
    }
}
