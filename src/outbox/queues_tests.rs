//! Order, memory and reading of the recipient queues.

use std::collections::BTreeMap;

use super::*;
use crate::store::arrivals::Inbox;

fn due(seq: i64, to: &str) -> DueMessage {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seq.to_be_bytes());
    DueMessage { id: MessageId::from_bytes(bytes), seq, to: to.into(), due_at: None, known: None }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A lane in the store, and how much of it has been read.
#[derive(Default)]
struct Rows {
    queued: BTreeMap<i64, DueMessage>,
    read: usize,
}

impl Rows {
    fn of(messages: impl IntoIterator<Item = DueMessage>) -> Self {
        Self { queued: messages.into_iter().map(|message| (message.seq, message)).collect(), read: 0 }
    }

    /// As long as the queues want something; gives how many readings that took.
    fn fill(&mut self, queues: &mut RecipientQueues, now: Timestamp) -> usize {
        let mut pages = 0;
        while let Some(wanted) = queues.wants(now) {
            let page = self.queued.range(wanted.after + 1..).take(wanted.limit);
            let page: Vec<_> = page.map(|(_, message)| message.clone()).collect();
            self.read += page.len();
            queues.load(wanted, page, now);
            pages += 1;
            assert!(pages < 100_000, "reads for ever: {wanted:?}");
        }
        pages
    }

    /// Sends all that may go now, one after the other; gives the places, in order.
    fn send_all(&mut self, queues: &mut RecipientQueues, now: Timestamp) -> Vec<i64> {
        let mut sent = Vec::new();
        loop {
            self.fill(queues, now);
            let Some(next) = next(queues, now) else { return sent };
            self.queued.remove(&next.seq);
            queues.leave(&next, now, None, now);
            sent.push(next.seq);
        }
    }
}

fn next(queues: &mut RecipientQueues, now: Timestamp) -> Option<Next> {
    queues.next(now, &HashSet::new())
}

/// With these messages, which are all that there are.
fn loaded(messages: Vec<DueMessage>) -> (RecipientQueues, Rows) {
    let (mut queues, mut rows) = (RecipientQueues::new(), Rows::of(messages));
    rows.fill(&mut queues, at(0));
    (queues, rows)
}

#[test]
fn one_at_a_time_for_a_recipient_and_others_are_not_held_up() {
    let (mut queues, _) = loaded(vec![due(1, "a"), due(2, "a"), due(3, "b")]);
    let first = next(&mut queues, at(0)).unwrap();
    let other = next(&mut queues, at(0)).unwrap();
    assert_eq!((first.seq, other.seq), (1, 3));
    assert!(next(&mut queues, at(0)).is_none());
    queues.put_back(&first, Some(at(5)), at(0));
    assert!(next(&mut queues, at(4)).is_none());
    assert_eq!(queues.next_wake(), Some(at(5)));
    let again = next(&mut queues, at(5)).unwrap();
    assert_eq!(again.seq, 1);
    queues.leave(&again, at(5), Some(Duration::from_secs(2)), at(5));
    assert!(next(&mut queues, at(6)).is_none());
    assert_eq!(next(&mut queues, at(7)).unwrap().seq, 2);
}

#[test]
fn people_who_are_avoided_keep_their_places() {
    let (mut queues, _) = loaded(vec![due(1, "a"), due(2, "b")]);
    let avoided = HashSet::from(["a".into()]);
    assert_eq!(queues.next(at(0), &avoided).unwrap().seq, 2);
    assert!(queues.next(at(0), &avoided).is_none());
    assert_eq!(next(&mut queues, at(0)).unwrap().seq, 1);
}

#[test]
fn each_message_waits_for_its_own_time_and_only_for_that() {
    let waits = DueMessage { due_at: Some(at(100)), ..due(2, "a") };
    let (mut queues, mut rows) = loaded(vec![due(1, "a")]);
    rows.queued.insert(2, waits);
    queues.expect_more();
    rows.fill(&mut queues, at(0));
    let first = next(&mut queues, at(0)).unwrap();
    queues.leave(&first, at(0), None, at(0));
    assert!(next(&mut queues, at(99)).is_none(), "the second one went at the time of the first");
    assert_eq!(queues.next_wake(), Some(at(100)));
    assert_eq!(next(&mut queues, at(100)).unwrap().seq, 2);
}

