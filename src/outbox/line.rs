//! Who is next: queued messages by recipient, in order, as far as they are loaded.
//!
//! Memory is bounded: of one recipient's messages only the first few are held, and of all
//! messages only a window. What is not held is read from the store again when there is room.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::id::MessageId;
use crate::model::phone::person_of;
use crate::store::rows::DueMessage;

/// Messages held of one recipient.
const OF_ONE: usize = 64;
/// Messages held of those who could get one soon.
const OF_ALL: usize = 8_192;
/// Messages held in all, with those whose recipients have to wait.
const WITH_PARKED: usize = 100_000;

/// A message that may be sent now.
#[derive(Clone, Debug)]
pub struct Next {
    /// Which.
    pub id: MessageId,
    /// Its place.
    pub seq: i64,
    /// The person it goes to, in one spelling for all.
    pub to: Arc<str>,
}

/// The queue of one recipient.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<(i64, MessageId)>,
    /// Nothing goes out before this: a message backs off, or the pace wants a distance.
    not_before: Option<Timestamp>,
    /// One is under way.
    busy: bool,
    /// There is more in the store behind this place.
    more_behind: Option<i64>,
    /// How many of them count as parked.
    parked: usize,
}

/// The line of one lane.
#[derive(Default)]
pub struct Line {
    recipients: HashMap<Arc<str>, Queue>,
    /// Messages in the line, each with its place.
    held: HashMap<MessageId, i64>,
    /// Messages that were given a new place before they had left the line.
    replaced: HashMap<MessageId, i64>,
    ready: BTreeSet<(i64, Arc<str>)>,
    later: BTreeSet<(Timestamp, Arc<str>)>,
    /// Messages of recipients in `later`: they take no room from the others.
    parked: usize,
    cursor: i64,
    /// Whether the store may have messages behind the cursor.
    unread: bool,
}

impl Line {
    /// An empty line that has read nothing.
    pub fn new() -> Self {
        Self { unread: true, ..Self::default() }
    }

    /// There may be new messages in the store.
    pub fn expect_more(&mut self) {
        self.unread = true;
    }

    /// Where to read on in the store, if there is room and a reason to.
    pub fn wants(&self) -> Option<i64> {
        let room = self.held.len() < OF_ALL + self.parked && self.held.len() < WITH_PARKED;
        (self.unread && room).then_some(self.cursor)
    }

    /// Takes what was read behind the cursor. `whole` says that nothing is behind it.
    pub fn load(&mut self, messages: Vec<DueMessage>, whole: bool, now: Timestamp) {
        self.unread = !whole;
        for message in messages {
            self.cursor = self.cursor.max(message.seq);
            if let Some(place) = self.held.get(&message.id) {
                if *place < message.seq {
                    self.replaced.insert(message.id, message.seq);
                }
                continue;
            }
            let to: Arc<str> = person_of(&message.to).into();
            let queue = self.recipients.entry(to.clone()).or_default();
            if queue.more_behind.is_some() || queue.waiting.len() >= OF_ONE {
                let last = queue.waiting.back().map_or(message.seq - 1, |(seq, _)| *seq);
                queue.more_behind.get_or_insert(last);
                continue;
            }
            queue.waiting.push_back((message.seq, message.id));
            queue.not_before = queue.not_before.max(message.due_at.filter(|due| *due > now));
            self.held.insert(message.id, message.seq);
            self.arrange(&to, now);
        }
    }

    /// The next message that may go out, lowest place first. Its recipient is busy from now on.
    pub fn next(&mut self, now: Timestamp) -> Option<Next> {
        self.next_but(now, &HashSet::new())
    }

    /// The same, of those that are not for some people.
    pub fn next_but(&mut self, now: Timestamp, avoided: &HashSet<Arc<str>>) -> Option<Next> {
        self.wake(now);
        let (seq, to) = self.ready.iter().find(|(_, to)| !avoided.contains(to)).cloned()?;
        self.ready.remove(&(seq, to.clone()));
        let queue = self.recipients.get_mut(&to)?;
        let (_, id) = queue.waiting.pop_front()?;
        queue.busy = true;
        Some(Next { id, seq, to })
    }

    /// A message has left the line; its recipient's next one may go, `distance` after `sent_at`.
    pub fn left(&mut self, message: &Next, sent_at: Timestamp, distance: Option<Duration>, now: Timestamp) {
        self.held.remove(&message.id);
        if let Some(place) = self.replaced.remove(&message.id) {
            self.cursor = self.cursor.min(place - 1);
            self.unread = true;
        }
        let Some(queue) = self.recipients.get_mut(&message.to) else { return };
        queue.busy = false;
        queue.not_before = distance.map(|distance| after(sent_at, distance)).filter(|at| *at > now);
        if queue.waiting.is_empty()
            && let Some(behind) = queue.more_behind.take()
        {
            self.cursor = self.cursor.min(behind);
            self.unread = true;
        }
        self.arrange(&message.to, now);
    }

    /// A message stays first in its recipient's line and is tried again at `not_before`.
    pub fn back(&mut self, message: &Next, not_before: Option<Timestamp>, now: Timestamp) {
        let Some(queue) = self.recipients.get_mut(&message.to) else { return };
        queue.busy = false;
        queue.waiting.push_front((message.seq, message.id));
        queue.not_before = not_before.filter(|at| *at > now);
        self.arrange(&message.to, now);
    }

