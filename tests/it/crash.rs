//! Every durable step by name: the engine dies just before it, or just after it without having
//! heard of it, starts again, and must come to the same end as if nothing had happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use postrider::app::open_store;
use postrider::clock::HandClock;
use serde_json::{Value, json};

use crate::support::engine::{House, start, workspace};
use crate::support::gateway::Gateway;
use crate::support::mortal::{Coroner, Death};
use crate::support::{folder, until};

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
    let coroner = Coroner::default();
    let opener = coroner.open(open_store(&workspace(folder.path())), death);
    let mut house = House::with(folder, Arc::new(HandClock::new(start())), opener).await;
    let body = json!({ "to": "+15417543010", "id": "A-1" });
    // A caller that gets no answer asks again, as long as nothing says that it was heard.
    let died = async || until("the death", async || coroner.is_dead().then_some(())).await;
    tokio::select! {
        answer = house.hook("/in", &body) => assert_eq!(answer.0, 200, "{}", answer.1),
        () = died() => {}
    }
    let mut buried = false;
    for round in 0.. {
        assert!(round < 3_000, "it comes to no end: {} {}", house.get("/runs").await, house.get("/messages").await);
        if coroner.is_dead() && !buried {
            buried = true;
            house = house.crash().await;
            if house.get("/runs").await["runs"].as_array().unwrap().is_empty() {
                assert_eq!(house.hook("/in", &body).await.0, 200);
            }
        }
        if buried || !coroner.is_dead() {
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
    summary(&house, &gateway, coroner.calls()).await
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
    let mut undisturbed = live(None).await;
    for _ in 0..20 {
        // On a machine that is busy a first turn may be too slow to go with its run.
        if undisturbed.calls.contains_key("begin") {
            break;
        }
        undisturbed = live(None).await;
    }
    assert!(undisturbed.calls.contains_key("begin"), "{:?}", undisturbed.calls);
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
    let coroner = Coroner::default();
    let opener = coroner.open(open_store(&workspace(folder.path())), Some(death));
    let house = House::with(folder, Arc::new(HandClock::new(start())), opener).await;
    cause(&house);
    until("the death", async || {
        house.pass(Duration::from_secs(1));
        coroner.is_dead().then_some(())
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
