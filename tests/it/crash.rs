//! Every durable step by name: the engine dies just before it, or just after it without having
//! heard of it, starts again, and must come to the same end as if nothing had happened.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use postrider::app::open_store;
use postrider::clock::HandClock;
use postrider::id::{MessageId, RunId};
use postrider::model::delivery::{Degraded, Part};
use postrider::model::journal::{Answer, Entry, TurnCommit};
use postrider::model::message::{NewMessage, Promised};
use postrider::model::run::NewRun;
use postrider::store::rows::*;
use postrider::store::{Reply, Store};
use serde_json::{Value, json};

use crate::support::engine::{House, start, workspace};
use crate::support::gateway::Gateway;
use crate::support::{folder, until};

/// When to die: at the n-th call of a step, before or after it is on disk.
#[derive(Clone, Debug)]
struct Death {
    step: &'static str,
    nth: usize,
    after: bool,
}

/// A store that dies once. From then on nothing answers and nothing is written.
struct Mortal {
    inner: Arc<dyn Store>,
    death: Option<Death>,
    calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    dead: Arc<AtomicBool>,
}

impl Mortal {
    fn step<T: Send + 'static>(&self, step: &'static str, call: impl FnOnce() -> Reply<T>) -> Reply<T> {
        let nth = {
            let mut calls = self.calls.lock().unwrap();
            let count = calls.entry(step).or_default();
            *count += 1;
            *count
        };
        if self.dead.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        let Some(death) = self.death.clone().filter(|death| death.step == step && death.nth == nth) else {
            return self.alive(call());
        };
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
                self.step(stringify!($step), || self.inner.$step($($name),*))
            })*
            $(fn $look(&self, $($lname: $lkind),*) -> Reply<$lout> {
                if self.dead.load(Ordering::SeqCst) {
                    return Box::pin(std::future::pending());
                }
                self.alive(self.inner.$look($($lname),*))
            })*
            fn traffic(&self) -> Traffic {
                self.inner.traffic()
            }
        }
    };
}

mortal! {
    steps {
        intake(run: NewRun) -> ();
        commit_turn(turn: TurnCommit) -> Committed;
        wake_runs(now: Timestamp) -> Woken;
        claim(account: &str, messages: Vec<MessageId>, rules: ClaimRules, now: Timestamp) -> Claims;
        touch(id: MessageId) -> ();
        note_parts(id: MessageId, parts: Vec<Part>, cut: Vec<Degraded>, now: Timestamp) -> ();
        answer_errand(id: RunId, ready: i64, answer: Answer) -> bool;
        receive(inbound: Inbound) -> Vec<Fate>;
        divert(messages: Vec<MessageId>, diversion: Diversion, now: Timestamp) -> u64;
        settle(settlement: Settlement) -> ();
        move_messages(now: Timestamp, resend: Vec<ResendPolicy>) -> Moved;
        fire(firings: Vec<Firing>) -> u64;
        see_files(key: &TriggerKey, seen: Vec<Seen>, forget: Timestamp) -> ();
    }
    looks {
        keep_flows(kept: KeptFlows) -> ();
        good_versions() -> BTreeMap<String, String>;
        armed() -> Vec<ArmedRow>;
        arm(gone: Vec<TriggerKey>, come: Vec<NewTrigger>) -> ();
        occurrences(filter: OccurrenceFilter) -> Vec<OccurrenceRecord>;
        ledger(key: &TriggerKey) -> Vec<LedgerRow>;
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
        runs(filter: RunFilter) -> Vec<RunRecord>;
        run(id: RunId) -> Option<RunRecord>;
        journal(id: RunId) -> Vec<Entry>;
        messages(filter: MessageFilter) -> Vec<MessageRecord>;
        message(id: MessageId) -> Option<MessageRecord>;
        backlog(account: &str) -> u64;
        divertible(diversion: &Diversion) -> Vec<Vec<MessageId>>;
        stop_counting(account: &str) -> ();
        journal_after(id: RunId, part: i64) -> (Vec<Entry>, i64);
        promised(root: RunId, but: RunId) -> Vec<Promised>;
        kv_keys(flow: &str, prefix: &str, now: Timestamp) -> Vec<String>;
        cancel_run(id: RunId, now: Timestamp) -> RunDecided;
        retry_run(id: RunId) -> RunDecided;
        unused_versions() -> Vec<String>;
        prune_versions(unused: Vec<String>) -> u64;
        origin(id: RunId) -> Option<Origin>;
        names(account: &str, who: &str) -> Vec<String>;
        forget(who: &str, mark: &str, now: Timestamp) -> Forgotten;
        heard(account: &str, recipient: &str) -> LastHeard;
        click(id: MessageId, now: Timestamp) -> ();
        receive_on_phone(message: PhoneMessage) -> ();
        phone_messages(limit: usize) -> Vec<PhoneMessage>;
    }
}

