//! What Evolution tells: its envelope around the messages of Baileys.

use serde_json::{Value, json};

use super::Ear;
use super::said::{self, GROUP, NOW, PHONE, evolution, evolution_message};
use crate::gateways::fake;

const JID: &str = "15417543010@s.whatsapp.net";

/// A message of a kind, with what quotes another one if it does.
fn of(kind: &str, content: Value) -> Value {
    let context = content["contextInfo"].clone();
    json!({ "messageType": kind, "message": { kind: content }, "contextInfo": context })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_to_evolution() {
    let ear = Ear::open(fake::evolution::DIALECT).await;
    let quoted = json!({ "stanzaId": "3EB0C127D7BACC83D6A1", "participant": "15550100009@s.whatsapp.net",
        "quotedMessage": { "conversation": "How are you?" } });
    let file = json!({ "url": "https://mmg.whatsapp.net/o1/v/t24/f2", "directPath": "/o1/v", "mediaKey": "bWVkaWFLZXk=",
        "fileSha256": "c2hhMjU2", "fileEncSha256": "ZW5j", "fileLength": "81920", "mediaKeyTimestamp": "1795158000",
        "jpegThumbnail": "/9j/4AAQSkZJRgABAQ".repeat(400) });
    let media = |mime: &str, more: Value| said::with(said::with(file.clone(), json!({ "mimetype": mime })), more);
    let (jpeg, pdf, ogg) = ("image/jpeg", "application/pdf", "audio/ogg; codecs=opus");
    let card = "BEGIN:VCARD\nVERSION:3.0\nFN:Jane\nTEL;type=CELL;waid=911111111111:+91 11111 11111\nEND:VCARD";
    for (id, more, wanted) in [
        (
            "TEXT",
            json!({ "message": { "conversation": "H\u{e9}llo \u{1f44b}", "messageContextInfo": {} } }),
            json!({ "kind": "text", "text": "H\u{e9}llo \u{1f44b}", "name": "Ada", "media": null, "reply_to": null }),
        ),
        (
            "LINK",
            of("extendedTextMessage", json!({ "text": "See https://e.com", "matchedText": "https://e.com" })),
            json!({ "kind": "text", "text": "See https://e.com" }),
        ),
        (
            "REPLY",
            of("extendedTextMessage", json!({ "text": "Fine!", "contextInfo": quoted })),
            json!({ "kind": "text", "text": "Fine!", "reply_to": "3EB0C127D7BACC83D6A1" }),
        ),
        (
            "CAPTION",
            of("imageMessage", media(jpeg, json!({ "caption": "Check this out!", "height": 1280, "width": 960 }))),
            json!({ "kind": "image", "text": "Check this out!", "media": { "kind": "image", "mime": jpeg } }),
        ),
        ("BARE", of("imageMessage", media(jpeg, json!({}))), json!({ "kind": "image", "media": { "mime": jpeg } })),
        (
            "VIDEO",
            of("videoMessage", media("video/mp4", json!({ "caption": "Watch!", "seconds": 7 }))),
            json!({ "kind": "video", "text": "Watch!", "media": { "kind": "video", "mime": "video/mp4" } }),
        ),
        (
            "FILE",
            of(
                "documentMessage",
                media(pdf, json!({ "fileName": "report.pdf", "title": "report.pdf", "pageCount": 2 })),
            ),
            json!({ "kind": "file", "media": { "kind": "file", "mime": pdf, "name": "report.pdf" } }),
        ),
        ("STICKER", of("stickerMessage", media("image/webp", json!({}))), json!({ "kind": "sticker" })),
        (
            "PLACE",
            of("locationMessage", json!({ "degreesLatitude": 52.52, "degreesLongitude": 13.405, "name": "Office" })),
            json!({ "kind": "location", "media": null }),
        ),
        (
            "CARD",
            of("contactMessage", json!({ "displayName": "Jane", "vcard": card })),
            json!({ "kind": "contact", "media": null }),
        ),
        (
            "GROUP",
            json!({ "key": { "remoteJid": GROUP, "fromMe": false, "id": "GROUP", "participant": JID },
                "message": { "conversation": "Hi all" } }),
            json!({ "chat": GROUP, "from": PHONE, "text": "Hi all", "name": "Ada" }),
        ),
        (
            "HIDDEN",
            json!({ "key": { "remoteJid": "77512345678901@lid", "fromMe": false, "id": "HIDDEN" },
                "message": { "conversation": "Psst" } }),
            json!({ "chat": "77512345678901@lid", "from": "77512345678901@lid", "text": "Psst" }),
        ),
    ] {
        ear.hears(&evolution_message(id, more), id, wanted).await;
    }
    for (id, ptt) in [("VOICE", true), ("AUDIO", false)] {
        let audio = of("audioMessage", media(ogg, json!({ "seconds": 3, "ptt": ptt })));
        assert_eq!(ear.tell(&evolution_message(id, audio)).await, 200);
        let audio = ear.event(id).await;
        assert!(audio["kind"] == "audio" || audio["kind"] == "voice", "{audio}");
    }
    // The server's key comes along, and goes no further.
    for run in ear.house.runs_of("echo").await {
        let run = ear.house.get(&format!("/runs/{}", super::text_of(&run, "id"))).await;
        assert!(!run.to_string().contains("ev0/+key=one"), "{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_come_along_in_the_body() {
    let ear = Ear::open(fake::evolution::DIALECT).await;
    let image = json!({ "mimetype": "image/png", "caption": "Small", 
        "fileLength": { "low": 68, "high": 0, "unsigned": true } });
    let bytes = "iVBORw0KGgo".repeat(20_000);
    let message = json!({ "imageMessage": image, "base64": bytes, "mediaUrl": "https://s3.example/evolution/a.png" });
    let event = evolution_message("WHOLE", json!({ "messageType": "imageMessage", "message": message }));
    ear.hears(&event, "WHOLE", json!({ "kind": "image", "text": "Small", "media": { "mime": "image/png" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evolution_may_put_the_event_into_the_address() {
    let ear = Ear::open(fake::evolution::DIALECT).await;
    let event = said::text("evolution", "BELOW", "Hi");
    assert_eq!(ear.tell_below("/messages-upsert", &event).await, 200);
    super::has(&ear.event("BELOW").await, &json!({ "from": PHONE, "text": "Hi" }));
    // The same by both ways is the same.
    assert_eq!(ear.tell(&event).await, 200);
    assert_eq!(ear.tell_below("/messages-upsert", &event).await, 200);
    assert_eq!(ear.runs().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_evolution_tells_besides_starts_nothing() {
    let ear = Ear::open(fake::evolution::DIALECT).await;
    let key = |id: &str, own: bool| json!({ "remoteJid": JID, "fromMe": own, "id": id });
    let upsert = |kind: &str, own: bool, message: Value| {
        json!({ "key": key(kind, own), "pushName": "Ada", "status": "DELIVERY_ACK", "message": message,
            "messageType": kind, "messageTimestamp": NOW, "instanceId": "8f4f3a52", "source": "android" })
    };
    let thumb = json!({ "reactionMessage": { "key": key("3EB0", true), "text": "\u{1f44d}" } });
    let gone = json!({ "protocolMessage": { "key": key("3EB0", false), "type": "REVOKE" } });
    let edit = json!({ "protocolMessage": { "key": key("3EB0", false), "type": "MESSAGE_EDIT",
        "editedMessage": { "conversation": "New words" } } });
    for (event, data) in [
        ("messages.upsert", upsert("conversation", true, json!({ "conversation": "typed on the phone" }))),
        ("send.message", upsert("conversation", true, json!({ "conversation": "sent by somebody's program" }))),
        ("messages.upsert", upsert("reactionMessage", false, thumb)),
        ("messages.upsert", upsert("protocolMessage", false, gone)),
        ("messages.upsert", upsert("editedMessage", false, edit)),
        ("messages.edited", json!({ "key": key("3EB0", false), "type": "MESSAGE_EDIT" })),
        ("messages.delete", json!({ "id": "3EB0", "remoteJid": JID, "fromMe": false, "status": "DELETED" })),
        ("messages.update", json!({ "keyId": "3EB0", "remoteJid": JID, "fromMe": false, "status": "READ" })),
        ("messages.set", json!({ "messages": [] })),
        ("connection.update", json!({ "instance": "my shop", "state": "open", "statusReason": 200 })),
        (
            "qrcode.updated",
            json!({ "qrcode": { "instance": "my shop", "code": "2@x", "base64": "data:image/png;base64," } }),
        ),
        ("presence.update", json!({ "id": JID, "presences": { JID: { "lastKnownPresence": "composing" } } })),
        ("contacts.update", json!([{ "remoteJid": JID, "pushName": "Ada", "profilePicUrl": null }])),
        ("chats.upsert", json!([{ "remoteJid": JID, "unreadMessages": 1 }])),
        ("groups.upsert", json!([{ "id": GROUP, "subject": "Shop" }])),
        ("group-participants.update", json!({ "id": GROUP, "action": "add", "participants": [JID] })),
        ("call", json!({ "id": "ABC", "from": JID, "status": "offer", "isVideo": false })),
        ("something.new", json!("of a later version")),
    ] {
        assert_eq!(ear.tell(&evolution(event, data)).await, 200, "{event}");
    }
    assert_eq!(ear.runs().await, 0);
}
