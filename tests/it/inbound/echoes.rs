//! Our own messages come back as events: that settles what was in doubt, and starts nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::said::{self, GROUP, NOW, PHONE, evolution, gowa_message, waha, waha_message};
use super::{Ear, text_of};
use crate::gateways::fake::{self, Dialect, Mood};
use crate::support::until;

/// WAHA with the engine on which it chooses the ids of messages itself: an echo's is new to us.
const WEBJS: Dialect =
    Dialect { settings: "api_key: \"k3y/+waha=one\"\nsession: shop\nengine: webjs", ..fake::waha::DIALECT };

/// Sends a text to a gateway that hangs up in the middle of its answer.
async fn in_doubt(ear: &Ear, text: &str) -> Value {
    ear.fake.is(Mood::Breaks);
    let message = ear.write(text).await;
    assert_eq!(message["state"], "unknown", "{message}");
    assert_eq!(message["provider_id"], Value::Null);
    ear.fake.is(Mood::Strict);
    message
}

/// Our number's own message to the person, as the gateway tells it.
fn echo(gateway: &str, id: &str, text: &str) -> Value {
    match gateway {
        "waha" => {
            let more = json!({ "id": id, "from": "15550100009@c.us", "to": "15417543010@c.us", "fromMe": true,
                "source": "api", "body": text });
            waha(gateway, "message.any", waha_message("x", more))
        }
        "gowa" => {
            let own = "628123456789@s.whatsapp.net";
            gowa_message(id, json!({ "from": own, "from_name": "Shop", "is_from_me": true, "body": text }))
        }
        "evolution" => {
            let key = json!({ "remoteJid": "15417543010@s.whatsapp.net", "fromMe": true, "id": id });
            evolution(
                "send.message",
                json!({ "key": key, "pushName": "Shop", "status": "PENDING", "message": { "conversation": text },
                    "messageType": "conversation", "messageTimestamp": NOW, "source": "unknown" }),
            )
        }
        other => panic!("{other}"),
    }
}

/// The gateway's id of one of our messages.
fn own(gateway: &str, bare: &str) -> String {
    if gateway == "waha" { format!("true_15417543010@c.us_{bare}") } else { bare.to_owned() }
}

