//! Runs that wait for their first turn: how many there may be, and that no flow takes all the room.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The last tenth of the room is for flows that hold less than a hundredth of it.
const RESERVED: u64 = 10;
const SMALL: u64 = 100;
/// Most bytes from outside that wait for the writer.
const WAITING: usize = 64 << 20;

/// What the writer knows of it.
#[derive(Default)]
pub struct Backlog {
    total: u64,
    most: u64,
    by_flow: HashMap<Arc<str>, u64>,
    /// What the group has changed that is not on disk yet.
    changes: Vec<(Arc<str>, bool)>,
}

impl Backlog {
    /// As the file has it.
    pub fn new(most: u64, by_flow: impl Iterator<Item = (String, u64)>) -> Self {
        let by_flow: HashMap<Arc<str>, u64> = by_flow.map(|(flow, count)| (flow.into(), count)).collect();
        Self { total: by_flow.values().sum(), most, by_flow, changes: Vec::new() }
    }

    /// How many there may be from now on.
    pub fn limit(&mut self, most: u64) {
        self.most = most;
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether there is room for so many runs more of this flow.
    pub fn has_room(&self, flow: &str, more: u64) -> bool {
        let own = self.by_flow.get(flow).copied().unwrap_or(0);
        has_room(self.total + more.saturating_sub(1), own, self.most)
    }

    /// Whether there is room for so many runs more, whatever their flows.
    pub fn is_ample(&self, more: u64) -> bool {
        self.total + more <= self.most - self.most / RESERVED
    }

    /// A run of this flow waits.
    pub fn add(&mut self, flow: &str) {
        let flow = match self.by_flow.get_key_value(flow) {
            Some((flow, _)) => flow.clone(),
            None => flow.into(),
        };
        self.change(flow.clone(), true);
        self.changes.push((flow, true));
    }

    /// A run of this flow waits no more.
    pub fn remove(&mut self, flow: &str) {
        if let Some((flow, 1..)) = self.by_flow.get_key_value(flow) {
            let flow = flow.clone();
            self.change(flow.clone(), false);
            self.changes.push((flow, false));
        }
    }

    fn change(&mut self, flow: Arc<str>, more: bool) {
        let own = self.by_flow.entry(flow).or_default();
        (*own, self.total) = match more {
            true => (*own + 1, self.total + 1),
            false => (own.saturating_sub(1), self.total.saturating_sub(1)),
        };
    }

    /// Where to go back to.
    pub fn mark(&self) -> usize {
        self.changes.len()
    }

    /// What was changed since the mark is undone.
    pub fn undo(&mut self, mark: usize) {
        while self.changes.len() > mark
            && let Some((flow, more)) = self.changes.pop()
        {
            self.change(flow, !more);
        }
    }

    /// What was changed is on disk.
    pub fn keep(&mut self) {
        for (flow, more) in self.changes.drain(..) {
            if !more && self.by_flow.get(&flow) == Some(&0) {
                self.by_flow.remove(&flow);
            }
        }
    }

    /// Shows it to those who ask without the writer.
    pub fn publish(&self, door: &Door) {
        door.total.store(self.total, Ordering::Relaxed);
        door.most.store(self.most, Ordering::Relaxed);
        // Whose share it is matters only where room is scarce.
        if self.total >= self.most - self.most / RESERVED {
            let mut shares = door.shares.lock().unwrap_or_else(PoisonError::into_inner);
            shares.clone_from(&self.by_flow);
        }
    }
}

fn has_room(total: u64, own: u64, most: u64) -> bool {
    total < most && (total < most - most / RESERVED || own < (most / SMALL).max(1))
}

/// What can be asked without the writer.
#[derive(Default)]
pub struct Door {
    total: AtomicU64,
    most: AtomicU64,
    shares: Mutex<HashMap<Arc<str>, u64>>,
    waiting: AtomicUsize,
}

impl Door {
    /// Whether there is room for a run more of this flow, as of the last commit.
    pub fn has_room(&self, flow: &str) -> bool {
        let (total, most) = (self.total.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed));
        total < most - most / RESERVED || {
            let shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
            has_room(total, shares.get(flow).copied().unwrap_or(0), most)
        }
    }

    /// So many bytes from outside wait; none when too many do already.
    pub fn enter(self: &Arc<Self>, bytes: usize) -> Option<Waiting> {
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let waiting = Waiting { door: self.clone(), bytes };
        // A single large one always comes in.
        (before == 0 || before + bytes <= WAITING).then_some(waiting)
    }
}

/// Bytes that wait for the writer, as long as this lives.
pub struct Waiting {
    door: Arc<Door>,
    bytes: usize,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.door.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flow_leaves_room_for_the_others_and_what_is_undone_never_was() {
        let mut backlog = Backlog::new(500, std::iter::empty());
        while backlog.has_room("greedy", 1) {
            backlog.add("greedy");
        }
        assert_eq!(backlog.total(), 450);
        assert!(backlog.has_room("other", 1) && !backlog.has_room("other", 51));
        backlog.keep();
        let mark = backlog.mark();
        backlog.add("other");
        backlog.remove("greedy");
        backlog.remove("greedy");
        backlog.undo(mark);
        assert_eq!((backlog.total(), backlog.by_flow.get("greedy"), backlog.by_flow["other"]), (450, Some(&450), 0));
        let mark = backlog.mark();
        backlog.remove("other");
        backlog.undo(mark);
        assert_eq!(backlog.by_flow["other"], 0, "there was none to take away, and none to give back");
        let door = Arc::new(Door::default());
        backlog.publish(&door);
        assert!(door.has_room("other") && !door.has_room("greedy"));
    }

    #[test]
    fn a_small_limit_is_what_it_says() {
        let mut backlog = Backlog::new(3, std::iter::empty());
        (0..3).for_each(|_| backlog.add("only"));
        assert!(!backlog.has_room("only", 1) && !backlog.has_room("other", 1));
        assert!(Backlog::new(3, [("only".to_owned(), 2)].into_iter()).has_room("only", 1));
        for most in [10, 50, 99] {
            let mut backlog = Backlog::new(most, std::iter::empty());
            for flow in 0..most {
                assert!(backlog.has_room(&flow.to_string(), 1), "{flow} of {most}");
                backlog.add(&flow.to_string());
            }
        }
    }

    #[test]
    fn what_waits_from_outside_is_bounded() {
        let door = Arc::new(Door::default());
        let large = door.enter(WAITING + 1);
        assert!(large.is_some() && door.enter(1).is_none());
        drop(large);
        assert!(door.enter(1).is_some());
    }
}
