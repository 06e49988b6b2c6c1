//! Runs among themselves: events that one emits and others wait for, and flows that one starts.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{NAP, pass, result};
use crate::support::engine::{House, flow_in};
use crate::support::until;

/// A flow that emits what it is told to.
const EMIT: (&str, &str) = (
    "flows/emit.yaml",
    "run: |
  let what = event.data;
  if what.key == () { emit(what.name, what.data); } else { emit(what.name, what.data, what.key); }
",
);
/// A flow that waits for the event that it is told to, and gives back its data.
const AWAIT: (&str, &str) = ("flows/await.yaml", "run: |\n  wait_for_event(event.data.name, event.data.options)\n");
/// A flow that another one starts.
const CHILD: (&str, &str) = ("flows/child.yaml", "run: event\n");
/// A flow after which others go on that look whether it was there.
const READY: (&str, &str) = ("flows/ready.yaml", "run: shared::set(\"ready\", true)\n");

async fn emits(house: &House, name: &str, data: Value, key: Value) {
    let run = house.trigger("emit", json!({ "name": name, "data": data, "key": key })).await;
    house.run_is(&run, "succeeded").await;
}

/// Begins a run that waits for an event; gives it when it does.
async fn awaits(house: &House, name: &str, options: Value) -> String {
    let run = house.trigger("await", json!({ "name": name, "options": options })).await;
    let waits = house.run_is(&run, "waiting").await;
    assert_eq!(waits["waiting_for"]["kind"], "event", "{waits}");
    run
}

async fn is_waiting(house: &House, run: &str) {
    let run = house.get(&format!("/runs/{run}")).await;
    assert_eq!((&run["state"], &run["entries"]), (&json!("waiting"), &json!([])), "{run}");
}

/// Waits until a run has come to wait for an event behind so many calls.
async fn waits_behind(house: &House, run: &str, calls: usize) {
    until("the run to wait for the next event", async || {
        let run = house.get(&format!("/runs/{run}")).await;
        let waits = run["waiting_for"]["kind"] == "event" && run["entries"].as_array().unwrap().len() == calls;
        waits.then_some(())
    })
    .await;
}

/// Waits until a run waits to be tried again.
async fn retries(house: &House, run: &str) {
    until("the run to be tried again later", async || {
        let run = house.get(&format!("/runs/{run}")).await;
        (run["waiting_for"]["kind"] == "retry").then_some(())
    })
    .await;
}

