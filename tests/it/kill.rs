//! `kill -9` of the real binary, at moments nobody chose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::binary::{self, Process};
use crate::support::gateway::Gateway;
use crate::support::{client, folder, until};

const FLOW: &str = "triggers:\n  - webhook: /in\nrun: |\n  send_text(event.body.to, event.body.text)\n";
const KILLS: usize = 20;
/// How long an answer may take; whose engine is killed may never get one.
const LONGEST: Duration = Duration::from_secs(20);

/// Posts over a few connections until told to stop; keeps what was accepted.
async fn load(
    target: Arc<std::sync::Mutex<std::net::SocketAddr>>,
    stop: Arc<AtomicBool>,
    taken: Arc<AtomicUsize>,
) -> Vec<String> {
    let number = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (target, stop, number, taken) = (target.clone(), stop.clone(), number.clone(), taken.clone());
        tasks.push(tokio::spawn(async move {
            let client = client();
            let mut accepted = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let count = number.fetch_add(1, Ordering::Relaxed);
                let text = format!("message {count}");
                let body = json!({ "to": format!("+1541{:07}", count % 977), "text": text });
                let url = format!("http://{}/hooks/in", target.lock().unwrap());
                let request = client.post(url).header("content-type", "application/json").timeout(LONGEST);
                let request = request.body(body.to_string());
                match request.send().await {
                    Ok(response) if response.status() == 200 => {
                        taken.fetch_add(1, Ordering::Relaxed);
                        accepted.push(text);
                    }
                    // Nobody is there, or was there for long enough.
                    _ => tokio::time::sleep(Duration::from_millis(2)).await,
                }
            }
            accepted
        }));
    }
    let mut accepted = Vec::new();
    for task in tasks {
        accepted.extend(task.await.unwrap());
    }
    accepted
}

/// Kills and restarts under load; gives the last process, the accepted texts, and all messages.
async fn through_kills(policy: &str) -> (Gateway, Vec<String>, Vec<Value>, Vec<Value>) {
    let gateway = Gateway::start().await;
    let settings = gateway.settings(&format!("pace: unlimited, {policy}"));
    let folder = folder(&[("flows/in.yaml", FLOW), ("postrider.yaml", &settings)]);
    let mut process = Process::start(folder.path());
    let target = Arc::new(std::sync::Mutex::new(process.public));
    let stop = Arc::new(AtomicBool::new(false));
    let taken = Arc::new(AtomicUsize::new(0));
    let load = tokio::spawn(load(target.clone(), stop.clone(), taken.clone()));
    for round in 1..=KILLS {
        // However slow the machine is, there is something to be lost.
        until("some load", async || (taken.load(Ordering::Relaxed) > round * 12).then_some(())).await;
        let chance = u64::from(Uuid::new_v4().as_bytes()[0]);
        tokio::time::sleep(Duration::from_millis(40 + chance)).await;
        process.kill();
        process = Process::start(folder.path());
        *target.lock().unwrap() = process.public;
    }
    stop.store(true, Ordering::Relaxed);
    let accepted = load.await.unwrap();
    let (client, token) = (client(), std::fs::read_to_string(folder.path().join(".postrider/admin-token")).unwrap());
    let list = async |what: &str, state: &str| {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let url = format!("http://{}/api/v1/{what}?limit=1000&state={state}&after={after}", process.admin);
            let request = client.get(url).bearer_auth(&token).timeout(LONGEST);
            let text = request.send().await.unwrap().text().await.unwrap();
            let page: Value = serde_json::from_str(&text).unwrap();
            all.extend(page[what].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return all,
            }
        }
    };
    let open = ["scheduled", "queued", "sending"];
    let unsettled =
        if policy.contains("resend") { vec!["scheduled", "queued", "sending", "unknown"] } else { open.to_vec() };
    until("everything to settle", async || {
        let mut left = 0;
        for state in ["queued", "running", "waiting"] {
            left += list("runs", state).await.len();
        }
        for state in &unsettled {
            left += list("messages", state).await.len();
        }
        (left == 0).then_some(())
    })
    .await;
    let (runs, messages) = (list("runs", "").await, list("messages", "").await);
    process.terminate();
    (gateway, accepted, runs, messages)
}

