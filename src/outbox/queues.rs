//! Recipient queues: the messages of a lane by recipient, in order, as far as they are loaded.
//!
//! Memory is bounded, and so is what is read for it. Of one recipient only the first few messages are held; the
//! rest is read when these are gone, from where it was left ([`Queue::unread_from`]), and whoever else was left
//! there gets something of the same page. Messages that may go soon have a window of their own, and those whose
//! recipients have to wait have another: who does not fit into that is set aside until the time comes
//! ([`SetAside`]). At any time the messages of one recipient come from one of three readings of the lane
//! ([`Reading`]), which gives them in order and leaves none out.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::set_aside::{SetAside, Standing};
use crate::clock::after;
use crate::id::MessageId;
use crate::model::message::NewMessage;
use crate::model::phone::person_of;
use crate::store::arrivals::Arrived;
use crate::store::records::DueMessage;

/// How much is read and held.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Messages read from the store at once, ...
    page: usize,
    /// ... and for a recipient whose queue is longer than what is held of it: as many.
    of_one: usize,
    /// Messages held of those who could get one soon.
    soon: usize,
    /// Messages held of recipients who have to wait.
    parked: usize,
    /// Recipients who are set aside (17 to 34 bytes each). With more of them nothing new is read.
    aside: usize,
}

/// What new messages say is held for so many of them, and of those that take no more bytes than this.
const KNOWN: usize = 4_096;
const KNOWN_BYTES: usize = 2 << 10;

const LIMITS: Limits = Limits { page: 256, of_one: 64, soon: 8_192, parked: 32_768, aside: 500_000 };

/// A message that may be sent now.
#[derive(Clone, Debug)]
pub struct Next {
    /// Which.
    pub id: MessageId,
    /// Its place in the lane.
    pub seq: i64,
    /// The person it goes to, in one spelling for all.
    pub to: Arc<str>,
    /// What it says, if it comes from where it was promised and has never been tried.
    pub known: Option<Arc<NewMessage>>,
}

/// What is to be read from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Messages above this, ...
    pub after: i64,
    /// ... so many of them.
    pub limit: usize,
    reading: Reading,
}

/// The three readings of the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// What nobody has read yet.
    New,
    /// For recipients whose next messages were left in the store.
    CatchUp,
    /// For those who were set aside.
    Sweep,
}

/// A message that is loaded and waits.
struct Waiting {
    seq: i64,
    id: MessageId,
    /// It backs off, or the day has no room for it.
    not_before: Option<Timestamp>,
    /// What it says, as in [`Next`].
    known: Option<Arc<NewMessage>>,
}

/// The queue of one recipient.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// The recipient gets nothing before this: the pace wants a distance.
    rests_until: Option<Timestamp>,
    /// One is under way.
    busy: bool,
    /// From here on none of the recipient's messages are loaded; none when all are that were read at all, or
    /// when the sweep brings them.
    unread_from: Option<i64>,
    slot: Slot,
}

/// The one place where a queue stands. It is cleared before another is taken: no set holds what a queue was.
#[derive(Clone, Copy, Default)]
enum Slot {
    /// Nowhere: a message is under way.
    #[default]
    None,
    /// Its first message, with this place, may go.
    Ready(i64),
    /// Its first message, with this place, may go at that time; so many are loaded.
    Parked(Timestamp, i64, usize),
    /// It is empty, and kept for the distance that it has to keep.
    Resting(Timestamp),
    /// It is empty, and has messages in the store from this place on.
    Starved(i64),
}

/// The queues of one lane.
pub struct RecipientQueues {
    limits: Limits,
    recipients: HashMap<Arc<str>, Queue>,
    /// Messages that are loaded or under way, each with its place.
    held: HashMap<MessageId, i64>,
    /// Messages that were given a new place before they had left their queue.
    replaced: HashMap<MessageId, i64>,
    ready: BTreeSet<(i64, Arc<str>)>,
    later: BTreeSet<(Timestamp, i64, Arc<str>)>,
    resting: BTreeSet<(Timestamp, Arc<str>)>,
    starved: BTreeSet<(i64, Arc<str>)>,
    /// All who have messages in the store that were left there, by the first of them.
    behind: BTreeSet<(i64, Arc<str>)>,
    /// Messages of recipients in `later`: they take no room from the others.
    parked: usize,
    aside: SetAside,
    /// All up to here has been read once.
    cursor: i64,
    /// Whether the store may have messages behind the cursor.
    unread: bool,
}

