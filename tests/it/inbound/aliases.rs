//! One person under several names: a phone, a hidden id, an id of Meta's. Once both were told together,
//! either is the person; and whoever is asked may answer by any of them.

use serde_json::{Value, json};

use super::said::{self, BSUID, GROUP, NOW, PHONE, evolution_message, gowa_message, meta};
use super::{ECHO, Ear, has, text_of};
use crate::gateways::fake;
use crate::support::until;

const LID: &str = "251556368777322@lid";
const ASK: (&str, &str) =
    ("flows/ask.yaml", "run: |\n  let a = ask(\"+15417543010\", \"Ok?\");\n  #{ text: a.text, from: a.from }\n");

/// What a person wrote whom GOWA knows by the hidden id alone.
fn hidden(id: &str, text: &str) -> Value {
    gowa_message(id, json!({ "chat_id": LID, "chat_lid": LID, "from": LID, "from_lid": LID, "body": text }))
}

/// The same with the phone beside it.
fn named(id: &str, text: &str) -> Value {
    gowa_message(id, json!({ "chat_lid": LID, "from_lid": LID, "body": text }))
}

/// Asks the person; gives the run when the question is out.
async fn asked(ear: &Ear) -> String {
    let run = ear.house.trigger("ask", Value::Null).await;
    let question = until("the question at the gateway", async || ear.fake.take().pop()).await;
    assert!(String::from_utf8_lossy(&question.body).contains("Ok?"));
    ear.house.run_is(&run, "waiting").await;
    until("the question to be out", async || {
        let messages = ear.house.get(&format!("/messages?run={run}")).await;
        let message = &messages["messages"][0];
        (message["state"] == "sent" || message["state"] == "accepted").then_some(())
    })
    .await;
    run
}

