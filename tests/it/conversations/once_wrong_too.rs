//! What once was wrong with retries, replays and events.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::result;
use super::by_hand::ADA;
use crate::support::engine::House;
use crate::support::gateway::{self, Gateway};
use crate::support::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_a_fail_begins_no_flow_twice() {
    let child = ("flows/child.yaml", "run: event.data\n");
    let flow = (
        "flows/f.yaml",
        "run: |\n  flows::start(\"child\", 1);\n  if kv::increment(\"n\") == 1 { fail(\"first\") }\n  \"done\"\n",
    );
    let house = House::open(&[child, flow]).await;
    let run = house.trigger("f", Value::Null).await;
    house.run_is(&run, "failed").await;
    house.pass(Duration::from_secs(60));
    house.post(&format!("/runs/{run}/retry"), json!({})).await;
    until("the end", async || (house.get(&format!("/runs/{run}")).await["finished_at"] != Value::Null).then_some(()))
        .await;
    assert_eq!(house.runs_of("child").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_after_a_forgotten_one_is_heard() {
    let hear = (
        "flows/hear.yaml",
        "run: |\n  let a = wait_for_event(\"tick\", #{ timeout: \"1d\" });\n  sleep(\"1h\");\n  [a, wait_for_event(\"tick\", #{ timeout: \"1d\" })]\n",
    );
    let tick = (
        "flows/tick.yaml",
        "run: |\n  if event.data.to != () { send_text(event.data.to, \"hi\"); }\n  emit(\"tick\", event.data.n);\n",
    );
    let house = House::open(&[hear, tick]).await;
    let run = house.trigger("hear", Value::Null).await;
    house.run_is(&run, "waiting").await;
    let first = house.trigger("tick", json!({ "to": ADA, "n": "one" })).await;
    house.run_is(&first, "succeeded").await;
    until("the nap", async || {
        (house.get(&format!("/runs/{run}")).await["waiting_for"]["kind"] == "time").then_some(())
    })
    .await;
    house.post("/forget", json!({ "recipient": ADA })).await;
    let second = house.trigger("tick", json!({ "n": "two" })).await;
    house.run_is(&second, "succeeded").await;
    house.sleep_through(&run).await;
    assert_eq!(result(&house, &run).await, json!(["one", "two"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_moves_a_file_that_has_come_meanwhile() {
    let flow = ("flows/f.yaml", "run: |\n  files::move(\"in/a.txt\", \"out/a.txt\");\n  \"moved\"\n");
    let house = House::open(&[flow, ("in/.keep", ""), ("out/.keep", "")]).await;
    let run = house.trigger("f", Value::Null).await;
    assert_eq!(house.run_is(&run, "failed").await["error"]["kind"], "file");
    house.write("in/a.txt", "a");
    house.post(&format!("/runs/{run}/retry"), json!({})).await;
    until("the file", async || house.folder.path().join("out/a.txt").exists().then_some(())).await;
    assert_eq!(result_again(&house, &run).await, "moved");
    // One that is in the way is not: it may go, and then it goes well.
    house.write("in/a.txt", "b");
    let run = house.trigger("f", Value::Null).await;
    house.run_is(&run, "failed").await;
    house.remove("out/a.txt");
    house.post(&format!("/runs/{run}/retry"), json!({})).await;
    assert_eq!(result_again(&house, &run).await, "moved");
}

/// What a run that had failed gives in the end.
async fn result_again(house: &House, run: &str) -> Value {
    until("the end", async || {
        let run = house.get(&format!("/runs/{run}")).await;
        (run["state"] == "succeeded").then(|| run["result"].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_settings_say_now_changes_nothing_that_was_recorded() {
    let flow = r#"
secrets: [ROT]
run: |
  let mac = hash::hmac_sha256(secret("ROT"), "x");
  send_link("+15417543010", "https://example.com", #{ track: true });
  send_text("+15417543010", mac);
  sleep("1h");
  send_text("+15417543010", mac);
  secret("ROT");
  mac.len()
"#;
    let settings = "public_url: https://hooks.example.com\n";
    let house =
        House::open(&[("flows/f.yaml", flow), ("postrider.yaml", settings), (".env", "ROT=first-secret\n")]).await;
    let run = house.trigger("f", Value::Null).await;
    house.run_is(&run, "waiting").await;
    // What is on the wire when an engine dies is unknown, which is not the matter here.
    house.messages_are(2, "delivered").await;
    let (folder, clock) = house.down().await;
    // The secret is another one, and there is no way in from outside any more.
    std::fs::write(folder.path().join(".env"), "ROT=second-secret\n").unwrap();
    std::fs::write(folder.path().join("postrider.yaml"), "timezone: UTC\n").unwrap();
    let house = House::again(folder, clock).await;
    house.sleep_through(&run).await;
    assert_eq!(result(&house, &run).await, 64);
    let messages = house.messages_are(3, "delivered").await;
    let said: Vec<&str> = messages.iter().filter_map(|message| message["body"]["text"].as_str()).collect();
    assert_eq!(said[said.len() - 1], said[said.len() - 2], "the same as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_set_any_more_is_missed_on_the_wire_only() {
    let flow = "secrets: [GONE]\nrun: |\n  secret(\"GONE\");\n  sleep(\"1h\");\n  secret(\"GONE\");\n  \"on\"\n";
    let house = House::open(&[("flows/f.yaml", flow), (".env", "GONE=first-secret\n")]).await;
    let run = house.trigger("f", Value::Null).await;
    house.run_is(&run, "waiting").await;
    let (folder, clock) = house.down().await;
    std::fs::write(folder.path().join(".env"), "").unwrap();
    let house = House::again(folder, clock).await;
    house.sleep_through(&run).await;
    assert_eq!(result(&house, &run).await, "on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_has_as_much_room_as_a_turn() {
    let house = House::open(&[
        ("flows/f.yaml", "run: |\n  sleep(\"1h\");\n"),
        ("postrider.yaml", "limits: { cpu_turn: 30s }\n"),
    ])
    .await;
    let run = house.trigger("f", Value::Null).await;
    house.run_is(&run, "waiting").await;
    house.write("flows/f.yaml", "run: |\n  let a = [];\n  for i in 0..9000 { a = [a]; }\n  1\n");
    let said = until("the edited flow", async || {
        let said = house.get(&format!("/runs/{run}/simulate")).await;
        (said["version"] != said["recorded_version"]).then_some(said)
    })
    .await;
    assert_eq!(said["differs"]["now"], Value::Null, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_doubt_is_not_sent_again_for_a_run_that_was_taken_back() {
    let gateway = Gateway::with(|_, _| gateway::Say::Vanish).await;
    let flow = "run: |\n  send_text(\"+15417543010\", \"once\", #{ account: \"main\" });\n  sleep(\"1d\");\n";
    let settings = gateway.settings("pace: unlimited, on_unknown: resend, unknown_after: 10m");
    let house = House::open(&[("flows/f.yaml", flow), ("postrider.yaml", &settings)]).await;
    let run = house.trigger("f", Value::Null).await;
    house.messages_are(1, "unknown").await;
    gateway.now_says(|_, _| gateway::Say::Yes);
    assert_eq!(house.post(&format!("/runs/{run}/cancel"), json!({})).await["state"], "cancelled");
    house.pass(Duration::from_secs(3_600));
    house.post("/messages", json!({ "to": "+15417543011", "text": "beside", "account": "main" })).await;
    until("the message beside", async || (gateway.texts().last()? == "beside").then_some(())).await;
    assert_eq!(gateway.texts(), ["once", "beside"]);
    let doubtful = house.messages_are(1, "unknown").await.remove(0);
    assert_eq!(doubtful["body"]["text"], "once");
    // A person may still decide otherwise.
    let id = doubtful["id"].as_str().unwrap();
    house.post(&format!("/messages/{id}/release"), json!({ "as": "resend" })).await;
    until("it to go out", async || (gateway.texts().last()? == "once").then_some(())).await;
    house.messages_are(2, "sent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeline_tells_attempts_apart() {
    let flow = "retry: { attempts: 2, first: 1s, max: 1s }\nrun: |\n  log::info(\"before\");\n  if kv::get(\"calm\") == () { throw \"not yet\"; }\n";
    let house = House::open(&[("flows/f.yaml", flow), ("flows/calm.yaml", "run: 1\n")]).await;
    let run = house.trigger("f", Value::Null).await;
    until("another attempt", async || {
        house.pass(Duration::from_secs(1));
        (house.get(&format!("/runs/{run}")).await["state"] == "failed").then_some(())
    })
    .await;
    let run = house.get(&format!("/runs/{run}")).await;
    let entries: Vec<_> = run["entries"].as_array().unwrap().iter().collect();
    let seen: Vec<_> = entries.iter().map(|entry| (entry["attempt"].as_i64().unwrap(), &entry["lost"])).collect();
    assert_eq!(seen, [(1, &json!(true)), (2, &json!(true))], "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_value_is_answered_with_how_it_is_done() {
    let house = House::open(&[
        ("flows/ask.yaml", "run: ask(\"+15417543010\", \"Ok?\", [1])\n"),
        ("flows/wait.yaml", "run: send_text(\"+15417543010\", \"a\").wait(\"seen\")\n"),
    ])
    .await;
    for (flow, wanted) in [
        ("ask", "`ask` takes other values than `ask (string, string, array)`: write `ask(to, question [, options])`"),
        (
            "wait",
            "wait: `seen` is none of `scheduled`, `queued`, `sending`, `accepted`, `sent`, `delivered`, `read`, `unknown`, `rejected`, `dead`, `expired`, `cancelled`, `clicked`",
        ),
    ] {
        let run = house.trigger(flow, Value::Null).await;
        assert_eq!(house.run_is(&run, "failed").await["error"]["message"], wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_hears_what_is_emitted_by_the_turn_that_starts_it() {
    let starter = ("flows/f.yaml", "run: |\n  flows::start(\"child\");\n  emit(\"go\", 42);\n");
    let child = ("flows/child.yaml", "run: |\n  wait_for_event(\"go\", #{ timeout: \"1h\" })\n");
    let house = House::open(&[starter, child]).await;
    house.trigger("f", Value::Null).await;
    let run = until("the child", async || house.runs_of("child").await.pop()).await;
    assert_eq!(house.run_is(run["id"].as_str().unwrap(), "succeeded").await["result"], 42);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_an_earlier_question_does_not_end_a_later_one() {
    let flow = r#"run: |
  try { ask("+15417543010", "Ada?"); } catch (e) { if e.kind != "opted_out" { throw e; } }
  ask("+15417543011", "Bob?").text
"#;
    let settings =
        "accounts:\n  sandbox: { transport: sandbox, inbound_token: abcdefgh1234, opt_out: { words: [stop] } }\n";
    let house = House::open(&[("flows/f.yaml", flow), ("postrider.yaml", settings)]).await;
    let run = house.trigger("f", Value::Null).await;
    let ada = super::ask::said(&house, &run, 1).await.remove(0);
    super::ask::writes(&house, ADA, "stop").await;
    super::ask::said(&house, &run, 2).await;
    let told = json!({ "event": "ack", "id": ada["provider_id"], "state": "failed", "error": "blocked" });
    super::ask::told(&house, told).await;
    super::ask::writes(&house, super::ask::BOB, "yes").await;
    assert_eq!(result(&house, &run).await, "yes");
}