#[test]
fn a_queue_stands_in_one_place() {
    let (mut queues, _) = loaded(vec![due(1, "a"), due(2, "a")]);
    let first = next(&mut queues, at(0)).unwrap();
    // Where it stood before would let it go at 5.
    queues.put_back(&first, Some(at(5)), at(0));
    let again = next(&mut queues, at(5)).unwrap();
    queues.put_back(&again, Some(at(50)), at(5));
    assert_eq!((queues.ready.len(), queues.later.len(), queues.parked), (0, 1, 2));
    assert!(next(&mut queues, at(49)).is_none());
    assert_eq!(next(&mut queues, at(50)).unwrap().seq, 1);
    assert_eq!((queues.ready.len(), queues.later.len(), queues.parked), (0, 0, 0));
}

#[test]
fn who_has_to_wait_takes_no_room_from_the_others() {
    let count = 3 * LIMITS.soon as i64;
    let waits = |seq: i64| DueMessage { due_at: Some(at(86_400)), ..due(seq, &format!("stranger {seq}")) };
    let (mut queues, mut rows) = loaded((1..=count).map(waits).chain([due(count + 1, "a")]).collect());
    assert_eq!(next(&mut queues, at(0)).unwrap().seq, count + 1);
    assert_eq!(queues.parked, count as usize);
    // The day comes, and they are like the others again.
    rows.queued.remove(&(count + 1));
    assert_eq!(rows.send_all(&mut queues, at(86_400)), (1..=count).collect::<Vec<_>>());
    assert_eq!(queues.parked, 0);
}

#[test]
fn who_waits_for_tomorrow_keeps_nobody_unread() {
    let count = 100_000;
    let waits = |seq: i64| DueMessage { due_at: Some(at(86_400)), ..due(seq, &format!("stranger {seq}")) };
    let (mut queues, mut rows) = loaded((1..=count).map(waits).chain([due(count + 1, "known")]).collect());
    assert_eq!(rows.send_all(&mut queues, at(0)), [count + 1]);
    assert_eq!((queues.held.len(), queues.recipients.len()), (LIMITS.parked, LIMITS.parked));
    // One of those who are in memory no more gets something else: it waits behind the first.
    for (seq, who) in [(count + 2, count), (count + 3, 1)] {
        rows.queued.insert(seq, due(seq, &format!("stranger {who}")));
    }
    queues.expect_more();
    assert!(rows.send_all(&mut queues, at(0)).is_empty());
    assert_eq!(queues.next_wake(), Some(at(86_400)));
    let sent = rows.send_all(&mut queues, at(86_400));
    assert_eq!(sent.len(), count as usize + 2);
    let place = |wanted: i64| sent.iter().position(|seq| *seq == wanted).unwrap();
    assert!(place(count) < place(count + 2) && place(1) < place(count + 3));
    assert!(rows.read < 2 * count as usize + 1_000, "{} rows read", rows.read);
    assert!(queues.recipients.is_empty() && queues.held.is_empty() && queues.aside.count() == 0);
}

#[test]
fn a_message_that_got_a_new_place_before_it_left_is_read_again_at_that_place() {
    let (mut queues, mut rows) = loaded(vec![due(1, "a"), due(2, "b")]);
    let sent = next(&mut queues, at(0)).unwrap();
    rows.queued.remove(&1);
    rows.queued.insert(9, DueMessage { seq: 9, ..due(1, "a") });
    rows.queued.insert(10, due(10, "a"));
    queues.expect_more();
    rows.fill(&mut queues, at(0));
    queues.leave(&sent, at(0), None, at(0));
    assert_eq!(rows.send_all(&mut queues, at(0)), [2, 9, 10]);
    assert!(queues.held.is_empty());
}

