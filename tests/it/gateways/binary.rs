//! The real binary with an account on every gateway: what people type, and what must never be seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::fake::{self, ALL, Fake, Mood};
use super::media;
use crate::support::binary::{Process, json, postrider, said};
use crate::support::{folder, until};

/// Every way in which a secret may be written.
fn ways(secret: &str) -> Vec<String> {
    let mut ways = vec![
        secret.to_owned(),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string(),
        secret.replace('/', "\\/"),
    ];
    // Inside a longer text its Base64 depends on where it begins, and on what stands around it.
    for before in ["", "x", "xx"] {
        let bytes = format!("{before}{secret}");
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&bytes);
            let inner = text.trim_end_matches('=');
            let skip = if before.is_empty() { 0 } else { 4 };
            ways.push(inner[skip..inner.len() - 2].to_owned());
        }
    }
    ways
}

fn seen(place: &str, text: &[u8], secret: &str, found: &mut Vec<String>) {
    for way in ways(secret) {
        if text.windows(way.len()).any(|window| window == way.as_bytes()) {
            found.push(format!("{place} holds `{way}`"));
        }
    }
}

/// Every file below a folder but those that hold the secrets by right.
fn files(folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false if path.ends_with("postrider.yaml") => {}
            false => drop(found.insert(path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_out_by_command_and_no_secret_is_ever_seen() {
    let media = media::start().await;
    let mut settings = format!("default_account: gowa\nhttp: {{ allow: [\"{media}\"] }}\naccounts:\n");
    let mut fakes = Vec::new();
    for dialect in ALL {
        let fake = Fake::start(dialect).await;
        let own = fake.settings("pace: unlimited").replace("accounts:\n  main:", &format!("  {}:", dialect.name));
        settings.push_str(&own);
        fakes.push(fake);
    }
    let folder = folder(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]);
    let root = folder.path().to_owned();
    let mut command = postrider(&root, &["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.env("POSTRIDER_LOG", "trace");
    let process = Process::of(command, &root);
    let run = async |args: Vec<String>| {
        let root = root.clone();
        let args = move || args.iter().map(String::as_str).collect::<Vec<_>>().join("\u{1}");
        tokio::task::spawn_blocking(move || said(&root, &args().split('\u{1}').collect::<Vec<_>>())).await.unwrap()
    };
    let page = format!("http://{media}/page");
    let picture = format!("http://{media}/a.jpg");
    for dialect in ALL {
        for what in [
            vec!["text", "+1 541-754-3010", "Hi"],
            vec!["link", "15417543010", &page],
            vec!["image", "+15417543010", &picture],
        ] {
            let args = [vec!["send"], what, vec!["--account", dialect.name]].concat();
            run(args.into_iter().map(str::to_owned).collect()).await;
        }
    }
    let out = |message: &Value| matches!(message["state"].as_str(), Some("accepted" | "sent"));
    let listed = async || {
        let root = root.clone();
        let list = tokio::task::spawn_blocking(move || json(&root, &["messages", "--limit", "100"])).await.unwrap();
        list["messages"].as_array().unwrap().clone()
    };
    until("24 messages to be out", async || {
        let messages = listed().await;
        (messages.iter().filter(|message| out(message)).count() == 24).then_some(())
    })
    .await;
    for fake in &fakes {
        assert_eq!(fake.faults(), Vec::<String>::new());
        let paths: Vec<String> = fake.take().iter().map(|got| format!("{} {}", got.method, got.path)).collect();
        assert_eq!(paths.len(), 3, "{paths:?}");
    }
    // Now every gateway refuses, and repeats what it got.
    for fake in &fakes {
        let echo = fake.dialect.secrets.join(" and ");
        let body = format!(
            "no: {echo}, {}, {}",
            STANDARD.encode(&echo),
            form_urlencoded::byte_serialize(echo.as_bytes()).collect::<String>()
        );
        let body =
            serde_json::json!({ "message": body, "code": "x", "error": { "message": body, "code": 190 } }).to_string();
        fake.is(Mood::Says(401, Vec::new(), Bytes::from(body)));
        run(["send", "text", "+15417543010", "no", "--account", fake.dialect.name].map(str::to_owned).to_vec()).await;
    }
    until("8 lanes to be paused", async || {
        let messages = listed().await;
        let tried = messages.iter().filter(|message| message["attempts"][0]["outcome"] == "auth");
        (tried.count() == 8).then_some(())
    })
    .await;
    let mut texts = BTreeMap::new();
    for command in [["messages", "--json"], ["accounts", "--json"], ["flows", "--json"]] {
        texts.insert(command.join(" "), run(command.map(str::to_owned).to_vec()).await.into_bytes());
    }
    let (code, _) = tokio::task::spawn_blocking(|| process.terminate()).await.unwrap();
    assert_eq!(code, Some(0));
    files(&root, &mut texts);
    assert!(
        texts.keys().any(|name| name.ends_with("state.db")) && texts.keys().any(|name| name.ends_with("engine.log"))
    );
    let log = String::from_utf8_lossy(&texts[&root.join("engine.log").display().to_string()]).into_owned();
    assert!(log.contains("TRACE") && log.contains("***"), "the log tells everything but the secrets");
    let mut found = Vec::new();
    for (place, text) in &texts {
        for secret in ALL.iter().flat_map(|dialect| dialect.secrets) {
            seen(place, text, secret, &mut found);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Somebody's distance ends while the engine waits for an answer: it waits, and does nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_told_to_stop_takes_the_last_answer_and_ends() {
    let fake = Fake::start(fake::gowa::DIALECT).await;
    let settings = fake.settings("pace: { rate: 1000/s, burst: 1000, per_recipient: 1/1s }");
    let folder = folder(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]);
    let root = folder.path().to_owned();
    let run = async |args: &[&'static str]| {
        let (root, args) = (root.clone(), args.to_vec());
        tokio::task::spawn_blocking(move || said(&root, &args)).await.unwrap()
    };
    let mut process = Process::start(&root);
    for to in ["+15417543010", "+15417543011"] {
        run(&["send", "text", to, "hi"]).await;
        until("the request", async || (!fake.take().is_empty()).then_some(())).await;
        fake.is(Mood::Slow(Duration::from_millis(2500)));
    }
    process.signal("TERM");
    let code = until("the end of the process", async || process.ended()).await;
    assert_eq!(code, Some(0));
    fake.is(Mood::Strict);
    let _again = Process::start(&root);
    let messages: Value = serde_json::from_str(&run(&["messages", "--json"]).await).unwrap();
    let states: Vec<_> = messages["messages"].as_array().unwrap().iter().map(|message| &message["state"]).collect();
    assert_eq!(states, ["sent", "sent"]);
}
