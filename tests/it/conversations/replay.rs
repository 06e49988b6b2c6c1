//! A run done again by hand: a new run for the same event. What was promised for that event before is
//! not sent again, unless it is certain that it never went out, or somebody says so.

use serde_json::{Value, json};

use super::by_hand::{ADA, BOB, HOUR, edit, gets, refused, says, texts, version};
use crate::support::engine::{House, flow_in};
use crate::support::until;

/// Replays a run and waits for its end.
async fn replayed(house: &House, run: &str, how: Value) -> Value {
    let new = house.post(&format!("/runs/{run}/replay"), how).await;
    assert_ne!(new["id"], json!(run));
    house.run_is(new["id"].as_str().unwrap(), "succeeded").await
}

/// Waits until all messages have gone out, and says how many there are.
async fn all_out(house: &House) -> usize {
    until("all to go out", async || {
        let answer = house.get("/messages?limit=1000").await;
        let messages = answer["messages"].as_array().unwrap();
        messages.iter().all(|message| message["state"] == "delivered").then_some(messages.len())
    })
    .await
}

fn id(run: &Value) -> &str {
    run["id"].as_str().unwrap()
}

/// A flow that sends texts to one phone, and ends with their number.
fn sends(texts: &[&str]) -> String {
    let lines: String = texts.iter().map(|text| format!("  send_text(\"{ADA}\", \"{text}\");\n")).collect();
    format!("run: |\n{lines}  {}\n", texts.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_a_new_run_for_the_same_event() {
    let flow = r#"triggers:
  - webhook: /hello
run: |
  let a = send_text("+15417543010", "hello");
  let b = send_text("+15417543010", "hello");
  let c = send_text("+15417543011", `for ${event.body.name}`);
  #{ seen: event, twins: [a.id, b.id], other: c.id }
"#;
    let house = House::open(&[("flows/hello.yaml", flow)]).await;
    let (_, answer) = house.hook("/hello", &json!({ "name": "Bob" })).await;
    let first = house.run_is(answer["run"].as_str().unwrap(), "succeeded").await;
    house.messages_are(3, "delivered").await;
    let second = replayed(&house, id(&first), json!({})).await;
    assert_eq!(second["trigger"], "webhook");
    assert_eq!(second["version"], first["version"]);
    for run in [&first, &second] {
        assert_eq!((&run["event"]["run"], &run["result"]["seen"]["run"]), (&run["id"], &run["id"]));
        let entries = run["entries"].as_array().unwrap();
        let calls: Vec<_> = entries.iter().map(|entry| (&entry["position"], &entry["kind"])).collect();
        let send = json!("send");
        assert_eq!(calls, [(&json!(0), &send), (&json!(1), &send), (&json!(2), &send)], "a journal of its own");
    }
    let (mut before, mut now) = (first["event"].clone(), second["event"].clone());
    (before["run"], now["run"]) = (Value::Null, Value::Null);
    assert_eq!(before, now);
    // Its messages are those of the first run: each of two equal ones for one.
    let twins = |run: &Value| {
        let mut ids: Vec<String> = serde_json::from_value(run["result"]["twins"].clone()).unwrap();
        ids.sort();
        ids.dedup();
        ids
    };
    assert_eq!((twins(&first).len(), twins(&first)), (2, twins(&second)));
    assert_eq!(first["result"]["other"], second["result"]["other"]);
    assert_eq!(second["messages"], json!([]));
    assert_eq!(house.messages_are(3, "delivered").await.len(), 3);
    assert_eq!(house.runs_of("hello").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pinned_version_and_the_one_of_today() {
    let house = House::open(&[("flows/f.yaml", &sends(&["hello", "hello"]))]).await;
    let old = version(&house.get("/flows").await, "f");
    let first = house.trigger("f", Value::Null).await;
    house.run_is(&first, "succeeded").await;
    assert_eq!(all_out(&house).await, 2);
    let new = edit(&house, "f", &sends(&["hello", "hello", "hello", "news"])).await;

    let run = replayed(&house, &first, json!({})).await;
    assert_eq!((&run["version"], &run["result"]), (&json!(old), &json!(2)));
    assert_eq!(all_out(&house).await, 2);
    // Today's has one more of the same, and one that is new.
    let latest = replayed(&house, &first, json!({ "latest": true })).await;
    assert_eq!((&latest["version"], &latest["result"]), (&json!(new), &json!(4)));
    assert_eq!(texts(latest["messages"].as_array().unwrap()), ["hello", "news"]);
    assert_eq!(all_out(&house).await, 4);
    // What one replay has sent, the next one does not, nor does a replay of a replay.
    replayed(&house, &first, json!({ "latest": true, "resend": false })).await;
    let again = replayed(&house, id(&latest), json!({})).await;
    assert_eq!(again["version"], json!(new), "it is pinned as the run that it repeats");
    replayed(&house, id(&again), json!({ "latest": true })).await;
    assert_eq!(all_out(&house).await, 4);

    // The file is broken, and then gone.
    house.write("flows/f.yaml", "run: |\n  send_text(\n");
    house.flows_are("f to be stale", |flows| flow_in(flows, "f")["stale"] == true).await;
    let latest =
        async |house: &House| refused(house, &format!("/runs/{first}/replay"), json!({ "latest": true })).await;
    let (status, reason) = latest(&house).await;
    assert!(status == 409 && reason.contains("`f`"), "{status} {reason}");
    assert_eq!(replayed(&house, &first, json!({})).await["result"], 2);
    house.remove("flows/f.yaml");
    house.flows_are("the file to be missed", |flows| flows["diagnostics"].to_string().contains("is gone")).await;
    house.pass(HOUR);
    house.flows_are("f to be let go", |flows| flow_in(flows, "f").is_null()).await;
    let (status, reason) = latest(&house).await;
    assert!(status == 409 && reason.contains("`f`"), "{status} {reason}");
    assert_eq!(replayed(&house, &first, json!({})).await["result"], 2);
    let house = house.crash().await;
    assert_eq!(replayed(&house, &first, json!({})).await["result"], 2);
    assert_eq!(all_out(&house).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_it_sent_again_says_so() {
    let house = House::open(&[("flows/f.yaml", &sends(&["one", "two"]))]).await;
    let first = house.trigger("f", Value::Null).await;
    house.run_is(&first, "succeeded").await;
    assert_eq!(all_out(&house).await, 2);
    for count in [4, 6] {
        let run = replayed(&house, &first, json!({ "resend": true })).await;
        assert_eq!(texts(run["messages"].as_array().unwrap()), ["one", "two"]);
        assert_eq!(all_out(&house).await, count);
    }
    replayed(&house, &first, json!({})).await;
    assert_eq!(all_out(&house).await, 6);
    for (how, part) in [
        (json!({ "latst": true }), "latst"),
        (json!({ "latest": "yes" }), "latest"),
        (json!({ "resend": 1 }), "resend"),
        (json!([]), "map"),
    ] {
        let (status, reason) = refused(&house, &format!("/runs/{first}/replay"), how.clone()).await;
        assert!(status == 400 && reason.contains(part), "{how}: {status} {reason}");
    }
    assert_eq!(house.runs_of("f").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fate_of_a_message_of_before_can_be_waited_for() {
    let flow = r#"run: |
  let m = send_text("+15417543010", "once", #{ at: "1h" });
  let fate = m.wait();
  [m.id, fate.status, fate.provider_id]
"#;
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let first = house.trigger("f", Value::Null).await;
    house.run_is(&first, "waiting").await;
    let replay = async || {
        let run = house.post(&format!("/runs/{first}/replay"), json!({})).await;
        let run = id(&run).to_owned();
        house.run_is(&run, "waiting").await;
        run
    };
    let (second, third) = (replay().await, replay().await);
    // The message is the first run's: taking back another one leaves it alone.
    house.post(&format!("/runs/{third}/cancel"), json!({})).await;
    house.pass(HOUR);
    let result = house.run_is(&first, "succeeded").await["result"].clone();
    assert_eq!(result[1], "delivered");
    assert_eq!(house.run_is(&second, "succeeded").await["result"], result);
    // Also when all is over, and for a replay of a replay.
    assert_eq!(replayed(&house, &second, json!({})).await["result"], result);
    assert_eq!(house.messages_are(1, "delivered").await.len(), 1);
    gets(&house, ADA, &["once"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_went_out_is_sent() {
    let flow = r#"run: |
  send_text("+15417543010", "fine");
  send_text("+15417543011", "taken back", #{ at: "1h" });
  send_text("+15417543012", "expired", #{ at: "1h", valid_for: "10m" });
  send_text("+15417543013", "refused");
"#;
    let settings = "accounts: { sandbox: { transport: sandbox, opt_out: { words: [stop] } } }\n";
    let house = House::open(&[("flows/f.yaml", flow), ("postrider.yaml", settings)]).await;
    says(&house, "+15417543013", "stop").await;
    let first = house.trigger("f", Value::Null).await;
    let first = house.run_is(&first, "succeeded").await;
    house.messages_are(1, "rejected").await;
    let messages = first["messages"].as_array().unwrap();
    let taken = messages.iter().find(|message| message["body"]["text"] == "taken back").unwrap();
    house.post(&format!("/messages/{}/cancel", id(taken)), json!({})).await;
    // Both times have come at once: what it was good for is over.
    house.pass(2 * HOUR);
    house.messages_are(1, "expired").await;
    house.messages_are(1, "delivered").await;
    says(&house, "+15417543013", "start").await;

    let second = replayed(&house, id(&first), json!({})).await;
    assert_eq!(texts(second["messages"].as_array().unwrap()), ["expired", "refused", "taken back"]);
    gets(&house, "+15417543013", &["refused"]).await;
    house.pass(HOUR);
    gets(&house, BOB, &["taken back"]).await;
    gets(&house, "+15417543012", &["expired"]).await;
    gets(&house, ADA, &["fine"]).await;
    // Now all have gone out, and a third time nothing is sent.
    house.messages_are(4, "delivered").await;
    assert_eq!(replayed(&house, id(&first), json!({})).await["messages"], json!([]));
    assert_eq!(house.messages_are(4, "delivered").await.len(), 7);
}
