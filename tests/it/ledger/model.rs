//! A store as the design tells of it, in memory: plain maps and the rules of its sections on runs, the outbox and
//! what people write. It knows one flow, one account and three people.

use std::collections::{BTreeMap, BTreeSet};

use MessageState::*;
use postrider::model::delivery::MessageState;
use postrider::model::run::RunState;
use postrider::store::records::Decision;
use serde_json::{Value, json};

/// What a run got for an answer, as far as the design says it.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Whatever it is.
    Anything,
    /// Its time was up.
    Nothing,
    /// That, or a map in which it stands under a name.
    Value(Option<&'static str>, Value),
    /// An error of this kind.
    Thrown(&'static str),
}

#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    Time,
    Retry,
    Delivery {
        message: u32,
        goal: MessageState,
    },
    Event {
        name: u8,
        key: Option<u8>,
    },
    Words {
        from: usize,
    },
    /// Its time runs when the message is out; none stands for one that waits behind another.
    Ask {
        message: u32,
        to: usize,
        timeout: i64,
        is_behind: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Ready(Said),
    /// Until a time, if that is known.
    Waiting(Wait, Option<i64>),
    Over(RunState),
}

#[derive(Clone, Debug)]
pub struct Run {
    pub place: Place,
    pub has_begun: bool,
    pub attempt: u32,
    pub entries: u32,
    pub has_asked: bool,
    /// Events before this one were emitted before it was accepted.
    pub accepted: usize,
    /// The events that it got: what each said, and its number in the store.
    pub got: Vec<(Value, i64)>,
    /// When it began to wait, by the order of things.
    pub since: u64,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub run: u32,
    pub to: usize,
    pub state: MessageState,
    pub due_at: Option<i64>,
    /// From when it is due for so long.
    pub valid_until: Option<i64>,
    pub keep: bool,
    pub claims: usize,
    pub provider: bool,
    pub is_question: bool,
    place: u64,
    doubted_at: i64,
}

#[derive(Clone, Debug)]
pub struct Event {
    pub by: u32,
    pub name: u8,
    pub key: Option<u8>,
    pub data: Value,
}

#[derive(Default)]
pub struct Model {
    pub runs: BTreeMap<u32, Run>,
    pub messages: BTreeMap<u32, Message>,
    pub keys: BTreeMap<(u8, usize), u32>,
    /// Shared or not, and the name: the value, and until when it lives.
    pub values: BTreeMap<(bool, u8), (Value, Option<i64>)>,
    pub events: Vec<Event>,
    pub opted_out: BTreeSet<usize>,
    pub heard: BTreeSet<u8>,
    /// The order in which things happen.
    clock: u64,
    /// Behind this place the order of a lane is not told by the design.
    pub loose: Option<u64>,
}

/// A message as a turn promises it.
#[derive(Clone, Debug)]
pub struct Promise {
    pub number: u32,
    pub to: usize,
    pub at: Option<i64>,
    pub valid_for: Option<i64>,
    pub keep: bool,
    pub key: Option<u8>,
}

impl Model {
    fn next(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The order of what enters a lane from now on is not compared.
    pub fn loosen(&mut self) {
        self.loose.get_or_insert(self.clock);
    }

    pub fn intake(&mut self, number: u32) {
        let (place, accepted) = (Place::Ready(Said::Anything), self.events.len());
        let run = Run {
            place,
            has_begun: false,
            attempt: 1,
            entries: 0,
            has_asked: false,
            accepted,
            got: Vec::new(),
            since: 0,
        };
        self.runs.insert(number, run);
    }

    /// Whether another message has one of the keys.
    pub fn is_taken(&self, promises: &[Promise]) -> bool {
        promises.iter().any(|promise| promise.key.is_some_and(|key| self.keys.contains_key(&(key, promise.to))))
    }

    pub fn promise(&mut self, run: u32, promise: &Promise, now: i64) {
        let begin = promise.at.unwrap_or(now);
        let place = self.next();
        let message = Message {
            run,
            to: promise.to,
            state: if promise.at.is_some() { Scheduled } else { Queued },
            due_at: promise.at,
            valid_until: promise.valid_for.map(|valid| begin + valid),
            keep: promise.keep,
            claims: 0,
            provider: false,
            is_question: false,
            place,
            doubted_at: 0,
        };
        self.messages.insert(promise.number, message);
        if let Some(key) = promise.key {
            self.keys.insert((key, promise.to), promise.number);
        }
    }

    fn run(&mut self, number: u32) -> &mut Run {
        self.runs.get_mut(&number).unwrap()
    }

    fn ready(&mut self, number: u32, said: Said) {
        self.run(number).place = Place::Ready(said);
    }

    pub fn waits(&mut self, number: u32, wait: Wait, until: Option<i64>) {
        let since = self.next();
        let run = self.run(number);
        run.has_asked |= wait != Wait::Retry;
        (run.place, run.since) = (Place::Waiting(wait, until), since);
    }

    /// A run waits for a message; it may be as far already.
    pub fn waits_for_message(&mut self, number: u32, message: u32, goal: MessageState, until: i64) {
        self.waits(number, Wait::Delivery { message, goal }, Some(until));
        self.look_at(message, 0);
    }

    pub fn emits(&mut self, by: u32, name: u8, key: Option<u8>, data: Value) {
        self.events.push(Event { by, name, key, data });
        let numbers: Vec<u32> = self.runs.keys().copied().collect();
        for number in numbers {
            self.tell(number);
        }
    }

    /// Gives a run that waits for one the first event that it has not got.
    pub fn tell(&mut self, number: u32) {
        let run = &self.runs[&number];
        let Place::Waiting(Wait::Event { name, key }, _) = &run.place else { return };
        let (name, key) = (*name, *key);
        let fits = |event: &&Event| {
            let is_new = !run.got.iter().any(|(data, _)| *data == event.data);
            event.by != number && event.name == name && (key.is_none() || key == event.key) && is_new
        };
        if let Some(event) = self.events[run.accepted..].iter().find(fits) {
            let said = Said::Value(Some("data"), event.data.clone());
            self.ready(number, said);
        }
    }

    /// A run asks somebody; the message goes out at once if nobody else asks there.
    pub fn asks(&mut self, number: u32, message: u32, to: usize, timeout: i64, now: i64) {
        self.waits(number, Wait::Ask { message, to, timeout, is_behind: true }, None);
        self.next_question(to, now);
    }

    fn next_question(&mut self, chat: usize, now: i64) {
        let mut asking = Vec::new();
        for (number, run) in &self.runs {
            match run.place {
                Place::Waiting(Wait::Ask { to, is_behind: false, .. }, _) if to == chat => return,
                Place::Waiting(Wait::Ask { to, message, .. }, _) if to == chat => {
                    asking.push((run.since, *number, message))
                }
                _ => {}
            }
        }
        let Some((_, run, number)) = asking.into_iter().min() else { return };
        let promise = Promise { number, to: chat, at: None, valid_for: None, keep: false, key: None };
        self.promise(run, &promise, now);
        self.messages.get_mut(&number).unwrap().is_question = true;
        if let Place::Waiting(Wait::Ask { is_behind, .. }, _) = &mut self.run(run).place {
            *is_behind = false;
        }
    }

    /// The run whose question is open in a chat, with its message.
    pub fn open_question(&self, chat: usize) -> Option<(u32, u32)> {
        self.runs.iter().find_map(|(number, run)| match run.place {
            Place::Waiting(Wait::Ask { to, message, is_behind: false, .. }, _) if to == chat => {
                Some((*number, message))
            }
            _ => None,
        })
    }

    pub fn questions(&self, chat: usize) -> usize {
        let asks = |run: &&Run| matches!(run.place, Place::Waiting(Wait::Ask { to, .. }, _) if to == chat);
        self.runs.values().filter(asks).count()
    }

    /// The oldest run that waits for what somebody writes.
    pub fn listener(&self, chat: usize) -> Option<u32> {
        let waiting = self
            .runs
            .iter()
            .filter(|(_, run)| matches!(run.place, Place::Waiting(Wait::Words { from }, _) if from == chat));
        waiting.min_by_key(|(_, run)| run.since).map(|(number, _)| *number)
    }

    /// Ends what a run waits for.
    pub fn answer(&mut self, number: u32, said: Said, now: i64) {
        let place = std::mem::replace(&mut self.run(number).place, Place::Ready(said));
        if let Place::Waiting(wait, _) = place {
            if wait == Wait::Retry {
                self.run(number).attempt += 1;
            }
            if let Wait::Ask { to, .. } = wait {
                self.next_question(to, now);
            }
        }
    }

    pub fn wake(&mut self, now: i64) -> u64 {
        let is_due = |run: &Run| matches!(run.place, Place::Waiting(_, Some(until)) if until <= now);
        let due: Vec<u32> = self.runs.iter().filter(|(_, run)| is_due(run)).map(|(number, _)| *number).collect();
        for number in &due {
            self.time_is_up(*number, now);
        }
        due.len() as u64
    }

    pub fn time_is_up(&mut self, number: u32, now: i64) {
        let said = match &self.runs[&number].place {
            Place::Waiting(Wait::Time | Wait::Delivery { .. } | Wait::Retry, _) => Said::Anything,
            _ => Said::Nothing,
        };
        self.answer(number, said, now);
    }

    pub fn next_wake(&self) -> Option<i64> {
        let until = |run: &Run| match run.place {
            Place::Waiting(_, until) => until,
            _ => None,
        };
        self.runs.values().filter_map(until).min()
    }

    /// Moves a message, with what that means for those who wait for it.
    pub fn moves(&mut self, number: u32, state: MessageState, now: i64) {
        self.messages.get_mut(&number).unwrap().state = state;
        self.look_at(number, now);
    }

    fn look_at(&mut self, number: u32, now: i64) {
        let state = self.messages[&number].state;
        let is_out = matches!(state, Accepted | Sent | Delivered | Read);
        let is_lost = matches!(state, Rejected | Dead | Expired | Cancelled);
        let waiting: Vec<u32> = self.runs.keys().copied().collect();
        for run in waiting {
            match &mut self.run(run).place {
                Place::Waiting(Wait::Delivery { message, goal }, _)
                    if *message == number && (is_lost || (is_out && state >= *goal)) =>
                {
                    self.ready(run, Said::Anything);
                }
                Place::Waiting(Wait::Ask { message, timeout, .. }, until) if *message == number => {
                    if is_out && until.is_none() {
                        *until = Some(now + *timeout);
                    } else if is_lost {
                        self.answer(run, Said::Thrown("undeliverable"), now);
                    }
                }
                _ => {}
            }
        }
    }

    fn enters(&mut self, number: u32, due_at: Option<i64>, now: i64) {
        let place = self.next();
        let message = self.messages.get_mut(&number).unwrap();
        (message.place, message.due_at) = (place, due_at);
        self.moves(number, Queued, now);
    }

    pub fn doubts(&mut self, number: u32, now: i64) {
        self.messages.get_mut(&number).unwrap().doubted_at = now;
        self.moves(number, Unknown, now);
    }

    fn all(&self, wanted: impl Fn(&Message) -> bool) -> Vec<u32> {
        self.messages.iter().filter(|(_, message)| wanted(message)).map(|(number, _)| *number).collect()
    }

    /// What the clock does to messages; `resend` is how old a doubt must be to be sent again.
    pub fn move_messages(&mut self, now: i64, resend: Option<i64>) {
        self.loosen();
        // What is due and stale at once may wait for the next time.
        for number in self.all(|message| message.state == Queued && message.is_stale(now)) {
            self.moves(number, Expired, now);
        }
        for number in self.all(|message| message.state == Scheduled && message.due_at.is_some_and(|at| at <= now)) {
            self.enters(number, self.messages[&number].due_at, now);
        }
        for number in self.all(|message| resend.is_some_and(|age| message.is_resent(now, age))) {
            self.enters(number, None, now);
        }
    }

    pub fn recover(&mut self, now: i64) -> u64 {
        let open = self.all(|message| message.state == Sending);
        for number in &open {
            self.doubts(*number, now);
        }
        open.len() as u64
    }

    /// The state after a decision, where it is possible.
    pub fn decide(&mut self, number: u32, decision: Decision, now: i64) -> Option<MessageState> {
        match (decision, self.messages[&number].state) {
            (Decision::Cancel, Scheduled | Queued) => self.moves(number, Cancelled, now),
            (Decision::Retry, Dead | Rejected) => self.enters(number, None, now),
            (Decision::ReleaseAndResend, Unknown) => self.enters(number, None, now),
            (Decision::ReleaseAsSent, Unknown) => self.moves(number, Sent, now),
            _ => return None,
        }
        Some(self.messages[&number].state)
    }

    pub fn acked(&mut self, number: u32, state: MessageState, now: i64) {
        let is_further = match self.messages[&number].state {
            Unknown => true,
            before @ (Accepted | Sent | Delivered) => state > before,
            _ => false,
        };
        if is_further {
            self.moves(number, state, now);
        }
    }

    pub fn cancel(&mut self, number: u32, now: i64) {
        let place = std::mem::replace(&mut self.run(number).place, Place::Over(RunState::Cancelled));
        let own = |message: &Message| message.run == number && !message.keep;
        for message in self.all(|message| own(message) && matches!(message.state, Scheduled | Queued)) {
            self.moves(message, Cancelled, now);
        }
        if let Place::Waiting(Wait::Ask { to, .. }, _) = place {
            self.next_question(to, now);
        }
    }

    /// Which messages are queued, in their order, each with whether the order is known.
    pub fn lane(&self) -> Vec<(u32, bool)> {
        let mut lane: Vec<_> = self.messages.iter().filter(|(_, message)| message.state == Queued).collect();
        lane.sort_by_key(|(_, message)| message.place);
        let is_known = |message: &Message| self.loose.is_none_or(|loose| message.place <= loose);
        lane.into_iter().map(|(number, message)| (*number, is_known(message))).collect()
    }

    /// Takes over the order that a store shows, as far as it was open; all else keeps its place, also what is on the
    /// wire by now.
    pub fn ordered(&mut self, lane: &[u32]) {
        let Some(loose) = self.loose.take() else { return };
        let open: Vec<u32> = lane.iter().copied().filter(|number| self.messages[number].place > loose).collect();
        let mut places: Vec<u64> = open.iter().map(|number| self.messages[number].place).collect();
        places.sort_unstable();
        for (number, place) in open.into_iter().zip(places) {
            self.messages.get_mut(&number).unwrap().place = place;
        }
    }

    pub fn value(&self, shared: bool, key: u8, now: i64) -> Option<Value> {
        let (value, until) = self.values.get(&(shared, key))?;
        until.is_none_or(|until| now < until).then(|| value.clone())
    }

    pub fn increment(&mut self, shared: bool, key: u8, by: i64, now: i64) -> Value {
        let sum = self.value(shared, key, now).and_then(|value| value.as_i64()).unwrap_or(0) + by;
        self.values.insert((shared, key), (json!(sum), None));
        json!(sum)
    }

    /// Whether a state that a store shows is as right as the one here: that somebody wants no more, and that time
    /// has passed, may be noticed earlier or later.
    pub fn may_be(&self, number: u32, state: MessageState, now: i64) -> bool {
        let message = &self.messages[&number];
        match (message.state, state) {
            (Scheduled | Queued, Rejected) => self.opted_out.contains(&message.to),
            (Queued, Expired) => message.is_stale(now),
            (ours, theirs) => ours == theirs,
        }
    }
}

impl Message {
    pub fn is_stale(&self, now: i64) -> bool {
        self.valid_until.is_some_and(|until| until <= now)
    }

    fn is_resent(&self, now: i64, age: i64) -> bool {
        self.state == Unknown && now - self.doubted_at >= age
    }
}
