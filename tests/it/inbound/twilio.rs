//! What Twilio tells: forms for messages, and others for what became of ours.

use serde_json::{Value, json};

use super::said::{self, twilio, twilio_status};
use super::{Ear, PUBLIC, TOKEN, text_of};
use crate::gateways::fake;

#[tokio::test(flavor = "multi_thread")]
async fn what_people_write_to_twilio() {
    let ear = Ear::open(fake::twilio::DIALECT).await;
    let url = "https://api.twilio.com/2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages/MM1/Media/ME1";
    let asked = "MM5cc44eecf7dab0d48d4529d0fa4af44d";
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Value);
    let cases: [Case<'_>; 8] = [
        (
            "1",
            &[("Body", "H\u{e9}llo & \u{1f44b} + 1=2")],
            json!({ "kind": "text", "text": "H\u{e9}llo & \u{1f44b} + 1=2", "name": "Ada", "media": null,
                "reply_to": null }),
        ),
        (
            "2",
            &[
                ("Body", "Fine!"),
                ("OriginalRepliedMessageSid", asked),
                ("OriginalRepliedMessageSender", "whatsapp:+14155238886"),
            ],
            json!({ "kind": "text", "text": "Fine!", "reply_to": asked }),
        ),
        (
            "3",
            &[
                ("MessageType", "image"),
                ("Body", "Check this out!"),
                ("NumMedia", "1"),
                ("MediaUrl0", url),
                ("MediaContentType0", "image/jpeg"),
            ],
            json!({ "kind": "image", "text": "Check this out!", "media": { "kind": "image", "mime": "image/jpeg" } }),
        ),
        (
            "4",
            &[
                ("MessageType", "document"),
                ("Body", "report.pdf"),
                ("NumMedia", "1"),
                ("MediaUrl0", url),
                ("MediaContentType0", "application/pdf"),
            ],
            json!({ "kind": "file", "media": { "kind": "file", "mime": "application/pdf" } }),
        ),
        (
            "5",
            &[("MessageType", "video"), ("NumMedia", "1"), ("MediaUrl0", url), ("MediaContentType0", "video/mp4")],
            json!({ "kind": "video", "media": { "kind": "video", "mime": "video/mp4" } }),
        ),
        (
            "6",
            &[
                ("MessageType", "location"),
                ("Latitude", "52.52"),
                ("Longitude", "13.405"),
                ("Address", "Alexanderplatz 1, Berlin"),
                ("Label", "Office"),
            ],
            json!({ "kind": "location", "media": null }),
        ),
        (
            "7",
            &[
                ("MessageType", "interactive"),
                ("Body", "Confirm"),
                ("ButtonText", "Confirm"),
                ("ButtonPayload", "{\"confirm\":1}"),
                ("OriginalRepliedMessageSid", asked),
                ("ExternalUserId", "whatsapp:ID.4566546130240823"),
            ],
            json!({ "kind": "choice", "text": "Confirm", "reply_to": asked }),
        ),
        (
            "8",
            &[("Body", "Look"), ("Forwarded", "true"), ("SomethingNew", "")],
            json!({ "kind": "text", "text": "Look" }),
        ),
    ];
    for (bare, more, wanted) in cases {
        let id = said::id("twilio", bare);
        ear.hears(&twilio(&id, more), &id, wanted).await;
    }
    let id = said::id("twilio", "9");
    let audio = [("MessageType", "audio"), ("NumMedia", "1"), ("MediaUrl0", url), ("MediaContentType0", "audio/ogg")];
    assert_eq!(ear.tell(&twilio(&id, &audio)).await, 200);
    let audio = ear.event(&id).await;
    assert!(audio["kind"] == "audio" || audio["kind"] == "voice", "{audio}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_asked_about_where_twilio_is_told_to_tell() {
    let ear = Ear::open(fake::twilio::DIALECT).await;
    let message = ear.write("Hi").await;
    let form = ear.fake.take()[0].form().unwrap();
    let callback = form.iter().find(|(name, _)| name == "StatusCallback").map(|(_, value)| value.clone());
    let callback = callback.expect("Twilio is told where to say how far a message is");
    let path = callback.strip_prefix(PUBLIC).expect("an address of ours");
    assert!(path.starts_with("/gateways/main") && path.contains(TOKEN), "{path}");
    // What it posts to that very address is believed.
    let status = twilio_status(text_of(&message, "provider_id"), "delivered", &[]);
    assert_eq!(ear.post(path, said::encoded(&said::fields(&status))).await, 200);
    ear.becomes(&message, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_twilio_tells_besides_starts_nothing_and_moves_nothing() {
    let ear = Ear::open(fake::twilio::DIALECT).await;
    let message = ear.write("Hi").await;
    let id = text_of(&message, "provider_id");
    for word in ["accepted", "scheduled", "queued", "sending"] {
        assert_eq!(ear.tell(&twilio_status(id, word, &[])).await, 200, "{word}");
    }
    for word in ["sent", "delivered", "read", "failed", "undelivered", "canceled", "something_new"] {
        let other = twilio_status("SM00000000000000000000000000000000", word, &[("EventType", "READ")]);
        assert_eq!(ear.tell(&other).await, 200, "{word}");
    }
    ear.stays(&message, "accepted").await;
    assert_eq!(ear.runs().await, 0);
}
