//! What no gateway would post: refused or taken, but never an error of ours, and the next one is heard.

use serde_json::{Value, json};

use super::{Ear, TALKING, TOKEN, said};
use crate::gateways::fake::{self, Dialect};

/// A place in a value for every field and element of it, the whole first.
fn places(value: &Value, place: &str, found: &mut Vec<String>) {
    found.push(place.to_owned());
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                places(inner, &format!("{place}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (number, inner) in items.iter().enumerate() {
                places(inner, &format!("{place}/{number}"), found);
            }
        }
        _ => {}
    }
}

/// What stands where something else belongs.
fn strange() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("0@lid\u{0}"),
        json!("9999999999999999999999999999"),
        json!([]),
        json!({ "a": { "a": [1, "x", null] } }),
        json!([[null], "x"]),
    ]
}

/// A message with much in it, and how far one of ours is.
fn samples(gateway: &str) -> Vec<Value> {
    // Only Meta says of a failure more than the word.
    let step = if gateway == "meta" { "failed" } else { "delivered" };
    let mut samples: Vec<Value> = said::ack(gateway, "3EB0AA", step).into_iter().collect();
    samples.push(match gateway {
        "gowa" => said::gowa_message(
            "HOST",
            json!({ "image": { "path": "a.jpeg", "caption": "c" }, "replied_to_id": "A", "from_lid": "77@lid" }),
        ),
        "waha" | "wawp" => {
            let media =
                json!({ "url": "http://localhost:3000/api/files/a.jpg", "mimetype": "image/jpeg", "filename": "a" });
            let more = json!({ "hasMedia": true, "media": media, "replyTo": { "id": "A", "body": "b" }, "vCards": ["x"],
                "location": { "latitude": "1", "longitude": "2" } });
            said::waha(gateway, "message", said::waha_message("HOST", more))
        }
        "meta" => said::meta_message(
            "wamid.HOST",
            json!({ "type": "image", "image": { "id": "1", "mime_type": "image/jpeg", "caption": "c" },
                "context": { "id": "wamid.A", "from": "1" } }),
        ),
        "evolution" => {
            let image = json!({ "mimetype": "image/jpeg", "caption": "c", "fileLength": "1",
                "contextInfo": { "stanzaId": "A" } });
            let more = json!({ "messageType": "imageMessage", "message": { "imageMessage": image } });
            said::evolution_message("HOST", more)
        }
        "twilio" => said::twilio(
            "SMHOST",
            &[
                ("NumMedia", "1"),
                ("MediaUrl0", "https://api.twilio.com/a"),
                ("MediaContentType0", "image/jpeg"),
                ("Latitude", "1"),
                ("Longitude", "2"),
                ("OriginalRepliedMessageSid", "SM1"),
            ],
        ),
        "wapim" => said::wapim("HOST", json!({ "text": "t" })),
        other => panic!("{other}"),
    });
    samples
}

async fn survives_strange_values(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    for sample in samples(dialect.name) {
        let mut all = Vec::new();
        places(&sample, "", &mut all);
        for place in &all {
            // A form has no values in values.
            if dialect.name == "twilio" && place.is_empty() {
                continue;
            }
            for other in strange() {
                let mut event = sample.clone();
                *event.pointer_mut(place).unwrap() = other;
                let status = ear.tell(&event).await;
                assert!(status == 200 || status == 400, "{status} {place}: {event}");
            }
            let mut event = sample.clone();
            if let Some((parent, name)) = place.rsplit_once('/')
                && let Some(Value::Object(fields)) = event.pointer_mut(parent)
            {
                fields.remove(name);
                let status = ear.tell(&event).await;
                assert!(status == 200 || status == 400, "{status} without {place}: {event}");
            }
        }
    }
    goes_on(&ear).await;
}

/// The next message is heard, and the API still answers.
async fn goes_on(ear: &Ear) {
    ear.runs().await;
    ear.house.get("/runs?limit=1000").await;
    ear.house.get("/messages?limit=1000").await;
}

each! {
    strange_values_of_gowa: survives_strange_values gowa;
    strange_values_of_wapim: survives_strange_values wapim;
    strange_values_of_wawp: survives_strange_values wawp;
    strange_values_of_waha: survives_strange_values waha;
    strange_values_of_meta: survives_strange_values meta;
    strange_values_of_evolution: survives_strange_values evolution;
    strange_values_of_twilio: survives_strange_values twilio;
}

/// Bodies that are strange as a whole.
fn bodies() -> Vec<Vec<u8>> {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    let large = "x".repeat(3_900 * 1024);
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "true",
        "0",
        "-0.0",
        "1e400",
        "[]",
        "{}",
        "\"x\"",
        "[null]",
        "{\"event\":null}",
        "{",
        "}",
        "[1,",
        "{\"event\":\"message\",\"event\":\"message.ack\",\"payload\":{},\"payload\":[]}",
        "{\"a\":\"\\ud800\"}",
        "{\"entry\":[]}",
        "{\"entry\":[{}]}",
        "{\"entry\":[{\"changes\":[{}]}]}",
        "{\"entry\":{\"0\":{}}}",
        "{\"data\":[[],[{}]]}",
        "\u{feff}{}",
        "From",
        "From=&From=&MessageSid=%FF%FE&=&&%",
        "a=1&a=2&%00=%00",
        "<?xml version=\"1.0\"?><a/>",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    bodies.extend([
        vec![0; 1000],
        vec![0xff, 0xfe, 0x00],
        nested(100),
        nested(200_000),
        "{\"a\":".repeat(100_000).into_bytes(),
    ]);
    bodies.push(format!("{{\"event\":\"{large}\"}}").into_bytes());
    bodies.push(format!("[{}1]", "1,".repeat(1_000_000)).into_bytes());
    bodies.push(format!("{{\"entry\":[{}{{}}]}}", "{\"changes\":[{\"value\":{}}]},".repeat(100_000)).into_bytes());
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_bodies_break_nothing() {
    for dialect in TALKING {
        let ear = Ear::open(dialect).await;
        for body in bodies() {
            let start = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
            let status = ear.post(&format!("/gateways/main/{TOKEN}"), body).await;
            // What is no form that anybody could sign twice alike may also count as not signed.
            let fine = status == 200 || status == 400 || (dialect.name == "twilio" && status == 401);
            assert!(fine, "{}: {status} {start}", dialect.name);
        }
        goes_on(&ear).await;
    }
    let ear = Ear::open(fake::express_chat::DIALECT).await;
    for body in bodies() {
        assert!(ear.post(&format!("/gateways/main/{TOKEN}"), body).await < 500);
    }
    ear.house.get("/runs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_be_long() {
    for dialect in [fake::gowa::DIALECT, fake::meta::DIALECT, fake::twilio::DIALECT] {
        let ear = Ear::open(dialect).await;
        let text = "\u{e4}bc ".repeat(3_900 * 1024 / 5);
        // As a form it is longer, for every letter that is not of ASCII takes six.
        let text = if dialect.name == "twilio" { "abc-".repeat(3_900 * 256) } else { text };
        let event = said::text(dialect.name, "AA01", &text);
        assert_eq!(ear.tell(&event).await, 200, "{}", dialect.name);
        goes_on(&ear).await;
        // Ids, too, are of somebody else's making.
        let event = said::text(dialect.name, &"A".repeat(100_000), "Hi");
        let status = ear.tell(&event).await;
        assert!(status == 200 || status == 400, "{}: {status}", dialect.name);
        goes_on(&ear).await;
    }
}
