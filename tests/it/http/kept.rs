//! What is kept of a request, and what of a run is told to its caller.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Line, post};
use crate::support::client;
use crate::support::engine::House;

const ECHO: (&str, &str) =
    ("flows/echo.yaml", "triggers:\n  - webhook: { path: /echo, respond: result }\nrun: event\n");
const ID: (&str, &str) = ("flows/id.yaml", "triggers:\n  - webhook: { path: /id, respond: result }\nrun: event.run\n");
const BOTH: (&str, &str) =
    ("flows/both.yaml", "triggers:\n  - webhook: { path: /both, respond: result }\nrun: \"[event.raw, event.body]\"\n");

async fn call(house: &House, path: &str, kind: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
    let url = format!("http://{}/hooks{path}", house.engine.address().listen);
    let mut request = client().request(Method::POST, url).body(body.into());
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_prove_something_are_not_kept() {
    let house = House::open(&[ECHO]).await;
    let secret = [
        "X-Api-Key",
        "Api-Key",
        "apikey",
        "X-ApiKey",
        "X_Api_Key",
        "X-Auth-Token",
        "X-Access-Token",
        "X-Gitlab-Token",
        "X-Telegram-Bot-Api-Secret-Token",
        "X-Secret",
        "Stripe-Signature",
        "X-Slack-Signature",
        "svix-signature",
        "webhook-signature",
        "X-Shopify-Hmac-Sha256",
        "X-Twilio-Signature",
        "X-Webhook-Hmac",
        "X-Hub-Signature-256",
        "Ocp-Apim-Subscription-Key",
        "x-functions-key",
        "X-Auth-User",
        "X-Authorization",
        "X-Forwarded-Authorization",
        "Proxy-Authorization",
        "Set-Cookie",
        "Cf-Access-Jwt-Assertion",
        "X-Amz-Security-Token",
        "X-Password",
        "X-Hub-Sig",
        "X-Client-Credential",
    ];
    let plain = ["Idempotency-Key", "X-Idempotency-Key", "X-Author", "X-Monkey", "X-Request-Id", "X-GitHub-Event"];
    let lines: Vec<String> = secret.iter().chain(&plain).map(|name| format!("{name}: prove-it")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut line = Line::to(house.engine.address().listen).await;
    line.send(post("/hooks/echo", &lines, "")).await;
    let event: Value = serde_json::from_str(&line.answer().await.text()).unwrap();
    for name in secret {
        assert!(event["headers"].get(name.to_ascii_lowercase()).is_none(), "{name}: {event}");
    }
    for name in plain {
        assert_eq!(event["headers"][name.to_ascii_lowercase()], "prove-it", "{name}: {event}");
    }
    let run = event["run"].as_str().unwrap();
    let shown = house.get(&format!("/runs/{run}")).await;
    assert_eq!(shown["event"].to_string().matches("prove-it").count(), plain.len(), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_is_kept_once_and_scripts_see_it_as_it_came() {
    let house = House::open(&[BOTH, ID]).await;
    let text = "text/plain";
    let many = "x\u{0}\u{1}y".repeat(50_000);
    let forms = "application/x-www-form-urlencoded";
    let spaced = " \n{\"a\": [1.50, \"\\u00fc\"]}\r\n\t";
    let large = format!("{{\"a\":\"{}\"}}", "\\\"".repeat(100_000));
    for (kind, body, value) in [
        ("application/json", "{\"a\":1}", json!({ "a": 1 })),
        ("application/json", spaced, json!({ "a": [1.5, "ü"] })),
        ("application/json", "\"text\"", json!("text")),
        ("application/json", "null", Value::Null),
        ("", &large, json!({ "a": "\"".repeat(100_000) })),
        (text, "words \"quoted\"\n", json!("words \"quoted\"\n")),
        (text, "{\"a\": 1}", json!("{\"a\": 1}")),
        (text, &many, json!(many)),
        (text, " \n ", Value::Null),
        (forms, "a=1&b=%00", json!({ "a": "1", "b": "\u{0}" })),
    ] {
        let (status, seen) = call(&house, "/both", kind, body).await;
        assert_eq!(status, 200, "{seen}");
        assert_eq!(seen, json!([body, value]), "{kind} {}", &body[..body.len().min(40)]);
    }
    // What is no text is seen with marks in the places of what is none.
    let bytes = b"caf\xe9 +15417543010 \xff\0".to_vec();
    let (_, seen) = call(&house, "/both", "application/octet-stream", bytes).await;
    assert_eq!(seen, json!(["caf\u{fffd} +15417543010 \u{fffd}\0", "caf\u{fffd} +15417543010 \u{fffd}\0"]));
    // What says that it is, and is none, comes back to its sender.
    for (kind, body) in [("application/json", &b"{\"a\":\"\xff\"}"[..]), (text, b"caf\xe9"), (forms, b"a=%e9")] {
        let (status, refused) = call(&house, "/both", kind, body.to_vec()).await;
        assert_eq!(status, 400, "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains("UTF-8"), "{refused}");
    }

    // Of whatever kind, a body takes about twice its size at most.
    for byte in [b'x', 0xff, 0, b'\n', b'"', b'\\', 0xc3] {
        let kind = if byte.is_ascii() { text } else { "application/octet-stream" };
        let (_, id) = call(&house, "/id", kind, vec![byte; 1 << 19]).await;
        let run = id.as_str().unwrap().parse().unwrap();
        let event = house.engine.store().origin(run).await.unwrap().unwrap().event;
        assert!(event.len() <= (1 << 20) + 4_096, "{byte:#x}: {} bytes", event.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_not_told_why_a_run_failed() {
    let verified = "verify: { token: \"${T:-a-token-of-some-length}\" }";
    let flow = |path: &str, more: &str| {
        format!(
            "triggers:\n  - webhook: {{ path: {path}, respond: result{more} }}\nrun: |\n  \
             throw \"inside: /srv/secret/place\";\n"
        )
    };
    let (open, closed) = (flow("/open", ""), flow("/closed", &format!(", {verified}")));
    let house = House::open(&[("flows/open.yaml", &open), ("flows/closed.yaml", &closed)]).await;
    let (status, told) = house.hook("/open", &json!({})).await;
    assert_eq!((status, told["error"].clone()), (500, json!({ "kind": "failed" })), "{told}");
    let run = house.get(&format!("/runs/{}", told["run"].as_str().unwrap())).await;
    assert!(run["error"]["message"].as_str().unwrap().contains("/srv/secret/place"), "{run}");

    let mut line = Line::to(house.engine.address().listen).await;
    line.send(post("/hooks/closed", &["X-Token: a-token-of-some-length"], "")).await;
    let answer = line.answer().await;
    assert_eq!(answer.status, 500);
    let told: Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(told["error"]["kind"], "thrown", "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("/srv/secret/place"), "{told}");
}
