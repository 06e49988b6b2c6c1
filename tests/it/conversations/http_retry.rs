//! Calls again: after a crash, after an error, many in a row, many at once, and of runs that are cancelled.

use std::collections::BTreeSet;
use std::time::Duration;

use postrider::app::{open_store, read_address, read_token};
use postrider::clock::HandClock;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::server::{Got, LOCAL, Say, Server};
use crate::support::binary::Process;
use crate::support::engine::{House, start, workspace};
use crate::support::mortal::{Coroner, Death};
use crate::support::{client, folder, until};

fn keys(got: &[Got]) -> Vec<String> {
    got.iter().map(Got::key).collect()
}

fn different(keys: &[String]) -> usize {
    keys.iter().collect::<BTreeSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_a_key_of_its_own_unless_the_script_gives_one() {
    let server = Server::start(|_, _| Say::text(200, "fine")).await;
    let flow = r#"run: |
  let at = event.data;
  for n in 0..2 { http::get(at + "/same"); }
  http::all([#{ url: at + "/same" }, #{ url: at + "/same" }]);
  http::post(at + "/same", "x");
  http::post(at + "/own", "x", #{ headers: #{ "Idempotency-Key": "order-17" } });
  http::all([#{ url: at + "/own", headers: #{ "idempotency-key": "order-17" } }]);
"#;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    for _ in 0..2 {
        let id = house.trigger("f", json!(server.url())).await;
        house.run_is(&id, "succeeded").await;
    }
    let same = keys(&server.got_at("/same"));
    assert_eq!((same.len(), different(&same)), (10, 10), "{same:?}");
    assert!(same.iter().all(|key| key.len() >= 16), "{same:?}");
    assert_eq!(keys(&server.got_at("/own")), ["order-17"; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_a_crash_left_without_an_answer_is_made_again_under_its_key() {
    let server = Server::start(|_, before| match before {
        0 => Say::Held,
        _ => Say::text(200, "done"),
    })
    .await;
    let flow = r#"run: |
  send_text("+15417543010", "before");
  let answer = http::post(event.data + "/orders", #{ n: 1 });
  sleep("1h");
  let other = http::get(event.data + "/other");
  answer.body
"#;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    until("the call", async || (server.held() == 1).then_some(())).await;
    house.messages_are(1, "delivered").await;
    let house = house.crash().await;
    until("the call again", async || (server.got_at("/orders").len() == 2).then_some(())).await;
    let got = server.got_at("/orders");
    assert_eq!(got[0].key(), got[1].key());
    assert_eq!((got[0].method.as_str(), &got[0].body), (got[1].method.as_str(), &got[1].body));
    // The answer is on record: another crash asks for nothing.
    until("the run to sleep", async || {
        let run = house.get(&format!("/runs/{id}")).await;
        (run["waiting_for"]["kind"] == "time").then_some(())
    })
    .await;
    let house = house.crash().await;
    house.sleep_through(&id).await;
    server.release();
    let run = house.run_is(&id, "succeeded").await;
    assert_eq!(run["result"], "done");
    assert_eq!((server.got_at("/orders").len(), server.got_at("/other").len()), (2, 1));
    assert_eq!(house.messages_are(1, "delivered").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_side_of_the_record_the_engine_dies_on_the_server_sees_one_order() {
    for after in [false, true] {
        let server = Server::start(|_, before| Say::text(200, &format!("answer {before}"))).await;
        let flow = "run: |\n  http::all([#{ url: event.body.at + \"/orders\", method: \"POST\" }])[0].body\n";
        let hook = format!("triggers: [ webhook: /f ]\n{flow}");
        let folder = folder(&[("flows/f.yaml", &hook), LOCAL]);
        let coroner = Coroner::default();
        let death = Death { step: "answer_errand", nth: 1, after };
        let opener = coroner.open(open_store(&workspace(folder.path())), Some(death));
        let house = House::with(folder, std::sync::Arc::new(HandClock::new(start())), opener).await;
        let body = json!({ "at": server.url() });
        let died = async || until("the death", async || coroner.is_dead().then_some(())).await;
        // Death may come before the caller hears that the run is there.
        tokio::select! {
            answer = house.hook("/f", &body) => assert_eq!(answer.0, 200, "{}", answer.1),
            () = died() => {}
        }
        died().await;
        let house = house.crash().await;
        let runs = house.runs_of("f").await;
        let run = house.run_is(runs[0]["id"].as_str().unwrap(), "succeeded").await;
        let seen = keys(&server.got());
        assert_eq!((seen.len(), different(&seen)), (if after { 1 } else { 2 }, 1), "after {after}: {seen:?}");
        assert_eq!(run["result"], format!("answer {}", seen.len() - 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_has_a_new_key_only_where_an_answer_had_come() {
    let server = Server::start(|got, before| match (got.path.as_str(), before) {
        ("/first", _) => Say::text(200, "first"),
        (_, 0) => Say::text(500, "broken"),
        (_, 1) => Say::Vanish,
        (_, 2) => Say::text(503, "later"),
        _ => Say::text(200, "done"),
    })
    .await;
    let flow = r#"
retry: { attempts: 4, first: 1s }
run: |
  let n = kv::increment("n");
  send_text("+15417543010", "before");
  let first = http::get(event.data + "/first").body;
  let done = http::post(event.data + "/crm", #{ n: n }, #{ expect: "2xx" }).body;
  [first, done, kv::get("n")]
"#;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    for _ in 0..3 {
        house.sleep_through(&id).await;
    }
    let run = house.run_is(&id, "succeeded").await;
    assert_eq!(run["result"], json!(["first", "done", 1]));
    assert_eq!(run["attempt"], 4);
    assert_eq!(server.got_at("/first").len(), 1, "what was answered before is not asked again");
    let got = server.got_at("/crm");
    let keys = keys(&got);
    assert_eq!(keys.len(), 4);
    assert_ne!(keys[0], keys[1], "500 was an answer: the next call is another one");
    assert_eq!(keys[1], keys[2], "nothing came: it is the same call still");
    assert_ne!(keys[2], keys[3]);
    assert_eq!(different(&keys), 3);
    assert!(got.iter().all(|got| got.body == r#"{"n":1}"#));
    assert_eq!(house.messages_are(1, "delivered").await.len(), 1);
    // Every answer is there to look at, also those that were thrown away.
    let answers = run["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == "http").count();
    assert_eq!(answers, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_by_hand_asks_anew() {
    let server = Server::start(|_, before| match before {
        0 => Say::text(500, "broken"),
        1 => Say::Vanish,
        _ => Say::text(200, "done"),
    })
    .await;
    let flow = "run: |\n  http::post(event.data + \"/crm\", \"x\", #{ expect: \"2xx\" }).body\n";
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    for kind in ["status", "unreachable"] {
        assert_eq!(house.run_is(&id, "failed").await["error"]["kind"], kind);
        house.post(&format!("/runs/{id}/retry"), json!({})).await;
        until("the run to end anew", async || {
            let run = house.get(&format!("/runs/{id}")).await;
            run["finished_at"].is_string().then_some(())
        })
        .await;
    }
    assert_eq!(house.run_is(&id, "succeeded").await["result"], "done");
    let keys = keys(&server.got());
    assert_ne!(keys[0], keys[1]);
    assert_eq!(keys[1], keys[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_for_a_cancelled_run_is_nobodys() {
    let server = Server::start(|_, _| Say::Held).await;
    let flow = r#"run: |
  send_text("+15417543010", `${event.data.who} at once`, #{ at: "1h" });
  let answer = http::get(event.data.at + "/slow");
  send_text("+15417543010", `${event.data.who}: ${answer.body}`);
"#;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!({ "at": server.url(), "who": "cancelled" })).await;
    until("the call", async || (server.held() == 1).then_some(())).await;
    let run = house.run_is(&id, "waiting").await;
    assert_eq!(run["waiting_for"]["kind"], "http", "{run}");
    let run = house.post(&format!("/runs/{id}/cancel"), json!({})).await;
    assert_eq!(run["state"], "cancelled", "{run}");
    server.release();
    // Another run, whose answer comes after that one's, has gone all its way.
    until("the answer to be out", async || (server.held() == 0).then_some(())).await;
    let other = house.trigger("f", json!({ "at": server.url(), "who": "other" })).await;
    house.run_is(&other, "succeeded").await;
    house.messages_are(1, "delivered").await;
    let run = house.get(&format!("/runs/{id}")).await;
    assert_eq!((run["state"].as_str(), &run["result"], &run["error"]), (Some("cancelled"), &Value::Null, &Value::Null));
    let messages = run["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1, "{run}");
    assert_eq!(messages[0]["state"], "cancelled");
    // It does not come back either.
    let house = house.crash().await;
    house.pass(Duration::from_secs(60));
    let third = house.trigger("f", json!({ "at": server.url(), "who": "third" })).await;
    house.run_is(&third, "succeeded").await;
    assert_eq!(house.get(&format!("/runs/{id}")).await["state"], "cancelled");
    assert_eq!(server.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_in_a_row_are_made_once_each() {
    let server = Server::start(|got, _| Say::text(200, &got.query)).await;
    let flow = r#"run: |
  let good = 0;
  for n in 0..1000 {
    if http::get(`${event.data}/count?${n}`).body == n.to_string() { good += 1; }
  }
  good
"#;
    // Without optimization the replays take longer than a run may usually compute.
    let settings = ("postrider.yaml", "http: { allow: [\"127.0.0.1\"] }\nlimits: { cpu_turn: 1m, cpu_run: 10m }\n");
    let house = House::open(&[("flows/f.yaml", flow), settings]).await;
    let id = house.trigger("f", json!(server.url())).await;
    for part in 1..=20 {
        until(&format!("{} calls", part * 50), async || (server.count() >= part * 50).then_some(())).await;
    }
    assert_eq!(house.run_is(&id, "succeeded").await["result"], 1000);
    let got = server.got();
    let numbers: Vec<usize> = got.iter().map(|got| got.query.parse().unwrap()).collect();
    assert_eq!(numbers, (0..1000).collect::<Vec<usize>>());
    assert_eq!(different(&keys(&got)), 1000);
}

/// Enough to show that runs which wait take no threads. Five thousand show no more, and would take an
/// engine without optimization longer than a test should.
const WAITING: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_wait_for_a_slow_server_take_no_threads() {
    let server = Server::start(|_, _| Say::Held).await;
    let flow = "triggers:\n  - webhook: /slow\nrun: |\n  http::get(event.body.url, #{ timeout: \"5m\" }).status\n";
    // Other tests have threads in this process: here the engine has one of its own.
    let folder = folder(&[("flows/slow.yaml", flow), LOCAL]);
    let process = Process::start(folder.path());
    let (client, token) = (client(), read_token(folder.path()).unwrap());
    let runs = async |state: &str| -> Vec<Value> {
        let url = format!("http://{}/api/v1/runs?flow=slow&limit=1000&state={state}", process.admin);
        let text = client.get(url).bearer_auth(token.reveal()).send().await.unwrap().text().await.unwrap();
        let mut page: Value = serde_json::from_str(&text).unwrap();
        serde_json::from_value(page["runs"].take()).unwrap()
    };
    let count = async |state: &str| runs(state).await.len();
    let failed = async || runs("failed").await.first().map(Value::to_string).unwrap_or_default();
    let status = format!("/proc/{}/status", read_address(folder.path()).unwrap().pid);
    let threads = || -> usize {
        let status = std::fs::read_to_string(&status).unwrap();
        let line = status.lines().find(|line| line.starts_with("Threads:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // Lists are read on a thread that stays for a while; it does not count among the new ones.
    assert_eq!(count("waiting").await, 0);
    let before = threads();
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let (client, url) = (client.clone(), format!("http://{}/hooks/slow", process.public));
        let body = json!({ "url": format!("{}/slow", server.url()) }).to_string();
        callers.spawn(async move {
            for _ in (caller..WAITING).step_by(16) {
                let request = client.post(&url).header("content-type", "application/json").body(body.clone());
                assert_eq!(request.send().await.unwrap().status(), 200);
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    let mut most = threads();
    until("all to wait", async || {
        most = most.max(threads());
        (count("waiting").await == WAITING).then_some(())
    })
    .await;
    until("many calls at once", async || (server.held() >= 128).then_some(())).await;
    most = most.max(threads());
    assert!(most <= before + 16, "{before} threads before, {most} with {} calls at once", server.held());
    server.release();
    until("all to be answered", async || (server.count() == WAITING).then_some(())).await;
    until("all to succeed", async || {
        // One that ended otherwise says why, at once.
        assert_eq!(count("failed").await, 0, "{}", failed().await);
        (count("succeeded").await == WAITING).then_some(())
    })
    .await;
    assert_eq!(different(&keys(&server.got())), WAITING);
    let (code, _) = tokio::task::spawn_blocking(|| process.terminate()).await.unwrap();
    assert_eq!(code, Some(0));
}
