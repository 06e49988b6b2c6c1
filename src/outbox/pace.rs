//! Pace: a bucket of tokens for the account, and a distance between messages to one recipient.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock::after;
use crate::model::policy::{Pace, Quiet};
use crate::model::zones::of_phone;

/// Tokens that refill by the clock; each message takes one.
pub struct Bucket {
    /// Time for one token; none when there is no limit.
    interval: Option<Duration>,
    capacity: f64,
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// Full at first.
    pub fn new(pace: &Pace, now: Timestamp) -> Self {
        let capacity = f64::from(pace.burst.max(1));
        let interval = pace.rate.map(|(count, span)| span / count);
        Self { interval, capacity, tokens: capacity, at: now }
    }

    /// Empty at first: who sent a moment ago does not begin with a burst.
    pub fn spent(pace: &Pace, now: Timestamp) -> Self {
        Self { tokens: 0.0, ..Self::new(pace, now) }
    }

    /// How many messages may go out now, at most `most`.
    pub fn available(&mut self, most: usize, now: Timestamp) -> usize {
        let Some(interval) = self.interval else { return most };
        let passed = now.duration_since(self.at);
        if passed.is_positive() {
            let fresh = passed.unsigned_abs().as_secs_f64() / interval.as_secs_f64();
            self.tokens = (self.tokens + fresh).min(self.capacity);
            self.at = now;
        }
        // A hair's breadth below a whole token is one: a wait ends at whole milliseconds.
        most.min((self.tokens + 1e-6) as usize)
    }

    /// Takes tokens that were available.
    pub fn take(&mut self, count: usize) {
        if self.interval.is_some() {
            self.tokens -= count as f64;
        }
    }

    /// Gives one back that was taken for nothing.
    pub fn give_back(&mut self) {
        if self.interval.is_some() {
            self.tokens = (self.tokens + 1.0).min(self.capacity);
        }
    }

    /// When the next token comes, if there is none now.
    pub fn next(&self) -> Option<Timestamp> {
        let interval = self.interval.filter(|_| self.tokens + 1e-6 < 1.0)?;
        let missing = interval.mul_f64((1.0 - self.tokens).max(0.0));
        Some(after(self.at, missing.max(Duration::from_millis(1))))
    }
}

/// The least time between two messages to one recipient.
pub fn distance(pace: &Pace) -> Option<Duration> {
    pace.per_recipient.map(|(count, span)| span / count)
}

/// Until when the lane rests after a message, where the pace wants a pause by chance.
pub fn by_chance(pace: &Pace, chance: u64, now: Timestamp) -> Option<Timestamp> {
    pace.jitter.map(|jitter| after(now, jitter.mul_f64((chance % 1024 + 1) as f64 / 1024.0)))
}

/// When the next day of a calendar begins.
pub fn next_day(zone: &TimeZone, now: Timestamp) -> Timestamp {
    let next = now.to_zoned(zone.clone()).tomorrow().and_then(|day| day.start_of_day());
    // Only at the end of time is there no tomorrow.
    next.map_or_else(|_| after(now, Duration::from_secs(86_400)), |day| day.timestamp())
}

/// Until when a recipient is left in peace; `zone` counts where the recipient's is not known.
pub fn quiet_until(quiet: &Quiet, to: &str, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let own = to.strip_prefix('+').and_then(of_phone).and_then(|name| TimeZone::get(name).ok());
    quiet.ends(now, own.as_ref().unwrap_or(zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let start: Timestamp = "2026-11-20T07:00:00Z".parse().unwrap();
        let mut bucket = Bucket::new(&Pace::PHONE, start);
        assert_eq!(bucket.available(100, start), 10);
        bucket.take(10);
        assert_eq!(bucket.available(100, start), 0);
        assert_eq!(bucket.next(), Some(start + Duration::from_secs(2)));
        assert_eq!(bucket.available(100, start + Duration::from_secs(2)), 1);
        bucket.take(1);
        assert_eq!(bucket.available(100, start + Duration::from_secs(3600)), 10);
        assert_eq!(Bucket::new(&Pace::UNLIMITED, start).available(100, start), 100);
    }
}
