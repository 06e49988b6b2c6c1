//! Gateways of which little is known: Wapim, whose history shows what a message looks like, and
//! Express-Chat, of whose hook only the envelope is known.

use serde_json::json;

use super::Ear;
use super::said::{PHONE, wapim};
use crate::gateways::fake;

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_to_wapim() {
    let ear = Ear::open(fake::wapim::DIALECT).await;
    let wanted = json!({ "kind": "text", "text": "H\u{e9}llo \u{1f44b}", "media": null, "reply_to": null });
    ear.hears(
        &wapim("3EB0120269FB6738F850", json!({ "text": "H\u{e9}llo \u{1f44b}" })),
        "3EB0120269FB6738F850",
        wanted,
    )
    .await;
    let other = json!({ "from_phone_number": "15417543011", "text": "Fine. You?" });
    let wanted = json!({ "from": "+15417543011", "chat": "+15417543011", "text": "Fine. You?" });
    ear.hears(&wapim("3A06FC2CCEC0E2122006", other), "3A06FC2CCEC0E2122006", wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wapim_tells_besides_starts_nothing() {
    let ear = Ear::open(fake::wapim::DIALECT).await;
    for event in [
        wapim(
            "OWN",
            json!({ "from_me": true, "text": "Hi", "from_phone_number": "15550100009", "to_phone_number": PHONE }),
        ),
        json!({ "event_name": "Battery", "instance_id": "ck6w8bq3n05hg07995ztv1a33", "percentage": 43 }),
        json!({ "event_name": "PhotoChange", "phone_number": "15417543010" }),
        json!({ "event_name": "AcknowledgeDelivered", "message_id": "3EB01FB9705FB29BC6EA" }),
        json!({ "event_name": "SomethingNew" }),
    ] {
        assert_eq!(ear.tell(&event).await, 200, "{event}");
    }
    assert_eq!(ear.runs().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_express_chat_tells_is_taken_and_nothing_is_made_up() {
    let ear = Ear::open(fake::express_chat::DIALECT).await;
    let contact = json!({
        "_id": "66e07fd940c43d176eaf0b71", "platform": ["WHATSAPP"], "isSubscriber": true,
        "profile": { "userDetails": { "contact": { "phone": { "number": "5417543010", "prefix": "1" } },
            "userProvidedName": "Ada", "whatsAppNumber": "15417543010" }, "notes": [] },
        "lastMessage": { "by": "user", "at": "2026-11-20T07:00:00.000Z" }, "unreadMessages": 0,
        "createdAt": "2026-06-05T19:05:50.876Z", "updatedAt": "2026-11-20T07:00:00.000Z",
    });
    for event in [
        json!({ "botId": "62b5c16b", "platform": "whatsapp", "data": contact }),
        json!({ "botId": "62b5c16b", "platform": "whatsapp", "data": {} }),
        json!({ "botId": "62b5c16b", "platform": "website", "data": null }),
    ] {
        assert_eq!(ear.tell(&event).await, 200, "{event}");
    }
    // Should a run come of it, then it is of the person that was named.
    for run in ear.house.runs_of("echo").await {
        let run = ear.house.get(&format!("/runs/{}", super::text_of(&run, "id"))).await;
        assert_eq!(run["event"]["from"], PHONE, "{run}");
    }
}