impl RecipientQueues {
    /// Empty ones that have read nothing.
    pub fn new() -> Self {
        Self::with(LIMITS)
    }

    fn with(limits: Limits) -> Self {
        Self {
            limits,
            recipients: HashMap::new(),
            held: HashMap::new(),
            replaced: HashMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            resting: BTreeSet::new(),
            starved: BTreeSet::new(),
            behind: BTreeSet::new(),
            parked: 0,
            aside: SetAside::default(),
            cursor: 0,
            unread: true,
        }
    }

    /// There may be new messages in the store.
    pub fn expect_more(&mut self) {
        self.unread = true;
    }

    /// What has come for the lane. Where it does not follow on what is known, it is read.
    pub fn arrive(&mut self, arrived: Arrived, now: Timestamp) {
        let has_room = self.held.len() + arrived.messages.len() < self.limits.soon + self.parked
            && self.aside.count() < self.limits.aside;
        if arrived.more || !has_room {
            self.expect_more();
        }
        // What was read meanwhile comes a second time.
        let new = arrived.messages.into_iter().filter(|message| message.seq > self.cursor);
        let new: Vec<_> = new.filter(|_| !self.unread).collect();
        if !new.is_empty() {
            let wanted = Wanted { after: self.cursor, limit: new.len() + 1, reading: Reading::New };
            self.load(wanted, new, now);
        }
    }

    /// What to read from the store next, if there is room and a reason to.
    pub fn wants(&mut self, now: Timestamp) -> Option<Wanted> {
        self.wake(now);
        if self.held.len() >= self.limits.soon + self.parked {
            return None;
        }
        // Whoever has waited longer goes first.
        if let Some((from, _)) = self.starved.first() {
            // As many as could be taken: whoever else is behind there gets something too.
            let limit = self.limits.page.min(self.limits.of_one * self.behind.len());
            return Some(Wanted { after: from - 1, limit, reading: Reading::CatchUp });
        }
        if let Some(after) = self.aside.cursor() {
            return Some(Wanted { after, limit: self.limits.page, reading: Reading::Sweep });
        }
        let more = self.unread && self.aside.count() < self.limits.aside;
        more.then_some(Wanted { after: self.cursor, limit: self.limits.page, reading: Reading::New })
    }

    /// Takes what was read. Fewer than were wanted say that nothing is behind them.
    pub fn load(&mut self, wanted: Wanted, messages: Vec<DueMessage>, now: Timestamp) {
        let whole = messages.len() < wanted.limit;
        let last = messages.last().map_or(wanted.after, |message| message.seq);
        let is_new = wanted.reading == Reading::New;
        let mut full = HashSet::new();
        for message in messages {
            // What is new since comes with the new ones.
            if !is_new && message.seq > self.cursor {
                break;
            }
            if let Some(place) = self.held.get(&message.id) {
                if *place < message.seq {
                    self.replaced.insert(message.id, message.seq);
                }
                continue;
            }
            let to: Arc<str> = person_of(&message.to).into();
            if !full.contains(&to) && self.is_for(&to, message.seq, wanted) && !self.push(&to, &message, now) {
                full.insert(to);
            }
        }
        if is_new {
            (self.cursor, self.unread) = (last, !whole);
        } else {
            let read_to = (!whole && last < self.cursor).then_some(last);
            self.caught_up(wanted, &full, read_to, now);
        }
        self.bound(now);
    }

