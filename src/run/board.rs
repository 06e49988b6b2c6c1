//! The board: ready runs that were read from the store, and which of them is next. Flows take
//! turns, and none may hold all threads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::id::RunId;
use crate::script::Alarm;
use crate::store::rows::ReadyRun;
use crate::wake::Bell;

/// Runs read ahead for one flow.
pub const AHEAD: usize = 64;
/// Runs of one flow whose errands are under way, at most: more stay in the store. Each is a task and
/// a question in memory.
const MOST_AWAY: usize = 8_192;
/// Turns whose commit is awaited, at most.
const UNCOMMITTED: usize = 512;
/// Threads that are added, for a while, when turns that take long hold all the others.
const RELIEF: usize = 8;
/// A version whose turns had to be given up so often is not run any more.
const GIVEN_UP: u32 = 3;
/// ... nor one whose turns have left so many bytes behind.
const LEAKED: u64 = 64 << 20;

/// Ready runs, shared by the dispatcher that fills it and the threads that empty it.
pub struct Board {
    state: Mutex<State>,
    changed: Condvar,
    /// Wakes whoever looks after the threads: they have work.
    busy: Condvar,
    hungry: Bell,
    settled: Bell,
    threads: usize,
}

#[derive(Default)]
struct State {
    working: Vec<Working>,
    /// Threads that take turns, without those that were given up.
    threads: usize,
    idle: usize,
    is_looked_after: bool,
    /// How often turns of a version had to be given up, by flow and version.
    given_up: HashMap<(Arc<str>, String), u32>,
    /// Bytes that turns of a version have left behind.
    leaks: HashMap<(Arc<str>, String), u64>,
    losses: Losses,
    flows: HashMap<Arc<str>, FlowLine>,
    /// Flows in the order in which they get their turn.
    order: VecDeque<Arc<str>>,
    /// Runs that were read and are not through yet.
    taken: HashMap<RunId, Place>,
    /// Runs that were read again, ready for a further turn, before word came that the last one is
    /// on disk: they are to be read once more when it has.
    early: HashMap<RunId, (Arc<str>, i64)>,
    /// Runs that were through since the reading began that is under way, each with the number that it
    /// had: what was read may be older.
    through: HashMap<RunId, i64>,
    uncommitted: usize,
    /// Runs whose errands are under way.
    away: usize,
    closed: bool,
}

/// Where a run that was read stands.
#[derive(Clone, Copy)]
struct Place {
    /// Its number among the ready ones.
    ready: i64,
    /// Whether its turn has begun.
    begun: bool,
}

#[derive(Default)]
struct FlowLine {
    ready: VecDeque<ReadyRun>,
    cursor: i64,
    unread: bool,
    on_threads: usize,
    away: usize,
}

/// A turn that is under way.
struct Working {
    run: Arc<ReadyRun>,
    name: Arc<str>,
    alarm: Arc<Alarm>,
    /// Where the thread's note is.
    place: u64,
    since: Instant,
}

/// A turn that is under way, for whoever looks after it.
pub struct UnderWay {
    /// Whose it is.
    pub run: Arc<ReadyRun>,
    /// That of its thread.
    pub alarm: Arc<Alarm>,
    /// Where the thread's note is.
    pub place: u64,
}

/// What has been lost to turns that had to be given up, in this life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    /// Threads that still compute.
    pub computing: usize,
    /// Threads that the allocator has stopped, with the memory that they hold.
    pub stopped: usize,
    /// Bytes that scripts have left behind.
    pub leaked: u64,
}

/// Why a turn was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// It computes for more than twice the time that it has.
    Time(Duration),
    /// It took far more memory than it may.
    Memory,
}

/// A run that a thread works on.
pub struct Taken {
    /// The run.
    pub run: Arc<ReadyRun>,
    /// Its version has cost too much: it is not to be run.
    pub barred: bool,
    board: Arc<Board>,
}

impl Board {
    /// For so many threads.
    pub fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            busy: Condvar::new(),
            hungry: Bell::default(),
            settled: Bell::default(),
            threads,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs whose turn has begun and is not on disk yet.
    pub fn running(&self) -> HashSet<RunId> {
        self.lock().taken.iter().filter(|(_, place)| place.begun).map(|(id, _)| *id).collect()
    }

    /// Resolves when a flow's line has become short enough to be filled.
    pub async fn hungry(&self) {
        self.hungry.rung().await;
    }

    /// The store may have ready runs of this flow that were not read.
    pub fn announce(&self, flow: &str) {
        let mut state = self.lock();
        if let Some(line) = state.flows.get_mut(flow) {
            line.unread = true;
            return;
        }
        let name: Arc<str> = flow.into();
        state.flows.insert(name.clone(), FlowLine { unread: true, ..FlowLine::default() });
        state.order.push_back(name);
    }

