//! Questions with choices: as buttons, lists and polls where the gateway has them, and their answers.

use serde_json::{Value, json};

use super::said::{self, NOW, PERSON, PHONE};
use super::{Ear, text_of};
use crate::gateways::fake::{self, Dialect};
use crate::support::until;

/// WAHA with an engine that hears votes.
const GOWS: Dialect =
    Dialect { settings: "api_key: \"k3y/+waha=one\"\nsession: shop\nengine: gows", ..fake::waha::DIALECT };

fn flow(choices: &Value) -> String {
    format!("run: |\n  ask(\"+15417543010\", \"Ship it?\", #{{ choices: {choices} }})\n")
}

/// Asks; gives the run and the question's request as the gateway got it, once its answer is on record.
async fn asked(ear: &Ear) -> (String, Value, String) {
    let run = ear.house.trigger("ask", Value::Null).await;
    let request = until("the question at the gateway", async || ear.fake.take().pop()).await;
    let id = until("the question to be out", async || {
        let messages = ear.house.get(&format!("/messages?run={run}")).await;
        messages["messages"][0]["provider_id"].as_str().map(str::to_owned)
    })
    .await;
    (run, serde_json::from_slice(&request.body).unwrap(), id)
}

async fn answered(ear: &Ear, run: &str, choice: &str) {
    let run = ear.house.run_is(run, "succeeded").await;
    assert_eq!((&run["result"]["choice"], &run["result"]["from"]), (&json!(choice), &json!(PHONE)), "{run}");
}

