//! Messages that need several requests: each part has its own fate, and none is sent twice for the
//! sake of another.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::fake::{self, Mood};
use super::{Desk, Outcome};
use crate::support::until;

/// On Wapim a document has no caption: it is followed by a text.
fn wish() -> Value {
    json!({ "kind": "file", "to": "+15417543010", "source": "https://e.com/a.pdf", "caption": "The bill" })
}

fn states(message: &Value) -> Vec<String> {
    message["parts"].as_array().unwrap().iter().map(|part| part["state"].as_str().unwrap().to_owned()).collect()
}

fn paths(outcome: &Outcome) -> Vec<&str> {
    outcome.requests.iter().map(|got| got.path.as_str()).collect()
}

fn says(status: u16, body: &'static str) -> Mood {
    Mood::Says(status, Vec::new(), Bytes::from_static(body.as_bytes()))
}

/// Answers the first request as the gateway would, and the second one in this mood.
async fn second(desk: &Desk, mood: Mood) -> Outcome {
    desk.fake.then(mood);
    desk.send(&wish()).await
}

async fn is(desk: &Desk, id: &str, state: &str) -> Value {
    until(state, async || {
        let message = desk.house.get(&format!("/messages/{id}")).await;
        (message["state"] == state).then_some(message)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_part_that_is_not_out_is_tried_again() {
    let desk = Desk::open(fake::wapim::DIALECT, "retry: { attempts: 3, first: 1s }").await;
    let outcome = second(&desk, says(503, "{}")).await;
    assert_eq!(paths(&outcome), ["/message/document", "/message/text"]);
    assert_eq!(outcome.message["state"], "queued");
    assert_eq!(states(&outcome.message), ["accepted", "queued"]);
    // A crash in between forgets nothing of it.
    desk.fake.is(Mood::Strict);
    let Desk { house, fake, media } = desk;
    let desk = Desk { house: house.crash().await, fake, media };
    desk.house.pass(Duration::from_secs(2));
    let message = is(&desk, outcome.message["id"].as_str().unwrap(), "accepted").await;
    let again: Vec<_> = desk.fake.take().into_iter().map(|got| got.path).collect();
    assert_eq!(again, ["/message/text"]);
    assert_eq!(states(&message), ["accepted", "accepted"]);
    // How it was cut is known from the first try on.
    assert!(message["degraded"].to_string().contains("sent after it as a message of its own"), "{message}");
    // The document is what was meant: its id is the message's.
    assert_eq!(message["provider_id"], message["parts"][0]["provider_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_in_doubt_waits_for_a_persons_word() {
    let desk = Desk::open(fake::wapim::DIALECT, "").await;
    let outcome = second(&desk, Mood::Breaks).await;
    assert_eq!(outcome.message["state"], "unknown");
    assert_eq!(states(&outcome.message), ["accepted", "unknown"]);
    let id = outcome.message["id"].as_str().unwrap();
    desk.fake.is(Mood::Strict);
    desk.house.post(&format!("/messages/{id}/release"), json!({ "as": "resend" })).await;
    let message = is(&desk, id, "accepted").await;
    assert_eq!(desk.fake.take().len(), 1);
    assert_eq!(states(&message), ["accepted", "accepted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_in_doubt_does_not_go_along_when_another_is_tried_again() {
    let desk = Desk::open(fake::wapim::DIALECT, "retry: { attempts: 3, first: 1s }").await;
    desk.fake.is(Mood::Breaks);
    desk.fake.then(says(503, "{}"));
    let outcome = desk.send(&wish()).await;
    assert_eq!(outcome.message["state"], "unknown");
    assert_eq!(states(&outcome.message), ["unknown", "queued"]);
    desk.fake.is(Mood::Strict);
    desk.house.pass(Duration::from_secs(60));
    let id = outcome.message["id"].as_str().unwrap();
    desk.house.post(&format!("/messages/{id}/release"), json!({ "as": "sent" })).await;
    let message = is(&desk, id, "accepted").await;
    assert_eq!(states(&message), ["sent", "accepted"]);
    let sent: Vec<_> = desk.fake.take().into_iter().map(|got| got.path).collect();
    assert_eq!(sent, ["/message/text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_part_in_doubt_holds_back_nothing_and_a_word_settles_it() {
    let desk = Desk::open(fake::wapim::DIALECT, "").await;
    desk.fake.is(Mood::Breaks);
    desk.fake.then(Mood::Strict);
    let outcome = desk.send(&wish()).await;
    assert_eq!(states(&outcome.message), ["unknown", "accepted"]);
    let id = outcome.message["id"].as_str().unwrap();
    desk.house.post(&format!("/messages/{id}/release"), json!({ "as": "sent" })).await;
    let message = is(&desk, id, "sent").await;
    assert_eq!(states(&message), ["sent", "accepted"]);
    assert!(desk.fake.take().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_touched_the_wire_is_sent_when_the_rest_is_vouched_for() {
    let desk = Desk::open(fake::wapim::DIALECT, "timeout: 20s").await;
    desk.fake.is(Mood::Hangs(Duration::from_secs(20)));
    let answer = desk.house.post("/messages", wish()).await;
    let id = answer["message"].as_str().unwrap().to_owned();
    until("the first part on the wire", async || (!desk.fake.take().is_empty()).then_some(())).await;
    // The engine dies while the first part is on the wire.
    desk.fake.is(Mood::Strict);
    let Desk { house, fake, media } = desk;
    let desk = Desk { house: house.crash().await, fake, media };
    let message = is(&desk, &id, "unknown").await;
    assert_eq!(states(&message), ["sending", "queued"]);
    desk.house.post(&format!("/messages/{id}/release"), json!({ "as": "sent" })).await;
    let message = is(&desk, &id, "accepted").await;
    assert_eq!(states(&message), ["sent", "accepted"]);
    let sent: Vec<_> = desk.fake.take().into_iter().map(|got| got.path).collect();
    assert_eq!(sent, ["/message/text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_stays_as_it_was_cut_when_its_account_changes_gateways() {
    let desk = Desk::open(fake::wapim::DIALECT, "retry: { attempts: 5, first: 1s }").await;
    desk.fake.then(says(503, "{}"));
    let wish = json!({ "kind": "link", "to": "+15417543010", "url": "https://e.com/a", "caption": "Look at this" });
    let outcome = desk.send(&wish).await;
    assert_eq!(paths(&outcome), ["/message/text", "/message/link"]);
    assert_eq!(states(&outcome.message), ["accepted", "queued"]);
    // One word in the settings: the words are out already, the link is not.
    let other = fake::Fake::start(fake::wawp::DIALECT).await;
    desk.house.write("postrider.yaml", &other.settings("pace: unlimited"));
    until("the other gateway", async || {
        let accounts = desk.house.get("/accounts").await;
        (accounts["accounts"][0]["transport"] == "wawp").then_some(())
    })
    .await;
    desk.house.pass(Duration::from_secs(5));
    let message = is(&desk, outcome.message["id"].as_str().unwrap(), "accepted").await;
    let sent = other.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].path, "/v2/send/link-preview");
    assert_eq!(sent[0].json().unwrap().get("text"), None, "the words went out before");
    assert_eq!(message["provider_id"], message["parts"][1]["provider_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_dies_while_a_file_is_fetched_has_sent_nothing() {
    let desk = Desk::open(fake::gowa::DIALECT, "").await;
    // Without an ending the picture is fetched first; this one trickles.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let settings = format!(
        "public_url: https://hooks.example.com\nhttp: {{ allow: [\"{slow}\", \"{}\"] }}\n{}",
        desk.media,
        desk.fake.settings("pace: unlimited\n")
    );
    desk.house.write("postrider.yaml", &settings);
    let _held = until("the new settings", async || {
        let asked = json!({ "kind": "image", "to": "+15417543010", "source": format!("http://{slow}/picture") });
        desk.house.post("/messages", asked).await;
        tokio::time::timeout(Duration::from_millis(500), listener.accept()).await.ok()
    })
    .await;
    // Others are not held up by it.
    desk.house.post("/messages", json!({ "to": "+15417543011", "text": "beside" })).await;
    desk.house.messages_are(1, "sent").await;
    let Desk { house, fake, media } = desk;
    let desk = Desk { house: house.crash().await, fake, media };
    let messages = desk.house.get("/messages?state=unknown").await;
    assert_eq!(messages["messages"].as_array().unwrap().len(), 0, "{messages}");
}
