//! Acks that are faster than the answer to the sending: kept for an hour, and applied when it comes.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::said::{self, PHONE};
use super::{Ear, PUBLIC, TOKEN, text_of};
use crate::gateways::fake::{self, Dialect, Got, Mood};
use crate::support::until;

/// The gateway's answer with this id.
fn answers(gateway: &str, id: &str) -> Mood {
    let (status, body) = match gateway {
        "gowa" => {
            (200, json!({ "code": "SUCCESS", "message": "sent", "results": { "message_id": id, "status": "sent" } }))
        }
        "meta" => {
            let contact = json!({ "input": "+15417543010", "wa_id": "15417543010" });
            (200, json!({ "messaging_product": "whatsapp", "contacts": [contact], "messages": [{ "id": id }] }))
        }
        "evolution" => {
            let key = json!({ "remoteJid": "15417543010@s.whatsapp.net", "fromMe": true, "id": id });
            (201, json!({ "key": key, "status": "PENDING", "messageType": "conversation" }))
        }
        "twilio" => (201, json!({ "sid": id, "status": "queued", "error_code": null, "error_message": null })),
        other => panic!("{other}"),
    };
    Mood::Says(status, vec![("content-type", "application/json".to_owned())], Bytes::from(body.to_string()))
}

/// Sends a message that gets this id.
async fn sent(ear: &Ear, id: &str) -> Value {
    ear.fake.is(answers(ear.gateway(), id));
    let message = ear.write("Hi").await;
    assert_eq!(message["provider_id"], id, "{message}");
    message
}

async fn tell(ear: &Ear, id: &str, steps: &[&str]) {
    for step in steps {
        if let Some(ack) = said::ack(ear.gateway(), id, step) {
            assert_eq!(ear.tell(&ack).await, 200, "{ack}");
        }
    }
}