#[test]
fn a_long_queue_is_held_in_part_and_still_goes_out_in_order() {
    let (mut queues, mut rows) = loaded((1..=500).map(|seq| due(seq, if seq % 5 == 0 { "b" } else { "a" })).collect());
    assert_eq!(queues.held.len(), 2 * LIMITS.of_one);
    let sent = rows.send_all(&mut queues, at(0));
    for is_b in [false, true] {
        let of_one: Vec<_> = sent.iter().filter(|seq| (*seq % 5 == 0) == is_b).collect();
        assert!(of_one.is_sorted(), "{of_one:?}");
    }
    assert_eq!(sent.len(), 500);
}

const MANY: i64 = 100_000;

/// Sends many messages, for whom `who` says, and gives how many rows were read for each.
fn rows_for_each(who: impl Fn(i64) -> String) -> f64 {
    let (mut queues, mut rows) = loaded((1..=MANY).map(|seq| due(seq, &who(seq))).collect());
    assert_eq!(rows.send_all(&mut queues, at(0)).len(), MANY as usize);
    rows.read as f64 / MANY as f64
}

#[test]
fn what_is_read_grows_with_the_lane_and_not_with_its_square() {
    let one_group = rows_for_each(|_| "group".into());
    assert!(one_group < 2.1, "{one_group}");
    let with_others = rows_for_each(|seq| if seq % 2 == 0 { "group".into() } else { format!("person {seq}") });
    assert!(with_others < 2.1, "{with_others}");
    let groups = rows_for_each(|seq| format!("group {}", seq % 50));
    assert!(groups < 2.1, "{groups}");
    let uneven = rows_for_each(|seq| format!("group {}", seq.trailing_zeros()));
    assert!(uneven < 4.0, "{uneven}");
}

#[test]
fn a_slow_group_is_read_once_more_when_all_others_are_done() {
    let who = |seq: i64| if seq % 2 == 0 { "group".to_owned() } else { format!("person {}", seq % 100) };
    let (mut queues, mut rows) = loaded((1..=MANY).map(|seq| due(seq, &who(seq))).collect());
    // The group backs off, and the others go.
    let slow = std::iter::from_fn(|| next(&mut queues, at(0))).find(|next| &*next.to == "group").unwrap();
    queues.put_back(&slow, Some(at(60)), at(0));
    let busy: Vec<_> = queues.recipients.iter().filter(|(_, queue)| queue.busy).map(|(to, _)| to.clone()).collect();
    for to in busy {
        let seq = rows.queued.values().find(|row| row.to == *to).unwrap().seq;
        let id = due(seq, "").id;
        rows.queued.remove(&seq);
        queues.leave(&Next { id, seq, to, known: None }, at(0), None, at(0));
    }
    rows.send_all(&mut queues, at(0));
    assert_eq!(rows.queued.len(), MANY as usize / 2);
    let sent = rows.send_all(&mut queues, at(60));
    assert_eq!((sent.len(), sent.is_sorted()), (MANY as usize / 2, true));
    assert!(rows.read < 4 * MANY as usize, "{} rows read", rows.read);
}

/// Numbers by chance, the same ones each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// A lane to which anything may happen, and what must hold all the same.
struct World {
    queues: RecipientQueues,
    rows: Rows,
    limits: Limits,
    chance: Chance,
    seq: i64,
    now: i64,
    under_way: Vec<Next>,
    /// When a recipient may get the next one.
    rests: HashMap<Arc<str>, i64>,
    inbox: Inbox,
}

impl World {
    fn new(limits: Limits, seed: u64) -> Self {
        let queues = RecipientQueues::with(limits);
        let (rows, chance) = (Rows::default(), Chance(seed));
        let (under_way, rests, inbox) = (Vec::new(), HashMap::new(), Inbox::default());
        Self { queues, rows, limits, chance, seq: 0, now: 0, under_way, rests, inbox }
    }

    fn arrives(&mut self) {
        self.seq += 1;
        let to = self.chance.below(12).min(self.chance.below(12));
        let waits = self.chance.below(4) == 0;
        let due_at = waits.then(|| at(self.now + self.chance.below(50) as i64));
        let message = DueMessage { due_at, ..due(self.seq, &format!("person {to}")) };
        self.rows.queued.insert(self.seq, message.clone());
        match self.chance.below(8) {
            0 => self.inbox.ring(),
            _ => self.inbox.post([message]),
        }
    }

