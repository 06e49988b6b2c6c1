//! Journals of runs that will go on in a moment, decoded. Runs that wait for long have none here: they
//! live in the store only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::id::RunId;
use crate::model::journal::Entry;

/// Most bytes of all journals together, as they weigh in the store.
const MOST: u64 = 16 << 20;

/// A journal, as far as it is known.
#[derive(Clone, Default)]
pub struct Known {
    /// How often it had been cut.
    pub cuts: i64,
    /// The number of its last part.
    pub part: i64,
    /// Its entries.
    pub entries: Arc<Vec<Entry>>,
    /// About how many bytes they take.
    pub weight: u64,
}

impl Known {
    /// Adds what a turn has done.
    pub fn push(&mut self, entry: Entry) {
        self.weight += entry.weight();
        Arc::make_mut(&mut self.entries).push(entry);
    }
}

/// The journals.
#[derive(Default)]
pub struct Journals(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    known: HashMap<RunId, Known>,
    order: VecDeque<RunId>,
    weight: u64,
}

impl Journals {
    /// What is known of a run's journal, which may be nothing, or only its beginning.
    pub fn take(&self, run: RunId, cuts: i64) -> Known {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = inside.known.remove(&run);
        if let Some(known) = &known {
            inside.weight -= known.weight;
        }
        known.filter(|known| known.cuts == cuts).unwrap_or(Known { cuts, ..Known::default() })
    }

    /// Keeps a journal for the next turn.
    pub fn put(&self, run: RunId, known: Known) {
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inside.weight += known.weight;
        if let Some(before) = inside.known.insert(run, known) {
            inside.weight -= before.weight;
        } else {
            inside.order.push_back(run);
        }
        while (inside.weight > MOST || inside.order.len() > 2 * inside.known.len() + 64)
            && let Some(oldest) = inside.order.pop_front()
        {
            if let Some(gone) = inside.known.remove(&oldest) {
                inside.weight -= gone.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(weight: u64) -> Known {
        Known { cuts: 0, part: 1, entries: Arc::default(), weight }
    }

    #[test]
    fn the_oldest_go_first_and_the_sum_stays_right() {
        let journals = Journals::default();
        let run = |number: u8| RunId::from_bytes([number; 16]);
        for number in 0..4 {
            journals.put(run(number), known(MOST / 3));
        }
        assert_eq!(journals.take(run(0), 0).part, 0);
        assert_eq!(journals.take(run(3), 0).part, 1);
        assert_eq!(journals.take(run(2), 1).part, 0, "a journal that was cut is not the one that is known");
        for number in 0..200 {
            journals.put(run(number), known(1));
            journals.take(run(number), 0);
        }
        let inside = journals.0.lock().unwrap();
        assert!(inside.order.len() <= 2 * (inside.known.len() + 1) + 64);
        assert_eq!(inside.weight, inside.known.values().map(|known| known.weight).sum::<u64>());
    }
}