    /// Whether a message belongs to this reading. It does to exactly one, and to none twice.
    fn is_for(&self, to: &str, seq: i64, wanted: Wanted) -> bool {
        if let Some(from) = self.recipients.get(to).and_then(|queue| queue.unread_from) {
            // Whichever comes by, if it has seen all of them.
            return from > wanted.after && seq >= from;
        }
        match self.aside.standing(to) {
            Standing::Apart => wanted.reading == Reading::New,
            Standing::Swept => wanted.reading == Reading::Sweep,
            Standing::Waiting => false,
        }
    }

    /// Puts a message at the end of its recipient's queue; false when that is full.
    fn push(&mut self, to: &Arc<str>, message: &DueMessage, now: Timestamp) -> bool {
        let queue = self.recipients.entry(to.clone()).or_default();
        if queue.waiting.len() >= self.limits.of_one {
            self.aside.take_out(to);
            self.read_on(to, Some(message.seq));
            return false;
        }
        let not_before = message.due_at.filter(|due| *due > now);
        let is_small = |known: &Arc<NewMessage>| known.weight() <= KNOWN_BYTES;
        let known = message.known.clone().filter(|known| self.held.len() < KNOWN && is_small(known));
        queue.waiting.push_back(Waiting { seq: message.seq, id: message.id, not_before, known });
        self.held.insert(message.id, message.seq);
        self.arrange(to, now);
        true
    }

    /// A second reading has come to `read_to`, or to all that was read before. Whoever it passed has got all that
    /// there was, except those who are full.
    fn caught_up(&mut self, wanted: Wanted, full: &HashSet<Arc<str>>, read_to: Option<i64>, now: Timestamp) {
        if wanted.reading == Reading::Sweep {
            self.aside.swept(read_to);
        }
        let passed = self.behind.range((wanted.after + 1, Arc::from(""))..);
        let passed = passed.take_while(|(from, _)| read_to.is_none_or(|seq| *from <= seq));
        let passed: Vec<_> = passed.filter(|(_, to)| !full.contains(to)).map(|(_, to)| to.clone()).collect();
        for to in passed {
            self.read_on(&to, read_to.map(|seq| seq + 1));
            self.arrange(&to, now);
        }
    }

    /// A recipient's messages from a place on are read when the others are gone; or all of them come by themselves.
    fn read_on(&mut self, to: &Arc<str>, from: Option<i64>) {
        let Some(queue) = self.recipients.get_mut(to) else { return };
        if let Some(before) = std::mem::replace(&mut queue.unread_from, from) {
            self.behind.remove(&(before, to.clone()));
        }
        if let Some(from) = from {
            self.behind.insert((from, to.clone()));
        }
    }

    /// Holds no more of those who have to wait than there is room for: of those whose time comes last, the ones
    /// furthest behind are let go.
    fn bound(&mut self, now: Timestamp) {
        while self.parked > self.limits.parked
            && let Some((at, first, to)) = self.later.last().cloned()
        {
            let Some(queue) = self.recipients.get_mut(&to) else { return };
            queue.waiting.drain(..).for_each(|message| {
                self.held.remove(&message.id);
            });
            self.aside.put(&to, first, at);
            self.read_on(&to, None);
            // One that has to keep a distance stays, empty: that is known here only.
            self.arrange(&to, now);
        }
    }

    /// The next message that may go out, lowest place first, of those that are not for some people. Its recipient
    /// is busy from now on.
    pub fn next(&mut self, now: Timestamp, avoided: &HashSet<Arc<str>>) -> Option<Next> {
        self.wake(now);
        let (_, to) = self.ready.iter().find(|(_, to)| !avoided.contains(to)).cloned()?;
        let queue = self.recipients.get_mut(&to)?;
        let Waiting { seq, id, known, .. } = queue.waiting.pop_front()?;
        queue.busy = true;
        self.arrange(&to, now);
        Some(Next { id, seq, to, known })
    }

    /// A message has left its queue; the recipient's next one may go, `distance` after `sent_at`.
    pub fn leave(&mut self, message: &Next, sent_at: Timestamp, distance: Option<Duration>, now: Timestamp) {
        self.held.remove(&message.id);
        let replaced = self.replaced.remove(&message.id);
        let Some(queue) = self.recipients.get_mut(&message.to) else { return };
        queue.busy = false;
        queue.rests_until = distance.map(|distance| after(sent_at, distance)).filter(|at| *at > now);
        if let Some(place) = replaced {
            self.read_again(&message.to, place);
        }
        self.arrange(&message.to, now);
        self.bound(now);
    }

