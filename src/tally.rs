//! How much has happened since the engine began: counted where it happens, read by whoever measures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the classes of times, in seconds.
pub const CLASSES: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];

/// Times, by classes.
#[derive(Default)]
pub struct Times {
    /// One more than there are bounds: the last is for what is beyond all.
    classes: [AtomicU64; CLASSES.len() + 1],
    micros: AtomicU64,
}

impl Times {
    /// One more.
    pub fn add(&self, time: Duration) {
        let class = CLASSES.iter().position(|bound| time.as_secs_f64() <= *bound).unwrap_or(CLASSES.len());
        self.classes[class].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Their sum in seconds, how many there are, and how many in each class.
    pub fn read(&self) -> (f64, u64, Vec<u64>) {
        let classes: Vec<u64> = self.classes.iter().map(|class| class.load(Ordering::Relaxed)).collect();
        (self.micros.load(Ordering::Relaxed) as f64 / 1e6, classes.iter().sum(), classes)
    }
}

/// Counts by two words, such as account and state.
pub type Counts = BTreeMap<(String, &'static str), u64>;

/// The counts.
#[derive(Clone, Default)]
pub struct Tally {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    runs: Mutex<BTreeMap<&'static str, u64>>,
    messages: Mutex<Counts>,
    refused: Mutex<Counts>,
    commits: Times,
    lateness: Times,
}

fn add<K: Ord>(counts: &Mutex<BTreeMap<K, u64>>, more: impl IntoIterator<Item = (K, u64)>) {
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    for (key, count) in more {
        *counts.entry(key).or_default() += count;
    }
}

impl Tally {
    /// Runs that came to a state.
    pub fn runs(&self, more: impl IntoIterator<Item = (&'static str, u64)>) {
        add(&self.inner.runs, more);
    }

    /// Messages that came to a state, by account.
    pub fn messages(&self, more: impl IntoIterator<Item = ((String, &'static str), u64)>) {
        add(&self.inner.messages, more);
    }

    /// A request was refused, on a side, with a status.
    pub fn refused(&self, side: &'static str, status: u16) {
        add(&self.inner.refused, [((status.to_string(), side), 1)]);
    }

    /// How long commits took.
    pub fn commits(&self) -> &Times {
        &self.inner.commits
    }

    /// How late runs by the clock began.
    pub fn lateness(&self) -> &Times {
        &self.inner.lateness
    }

    /// Runs by state.
    pub fn all_runs(&self) -> BTreeMap<&'static str, u64> {
        self.inner.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Messages by account and state.
    pub fn all_messages(&self) -> Counts {
        self.inner.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Refused requests by status and side.
    pub fn all_refused(&self) -> Counts {
        self.inner.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
