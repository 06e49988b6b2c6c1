//! A gateway that says back what it got: not a letter of a credential is kept.

use axum::body::Bytes;
use serde_json::json;

use super::Desk;
use super::fake::{self, Mood};

const TO: &str = "+15417543010";

#[tokio::test(flavor = "multi_thread")]
async fn no_piece_of_an_authorization_header_is_shown() {
    for dialect in [fake::gowa::DIALECT, fake::twilio::DIALECT] {
        let desk = Desk::open(dialect, "").await;
        let sent = desk.send(&json!({ "to": TO, "text": "Hi" })).await;
        let header = sent.requests[0].header("authorization").unwrap().to_owned();
        let encoded = header.strip_prefix("Basic ").unwrap().to_owned();
        let form: String = form_urlencoded::byte_serialize(encoded.as_bytes()).collect();
        for echo in [
            header.clone(),
            encoded.trim_end_matches('=').to_owned(),
            form.clone(),
            form.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d"),
            encoded.replace('/', "\\/"),
            encoded.replace('+', "-").replace('/', "_"),
        ] {
            // Two letters of four are enough to give away one of the secret.
            let pieces: Vec<String> =
                encoded.as_bytes().windows(4).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
            let said = json!({ "code": "x", "message": format!("you sent `{echo}`") });
            desk.fake.is(Mood::Says(400, Vec::new(), Bytes::from(said.to_string())));
            let message = desk.send(&json!({ "to": TO, "text": "Hi" })).await.message;
            let why = message["attempts"][0]["error"].as_str().unwrap();
            assert!(why.contains("you sent `") && why.contains("***"), "{why}");
            let left = why.split_once("you sent `").unwrap().1;
            let shown: Vec<&String> = pieces.iter().filter(|piece| left.contains(piece.as_str())).collect();
            assert!(shown.is_empty(), "{}: {left} shows {shown:?}", dialect.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_says_is_kept_within_bounds() {
    for dialect in [fake::gowa::DIALECT, fake::meta::DIALECT, fake::evolution::DIALECT] {
        let desk = Desk::open(dialect, "").await;
        let long = "\u{1b}[2J\u{202e}\u{2028}x\u{7}".repeat(20_000);
        let said = json!({ "code": "x", "message": long, "error": { "message": long, "code": 100 },
            "response": { "message": [long] } });
        for body in [
            Bytes::from(said.to_string()),
            Bytes::from("[".repeat(200_000)),
            Bytes::from("{\"error\":".repeat(20_000)),
            Bytes::from(vec![0xff; 3 << 20]),
        ] {
            desk.fake.is(Mood::Says(400, Vec::new(), body));
            let message = desk.send(&json!({ "to": TO, "text": "Hi" })).await.message;
            let why = message["attempts"][0]["error"].as_str().unwrap();
            assert!(why.len() <= 4_096, "{}: {} bytes", dialect.name, why.len());
            let odd = |c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c);
            assert!(!why.contains(odd), "{}: {why:?}", dialect.name);
        }
        // An id is another's as well.
        let id = "A".repeat(200_000);
        let said = json!({ "code": "SUCCESS", "results": { "message_id": id }, "messages": [{ "id": id }], "key": { "id": id } });
        desk.fake.is(Mood::Says(200, Vec::new(), Bytes::from(said.to_string())));
        let message = desk.send(&json!({ "to": TO, "text": "Hi" })).await.message;
        assert!(message.to_string().len() < 10_000, "{}", dialect.name);
    }
}
