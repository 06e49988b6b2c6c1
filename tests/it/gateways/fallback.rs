//! The account that takes over: when, what moves, and what stays.

use std::time::Duration;

use axum::body::Bytes;
use postrider::clock::Clock;
use serde_json::{Value, json};

use super::fake::{self, Fake, Mood};
use crate::support::engine::House;
use crate::support::{Nobody, until};

const ADA: &str = "+15417543010";
const BOB: &str = "+15417543011";

/// Two gateways; `main` falls back to `other`.
async fn two() -> (House, Fake, Fake) {
    let main = Fake::start(fake::gowa::DIALECT).await;
    let other = Fake::start(fake::evolution::DIALECT).await;
    let mut settings = main.settings("pace: unlimited\nfallback: other");
    let second = other.settings("pace: unlimited").replace("accounts:\n  main:", "  other:");
    settings.push_str(&second);
    settings.push_str("default_account: main\n");
    let flow = "triggers: [{ webhook: /in }]\nrun: |\n  let fate = send_text(event.body.to, \"hi\").wait(\"accepted\");\n  fate.status\n";
    let house = House::open(&[("flows/x.yaml", flow), ("postrider.yaml", &settings)]).await;
    (house, main, other)
}

fn says(status: u16, body: &'static str) -> Mood {
    Mood::Says(status, Vec::new(), Bytes::from_static(body.as_bytes()))
}

const AWAY: &str = r#"{"code":"AUTHENTICATION_ERROR","message":"you are not logged in"}"#;

async fn send(house: &House, wish: Value) -> String {
    house.post("/messages", wish).await["message"].as_str().unwrap().to_owned()
}

async fn message(house: &House, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until(what, async || {
        let message = house.get(&format!("/messages/{id}")).await;
        wanted(&message).then_some(message)
    })
    .await
}

