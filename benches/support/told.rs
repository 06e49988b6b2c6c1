//! What a gateway tells: how far messages are, and what people write. The gateway is a GOWA that signs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;

use crate::house::House;
use crate::posts::{self, Post};
use crate::row;

const SECRET: &str = "not-the-usual-one";
const SEND: &str = "triggers:\n  - webhook: /send\nrun: send_text(event.body.phone, \"Your order has left\")\n";
const HEARD: &str = "triggers:\n  - message: { account: main }\nrun: event.text\n";

/// Whom each message went to, in the order in which they came; the place is in the message's id.
type Chats = Arc<Mutex<Vec<String>>>;

/// Messages are brought to `read` by two acks each, then people write.
pub async fn show(acks: usize, incoming: usize, connections: usize) {
    let (gateway, chats) = serve().await;
    let keys = format!("transport: gowa, url: \"http://{gateway}\", webhook_secret: {SECRET}, pace: unlimited");
    let settings = format!("accounts:\n  main: {{ {keys} }}\n");
    let house = House::open(&settings, &[("send", SEND), ("heard", HEARD)]);
    if acks > 0 {
        tell_how_far(&house, &chats, acks.div_ceil(2), connections).await;
    }
    if incoming > 0 {
        write(&house, incoming, connections).await;
    }
    house.stop();
}

async fn tell_how_far(house: &House, chats: &Chats, messages: usize, connections: usize) {
    posts::all(house.engine.public, connections, messages, |number| {
        let body = format!(r#"{{"phone":"+1541{number:07}"}}"#);
        Post { path: "/hooks/send", signature: None, body }
    })
    .await;
    let on_the_way = ["state=queued", "state=running"].map(|filter| ("runs", filter));
    let unsent = ["state=queued", "state=sending"].map(|filter| ("messages", filter));
    house.empty(&[on_the_way, unsent].concat()).await;
    let chats: Arc<[String]> = std::mem::take(&mut *chats.lock().unwrap_or_else(PoisonError::into_inner)).into();
    assert_eq!(chats.len(), messages, "each message went out once");
    let cpu = house.engine.cpu();
    let mut spent = Duration::ZERO;
    for step in ["delivered", "read"] {
        let chats = chats.clone();
        let make = move |number: usize| ack(number, &chats[number], step);
        let posted = posts::all(house.engine.public, connections, messages, make).await;
        spent += posted.spent;
        let found = format!("{:.0}/s, p99 {:.1} ms", posted.rate(), posted.percentile(99));
        row(&format!("acks accepted: {messages} times `{step}`"), &found, "");
    }
    let cpu = (house.engine.cpu() - cpu).as_secs_f64() * 1e6 / (messages * 2) as f64;
    // What was answered is on disk and has had its effect.
    let read = house.rows("messages", "state=read", |_| ()).await;
    assert_eq!(read, messages, "each message is read");
    let rate = (messages * 2) as f64 / spent.as_secs_f64();
    row("  both; all messages are `read`", &format!("{rate:.0}/s, {cpu:.0} µs of CPU each"), "10,000/s");
}

async fn write(house: &House, incoming: usize, connections: usize) {
    let (begun, cpu) = (Timestamp::now(), house.engine.cpu());
    let posted = posts::all(house.engine.public, connections, incoming, move |number| message(number, begun)).await;
    let on_the_way = ["flow=heard&state=queued", "flow=heard&state=running"].map(|filter| ("runs", filter));
    house.empty(&on_the_way).await;
    let cpu = (house.engine.cpu() - cpu).as_secs_f64() * 1e6 / incoming as f64;
    let mut last = begun;
    let succeeded = house
        .rows("runs", "flow=heard&state=succeeded", |run| {
            let end: Timestamp = run["finished_at"].as_str().expect("a time").parse().expect("a time");
            last = last.max(end);
        })
        .await;
    assert_eq!(succeeded, incoming, "each message started a run that succeeded");
    let found = format!("{:.0}/s, p99 {:.1} ms", posted.rate(), posted.percentile(99));
    row(&format!("incoming messages accepted: {incoming}"), &found, "");
    let rate = incoming as f64 / last.duration_since(begun).as_secs_f64();
    row("  until all their runs have succeeded", &format!("{rate:.0}/s, {cpu:.0} µs of CPU each"), "2,000/s");
}

fn ack(number: usize, chat: &str, step: &str) -> Post {
    let what = if step == "read" { "the person has seen it" } else { "the phone has it" };
    signed(json!({
        "event": "message.ack",
        "device_id": "628123456789@s.whatsapp.net",
        "timestamp": "2026-11-20T07:00:01Z",
        "payload": {
            "ids": [id(number)],
            "chat_id": chat,
            "from": chat,
            "receipt_type": step,
            "receipt_type_description": what,
        },
    }))
}

/// Written at `at`: what is older than a week is believed of no gateway.
fn message(number: usize, at: Timestamp) -> Post {
    let person = format!("1541{number:07}@s.whatsapp.net");
    signed(json!({
        "event": "message",
        "device_id": "628123456789@s.whatsapp.net",
        "payload": {
            "id": format!("3AB0{number:016X}"),
            "chat_id": person,
            "from": person,
            "from_name": "Ada",
            "timestamp": at.to_string(),
            "is_from_me": false,
            "body": format!("Where is my order {number}?"),
        },
    }))
}

/// As GOWA signs: hex of HMAC-SHA256 over the bytes.
fn signed(event: Value) -> Post {
    let body = event.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("a key of any length");
    mac.update(body.as_bytes());
    let signature = format!("sha256={}", hex::encode(&mac.finalize().into_bytes()[..]));
    Post { path: "/gateways/main", signature: Some(signature), body }
}

fn id(number: usize) -> String {
    format!("3EB0{number:016X}")
}

/// Takes a message and gives it an id of its own.
async fn sent(State(chats): State<Chats>, body: Bytes) -> ([(header::HeaderName, &'static str); 1], String) {
    let message: Value = serde_json::from_slice(&body).expect("JSON");
    let chat = message["phone"].as_str().expect("a phone").to_owned();
    let id = {
        let mut chats = chats.lock().unwrap_or_else(PoisonError::into_inner);
        chats.push(chat);
        id(chats.len() - 1)
    };
    let results = json!({ "message_id": id, "status": "Message sent" });
    let answer = json!({ "code": "SUCCESS", "message": "Message sent", "results": results });
    ([(header::CONTENT_TYPE, "application/json")], answer.to_string())
}

/// Serves until the process ends.
async fn serve() -> (SocketAddr, Chats) {
    let chats = Chats::default();
    let router = Router::new().route("/send/message", post(sent)).with_state(chats.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, chats)
}
