//! What WAHA tells, after its pages and its OpenAPI file, and Wawp, which is a WAHA that somebody hosts.

use serde_json::{Value, json};

use super::Ear;
use super::said::{self, GROUP, PHONE, waha, waha_message};
use crate::gateways::fake::{self, Dialect};

const CHAT: &str = "15417543010@c.us";
const OWN: &str = "15550100009@c.us";

async fn what_people_write(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let media = |mime: &str, name: Option<&str>| {
        json!({ "url": "http://localhost:3000/api/files/shop/false_15417543010@c.us_AAAA.bin", "mimetype": mime,
            "filename": name, "s3": null, "error": null })
    };
    let card = "BEGIN:VCARD\nVERSION:3.0\nFN:Jane Doe\nTEL;type=CELL;waid=911111111111:+91 11111 11111\nEND:VCARD";
    let jpeg = "image/jpeg";
    for (bare, more, wanted) in [
        (
            "TEXT",
            json!({ "body": "H\u{e9}llo \u{1f44b}" }),
            json!({ "kind": "text", "text": "H\u{e9}llo \u{1f44b}", "media": null, "reply_to": null }),
        ),
        (
            "CAPTION",
            json!({ "body": "Check this out!", "hasMedia": true, "media": media(jpeg, None) }),
            json!({ "kind": "image", "text": "Check this out!", "media": { "kind": "image", "mime": jpeg } }),
        ),
        // It was not downloaded, because nobody told WAHA to.
        (
            "ABSENT",
            json!({ "body": "There", "hasMedia": true, "media": { "url": null, "mimetype": jpeg, "filename": null } }),
            json!({ "kind": "image", "text": "There" }),
        ),
        (
            "FILE",
            json!({ "body": null, "hasMedia": true, "media": media("application/pdf", Some("some-file.pdf")) }),
            json!({ "kind": "file", "media": { "kind": "file", "mime": "application/pdf", "name": "some-file.pdf" } }),
        ),
        (
            "VIDEO",
            json!({ "hasMedia": true, "media": media("video/mp4", None) }),
            json!({ "kind": "video", "media": { "kind": "video", "mime": "video/mp4" } }),
        ),
        (
            "PLACE",
            json!({ "location": { "latitude": "52.52", "longitude": "13.405", "live": false, "name": "Office" } }),
            json!({ "kind": "location", "media": null }),
        ),
        ("CARD", json!({ "vCards": [card] }), json!({ "kind": "contact", "media": null })),
    ] {
        let event = waha(ear.gateway(), "message", waha_message(bare, more));
        ear.hears(&event, &said::id(ear.gateway(), bare), wanted).await;
    }
    let voice = json!({ "hasMedia": true, "media": media("audio/ogg; codecs=opus", None) });
    assert_eq!(ear.tell(&waha(ear.gateway(), "message", waha_message("VOICE", voice))).await, 200);
    let voice = ear.event(&said::id(ear.gateway(), "VOICE")).await;
    assert!(voice["kind"] == "audio" || voice["kind"] == "voice", "{voice}");
    // The id of what is quoted comes bare in some versions, and whole in others.
    for (bare, quoted) in [("REPLY1", "AAAAAAAAAAAAAAAAAAAA"), ("REPLY2", "true_15417543010@c.us_AAAAAAAAAAAAAAAAAAAA")]
    {
        let reply = json!({ "id": quoted, "participant": OWN, "body": "Ok?", "hasMedia": false, "media": null });
        let event = waha(ear.gateway(), "message", waha_message(bare, json!({ "body": "Yes!", "replyTo": reply })));
        ear.hears(&event, &said::id(ear.gateway(), bare), json!({ "kind": "text", "text": "Yes!" })).await;
        let event = ear.event(&said::id(ear.gateway(), bare)).await;
        assert!(event["reply_to"].as_str().unwrap().ends_with("AAAAAAAAAAAAAAAAAAAA"), "{event}");
    }
    let id = format!("false_{GROUP}_GROUP_{CHAT}");
    let group = json!({ "id": id, "from": GROUP, "participant": CHAT, "body": "Hi all" });
    let wanted = json!({ "chat": GROUP, "from": PHONE, "text": "Hi all" });
    ear.hears(&waha(ear.gateway(), "message", waha_message("GROUP", group)), &id, wanted).await;
    let lid = "77512345678901@lid";
    let id = format!("false_{lid}_HIDDEN");
    let hidden = json!({ "id": id, "from": lid, "body": "Psst" });
    let wanted = json!({ "chat": lid, "from": lid, "text": "Psst" });
    ear.hears(&waha(ear.gateway(), "message", waha_message("HIDDEN", hidden)), &id, wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_to_waha() {
    what_people_write(fake::waha::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_to_wawp() {
    what_people_write(fake::wawp::DIALECT).await;
}

async fn one_message_under_two_names(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let message = |bare: &str| waha_message(bare, json!({ "body": "Hi" }));
    let tell = async |name: &str, message: &Value| {
        assert_eq!(ear.tell(&waha(ear.gateway(), name, message.clone())).await, 200);
    };
    for (bare, first, second) in [("A", "message", "message.any"), ("B", "message.any", "message")] {
        tell(first, &message(bare)).await;
        tell(second, &message(bare)).await;
    }
    tell("message.any", &message("C")).await;
    assert_eq!(ear.runs().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn waha_tells_one_message_under_two_names() {
    one_message_under_two_names(fake::waha::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wawp_tells_one_message_under_two_names() {
    one_message_under_two_names(fake::wawp::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_vote_is_a_choice() {
    let ear = Ear::open(fake::waha::DIALECT).await;
    let id = "false_15417543010@c.us_83ACBE602A05C79B234B54415E95EE8A";
    let vote = json!({ "id": id, "to": "me", "from": CHAT, "fromMe": false, "selectedOptions": ["Awesome!"],
        "timestamp": 1_795_158_000_123_i64 });
    let poll = json!({ "id": "true_15417543010@c.us_BAE5F2EF5C69001E", "to": CHAT, "from": "me", "fromMe": true });
    let event = waha("waha", "poll.vote", json!({ "vote": vote, "poll": poll }));
    ear.hears(&event, id, json!({ "kind": "choice", "text": "Awesome!" })).await;
}

async fn besides(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let own = |bare: &str, more| {
        let id = format!("true_{CHAT}_{bare}");
        said::with(waha_message(bare, json!({ "id": id, "from": OWN, "fromMe": true, "to": CHAT, "body": "Hi" })), more)
    };
    let reaction = |mark: &str| {
        json!({ "id": "false_15417543010@c.us_1111", "from": CHAT, "fromMe": false, "participant": CHAT, "to": OWN,
            "source": "app", "timestamp": 1_795_158_000.853,
            "reaction": { "text": mark, "messageId": "true_15417543010@c.us_2222" } })
    };
    let plain = |bare: &str| waha_message(bare, json!({ "body": "New words" }));
    for (event, payload) in [
        ("message.any", own("OWN1", json!({ "source": "app" }))),
        ("message.any", own("OWN2", json!({ "source": "api" }))),
        // Some engines name the chat as the sender, some pages show own ones under this name too.
        ("message.any", own("OWN3", json!({ "from": CHAT }))),
        ("message", own("OWN4", json!({}))),
        ("message.reaction", reaction("\u{1f64f}")),
        ("message.reaction", reaction("")),
        ("message.edited", said::with(plain("EDIT"), json!({ "editedMessageId": "AAAAAAAAAAAAAAAA" }))),
        ("message.revoked", json!({ "after": plain("GONE"), "revokedMessageId": "AAAAAAAAAAAAAAAA", "before": null })),
        ("message.waiting", plain("WAITING")),
        (
            "message.ack",
            json!({ "id": "true_15417543010@c.us_3333", "from": CHAT, "fromMe": true, "ack": 3, "ackName": "READ" }),
        ),
        ("session.status", json!({ "name": "shop", "status": "WORKING", "statuses": [], "data": null })),
        (
            "presence.update",
            json!({ "id": CHAT, "presences": [{ "participant": CHAT, "lastKnownPresence": "typing" }] }),
        ),
        (
            "call.received",
            json!({ "id": "ABC", "from": CHAT, "timestamp": 1_795_158_000, "isVideo": false, "isGroup": false }),
        ),
        (
            "group.v2.participants",
            json!({ "type": "join", "timestamp": 1, "group": { "id": GROUP }, "participants": [] }),
        ),
        ("chat.archive", json!({ "id": CHAT, "archived": true, "timestamp": 1_795_158_000 })),
        ("label.upsert", json!({ "id": "10", "name": "New", "color": 14, "colorHex": "#00a0f2" })),
        ("engine.event", json!({ "event": "messages.upsert", "data": { "messages": [{}] } })),
        ("something.new", plain("NEW")),
    ] {
        assert_eq!(ear.tell(&waha(ear.gateway(), event, payload)).await, 200, "{event}");
    }
    assert_eq!(ear.runs().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waha_tells_besides_starts_nothing() {
    besides(fake::waha::DIALECT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wawp_tells_besides_starts_nothing() {
    besides(fake::wawp::DIALECT).await;
}
