//! The run queue: ready runs that were read from the store, and which of them is next. Flows take
//! turns, and none may hold all threads.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::flow_queue::{AHEAD, FlowQueue, HELD, Page, Waiting};
use super::fresh::{Fresh, PATIENCE};
use crate::id::RunId;
use crate::script::Alarm;
use crate::store::records::ReadyRun;
use crate::wake::Bell;

/// Turns whose commit is awaited, at most.
const UNCOMMITTED: usize = 512;
/// Threads that are added, for a while, when turns that take long hold all the others.
const RELIEF: usize = 8;
/// A version whose turns had to be given up so often is not run any more.
const GIVEN_UP: u32 = 3;
/// ... nor one whose turns have left so many bytes behind.
const LEAKED: u64 = 64 << 20;

/// Ready runs, shared by the dispatcher that fills it and the threads that empty it.
pub struct RunQueue {
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
    /// Flows that have ready runs here, or maybe in the store. All others are forgotten, with their cursor:
    /// what is read of them anew is ready anew, since nothing of theirs is taken.
    flows: HashMap<Arc<str>, FlowQueue>,
    /// Flows of which a run may be begun, in the order in which they get their turn; each stands in it once.
    order: VecDeque<Arc<str>>,
    /// About how many bytes the runs take that wait here for a thread.
    held: u64,
    /// Runs that were read and are not through yet.
    taken: HashMap<RunId, Held>,
    /// Runs that were read again, ready for a further turn, before word came that the last one is
    /// on disk: they are to be read once more when it has.
    early: HashMap<RunId, i64>,
    /// Runs that were through since the reading began that is under way, each with the number that it
    /// had: what was read may be older.
    through: HashMap<RunId, i64>,
    uncommitted: usize,
    /// Runs whose errands are under way.
    in_flight: usize,
    closed: bool,
}

/// Where a run that was read stands.
struct Held {
    flow: Arc<str>,
    /// Its number among the ready ones: nothing that is read of it with this one, or a lower one, is news.
    ready: i64,
    /// Whether its turn has begun.
    begun: bool,
}

/// A turn that is under way.
struct Working {
    run: Arc<ReadyRun>,
    fresh: Option<Arc<Fresh>>,
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
    /// The way onto the disk of a run that is not there yet.
    pub fresh: Option<Arc<Fresh>>,
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
pub struct Lease {
    /// The run.
    pub run: Arc<ReadyRun>,
    /// The way onto the disk of a run that is not there yet.
    pub fresh: Option<Arc<Fresh>>,
    /// Its version has cost too much: it is not to be run.
    pub barred: bool,
    queue: Arc<RunQueue>,
}

impl RunQueue {
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

