//! Pace: a bucket of tokens for the account, rests by chance or on request, and a distance between messages to one
//! recipient.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::clock::after;
use crate::model::policy::{Pace, Quiet};
use crate::model::zones::of_phone;

/// When the account may send: its bucket, and until when it rests.
pub struct Pacer {
    jitter: Option<Duration>,
    bucket: Bucket,
    rests_until: Option<Timestamp>,
}

impl Pacer {
    /// One whose bucket is full; `spent` says that it is empty: who sent a moment ago does not begin with a burst.
    pub fn new(pace: &Pace, spent: bool, now: Timestamp) -> Self {
        let mut bucket = Bucket::new(pace, now);
        if spent {
            bucket.tokens = 0.0;
        }
        Self { jitter: pace.jitter, bucket, rests_until: None }
    }

    /// Whether it rests now.
    pub fn rests(&mut self, now: Timestamp) -> bool {
        self.rests_until.take_if(|until| *until <= now);
        self.rests_until.is_some()
    }

    /// It rests until then. A shorter wish does not shorten a longer one.
    pub fn rest_until(&mut self, until: Timestamp) {
        self.rests_until = self.rests_until.max(Some(until));
    }

    /// Until when it rests, if it was told to.
    pub fn rests_until(&self) -> Option<Timestamp> {
        self.rests_until
    }

    /// How many messages may go out now, at most `most`.
    pub fn available(&mut self, most: usize, now: Timestamp) -> usize {
        if self.rests(now) { 0 } else { self.bucket.available(most, now) }
    }

    /// Pays for `count` messages that were available. `chance` is any number, by which the pause after them is
    /// drawn where the pace wants one.
    pub fn pay(&mut self, count: usize, chance: u64, now: Timestamp) {
        self.bucket.take(count);
        let pause = |jitter: Duration| after(now, jitter.mul_f64((chance % 1024 + 1) as f64 / 1024.0));
        self.rests_until = self.jitter.map(pause);
    }

    /// Gives back what was paid for nothing.
    pub fn give_back(&mut self, count: usize) {
        self.bucket.give_back(count);
    }

    /// When it may send next, as far as that is known.
    pub fn next(&self) -> Option<Timestamp> {
        self.bucket.next().max(self.rests_until)
    }
}

/// Tokens that refill by the clock; each message takes one.
struct Bucket {
    /// Time for one token; none when there is no limit.
    interval: Option<Duration>,
    capacity: f64,
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// Full at first.
    fn new(pace: &Pace, now: Timestamp) -> Self {
        let capacity = f64::from(pace.burst.max(1));
        let interval = pace.rate.map(|(count, span)| span / count);
        Self { interval, capacity, tokens: capacity, at: now }
    }

    /// How many messages may go out now, at most `most`.
    fn available(&mut self, most: usize, now: Timestamp) -> usize {
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
    fn take(&mut self, count: usize) {
        if self.interval.is_some() {
            self.tokens -= count as f64;
        }
    }

    /// Gives back tokens that were taken for nothing.
    fn give_back(&mut self, count: usize) {
        if self.interval.is_some() {
            self.tokens = (self.tokens + count as f64).min(self.capacity);
        }
    }

    /// When the next token comes, if there is none now.
    fn next(&self) -> Option<Timestamp> {
        let interval = self.interval.filter(|_| self.tokens + 1e-6 < 1.0)?;
        let missing = interval.mul_f64((1.0 - self.tokens).max(0.0));
        Some(after(self.at, missing.max(Duration::from_millis(1))))
    }
}

/// The least time between two messages to one recipient.
pub fn distance(pace: &Pace) -> Option<Duration> {
    pace.per_recipient.map(|(count, span)| span / count)
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
    fn a_rest_ends_what_is_available_and_a_shorter_one_shortens_nothing() {
        let start: Timestamp = "2026-11-20T07:00:00Z".parse().unwrap();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut pacer = Pacer::new(&Pace::UNLIMITED, false, start);
        assert_eq!((pacer.available(5, start), pacer.next()), (5, None));
        pacer.rest_until(later(9));
        pacer.rest_until(later(3));
        assert_eq!((pacer.available(5, later(8)), pacer.available(5, later(9))), (0, 5));
        let mut phone = Pacer::new(&Pace::PHONE, true, start);
        assert_eq!((phone.available(5, start), phone.next()), (0, Some(later(2))));
        phone.give_back(1);
        assert_eq!(phone.available(5, start), 1);
        phone.pay(1, 1023, start);
        assert_eq!(phone.available(5, start), 0);
    }

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
