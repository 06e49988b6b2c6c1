//! Raw fields (`extra`): they add to a request, and change nothing that is on record of the message.

use serde_json::{Value, json};

use super::Desk;
use super::fake::{self, Dialect};

const PHONE: &str = "+15417543010";

/// Messages of kinds that make very different requests.
fn kinds() -> Vec<Value> {
    vec![
        json!({ "text": "Hi" }),
        json!({ "kind": "link", "url": "MEDIA/bare", "title": "A", "description": "B", "caption": "C" }),
        json!({ "kind": "image", "source": "files/a.png", "caption": "c" }),
        json!({ "kind": "image", "source": "MEDIA/a.jpg" }),
        json!({ "kind": "location", "latitude": 1.5, "longitude": 2.5 }),
        json!({ "kind": "poll", "question": "When?", "options": ["Mo", "Tu"] }),
        json!({ "kind": "reaction", "message": "ABC", "emoji": "x" }),
        json!({ "kind": "template", "name": "HX0", "language": "en", "variables": { "1": "Ada" } }),
    ]
}

/// What the dialects call whom, who and where to, in some of the writings that servers take for the same.
fn addressing() -> Vec<Value> {
    let other = "15550109999";
    let names = [
        "to",
        "To",
        "TO",
        "phone",
        "PHONE",
        "Phone",
        "phone_number",
        "phoneNumber",
        "number",
        "Number",
        "recipient",
        "recipients",
        "recipient_type",
        "chatId",
        "chat_id",
        "CHATID",
        "jid",
        "remoteJid",
        "wa_id",
        "waId",
        "session",
        "Session",
        "device_id",
        "instance_id",
        "instance",
        "access_token",
        "apikey",
        "From",
        "from",
        "sender",
        "MessagingServiceSid",
        "messaging_service_sid",
        "StatusCallback",
        "statuscallback",
        "callback_url",
        "webhook",
        "phone[]",
        "phone[0]",
        "to.phone",
        " to",
        "to ",
        "",
        "_method",
        "__proto__",
    ];
    let mut all: Vec<Value> = names.iter().map(|name| json!({ *name: other })).collect();
    all.push(json!({ "future": { "number": other } }));
    all.push(json!({ "future": [{ "deep": { "chatId": other } }] }));
    all.push(json!({ "fine": "x", "zone": { "StatusCallback": "http://127.0.0.1/" } }));
    all
}

/// What the dialect calls the words of a message.
fn words(name: &str) -> &'static [&'static str] {
    match name {
        "gowa" => {
            &["message", "Message", "caption", "image", "image_url", "IMAGE_URL", "link", "ptt", "reply_message_id"]
        }
        "wapim" => &["message", "MESSAGE", "content_url", "url", "caption"],
        "wawp" => &["message", "text", "file", "File", "caption", "reply_to"],
        "waha" => &["text", "TEXT", "file", "caption", "preview", "id", "reply_to", "replyTo"],
        "meta" => &["messaging_product", "type", "Type", "text", "image", "interactive", "template", "status"],
        "evolution" => &["text", "Text", "media", "mediatype", "options", "textMessage", "text_message", "key"],
        "express-chat" => &["message", "Message", "type", "userName", "templateId"],
        "twilio" => &["Body", "body", "BODY", "MediaUrl", "mediaurl", "ContentSid", "PersistentAction"],
        other => panic!("{other}"),
    }
}

async fn nothing_is_replaced(dialect: Dialect) {
    let desk = Desk::open(dialect, "").await;
    let with = |wish: &Value, extra: Value| {
        let mut wish = wish.clone();
        (wish["to"], wish["account"], wish["extra"]) = (PHONE.into(), "main".into(), extra);
        wish
    };
    for kind in kinds() {
        // Kinds that the gateway has not at all are refused for that.
        let plain = desk.send(&with(&kind, json!({}))).await;
        if plain.requests.is_empty() {
            continue;
        }
        let added = desk.send(&with(&kind, json!({ "future": { "a": [1, "x"] } }))).await;
        assert_eq!(added.message["state"], plain.message["state"], "{} {kind}: {}", dialect.name, added.message);
        assert!(added.requests.iter().any(|got| String::from_utf8_lossy(&got.body).contains("future")), "{kind}");
        let extras = addressing().into_iter().chain(words(dialect.name).iter().map(|name| json!({ *name: "EVIL" })));
        for extra in extras {
            let refused = desk.send(&with(&kind, extra.clone())).await;
            let what = format!("{} {kind} {extra}: {}", dialect.name, refused.message);
            assert!(refused.requests.is_empty(), "{what}");
            assert_eq!(refused.message["state"], "rejected", "{what}");
            assert_eq!(refused.message["attempts"][0]["outcome"], "invalid", "{what}");
            let why = refused.message["why"].as_str().unwrap();
            assert!(why.contains("`extra` may not have the field `"), "{what}");
        }
    }
}

macro_rules! each {
    ($($test:ident: $name:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            nothing_is_replaced(fake::$name::DIALECT).await;
        }
    )*};
}

each! {
    gowa_takes_raw_fields_beside_its_own: gowa;
    wapim_takes_raw_fields_beside_its_own: wapim;
    wawp_takes_raw_fields_beside_its_own: wawp;
    express_chat_takes_raw_fields_beside_its_own: express_chat;
    waha_takes_raw_fields_beside_its_own: waha;
    meta_takes_raw_fields_beside_its_own: meta;
    evolution_takes_raw_fields_beside_its_own: evolution;
    twilio_takes_raw_fields_beside_its_own: twilio;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_refusal_names_the_field_and_what_to_write_instead() {
    let desk = Desk::open(fake::gowa::DIALECT, "").await;
    for (extra, field, instead) in [
        (json!({ "phone": "1" }), "`phone`", "`to`"),
        (json!({ "a": { "ChatId": "1" } }), "`a.ChatId`", "`to`"),
        (json!({ "session": "1" }), "`session`", "another `account`"),
        (json!({ "callback": "1" }), "`callback`", "`public_url`"),
        (json!({ "message": "1" }), "`message`", "own options"),
        (json!({ "a[b]": "1" }), "`a[b]`", "letters, digits"),
    ] {
        let wish = json!({ "to": PHONE, "text": "Hi", "account": "main", "extra": extra });
        let refused = desk.send(&wish).await.message;
        let why = refused["why"].as_str().unwrap();
        assert!(why.contains(field) && why.contains(instead) && why.contains("gowa"), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_goes_to_no_other_chat() {
    for dialect in [fake::waha::DIALECT, fake::wawp::DIALECT] {
        let desk = Desk::open(dialect, "").await;
        let mark = |id: &str| json!({ "kind": "reaction", "to": PHONE, "message": id, "emoji": "x" });
        let refused = desk.send(&mark("false_15550109999@c.us_ABC")).await;
        assert!(refused.requests.is_empty());
        assert_eq!(refused.message["attempts"][0]["outcome"], "invalid", "{}", refused.message);
        assert_eq!(desk.send(&mark("false_15417543010@c.us_ABC")).await.requests.len(), 1);
    }
    let desk = Desk::open(fake::gowa::DIALECT, "").await;
    for id in ["..", "../../send/message", "a%2Fb", "a?phone=1", "a#b", "a\\b"] {
        let refused = desk.send(&json!({ "kind": "reaction", "to": PHONE, "message": id, "emoji": "x" })).await;
        assert!(refused.requests.is_empty(), "{id}");
        assert_eq!(refused.message["state"], "rejected", "{id}: {}", refused.message);
    }
}
