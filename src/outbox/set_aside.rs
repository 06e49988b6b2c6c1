//! Recipients who are set aside: they have to wait so long, and there are so many of them, that their messages
//! are not held in memory. Of each only a number is kept; when the first of their times has come, the lane is
//! read once more, from the first of their messages on.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use jiff::Timestamp;

/// Where a recipient's messages stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not here: whatever comes new is theirs.
    Apart,
    /// Set aside: nothing of theirs is loaded until their time has come.
    Waiting,
    /// Their time has come: they are loaded as the sweep comes to them.
    Swept,
}

/// What is kept of a recipient.
type Key = [u64; 2];

/// Those who are set aside.
///
/// A recipient is known by a hash of 128 bits, keyed by chance: no two have the same one.
#[derive(Default)]
pub struct SetAside {
    hashers: [RandomState; 2],
    waiting: HashSet<Key>,
    /// The first message of those who wait, and the earliest of their times.
    next: Option<(i64, Timestamp)>,
    sweep: Option<Sweep>,
}

/// A second reading of the lane, for those whose time has come.
struct Sweep {
    /// Whatever is theirs up to here has been loaded.
    cursor: i64,
    riders: HashSet<Key>,
}

impl SetAside {
    fn key(&self, to: &str) -> Key {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(to))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.waiting.len() + self.sweep.as_ref().map_or(0, |sweep| sweep.riders.len())
    }

    /// Where a recipient stands.
    pub fn standing(&self, to: &str) -> Standing {
        if self.waiting.is_empty() && self.sweep.is_none() {
            return Standing::Apart;
        }
        let key = self.key(to);
        match &self.sweep {
            _ if self.waiting.contains(&key) => Standing::Waiting,
            Some(sweep) if sweep.riders.contains(&key) => Standing::Swept,
            _ => Standing::Apart,
        }
    }

    /// Sets a recipient aside until `at`; `first` is the first of its messages.
    pub fn put(&mut self, to: &str, first: i64, at: Timestamp) {
        self.take_out(to);
        let key = self.key(to);
        self.waiting.insert(key);
        let (known, wakes_at) = self.next.unwrap_or((first, at));
        self.next = Some((known.min(first), wakes_at.min(at)));
    }

    /// A recipient leaves the sweep. Gives up to where its messages have been read.
    pub fn take_out(&mut self, to: &str) -> Option<i64> {
        let key = self.key(to);
        let sweep = self.sweep.as_mut()?;
        let cursor = sweep.riders.remove(&key).then_some(sweep.cursor);
        if sweep.riders.is_empty() {
            self.sweep = None;
        }
        cursor
    }

    /// When the first of those who wait are to be read again.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        self.next.map(|(_, at)| at)
    }

    /// Begins to read them again if their time has come. All of them, for nobody knows whose it is; those who
    /// have to wait on are set aside again. A sweep that is under way goes back for them.
    pub fn wake(&mut self, now: Timestamp) {
        let Some((first, _)) = self.next.take_if(|(_, at)| *at <= now) else { return };
        let riders = std::mem::take(&mut self.waiting);
        match &mut self.sweep {
            Some(sweep) => {
                sweep.cursor = sweep.cursor.min(first - 1);
                sweep.riders.extend(riders);
            }
            None => self.sweep = Some(Sweep { cursor: first - 1, riders }),
        }
    }

    /// Where the sweep reads on, if there is one.
    pub fn cursor(&self) -> Option<i64> {
        self.sweep.as_ref().map(|sweep| sweep.cursor)
    }

    /// The sweep has come to a message; none when it has read all that there is.
    pub fn swept(&mut self, to: Option<i64>) {
        match (&mut self.sweep, to) {
            (Some(sweep), Some(seq)) => sweep.cursor = seq,
            _ => self.sweep = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn all_are_read_again_from_the_first_when_the_first_time_has_come() {
        let mut aside = SetAside::default();
        aside.put("b", 20, at(100));
        aside.put("a", 10, at(200));
        assert_eq!((aside.wakes_at(), aside.standing("a")), (Some(at(100)), Standing::Waiting));
        aside.wake(at(99));
        assert_eq!(aside.cursor(), None);
        aside.wake(at(100));
        assert_eq!((aside.cursor(), aside.wakes_at()), (Some(9), None));
        assert_eq!((aside.standing("a"), aside.standing("c")), (Standing::Swept, Standing::Apart));
        // One has to wait on; the sweep goes on for the other, until it has read everything.
        aside.put("a", 10, at(200));
        assert_eq!((aside.standing("a"), aside.standing("b")), (Standing::Waiting, Standing::Swept));
        aside.swept(Some(30));
        assert_eq!(aside.cursor(), Some(30));
        aside.swept(None);
        assert_eq!((aside.standing("b"), aside.count()), (Standing::Apart, 1));
    }

    #[test]
    fn a_sweep_goes_back_for_those_whose_time_comes_meanwhile() {
        let mut aside = SetAside::default();
        aside.put("a", 10, at(1));
        aside.wake(at(1));
        aside.swept(Some(50));
        aside.put("b", 30, at(2));
        aside.wake(at(2));
        assert_eq!(aside.cursor(), Some(29));
        assert_eq!(aside.take_out("b"), Some(29));
        assert_eq!(aside.take_out("b"), None);
        assert_eq!(aside.take_out("a"), Some(29));
        assert_eq!(aside.cursor(), None, "nobody rides it any more");
    }
}
