//! Runs: retries, failures and who hears of them, waiting, values, files, one hog among others.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::gateway::Gateway;
use crate::support::{until, write};

fn kinds(run: &Value) -> Vec<&str> {
    run["entries"].as_array().unwrap().iter().map(|entry| entry["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_throws_is_tried_again_and_its_failure_is_heard() {
    let flow = r#"
retry: { attempts: 3, first: 10s, max: 1m }
on_failure: alarm
run: |
  log::info("begin");
  send_text("+15417543010", "lost when the turn throws");
  throw "no luck"
"#;
    let alarm =
        "run: |\n  send_text(\"+15417543011\", `${event.flow} failed: ${event.error.message} after ${event.attempt}`)";
    let house = House::open(&[("flows/bad.yaml", flow), ("flows/alarm.yaml", alarm)]).await;
    let id = house.trigger("bad", json!({ "n": 1 })).await;
    let run = house.run_is(&id, "waiting").await;
    assert_eq!((run["attempt"].as_u64(), run["waiting_for"]["kind"].as_str()), (Some(2), Some("retry")));
    assert_eq!(run["error"]["message"], "no luck");
    assert_eq!(run["error"]["line"], 7);
    house.pass(Duration::from_secs(10));
    until("the third attempt", async || {
        let run = house.get(&format!("/runs/{id}")).await;
        (run["attempt"] == 3).then_some(())
    })
    .await;
    house.pass(Duration::from_secs(20));
    let run = house.run_is(&id, "failed").await;
    assert_eq!(kinds(&run), ["log", "log", "log"], "the log lines of all attempts are kept, the promises are not");
    let phones = until("the alarm", async || {
        let phones = house.get("/sandbox/messages").await;
        (!phones["messages"].as_array().unwrap().is_empty()).then_some(phones)
    })
    .await;
    assert_eq!(phones["messages"].as_array().unwrap().len(), 1);
    assert_eq!(phones["messages"][0]["text"], "bad failed: no luck after 3");
    let alarms = house.get("/runs?flow=alarm").await;
    let event = house.get(&format!("/runs/{}", alarms["runs"][0]["id"].as_str().unwrap())).await["event"].clone();
    assert_eq!(
        (event["trigger"].clone(), event["run"].clone(), event["event"]["data"]["n"].clone()),
        (json!("failure"), json!(id), json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_goes_on_after_the_last_wait() {
    let flow = r#"
retry: { attempts: 2, first: 1s }
run: |
  send_text("+15417543010", "once");
  sleep("1h");
  if kv::get("ready") == () { throw "not yet"; }
  send_text("+15417543010", "twice")
"#;
    let setter = r#"name: nap-set
run: kv::set("ready", true)"#;
    let house = House::open(&[("flows/nap.yaml", flow), ("flows/set.yaml", setter)]).await;
    let id = house.trigger("nap", Value::Null).await;
    house.run_is(&id, "waiting").await;
    house.messages_are(1, "delivered").await;
    house.pass(Duration::from_secs(3600));
    until("the second attempt", async || {
        let run = house.get(&format!("/runs/{id}")).await;
        (run["attempt"] == 2).then_some(())
    })
    .await;
    // Values belong to a flow: another flow's setting does not help.
    let other = house.trigger("nap-set", Value::Null).await;
    house.run_is(&other, "succeeded").await;
    house.pass(Duration::from_secs(2));
    let run = house.run_is(&id, "failed").await;
    assert_eq!(run["messages"].as_array().unwrap().len(), 1, "what was promised before the wait stays, once");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_message_gives_its_fate() {
    let flow = r#"run: |
  let m = send_text("+15417543010", "x");
  let first = m.wait();
  let late = m.wait("delivered", "10m");
  let later = send_text("+15417543010", "y", #{ at: "1h" });
  let soon = later.wait("5m");
  [first.status, first.provider_id != (), late.status, soon.status, later.cancel(), later.cancel(), later.wait().status]
"#;
    let gateway = Gateway::start().await;
    let house = House::open(&[("flows/w.yaml", flow), ("postrider.yaml", &gateway.settings("pace: unlimited"))]).await;
    let id = house.trigger("w", Value::Null).await;
    house.sleep_through(&id).await;
    house.sleep_through(&id).await;
    let run = house.run_is(&id, "succeeded").await;
    assert_eq!(run["result"], json!(["sent", true, "sent", "scheduled", true, false, "cancelled"]));
    assert_eq!(gateway.texts(), ["x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_outlive_runs_and_expire() {
    let flow = r#"run: |
  let n = kv::get("n") ?? 0;
  kv::set("n", n + 1);
  if n == 0 { kv::set("short", "x", "1m"); }
  [n, kv::get("n"), kv::get("short")]
"#;
    let house = House::open(&[("flows/v.yaml", flow)]).await;
    let result = async || {
        let id = house.trigger("v", Value::Null).await;
        house.run_is(&id, "succeeded").await["result"].clone()
    };
    assert_eq!(result().await, json!([0, 1, "x"]));
    assert_eq!(result().await, json!([1, 2, "x"]));
    house.pass(Duration::from_secs(61));
    assert_eq!(result().await, json!([2, 3, null]));
    let house = house.crash().await;
    let id = house.trigger("v", Value::Null).await;
    assert_eq!(house.run_is(&id, "succeeded").await["result"], json!([3, 4, null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_promised_once_for_a_recipient() {
    let flow = r#"run: |
  let a = send_text(["+15417543010", "+15417543011"], "hi", #{ key: event.data });
  let again = send_text("+15417543010", "hi again", #{ key: event.data });
  [a[0].id == again.id, a.len]
"#;
    let house = House::open(&[("flows/k.yaml", flow)]).await;
    for _ in 0..2 {
        let id = house.trigger("k", json!("order-1")).await;
        assert_eq!(house.run_is(&id, "succeeded").await["result"], json!([true, 2]));
    }
    house.messages_are(2, "delivered").await;
    // Many at once: whoever comes second finds the first one's message.
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(house.trigger("k", json!("order-2")).await);
    }
    for id in ids {
        house.run_is(&id, "succeeded").await;
    }
    assert_eq!(house.messages_are(4, "delivered").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_sent_as_it_was_when_it_was_promised() {
    let flow = r#"run: |
  send_file("+15417543010", "files/report.pdf", #{ caption: "yours", at: "1h" });
"#;
    let gateway = Gateway::start().await;
    let house = House::open(&[
        ("flows/f.yaml", flow),
        ("files/report.pdf", "first"),
        ("postrider.yaml", &gateway.settings("pace: unlimited")),
    ])
    .await;
    let id = house.trigger("f", Value::Null).await;
    house.run_is(&id, "succeeded").await;
    write(house.folder.path(), "files/report.pdf", "second");
    house.pass(Duration::from_secs(3600));
    house.messages_are(1, "sent").await;
    let body = String::from_utf8(gateway.got()[0].body.clone()).unwrap();
    assert!(body.contains("first") && body.contains("filename=\"report.pdf\"") && !body.contains("second"), "{body}");
    std::fs::remove_file(house.folder.path().join("files/report.pdf")).unwrap();
    let id = house.trigger("f", Value::Null).await;
    let run = house.run_is(&id, "failed").await;
    assert_eq!((run["error"]["kind"].as_str(), run["error"]["line"].as_u64()), (Some("file"), Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_its_time() {
    let flow = r#"run: |
  send_text("+15417543010", "too late", #{ at: "1h", valid_for: "10m" });
  send_text("+15417543010", "in time", #{ at: now() + duration("2h"), valid_for: "10m" });
"#;
    let gateway = Gateway::with(|_, got| match got.text().as_str() {
        "too late" => crate::support::gateway::Say::No(503, "DEVICE_MANAGER_UNAVAILABLE", None),
        _ => crate::support::gateway::Say::Yes,
    })
    .await;
    let settings = gateway.settings("pace: unlimited, retry: { attempts: 99, first: 1m, max: 1m }");
    let house = House::open(&[("flows/t.yaml", flow), ("postrider.yaml", &settings)]).await;
    house.trigger("t", Value::Null).await;
    let messages = house.messages_are(2, "scheduled").await;
    assert_eq!(messages[0]["why"], "schedule: due at 2026-11-20T08:00:00.000Z");
    house.pass(Duration::from_secs(3600));
    until("the first try", async || (!gateway.got().is_empty()).then_some(())).await;
    house.messages_are(1, "queued").await;
    house.pass(Duration::from_secs(601));
    house.messages_are(1, "expired").await;
    house.pass(Duration::from_secs(3000));
    house.messages_are(1, "sent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_hogs_the_cpu_does_not_hold_up_the_others() {
    let hog = "run: |\n  loop { }\n";
    let files = [
        ("postrider.yaml", "limits: { cpu_turn: 400ms }\n"),
        ("flows/hog.yaml", hog),
        ("flows/quick.yaml", "run: 42\n"),
    ];
    let house = House::open(&files).await;
    let mut hogs = Vec::new();
    // More than there are threads for them.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    for _ in 0..threads + 10 {
        hogs.push(house.trigger("hog", Value::Null).await);
    }
    let quick = house.trigger("quick", Value::Null).await;
    house.run_is(&quick, "succeeded").await;
    let waiting = house.get("/runs?flow=hog&state=queued").await;
    assert!(waiting["runs"].as_array().unwrap().len() > 3, "the quick one came before the hogs were done");
    let run = house.run_is(hogs.last().unwrap(), "failed").await;
    assert_eq!(run["error"]["kind"], "limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_can_go_on_at_once_is_never_forgotten() {
    let flow = r#"run: |
  let m = send_text("+15417543010", "x", #{ at: "1h" });
  let both = [m.cancel(), m.cancel()];
  both.push(m.wait().status);
  both.push(m.wait().status);
  both
"#;
    let house = House::open(&[("flows/c.yaml", flow)]).await;
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(house.trigger("c", Value::Null).await);
    }
    for id in ids {
        let run = house.run_is(&id, "succeeded").await;
        assert_eq!(run["result"], json!([true, false, "cancelled", "cancelled"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_a_budget_of_time_for_all_its_turns() {
    let flow = "run: |\n  for i in 0..50 { let n = 0; while n < 60_000 { n += 1; } sleep(\"1s\"); }\n";
    let files = [("postrider.yaml", "limits: { cpu_turn: 10s, cpu_run: 300ms }\n"), ("flows/s.yaml", flow)];
    let house = House::open(&files).await;
    let id = house.trigger("s", Value::Null).await;
    let run = until("the limit", async || {
        house.pass(Duration::from_millis(500));
        let run = house.get(&format!("/runs/{id}")).await;
        (run["state"] == "failed").then_some(run)
    })
    .await;
    assert_eq!(run["error"]["kind"], "limit", "{run}");
}