    /// A recipient's messages from a place on are read again.
    fn read_again(&mut self, to: &Arc<str>, place: i64) {
        let Some(queue) = self.recipients.get_mut(to) else { return };
        while let Some(last) = queue.waiting.pop_back_if(|last| last.seq > place) {
            self.held.remove(&last.id);
        }
        let swept_to = self.aside.take_out(to).map(|cursor| cursor + 1);
        let from = [queue.unread_from, swept_to, Some(place)].into_iter().flatten().min();
        self.read_on(to, from);
    }

    /// A message stays first in its queue and is tried again at `not_before`.
    pub fn put_back(&mut self, message: &Next, not_before: Option<Timestamp>, now: Timestamp) {
        let Some(queue) = self.recipients.get_mut(&message.to) else { return };
        queue.busy = false;
        let not_before = not_before.filter(|at| *at > now);
        queue.waiting.push_front(Waiting { seq: message.seq, id: message.id, not_before, known: None });
        self.arrange(&message.to, now);
        self.bound(now);
    }

    /// Whether a message could go out now.
    pub fn has_ready(&mut self, now: Timestamp) -> bool {
        self.wake(now);
        !self.ready.is_empty()
    }

    /// When the next wait of a recipient is over.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let (later, resting) = (self.later.first().map(|(at, ..)| *at), self.resting.first().map(|(at, _)| *at));
        [later, resting, self.aside.wakes_at()].into_iter().flatten().min()
    }

    fn wake(&mut self, now: Timestamp) {
        while let Some((at, _, to)) = self.later.first()
            && *at <= now
        {
            let to = to.clone();
            self.arrange(&to, now);
        }
        while let Some((at, to)) = self.resting.first()
            && *at <= now
        {
            let to = to.clone();
            self.arrange(&to, now);
        }
        self.aside.wake(now);
    }

    /// Puts a queue where it belongs and nowhere else; one that holds nothing and stands for nothing is forgotten.
    fn arrange(&mut self, to: &Arc<str>, now: Timestamp) {
        let Some(queue) = self.recipients.get_mut(to) else { return };
        match std::mem::take(&mut queue.slot) {
            Slot::None => {}
            Slot::Ready(seq) => {
                self.ready.remove(&(seq, to.clone()));
            }
            Slot::Parked(at, seq, count) => {
                self.parked -= count;
                self.later.remove(&(at, seq, to.clone()));
            }
            Slot::Resting(at) => {
                self.resting.remove(&(at, to.clone()));
            }
            Slot::Starved(from) => {
                self.starved.remove(&(from, to.clone()));
            }
        }
        let rests = queue.rests_until.filter(|until| *until > now);
        let first = queue.waiting.front().map(|first| (first.seq, first.not_before.max(rests).filter(|at| *at > now)));
        queue.slot = match (first, rests, queue.unread_from) {
            _ if queue.busy => return,
            (Some((seq, None)), ..) => Slot::Ready(seq),
            (Some((seq, Some(at))), ..) => Slot::Parked(at, seq, queue.waiting.len()),
            (None, Some(until), _) => Slot::Resting(until),
            (None, None, Some(from)) => Slot::Starved(from),
            (None, None, None) => {
                self.recipients.remove(to);
                return;
            }
        };
        match queue.slot {
            Slot::None => {}
            Slot::Ready(seq) => {
                self.ready.insert((seq, to.clone()));
            }
            Slot::Parked(at, seq, count) => {
                self.parked += count;
                self.later.insert((at, seq, to.clone()));
            }
            Slot::Resting(until) => {
                self.resting.insert((until, to.clone()));
            }
            Slot::Starved(from) => {
                self.starved.insert((from, to.clone()));
            }
        }
    }
}

#[cfg(test)]
#[path = "queues_tests.rs"]
mod tests;
