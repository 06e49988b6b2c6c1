//! What a group of commands has to tell others once it is on disk: bells, counts, and what changed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::feed::Change;
use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::run::RunState;
use crate::store::Signals;
use crate::store::records::DueMessage;
use crate::wake::Bell;

/// To be told once the group is on disk.
#[derive(Default)]
pub struct AfterCommit {
    runs: HashSet<Arc<str>>,
    /// Accounts whose lanes have something to read, ...
    lanes: Vec<String>,
    /// ... and messages that are handed to lanes, by the places of their accounts.
    arrivals: Vec<(usize, DueMessage)>,
    run_timer: bool,
    message_timer: bool,
    troubles: bool,
    scrub: bool,
    reclaim: bool,
    run_states: Vec<RunState>,
    /// Messages that came to a state, by the place of their account.
    message_states: Vec<(usize, MessageState)>,
    accounts: Vec<String>,
    late: Vec<Duration>,
    /// Somebody watches: what changes is noted.
    pub watched: bool,
    changes: Vec<Change>,
}

/// What is taken back with what was undone. Bells are hints and may ring for nothing.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    run_states: usize,
    message_states: usize,
    arrivals: usize,
    late: usize,
    changes: usize,
    scrub: bool,
}

impl AfterCommit {
    /// Where to go back to, should what follows be undone.
    pub fn mark(&self) -> Told {
        Told {
            run_states: self.run_states.len(),
            message_states: self.message_states.len(),
            arrivals: self.arrivals.len(),
            late: self.late.len(),
            changes: self.changes.len(),
            scrub: self.scrub,
        }
    }

    /// What was undone is not told.
    pub fn back_to(&mut self, mark: Told) {
        self.run_states.truncate(mark.run_states);
        self.message_states.truncate(mark.message_states);
        self.arrivals.truncate(mark.arrivals);
        self.late.truncate(mark.late);
        self.changes.truncate(mark.changes);
        self.scrub = mark.scrub;
    }

    /// Nothing to tell yet; `watched` says whether somebody wants to know what changes.
    pub fn new(watched: bool) -> Self {
        Self { watched, ..Self::default() }
    }

    /// The flow has a ready run.
    pub fn run(&mut self, flow: &str) {
        if !self.runs.contains(flow) {
            self.runs.insert(flow.into());
        }
    }

    /// The account has a due message.
    pub fn lane(&mut self, account: &str) {
        if !self.lanes.iter().any(|known| known == account) {
            self.lanes.push(account.into());
        }
    }

    /// A message goes to its account's lane.
    pub fn arrives(&mut self, account: &str, message: DueMessage) {
        let place = self.place_of(account);
        self.arrivals.push((place, message));
    }

    fn place_of(&mut self, account: &str) -> usize {
        self.accounts.iter().position(|known| known == account).unwrap_or_else(|| {
            self.accounts.push(account.to_owned());
            self.accounts.len() - 1
        })
    }

    /// A run waits for a time.
    pub fn run_timer(&mut self) {
        self.run_timer = true;
    }

    /// A message waits for a time.
    pub fn message_timer(&mut self) {
        self.message_timer = true;
    }

    /// Somebody is to be told of something.
    pub fn troubles(&mut self) {
        self.troubles = true;
    }

    /// What was deleted is to be gone from the disk too.
    pub fn scrub(&mut self) {
        self.scrub = true;
    }

    /// Whether something that was deleted is to be gone from the disk too.
    pub fn wants_scrub(&self) -> bool {
        self.scrub
    }

    /// Rows were deleted whose room may be given back.
    pub fn reclaim(&mut self) {
        self.reclaim = true;
    }

    /// Whether rows were deleted whose room may be given back.
    pub fn wants_reclaim(&self) -> bool {
        self.reclaim
    }

    /// A run by the clock begins so late.
    pub fn late(&mut self, by: Duration) {
        self.late.push(by);
    }

    /// A run has come to a state.
    pub fn run_is(&mut self, id: RunId, flow: &str, state: RunState) {
        self.run_states.push(state);
        self.note(|| Change::Run { id, flow: flow.to_owned(), state: state.name() });
    }

    /// A message has come to a state.
    pub fn message_is(
        &mut self,
        id: MessageId,
        account: &str,
        state: MessageState,
        about: impl FnOnce() -> (Option<RunId>, String),
    ) {
        let place = self.place_of(account);
        self.message_states.push((place, state));
        self.note(|| {
            let (run, to) = about();
            Change::Message { id, run, to, account: account.to_owned(), state: state.name() }
        });
    }

    /// Something has changed that somebody may be looking at.
    pub fn note(&mut self, change: impl FnOnce() -> Change) {
        if self.watched {
            self.changes.push(change());
        }
    }

    fn hand_over(&mut self, signals: &Signals) {
        let mut arrived: Vec<Vec<DueMessage>> = self.accounts.iter().map(|_| Vec::new()).collect();
        self.arrivals.drain(..).for_each(|(place, message)| arrived[place].push(message));
        for (account, messages) in self.accounts.iter().zip(arrived) {
            if !messages.is_empty() && !self.lanes.contains(account) {
                signals.lanes.of(account).post(messages);
            }
        }
        self.lanes.drain(..).for_each(|account| signals.lanes.ring(&account));
    }

    /// Tells.
    pub fn ring(&mut self, signals: &Signals) {
        self.runs.drain().for_each(|flow| signals.runs.ring(&flow));
        self.hand_over(signals);
        let services: [(&mut bool, &Bell); 3] = [
            (&mut self.run_timer, &signals.run_timer),
            (&mut self.message_timer, &signals.message_timer),
            (&mut self.troubles, &signals.troubles),
        ];
        for (wanted, bell) in services {
            if std::mem::take(wanted) {
                bell.nudge();
            }
        }
        self.late.drain(..).for_each(|late| signals.tally.lateness().add(late));
        let mut runs = [0; RunState::ALL.len()];
        self.run_states.drain(..).for_each(|state| runs[state as usize] += 1);
        let named = RunState::ALL.iter().zip(runs).filter(|(_, count)| *count > 0);
        signals.tally.runs(named.map(|(state, count)| (state.name(), count)));
        let mut messages = vec![[0; MessageState::ALL.len()]; self.accounts.len()];
        self.message_states.drain(..).for_each(|(account, state)| messages[account][state as usize] += 1);
        signals.tally.messages(self.accounts.drain(..).zip(messages).flat_map(|(account, counts)| {
            let counts = MessageState::ALL.iter().zip(counts).filter(|(_, count)| *count > 0);
            counts.map(move |(state, count)| ((account.clone(), state.name()), count)).collect::<Vec<_>>()
        }));
        if !self.changes.is_empty() {
            signals.feed.tell(self.changes.drain(..));
        }
    }
}
