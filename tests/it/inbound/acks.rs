//! How far a message of ours is: states climb by what gateways tell, and never fall back.

use std::time::Duration;

use serde_json::{Value, json};

use super::said::{self, GROUP, PHONE, gowa, gowa_receipt, waha};
use super::{ECHO, Ear, text_of};
use crate::gateways::fake::{self, Dialect, Mood};
use crate::support::until;

/// The gateway's id of a message that is out.
fn given(message: &Value) -> String {
    assert!(message["state"] == "accepted" || message["state"] == "sent", "{message}");
    text_of(message, "provider_id").to_owned()
}

/// Tells a step, if the gateway knows it; says whether it does.
async fn tell(ear: &Ear, id: &str, step: &str) -> bool {
    match said::ack(ear.gateway(), id, step) {
        Some(ack) => {
            assert_eq!(ear.tell(&ack).await, 200, "{ack}");
            true
        }
        None => false,
    }
}

async fn climbs(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let message = ear.write("One step at a time").await;
    let id = given(&message);
    for step in ["sent", "delivered", "read"] {
        if tell(&ear, &id, step).await {
            ear.becomes(&message, step).await;
            // What comes again changes nothing.
            tell(&ear, &id, step).await;
            ear.stays(&message, step).await;
        }
    }
    for late in ["delivered", "sent", "failed"] {
        tell(&ear, &id, late).await;
    }
    let read = ear.stays(&message, "read").await;
    assert_eq!(text_of(&read, "provider_id"), id);
    // The last step may come first.
    let message = ear.write("Seen at once").await;
    let id = given(&message);
    tell(&ear, &id, "read").await;
    ear.becomes(&message, "read").await;
    for late in ["sent", "delivered", "sent"] {
        tell(&ear, &id, late).await;
    }
    ear.stays(&message, "read").await;
    // Who has played it has seen it.
    let message = ear.write("Listen").await;
    if tell(&ear, &given(&message), "played").await {
        ear.becomes(&message, "read").await;
    }
    // Of what nobody sent nothing is made.
    let message = ear.write("Another").await;
    let (state, id) = (text_of(&message, "state"), given(&message));
    for step in ["sent", "delivered", "read", "played", "failed"] {
        tell(&ear, &format!("{id}0"), step).await;
        tell(&ear, &id[..id.len() - 1], step).await;
    }
    ear.stays(&message, state).await;
    assert_eq!(ear.runs().await, 0, "no person wrote");
}

async fn fails(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let message = ear.write("To nobody").await;
    assert!(tell(&ear, &given(&message), "failed").await);
    let rejected = ear.becomes(&message, "rejected").await;
    if matches!(ear.gateway(), "meta" | "twilio") {
        let said = rejected.to_string();
        let told =
            ["Message undeliverable", "63024", "Invalid message recipient"].iter().any(|part| said.contains(part));
        assert!(told, "it says why: {said}");
    }
    assert_eq!(ear.fake.take().len(), 1, "it is not sent again");
    // After WhatsApp had it.
    let message = ear.write("To nobody any more").await;
    let id = given(&message);
    tell(&ear, &id, "sent").await;
    ear.becomes(&message, "sent").await;
    tell(&ear, &id, "failed").await;
    ear.becomes(&message, "rejected").await;
    // Once the phone has it, it has it.
    let message = ear.write("To somebody").await;
    let id = given(&message);
    tell(&ear, &id, "delivered").await;
    ear.becomes(&message, "delivered").await;
    tell(&ear, &id, "failed").await;
    ear.stays(&message, "delivered").await;
}

each! {
    acks_of_gowa: climbs gowa;
    acks_of_waha: climbs waha;
    acks_of_wawp: climbs wawp;
    acks_of_meta: climbs meta;
    acks_of_evolution: climbs evolution;
    acks_of_twilio: climbs twilio;
    failures_of_waha: fails waha;
    failures_of_wawp: fails wawp;
    failures_of_meta: fails meta;
    failures_of_evolution: fails evolution;
    failures_of_twilio: fails twilio;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_gowa_may_be_of_several_messages_or_of_none_of_ours() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let (first, second) = (ear.write("One").await, ear.write("Two").await);
    let (one, two) = (given(&first), given(&second));
    for kind in ["sender", "retry", "read-self", "played-self", "server-error", "inactive", "", "something-new"] {
        assert_eq!(ear.tell(&gowa_receipt(&[&one, &two], kind)).await, 200, "{kind}");
    }
    assert_eq!(ear.tell(&gowa_receipt(&[], "read")).await, 200);
    assert_eq!(ear.tell(&gowa("message.ack", json!({ "receipt_type": "read" }))).await, 200);
    ear.stays(&first, text_of(&first, "state")).await;
    ear.stays(&second, text_of(&second, "state")).await;
    assert_eq!(ear.tell(&gowa_receipt(&["3EB0AAAA", &two, "3EB0BBBB", &one], "delivered")).await, 200);
    ear.becomes(&first, "delivered").await;
    ear.becomes(&second, "delivered").await;
    // What we read ourselves is no message of ours.
    let heard = said::text("gowa", "HEARD", "Hi");
    assert_eq!(ear.tell(&heard).await, 200);
    assert_eq!(ear.tell(&gowa_receipt(&["HEARD"], "read")).await, 200);
    ear.stays(&first, "delivered").await;
}

