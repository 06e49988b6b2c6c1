//! Addresses of ours: files for gateways that fetch, and links whose clicks are counted.

use std::time::Duration;

use reqwest::header::LOCATION;
use serde_json::{Value, json};

use super::{Desk, fake, media};
use crate::support::client;
use crate::support::engine::House;

const TO: &str = "+15417543010";
const PHONE: &str = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/141.0 Mobile Safari/537.36";

/// Our own address for what the world would call by `public_url`.
fn local(house: &House, url: &str) -> String {
    url.replace("https://hooks.example.com", &format!("http://{}", house.engine.address().listen))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_fetches_gets_the_file_for_an_hour() {
    let desk = Desk::open(fake::wapim::DIALECT, "").await;
    let sent = desk.send(&json!({ "kind": "image", "to": TO, "source": "files/a.png" })).await;
    let url = sent.requests[0].json().unwrap()["content_url"].as_str().unwrap().to_owned();
    // What happens to the file afterwards changes nothing.
    desk.house.write("files/a.png", "something else");
    let get = async |url: &str| client().get(local(&desk.house, url)).send().await.unwrap();
    let response = get(&url).await;
    assert_eq!((response.status().as_u16(), response.headers()["content-type"].to_str().unwrap()), (200, "image/png"));
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.bytes().await.unwrap(), media::PNG);
    let head = client().head(local(&desk.house, &url)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], media::PNG.len().to_string());
    // One character more or less is another address.
    let wrong = url.replace("/media/", "/media/A");
    assert_eq!(get(&wrong).await.status(), 404);
    assert_eq!(get("https://hooks.example.com/media/../state.db").await.status(), 404);
    desk.house.pass(Duration::from_secs(3599));
    assert_eq!(get(&url).await.status(), 200);
    desk.house.pass(Duration::from_secs(2));
    assert_eq!(get(&url).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_of_ours_a_file_for_such_a_gateway_is_an_error_that_teaches() {
    let fake = fake::Fake::start(fake::twilio::DIALECT).await;
    let house = House::open(&[
        ("flows/x.yaml", "run: 1\n"),
        ("files/a.pdf", "%PDF-1.7"),
        ("postrider.yaml", &fake.settings("pace: unlimited")),
    ])
    .await;
    house.post("/messages", json!({ "kind": "file", "to": TO, "source": "files/a.pdf" })).await;
    let messages = house.messages_are(1, "rejected").await;
    assert!(messages[0]["why"].as_str().unwrap().contains("set `public_url`"), "{}", messages[0]);
    assert!(fake.take().is_empty());
}

const FLOW: &str = r#"
triggers:
  - webhook: /in
run: |
  let link = send_link(event.body.to, "https://shop.example/a?x=1#part", #{ track: true });
  let fate = link.wait("clicked", "2d");
  kv::set("fate", fate.status);
  fate.status
"#;

/// A house on GOWA that people reach, with a message to a person and the link in it.
async fn followed() -> (House, fake::Fake, String, String) {
    let fake = fake::Fake::start(fake::gowa::DIALECT).await;
    let settings = format!("public_url: https://hooks.example.com\n{}", fake.settings("pace: unlimited"));
    let house = House::open(&[("flows/x.yaml", FLOW), ("postrider.yaml", &settings)]).await;
    let (_, answer) = house.hook("/in", &json!({ "to": TO })).await;
    house.messages_are(1, "sent").await;
    let link = fake.take()[0].json().unwrap()["link"].as_str().unwrap().to_owned();
    (house, fake, answer["run"].as_str().unwrap().to_owned(), link)
}

async fn visit(house: &House, link: &str, agent: &str) -> reqwest::Response {
    client().get(local(house, link)).header("user-agent", agent).send().await.unwrap()
}

async fn clicks(house: &House) -> Value {
    house.get("/messages").await["messages"][0]["clicks"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_follows_a_link_is_counted_and_waited_for() {
    let (house, _fake, run, link) = followed().await;
    for agent in ["WhatsApp/2.24.20 A", "facebookexternalhit/1.1", "TelegramBot (like TwitterBot)", ""] {
        let response = visit(&house, &link, agent).await;
        assert_eq!(response.status(), 302);
        assert_eq!(response.headers()[LOCATION], "https://shop.example/a?x=1#part");
    }
    client().head(local(&house, &link)).header("user-agent", PHONE).send().await.unwrap();
    assert_eq!(clicks(&house).await, Value::Null);
    house.run_is(&run, "waiting").await;
    // It survives a crash; so does the link.
    let house = house.crash().await;
    assert_eq!(visit(&house, &link, PHONE).await.headers()[LOCATION], "https://shop.example/a?x=1#part");
    let run = house.run_is(&run, "succeeded").await;
    assert_eq!(run["result"], "clicked");
    visit(&house, &link, PHONE).await;
    assert_eq!(clicks(&house).await["count"], 2);
    assert_eq!(visit(&house, &link.replace("/l/", "/l/x"), PHONE).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_comes_and_the_wait_ends_with_the_messages_state() {
    let (house, _fake, run, _) = followed().await;
    house.run_is(&run, "waiting").await;
    house.pass(Duration::from_secs(2 * 86_400));
    assert_eq!(house.run_is(&run, "succeeded").await["result"], "sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_before_the_message_is_out_is_the_gateways_own() {
    let fake = fake::Fake::start(fake::gowa::DIALECT).await;
    let settings = format!("public_url: https://hooks.example.com\n{}", fake.settings("pace: unlimited"));
    let house = House::open(&[("flows/x.yaml", FLOW), ("postrider.yaml", &settings)]).await;
    fake.is(fake::Mood::Hangs(Duration::from_secs(3)));
    house.hook("/in", &json!({ "to": TO })).await;
    let link = crate::support::until("the request", async || {
        Some(fake.take().first()?.json().unwrap()["link"].as_str().unwrap().to_owned())
    })
    .await;
    visit(&house, &link, PHONE).await;
    house.messages_are(1, "unknown").await;
    assert_eq!(clicks(&house).await, Value::Null);
}