/// The data of a flow's runs, once there are so many and all have come to their end, sorted.
async fn data_of(house: &House, flow: &str, count: usize) -> Vec<i64> {
    let runs = until(&format!("{count} runs of {flow}"), async || {
        let runs = house.runs_of(flow).await;
        let over = runs.iter().all(|run| run["state"] == "succeeded");
        (runs.len() >= count && over).then_some(runs)
    })
    .await;
    let mut data = Vec::new();
    for run in runs {
        data.push(result(house, run["id"].as_str().unwrap()).await["data"].as_i64().unwrap());
    }
    data.sort_unstable();
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_who_waits_for_an_event_gets_it() {
    let house = House::open(&[EMIT, AWAIT]).await;
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(awaits(&house, "paid", json!({})).await);
    }
    let other = awaits(&house, "shipped", json!({})).await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(1));
    let data = json!({ "order": 7, "items": ["a", "b"], "note": null });
    emits(&house, "paid", data.clone(), Value::Null).await;
    for run in &runs {
        assert_eq!(result(&house, run).await, data);
    }
    is_waiting(&house, &other).await;
    // Who comes later waits for the next one.
    house.pass(Duration::from_secs(1));
    let later = awaits(&house, "paid", json!({})).await;
    emits(&house, "shipped", json!("today"), Value::Null).await;
    emits(&house, "paid", json!(2), Value::Null).await;
    assert_eq!(result(&house, &later).await, 2);
    assert_eq!(result(&house, &other).await, "today");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_tells_events_of_one_name_apart() {
    let house = House::open(&[EMIT, AWAIT]).await;
    let a = awaits(&house, "paid", json!({ "key": "a" })).await;
    let seven = awaits(&house, "paid", json!({ "key": 7 })).await;
    emits(&house, "paid", json!("none"), Value::Null).await;
    emits(&house, "paid", json!("b"), json!("b")).await;
    emits(&house, "other", json!("other"), json!("a")).await;
    is_waiting(&house, &a).await;
    house.pass(Duration::from_secs(1));
    let any = awaits(&house, "paid", json!({})).await;
    emits(&house, "paid", json!("a"), json!("a")).await;
    emits(&house, "paid", json!("seven"), json!(7)).await;
    for (run, data) in [(&a, "a"), (&any, "a"), (&seven, "seven")] {
        assert_eq!(result(&house, run).await, data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_emitted_before_a_run_comes_to_wait_is_not_lost_and_comes_once() {
    let flow = r#"run: |
  sleep("1h");
  let got = [];
  for n in 0..4 { got.push(wait_for_event("n", #{ timeout: "30m" })); }
  got
"#;
    let house = House::open(&[EMIT, NAP, ("flows/slow.yaml", flow)]).await;
    emits(&house, "n", json!("before it was there"), Value::Null).await;
    house.pass(Duration::from_secs(1));
    let run = house.trigger("slow", Value::Null).await;
    house.run_is(&run, "waiting").await;
    pass(&house, 10).await;
    emits(&house, "n", json!(1), Value::Null).await;
    let house = house.crash().await;
    pass(&house, 10).await;
    emits(&house, "n", json!(2), Value::Null).await;
    pass(&house, 40).await;
    waits_behind(&house, &run, 3).await;
    let house = house.crash().await;
    emits(&house, "n", json!(3), Value::Null).await;
    waits_behind(&house, &run, 4).await;
    house.sleep_through(&run).await;
    assert_eq!(result(&house, &run).await, json!([1, 2, 3, null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_gets_an_event_twice_whatever_it_asks_for() {
    let flow = |first: &str, second: &str| {
        format!("run: |\n  [wait_for_event(\"paid\", #{{ {first} }}), wait_for_event(\"paid\", #{{ {second} }})]\n")
    };
    let (narrow, wide) = (flow("key: \"a\"", ""), flow("", "key: \"a\""));
    let house = House::open(&[EMIT, ("flows/narrow.yaml", &narrow), ("flows/wide.yaml", &wide)]).await;
    let mut runs = Vec::new();
    for flow in ["narrow", "wide"] {
        let run = house.trigger(flow, Value::Null).await;
        house.run_is(&run, "waiting").await;
        runs.push(run);
    }
    for n in 1..=2 {
        emits(&house, "paid", json!(n), json!("a")).await;
    }
    for run in &runs {
        assert_eq!(result(&house, run).await, json!([1, 2]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_not_hear_itself() {
    let flow = r#"run: |
  emit("x", 1);
  let own = wait_for_event("x", #{ timeout: "10m" });
  emit("x", 2);
  [own, wait_for_event("x", #{ timeout: "10m" })]
"#;
    let house = House::open(&[EMIT, AWAIT, ("flows/own.yaml", flow)]).await;
    let other = awaits(&house, "x", json!({})).await;
    let run = house.trigger("own", Value::Null).await;
    assert_eq!(result(&house, &other).await, 1);
    house.sleep_through(&run).await;
    until("the second wait", async || {
        let run = house.get(&format!("/runs/{run}")).await;
        (run["waiting_for"]["until"] == "2026-11-20T07:20:00.000Z").then_some(())
    })
    .await;
    emits(&house, "x", json!("another one's"), Value::Null).await;
    assert_eq!(result(&house, &run).await, json!([null, "another one's"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_for_an_event_has_an_end_and_can_be_cancelled() {
    let house = House::open(&[EMIT, AWAIT, NAP]).await;
    let short = awaits(&house, "x", json!({ "timeout": "10m" })).await;
    let long = awaits(&house, "x", json!({ "timeout": "20m" })).await;
    let cancelled = awaits(&house, "x", json!({})).await;
    house.post(&format!("/runs/{cancelled}/cancel"), json!({})).await;
    pass(&house, 9).await;
    let house = house.crash().await;
    is_waiting(&house, &short).await;
    pass(&house, 1).await;
    assert_eq!(result(&house, &short).await, Value::Null);
    emits(&house, "x", json!(1), Value::Null).await;
    assert_eq!(result(&house, &long).await, 1);
    assert_eq!(house.run_is(&cancelled, "cancelled").await["result"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_counts_when_its_turn_does_and_once() {
    let flow = r#"
retry: { attempts: 3, first: 1s, max: 1s }
run: |
  emit("x", 1);
  if shared::get("ready") == () { throw "not yet"; }
  sleep("1h");
  emit("x", 2);
  throw "after all"
"#;
    let waiter = "run: |\n  [wait_for_event(\"x\"), wait_for_event(\"x\", #{ timeout: \"3h\" })]\n";
    let house = House::open(&[READY, NAP, ("flows/bad.yaml", flow), ("flows/two.yaml", waiter)]).await;
    let two = house.trigger("two", Value::Null).await;
    house.run_is(&two, "waiting").await;
    let bad = house.trigger("bad", Value::Null).await;
    retries(&house, &bad).await;
    is_waiting(&house, &two).await;
    let ready = house.trigger("ready", Value::Null).await;
    house.run_is(&ready, "succeeded").await;
    house.pass(Duration::from_secs(1));
    waits_behind(&house, &two, 1).await;
    // What it emitted before its wait is not emitted again when it is tried again, and what it emits in a
    // turn that throws is not emitted at all.
    house.sleep_through(&bad).await;
    retries(&house, &bad).await;
    house.pass(Duration::from_secs(1));
    house.run_is(&bad, "failed").await;
    pass(&house, 3 * 60).await;
    assert_eq!(result(&house, &two).await, json!([1, null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_starts_another_one_with_what_it_gives_it() {
    let flow = "run: |\n  flows::start(\"child\", #{ order: event.data.order, items: [1, ()] });\n  \"done\"\n";
    let house = House::open(&[CHILD, ("flows/starter.yaml", flow)]).await;
    let run = house.trigger("starter", json!({ "order": "A-7" })).await;
    assert_eq!(result(&house, &run).await, "done");
    let children = house.runs_of("child").await;
    assert_eq!(children.len(), 1);
    let child = house.run_is(children[0]["id"].as_str().unwrap(), "succeeded").await;
    assert_eq!((child["trigger"].as_str(), &child["event"]), (Some("flow"), &child["result"]));
    let wanted = json!({ "trigger": "flow", "flow": "child", "run": child["id"], "at": "2026-11-20T07:00:00.000Z",
        "data": { "order": "A-7", "items": [1, null] } });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&child["event"][name], value, "`{name}` of {}", child["event"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_is_not_there_is_told_with_its_nearest_name() {
    let caught =
        "run: |\n  let said = \"\";\n  try { flows::start(\"chld\", 1); } catch (e) { said = e.message; }\n  said\n";
    let files = [CHILD, ("flows/caught.yaml", caught), ("flows/thrown.yaml", "run: |\n  flows::start(\"chld\", 1);\n")];
    let house = House::open(&files).await;
    let run = house.trigger("caught", Value::Null).await;
    let said = result(&house, &run).await;
    assert!(said.as_str().unwrap().contains("did you mean `child`?"), "{said}");
    let run = house.trigger("thrown", Value::Null).await;
    let run = house.run_is(&run, "failed").await;
    assert_eq!((run["error"]["line"].as_u64(), &run["error"]["message"]), (Some(2), &said));
    assert!(house.runs_of("child").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_started_once_however_often_its_starter_begins_anew() {
    let flow = r#"
retry: { attempts: 4, first: 1s, max: 1s }
run: |
  flows::start("child", 1);
  sleep("1h");
  flows::start("child", 2);
  if shared::get("ready") == () { throw "not yet"; }
  flows::start("child", 3);
"#;
    let house = House::open(&[CHILD, READY, ("flows/starter.yaml", flow)]).await;
    let run = house.trigger("starter", Value::Null).await;
    house.run_is(&run, "waiting").await;
    assert_eq!(data_of(&house, "child", 1).await, [1]);
    let house = house.crash().await;
    house.sleep_through(&run).await;
    retries(&house, &run).await;
    // The turn that threw has started nothing.
    assert_eq!(data_of(&house, "child", 1).await, [1]);
    let ready = house.trigger("ready", Value::Null).await;
    house.run_is(&ready, "succeeded").await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(1));
    house.run_is(&run, "succeeded").await;
    assert_eq!(data_of(&house, "child", 3).await, [1, 2, 3]);
    let house = house.crash().await;
    assert_eq!(data_of(&house, "child", 3).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_started_run_keeps_the_version_that_it_was_started_with() {
    let child = |word: &str| format!("run: |\n  sleep(\"1h\");\n  \"{word}\"\n");
    let starter = "run: |\n  flows::start(\"child\", 1);\n";
    let house = House::open(&[("flows/child.yaml", &child("old")), ("flows/starter.yaml", starter)]).await;
    let version = flow_in(&house.get("/flows").await, "child")["version"].clone();
    let mut runs: Vec<(Value, &str)> = Vec::new();
    for word in ["old", "new"] {
        let starter = house.trigger("starter", Value::Null).await;
        house.run_is(&starter, "succeeded").await;
        let all = house.runs_of("child").await;
        let fresh = all.iter().find(|run| runs.iter().all(|(id, _)| *id != run["id"])).unwrap();
        house.run_is(fresh["id"].as_str().unwrap(), "waiting").await;
        assert_eq!(fresh["version"] == version, word == "old", "{fresh}");
        runs.push((fresh["id"].clone(), word));
        house.write("flows/child.yaml", &child("new"));
        house.flows_are("the new text", |flows| flow_in(flows, "child")["version"] != version).await;
    }
    let house = house.crash().await;
    house.pass(Duration::from_secs(3600));
    for (id, word) in &runs {
        assert_eq!(result(&house, id.as_str().unwrap()).await, *word);
    }
}