/// In groups the member who acknowledges stands in the id, and a chat may be named by its hidden id.
#[tokio::test(flavor = "multi_thread")]
async fn waha_writes_the_id_of_one_message_in_several_ways() {
    let ear = Ear::open(fake::waha::DIALECT).await;
    let message = ear.send(json!({ "to": GROUP, "text": "Hi all" })).await;
    let id = given(&message);
    let bare = id.strip_prefix(&format!("true_{GROUP}_")).unwrap_or(&id);
    let payload = json!({ "id": format!("true_{GROUP}_{bare}_9999@lid"), "from": GROUP, "participant": "9999@lid",
        "to": null, "fromMe": true, "ack": 2, "ackName": "DEVICE" });
    assert_eq!(ear.tell(&waha("waha", "message.ack.group", payload)).await, 200);
    ear.becomes(&message, "delivered").await;
    let message = ear.write("Hi").await;
    let id = given(&message);
    let bare = id.strip_prefix("true_15417543010@c.us_").unwrap_or(&id);
    let payload = json!({ "id": format!("true_77512345678901@lid_{bare}"), "from": "77512345678901@lid", "to": null,
        "participant": null, "fromMe": true, "ack": 3, "ackName": "READ" });
    assert_eq!(ear.tell(&waha("waha", "message.ack", payload)).await, 200);
    ear.becomes(&message, "read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_have_acks_of_their_own() {
    // On Twilio a document has no caption: it is followed by a text.
    let ear = Ear::with(fake::twilio::DIALECT, &[ECHO, ("files/a.pdf", "%PDF-1.7")]).await;
    let wish = json!({ "kind": "file", "to": said::PHONE, "source": "files/a.pdf", "caption": "The bill" });
    let message = ear.send(wish).await;
    let of = |message: &Value, part: usize, field: &str| text_of(&message["parts"][part], field).to_owned();
    let (file, caption) = (of(&message, 0, "provider_id"), of(&message, 1, "provider_id"));
    assert_ne!(file, caption);
    let become_of_parts = async |wanted: [&str; 2]| {
        until(&format!("the parts to be {wanted:?}"), async || {
            let message = ear.message(text_of(&message, "id")).await;
            (0..2).all(|part| of(&message, part, "state") == wanted[part]).then_some(())
        })
        .await;
    };
    tell(&ear, &caption, "delivered").await;
    become_of_parts(["accepted", "delivered"]).await;
    tell(&ear, &file, "read").await;
    become_of_parts(["read", "delivered"]).await;
    tell(&ear, &file, "sent").await;
    tell(&ear, &caption, "read").await;
    become_of_parts(["read", "read"]).await;
    ear.becomes(&message, "read").await;
}

/// An ack of one part may come while another one is under way.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_under_way_do_not_undo_acks_of_others() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let contacts = json!([{ "name": "Ada", "phone": "+15417543011" }, { "name": "Bob", "phone": "+15417543012" }]);
    ear.fake.is(Mood::Slow(Duration::from_millis(400)));
    let asked = json!({ "kind": "contact", "to": PHONE, "contacts": contacts });
    let id = ear.house.post("/messages", asked).await["message"].as_str().unwrap().to_owned();
    let part = async |place: usize| {
        until("a part's id", async || {
            let message = ear.message(&id).await;
            message["parts"][place]["provider_id"].as_str().map(str::to_owned)
        })
        .await
    };
    let first = part(0).await;
    assert_eq!(ear.tell(&gowa_receipt(&[&first], "delivered")).await, 200);
    let second = part(1).await;
    let message = ear.message(&id).await;
    assert_eq!(message["parts"][0]["state"], "delivered", "{message}");
    assert_eq!(ear.tell(&gowa_receipt(&[&second], "delivered")).await, 200);
    ear.becomes(&message, "delivered").await;
}
