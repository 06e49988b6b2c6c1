//! What the writer knows without asking the database. All of it can be made anew from there: it is never the truth.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use regex::Regex;

use super::backlog::Backlog;
use super::on_the_wire::OnTheWire;
use crate::clock::millis;
use crate::model::conversation;
use crate::store::disk::Disk;

/// What the writer knows.
pub struct Memory {
    /// The last number given out.
    pub seq: i64,
    /// Runs that wait for their first turn.
    pub backlog: Backlog,
    /// Flows that had runs with a limit since the start: whose runs end must see who is next.
    pub limited: HashSet<String>,
    /// Messages that are on the wire.
    pub on_the_wire: OnTheWire,
    /// Patterns that runs wait for a message by.
    pub patterns: Patterns,
    /// How far the clocks of gateways are behind ours.
    pub clocks: Clocks,
    /// When what is too old was last looked for, in milliseconds since 1970.
    pub swept: i64,
    /// What the database is on.
    pub disk: Disk,
}

/// What memory is taken back to.
pub struct Mark {
    seq: i64,
    backlog: usize,
    on_the_wire: usize,
    swept: i64,
}

impl Memory {
    /// Where to go back to, should what follows be undone.
    pub fn mark(&self) -> Mark {
        let (backlog, on_the_wire) = (self.backlog.mark(), self.on_the_wire.mark());
        Mark { seq: self.seq, backlog, on_the_wire, swept: self.swept }
    }

    /// What was changed since then is undone.
    pub fn back_to(&mut self, mark: &Mark) {
        self.backlog.undo(mark.backlog);
        self.on_the_wire.undo(mark.on_the_wire);
        (self.seq, self.swept) = (mark.seq, mark.swept);
    }

    /// What was changed is on disk.
    pub fn keep(&mut self) {
        self.backlog.keep();
        self.on_the_wire.keep();
    }

    /// The next number: it grows in the order of commits, so that whoever reads on behind one misses none.
    pub fn next_seq(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }
}

/// Patterns, compiled: the runs of a flow mostly wait by the same one.
#[derive(Default)]
pub struct Patterns(HashMap<String, Option<Regex>>);

impl Patterns {
    const MOST: usize = 1_000;

    /// Whether a pattern finds something in a text. One that is none finds nothing; it was checked when
    /// the script called.
    pub fn finds(&mut self, pattern: &str, text: &str) -> bool {
        if !self.0.contains_key(pattern) {
            if self.0.len() >= Self::MOST {
                self.0.clear();
            }
            self.0.insert(pattern.to_owned(), conversation::pattern(pattern).ok());
        }
        self.0.get(pattern).and_then(Option::as_ref).is_some_and(|pattern| conversation::finds(pattern, text))
    }
}

/// How far the clocks of gateways are behind ours, as the last messages of each account show: the least
/// time that one took from being written to being here is the clock's, what others took besides is the
/// way's. Answers are told from what was written before the question by that.
#[derive(Default)]
pub struct Clocks(HashMap<String, VecDeque<i64>>);

impl Clocks {
    /// How many messages show it: a clock that is set anew is known after as many.
    const LAST: usize = 4;
    /// More than that is no clock, in milliseconds.
    const MOST: i64 = 300_000;
    /// Gateways tell whole seconds.
    const GRAIN: i64 = 1_000;

    /// A message that was written at `at` by the gateway's clock is here.
    pub fn note(&mut self, account: &str, at: Timestamp, now: Timestamp) {
        let last = self.0.entry(account.to_owned()).or_default();
        last.push_back(millis(now).saturating_sub(millis(at)));
        if last.len() > Self::LAST {
            last.pop_front();
        }
    }

    /// How far an account's clock may be behind, in milliseconds.
    pub fn behind(&self, account: &str) -> i64 {
        let least = self.0.get(account).and_then(|last| last.iter().min()).copied().unwrap_or(Self::MOST);
        least.clamp(0, Self::MOST) + Self::GRAIN
    }
}
