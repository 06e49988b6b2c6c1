//! What is to be done about the instants that a schedule has come past: a pure decision.

use std::time::Duration;

use jiff::Timestamp;

use crate::flow::{Missed, Timed};
use crate::model::occurrence::Fate;

/// While the engine runs an instant may be so late and still counts as met: a busy machine is not
/// an absent one.
pub const GRACE: Duration = Duration::from_secs(10);

/// Stretches are counted up to this; more is said to be many.
const COUNTED: u32 = 10_000;

/// With `missed: all`, so many catch up at once.
const AT_ONCE: usize = 200;

/// An instant, or a stretch of instants, with its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it was due; of a stretch, the first.
    pub at: Timestamp,
    /// Of a stretch, the last.
    pub until: Option<Timestamp>,
    /// How many instants this is; none when nobody counted.
    pub count: Option<u32>,
    /// What becomes of it. `ran` and `late` begin a run.
    pub fate: Fate,
    /// How many earlier instants its run stands for.
    pub missed: u32,
    /// Why it is left out.
    pub reason: Option<String>,
}

impl Due {
    fn one(at: Timestamp, fate: Fate) -> Self {
        Self { at, until: None, count: Some(1), fate, missed: 0, reason: None }
    }

    /// Whether a run begins.
    pub fn begins(&self) -> bool {
        matches!(self.fate, Fate::Ran | Fate::Late)
    }
}

/// Fates, and how far they go.
#[derive(Debug, PartialEq, Eq)]
pub struct Dues {
    /// Oldest first.
    pub fates: Vec<Due>,
    /// All instants up to here have one. Short of now where there are very many: ask again.
    pub reached: Timestamp,
}

/// What is asked about instants.
pub struct Question<'a> {
    /// The trigger.
    pub timed: &'a Timed,
    /// Why an instant is left out, if it is.
    pub why_not: &'a dyn Fn(Timestamp) -> Option<String>,
    /// Whether an instant has its fate already: the clock was set back.
    pub is_done: &'a dyn Fn(Timestamp) -> bool,
    /// All instants up to here have their fate.
    pub position: Timestamp,
    /// Those up to here passed while nobody was there: that is when the engine, or the flow, began to be.
    pub since: Timestamp,
    /// The present.
    pub now: Timestamp,
}

/// The fates of the instants behind a position, up to now.
pub fn due(asked: &Question<'_>) -> Dues {
    let Question { timed, position, since, now, .. } = *asked;
    let ago = |span: Duration| now.saturating_sub(span).unwrap_or(Timestamp::MIN);
    // A time from which runs have begun, as the instant up to which they are due then.
    let up_to = |time: Timestamp| asked.up_to(time);
    let on_time = up_to(since.max(ago(GRACE)).min(now));
    // What is exactly as late as allowed is not too late.
    let horizon = up_to(ago(timed.not_after.saturating_add(Duration::from_millis(1)))).min(on_time);
    let reached = up_to(now).max(position);
    let mut fates = Vec::new();
    match timed.missed {
        Missed::Skip => fates.extend(asked.stretch(position, on_time, Fate::Down)),
        Missed::Latest => {
            fates.extend(asked.stretch(position, horizon, Fate::TooLate));
            if let Some(last) = asked.last(position.max(horizon), on_time) {
                let before = last.saturating_sub(Duration::from_millis(1)).unwrap_or(last);
                let earlier = asked.stretch(position.max(horizon), before, Fate::Coalesced);
                let missed = earlier.as_ref().map_or(0, |earlier| earlier.count.unwrap_or(COUNTED));
                fates.extend(earlier);
                fates.push(Due { missed, ..Due::one(last, Fate::Late) });
            }
        }
        Missed::All => {
            fates.extend(asked.stretch(position, horizon, Fate::TooLate));
            let mut missed = asked.instants(position.max(horizon), on_time);
            let some: Vec<Timestamp> = missed.by_ref().take(AT_ONCE).collect();
            fates.extend(some.iter().map(|at| Due::one(*at, Fate::Late)));
            if let (Some(reached), Some(_)) = (some.last(), missed.next()) {
                fates.extend(asked.left_out(*reached));
                return Dues { fates, reached: *reached };
            }
        }
    }
    fates.extend(asked.instants(position.max(on_time), reached).map(|at| Due::one(at, Fate::Ran)));
    fates.extend(asked.left_out(reached));
    Dues { fates, reached }
}

