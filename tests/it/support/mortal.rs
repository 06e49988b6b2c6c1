//! A store that dies at a named step, just before it or just after it without having heard of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use jiff::Timestamp;
use postrider::app::OpenStore;
use postrider::id::{MessageId, RunId};
use postrider::model::delivery::{Degraded, MessageState, Part};
use postrider::model::journal::{Entry, TurnCommit};
use postrider::model::message::{NewMessage, Promised};
use postrider::model::question::Answer;
use postrider::model::run::{NewRun, RunState};
use postrider::store::records::*;
use postrider::store::{Reply, Store};
use serde_json::Value;

/// When to die: at the n-th call of a step, before or after it is on disk.
#[derive(Clone, Debug)]
pub struct Death {
    pub step: &'static str,
    pub nth: usize,
    pub after: bool,
}

/// When to break down once, and to live on: at the n-th call of a method.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub method: &'static str,
    pub nth: usize,
    pub moment: Moment,
}

/// How far a call has come when it breaks down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It was made.
    Called,
    /// Its answer is waited for, and nothing was done.
    Awaited,
    /// All was done, and the answer is lost.
    Done,
}

/// The step of a death at the first turn of a run, whether it comes with the run or behind it.
pub const FIRST_TURN: &str = "a first turn";

/// A store that dies once. From then on nothing answers and nothing is written.
struct Mortal {
    inner: Arc<dyn Store>,
    death: Option<Death>,
    fault: Option<Fault>,
    /// Calls of the method that breaks down.
    faulty: AtomicUsize,
    calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    dead: Arc<AtomicBool>,
    /// Nobody is between the question whether it lives and the handing in when it is buried.
    gate: Arc<RwLock<()>>,
}

impl Mortal {
    /// Breaks down if it is time for it.
    fn shaken<T: Send + 'static>(&self, method: &str, call: impl FnOnce() -> Reply<T>) -> Reply<T> {
        let fault = self.fault.filter(|fault| fault.method == method);
        match fault
            .filter(|fault| self.faulty.fetch_add(1, Ordering::SeqCst) + 1 == fault.nth)
            .map(|fault| fault.moment)
        {
            None => call(),
            Some(Moment::Called) => panic!("a fault at once in `{method}`"),
            Some(Moment::Awaited) => Box::pin(async { panic!("a fault in waiting") }),
            Some(Moment::Done) => {
                let reply = call();
                Box::pin(async move {
                    let _ = reply.await;
                    panic!("a fault at the end")
                })
            }
        }
    }

    fn step<T: Send + 'static>(&self, step: &'static str, call: impl FnOnce() -> Reply<T>) -> Reply<T> {
        let _gate = self.gate.read().unwrap();
        let death = {
            let mut calls = self.calls.lock().unwrap();
            *calls.entry(step).or_default() += 1;
            // A first turn comes with its run, or behind it.
            let turns = ["begin", "commit_turn"].map(|turn| calls.get(turn).copied().unwrap_or(0));
            let is_turn = matches!(step, "begin" | "commit_turn");
            let dies = self.death.as_ref().is_some_and(|death| match death.step {
                FIRST_TURN => is_turn && turns.iter().sum::<usize>() == 1,
                mine => mine == step && calls[step] == death.nth,
            });
            dies.then_some(()).and(self.death.clone())
        };
        if self.dead.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let Some(death) = death else { return self.alive(call()) };
        let dead = self.dead.clone();
        if !death.after {
            dead.store(true, Ordering::SeqCst);
            return Box::pin(std::future::pending());
        }
        let reply = call();
        Box::pin(async move {
            let _ = reply.await;
            dead.store(true, Ordering::SeqCst);
            std::future::pending().await
        })
    }

    /// An answer is heard only by the living.
    fn alive<T: Send + 'static>(&self, reply: Reply<T>) -> Reply<T> {
        let dead = self.dead.clone();
        Box::pin(async move {
            let answer = reply.await;
            if dead.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            answer
        })
    }
}