fn copies(gateway: &Gateway) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    for text in gateway.texts() {
        *copies.entry(text).or_default() += 1;
    }
    copies
}

fn text(message: &Value) -> &str {
    message["body"]["text"].as_str().unwrap()
}

fn interrupted(message: &Value) -> bool {
    message["attempts"].as_array().unwrap().iter().any(|attempt| attempt["outcome"] == "interrupted")
}

#[tokio::test(flavor = "multi_thread")]
async fn with_resend_everything_accepted_arrives_and_what_arrives_twice_was_open_at_a_kill() {
    // On a slow disk each kill may meet the same message; one try more than kills is let through.
    let tries = KILLS + 1;
    let policy = format!("on_unknown: resend, unknown_after: 200ms, retry: {{ attempts: {tries} }}");
    let (gateway, accepted, runs, messages) = through_kills(&policy).await;
    let copies = copies(&gateway);
    assert!(accepted.len() > 200, "only {} were accepted", accepted.len());
    let unended = runs.iter().find(|run| run["state"] != "succeeded");
    assert!(unended.is_none(), "a run did not end well: {unended:?}");
    for text in &accepted {
        assert!(copies.contains_key(text), "`{text}` was accepted and never arrived");
    }
    let mut twice = 0;
    for message in &messages {
        let arrived = copies.get(text(message)).copied().unwrap_or(0);
        let attempts = message["attempts"].as_array().unwrap().len();
        if arrived > 1 {
            twice += 1;
            assert!(interrupted(message), "arrived {arrived} times and was not open at a kill: {message}");
        }
        assert!(arrived <= attempts, "arrived {arrived} times with {attempts} attempts on record: {message}");
    }
    let open = messages.iter().filter(|message| interrupted(message)).count();
    println!(
        "{KILLS} kills: {} accepted, {} messages, {open} open at a kill, {twice} arrived twice",
        accepted.len(),
        messages.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_hold_nothing_arrives_twice_and_what_was_open_is_unknown() {
    let (gateway, accepted, runs, messages) = through_kills("on_unknown: hold").await;
    let copies = copies(&gateway);
    assert!(copies.values().all(|count| *count == 1), "something arrived twice");
    let unended = runs.iter().find(|run| run["state"] != "succeeded");
    assert!(unended.is_none(), "a run did not end well: {unended:?}");
    let mut unknown = 0;
    for message in &messages {
        if interrupted(message) {
            unknown += 1;
            assert_eq!(message["state"], "unknown", "{message}");
            assert!(message["why"].as_str().unwrap().contains("stopped while the attempt was open"), "{message}");
        } else {
            assert_eq!(message["state"], "sent", "{message}");
            assert!(copies.contains_key(text(message)), "sent and never arrived: {message}");
        }
    }
    for text in &accepted {
        assert!(messages.iter().any(|message| self::text(message) == text), "`{text}` was accepted and has no message");
    }
    println!("{KILLS} kills: {} accepted, {} messages, {unknown} unknown", accepted.len(), messages.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_goes_on_after_a_kill_and_sends_once() {
    let gateway = Gateway::start().await;
    let flow = "run: |\n  send_text(\"+15417543010\", \"before\");\n  sleep(\"6s\");\n  send_text(\"+15417543010\", \"after\")\n";
    let settings = gateway.settings("pace: unlimited");
    let folder = folder(&[("flows/nap.yaml", flow), ("postrider.yaml", &settings)]);
    let process = Process::start(folder.path());
    let run = binary::json(folder.path(), &["trigger", "nap"])["run"].as_str().unwrap().to_owned();
    let show = || binary::json(folder.path(), &["runs", "show", &run]);
    until("the run to sleep", async || matches!(show()["state"].as_str(), Some("waiting" | "succeeded")).then_some(()))
        .await;
    until("the first message", async || (gateway.texts() == ["before"]).then_some(())).await;
    until("its settling", async || (show()["messages"][0]["state"] == "sent").then_some(())).await;
    process.kill();
    let _process = Process::start(folder.path());
    until("the run to end", async || (show()["state"] == "succeeded").then_some(())).await;
    until("the second message", async || (gateway.texts().len() >= 2).then_some(())).await;
    assert_eq!(gateway.texts(), ["before", "after"]);
}