async fn waits_for_the_answer(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    tell(&ear, "EARLY1", &["sent", "delivered"]).await;
    tell(&ear, "EARLY2", &["read", "delivered", "sent"]).await;
    let first = sent(&ear, "EARLY1").await;
    let second = sent(&ear, "EARLY2").await;
    let third = sent(&ear, "EARLY3").await;
    ear.becomes(&first, "delivered").await;
    ear.becomes(&second, "read").await;
    // It goes on from there.
    tell(&ear, "EARLY1", &["sent", "read"]).await;
    ear.becomes(&first, "read").await;
    ear.stays(&third, text_of(&third, "state")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_acks_of_gowa() {
    waits_for_the_answer(fake::gowa::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_acks_of_meta() {
    waits_for_the_answer(fake::meta::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_acks_of_evolution() {
    waits_for_the_answer(fake::evolution::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn early_acks_of_twilio() {
    waits_for_the_answer(fake::twilio::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_ack_is_kept_for_an_hour_even_across_a_crash() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    tell(&ear, "KEPT", &["read"]).await;
    tell(&ear, "FORGOTTEN", &["read"]).await;
    ear.house.pass(Duration::from_secs(59 * 60));
    let ear = ear.crash().await;
    let kept = sent(&ear, "KEPT").await;
    ear.becomes(&kept, "read").await;
    ear.house.pass(Duration::from_secs(2 * 60));
    let forgotten = sent(&ear, "FORGOTTEN").await;
    ear.stays(&forgotten, "sent").await;
    // What comes after the answer is applied at any time.
    ear.house.pass(Duration::from_secs(6 * 86_400));
    tell(&ear, "FORGOTTEN", &["delivered"]).await;
    ear.becomes(&forgotten, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_may_come_while_the_answer_is_on_its_way() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    ear.fake.is(Mood::Slow(Duration::from_millis(500)));
    let (message, ()) = tokio::join!(ear.write("Hi"), async {
        let request = until("the request", async || ear.fake.take().pop()).await;
        // What the fake is about to say.
        let (_, answer) = (ear.fake.dialect.check)(&request).unwrap();
        tell(&ear, text_of(&answer["results"], "message_id"), &["delivered"]).await;
    });
    ear.becomes(&message, "delivered").await;
}

/// Where a gateway is told to say how far a message is, and what it says of the one that it just got.
async fn status_of(ear: &Ear, word: &str) -> (String, Vec<u8>) {
    let request = until("the request", async || ear.fake.take().pop()).await;
    status_for(ear, &request, word, "QUICK")
}

/// The same for a request, with the gateway's id for it.
fn status_for(ear: &Ear, request: &Got, word: &str, id: &str) -> (String, Vec<u8>) {
    match ear.gateway() {
        "meta" => {
            let ours = request.json().unwrap()["biz_opaque_callback_data"].clone();
            let entry = said::with(
                said::meta_status(&format!("wamid.{id}"), word),
                json!({ "biz_opaque_callback_data": ours }),
            );
            let event = said::meta(json!({ "statuses": [entry] }));
            (format!("/gateways/main/{TOKEN}"), event.to_string().into_bytes())
        }
        "twilio" => {
            let form = request.form().unwrap();
            let (_, callback) = form.iter().find(|(name, _)| name == "StatusCallback").unwrap();
            let event = said::twilio_status(&format!("SM{id}"), word, &[]);
            (callback.strip_prefix(PUBLIC).unwrap().to_owned(), said::encoded(&said::fields(&event)))
        }
        other => panic!("{other}"),
    }
}

/// The status names our own id, and comes before the attempt is known to have failed or not.
async fn overtakes_a_silence(dialect: Dialect) {
    for dies in [false, true] {
        let ear = Ear::open(dialect).await;
        // Takes it, and never says so.
        ear.fake.is(Mood::Hangs(Duration::from_millis(if dies { 20_000 } else { 500 })));
        let answer = ear.house.post("/messages", json!({ "to": PHONE, "text": "Hi" })).await;
        let (path, status) = status_of(&ear, "delivered").await;
        assert_eq!(ear.post(&path, status.clone()).await, 200);
        let ear = if dies { ear.crash().await } else { ear };
        let message = ear.becomes(&json!({ "id": answer["message"] }), "delivered").await;
        assert!(text_of(&message, "provider_id").ends_with("QUICK"), "{message}");
        assert!(ear.fake.take().is_empty(), "it is not sent again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_meta_overtakes_a_silence() {
    overtakes_a_silence(fake::meta::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_twilio_overtakes_a_silence() {
    overtakes_a_silence(fake::twilio::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_which_nobody_knew_are_settled_by_their_own_statuses() {
    let ear = Ear::open(fake::meta::DIALECT).await;
    ear.fake.is(Mood::Hangs(Duration::from_millis(200)));
    let message = ear.write(&"long ".repeat(1_500)).await;
    assert_eq!(message["state"], "unknown", "{message}");
    let parts = ear.fake.take();
    assert_eq!(parts.len(), 2);
    let states = |message: &Value| {
        let parts = message["parts"].as_array().unwrap();
        parts.iter().map(|part| (part["state"].clone(), part["provider_id"].clone())).collect::<Vec<_>>()
    };
    let (path, status) = status_for(&ear, &parts[1], "read", "SECOND");
    assert_eq!(ear.post(&path, status).await, 200);
    let half = ear.stays(&message, "unknown").await;
    let second = (json!("read"), json!("wamid.SECOND"));
    assert_eq!(states(&half), [(json!("unknown"), Value::Null), second.clone()], "{half}");
    let (path, status) = status_for(&ear, &parts[0], "delivered", "FIRST");
    assert_eq!(ear.post(&path, status).await, 200);
    let whole = ear.becomes(&message, "delivered").await;
    assert_eq!(states(&whole), [(json!("delivered"), json!("wamid.FIRST")), second], "{whole}");
    assert!(ear.fake.take().is_empty(), "nothing is sent again");
}