    /// Whether a message could go out now.
    pub fn has_ready(&mut self, now: Timestamp) -> bool {
        self.wake(now);
        !self.ready.is_empty()
    }

    /// When the next recipient's wait is over.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.later.first().map(|(at, _)| *at)
    }

    fn wake(&mut self, now: Timestamp) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, to)) = self.later.pop_first() else { return };
            if let Some(queue) = self.recipients.get_mut(&to) {
                queue.not_before = None;
            }
            self.arrange(&to, now);
        }
    }

    /// Puts a recipient where it belongs: ready, later, or forgotten.
    fn arrange(&mut self, to: &Arc<str>, now: Timestamp) {
        let Some(queue) = self.recipients.get_mut(to) else { return };
        self.parked -= std::mem::take(&mut queue.parked);
        match (queue.busy, queue.waiting.front(), queue.not_before) {
            (true, _, _) => {}
            (false, _, Some(at)) if at > now => {
                queue.parked = queue.waiting.len();
                self.parked += queue.parked;
                self.later.insert((at, to.clone()));
            }
            (false, Some((seq, _)), _) => {
                self.ready.insert((*seq, to.clone()));
            }
            (false, None, _) => {
                self.recipients.remove(to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(seq: i64, to: &str) -> DueMessage {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seq.to_be_bytes());
        DueMessage { id: MessageId::from_bytes(bytes), seq, to: to.into(), due_at: None }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn one_at_a_time_for_a_recipient_and_others_are_not_held_up() {
        let mut line = Line::new();
        line.load(vec![due(1, "a"), due(2, "a"), due(3, "b")], true, at(0));
        let first = line.next(at(0)).unwrap();
        let other = line.next(at(0)).unwrap();
        assert_eq!((first.seq, other.seq), (1, 3));
        assert!(line.next(at(0)).is_none());
        line.back(&first, Some(at(5)), at(0));
        assert!(line.next(at(4)).is_none());
        assert_eq!(line.next_wake(), Some(at(5)));
        let again = line.next(at(5)).unwrap();
        assert_eq!(again.seq, 1);
        line.left(&again, at(5), Some(Duration::from_secs(2)), at(5));
        assert!(line.next(at(6)).is_none());
        assert_eq!(line.next(at(7)).unwrap().seq, 2);
    }

    #[test]
    fn who_has_to_wait_takes_no_room_from_the_others() {
        let mut line = Line::new();
        let waits = |seq: i64| DueMessage { due_at: Some(at(86_400)), ..due(seq, &format!("stranger {seq}")) };
        let count = 3 * OF_ALL as i64;
        for seq in 1..=count {
            assert!(line.wants().is_some(), "{seq}");
            line.load(vec![waits(seq)], false, at(0));
        }
        line.load(vec![due(count + 1, "a")], true, at(0));
        assert_eq!(line.next(at(0)).unwrap().seq, count + 1);
        assert_eq!(line.parked, count as usize);
        // The day comes, and they are like the others again.
        assert_eq!(line.next(at(86_400)).unwrap().seq, 1);
        assert_eq!(line.parked, 0);
    }

    #[test]
    fn a_message_that_got_a_new_place_before_it_left_is_read_again() {
        let mut line = Line::new();
        line.load(vec![due(1, "a")], true, at(0));
        let sent = line.next(at(0)).unwrap();
        let again = DueMessage { seq: 9, ..due(1, "a") };
        line.load(vec![again.clone()], true, at(0));
        line.left(&sent, at(0), None, at(0));
        assert_eq!(line.wants(), Some(8));
        line.load(vec![again], true, at(0));
        assert_eq!(line.next(at(0)).unwrap().seq, 9);
    }

    #[test]
    fn a_long_queue_is_held_in_part_and_still_goes_out_in_order() {
        let all: Vec<DueMessage> = (1..=500).map(|seq| due(seq, if seq % 5 == 0 { "b" } else { "a" })).collect();
        let mut line = Line::new();
        let mut sent: HashMap<String, Vec<i64>> = HashMap::new();
        for _ in 0..10_000 {
            while let Some(cursor) = line.wants() {
                let part: Vec<_> = all.iter().filter(|due| due.seq > cursor).take(100).cloned().collect();
                let part: Vec<_> =
                    part.into_iter().filter(|due| !sent.values().flatten().any(|seq| *seq == due.seq)).collect();
                let whole = all.iter().filter(|due| due.seq > cursor).count() <= 100;
                if part.is_empty() && !whole {
                    break;
                }
                line.load(part, whole, at(0));
            }
            assert!(line.held.len() <= 2 * OF_ONE);
            let Some(next) = line.next(at(0)) else { break };
            sent.entry(next.to.to_string()).or_default().push(next.seq);
            line.left(&next, at(0), None, at(0));
        }
        for (to, seqs) in &sent {
            assert!(seqs.is_sorted(), "{to}: {seqs:?}");
        }
        assert_eq!(sent.values().map(Vec::len).sum::<usize>(), 500);
    }
}