macro_rules! mortal {
    (steps { $($step:ident($($name:ident: $kind:ty),*) -> $out:ty;)* }
     looks { $($look:ident($($lname:ident: $lkind:ty),*) -> $lout:ty;)* }) => {
        impl Store for Mortal {
            $(fn $step(&self, $($name: $kind),*) -> Reply<$out> {
                self.shaken(stringify!($step), || self.step(stringify!($step), || self.inner.$step($($name),*)))
            })*
            $(fn $look(&self, $($lname: $lkind),*) -> Reply<$lout> {
                let _gate = self.gate.read().unwrap();
                if self.dead.load(Ordering::SeqCst) {
                    return Box::pin(std::future::pending());
                }
                self.shaken(stringify!($look), || self.alive(self.inner.$look($($lname),*)))
            })*
            fn has_room(&self, flow: &str) -> bool {
                self.inner.has_room(flow)
            }
            fn traffic(&self) -> Traffic {
                self.inner.traffic()
            }
            /// Also of the dead: it is how their burial is known to be over.
            fn prune_versions(&self, unused: Vec<String>) -> Reply<u64> {
                self.inner.prune_versions(unused)
            }
        }
    };
}

mortal! {
    steps {
        intake(run: NewRun) -> i64;
        begin(run: NewRun, turn: TurnCommit) -> Begun;
        commit_turn(turn: TurnCommit) -> Committed;
        wake_runs(now: Timestamp) -> Woken;
        claim(account: &str, messages: Vec<ToClaim>, rules: ClaimRules, now: Timestamp) -> Claims;
        touch(id: MessageId) -> ();
        note_parts(id: MessageId, parts: Vec<Part>, cut: Vec<Degraded>, now: Timestamp) -> ();
        answer_errand(id: RunId, ready: i64, answer: Answer) -> bool;
        receive(inbound: Inbound) -> Vec<Fate>;
        divert(messages: Vec<MessageId>, diversion: Diversion, now: Timestamp) -> u64;
        settle(settlement: Settlement) -> ();
        tell(telling: Telling) -> ();
        move_messages(now: Timestamp, resend: Vec<ResendPolicy>) -> Moved;
        fire(firings: Vec<Firing>) -> u64;
        see_files(key: &TriggerKey, seen: Vec<Seen>, forget: Timestamp) -> ();
    }
    looks {
        keep_flows(kept: KeptFlows) -> ();
        good_versions() -> BTreeMap<String, String>;
        // Notes that decide nothing: a death at each of them would only make the table long.
        beat(beat: Beat, gaps: Vec<Gap>) -> ();
        keep_refused(rows: Vec<RefusedRow>, gone: Vec<i64>) -> ();
        flows_home() -> Option<FolderId>;
        last_beat() -> Option<Beat>;
        gaps(from: Timestamp, to: Timestamp) -> Vec<Gap>;
        refused() -> Vec<RefusedRow>;
        armed() -> Vec<ArmedRow>;
        arm(gone: Vec<TriggerKey>, come: Vec<NewTrigger>) -> ();
        occurrences(filter: OccurrenceFilter) -> Vec<OccurrenceRecord>;
        seen_files(key: &TriggerKey) -> Vec<SeenFile>;
        limit_backlog(most: u64) -> ();
        version(id: &str) -> Option<VersionRow>;
        ready_flows() -> Vec<String>;
        ready_runs(flow: &str, after: i64, limit: usize) -> Vec<ReadyRun>;
        kv_get(flow: &str, key: &str, now: Timestamp) -> Option<Value>;
        promise(messages: Vec<NewMessage>, now: Timestamp) -> ();
        keyed(flow: &str, key: &str, to: &str) -> Option<MessageRef>;
        due_messages(account: &str, after: i64, limit: usize) -> Vec<DueMessage>;
        recover(now: Timestamp) -> u64;
        decide(id: MessageId, decision: Decision, now: Timestamp) -> Decided;
        runs(filter: RunFilter) -> Page<RunRecord, RunId>;
        run(id: RunId) -> Option<RunRecord>;
        journal(id: RunId) -> Vec<Called>;
        messages(filter: MessageFilter) -> Page<MessageRecord, MessageId>;
        message(id: MessageId) -> Option<MessageRecord>;
        lane_length(account: &str) -> u64;
        bad_messages() -> Vec<(String, String, u64)>;
        bad_messages_of(runs: Vec<RunId>) -> Vec<(RunId, u64)>;
        troubles(after: i64, limit: usize) -> Vec<Trouble>;
        told() -> Vec<(String, Timestamp)>;
        divertible(diversion: &Diversion) -> Vec<Vec<MessageId>>;
        stop_counting(account: &str) -> ();
        journal_after(id: RunId, part: i64) -> (Vec<Entry>, i64);
        promised(root: RunId, but: RunId) -> Vec<Promised>;
        kv_keys(flow: &str, prefix: &str, now: Timestamp) -> Vec<String>;
        cancel_run(id: RunId, now: Timestamp) -> RunDecided;
        retry_run(id: RunId) -> RunDecided;
        unused_versions() -> Vec<String>;
        prunable(until: Spans, after: Prunable, limit: usize) -> Prunable;
        prune(runs: Vec<RunId>, messages: Vec<MessageId>, until: Spans, records: OldRecords) -> Pruned;
        used() -> u64;
        unattached(blobs: Vec<String>) -> Vec<String>;
        origin(id: RunId) -> Option<Origin>;
        names(account: &str, who: &str) -> Vec<String>;
        is_listening() -> bool;
        line(run: RunId) -> Option<Line>;
        forget(who: &str, mark: &str, now: Timestamp) -> Forgotten;
        heard(account: &str, recipient: &str) -> LastHeard;
        click(id: MessageId, now: Timestamp) -> ();
        receive_on_phone(message: PhoneMessage) -> bool;
        phone_messages(phone: Option<String>, limit: usize) -> Vec<PhoneMessage>;
        handsets() -> Vec<Handset>;
        change_handset(phone: &str, change: HandsetChange, now: Timestamp) -> ();
        empty_phones() -> ();
        open_session(digest: [u8; 32], now: Timestamp) -> ();
        session(digest: [u8; 32], oldest: Timestamp) -> bool;
        close_sessions(digest: Option<[u8; 32]>) -> u64;
        run_counts() -> StateCounts<RunState>;
        message_counts() -> StateCounts<MessageState>;
        lately(since: Timestamp) -> Lately;
        last_runs(flows: Vec<String>, most: usize) -> Vec<Vec<RunBrief>>;
        incoming(filter: IncomingFilter) -> Vec<IncomingRecord>;
        called(addresses: Vec<String>) -> BTreeMap<String, String>;
        person(who: &str) -> Person;
        opt_in(account: &str, who: &str) -> bool;
        spent(account: &str, day: &str) -> Spent;
        end_wait(id: RunId, now: Timestamp) -> RunDecided;
    }
}

