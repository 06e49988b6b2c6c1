//! What Meta tells, after its reference of webhooks: batches, people without a phone, other numbers.

use serde_json::{Value, json};

use super::Ear;
use super::said::{BSUID, NOW, PHONE, meta, meta_message, meta_status, with};
use crate::gateways::fake;

/// A change of another field, or of another number.
fn change(field: &str, number: &str, value: Value) -> Value {
    let metadata = json!({ "display_phone_number": "15550783881", "phone_number_id": number });
    json!({ "field": field, "value": with(json!({ "messaging_product": "whatsapp", "metadata": metadata }), value) })
}

fn posted(entries: Vec<Vec<Value>>) -> Value {
    let entries: Vec<Value> =
        entries.into_iter().map(|changes| json!({ "id": "102290129340398", "changes": changes })).collect();
    json!({ "object": "whatsapp_business_account", "entry": entries })
}

const OWN: &str = "106540352242922";

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_to_meta() {
    let ear = Ear::open(fake::meta::DIALECT).await;
    let jpeg = "image/jpeg";
    let media = |mime: &str, more: Value| {
        let url = "https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=133&ext=1&hash=A";
        with(
            json!({ "id": "1003383421387256", "mime_type": mime, "sha256": "SfInY0gGKTsJlUWbwxC1k+FA", "url": url }),
            more,
        )
    };
    let context = json!({ "from": "15550783881", "id": "wamid.HBgLASKED" });
    let button = json!({ "type": "button_reply", "button_reply": { "id": "change", "title": "Change" } });
    let row = json!({ "type": "list_reply", "list_reply": { "id": "eu", "title": "Europe", "description": "2 days" } });
    for (bare, more, wanted) in [
        (
            "TEXT",
            json!({ "type": "text", "text": { "body": "H\u{e9}llo \u{1f44b}" } }),
            json!({ "kind": "text", "text": "H\u{e9}llo \u{1f44b}", "name": "Ada", "media": null, "reply_to": null }),
        ),
        (
            "REPLY",
            json!({ "type": "text", "text": { "body": "Fine!" }, "context": context }),
            json!({ "kind": "text", "text": "Fine!", "reply_to": "wamid.HBgLASKED" }),
        ),
        // Forwarded: it has a context, and answers nothing.
        (
            "FORWARDED",
            json!({ "type": "text", "text": { "body": "Look" }, "context": { "forwarded": true } }),
            json!({ "kind": "text", "text": "Look", "reply_to": null }),
        ),
        (
            "CAPTION",
            json!({ "type": "image", "image": media(jpeg, json!({ "caption": "Check this out!" })) }),
            json!({ "kind": "image", "text": "Check this out!", "media": { "kind": "image", "mime": jpeg } }),
        ),
        (
            "VIDEO",
            json!({ "type": "video", "video": media("video/mp4", json!({})) }),
            json!({ "kind": "video", "media": { "kind": "video", "mime": "video/mp4" } }),
        ),
        (
            "VOICE",
            json!({ "type": "audio", "audio": media("audio/ogg; codecs=opus", json!({ "voice": true })) }),
            json!({ "kind": "voice", "media": { "kind": "voice" } }),
        ),
        (
            "AUDIO",
            json!({ "type": "audio", "audio": media("audio/mpeg", json!({ "voice": false })) }),
            json!({ "kind": "audio", "media": { "kind": "audio", "mime": "audio/mpeg" } }),
        ),
        (
            "FILE",
            json!({ "type": "document",
                "document": media("application/pdf", json!({ "caption": "Report", "filename": "report.pdf" })) }),
            json!({ "kind": "file", "text": "Report",
                "media": { "kind": "file", "mime": "application/pdf", "name": "report.pdf" } }),
        ),
        (
            "STICKER",
            json!({ "type": "sticker", "sticker": media("image/webp", json!({ "animated": false })) }),
            json!({ "kind": "sticker" }),
        ),
        (
            "PLACE",
            json!({ "type": "location", "location": { "latitude": 52.52, "longitude": 13.405, "name": "Office" } }),
            json!({ "kind": "location", "media": null }),
        ),
        (
            "CARD",
            json!({ "type": "contacts",
                "contacts": [{ "name": { "formatted_name": "Jane" }, "phones": [{ "phone": "+16505551234" }] }] }),
            json!({ "kind": "contact", "media": null }),
        ),
        (
            "BUTTON",
            json!({ "type": "interactive", "interactive": button, "context": context }),
            json!({ "kind": "choice", "text": "Change", "reply_to": "wamid.HBgLASKED" }),
        ),
        (
            "ROW",
            json!({ "type": "interactive", "interactive": row, "context": context }),
            json!({ "kind": "choice", "text": "Europe", "reply_to": "wamid.HBgLASKED" }),
        ),
        (
            "QUICK",
            json!({ "type": "button", "button": { "text": "Unsubscribe", "payload": "stop" }, "context": context }),
            json!({ "kind": "choice", "text": "Unsubscribe", "reply_to": "wamid.HBgLASKED" }),
        ),
        (
            "UNKNOWN",
            json!({ "type": "unsupported", "errors": [{ "code": 131051, "title": "Message type unknown",
                "error_data": { "details": "Message type is currently not supported." } }] }),
            json!({ "kind": "other" }),
        ),
    ] {
        let id = format!("wamid.{bare}");
        ear.hears(&meta_message(&id, more), &id, wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hides_the_phone_has_another_name() {
    let ear = Ear::open(fake::meta::DIALECT).await;
    let hidden = "US.ENT.506847293015824";
    let contact = json!({ "profile": { "name": "Grace", "username": "grace" }, "user_id": hidden });
    let message = json!({ "from_user_id": hidden, "id": "wamid.HIDDEN", "timestamp": NOW.to_string(), "type": "text",
        "text": { "body": "Psst" } });
    let event = meta(json!({ "contacts": [contact], "messages": [message] }));
    ear.hears(&event, "wamid.HIDDEN", json!({ "from": hidden, "chat": hidden, "text": "Psst", "name": "Grace" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_post_may_hold_much() {
    let ear = Ear::open(fake::meta::DIALECT).await;
    let first = ear.write("One").await;
    let second = ear.write("Two").await;
    let given = |message: &Value| super::text_of(message, "provider_id").to_owned();
    let ada = json!({ "profile": { "name": "Ada" }, "wa_id": "15417543010", "user_id": BSUID });
    let grace = json!({ "profile": { "name": "Grace" }, "wa_id": "15417543011", "user_id": "US.506847293015824" });
    let text = |id: &str, from: &str, user: &str| {
        json!({ "id": format!("wamid.{id}"), "from": from, "from_user_id": user, "timestamp": NOW.to_string(),
            "type": "text", "text": { "body": id } })
    };
    let (ada_says, grace_says) =
        (|id: &str| text(id, "15417543010", BSUID), |id: &str| text(id, "15417543011", "US.506847293015824"));
    let both = json!({ "contacts": [ada, grace], "messages": [ada_says("A1"), grace_says("G1"), ada_says("A2")],
        "statuses": [meta_status(&given(&first), "delivered"), meta_status(&given(&second), "sent")] });
    let later = json!({ "statuses": [meta_status(&given(&second), "read")] });
    let foreign = json!({ "contacts": [ada], "messages": [ada_says("F1")],
        "statuses": [meta_status(&given(&first), "read")] });
    let event = posted(vec![
        vec![
            change("message_template_status_update", OWN, json!({ "messages": [ada_says("T1")] })),
            change("messages", OWN, both),
            change("messages", "106540352242923", foreign),
        ],
        vec![],
        vec![
            change("smb_message_echoes", OWN, json!({ "message_echoes": [ada_says("E1")] })),
            change("messages", OWN, later),
            change("messages", OWN, json!({ "contacts": [grace], "messages": [grace_says("G2"), grace_says("G1")] })),
            change("messages", OWN, json!({ "errors": [{ "code": 131000, "title": "Something went wrong" }] })),
        ],
    ]);
    for _ in 0..2 {
        assert_eq!(ear.tell(&event).await, 200);
    }
    for (id, from, name) in [("A1", PHONE, "Ada"), ("A2", PHONE, "Ada"), ("G1", "+15417543011", "Grace")] {
        let seen = ear.event(&format!("wamid.{id}")).await;
        super::has(&seen, &json!({ "text": id, "from": from, "chat": from, "name": name }));
    }
    super::has(&ear.event("wamid.G2").await, &json!({ "from": "+15417543011", "name": "Grace" }));
    assert_eq!(ear.runs().await, 4, "what is of another number, of another field, or comes again, starts nothing");
    ear.becomes(&first, "delivered").await;
    ear.becomes(&second, "read").await;
    ear.stays(&first, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_meta_tells_besides_starts_nothing() {
    let ear = Ear::open(fake::meta::DIALECT).await;
    for emoji in [json!({ "message_id": "wamid.X", "emoji": "\u{1f44d}" }), json!({ "message_id": "wamid.X" })] {
        let reaction = json!({ "type": "reaction", "reaction": emoji });
        assert_eq!(ear.tell(&meta_message("wamid.REACTION", reaction)).await, 200);
    }
    for (field, value) in [
        ("message_template_status_update", json!({ "event": "APPROVED", "message_template_id": 1 })),
        ("account_update", json!({ "event": "VERIFIED_ACCOUNT" })),
        ("phone_number_quality_update", json!({ "event": "FLAGGED", "current_limit": "TIER_10K" })),
        ("calls", json!({ "calls": [{ "id": "wacid.A", "from": "15417543010", "event": "connect" }] })),
        ("something_new", json!({ "messages": [{ "id": "wamid.NEW", "from": "15417543010", "type": "text" }] })),
    ] {
        assert_eq!(ear.tell(&posted(vec![vec![change(field, OWN, value)]])).await, 200, "{field}");
    }
    for empty in [posted(vec![]), posted(vec![vec![]]), json!({ "object": "page", "entry": [] }), meta(json!({}))] {
        assert_eq!(ear.tell(&empty).await, 200, "{empty}");
    }
    assert_eq!(ear.runs().await, 0);
}