async fn settles_doubt(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let gateway = ear.gateway();
    let first = in_doubt(&ear, "Your order is ready").await;
    ear.house.pass(Duration::from_secs(1));
    let second = in_doubt(&ear, "Your order is ready").await;
    ear.house.pass(Duration::from_secs(1));
    let other = in_doubt(&ear, "Another text").await;
    // Somebody else's text says nothing of ours.
    assert_eq!(ear.tell(&echo(gateway, &own(gateway, "3EB0AA"), "Your order is")).await, 200);
    for message in [&first, &second, &other] {
        ear.stays(message, "unknown").await;
    }
    let id = own(gateway, "3EB0BB");
    for _ in 0..2 {
        assert_eq!(ear.tell(&echo(gateway, &id, "Your order is ready")).await, 200);
    }
    let settled = ear.becomes(&first, "sent").await;
    assert_eq!(text_of(&settled, "provider_id"), id);
    let shown = format!("{} {}", settled["attempts"], settled["degraded"]);
    assert!(shown.contains("infer"), "it shows that nobody knows for certain: {settled}");
    ear.stays(&second, "unknown").await;
    // From then on it is a message like others.
    let ack = said::ack(gateway, &id, "delivered").unwrap();
    assert_eq!(ear.tell(&ack).await, 200);
    ear.becomes(&first, "delivered").await;
    assert_eq!(ear.tell(&echo(gateway, &own(gateway, "3EB0CC"), "Your order is ready")).await, 200);
    let settled = ear.becomes(&second, "sent").await;
    assert_eq!(text_of(&settled, "provider_id"), own(gateway, "3EB0CC"));
    ear.stays(&other, "unknown").await;
    assert_eq!(ear.runs().await, 0, "own messages start nothing");
    assert_eq!(ear.fake.take().len(), 3, "and nothing is sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn echoes_of_waha_settle_doubt() {
    settles_doubt(WEBJS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn echoes_of_gowa_settle_doubt() {
    settles_doubt(fake::gowa::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn echoes_of_evolution_settle_doubt() {
    settles_doubt(fake::evolution::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_by_hand_or_said_elsewhere_settles_nothing() {
    let ear = Ear::open(WEBJS).await;
    let message = in_doubt(&ear, "Hi").await;
    let base =
        json!({ "from": "15550100009@c.us", "to": "15417543010@c.us", "fromMe": true, "source": "api", "body": "Hi" });
    for (bare, more) in [
        ("true_15417543010@c.us_A", json!({ "source": "app" })),
        ("true_15417543011@c.us_B", json!({ "to": "15417543011@c.us" })),
        ("true_120363024512345678@g.us_C_15550100009@c.us", json!({ "to": GROUP, "participant": "15550100009@c.us" })),
        ("true_15417543010@c.us_D", json!({ "body": "hi" })),
        ("true_15417543010@c.us_E", json!({ "body": "" })),
        // The person says the same.
        ("false_15417543010@c.us_F", json!({ "from": "15417543010@c.us", "to": "15550100009@c.us", "fromMe": false })),
    ] {
        let payload = said::with(waha_message("x", base.clone()), said::with(json!({ "id": bare }), more));
        assert_eq!(ear.tell(&waha("waha", "message.any", payload)).await, 200, "{bare}");
    }
    let message = ear.stays(&message, "unknown").await;
    assert_eq!(message["provider_id"], Value::Null);
    assert_eq!(ear.runs().await, 1, "what the person said");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_echo_of_what_is_known_changes_nothing() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let known = ear.write("Hi").await;
    let doubt = in_doubt(&ear, "Hi").await;
    // It is the one whose id is known, though the other says the same.
    assert_eq!(ear.tell(&echo("gowa", text_of(&known, "provider_id"), "Hi")).await, 200);
    ear.stays(&doubt, "unknown").await;
    ear.stays(&known, text_of(&known, "state")).await;
    assert_eq!(ear.tell(&echo("gowa", "3EB0NEW", "Hi")).await, 200);
    let settled = ear.becomes(&doubt, "sent").await;
    assert_eq!(settled["provider_id"], "3EB0NEW");
}

/// It gives back what it has only taken.
#[tokio::test(flavor = "multi_thread")]
async fn an_echo_of_what_was_accepted_does_not_say_that_it_was_sent() {
    let ear = Ear::open(fake::evolution::DIALECT).await;
    let known = ear.write("Hi").await;
    assert_eq!(known["state"], "accepted", "{known}");
    assert_eq!(ear.tell(&echo("evolution", text_of(&known, "provider_id"), "Hi")).await, 200);
    ear.stays(&known, "accepted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_after_the_echo_may_have_come_before_it() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let message = in_doubt(&ear, "Hi").await;
    assert_eq!(ear.tell(&said::ack("gowa", "3EB0FAST", "read").unwrap()).await, 200);
    ear.stays(&message, "unknown").await;
    assert_eq!(ear.tell(&echo("gowa", "3EB0FAST", "Hi")).await, 200);
    ear.becomes(&message, "read").await;
}

/// Meta says back the id that we gave: no guess is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_names_our_own_id_settles_doubt_for_certain() {
    let ear = Ear::open(fake::meta::DIALECT).await;
    let first = in_doubt(&ear, "The same words").await;
    let second = in_doubt(&ear, "The same words").await;
    let status = |word: &str, id: &str, ours: &str| {
        let entry = said::with(said::meta_status(id, word), json!({ "biz_opaque_callback_data": ours }));
        said::meta(json!({ "statuses": [entry] }))
    };
    assert_eq!(ear.tell(&status("delivered", "wamid.NEW", text_of(&second, "id"))).await, 200);
    let settled = ear.becomes(&second, "delivered").await;
    assert_eq!(settled["provider_id"], "wamid.NEW");
    ear.stays(&first, "unknown").await;
    // From then on its id says who it is.
    assert_eq!(ear.tell(&status("read", "wamid.NEW", "")).await, 200);
    ear.becomes(&second, "read").await;
    // Ids of nobody, and of others, change nothing.
    for ours in ["", "no id", "01a1f9d5-3366-7005-ac80-33b80b723588"] {
        assert_eq!(ear.tell(&status("delivered", "wamid.OTHER", ours)).await, 200);
    }
    ear.stays(&first, "unknown").await;
    assert_eq!(ear.tell(&status("failed", "wamid.FAILED", text_of(&first, "id"))).await, 200);
    ear.becomes(&first, "rejected").await;
}

/// What is on the wire may be what came back: nobody guesses while that can still be told.
#[tokio::test(flavor = "multi_thread")]
async fn an_echo_is_not_taken_for_an_older_one_while_its_own_is_on_the_wire() {
    let ear = Ear::open(WEBJS).await;
    let older = in_doubt(&ear, "See you at nine").await;
    ear.house.pass(Duration::from_secs(86_400));
    ear.fake.take();
    ear.fake.is(Mood::Hangs(Duration::from_secs(600)));
    let wish = json!({ "to": PHONE, "text": "See you at nine" });
    let newer = ear.house.post("/messages", wish).await;
    let newer = ear.message(text_of(&newer, "message")).await;
    until("the request", async || ear.fake.take().pop()).await;
    let id = own("waha", "3EB0ECHO");
    assert_eq!(ear.tell(&echo("waha", &id, "See you at nine")).await, 200);
    ear.stays(&older, "unknown").await;
    // When nobody knows any more what became of it, it is what the echo shows.
    let ear = ear.crash().await;
    let settled = ear.becomes(&newer, "sent").await;
    assert_eq!(settled["provider_id"], id);
    ear.stays(&older, "unknown").await;
}

/// Where we choose the id ourselves, what is told of it is certain.
#[tokio::test(flavor = "multi_thread")]
async fn an_ack_of_an_id_that_we_chose_settles_doubt() {
    let ear = Ear::open(fake::waha::DIALECT).await;
    ear.fake.is(Mood::Breaks);
    let message = ear.write("Hi").await;
    assert_eq!(message["state"], "unknown", "{message}");
    let id = ear.fake.take().pop().unwrap().json().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(ear.tell(&said::ack("waha", &own("waha", &id), "delivered").unwrap()).await, 200);
    let settled = ear.becomes(&message, "delivered").await;
    assert_eq!((&settled["provider_id"], &settled["degraded"]), (&json!(id), &json!([])));
    // It comes back by that id too: no guess is needed.
    ear.fake.is(Mood::Breaks);
    let message = ear.write("Hi again").await;
    let id = ear.fake.take().pop().unwrap().json().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(ear.tell(&echo("waha", &own("waha", &id), "Hi again")).await, 200);
    assert_eq!(ear.becomes(&message, "sent").await["degraded"], json!([]));
}