impl Question<'_> {
    /// The last time up to which everything that is due has begun at `time`: with a lot drawn for each instant they
    /// begin later, and one waits for those before it.
    fn up_to(&self, time: Timestamp) -> Timestamp {
        if self.timed.jitter.is_zero() {
            return time;
        }
        let begun = time.saturating_sub(self.timed.jitter).unwrap_or(Timestamp::MIN);
        let instants = self.timed.schedule.after(begun).take_while(|at| *at <= time);
        instants.take_while(|at| self.timed.begins_at(*at) <= time).last().unwrap_or(begun)
    }

    /// The last instant behind `from`, up to `to`. Looked for from behind, for between them may lie
    /// years of seconds.
    fn last(&self, from: Timestamp, to: Timestamp) -> Option<Timestamp> {
        let back = [60, 3_600, 86_400, 31 * 86_400, u64::from(u32::MAX)].map(Duration::from_secs);
        let starts = back.into_iter().map(|back| to.saturating_sub(back).unwrap_or(from).max(from));
        starts.filter_map(|start| self.instants(start, to).last()).next()
    }

    /// The instants behind `from`, up to `to`, but for those that are left out.
    fn instants(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Timestamp> {
        let due = self.timed.schedule.after(from).take_while(move |at| *at <= to);
        due.filter(|at| !(self.is_done)(*at) && (self.why_not)(*at).is_none())
    }

    /// All of them as one stretch.
    fn stretch(&self, from: Timestamp, to: Timestamp, fate: Fate) -> Option<Due> {
        let mut all = self.instants(from, to);
        let first = all.next()?;
        let (mut count, mut last) = (1, first);
        for at in all.by_ref().take(COUNTED as usize) {
            (count, last) = (count + 1, at);
        }
        match count > COUNTED {
            true => Some(Due { until: Some(to), count: None, ..Due::one(first, fate) }),
            false => Some(Due { until: (count > 1).then_some(last), count: Some(count), ..Due::one(first, fate) }),
        }
    }

    /// Those that are left out, up to `to`: those that follow each other for the same reason are one stretch.
    fn left_out(&self, to: Timestamp) -> Vec<Due> {
        let mut all: Vec<Due> = Vec::new();
        if self.timed.except.is_empty() {
            return all;
        }
        let due = self.timed.schedule.after(self.position).take_while(|at| *at <= to);
        for at in due.take(COUNTED as usize) {
            let Some(why) = (self.why_not)(at).filter(|_| !(self.is_done)(at)) else { continue };
            match all.last_mut().filter(|last| last.reason.as_ref() == Some(&why)) {
                Some(last) => (last.until, last.count) = (Some(at), last.count.map(|count| count + 1)),
                None => all.push(Due { reason: Some(why), ..Due::one(at, Fate::Skipped) }),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::schedule::Schedule;
    use jiff::tz::TimeZone;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-20T{text}Z").parse().unwrap()
    }

    fn timed(missed: Missed, not_after: u64) -> Timed {
        let schedule = Schedule::cron("*/10 * * * *", TimeZone::UTC).unwrap();
        Timed { missed, ..Timed::plain("cron", schedule, Duration::from_secs(not_after * 60)) }
    }

    /// Nothing is left out.
    fn due(timed: &Timed, position: Timestamp, since: Timestamp, now: Timestamp) -> Dues {
        super::due(&Question { timed, why_not: &|_| None, is_done: &|_| false, position, since, now })
    }

    /// Fates in short: time of day, the last of a stretch, how many, word.
    fn fates(timed: &Timed, position: &str, since: &str, now: &str) -> Vec<String> {
        let short = |at: Timestamp| at.strftime("%H:%M").to_string();
        due(timed, at(position), at(since), at(now))
            .fates
            .into_iter()
            .map(|due| {
                let until = due.until.map_or(String::new(), |until| format!("-{}", short(until)));
                let missed = if due.missed > 0 { format!(" for {}", due.missed) } else { String::new() };
                format!("{}{until} x{} {}{missed}", short(due.at), due.count.unwrap_or(0), due.fate.name())
            })
            .collect()
    }

    #[test]
    fn an_instant_that_is_met_runs() {
        let every = timed(Missed::Latest, 60);
        assert_eq!(fates(&every, "07:00:00", "06:00:00", "07:09:59"), Vec::<String>::new());
        assert_eq!(fates(&every, "07:00:00", "06:00:00", "07:10:00"), ["07:10 x1 ran"]);
        assert_eq!(fates(&every, "07:00:00", "06:00:00", "07:10:09"), ["07:10 x1 ran"]);
        assert_eq!(fates(&every, "07:10:00", "06:00:00", "07:10:09"), Vec::<String>::new());
    }

    #[test]
    fn a_busy_machine_misses_nothing_and_a_sleeping_one_does() {
        let mut every = timed(Missed::Latest, 60);
        every.schedule = Schedule::cron("*/4 * * * * *", TimeZone::UTC).unwrap();
        let seconds = |now: &str| due(&every, at("07:00:00"), at("06:00:00"), at(now)).fates;
        assert_eq!(seconds("07:00:09").len(), 2);
        assert_eq!(seconds("07:00:09")[1].fate, Fate::Ran);
        // A minute later: the older ones are one, the last ten seconds are met.
        let late = seconds("07:01:00");
        let words: Vec<_> = late.iter().map(|due| (due.fate.name(), due.count)).collect();
        assert_eq!(
            words,
            [("coalesced", Some(11)), ("late", Some(1)), ("ran", Some(1)), ("ran", Some(1)), ("ran", Some(1))]
        );
    }

    #[test]
    fn what_passed_meanwhile_is_as_the_flow_says() {
        let from = ("05:55:00", "07:00:30", "07:00:30");
        let of = |missed, not_after| fates(&timed(missed, not_after), from.0, from.1, from.2);
        assert_eq!(of(Missed::Latest, 60), ["06:00 x1 too_late", "06:10-06:50 x5 coalesced", "07:00 x1 late for 5"]);
        assert_eq!(of(Missed::Latest, 15), ["06:00-06:40 x5 too_late", "06:50 x1 coalesced", "07:00 x1 late for 1"]);
        assert_eq!(of(Missed::Latest, 0), ["06:00-07:00 x7 too_late"]);
        assert_eq!(of(Missed::Skip, 60), ["06:00-07:00 x7 down"]);
        assert_eq!(of(Missed::All, 25), ["06:00-06:30 x4 too_late", "06:40 x1 late", "06:50 x1 late", "07:00 x1 late"]);
        assert_eq!(
            fates(&timed(Missed::Latest, 60), "06:59:00", "07:00:30", "07:10:00"),
            ["07:00 x1 late", "07:10 x1 ran"]
        );
    }

    #[test]
    fn a_lot_is_drawn_once_and_what_is_begun_by_lot_is_in_time() {
        let jitter = Duration::from_secs(90);
        let every = Timed { jitter, lot: 7, ..timed(Missed::Latest, 60) };
        let schedule = &every.schedule;
        let (mut position, mut ran) = (at("06:00:00"), Vec::new());
        // A look each second of three hours: each instant runs once, when its lot has come.
        for second in 0..10_800 {
            let now = at("06:00:00").checked_add(jiff::SignedDuration::from_secs(second)).unwrap();
            let Dues { fates, reached } = due(&every, position, at("06:00:00"), now);
            assert!(reached >= position, "{reached} {position}");
            position = reached;
            for fate in fates {
                assert_eq!((fate.fate, fate.count), (Fate::Ran, Some(1)), "{fate:?}");
                let late = now.duration_since(every.begins_at(fate.at)).as_secs_f64();
                assert!((0.0..=1.0).contains(&late), "{fate:?} at {now}");
                ran.push(fate.at);
            }
        }
        let end = at("06:00:00").checked_add(jiff::SignedDuration::from_secs(10_799 - 90)).unwrap();
        let wanted: Vec<Timestamp> = schedule.after(at("06:00:00")).take_while(|at| *at <= end).collect();
        assert_eq!(ran[..wanted.len()], wanted[..]);
        let lots: std::collections::BTreeSet<_> =
            ran.iter().map(|at| every.begins_at(*at).duration_since(*at).as_millis()).collect();
        assert!(lots.len() > 10 && lots.iter().all(|lot| (0..90_000).contains(lot)), "{lots:?}");
    }

    #[test]
    fn days_that_are_left_out_have_their_fate_and_no_run_stands_for_them() {
        let every = Timed {
            except: [crate::flow::except::Except::parse("2026-11-20", (1, 1)).unwrap()].into(),
            ..timed(Missed::Latest, 60)
        };
        let left_out = |from: &'static str, to: &'static str| {
            move |time: Timestamp| (at(from) <= time && time <= at(to)).then(|| "a holiday".to_owned())
        };
        let fates = |why_not: &dyn Fn(Timestamp) -> Option<String>, since: &str| -> Vec<String> {
            let (position, since, now) = (at("06:00:00"), at(since), at("07:00:05"));
            let dues = super::due(&Question { timed: &every, why_not, is_done: &|_| false, position, since, now });
            dues.fates
                .iter()
                .map(|due| format!("{} x{} {}", due.at.strftime("%H:%M"), due.count.unwrap(), due.fate.name()))
                .collect()
        };
        assert_eq!(fates(&left_out("06:05:00", "07:30:00"), "07:00:00"), ["06:10 x6 skipped"]);
        // The latest one that was missed is the latest that is not left out.
        assert_eq!(
            fates(&left_out("06:45:00", "07:30:00"), "07:00:00"),
            ["06:10 x3 coalesced", "06:40 x1 late", "06:50 x2 skipped"]
        );
        assert_eq!(
            fates(&left_out("06:15:00", "06:25:00"), "07:00:00"),
            ["06:10 x4 coalesced", "07:00 x1 late", "06:20 x1 skipped"]
        );
    }

    #[test]
    fn years_are_not_counted_one_by_one() {
        let mut every = timed(Missed::Latest, 1);
        every.schedule = Schedule::every("1s", TimeZone::UTC).unwrap();
        let now = at("07:00:00");
        let years = |missed, not_after| {
            let every = Timed { missed, not_after, ..every.clone() };
            due(&every, "2006-01-01T00:00:00Z".parse().unwrap(), now, now)
        };
        let minute = Duration::from_secs(60);
        let fates = years(Missed::Latest, minute).fates;
        assert_eq!(fates[0].count, None);
        assert_eq!((fates.len(), fates[2].missed), (3, 60));
        let fates = years(Missed::Latest, Duration::MAX).fates;
        assert_eq!((fates.len(), fates[0].count, fates[1].at), (2, None, now));
        // All of them, but not all at once.
        let some = years(Missed::All, minute * 60 * 24);
        assert_eq!((some.fates.len(), some.fates[0].fate), (201, Fate::TooLate));
        assert_eq!(some.reached, at("07:00:00").saturating_sub(minute * 60 * 24 - Duration::from_secs(199)).unwrap());
    }
}
