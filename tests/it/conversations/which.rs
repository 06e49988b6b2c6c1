//! Which question a message answers: the one that is open, unless it says another one, or is older.

use std::time::Duration;

use postrider::clock::Clock as _;
use serde_json::{Value, json};

use super::ask::{
    ADA, ASK, BOB, DOOR, HEARD, NAP, asked, asks, heard, messages_of, on_phone, pass, result, said, told,
};
use crate::support::engine::House;
use crate::support::gateway::{Gateway, Say};
use crate::support::until;

/// The gateway's id of a run's last message.
async fn id_of(house: &House, run: &str) -> Value {
    messages_of(house, run).await.pop().unwrap()["provider_id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_to_a_question_that_is_closed_approves_no_other_one() {
    for choices in [json!(["Yes", "No"]), json!([])] {
        let house = House::open(&[DOOR, ASK, NAP, HEARD]).await;
        let options = |timeout: &str| match choices.as_array().unwrap().is_empty() {
            true => json!({ "timeout": timeout }),
            false => json!({ "timeout": timeout, "choices": choices }),
        };
        let small = asked(&house, ADA, "Pay 100?", options("1h")).await;
        let old = id_of(&house, &small).await;
        pass(&house, 60).await;
        assert_eq!(result(&house, &small).await, Value::Null);
        let large = asked(&house, ADA, "Pay 9000?", options("1h")).await;
        told(&house, json!({ "id": "A1", "from": ADA, "text": "yes", "reply_to": old })).await;
        assert_eq!(heard(&house, "heard").await, ["yes"], "{choices}");
        house.run_is(&large, "waiting").await;
        assert_eq!(messages_of(&house, &large).await.len(), 1, "it is not asked once more either");
        // What quotes anything else, or nothing, is an answer as before.
        told(&house, json!({ "id": "A2", "from": ADA, "text": "no", "reply_to": "SOMETHING" })).await;
        assert_eq!(result(&house, &large).await["text"], "no", "{choices}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_impatient_second_yes_approves_no_other_one() {
    let house = House::open(&[DOOR, ASK, HEARD]).await;
    let now = |house: &House| house.clock.now();
    told(&house, json!({ "id": "A0", "from": ADA, "text": "hello", "at": now(&house).to_string() })).await;
    let first = asked(&house, ADA, "Pay 100?", json!({})).await;
    let second = asks(&house, ADA, "Pay 9000?", json!({})).await;
    house.pass(Duration::from_secs(60));
    let typed = now(&house);
    house.pass(Duration::from_secs(5));
    told(&house, json!({ "id": "A1", "from": ADA, "text": "yes", "at": typed.to_string() })).await;
    assert_eq!(result(&house, &first).await["text"], "yes");
    said(&house, &second, 1).await;
    // Typed right after the other, and told late.
    told(&house, json!({ "id": "A2", "from": ADA, "text": "yes!", "at": typed.to_string() })).await;
    assert_eq!(heard(&house, "heard").await, ["hello", "yes!"]);
    house.run_is(&second, "waiting").await;
    told(&house, json!({ "id": "A3", "from": ADA, "text": "never", "at": now(&house).to_string() })).await;
    assert_eq!(result(&house, &second).await["text"], "never");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_clock_is_behind_is_understood() {
    let house = House::open(&[DOOR, ASK, HEARD]).await;
    for (number, text) in ["hello", "one", "two", "three"].into_iter().enumerate() {
        let run = match number {
            0 => None,
            _ => Some(asked(&house, ADA, "Ok?", json!({})).await),
        };
        let at = house.clock.now() - Duration::from_secs(200);
        told(&house, json!({ "id": text, "from": ADA, "text": text, "at": at.to_string() })).await;
        if let Some(run) = run {
            assert_eq!(result(&house, &run).await["text"], text);
        }
        house.pass(Duration::from_secs(20));
    }
    // Set right, it is believed from then on.
    told(&house, json!({ "id": "right", "from": BOB, "text": "right", "at": house.clock.now().to_string() })).await;
    let run = asked(&house, ADA, "Ok?", json!({})).await;
    let at = house.clock.now() - Duration::from_secs(100);
    told(&house, json!({ "id": "old", "from": ADA, "text": "old", "at": at.to_string() })).await;
    house.run_is(&run, "waiting").await;
    assert_eq!(heard(&house, "heard").await, ["hello", "old", "right"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_to_ask_says_so() {
    let house = House::open(&[ASK]).await;
    let first = asked(&house, ADA, "One?", json!({})).await;
    let second = asks(&house, ADA, "Two?", json!({})).await;
    let detail = async |run: &str| house.get(&format!("/runs/{run}")).await["waiting_for"]["detail"].clone();
    assert_eq!(detail(&first).await, "the answer of +15417543010 to: One?");
    assert_eq!(detail(&second).await, "the end of another question to +15417543010, before it asks: Two?");
    house.post(&format!("/runs/{first}/cancel"), json!({})).await;
    said(&house, &second, 1).await;
    assert_eq!(detail(&second).await, "the answer of +15417543010 to: Two?");
}

/// `main` cannot send, and falls back to `other`, a sandbox.
async fn broken() -> (House, Gateway) {
    let gateway = Gateway::with(|_, _| Say::No(401, "AUTHENTICATION_ERROR", None)).await;
    let settings = format!(
        "default_account: main\naccounts:\n  main: {{ transport: gowa, url: \"http://{}\", pace: unlimited, \
         fallback: other }}\n  other: {{ transport: sandbox }}\n",
        gateway.address
    );
    (House::open(&[("postrider.yaml", &settings), ASK, NAP]).await, gateway)
}

/// Time passes until a run's question has arrived by the other account.
async fn arrives(house: &House, run: &str) {
    until("the question by the other account", async || {
        house.pass(Duration::from_secs(5));
        let message = messages_of(house, run).await.pop()?;
        (message["account"] == "other" && message["state"] == "delivered").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_is_open_in_a_chat_also_when_it_goes_another_way() {
    let (house, _gateway) = broken().await;
    let first = asks(&house, ADA, "One?", json!({})).await;
    arrives(&house, &first).await;
    // Asked by the account that cannot send, in the chat from which the first one has gone.
    let second = asks(&house, ADA, "Two?", json!({})).await;
    house.pass(Duration::from_secs(600));
    assert!(messages_of(&house, &second).await.is_empty(), "its turn has not come");
    house.post("/sandbox/messages", json!({ "account": "other", "from": ADA, "text": "one" })).await;
    assert_eq!(result(&house, &first).await["text"], "one");
    arrives(&house, &second).await;
    assert_eq!(on_phone(&house, ADA).await, ["Two?", "One?"], "newest first");
    house.post("/sandbox/messages", json!({ "account": "other", "from": ADA, "text": "two" })).await;
    assert_eq!(result(&house, &second).await["text"], "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_goes_no_way_on_which_another_one_is_open() {
    let (house, _gateway) = broken().await;
    let there = asked(&house, ADA, "There?", json!({ "account": "other" })).await;
    let here = asks(&house, ADA, "Here?", json!({})).await;
    // Somebody else's moves, so this one could have moved too.
    let other = asks(&house, BOB, "Bob?", json!({})).await;
    arrives(&house, &other).await;
    house.pass(Duration::from_secs(600));
    assert_eq!(messages_of(&house, &here).await[0]["account"], "main");
    assert_eq!(on_phone(&house, ADA).await, ["There?"]);
    house.post("/sandbox/messages", json!({ "account": "other", "from": ADA, "text": "there" })).await;
    assert_eq!(result(&house, &there).await["text"], "there");
    arrives(&house, &here).await;
    house.post("/sandbox/messages", json!({ "account": "other", "from": ADA, "text": "here" })).await;
    assert_eq!(result(&house, &here).await["text"], "here");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_button_says_nothing_about_the_same_question_asked_anew() {
    let flow = "run: |\n  let all = [];\n  for n in 0..2 { all.push(ask(\"+15417543010\", \"Pay?\", #{ choices: [\"Yes\", \"No\"] }).choice); }\n  all\n";
    let house = House::open(&[DOOR, ("flows/f.yaml", flow), HEARD]).await;
    let run = house.trigger("f", Value::Null).await;
    said(&house, &run, 1).await;
    let first = id_of(&house, &run).await;
    told(&house, json!({ "id": "A1", "from": ADA, "text": "Yes", "reply_to": first })).await;
    until("the second question", async || (messages_of(&house, &run).await.len() == 2).then_some(())).await;
    said(&house, &run, 2).await;
    told(&house, json!({ "id": "A2", "from": ADA, "text": "Yes", "reply_to": first })).await;
    assert_eq!(heard(&house, "heard").await, ["Yes"]);
    told(&house, json!({ "id": "A3", "from": ADA, "text": "No" })).await;
    assert_eq!(result(&house, &run).await, json!(["Yes", "No"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_the_question_itself_needs_no_clock() {
    let house = House::open(&[DOOR, ASK, HEARD]).await;
    let now = house.clock.now();
    told(&house, json!({ "id": "A0", "from": ADA, "text": "hello", "at": now.to_string() })).await;
    let run = asked(&house, ADA, "Ok?", json!({})).await;
    let (id, long_ago) = (id_of(&house, &run).await, now - Duration::from_secs(30));
    told(&house, json!({ "id": "A1", "from": ADA, "text": "no quote", "at": long_ago.to_string() })).await;
    house.run_is(&run, "waiting").await;
    told(&house, json!({ "id": "A2", "from": ADA, "text": "yes", "at": long_ago.to_string(), "reply_to": id })).await;
    assert_eq!(result(&house, &run).await["text"], "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_more_on_the_other_way_leaves_the_chat_to_the_next_question() {
    let gateway = Gateway::with(|_, _| Say::No(401, "AUTHENTICATION_ERROR", None)).await;
    let settings = format!(
        "default_account: main\naccounts:\n  main: {{ transport: gowa, url: \"http://{}\", pace: unlimited, \
         fallback: other }}\n  other: {{ transport: sandbox, opt_out: {{ words: [stop] }} }}\n",
        gateway.address
    );
    let house = House::open(&[("postrider.yaml", &settings), ASK, NAP]).await;
    let first = asks(&house, ADA, "One?", json!({})).await;
    arrives(&house, &first).await;
    let second = asks(&house, ADA, "Two?", json!({})).await;
    house.post("/sandbox/messages", json!({ "account": "other", "from": ADA, "text": "stop" })).await;
    assert_eq!(house.run_is(&first, "failed").await["error"]["kind"], "opted_out");
    // It goes out by the account that it was asked by, as soon as that can send.
    gateway.now_says(|_, _| Say::Yes);
    until("the second question", async || {
        house.pass(Duration::from_secs(30));
        let message = messages_of(&house, &second).await.pop()?;
        (message["account"] == "main" && message["state"] == "sent").then_some(())
    })
    .await;
}
