//! Bodies of webhooks, over real HTTP: forms, JSON and text, each under any name.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::writings::edited;
use super::{hunt, seeds};
use crate::support::client;
use crate::support::engine::House;

const WORDS: &[&str] = &[
    "a=1", "&", "=", "%", "%00", "%FF%FE", "%zz", "+", "a[b]=c", "a[]=1", "{", "}", "[", "]", "\"", ":", ",", "null",
    "\\u0000", "\\ud800", "1e400", ";", "\r\n", "--x", "[[[[[[[[",
];
const TYPES: [&str; 8] = [
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=UTF-8",
    "application/json",
    "application/json; charset=utf-8",
    "text/plain",
    "application/xml",
    "application/ld+json",
    "nonsense;;;=",
];

#[test]
fn forms() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::open(&[("flows/in.yaml", "triggers:\n  - webhook: /in\nrun: event.body\n")]));
    let (client, url) = (client(), format!("http://{}/hooks/in", house.engine.address().listen));
    hunt("forms", (edited(seeds("forms"), WORDS), select(&TYPES[..]), any::<bool>()), |(body, kind, broken)| {
        let mut body = body.into_bytes();
        if broken {
            body.push(0xff);
        }
        let request = client.post(&url).header("content-type", kind).body(body);
        let (status, text) = runtime.block_on(async {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        });
        assert!(status < 500, "{status}: {text}");
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(answer["run"].is_string() || answer["error"]["message"].is_string(), "{text}");
        assert!(text.len() < 4_096, "an answer of {} bytes", text.len());
    });
    runtime.block_on(house.get("/runs?limit=1000"));
}