async fn answered(ear: &Ear, run: &str, text: &str) {
    let run = ear.house.run_is(run, "succeeded").await;
    has(&run["result"], &json!({ "text": text, "from": PHONE }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_person_is_known_once_both_names_were_told() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    ear.hears(&hidden("BEFORE", "Who am I?"), "BEFORE", json!({ "from": LID, "chat": LID })).await;
    ear.hears(&named("BOTH", "I am Ada"), "BOTH", json!({ "from": PHONE, "chat": PHONE })).await;
    ear.hears(&hidden("AFTER", "It is me"), "AFTER", json!({ "from": PHONE, "chat": PHONE })).await;
    // Nobody else is her.
    let other = "77512345678901@lid";
    let stranger = gowa_message("OTHER", json!({ "chat_id": other, "from": other, "from_lid": other, "body": "Hi" }));
    ear.hears(&stranger, "OTHER", json!({ "from": other, "chat": other })).await;
    let ear = ear.crash().await;
    ear.hears(&hidden("LATER", "Still me"), "LATER", json!({ "from": PHONE, "chat": PHONE })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_tells_who_somebody_is() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let event = gowa_message("GROUP1", json!({ "chat_id": GROUP, "from_lid": LID, "body": "Hi all" }));
    ear.hears(&event, "GROUP1", json!({ "from": PHONE, "chat": GROUP })).await;
    ear.hears(&hidden("ALONE", "Psst"), "ALONE", json!({ "from": PHONE, "chat": PHONE })).await;
    let event = gowa_message("GROUP2", json!({ "chat_id": GROUP, "from": LID, "from_lid": LID, "body": "Me again" }));
    ear.hears(&event, "GROUP2", json!({ "from": PHONE, "chat": GROUP })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_to_a_phone_is_answered_by_a_hidden_person() {
    let ear = Ear::with(fake::gowa::DIALECT, &[ECHO, ASK]).await;
    ear.hears(&named("BOTH", "Hello"), "BOTH", json!({})).await;
    let run = asked(&ear).await;
    // Neither strangers nor what she says to others answer it.
    let stranger = gowa_message(
        "STRANGER",
        json!({ "chat_id": "77512345678901@lid", "from": "77512345678901@lid",
        "from_lid": "77512345678901@lid", "body": "no" }),
    );
    assert_eq!(ear.tell(&stranger).await, 200);
    let group = gowa_message("GROUP", json!({ "chat_id": GROUP, "from_lid": LID, "body": "maybe" }));
    assert_eq!(ear.tell(&group).await, 200);
    for id in ["STRANGER", "GROUP"] {
        ear.event(id).await;
    }
    assert_eq!(ear.house.get(&format!("/runs/{run}")).await["state"], "waiting");
    for _ in 0..2 {
        assert_eq!(ear.tell(&hidden("ANSWER", "yes")).await, 200);
    }
    answered(&ear, &run, "yes").await;
    // The answer is nobody else's message, and what follows is one again.
    assert_eq!(ear.tell(&hidden("THEN", "And now?")).await, 200);
    ear.event("THEN").await;
    let mut heard = Vec::new();
    for run in ear.house.runs_of("echo").await {
        let run = ear.house.get(&format!("/runs/{}", text_of(&run, "id"))).await;
        heard.push(text_of(&run["event"], "message_id").to_owned());
    }
    heard.sort();
    assert_eq!(heard, ["BOTH", "GROUP", "STRANGER", "THEN"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_names_may_be_told_while_a_question_is_open() {
    let ear = Ear::with(fake::gowa::DIALECT, &[ECHO, ASK]).await;
    let run = asked(&ear).await;
    let event = gowa_message("GROUP", json!({ "chat_id": GROUP, "from_lid": LID, "body": "Hi all" }));
    ear.hears(&event, "GROUP", json!({ "from": PHONE, "chat": GROUP })).await;
    let ear = ear.crash().await;
    assert_eq!(ear.tell(&hidden("ANSWER", "yes")).await, 200);
    answered(&ear, &run, "yes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_of_meta_may_come_without_the_phone() {
    let ear = Ear::with(fake::meta::DIALECT, &[ECHO, ASK]).await;
    let message = |id: &str, text: &str| {
        let contact = json!({ "profile": { "name": "Ada", "username": "ada" }, "user_id": BSUID });
        let message = json!({ "from_user_id": BSUID, "id": id, "timestamp": NOW.to_string(), "type": "text",
            "text": { "body": text } });
        meta(json!({ "contacts": [contact], "messages": [message] }))
    };
    ear.hears(&message("wamid.BEFORE", "Who?"), "wamid.BEFORE", json!({ "from": BSUID, "chat": BSUID })).await;
    ear.hears(&said::text("meta", "BOTH", "Me"), "wamid.BOTH", json!({})).await;
    ear.hears(&message("wamid.AFTER", "It is me"), "wamid.AFTER", json!({ "from": PHONE, "chat": PHONE })).await;
    let run = asked(&ear).await;
    assert_eq!(ear.tell(&message("wamid.ANSWER", "yes")).await, 200);
    answered(&ear, &run, "yes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evolution_tells_the_phone_beside_the_hidden_id() {
    let ear = Ear::open(fake::evolution::DIALECT).await;
    let message = |id: &str, key: Value| {
        let key = said::with(json!({ "remoteJid": LID, "fromMe": false, "id": id }), key);
        evolution_message(id, json!({ "key": key, "message": { "conversation": "Hi" } }))
    };
    let beside = json!({ "remoteJidAlt": "15417543010@s.whatsapp.net", "addressingMode": "lid" });
    ear.hears(&message("BOTH", beside), "BOTH", json!({ "from": PHONE, "chat": PHONE })).await;
    ear.hears(&message("ALONE", json!({})), "ALONE", json!({ "from": PHONE, "chat": PHONE })).await;
}

/// The gateway names the chat of each message of ours that it tells of.
#[tokio::test(flavor = "multi_thread")]
async fn an_ack_tells_by_which_address_a_chat_is_known() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let message = ear.write("Hi").await;
    let id = text_of(&message, "provider_id");
    let payload = json!({ "ids": [id], "chat_id": LID, "from": LID, "receipt_type": "delivered" });
    assert_eq!(ear.tell(&said::gowa("message.ack", payload)).await, 200);
    ear.becomes(&message, "delivered").await;
    ear.hears(&hidden("AFTER", "It is me"), "AFTER", json!({ "from": PHONE, "chat": PHONE })).await;
    // In a group whoever has read it is not the group.
    let group = ear.send(json!({ "to": GROUP, "text": "Hi all" })).await;
    let other = "77512345678901@lid";
    let payload =
        json!({ "ids": [text_of(&group, "provider_id")], "chat_id": other, "from": other, "receipt_type": "read" });
    assert_eq!(ear.tell(&said::gowa("message.ack", payload)).await, 200);
    ear.becomes(&group, "read").await;
    let stranger = gowa_message("OTHER", json!({ "chat_id": other, "from": other, "from_lid": other, "body": "Hi" }));
    ear.hears(&stranger, "OTHER", json!({ "from": other, "chat": other })).await;
}

/// Whoever quotes our question stands in the chat that it was sent to, known or not.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_quotes_the_question_is_whom_it_was_asked() {
    let ear = Ear::with(fake::gowa::DIALECT, &[ECHO, ASK]).await;
    let run = asked(&ear).await;
    let messages = ear.house.get(&format!("/messages?run={run}")).await;
    let question = text_of(&messages["messages"][0], "provider_id");
    let said = json!({ "chat_id": LID, "from": LID, "from_lid": LID, "body": "yes", "replied_to_id": question });
    assert_eq!(ear.tell(&gowa_message("QUOTES", said)).await, 200);
    answered(&ear, &run, "yes").await;
    ear.hears(&hidden("AFTER", "It is me"), "AFTER", json!({ "from": PHONE, "chat": PHONE })).await;
}