    /// Wakes a thread, if one waits and has something to do. To wake nobody costs as much as to wake somebody.
    fn wake(&self, state: MutexGuard<'_, State>) {
        let idle = state.idle > 0 && state.has_ready(self.threads);
        drop(state);
        if idle {
            self.changed.notify_one();
        }
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
    pub fn announce(&self, flow: Arc<str>) {
        self.lock().flows.entry(flow).or_default().unread = true;
    }

    /// What is to be read, for flows whose line has become short.
    pub fn wanting(&self) -> Vec<Page> {
        let state = self.lock();
        let wanting = state.flows.iter().filter(|(_, line)| line.wants_more(state.held));
        let page = |(flow, line): (&Arc<str>, &FlowQueue)| {
            let most = if state.held < HELD { line.page() } else { 1 };
            Page { flow: flow.clone(), cursor: line.cursor, most }
        };
        wanting.map(page).collect()
    }

    /// Ready runs are read from now on.
    pub fn reads(&self) {
        self.lock().through.clear();
    }

    /// Takes what was read of a page.
    pub fn fill(&self, page: &Page, runs: Vec<ReadyRun>) {
        let mut state = self.lock();
        let State { flows, taken, early, through, held, .. } = &mut *state;
        let Some(line) = flows.get_mut(&page.flow) else { return };
        if line.cursor < page.cursor {
            // Rewound meanwhile: this reading is out of date.
            return;
        }
        line.was_read(runs.len() >= page.most);
        for run in runs {
            match taken.get(&run.id) {
                None if through.get(&run.id).is_some_and(|ready| *ready >= run.ready) => {}
                None => {
                    // One run of each flow is held in any case: none waits for what others hold.
                    if *held >= HELD && !line.ready.is_empty() {
                        // It and those behind it are read again; the cursor stays before them.
                        line.cut_short();
                        break;
                    }
                    let flow = page.flow.clone();
                    taken.insert(run.id, Held { flow, ready: run.ready, begun: false });
                    line.cursor = line.cursor.max(run.ready);
                    line.taken += 1;
                    let waiting = Waiting::new(run);
                    *held += waiting.weight;
                    line.ready.push_back(waiting);
                    continue;
                }
                // Its errand is under way, and the answer will come with a number of its own.
                Some(_) if run.errand().is_some() => {}
                Some(place) if place.ready < run.ready => {
                    early.insert(run.id, run.ready);
                }
                Some(_) => {}
            }
            line.cursor = line.cursor.max(run.ready);
        }
        state.may_begin(&page.flow, self.threads);
        state.forget_idle(&page.flow);
        self.wake(state);
    }

    /// Takes a run that is not on disk yet, to be worked on at once; not where others of its flow come first.
    pub fn offer(&self, run: ReadyRun, fresh: &Arc<Fresh>) -> bool {
        let mut state = self.lock();
        let waiting = Waiting { fresh: Some(fresh.clone()), ..Waiting::new(run) };
        let line = state.flows.get(&*waiting.run.flow);
        let is_first = line.is_none_or(|line| !line.unread && line.ready.len() < AHEAD);
        let is_full = state.held + waiting.weight > HELD || state.uncommitted >= UNCOMMITTED;
        // Where each thread has been busy for so long, it will not be free in a moment.
        let is_stuck = state.idle == 0
            && !state.working.is_empty()
            && state.working.iter().all(|turn| turn.since.elapsed() > PATIENCE);
        if state.closed || !is_first || is_full || is_stuck {
            return false;
        }
        let flow: Arc<str> = match state.flows.get_key_value(&*waiting.run.flow) {
            Some((flow, _)) => flow.clone(),
            None => waiting.run.flow.as_str().into(),
        };
        state.taken.insert(waiting.run.id, Held { flow: flow.clone(), ready: waiting.run.ready, begun: false });
        state.held += waiting.weight;
        let line = state.flows.entry(flow.clone()).or_default();
        line.taken += 1;
        line.ready.push_back(waiting);
        state.may_begin(&flow, self.threads);
        self.wake(state);
        true
    }

    /// The first turn of a run that was offered is handed in: whatever is read of the run from now on is news, until
    /// a number is known.
    pub fn hands_in(&self, run: RunId) {
        self.numbered(run, 0);
    }

    /// A run that was offered has this number among the ready ones: what is read of it with a higher one is news.
    pub fn numbered(&self, run: RunId, ready: i64) {
        if let Some(place) = self.lock().taken.get_mut(&run) {
            place.ready = ready;
        }
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
    pub fn take(self: &Arc<Self>, alarm: &Arc<Alarm>, place: u64) -> Option<Lease> {
        let mut state = self.lock();
        loop {
            if state.closed {
                state.threads = state.threads.saturating_sub(1);
                return None;
            }
            if state.uncommitted < UNCOMMITTED
                && let Some((Waiting { run, fresh, .. }, name)) = state.next(self.threads)
            {
                let run = Arc::new(run);
                let barred = state.is_barred(&name, &run.version);
                let (alarm, since) = (alarm.clone(), Instant::now());
                let working = Working { run: run.clone(), fresh: fresh.clone(), name, alarm, place, since };
                state.working.push(working);
                if state.is_looked_after {
                    self.busy.notify_one();
                }
                let hungry = state.flows.get(&run.flow[..]).is_some_and(|line| line.wants_more(state.held));
                // Whoever is woken wakes the next, as long as there is work.
                self.wake(state);
                if hungry {
                    self.hungry.nudge();
                }
                return Some(Lease { run, fresh, barred, queue: self.clone() });
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
        let of = |turn: &Working| UnderWay {
            run: turn.run.clone(),
            fresh: turn.fresh.clone(),
            alarm: turn.alarm.clone(),
            place: turn.place,
        };
        self.lock().working.iter().map(of).collect()
    }

    /// Gives a turn up: its run is the caller's now, its thread counts no more, and what comes of it is nobody's.
    /// Says whether it was still under way.
    pub fn give_up(&self, turn: &UnderWay, why: Overdue) -> bool {
        self.lock().give_up(&turn.run, why, self.threads)
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

    /// The run's turn is on disk; an errand is under way for it, and it stays in flight until [`Self::landed`].
    /// `ready` is the number that it is found by after a crash.
    pub fn in_flight(&self, run: RunId, flow: &str, ready: i64) {
        let mut state = self.lock();
        if let Some(place) = state.taken.get_mut(&run) {
            (place.ready, place.begun) = (ready, false);
        }
        if let Some(line) = state.flows.get_mut(flow) {
            line.in_flight += 1;
        }
        state.uncommitted -= 1;
        state.in_flight += 1;
        self.wake(state);
    }

    /// The run's errand is done, and its answer is on disk or not wanted any more.
    pub fn landed(&self, run: RunId, flow: &str) {
        {
            let mut state = self.lock();
            if let Some(line) = state.flows.get_mut(flow) {
                line.in_flight -= 1;
            }
            state.may_begin(flow, self.threads);
            state.in_flight -= 1;
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
        self.lock().rewind(flow.into(), ready);
        self.hungry.nudge();
    }

    /// The run's turn could not be committed: it is to be read again.
    pub fn again(&self, run: RunId, ready: i64) {
        self.leave(run, Some(ready));
    }

    /// A run is through with its turn; `back` says from where it is to be read again.
    fn leave(&self, run: RunId, back: Option<i64>) {
        let mut state = self.lock();
        let place = state.taken.remove(&run);
        let early = state.early.remove(&run);
        state.uncommitted -= 1;
        let mut hungry = false;
        if let Some(Held { flow, ready, .. }) = place {
            if back.is_none() && ready != ReadyRun::UNNUMBERED {
                state.through.insert(run, ready);
            }
            if let Some(line) = state.flows.get_mut(&flow) {
                line.taken -= 1;
            }
            for ready in [back, early].into_iter().flatten() {
                state.rewind(flow.clone(), ready);
                hungry = true;
            }
            state.forget_idle(&flow);
        }
        self.wake(state);
        self.settled.nudge();
        if hungry {
            self.hungry.nudge();
        }
    }

    /// Resolves when no turn and no errand is under way and none waits for its commit.
    pub async fn idle(&self) {
        let busy = || {
            let state = self.lock();
            state.uncommitted > 0 || state.in_flight > 0
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

    fn give_up(&mut self, run: &Arc<ReadyRun>, why: Overdue, threads: usize) -> bool {
        let Some(Working { run, name, .. }) = self.leaves(run) else { return false };
        if let Some(line) = self.flows.get_mut(&name) {
            line.on_threads -= 1;
        }
        self.may_begin(&name, threads);
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
        let may_begin = |flow: &Arc<str>| self.flows.get(flow).is_some_and(|line: &FlowQueue| line.may_begin(threads));
        self.uncommitted < UNCOMMITTED && self.order.iter().any(may_begin)
    }

    /// The next run of the first flow that may use another thread. A flow that may not any more leaves the
    /// order here, and comes back with what lets it begin again.
    fn next(&mut self, threads: usize) -> Option<(Waiting, Arc<str>)> {
        while let Some(name) = self.order.pop_front() {
            let Some(line) = self.flows.get_mut(&name) else { continue };
            line.in_order = false;
            if line.may_begin(threads)
                && let Some(waiting) = line.ready.pop_front()
            {
                line.on_threads += 1;
                self.uncommitted += 1;
                self.held -= waiting.weight;
                if let Some(place) = self.taken.get_mut(&waiting.run.id) {
                    place.begun = true;
                }
                self.may_begin(&name, threads);
                return Some((waiting, name));
            }
        }
        None
    }

    /// Puts a flow at the end of the order, if one of its runs may be begun and it is not there: to be called
    /// after all that may let it begin one.
    fn may_begin(&mut self, flow: &str, threads: usize) {
        let Some((name, line)) = self.flows.get_key_value(flow) else { return };
        if line.in_order || !line.may_begin(threads) {
            return;
        }
        self.order.push_back(name.clone());
        if let Some(line) = self.flows.get_mut(flow) {
            line.in_order = true;
        }
    }

    /// Ready runs of a flow are to be read again from this number on.
    fn rewind(&mut self, flow: Arc<str>, ready: i64) {
        let line = self.flows.entry(flow).or_default();
        line.cursor = line.cursor.min(ready - 1);
        line.unread = true;
    }

    /// Forgets a flow of which nothing is here and nothing is known to be in the store. While something of it is
    /// taken, or is being read, the cursor is needed.
    fn forget_idle(&mut self, flow: &str) {
        if self.flows.get(flow).is_some_and(|line| line.taken == 0 && !line.unread) {
            self.flows.remove(flow);
        }
    }
}

impl Lease {
    /// The thread is free again; the turn's commit is under way. None when the turn was given up meanwhile:
    /// nothing of it counts, and the thread has been replaced.
    pub fn off_thread(self) -> Option<Arc<ReadyRun>> {
        {
            let mut state = self.queue.lock();
            let Some(Working { name, .. }) = state.leaves(&self.run) else {
                state.losses.computing -= 1;
                return None;
            };
            if let Some(line) = state.flows.get_mut(&name) {
                line.on_threads -= 1;
            }
            state.may_begin(&name, self.queue.threads);
            // This thread comes back at once.
        }
        Some(self.run)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
