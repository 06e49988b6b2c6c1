//! The 24 hours after a person wrote: known from events, and minded before the call.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};

use super::{Desk, fake};
use crate::support::client;
use crate::support::engine::House;

const TO: &str = "+15417543010";

async fn event(house: &House, secret: &str, body: &str) -> u16 {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let url = format!("http://{}/gateways/main/anything", house.engine.address().listen);
    let request = client().post(url).header("x-hub-signature-256", signature).body(body.to_owned());
    request.send().await.unwrap().status().as_u16()
}

/// Messages as Meta sends them, several in one.
fn written(house: &House, from: &str) -> String {
    let seconds = postrider::clock::Clock::now(&*house.clock).as_second().to_string();
    json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1", "changes": [
        { "field": "message_template_status_update", "value": { "messages": [{ "from": "15417543099", "timestamp": seconds }] } },
        { "field": "messages", "value": { "messaging_product": "whatsapp",
            "metadata": { "phone_number_id": "106540352242922" },
            "contacts": [{ "wa_id": from, "user_id": "US.13491208655302741918" }],
            "messages": [{ "id": "wamid.X", "from": from, "from_user_id": "US.13491208655302741918",
                "timestamp": seconds, "type": "text", "text": { "body": "h\u{e9}llo" } }] } }] }] })
    .to_string()
}

async fn send(desk: &Desk, wish: Value) -> (String, Value, usize) {
    let outcome = desk.send(&wish).await;
    let class = outcome.message["attempts"][0]["outcome"].as_str().unwrap().to_owned();
    (class, outcome.message, outcome.requests.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_window_is_known_before_the_call() {
    let desk = Desk::open(fake::meta::DIALECT, "").await;
    let text = || json!({ "to": TO, "text": "Hi" });
    // Nothing was ever heard: nothing is known.
    assert_eq!(send(&desk, text()).await.0, "accepted");
    assert_eq!(event(&desk.house, "4pp/+meta=two", &written(&desk.house, "15417543010")).await, 200);
    desk.house.pass(Duration::from_secs(86_399));
    assert_eq!(send(&desk, text()).await.0, "accepted");
    desk.house.pass(Duration::from_secs(1));
    // No event for a day: perhaps none come any more, and nothing is known.
    assert_eq!(send(&desk, text()).await.0, "accepted");
    // A status of a message, say, shows that they do.
    assert_eq!(event(&desk.house, "4pp/+meta=two", r#"{"object":"whatsapp_business_account","entry":[]}"#).await, 200);
    let (class, message, requests) = send(&desk, text()).await;
    assert_eq!((class.as_str(), requests), ("window_closed", 0));
    assert!(message["why"].as_str().unwrap().contains("only a template"), "{message}");
    // Others who never wrote while we listened are outside too, by their other id as well.
    assert_eq!(send(&desk, json!({ "to": "+15417543011", "text": "Hi" })).await.0, "window_closed");
    assert_eq!(send(&desk, json!({ "to": "US.13491208655302741918", "text": "Hi" })).await.0, "window_closed");
    // Groups have no window, and of these countries Meta writes the phones in another way.
    for to in ["120363024512345678@g.us", "+5491123456789", "+525512345678"] {
        assert_eq!(send(&desk, json!({ "to": to, "text": "Hi" })).await.0, "accepted", "{to}");
    }
    let template = json!({ "kind": "template", "to": TO, "name": "hello", "language": "en" });
    assert_eq!(send(&desk, template).await.0, "accepted");
    // To another number of the same app, or hiding the phone: then it may be anybody.
    let elsewhere = written(&desk.house, "15417543010").replace("106540352242922", "999");
    assert_eq!(event(&desk.house, "4pp/+meta=two", &elsewhere).await, 200);
    assert_eq!(send(&desk, text()).await.0, "window_closed");
    let hidden = written(&desk.house, "15417543010").replace("\"from\":\"15417543010\",", "");
    assert_eq!(event(&desk.house, "4pp/+meta=two", &hidden).await, 200);
    assert_eq!(send(&desk, text()).await.0, "accepted");
    // They write, and it is open again.
    desk.house.pass(Duration::from_secs(86_400));
    assert_eq!(event(&desk.house, "4pp/+meta=two", &written(&desk.house, "15417543010")).await, 200);
    assert_eq!(send(&desk, text()).await.0, "accepted");
    assert_eq!(send(&desk, json!({ "to": "US.13491208655302741918", "text": "Hi" })).await.0, "accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_must_show_who_sends_them() {
    let desk = Desk::open(fake::meta::DIALECT, "").await;
    let body = written(&desk.house, "15417543010");
    assert_eq!(event(&desk.house, "another secret", &body).await, 401);
    let base = format!("http://{}/gateways", desk.house.engine.address().listen);
    let status = async |url: String| client().get(url).send().await.unwrap().status().as_u16();
    assert_eq!(client().post(format!("{base}/main")).body(body).send().await.unwrap().status(), 401);
    assert_eq!(client().put(format!("{base}/main")).send().await.unwrap().status(), 405);
    assert_eq!(status(format!("{base}/nobody")).await, 401);
    let asked = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
    assert_eq!(status(format!("{base}/main?{asked}wrong")).await, 401);
    let right = format!("{base}/main?{asked}v3rify%2F%2Bmeta%3Dthree");
    assert_eq!(client().get(right).send().await.unwrap().text().await.unwrap(), "1158201444");
    let large = client().post(format!("{base}/main")).body(vec![b' '; (4 << 20) + 1]).send().await.unwrap();
    assert_eq!(large.status(), 413);
    let desk = Desk::open(fake::gowa::DIALECT, "").await;
    let deaf = format!("http://{}/gateways/main", desk.house.engine.address().listen);
    assert_eq!(client().post(deaf).body("{}").send().await.unwrap().status(), 401);
}