    /// Flows whose line wants filling, each with the place to read on from.
    pub fn wanting(&self) -> Vec<(Arc<str>, i64)> {
        let state = self.lock();
        let short = |line: &&FlowLine| line.unread && line.ready.len() <= AHEAD / 2;
        let lines = state.flows.iter().filter(|(_, line)| short(line));
        lines.map(|(name, line)| (name.clone(), line.cursor)).collect()
    }

    /// Ready runs are read from now on.
    pub fn reads(&self) {
        self.lock().through.clear();
    }

    /// Takes what was read of a flow behind `cursor`. `whole` says that nothing is behind it.
    pub fn fill(&self, flow: &str, cursor: i64, runs: Vec<ReadyRun>, whole: bool) {
        let mut state = self.lock();
        let State { flows, taken, early, through, .. } = &mut *state;
        let Some(line) = flows.get_mut(flow) else { return };
        if line.cursor < cursor {
            // Rewound meanwhile: this reading is out of date.
            return;
        }
        line.unread = !whole;
        for run in runs {
            line.cursor = line.cursor.max(run.ready);
            match taken.get(&run.id) {
                None if through.get(&run.id).is_some_and(|ready| *ready >= run.ready) => {}
                None => {
                    taken.insert(run.id, Place { ready: run.ready, begun: false });
                    line.ready.push_back(run);
                }
                // Its errand is under way, and the answer will come with a number of its own.
                Some(_) if run.errand().is_some() => {}
                Some(place) if place.ready < run.ready => {
                    early.insert(run.id, (flow.into(), run.ready));
                }
                Some(_) => {}
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// A thread more takes turns.
    pub fn joined(&self) {
        self.lock().threads += 1;
    }

    /// A thread could not be added.
    pub fn left(&self) {
        let mut state = self.lock();
        state.threads = state.threads.saturating_sub(1);
    }

    /// The next run to work on, for the thread with this alarm and this place for its note; waits for one. None
    /// when the thread is not needed any more.
    pub fn take(self: &Arc<Self>, alarm: &Arc<Alarm>, place: u64) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            if state.closed {
                state.threads = state.threads.saturating_sub(1);
                return None;
            }
            if state.uncommitted < UNCOMMITTED
                && let Some((run, name)) = state.next(self.threads)
            {
                let run = Arc::new(run);
                let barred = state.is_barred(&name, &run.version);
                let (alarm, since) = (alarm.clone(), Instant::now());
                let working = Working { run: run.clone(), name, alarm, place, since };
                state.working.push(working);
                if state.is_looked_after {
                    self.busy.notify_one();
                }
                return Some(Taken { run, barred, board: self.clone() });
            }
            // What was added in need is not kept.
            if state.threads > self.threads {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Waits until a turn is under way, or for `most`; says whether anybody is to be looked after still.
    pub fn watch(&self, most: Duration) -> bool {
        let mut state = self.lock();
        state.is_looked_after = true;
        if !state.closed && state.working.is_empty() {
            state = self.busy.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_looked_after = false;
        !state.closed || !state.working.is_empty()
    }

    /// The turns that are under way.
    pub fn turns(&self) -> Vec<UnderWay> {
        let of = |turn: &Working| UnderWay { run: turn.run.clone(), alarm: turn.alarm.clone(), place: turn.place };
        self.lock().working.iter().map(of).collect()
    }

    /// Gives a turn up: its run is the caller's now, its thread counts no more, and what comes of it is nobody's.
    /// Says whether it was still under way.
    pub fn give_up(&self, turn: &UnderWay, why: Overdue) -> bool {
        self.lock().give_up(&turn.run, why)
    }

    /// How many threads are to be added because those that there are hold turns that take long while others
    /// wait.
    pub fn wants_relief(&self, long: Duration) -> usize {
        let mut state = self.lock();
        let held = state.idle == 0 && state.working.iter().filter(|turn| turn.since.elapsed() > long).count() > 0;
        let most = self.threads + RELIEF;
        let missing = self.threads.saturating_sub(state.threads);
        let relief = usize::from(held && state.threads < most && state.has_ready(self.threads));
        state.threads += missing.max(relief);
        missing.max(relief)
    }

    /// What has been lost.
    pub fn losses(&self) -> Losses {
        self.lock().losses
    }

    /// A turn of this version has left memory behind that nobody can free.
    pub fn leaked(&self, flow: &str, version: &str, bytes: u64) {
        let mut state = self.lock();
        state.losses.leaked += bytes;
        *state.leaks.entry((flow.into(), version.to_owned())).or_default() += bytes;
    }

    /// The run's turn is on disk; an errand is under way for it, and it stays away until [`Self::back`].
    /// `ready` is the number that it is found by after a crash.
    pub fn away(&self, run: RunId, flow: &str, ready: i64) {
        let mut state = self.lock();
        if let Some(place) = state.taken.get_mut(&run) {
            *place = Place { ready, begun: false };
        }
        if let Some(line) = state.flows.get_mut(flow) {
            line.away += 1;
        }
        state.uncommitted -= 1;
        state.away += 1;
        drop(state);
        self.changed.notify_one();
    }

    /// The run's errand is done, and its answer is on disk or not wanted any more.
    pub fn back(&self, run: RunId, flow: &str) {
        {
            let mut state = self.lock();
            if let Some(line) = state.flows.get_mut(flow) {
                line.away -= 1;
            }
            state.away -= 1;
            // As if a turn had ended now.
            state.uncommitted += 1;
        }
        self.leave(run, None);
    }

    /// The run's turn is on disk, or need not be.
    pub fn done(&self, run: RunId) {
        self.leave(run, None);
    }

    /// Ready runs of a flow are to be read again from this number on.
    pub fn reread(&self, flow: &str, ready: i64) {
        let mut state = self.lock();
        if let Some(line) = state.flows.get_mut(flow) {
            line.cursor = line.cursor.min(ready - 1);
            line.unread = true;
        }
        drop(state);
        self.hungry.nudge();
    }

    /// The run's turn could not be committed: it is to be read again.
    pub fn again(&self, flow: &str, run: RunId, ready: i64) {
        self.leave(run, Some((flow.into(), ready)));
    }

    /// A run is through with its turn; `back` says from where it is to be read again.
    fn leave(&self, run: RunId, back: Option<(Arc<str>, i64)>) {
        let mut state = self.lock();
        let place = state.taken.remove(&run);
        if let (Some(place), None) = (place, &back) {
            state.through.insert(run, place.ready);
        }
        state.uncommitted -= 1;
        let back = [back, state.early.remove(&run)];
        let mut hungry = false;
        for (flow, ready) in back.into_iter().flatten() {
            if let Some(line) = state.flows.get_mut(&flow) {
                line.cursor = line.cursor.min(ready - 1);
                line.unread = true;
                hungry = true;
            }
        }
        drop(state);
        self.changed.notify_one();
        self.settled.nudge();
        if hungry {
            self.hungry.nudge();
        }
    }

    /// Resolves when no turn and no errand is under way and none waits for its commit.
    pub async fn idle(&self) {
        let busy = || {
            let state = self.lock();
            state.uncommitted > 0 || state.away > 0
        };
        while busy() {
            self.settled.rung().await;
        }
    }

    /// Lets the threads go.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}

impl State {
    fn is_barred(&self, flow: &Arc<str>, version: &str) -> bool {
        if self.given_up.is_empty() && self.leaks.is_empty() {
            return false;
        }
        let version = (flow.clone(), version.to_owned());
        self.given_up.get(&version).is_some_and(|times| *times >= GIVEN_UP)
            || self.leaks.get(&version).is_some_and(|bytes| *bytes >= LEAKED)
    }

    /// Ends a turn. Its run may have another one by now, if this one was given up.
    fn leaves(&mut self, run: &Arc<ReadyRun>) -> Option<Working> {
        let place = self.working.iter().position(|turn| Arc::ptr_eq(&turn.run, run))?;
        Some(self.working.swap_remove(place))
    }

    fn give_up(&mut self, run: &Arc<ReadyRun>, why: Overdue) -> bool {
        let Some(Working { run, name, .. }) = self.leaves(run) else { return false };
        if let Some(line) = self.flows.get_mut(&name) {
            line.on_threads -= 1;
        }
        self.threads -= 1;
        match why {
            Overdue::Memory => self.losses.stopped += 1,
            Overdue::Time(_) => self.losses.computing += 1,
        }
        *self.given_up.entry((name, run.version.clone())).or_default() += 1;
        true
    }

    /// Whether a thread more would find work.
    fn has_ready(&self, threads: usize) -> bool {
        self.uncommitted < UNCOMMITTED && self.flows.values().any(|line| line.may_begin(threads))
    }

    /// The next run of the first flow that has one and may use another thread.
    fn next(&mut self, threads: usize) -> Option<(ReadyRun, Arc<str>)> {
        for _ in 0..self.order.len() {
            let name = self.order.pop_front()?;
            self.order.push_back(name.clone());
            let Some(line) = self.flows.get_mut(&name) else { continue };
            if line.may_begin(threads)
                && let Some(run) = line.ready.pop_front()
            {
                line.on_threads += 1;
                self.uncommitted += 1;
                self.taken.insert(run.id, Place { ready: run.ready, begun: true });
                return Some((run, name));
            }
        }
        None
    }
}

impl FlowLine {
    /// Whether one more of its runs may be begun. The last thread is for the others.
    fn may_begin(&self, threads: usize) -> bool {
        !self.ready.is_empty() && self.on_threads + 1 < threads.max(2) && self.away < MOST_AWAY
    }
}

impl Taken {
    /// The thread is free again; the turn's commit is under way. None when the turn was given up meanwhile:
    /// nothing of it counts, and the thread has been replaced.
    pub fn off_thread(self) -> Option<Arc<ReadyRun>> {
        let hungry = {
            let mut state = self.board.lock();
            let state = &mut *state;
            let Some(Working { name, .. }) = state.leaves(&self.run) else {
                state.losses.computing -= 1;
                return None;
            };
            state.flows.get_mut(&name).is_some_and(|line| {
                line.on_threads -= 1;
                line.unread && line.ready.len() <= AHEAD / 2
            })
        };
        if hungry {
            self.board.hungry.nudge();
        }
        self.board.changed.notify_one();
        Some(self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(board: &Arc<Board>) -> Taken {
        board.take(&Alarm::mine(), 0).unwrap()
    }

    fn run(id: u8, flow: &str, ready: i64) -> ReadyRun {
        ReadyRun::bare(flow, RunId::from_bytes([id; 16]), ready)
    }

    #[test]
    fn flows_take_turns_and_none_holds_all_threads() {
        let board = Board::new(3);
        for flow in ["a", "b"] {
            board.announce(flow);
        }
        board.fill("a", 0, (1..=5).map(|n| run(n, "a", i64::from(n))).collect(), true);
        let first = take(&board);
        let second = take(&board);
        assert_eq!((first.run.flow.as_str(), second.run.flow.as_str()), ("a", "a"));
        board.fill("b", 0, vec![run(9, "b", 9)], true);
        let third = take(&board);
        assert_eq!(third.run.flow, "b", "the third thread is not for a third run of `a`");
        let ready = first.off_thread().unwrap();
        board.done(ready.id);
        assert_eq!(take(&board).run.flow, "a");
    }

    #[test]
    fn a_run_that_is_ready_again_before_word_of_its_commit_came_is_not_lost() {
        let board = Board::new(2);
        board.announce("a");
        board.fill("a", 0, vec![run(1, "a", 7)], true);
        let taken = take(&board).off_thread().unwrap();
        // The commit made it ready again with a higher number, and the store was read at once.
        board.fill("a", 7, vec![run(1, "a", 8)], true);
        assert_eq!(board.wanting(), []);
        board.done(taken.id);
        assert_eq!(board.wanting(), [("a".into(), 7)]);
        board.fill("a", 7, vec![run(1, "a", 8)], true);
        assert_eq!(take(&board).run.ready, 8);
    }

    #[test]
    fn a_reading_that_is_older_than_the_end_of_a_turn_begins_nothing_again() {
        let board = Board::new(2);
        board.announce("a");
        board.reads();
        board.fill("a", 0, vec![run(1, "a", 7)], true);
        let taken = take(&board).off_thread().unwrap();
        // The store is read, then the turn's commit is heard of, then the reading arrives.
        board.reads();
        board.away(taken.id, "a", 8);
        board.back(taken.id, "a");
        board.fill("a", 7, vec![run(1, "a", 8)], true);
        board.announce("a");
        board.reads();
        board.fill("a", 8, vec![run(1, "a", 9)], true);
        assert_eq!(take(&board).run.ready, 9, "8 was through");
    }

    #[test]
    fn a_thread_that_was_given_up_takes_nothing_from_the_next_turn_of_its_run() {
        let board = Board::new(2);
        board.joined();
        board.announce("a");
        board.fill("a", 0, vec![run(1, "a", 7)], true);
        let old = take(&board);
        assert!(board.give_up(&board.turns()[0], Overdue::Time(Duration::ZERO)));
        board.done(old.run.id);
        // Somebody retries the run while its old thread still computes.
        board.announce("a");
        board.fill("a", 7, vec![run(1, "a", 8)], true);
        let new = take(&board);
        assert!(old.off_thread().is_none());
        assert_eq!(new.off_thread().unwrap().ready, 8);
    }

    #[test]
    fn a_turn_that_was_not_committed_is_read_again() {
        let board = Board::new(2);
        board.announce("a");
        board.fill("a", 0, vec![run(1, "a", 7)], true);
        let taken = take(&board).off_thread().unwrap();
        assert_eq!(board.running().len(), 1);
        board.again("a", taken.id, taken.ready);
        assert_eq!(board.wanting(), [("a".into(), 6)]);
        assert!(board.running().is_empty());
    }
}