/// What a person pressed on Meta.
fn pressed(id: &str, kind: &str, question: &str, title: &str) -> Value {
    let message = json!({ "from": PERSON, "id": id, "timestamp": NOW.to_string(), "type": "interactive",
        "context": { "from": "15550783881", "id": question },
        "interactive": { "type": kind, kind: { "id": "1", "title": title } } });
    said::meta(json!({ "contacts": [{ "profile": { "name": "Ada" }, "wa_id": PERSON }], "messages": [message] }))
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_has_buttons_for_few_and_a_list_for_more() {
    let few = flow(&json!(["Yes", "No", "Tomorrow"]));
    let ear = Ear::with(fake::meta::DIALECT, &[("flows/ask.yaml", &few)]).await;
    let (run, request, id) = asked(&ear).await;
    let interactive = &request["interactive"];
    assert_eq!((&interactive["type"], &interactive["body"]["text"]), (&json!("button"), &json!("Ship it?")));
    let titles: Vec<_> =
        interactive["action"]["buttons"].as_array().unwrap().iter().map(|b| &b["reply"]["title"]).collect();
    assert_eq!(titles, ["Yes", "No", "Tomorrow"]);
    assert_eq!(ear.tell(&pressed("wamid.P1", "button_reply", &id, "Tomorrow")).await, 200);
    answered(&ear, &run, "Tomorrow").await;
    let many = flow(&json!(["Mon", "Tue", "Wed", "Thu"]));
    let ear = Ear::with(fake::meta::DIALECT, &[("flows/ask.yaml", &many)]).await;
    let (run, request, id) = asked(&ear).await;
    assert_eq!(request["interactive"]["type"], "list");
    let rows = request["interactive"]["action"]["sections"][0]["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| text_of(row, "title")).collect::<Vec<_>>(), ["Mon", "Tue", "Wed", "Thu"]);
    // Who types is understood too.
    let typed =
        said::meta_message("wamid.T1", json!({ "type": "text", "text": { "body": "3" }, "context": { "id": id } }));
    assert_eq!(ear.tell(&typed).await, 200);
    answered(&ear, &run, "Wed").await;
    // What is too long for either is a text with numbers.
    let long = flow(&json!(["Yes, please send it on Monday morning", "No"]));
    let ear = Ear::with(fake::meta::DIALECT, &[("flows/ask.yaml", &long)]).await;
    let (run, request, _) = asked(&ear).await;
    assert_eq!(request["text"]["body"], "Ship it?\n1. Yes, please send it on Monday morning\n2. No");
    let typed = said::meta_message("wamid.T2", json!({ "type": "text", "text": { "body": "No." } }));
    assert_eq!(ear.tell(&typed).await, 200);
    answered(&ear, &run, "No").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waha_has_polls_and_hears_votes() {
    let choices = flow(&json!(["Yes", "No"]));
    let ear = Ear::with(GOWS, &[("flows/ask.yaml", &choices)]).await;
    let (run, request, id) = asked(&ear).await;
    assert_eq!(request["poll"], json!({ "name": "Ship it?", "options": ["Yes", "No"], "multipleAnswers": false }));
    let vote = json!({ "id": "false_15417543010@c.us_VOTE", "to": "me", "from": "15417543010@c.us", "fromMe": false,
        "selectedOptions": ["No"], "timestamp": 1_795_158_000_123_i64 });
    let poll = json!({ "id": id, "to": "15417543010@c.us", "from": "me", "fromMe": true });
    assert_eq!(ear.tell(&said::waha("waha", "poll.vote", json!({ "vote": vote, "poll": poll }))).await, 200);
    answered(&ear, &run, "No").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_votes_of_one_moment_are_two() {
    let choices = flow(&json!(["Yes", "No"])).replace("+15417543010", said::GROUP);
    let heard = ("flows/echo.yaml", "triggers:\n  - message: { chats: all }\nrun: event\n");
    let ear = Ear::with(GOWS, &[("flows/ask.yaml", &choices), heard]).await;
    let (run, _, id) = asked(&ear).await;
    let poll = json!({ "id": id, "to": said::GROUP, "from": "me", "fromMe": true });
    // An engine that gives every vote the poll's id.
    for person in ["15417543010@c.us", "15417543011@c.us"] {
        let vote = json!({ "id": id, "to": said::GROUP, "from": said::GROUP, "participant": person, "fromMe": false,
            "selectedOptions": ["No"], "timestamp": 1_795_158_000_123_i64 });
        let event = said::waha("waha", "poll.vote", json!({ "vote": vote, "poll": poll }));
        for _ in 0..2 {
            assert_eq!(ear.tell(&event).await, 200);
        }
    }
    let run = ear.house.run_is(&run, "succeeded").await;
    assert_eq!(run["result"]["from"], PHONE, "{run}");
    // The other's vote is told to the triggers, once.
    let others = until("the other's vote", async || {
        let runs = ear.house.runs_of("echo").await;
        (!runs.is_empty()).then_some(runs)
    })
    .await;
    let [other] = others.as_slice() else { panic!("{others:?}") };
    let other = ear.house.run_is(text_of(other, "id"), "succeeded").await;
    assert_eq!(other["result"]["from"], "+15417543011");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_them_gets_numbers() {
    let choices = flow(&json!(["Yes", "No"]));
    let ear = Ear::with(fake::gowa::DIALECT, &[("flows/ask.yaml", &choices)]).await;
    let (run, request, _) = asked(&ear).await;
    assert_eq!(request["message"], "Ship it?\n1. Yes\n2. No");
    let message = ear.house.get(&format!("/messages?run={run}")).await["messages"][0].clone();
    assert_eq!(message["degraded"], json!([]), "words are what was asked for: {message}");
    assert_eq!(ear.tell(&said::gowa_message("A1", json!({ "body": "2" }))).await, 200);
    answered(&ear, &run, "No").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_that_is_pressed_twice_answers_one_question() {
    let ear = Ear::with(fake::meta::DIALECT, &[("flows/ask.yaml", &flow(&json!(["Yes", "No"])))]).await;
    let (small, _, first) = asked(&ear).await;
    let large = ear.house.trigger("ask", Value::Null).await;
    ear.house.run_is(&large, "waiting").await;
    assert_eq!(ear.tell(&pressed("wamid.P1", "button_reply", &first, "Yes")).await, 200);
    answered(&ear, &small, "Yes").await;
    until("the second question", async || ear.fake.take().pop()).await;
    let second = until("the second question to be out", async || {
        let messages = ear.house.get(&format!("/messages?run={large}")).await;
        messages["messages"][0]["provider_id"].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(ear.tell(&pressed("wamid.P2", "button_reply", &first, "Yes")).await, 200);
    ear.house.run_is(&large, "waiting").await;
    assert!(ear.fake.take().is_empty(), "nothing is asked once more");
    assert_eq!(ear.tell(&pressed("wamid.P3", "button_reply", &second, "No")).await, 200);
    answered(&ear, &large, "No").await;
}