fn out(message: &Value) -> bool {
    matches!(message["state"].as_str(), Some("accepted" | "sent"))
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_send_everything_another_way_at_once() {
    let (house, main, other) = two().await;
    main.is(says(401, "Unauthorized"));
    let later = send(&house, json!({ "to": ADA, "text": "two", "at": "1h" })).await;
    let first = send(&house, json!({ "to": ADA, "text": "one", "reply_to": "X" })).await;
    let moved = message(&house, &first, "the move", out).await;
    assert_eq!(moved["account"], "other");
    let degraded = moved["degraded"].to_string();
    assert!(degraded.contains("`other` instead of `main`: gowa answered 401"), "{degraded}");
    assert!(degraded.contains("the message that it answers is one of `main`"), "{degraded}");
    assert_eq!(moved["attempts"][0]["outcome"], "auth");
    // What was scheduled for the same person goes along.
    let scheduled = message(&house, &later, "the later one to move", |message| message["account"] == "other").await;
    assert_eq!(scheduled["state"], "scheduled");
    house.pass(Duration::from_secs(3600));
    message(&house, &later, "the later one", out).await;
    let texts: Vec<_> = other.take().iter().map(|got| got.json().unwrap()["text"].clone()).collect();
    assert_eq!(texts, ["one", "two"]);
    assert!(other.faults().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_is_away_is_given_ten_minutes_and_then_the_lane_comes_back_by_itself() {
    let (house, main, other) = two().await;
    main.is(says(401, AWAY));
    let (_, answer) = house.hook("/in", &json!({ "to": ADA })).await;
    let run = answer["run"].as_str().unwrap().to_owned();
    let waits = house.run_is(&run, "waiting").await;
    let id = waits["messages"][0]["id"].as_str().unwrap().to_owned();
    message(&house, &id, "the pause", |message| message["why"].as_str().is_some_and(|why| why.starts_with("pause:")))
        .await;
    // Probes come ever more seldom; each is one request, and nothing moves before its time.
    for _ in 0..118 {
        house.pass(Duration::from_secs(5));
        until("the next probe to be set", async || {
            let accounts = house.get("/accounts").await;
            let at: jiff::Timestamp = accounts["accounts"][0]["probe_at"].as_str()?.parse().unwrap();
            (at > house.clock.now()).then_some(())
        })
        .await;
    }
    assert!(other.take().is_empty());
    assert!((3..=12).contains(&main.take().len()));
    house.pass(Duration::from_secs(15));
    message(&house, &id, "the move", |message| message["account"] == "other" && out(message)).await;
    // The wait follows the account that was really used.
    assert_eq!(house.run_is(&run, "succeeded").await["result"], "accepted");
    assert_eq!(other.take().len(), 1);
    // While the gateway is away new messages follow; a probe now and then finds out when it is back.
    main.is(Mood::Strict);
    for number in 0..40 {
        let id = send(&house, json!({ "to": BOB, "text": format!("{number}") })).await;
        house.pass(Duration::from_secs(60));
        let there = message(&house, &id, "the message", out).await;
        if there["account"] == "main" {
            until("the lane to be ready", async || {
                (house.get("/accounts").await["accounts"][0]["state"] == "ready").then_some(())
            })
            .await;
            return;
        }
    }
    panic!("the lane did not come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_account_cannot_send_stays_with_its_recipients_others() {
    let (house, main, other) = two().await;
    main.is(says(401, "Unauthorized"));
    // Evolution has no channels; raw fields are meant for one gateway.
    let channel = send(&house, json!({ "to": "120363024512345678@newsletter", "text": "all" })).await;
    let raw = send(&house, json!({ "to": ADA, "text": "raw", "account": "main", "extra": { "future": "x" } })).await;
    let beside = send(&house, json!({ "to": ADA, "text": "beside" })).await;
    let free = send(&house, json!({ "to": BOB, "text": "free" })).await;
    // One after the other the probes fail for want of credentials, until Bob's may go.
    until("Bob's", async || {
        house.pass(Duration::from_secs(30));
        let message = house.get(&format!("/messages/{free}")).await;
        (message["account"] == "other" && out(&message)).then_some(())
    })
    .await;
    for id in [&channel, &raw, &beside] {
        // A probe may be under way.
        let message = message(&house, id, "it to stay", |message| message["state"] == "queued").await;
        assert_eq!(message["account"], "main", "{message}");
    }
    assert_eq!(other.take().len(), 1);
    main.is(Mood::Strict);
    for id in [&channel, &raw, &beside] {
        // The probe that was under way may have failed and put the next one off.
        until("the rest", async || {
            house.pass(Duration::from_secs(60));
            out(&house.get(&format!("/messages/{id}")).await).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fallbacks_that_lead_nowhere_or_in_circles_are_mistakes() {
    for (settings, part) in [
        ("accounts:\n  a: { transport: sandbox, fallback: bb }\n  b: { transport: sandbox }\n", "did you mean `b`?"),
        (
            "accounts:\n  a: { transport: sandbox, fallback: b }\n  b: { transport: sandbox, fallback: a }\n",
            "leads back to it",
        ),
        ("accounts:\n  a: { transport: sandbox, fallback: a }\n", "leads back to it"),
    ] {
        let folder = crate::support::folder(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", settings)]);
        let output = crate::support::binary::run(folder.path(), &["check"]);
        let said = String::from_utf8_lossy(&output.stderr).replace(['\n', '│'], " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success() && said.contains(part), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_nobody_answers_for_is_given_ten_minutes_and_then_the_message_moves() {
    let other = Fake::start(fake::evolution::DIALECT).await;
    let nobody = Nobody::at_a_port();
    let mut settings = format!(
        "default_account: main\naccounts:\n  main: {{ transport: gowa, url: \"{}\", pace: unlimited, \
         fallback: other, retry: {{ attempts: 3, first: 1s }} }}\n",
        nobody.url
    );
    settings.push_str(&other.settings("pace: unlimited").replace("accounts:\n  main:", "  other:"));
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    let id = send(&house, json!({ "to": ADA, "text": "hi" })).await;
    for (tries, seconds) in [(1, 5), (2, 10), (3, 600)] {
        let count =
            |message: &Value| message["attempts"].as_array().unwrap().len() == tries && message["state"] == "queued";
        let message = message(&house, &id, "a try", count).await;
        assert_eq!(message["account"], "main");
        house.pass(Duration::from_secs(seconds));
    }
    let moved = message(&house, &id, "the move", out).await;
    assert_eq!(moved["account"], "other");
    let outcomes: Vec<_> =
        moved["attempts"].as_array().unwrap().iter().map(|attempt| attempt["outcome"].clone()).collect();
    let (last, tries) = outcomes.split_last().unwrap();
    assert!(*last == "accepted" && tries.iter().all(|outcome| *outcome == "not_connected"), "{moved}");
    assert_eq!(house.get("/accounts").await["accounts"][0]["state"], "paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_were_tried_before_take_their_place_in_the_other_accounts_day() {
    let (house, main, other) = two().await;
    let settings = std::fs::read_to_string(house.folder.path().join("postrider.yaml")).unwrap();
    let (first, second) = settings.split_once("  other:").unwrap();
    let free = "{ rate: 1000/s, burst: 1000, per_recipient: 1000/s, daily: 2 }";
    let changed = format!("{first}  other:{}", second.replacen("pace: unlimited", &format!("pace: {free}"), 1));
    assert_ne!(changed, settings);
    house.write("postrider.yaml", &changed);
    until("the new pace", async || house.get("/accounts").await.to_string().contains("\"daily\":2").then_some(()))
        .await;
    // A changed account begins without its burst.
    house.pass(Duration::from_secs(1));
    main.is(says(401, "Unauthorized"));
    let to: Vec<String> = (10..15).map(|number| format!("+154175430{number}")).collect();
    house.post("/messages", json!({ "to": to, "text": "hi" })).await;
    until("the others to wait", async || {
        let answer = house.get("/messages?limit=1000").await;
        let messages = answer["messages"].as_array().unwrap();
        let waits =
            messages.iter().filter(|message| message["why"].as_str().is_some_and(|why| why.contains("`daily`")));
        (waits.count() == 3).then_some(())
    })
    .await;
    let moved = house.messages_are(2, "accepted").await;
    assert_eq!(other.take().len(), 2);
    assert!(moved.iter().any(|message| message["attempts"][0]["account"] == "main"), "{moved:?}");
}