const FLOW: &str = r#"
triggers:
  - webhook: /in
run: |
  let to = event.body.to;
  kv::set("count", (kv::get("count") ?? 0) + 1);
  send_text(to, "one");
  sleep("1h");
  let two = send_text(to, "two", #{ at: "30m", key: event.body.id });
  let fate = two.wait("sent", "90h");
  let spare = send_text(to, "never", #{ at: "9h" });
  let taken_back = spare.cancel();
  send_text(to, `three: two is ${fate.status}, spare taken back: ${taken_back}`);
  [fate.status, taken_back, kv::get("count")]
"#;

/// What is left to see of a whole life.
#[derive(Debug, PartialEq)]
struct End {
    run: String,
    result: Value,
    entries: Vec<String>,
    states: Vec<String>,
}

struct Life {
    end: End,
    arrived: BTreeMap<String, usize>,
    interrupted: Vec<String>,
    calls: BTreeMap<&'static str, usize>,
}

async fn live(death: Option<Death>) -> Life {
    let gateway = Gateway::start().await;
    let settings = gateway.settings("pace: unlimited, on_unknown: resend, unknown_after: 1m");
    let folder = folder(&[("flows/in.yaml", FLOW), ("postrider.yaml", &settings)]);
    let (calls, dead) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(AtomicBool::new(false)));
    let opener = {
        let (open, calls, dead) = (open_store(&workspace(folder.path())), calls.clone(), dead.clone());
        Box::new(move |signals| {
            let inner = open(signals)?;
            Ok(Arc::new(Mortal { inner, death, calls, dead }) as Arc<dyn Store>)
        })
    };
    let mut house = House::with(folder, Arc::new(HandClock::new(start())), opener).await;
    let body = json!({ "to": "+15417543010", "id": "A-1" });
    // A caller that gets no answer asks again, as long as nothing says that it was heard.
    let died = async || until("the death", async || dead.load(Ordering::SeqCst).then_some(())).await;
    tokio::select! {
        answer = house.hook("/in", &body) => assert_eq!(answer.0, 202, "{}", answer.1),
        () = died() => {}
    }
    let mut buried = false;
    for round in 0.. {
        assert!(round < 3_000, "it comes to no end: {} {}", house.get("/runs").await, house.get("/messages").await);
        if dead.load(Ordering::SeqCst) && !buried {
            buried = true;
            house = house.crash().await;
            if house.get("/runs").await["runs"].as_array().unwrap().is_empty() {
                assert_eq!(house.hook("/in", &body).await.0, 202);
            }
        }
        if buried || !dead.load(Ordering::SeqCst) {
            let look = async {
                let runs = house.get("/runs").await;
                let messages = house.get("/messages").await;
                let over = runs["runs"].as_array().unwrap().iter().all(|run| run["finished_at"] != Value::Null);
                let settled = messages["messages"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|message| matches!(message["state"].as_str(), Some("sent" | "cancelled")));
                over && settled && !runs["runs"].as_array().unwrap().is_empty()
            };
            tokio::select! {
                over = look => if over { break },
                () = died(), if !buried => continue,
            }
        }
        house.pass(Duration::from_secs(97));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    let calls = calls.lock().unwrap().clone();
    summary(&house, &gateway, calls).await
}

async fn summary(house: &House, gateway: &Gateway, calls: BTreeMap<&'static str, usize>) -> Life {
    let runs = house.get("/runs").await;
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1, "one event is one run");
    let run = house.get(&format!("/runs/{}", runs["runs"][0]["id"].as_str().unwrap())).await;
    let words = |list: &Value, field: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
    };
    let mut states = words(&run["messages"], "state");
    states.sort();
    let mut arrived = BTreeMap::new();
    for text in gateway.texts() {
        *arrived.entry(text).or_default() += 1;
    }
    let open = run["messages"].as_array().unwrap().iter().filter(|message| {
        message["attempts"].as_array().unwrap().iter().any(|attempt| attempt["outcome"] == "interrupted")
    });
    let interrupted = open.map(|message| message["body"]["text"].as_str().unwrap().to_owned()).collect();
    let end = End {
        run: run["state"].as_str().unwrap().to_owned(),
        result: run["result"].clone(),
        entries: words(&run["entries"], "kind"),
        states,
    };
    Life { end, arrived, interrupted, calls }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_any_durable_step_changes_nothing() {
    let undisturbed = live(None).await;
    assert_eq!(undisturbed.end.result, json!(["sent", true, 1]));
    assert_eq!(undisturbed.arrived.values().sum::<usize>(), 3);
    println!("undisturbed: {:?}", undisturbed.calls);
    println!("{:<14} {:>4}  {:<6}  {:<10}  {:<24}", "step", "call", "died", "run", "arrived twice");
    for (step, count) in &undisturbed.calls {
        // The clock's services look more often than something happens; their first looks cover it.
        let count = if matches!(*step, "wake_runs" | "move_messages") { 3.min(*count) } else { *count };
        for nth in 1..=count {
            for after in [false, true] {
                let death = Death { step, nth, after };
                let life = live(Some(death.clone())).await;
                let twice: Vec<&String> =
                    life.arrived.iter().filter(|(_, count)| **count > 1).map(|(text, _)| text).collect();
                println!(
                    "{step:<14} {nth:>4}  {:<6}  {:<10}  {twice:?}",
                    if after { "after" } else { "before" },
                    life.end.run
                );
                assert_eq!(life.end, undisturbed.end, "{death:?}");
                assert_eq!(
                    life.arrived.keys().collect::<Vec<_>>(),
                    undisturbed.arrived.keys().collect::<Vec<_>>(),
                    "{death:?}"
                );
                // Only what was open at the death may have arrived twice, and that is on record.
                for text in twice {
                    assert!(life.interrupted.contains(text) && life.arrived[text] == 2, "{death:?}: {text}");
                }
            }
        }
    }
}

/// One life in which a trigger's step dies; gives how many runs there are at the end.
async fn trigger_dies(trigger: &str, death: Death, cause: impl Fn(&House)) -> usize {
    let flow = format!("triggers:\n  - {trigger}\nrun: 1\n");
    let folder = folder(&[("flows/it.yaml", &flow), ("inbox/.gitkeep", "")]);
    let dead = Arc::new(AtomicBool::new(false));
    let opener = {
        let (open, dead) = (open_store(&workspace(folder.path())), dead.clone());
        Box::new(move |signals| {
            let inner = open(signals)?;
            Ok(Arc::new(Mortal { inner, death: Some(death), calls: Arc::default(), dead }) as Arc<dyn Store>)
        })
    };
    let house = House::with(folder, Arc::new(HandClock::new(start())), opener).await;
    cause(&house);
    until("the death", async || {
        house.pass(Duration::from_secs(1));
        dead.load(Ordering::SeqCst).then_some(())
    })
    .await;
    let house = house.crash().await;
    until("the run", async || {
        house.pass(Duration::from_secs(1));
        (!house.runs_of("it").await.is_empty()).then_some(())
    })
    .await;
    for _ in 0..5 {
        house.pass(Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    house.runs_of("it").await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_and_a_file_are_one_run_whenever_the_engine_dies() {
    for after in [false, true] {
        let fire = Death { step: "fire", nth: 1, after };
        assert_eq!(trigger_dies("at: 2026-11-20T07:00:20Z", fire.clone(), |_| {}).await, 1, "{fire:?}");
        let see = Death { step: "see_files", nth: 1, after };
        let cause = |house: &House| house.write("inbox/a.csv", "a");
        assert_eq!(trigger_dies("watch: \"inbox/*.csv\"", see.clone(), cause).await, 1, "{see:?}");
    }
}
