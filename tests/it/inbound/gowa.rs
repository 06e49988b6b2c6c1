//! What GOWA tells, after its `docs/webhook-payload.md` and the code behind it.

use serde_json::json;

use super::Ear;
use super::said::{GROUP, PHONE, gowa, gowa_message};
use crate::gateways::fake;

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_to_gowa() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let image = "statics/media/1752404751-ad9e37ac-c658-4fe5-8d25-ba4a3f4d58fd.jpeg";
    let card = "BEGIN:VCARD\nVERSION:3.0\nN:;3Care;;;\nFN:3Care\nTEL;type=Mobile:+62 132\nEND:VCARD";
    let lid = "251556368777322@lid";
    for (id, more, wanted) in [
        (
            "TEXT",
            json!({ "body": "H\u{e9}llo \u{1f44b}\nsecond line", "from_lid": lid, "sender_display_name": "Ada L." }),
            json!({ "kind": "text", "text": "H\u{e9}llo \u{1f44b}\nsecond line", "name": "Ada", "media": null,
                "reply_to": null }),
        ),
        (
            "REPLY",
            json!({ "body": "Fine, thanks!", "replied_to_id": "3EB0C127D7BACC83D6A1", "quoted_body": "How are you?" }),
            json!({ "kind": "text", "text": "Fine, thanks!", "reply_to": "3EB0C127D7BACC83D6A1" }),
        ),
        ("FORWARDED", json!({ "body": "Look", "forwarded": true }), json!({ "kind": "text", "text": "Look" })),
        ("BARE", json!({ "image": image }), json!({ "kind": "image", "media": { "kind": "image" } })),
        (
            "CAPTION",
            json!({ "image": { "path": image, "caption": "Check this out!" }, "body": "Check this out!" }),
            json!({ "kind": "image", "text": "Check this out!", "media": { "kind": "image" } }),
        ),
        (
            "REMOTE",
            json!({ "image": { "url": "https://mmg.whatsapp.net/o1/v/t24/f2", "caption": "There" }, "body": "There" }),
            json!({ "kind": "image", "text": "There" }),
        ),
        ("ONCE", json!({ "image": image, "view_once": true }), json!({ "kind": "image" })),
        (
            "VIDEO",
            json!({ "video": { "path": "statics/media/1-a.mp4", "caption": "Watch!" }, "body": "Watch!" }),
            json!({ "kind": "video", "text": "Watch!", "media": { "kind": "video" } }),
        ),
        ("NOTE", json!({ "video_note": "statics/media/1752404990-videonote.mp4" }), json!({ "kind": "video" })),
        (
            "FILE",
            json!({ "document": { "path": "statics/media/1-c.pdf", "caption": "Report" }, "body": "Report" }),
            json!({ "kind": "file", "text": "Report", "media": { "kind": "file" } }),
        ),
        (
            "NAMED",
            json!({ "document": { "url": "https://mmg.whatsapp.net/v/t62", "filename": "report.pdf" } }),
            json!({ "kind": "file", "media": { "kind": "file", "name": "report.pdf" } }),
        ),
        ("STICKER", json!({ "sticker": "statics/media/1-b.webp" }), json!({ "kind": "sticker" })),
        (
            "PLACE",
            json!({ "location": { "degreesLatitude": -6.2088, "degreesLongitude": 106.8456, "name": "Jakarta" } }),
            json!({ "kind": "location", "media": null }),
        ),
        (
            "LIVE",
            json!({ "live_location": { "degreesLatitude": -7.8050297, "degreesLongitude": 110.4549165 } }),
            json!({ "kind": "location" }),
        ),
        (
            "CARD",
            json!({ "contact": { "displayName": "3Care", "vcard": card, "phone_number": "62132" } }),
            json!({ "kind": "contact", "media": null }),
        ),
        (
            "CARDS",
            json!({ "contacts_array": [{ "displayName": "3", "vcard": card }, { "displayName": "4", "vcard": card }] }),
            json!({ "kind": "contact" }),
        ),
        (
            "GROUP",
            json!({ "chat_id": GROUP, "from_lid": lid, "body": "Hi all" }),
            json!({ "chat": GROUP, "from": PHONE, "text": "Hi all", "name": "Ada" }),
        ),
        (
            "HIDDEN",
            json!({ "chat_id": "77512345678901@lid", "chat_lid": "77512345678901@lid", "from": "77512345678901@lid",
                "from_lid": "77512345678901@lid", "body": "Psst" }),
            json!({ "chat": "77512345678901@lid", "from": "77512345678901@lid", "text": "Psst" }),
        ),
    ] {
        ear.hears(&gowa_message(id, more), id, wanted).await;
    }
    // Whether it was spoken into the phone is not told.
    let audio = gowa_message("AUDIO", json!({ "audio": "statics/media/1752404905-b9393cd1.ogg" }));
    assert_eq!(ear.tell(&audio).await, 200);
    let audio = ear.event("AUDIO").await;
    assert!(audio["kind"] == "audio" || audio["kind"] == "voice", "{audio}");
    assert_eq!(audio["media"]["kind"], audio["kind"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gowa_tells_besides_starts_nothing() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    let own = "628123456789@s.whatsapp.net";
    let jid = "15417543010@s.whatsapp.net";
    let from = json!({ "id": "X", "chat_id": jid, "from": jid, "from_name": "Ada", "timestamp": "2026-11-20T07:00:00Z",
        "is_from_me": false });
    let more = |more| super::said::with(from.clone(), more);
    for (event, payload) in [
        ("message", more(json!({ "id": "OWN1", "from": own, "is_from_me": true, "body": "typed on the phone" }))),
        ("message", more(json!({ "id": "OWN2", "is_from_me": true, "body": "to whom it may concern" }))),
        (
            "message",
            more(json!({ "id": "OWN3", "chat_id": GROUP, "from": own, "is_from_me": true, "image": "a.jpeg" })),
        ),
        ("message.reaction", more(json!({ "reaction": "\u{1f44d}", "reacted_message_id": "3EB0C127D7BACC83D6A1" }))),
        ("message.reaction", more(json!({ "reaction": "", "reacted_message_id": "3EB0C127D7BACC83D6A1" }))),
        ("message.edited", more(json!({ "original_message_id": "94D13237", "body": "Updated message text" }))),
        (
            "message.revoked",
            more(json!({ "revoked_message_id": "94D1", "revoked_from_me": false, "revoked_chat": jid })),
        ),
        (
            "message.deleted",
            json!({ "deleted_message_id": "94D1", "timestamp": "2026-11-20T07:00:00Z", "from": jid, "chat_id": jid,
                "original_content": "Hello", "original_sender": jid, "was_from_me": false }),
        ),
        ("message.ack", json!({ "ids": ["94D1"], "chat_id": jid, "from": jid, "receipt_type": "read" })),
        ("chat_presence", json!({ "from": jid, "chat_id": jid, "state": "composing", "media": "", "is_group": false })),
        ("group.participants", json!({ "chat_id": GROUP, "type": "join", "jids": [jid] })),
        ("group.joined", json!({ "chat_id": GROUP, "name": "Shop" })),
        ("newsletter.joined", json!({ "newsletter_id": "120363123456789@newsletter", "name": "News" })),
        (
            "newsletter.message",
            json!({ "newsletter_id": "120363123456789@newsletter", "messages": [{ "server_id": 123,
                "message_id": "ABC123DEF456", "type": "text", "views_count": 1500 }] }),
        ),
        ("label.edit", json!({ "label_id": "1", "name": "New" })),
        ("call.offer", json!({ "call_id": "ABC123DEF456", "from": jid, "auto_rejected": false })),
        ("something.new", json!({ "body": "of a later version" })),
    ] {
        assert_eq!(ear.tell(&gowa(event, payload)).await, 200, "{event}");
    }
    assert_eq!(ear.runs().await, 0);
}
