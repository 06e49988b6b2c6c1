//! `wait_for_message`: what people write of their own accord, for runs that wait for it.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{ADA, BOB, DOOR, GROUP, HEARD, LID, NAP, TWO, heard, pass, result, told, writes};
use crate::support::engine::House;

/// A flow that waits for the message that it is told to, and gives it back. Its trigger, for words that
/// nobody writes, lets it wait for anybody.
pub const LISTEN: (&str, &str) = (
    "flows/listen.yaml",
    "triggers:\n  - message: { text: \"^never written$\" }\nrun: |\n  wait_for_message(event.data)\n",
);

/// Begins a run that waits for a message; gives it when it does.
pub async fn waits(house: &House, options: Value) -> String {
    let run = house.trigger("listen", options).await;
    let waits = house.run_is(&run, "waiting").await;
    assert_eq!(waits["waiting_for"]["kind"], "reply", "{waits}");
    run
}

/// The text of the message that a run got.
async fn got(house: &House, run: &str) -> String {
    result(house, run).await["text"].as_str().unwrap().to_owned()
}

async fn is_waiting(house: &House, run: &str) {
    let run = house.get(&format!("/runs/{run}")).await;
    assert_eq!((&run["state"], &run["entries"]), (&json!("waiting"), &json!([])), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gets_the_message_that_it_waits_for() {
    let house = House::open(&[DOOR, LISTEN, HEARD]).await;
    let run = waits(&house, json!({ "from": "+1 541-754-3010" })).await;
    writes(&house, BOB, "somebody else").await;
    let event = json!({ "id": "A1", "from": ADA, "name": "Ada", "text": "hello", "reply_to": "X1" });
    told(&house, event).await;
    let message = result(&house, &run).await;
    let wanted = json!({ "account": "sandbox", "from": ADA, "chat": ADA, "name": "Ada", "text": "hello", "kind": "text",
        "media": null, "reply_to": "X1", "message_id": "A1" });
    for (name, value) in wanted.as_object().unwrap() {
        assert_eq!(&message[name], value, "`{name}` of {message}");
    }
    // It was one message that was waited for, and it went to nobody else.
    writes(&house, ADA, "and more").await;
    assert_eq!(heard(&house, "heard").await, ["and more", "somebody else"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_longest_comes_first() {
    let house = House::open(&[LISTEN, HEARD]).await;
    let mut runs = Vec::new();
    for options in [json!({ "from": ADA }), json!({}), json!({ "from": ADA })] {
        runs.push(waits(&house, options).await);
        house.pass(Duration::from_secs(1));
    }
    let house = house.crash().await;
    for text in ["1", "2", "3", "4"] {
        writes(&house, ADA, text).await;
    }
    for (run, text) in runs.iter().zip(["1", "2", "3"]) {
        assert_eq!(got(&house, run).await, text);
    }
    assert_eq!(heard(&house, "heard").await, ["4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_passes_those_who_want_another_one() {
    let house = House::open(&[TWO, LISTEN, HEARD]).await;
    let bob = waits(&house, json!({ "from": BOB })).await;
    let order = waits(&house, json!({ "from": ADA, "text": "(?i)^order \\d+" })).await;
    let second = waits(&house, json!({ "from": ADA, "account": "second" })).await;
    let ada = waits(&house, json!({ "from": ADA, "text": "^x" })).await;
    let writes = async |account: &str, from: &str, text: &str| {
        house.post("/sandbox/messages", json!({ "account": account, "from": from, "text": text })).await;
    };
    writes("sandbox", ADA, "my order 7").await;
    writes("second", BOB, "on the other account").await;
    assert_eq!(heard(&house, "heard").await, ["my order 7", "on the other account"]);
    for run in [&bob, &order, &second, &ada] {
        is_waiting(&house, run).await;
    }
    // The youngest of all, because it is the only one that it fits.
    writes("sandbox", ADA, "x").await;
    writes("sandbox", ADA, "ORDER 8 please").await;
    writes("sandbox", BOB, "order 9").await;
    writes("second", ADA, "order 10").await;
    for (run, text) in [(&ada, "x"), (&order, "ORDER 8 please"), (&bob, "order 9"), (&second, "order 10")] {
        assert_eq!(got(&house, run).await, text);
    }
    assert_eq!(result(&house, &second).await["account"], "second");
    assert_eq!(heard(&house, "heard").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_may_be_waited_for_and_a_group() {
    let house = House::open(&[LISTEN, HEARD]).await;
    let group = waits(&house, json!({ "from": GROUP })).await;
    let anybody = waits(&house, json!({})).await;
    let later = waits(&house, json!({ "text": "^later$" })).await;
    writes(&house, BOB, "hi").await;
    let message = result(&house, &anybody).await;
    assert_eq!((message["from"].as_str(), message["text"].as_str()), (Some(BOB), Some("hi")));
    house.post("/sandbox/messages", json!({ "from": BOB, "chat": GROUP, "text": "hi all" })).await;
    let message = result(&house, &group).await;
    assert_eq!((message["from"].as_str(), message["chat"].as_str()), (Some(BOB), Some(GROUP)));
    house.post("/sandbox/messages", json!({ "from": ADA, "chat": GROUP, "text": "later" })).await;
    assert_eq!(result(&house, &later).await["chat"], GROUP);
    assert!(heard(&house, "heard").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_when_the_time_is_over() {
    let house = House::open(&[LISTEN, HEARD, NAP]).await;
    let run = waits(&house, json!({ "from": ADA, "timeout": "10m" })).await;
    let longer = waits(&house, json!({ "from": ADA, "timeout": "20m" })).await;
    let shown = house.get(&format!("/runs/{run}")).await;
    assert_eq!(shown["waiting_for"]["until"], "2026-11-20T07:10:00.000Z");
    pass(&house, 9).await;
    let house = house.crash().await;
    is_waiting(&house, &run).await;
    pass(&house, 1).await;
    assert_eq!(result(&house, &run).await, Value::Null);
    // Whoever gave up is in nobody's way.
    writes(&house, ADA, "a").await;
    writes(&house, ADA, "b").await;
    assert_eq!(got(&house, &longer).await, "a");
    assert_eq!(heard(&house, "heard").await, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cancelled_hears_nothing() {
    let house = House::open(&[LISTEN, HEARD]).await;
    let first = waits(&house, json!({ "from": ADA })).await;
    let second = waits(&house, json!({ "from": ADA })).await;
    house.post(&format!("/runs/{first}/cancel"), json!({})).await;
    writes(&house, ADA, "a").await;
    writes(&house, ADA, "b").await;
    assert_eq!(got(&house, &second).await, "a");
    assert_eq!(heard(&house, "heard").await, ["b"]);
    assert_eq!(house.run_is(&first, "cancelled").await["entries"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_wait_each_for_its_own_word() {
    let house = House::open(&[LISTEN, HEARD]).await;
    let mut runs = Vec::new();
    for number in 0..150 {
        runs.push(waits(&house, json!({ "text": format!("^code {number}$") })).await);
    }
    for number in [149, 0, 120, 75] {
        writes(&house, ADA, &format!("code {number}")).await;
        assert_eq!(heard(&house, "heard").await, [] as [&str; 0], "run {number} waits for just this");
        assert_eq!(got(&house, &runs[number]).await, format!("code {number}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_waited_for_by_either_address() {
    let house = House::open(&[DOOR, LISTEN, HEARD]).await;
    let phone = waits(&house, json!({ "from": ADA })).await;
    let lid = waits(&house, json!({ "from": LID })).await;
    told(&house, json!({ "id": "A1", "from": LID, "also": ADA, "text": "a" })).await;
    told(&house, json!({ "id": "A2", "from": ADA, "text": "b" })).await;
    assert_eq!(got(&house, &phone).await, "a");
    assert_eq!(got(&house, &lid).await, "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talk_of_several_messages_survives_a_crash_at_each() {
    let flow = r#"
triggers:
  - message: { text: "^list" }
run: |
  let items = [];
  loop {
    let said = wait_for_message(#{ from: event.from, timeout: "1h" });
    if said == () || said.text == "done" { break; }
    items.push(said.text);
  }
  items
"#;
    let mut house = House::open(&[DOOR, ("flows/list.yaml", flow)]).await;
    told(&house, json!({ "id": "A0", "from": ADA, "text": "list please" })).await;
    let run = house.runs_of("list").await[0]["id"].as_str().unwrap().to_owned();
    for (count, text) in ["milk", "bread", "list of films", "done"].into_iter().enumerate() {
        crate::support::until("the run to listen again", async || {
            let run = house.get(&format!("/runs/{run}")).await;
            let asked = run["entries"].as_array().unwrap().len() == count && run["state"] == "waiting";
            (asked && run["waiting_for"]["kind"] == "reply").then_some(())
        })
        .await;
        house = house.crash().await;
        told(&house, json!({ "id": text, "from": ADA, "text": text })).await;
        house = house.crash().await;
    }
    assert_eq!(result(&house, &run).await, json!(["milk", "bread", "list of films"]));
    assert_eq!(house.runs_of("list").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_at_the_line() {
    let house = House::open(&[LISTEN]).await;
    for (options, part) in [
        (json!({ "from": [ADA, BOB] }), "array"),
        (json!({ "from": "nobody at all" }), "nobody at all"),
        (json!({ "text": "(order" }), "text"),
        (json!({ "text": 7 }), "text"),
        (json!({ "timeout": "soon" }), "timeout"),
        (json!({ "form": ADA }), "did you mean `from`?"),
        (json!({ "account": "sandbux" }), "did you mean `sandbox`?"),
    ] {
        let run = house.trigger("listen", options.clone()).await;
        let run = house.run_is(&run, "failed").await;
        assert_eq!(run["error"]["line"], 4, "{options}: {run}");
        let message = run["error"]["message"].as_str().unwrap();
        assert!(message.contains("wait_for_message") && message.contains(part), "{options}: {message}");
    }
}
