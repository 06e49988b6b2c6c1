//! The limits of a question: its time, which runs from when the gateway has it; its chat, in which it is
//! alone; its message, which may not arrive; and the engine, which may die.

use std::time::Duration;

use jiff::Timestamp;
use postrider::clock::Clock;
use serde_json::{Value, json};

use super::ask::{
    ADA, ASK, BOB, DOOR, HEARD, NAP, asked, asks, heard, messages_of, on_phone, pass, result, said, told, writes,
};
use crate::gateways::fake;
use crate::inbound::Ear;
use crate::support::engine::House;
use crate::support::gateway::{Gateway, Say};
use crate::support::until;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Nothing goes out before nine; tests begin at seven.
const QUIET: (&str, &str) = (
    "postrider.yaml",
    "timezone: UTC\naccounts: { sandbox: { transport: sandbox, pace: { quiet: \"06:00-09:00\" } } }\n",
);
/// A flow that gives back why it got no answer.
const CAUGHT: (&str, &str) = (
    "flows/caught.yaml",
    "run: |
  let kind = \"answered\";
  try { ask(\"+15417543010\", \"Ok?\"); } catch (e) { kind = e.kind; }
  kind
",
);

/// Until when a run waits, as far as it is known; checks that it does wait.
async fn ends_at(house: &House, run: &str) -> Option<Timestamp> {
    let run = house.get(&format!("/runs/{run}")).await;
    assert_eq!(run["state"], "waiting", "{run}");
    run["waiting_for"]["until"].as_str().map(|at| at.parse().unwrap())
}

/// The engine dies, time passes, and it starts again.
async fn down_for(house: House, span: Duration) -> House {
    let (folder, clock) = house.down().await;
    clock.advance(span);
    House::again(folder, clock).await
}

/// The one message of a run, once it is out, or in doubt because the engine died over it.
async fn out_or_in_doubt(house: &House, run: &str) {
    until("the question to be out or in doubt", async || {
        let messages = messages_of(house, run).await;
        let out = messages.len() == 1 && (messages[0]["state"] == "delivered" || messages[0]["state"] == "unknown");
        out.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_comes_once_and_then_the_time_runs_out() {
    let house = House::open(&[ASK, NAP, HEARD]).await;
    let run = asked(&house, ADA, "Ok?", json!({ "timeout": "1h", "remind": "20m" })).await;
    let prompt = asked(&house, BOB, "Ok?", json!({ "timeout": "1h", "remind": "20m" })).await;
    pass(&house, 19).await;
    assert_eq!(messages_of(&house, &run).await.len(), 1);
    // Who has answered is not reminded.
    writes(&house, BOB, "yes").await;
    result(&house, &prompt).await;
    pass(&house, 1).await;
    let messages = said(&house, &run, 2).await;
    assert_eq!(messages[1]["to"], ADA);
    assert!(messages[1]["body"]["text"].as_str().unwrap().contains("Ok?"), "{}", messages[1]);
    let house = house.crash().await;
    pass(&house, 39).await;
    assert_eq!(ends_at(&house, &run).await, Some(house.clock.now() + MINUTE));
    pass(&house, 1).await;
    assert_eq!(result(&house, &run).await, Value::Null);
    assert_eq!((messages_of(&house, &run).await.len(), messages_of(&house, &prompt).await.len()), (2, 1));
    // Too late is no answer.
    writes(&house, ADA, "yes").await;
    assert_eq!(heard(&house, "heard").await, ["yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_due_while_the_engine_was_down_is_done_at_its_start() {
    let house = House::open(&[ASK, NAP]).await;
    let run = asked(&house, ADA, "Ok?", json!({ "timeout": "1h", "remind": "20m" })).await;
    let house = down_for(house, 30 * MINUTE).await;
    said(&house, &run, 2).await;
    let house = down_for(house, 20 * MINUTE).await;
    pass(&house, 9).await;
    assert!(ends_at(&house, &run).await.is_some());
    pass(&house, 1).await;
    assert_eq!(result(&house, &run).await, Value::Null);
    assert_eq!(messages_of(&house, &run).await.len(), 2);
    // When all of its time has passed nobody is reminded of anything.
    let run = asked(&house, ADA, "Now?", json!({ "timeout": "1h", "remind": "20m" })).await;
    let house = down_for(house, 2 * HOUR).await;
    assert_eq!(result(&house, &run).await, Value::Null);
    assert_eq!(messages_of(&house, &run).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_hours_take_no_time_from_a_question_and_give_no_answer() {
    let house = House::open(&[QUIET, ASK, NAP, HEARD]).await;
    let run = asks(&house, ADA, "Ok?", json!({ "timeout": "10m" })).await;
    pass(&house, 60).await;
    assert_eq!(ends_at(&house, &run).await, None);
    assert_eq!(messages_of(&house, &run).await[0]["state"], "queued");
    writes(&house, ADA, "before it left").await;
    assert_eq!(heard(&house, "heard").await, ["before it left"]);
    house.pass(HOUR);
    said(&house, &run, 1).await;
    assert_eq!(ends_at(&house, &run).await, Some(house.clock.now() + 10 * MINUTE));
    pass(&house, 9).await;
    assert!(ends_at(&house, &run).await.is_some());
    pass(&house, 1).await;
    assert_eq!(result(&house, &run).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pace_takes_no_time_from_a_question() {
    let settings = "accounts: { sandbox: { transport: sandbox, pace: { rate: 1/h, burst: 1 } } }\n";
    let house = House::open(&[("postrider.yaml", settings), ASK, NAP]).await;
    house.post("/messages", json!({ "to": BOB, "text": "first" })).await;
    house.messages_are(1, "delivered").await;
    let run = asks(&house, ADA, "Ok?", json!({ "timeout": "10m", "remind": "5m" })).await;
    pass(&house, 30).await;
    assert_eq!(ends_at(&house, &run).await, None);
    house.pass(31 * MINUTE);
    said(&house, &run, 1).await;
    assert_eq!(ends_at(&house, &run).await, Some(house.clock.now() + 5 * MINUTE), "the next thing is the reminder");
    writes(&house, ADA, "yes").await;
    assert_eq!(result(&house, &run).await["text"], "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_takes_no_time_from_a_question_and_a_day_is_what_it_usually_has() {
    let gateway = Gateway::with(|_, _| Say::No(401, "AUTHENTICATION_ERROR", None)).await;
    let settings = gateway.settings("pace: unlimited");
    let house = House::open(&[("postrider.yaml", &settings), ASK, NAP]).await;
    let run = asks(&house, ADA, "Ok?", json!({})).await;
    until("the pause", async || (house.get("/accounts").await["accounts"][0]["state"] == "paused").then_some(())).await;
    pass(&house, 25 * 60).await;
    assert_eq!(ends_at(&house, &run).await, None);
    gateway.now_says(|_, _| Say::Yes);
    until("the question to go out", async || {
        house.pass(MINUTE);
        (messages_of(&house, &run).await[0]["state"] == "sent").then_some(())
    })
    .await;
    let left = ends_at(&house, &run).await.unwrap().duration_since(house.clock.now());
    assert!((23..=24).contains(&left.as_hours()), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_the_gateway_refuses_throws() {
    let gateway = Gateway::with(|_, _| Say::No(400, "INVALID_JID", None)).await;
    let settings = gateway.settings("pace: unlimited, retry: { attempts: 2, first: 1s, max: 1s }");
    let house = House::open(&[("postrider.yaml", &settings), CAUGHT]).await;
    let run = house.trigger("caught", Value::Null).await;
    assert_eq!(result(&house, &run).await, "undeliverable");
    assert_eq!(messages_of(&house, &run).await[0]["state"], "rejected");
    // One whose tries are used up is as good as refused.
    gateway.now_says(|_, _| Say::No(503, "DEVICE_MANAGER_UNAVAILABLE", None));
    let run = house.trigger("caught", Value::Null).await;
    until("the first try", async || {
        let messages = messages_of(&house, &run).await;
        let tried = messages.first()?["attempts"].as_array().unwrap().len() == 1;
        (tried && messages[0]["state"] == "queued").then_some(())
    })
    .await;
    house.run_is(&run, "waiting").await;
    house.pass(Duration::from_secs(1));
    assert_eq!(result(&house, &run).await, "undeliverable");
    assert_eq!(messages_of(&house, &run).await[0]["state"], "dead");
    // Nobody is in the way of the next one.
    gateway.now_says(|_, _| Say::Yes);
    let run = house.trigger("caught", Value::Null).await;
    until("the next question", async || {
        let messages = messages_of(&house, &run).await;
        (messages.first()?["state"] == "sent").then_some(())
    })
    .await;
    house.run_is(&run, "waiting").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_fails_after_all_throws() {
    let ear = Ear::with(fake::meta::DIALECT, &[CAUGHT]).await;
    let run = ear.house.trigger("caught", Value::Null).await;
    let message = until("the question at the gateway", async || {
        let message = messages_of(&ear.house, &run).await.pop()?;
        (message["state"] == "accepted" || message["state"] == "sent").then_some(message)
    })
    .await;
    let error = json!({ "code": 131026, "title": "Message undeliverable", "message": "Message undeliverable" });
    let status = json!({ "id": message["provider_id"], "status": "failed", "timestamp": "1795158001",
        "recipient_id": "15417543010", "errors": [error] });
    let metadata = json!({ "display_phone_number": "15550783881", "phone_number_id": "106540352242922" });
    let value = json!({ "messaging_product": "whatsapp", "metadata": metadata, "statuses": [status] });
    let changes = json!([{ "field": "messages", "value": value }]);
    let event =
        json!({ "object": "whatsapp_business_account", "entry": [{ "id": "102290129340398", "changes": changes }] });
    assert_eq!(ear.tell(&event).await, 200);
    assert_eq!(result(&ear.house, &run).await, "undeliverable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_a_person_takes_back_throws_and_the_next_one_goes_out() {
    let house = House::open(&[QUIET, ASK]).await;
    let (first, second) = (asks(&house, ADA, "One?", json!({})).await, asks(&house, ADA, "Two?", json!({})).await);
    let question = messages_of(&house, &first).await.remove(0);
    house.post(&format!("/messages/{}/cancel", question["id"].as_str().unwrap()), json!({})).await;
    let run = house.run_is(&first, "failed").await;
    assert_eq!((run["error"]["kind"].as_str(), run["error"]["line"].as_u64()), (Some("undeliverable"), Some(2)));
    house.pass(2 * HOUR);
    said(&house, &second, 1).await;
    assert_eq!(on_phone(&house, ADA).await, ["Two?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_at_a_time_is_open_in_a_chat() {
    let house = House::open(&[ASK, NAP]).await;
    let first = asked(&house, ADA, "One?", json!({})).await;
    let second = asks(&house, ADA, "Two?", json!({ "timeout": "10m" })).await;
    let third = asks(&house, ADA, "Three?", json!({ "timeout": "10m" })).await;
    let fourth = asks(&house, ADA, "Four?", json!({})).await;
    // Others are not held up.
    let other = asked(&house, BOB, "Five?", json!({})).await;
    pass(&house, 30).await;
    assert_eq!(on_phone(&house, ADA).await, ["One?"]);
    writes(&house, BOB, "five").await;
    assert_eq!(result(&house, &other).await["text"], "five");
    for run in [&second, &third, &fourth] {
        assert_eq!(messages_of(&house, run).await, [] as [Value; 0]);
        assert_eq!(ends_at(&house, run).await, None, "its time has not begun");
    }
    // Answered, run out of time, taken back: each lets the next one out.
    writes(&house, ADA, "one").await;
    assert_eq!(result(&house, &first).await["text"], "one");
    said(&house, &second, 1).await;
    let house = house.crash().await;
    assert!(messages_of(&house, &third).await.is_empty());
    pass(&house, 10).await;
    assert_eq!(result(&house, &second).await, Value::Null);
    said(&house, &third, 1).await;
    assert!(messages_of(&house, &fourth).await.is_empty());
    assert_eq!(house.post(&format!("/runs/{third}/cancel"), json!({})).await["state"], "cancelled");
    said(&house, &fourth, 1).await;
    writes(&house, ADA, "four").await;
    assert_eq!(result(&house, &fourth).await["text"], "four");
    let mut shown = on_phone(&house, ADA).await;
    shown.sort();
    assert_eq!(shown, ["Four?", "One?", "Three?", "Two?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_goes_another_way_leaves_its_chat_to_the_next_one() {
    let gateway = Gateway::with(|_, _| Say::No(401, "AUTHENTICATION_ERROR", None)).await;
    let settings = format!(
        "default_account: main\naccounts:\n  main: {{ transport: gowa, url: \"http://{}\", pace: unlimited, \
         fallback: other }}\n  other: {{ transport: sandbox }}\n",
        gateway.address
    );
    let house = House::open(&[("postrider.yaml", &settings), ASK]).await;
    let (first, second) = (asks(&house, ADA, "One?", json!({})).await, asks(&house, ADA, "Two?", json!({})).await);
    let arrives = async |run: &str| {
        until("the question by the other account", async || {
            house.pass(Duration::from_secs(5));
            let message = messages_of(&house, run).await.pop()?;
            (message["account"] == "other" && message["state"] == "delivered").then_some(())
        })
        .await;
    };
    arrives(&first).await;
    assert_eq!(on_phone(&house, ADA).await, ["One?"]);
    writes(&house, ADA, "one").await;
    assert_eq!(result(&house, &first).await["text"], "one");
    arrives(&second).await;
    writes(&house, ADA, "two").await;
    assert_eq!(result(&house, &second).await["text"], "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_cancelled_with_its_run_never_goes_out() {
    let house = House::open(&[QUIET, ASK]).await;
    let first = asks(&house, ADA, "One?", json!({})).await;
    let second = asks(&house, ADA, "Two?", json!({})).await;
    let third = asks(&house, ADA, "Three?", json!({})).await;
    // One whose turn has not come, and then the one whose turn it is.
    for run in [&second, &first] {
        assert_eq!(house.post(&format!("/runs/{run}/cancel"), json!({})).await["state"], "cancelled");
    }
    assert_eq!(messages_of(&house, &first).await[0]["state"], "cancelled");
    assert!(messages_of(&house, &second).await.is_empty());
    assert_eq!(messages_of(&house, &third).await[0]["state"], "queued");
    house.pass(2 * HOUR);
    said(&house, &third, 1).await;
    assert_eq!(on_phone(&house, ADA).await, ["Three?"]);
    writes(&house, ADA, "three").await;
    assert_eq!(result(&house, &third).await["text"], "three");
    let (status, _) = house.api(reqwest::Method::POST, &format!("/runs/{first}/cancel"), None).await;
    assert_eq!(status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_question_reminder_repetition_and_answer_keeps_all() {
    for death in 0..7 {
        let dies = async |house: House, step: usize| if step == death { house.crash().await } else { house };
        let house = House::open(&[DOOR, ASK, NAP, HEARD]).await;
        let options = json!({ "choices": ["Yes", "No"], "timeout": "1h", "remind": "20m" });
        let first = asked(&house, ADA, "Ok?", options).await;
        let second = asks(&house, ADA, "Next?", json!({})).await;
        let house = dies(house, 0).await;
        pass(&house, 20).await;
        said(&house, &first, 2).await;
        let house = dies(house, 1).await;
        pass(&house, 1).await;
        told(&house, json!({ "id": "A1", "from": ADA, "text": "hm" })).await;
        said(&house, &first, 3).await;
        let house = dies(house, 2).await;
        assert!(messages_of(&house, &second).await.is_empty(), "{death}");
        told(&house, json!({ "id": "A2", "from": ADA, "text": "yes" })).await;
        // The answer is on record; nobody may have read it yet.
        let house = dies(house, 3).await;
        assert_eq!(result(&house, &first).await["choice"], "Yes", "{death}");
        let house = dies(house, 4).await;
        out_or_in_doubt(&house, &second).await;
        let house = dies(house, 5).await;
        told(&house, json!({ "id": "A2", "from": ADA, "text": "yes" })).await;
        told(&house, json!({ "id": "A3", "from": ADA, "text": "later" })).await;
        let house = dies(house, 6).await;
        assert_eq!(result(&house, &second).await["text"], "later", "{death}");
        let counts = (messages_of(&house, &first).await.len(), messages_of(&house, &second).await.len());
        assert_eq!(counts, (3, 1), "{death}");
        assert!(heard(&house, "heard").await.is_empty(), "{death}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_as_soon_as_a_question_is_on_record_loses_nothing() {
    for _ in 0..5 {
        let house = House::open(&[ASK, NAP]).await;
        let run = asks(&house, ADA, "Ok?", json!({ "timeout": "1h" })).await;
        let silent = asks(&house, BOB, "Ok?", json!({ "timeout": "1h" })).await;
        let house = house.crash().await;
        for run in [&run, &silent] {
            out_or_in_doubt(&house, run).await;
        }
        writes(&house, ADA, "yes").await;
        assert_eq!(result(&house, &run).await["text"], "yes");
        pass(&house, 60).await;
        assert_eq!(result(&house, &silent).await, Value::Null);
    }
}