/// What is seen of a mortal store from outside.
#[derive(Clone, Default)]
pub struct Coroner {
    calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    dead: Arc<AtomicBool>,
    gate: Arc<RwLock<()>>,
    inner: Arc<Mutex<Option<Arc<dyn Store>>>>,
}

impl Coroner {
    /// Opens a store that dies so, or never.
    pub fn open(&self, open: OpenStore, death: Option<Death>) -> OpenStore {
        self.wrap(open, death, None)
    }

    /// Opens a store that breaks down so, and lives on.
    pub fn shake(&self, open: OpenStore, fault: Fault) -> OpenStore {
        self.wrap(open, None, Some(fault))
    }

    fn wrap(&self, open: OpenStore, death: Option<Death>, fault: Option<Fault>) -> OpenStore {
        let Self { calls, dead, gate, inner: known } = self.clone();
        Box::new(move |signals| {
            let inner = open(signals)?;
            *known.lock().unwrap() = Some(inner.clone());
            Ok(Arc::new(Mortal { inner, death, fault, faulty: AtomicUsize::new(0), calls, dead, gate })
                as Arc<dyn Store>)
        })
    }

    /// Lets it die now: what was handed in before is written, and nothing more. Threads and tasks of an
    /// engine in this process outlive its crash for a moment, and must not write beside the next one.
    pub async fn bury(&self) {
        {
            let _gate = self.gate.write().unwrap();
            self.dead.store(true, Ordering::SeqCst);
        }
        let inner = self.inner.lock().unwrap().take();
        if let Some(inner) = inner {
            // Comes back behind all that was handed in.
            inner.prune_versions(Vec::new()).await.unwrap();
        }
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    /// How often each step was called.
    pub fn calls(&self) -> BTreeMap<&'static str, usize> {
        self.calls.lock().unwrap().clone()
    }
}