    /// Something may have come, and the lane may read.
    fn looks(&mut self) {
        if self.chance.below(3) > 0 {
            self.queues.arrive(self.inbox.take(), at(self.now));
        }
        self.rows.fill(&mut self.queues, at(self.now));
    }

    /// The next one goes: it is its recipient's first, nothing else is under way to that one, and it is time.
    fn goes(&mut self) -> bool {
        let Some(next) = next(&mut self.queues, at(self.now)) else { return false };
        let first = self.rows.queued.values().find(|row| row.to == *next.to).unwrap();
        assert_eq!(first.seq, next.seq, "{} is overtaken", next.to);
        assert!(first.due_at.is_none_or(|due| due <= at(self.now)), "too early");
        assert!(self.rests.get(&next.to).is_none_or(|until| *until <= self.now), "too soon after the last one");
        assert!(self.under_way.iter().all(|other| other.to != next.to), "two at a time");
        self.under_way.push(next);
        true
    }

    /// One that is under way ends, in one of five ways.
    fn ends(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let which = self.chance.below(self.under_way.len() as u64) as usize;
        let next = self.under_way.swap_remove(which);
        let later = self.now + self.chance.below(40) as i64;
        match self.chance.below(8) {
            // It backs off, which is on record, ...
            0 => {
                self.rows.queued.get_mut(&next.seq).unwrap().due_at = Some(at(later));
                self.queues.put_back(&next, Some(at(later)), at(self.now));
            }
            // ... or the day has no room for it, which is not.
            1 | 2 => self.queues.put_back(&next, Some(at(later)), at(self.now)),
            // It is over, and comes again at the end.
            3 => {
                let row = self.rows.queued.remove(&next.seq).unwrap();
                self.seq += 1;
                self.rows.queued.insert(self.seq, DueMessage { seq: self.seq, due_at: None, ..row });
                self.inbox.ring();
                if self.chance.below(2) == 0 {
                    self.looks();
                }
                self.queues.leave(&next, at(self.now), None, at(self.now));
            }
            way => {
                self.rows.queued.remove(&next.seq);
                let distance = (way < 6).then(|| self.chance.below(20));
                self.rests.insert(next.to.clone(), self.now + distance.unwrap_or(0) as i64);
                let distance = distance.map(Duration::from_secs);
                self.queues.leave(&next, at(self.now), distance, at(self.now));
            }
        }
    }

    fn is_bounded(&self) {
        let most = self.limits.soon + self.limits.parked + self.limits.page;
        assert!(self.queues.held.len() <= most, "{} are held", self.queues.held.len());
        assert!(self.queues.parked <= self.limits.parked);
    }
}

#[test]
fn whatever_happens_everybody_goes_out_in_order_and_nobody_is_lost() {
    for seed in 0..200 {
        let limits = Limits { page: 5, of_one: 3, soon: 8, parked: 4 + seed as usize % 5, aside: 100 };
        let mut world = World::new(limits, seed);
        let mut idle = 0;
        for step in 0.. {
            assert!(step < 100_000, "{} never go, seed {seed}", world.rows.queued.len());
            for _ in 0..world.chance.below(3) {
                if world.seq < 300 {
                    world.arrives();
                }
            }
            world.looks();
            world.is_bounded();
            let goes = world.under_way.len() < 4 && world.goes();
            if !goes && world.under_way.is_empty() {
                // Nothing moves by itself: the clock is what is waited for.
                let wake = world.queues.next_wake().map(|at| at.as_second());
                idle += usize::from(wake.is_none());
                if wake.is_none() && world.rows.queued.is_empty() && world.seq >= 300 {
                    break;
                }
                assert!(idle < 1_000, "nobody wakes the lane, seed {seed}");
                world.now = wake.unwrap_or(world.now).max(world.now);
            } else if !goes || world.chance.below(2) == 0 {
                world.ends();
            }
        }
        assert!(world.queues.behind.is_empty());
        assert!(world.queues.held.is_empty() && world.queues.recipients.is_empty() && world.queues.replaced.is_empty());
    }
}
