//! A defect in the middle of an attempt: the message says so, and everybody else goes on.

use std::sync::Arc;
use std::time::Duration;

use postrider::app::open_store;
use postrider::clock::HandClock;
use serde_json::{Value, json};

use super::media;
use crate::support::engine::{House, start, workspace};
use crate::support::gateway::Gateway;
use crate::support::mortal::{Coroner, Fault, Moment};
use crate::support::{folder, until};

const ADA: &str = "+15417543010";
const BOB: &str = "+15417543011";

/// An engine whose store breaks down once.
async fn house(settings: &str, fault: Fault) -> House {
    let folder = folder(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", settings), ("files/a.txt", "hello")]);
    let opener = Coroner::default().shake(open_store(&workspace(folder.path())), fault);
    House::with(folder, Arc::new(HandClock::new(start())), opener).await
}

async fn send(house: &House, wish: Value) -> String {
    house.post("/messages", wish).await["message"].as_str().unwrap().to_owned()
}

/// Waits until a message is in a state, however often it has to be tried again.
async fn becomes(house: &House, id: &str, state: &str) -> Value {
    until(&format!("{id} to be {state}"), async || {
        house.pass(Duration::from_secs(1));
        let message = house.get(&format!("/messages/{id}")).await;
        (message["state"] == state).then_some(message)
    })
    .await
}

/// The two messages to one person and one to another are out, each once.
async fn all_go_out(method: &'static str, moment: Moment) {
    let gateway = Gateway::start().await;
    // One at a time: a place that is not given back would be the last one.
    let settings = gateway.settings("pace: { rate: 1000/s, burst: 1000, jitter: 1ms }");
    let house = house(&settings, Fault { method, nth: 1, moment }).await;
    let ids = [
        send(&house, json!({ "kind": "file", "to": ADA, "source": "files/a.txt" })).await,
        send(&house, json!({ "to": ADA, "text": "two" })).await,
        send(&house, json!({ "to": BOB, "text": "three" })).await,
    ];
    for id in &ids {
        becomes(&house, id, "sent").await;
    }
    assert_eq!(gateway.got().len(), 3, "{method} {moment:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_down_before_the_wire_is_tried_again() {
    for method in ["claim", "touch", "due_messages"] {
        for moment in [Moment::Called, Moment::Awaited, Moment::Done] {
            all_go_out(method, moment).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_the_gateway_is_on_record_though_recording_breaks_down() {
    for moment in [Moment::Called, Moment::Awaited, Moment::Done] {
        all_go_out("settle", moment).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_that_broke_down_before_the_wire_counts_and_says_why() {
    let gateway = Gateway::start().await;
    let settings = gateway.settings("pace: unlimited, retry: { attempts: 3, first: 1s }");
    let house = house(&settings, Fault { method: "touch", nth: 1, moment: Moment::Called }).await;
    let id = send(&house, json!({ "kind": "file", "to": ADA, "source": "files/a.txt" })).await;
    let message = becomes(&house, &id, "sent").await;
    let attempts = message["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["outcome"]), (2, &json!("upstream")), "{message}");
    let why = attempts[0]["error"].as_str().unwrap();
    assert!(why.contains("broke down") && why.contains("a fault at once in `touch`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_that_breaks_down_leaves_its_message_unknown_and_holds_up_nobody() {
    for moment in [Moment::Called, Moment::Awaited, Moment::Done] {
        let settings = "accounts:\n  main: { transport: sandbox, pace: { rate: 1000/s, burst: 1000, jitter: 1ms } }\n";
        let house = house(settings, Fault { method: "receive_on_phone", nth: 1, moment }).await;
        let first = send(&house, json!({ "to": ADA, "text": "one" })).await;
        let more = [
            send(&house, json!({ "to": ADA, "text": "two" })).await,
            send(&house, json!({ "to": BOB, "text": "three" })).await,
        ];
        let message = becomes(&house, &first, "unknown").await;
        assert_eq!(message["attempts"][0]["outcome"], "ambiguous", "{message}");
        let why = message["attempts"][0]["error"].as_str().unwrap();
        assert!(why.contains("broke down") && why.contains("a fault"), "{why}");
        for id in more {
            becomes(&house, &id, "delivered").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_broke_down_takes_none_of_the_others_along_again() {
    let settings = "accounts:\n  main: { transport: sandbox, pace: unlimited }\n";
    let house = house(settings, Fault { method: "receive_on_phone", nth: 2, moment: Moment::Called }).await;
    std::fs::write(house.folder.path().join("files/a.mp4"), media::MP4).unwrap();
    // A film in a circle has no words below it: they follow as a message of their own.
    let film = json!({ "kind": "video", "to": ADA, "source": "files/a.mp4", "note": true, "caption": "Look" });
    let id = send(&house, film).await;
    let message = becomes(&house, &id, "unknown").await;
    assert_eq!(
        (&message["parts"][0]["state"], &message["parts"][1]["state"]),
        (&json!("delivered"), &json!("unknown"))
    );
    house.post(&format!("/messages/{id}/release"), json!({ "as": "resend" })).await;
    let message = becomes(&house, &id, "delivered").await;
    assert_eq!(
        (&message["parts"][0]["state"], &message["parts"][1]["state"]),
        (&json!("delivered"), &json!("delivered"))
    );
}
