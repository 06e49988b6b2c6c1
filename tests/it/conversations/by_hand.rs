//! What people decide about runs: taken back, and tried again. What the neighbours share is here too:
//! phones to look at, and flows to be edited.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::server::{LOCAL, Say, Server};
use crate::support::engine::{House, flow_in};
use crate::support::until;

pub const ADA: &str = "+15417543010";
pub const BOB: &str = "+15417543011";
pub const HOUR: Duration = Duration::from_secs(3600);
/// A run that was never there.
pub const NOBODY: &str = "01a1f7ed-7c14-712a-80cb-c2c157eaa1ff";
/// Lets scripts that throw without it come to their end.
const CALM: (&str, &str) = ("flows/calm.yaml", "run: shared::set(\"calm\", true)\n");

/// What a phone has got from us, sorted.
pub async fn got(house: &House, phone: &str) -> Vec<String> {
    let answer = house.get("/sandbox/messages?limit=1000").await;
    let rows = answer["messages"].as_array().unwrap().iter().filter(|row| row["to"] == phone);
    let mut texts: Vec<String> = rows.map(|row| row["text"].as_str().unwrap_or_default().to_owned()).collect();
    texts.sort();
    texts
}

/// Waits until a phone has got just these, sorted.
pub async fn gets(house: &House, phone: &str, texts: &[&str]) {
    until(&format!("{phone} to get {texts:?}"), async || (got(house, phone).await == texts).then_some(())).await;
}

/// Types a text on a phone of the sandbox.
pub async fn says(house: &House, phone: &str, text: &str) {
    house.post("/sandbox/messages", json!({ "from": phone, "text": text })).await;
}

/// Asks for something that is refused; gives status and reason.
pub async fn refused(house: &House, path: &str, body: Value) -> (u16, String) {
    let (status, answer) = house.api(Method::POST, path, Some(body)).await;
    assert!(status >= 400, "{path}: {status} {answer}");
    (status, answer["error"]["message"].as_str().unwrap().to_owned())
}

/// The texts of messages, sorted.
pub fn texts(messages: &[Value]) -> Vec<&str> {
    let mut texts: Vec<&str> = messages.iter().map(|message| message["body"]["text"].as_str().unwrap()).collect();
    texts.sort_unstable();
    texts
}

/// The version of a flow that is live.
pub fn version(flows: &Value, flow: &str) -> String {
    flow_in(flows, flow)["version"].as_str().unwrap_or_default().to_owned()
}

/// Gives a flow another text; gives its version once it is live.
pub async fn edit(house: &House, flow: &str, text: &str) -> String {
    let before = version(&house.get("/flows").await, flow);
    house.write(&format!("flows/{flow}.yaml"), text);
    let changed = |flows: &Value| flow_in(flows, flow)["stale"] == false && version(flows, flow) != before;
    version(&house.flows_are(&format!("another {flow}"), changed).await, flow)
}

const WAITS: &str = r#"run: |
  let how = event.data.how;
  if how == "sleep" { sleep("1h"); }
  if how == "ask" { ask("+15417543011", "Ok?"); }
  if how == "message" { wait_for_message(#{ from: "+15417543012" }); }
  if how == "event" { wait_for_event("go"); }
  if how == "http" { http::get(event.data.url); }
  if how == "delivery" { send_text("+15417543013", "soon", #{ at: "1h" }).wait(); }
  "went on"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_waits_is_taken_back_whatever_it_waits_for() {
    let server = Server::start(|_, _| Say::Held).await;
    let house = House::open(&[("flows/w.yaml", WAITS), ("flows/go.yaml", "run: emit(\"go\", 1)\n"), LOCAL]).await;
    let mut pairs = Vec::new();
    for how in ["sleep", "ask", "message", "event", "http", "delivery"] {
        let wish = json!({ "how": how, "url": server.url() });
        let first = house.trigger("w", wish.clone()).await;
        house.run_is(&first, "waiting").await;
        let second = house.trigger("w", wish).await;
        house.run_is(&second, "waiting").await;
        match how {
            "ask" => gets(&house, BOB, &["Ok?"]).await,
            "http" => until("both to call", async || (server.held() == 2).then_some(())).await,
            _ => {}
        }
        let taken = house.post(&format!("/runs/{first}/cancel"), json!({})).await;
        assert_eq!((&taken["id"], &taken["state"]), (&json!(first), &json!("cancelled")), "{how}");
        assert!(taken["finished_at"].is_string() && taken["waiting_for"].is_null(), "{how}: {taken}");
        let (status, reason) = refused(&house, &format!("/runs/{first}/cancel"), json!({})).await;
        assert!(status == 409 && reason.contains("cancelled"), "{how}: {status} {reason}");
        pairs.push((how, first, second));
    }
    // In the chat, the question of the second one has the place of the first one's.
    gets(&house, BOB, &["Ok?", "Ok?"]).await;
    says(&house, BOB, "yes").await;
    says(&house, "+15417543012", "hi").await;
    house.trigger("go", Value::Null).await;
    server.release();
    house.pass(HOUR);
    for (how, first, second) in pairs {
        assert_eq!(house.run_is(&second, "succeeded").await["result"], "went on", "{how}");
        let first = house.get(&format!("/runs/{first}")).await;
        assert_eq!((&first["state"], &first["result"]), (&json!("cancelled"), &Value::Null), "{how}");
    }
    gets(&house, "+15417543013", &["soon"]).await;
    assert_eq!(house.messages_are(1, "cancelled").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_not_begun_is_taken_back() {
    let house = House::open(&[("flows/hog.yaml", "run: |\n  loop { }\n"), ("flows/quick.yaml", "run: 42\n")]).await;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut hogs = Vec::new();
    for _ in 0..threads + 3 {
        hogs.push(house.trigger("hog", Value::Null).await);
    }
    let last = hogs.pop().unwrap();
    assert_eq!(house.get(&format!("/runs/{last}")).await["state"], "queued");
    let taken = house.post(&format!("/runs/{last}/cancel"), json!({})).await;
    assert_eq!((&taken["state"], &taken["started_at"]), (&json!("cancelled"), &Value::Null));
    // The others go too, as far as they are not over: nobody else is to wait for them.
    for hog in hogs.iter().rev() {
        house.api(Method::POST, &format!("/runs/{hog}/cancel"), None).await;
    }
    let quick = house.trigger("quick", Value::Null).await;
    house.run_is(&quick, "succeeded").await;
    let last = house.get(&format!("/runs/{last}")).await;
    assert_eq!((&last["state"], &last["started_at"]), (&json!("cancelled"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancelled_run_has_not_sent_is_taken_back_unless_it_is_to_be_kept() {
    let flow = r#"run: |
  send_text("+15417543010", "queued");
  send_text("+15417543010", "queued, kept", #{ keep: true });
  send_text("+15417543010", "tomorrow", #{ at: "1d" });
  send_text("+15417543010", "tomorrow, kept", #{ at: "1d", keep: true });
  sleep("2d");
"#;
    let settings = "timezone: UTC\naccounts: { sandbox: { transport: sandbox, pace: { quiet: \"06:00-09:00\" } } }\n";
    let house = House::open(&[("flows/f.yaml", flow), ("postrider.yaml", settings)]).await;
    let run = house.trigger("f", Value::Null).await;
    house.run_is(&run, "waiting").await;
    house.messages_are(2, "queued").await;
    house.post(&format!("/runs/{run}/cancel"), json!({})).await;
    for message in house.messages_are(2, "cancelled").await {
        let kept = message["body"]["text"].as_str().unwrap().ends_with("kept");
        assert_eq!(message["state"] == "cancelled", !kept, "{message}");
    }
    house.pass(2 * HOUR);
    gets(&house, ADA, &["queued, kept"]).await;
    house.pass(24 * HOUR);
    gets(&house, ADA, &["queued, kept", "tomorrow, kept"]).await;
    let messages = house.messages_are(2, "delivered").await;
    assert_eq!(messages.iter().filter(|message| message["state"] == "cancelled").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_waits_for_a_run_hears_that_it_was_taken_back() {
    let flow = "triggers:\n  - webhook: { path: /in, respond: result }\nrun: sleep(\"1h\")\n";
    let house = House::open(&[("flows/in.yaml", flow)]).await;
    let body = json!({});
    let ((status, answer), ()) = tokio::join!(house.hook("/in", &body), async {
        let run = until("the run to wait", async || {
            let runs = house.get("/runs?flow=in&state=waiting").await;
            runs["runs"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        house.post(&format!("/runs/{run}/cancel"), json!({})).await;
    });
    assert_eq!(status, 409, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decided_is_refused_with_a_reason() {
    let house = House::open(&[("flows/w.yaml", WAITS)]).await;
    let waiting = house.trigger("w", json!({ "how": "sleep" })).await;
    house.run_is(&waiting, "waiting").await;
    let over = house.trigger("w", json!({ "how": "" })).await;
    house.run_is(&over, "succeeded").await;
    for (run, decision, state) in
        [(&over, "cancel", "succeeded"), (&over, "retry", "succeeded"), (&waiting, "retry", "waiting")]
    {
        let (status, reason) = refused(&house, &format!("/runs/{run}/{decision}"), json!({})).await;
        assert!(status == 409 && reason.contains(state), "{decision}: {status} {reason}");
        let run = house.get(&format!("/runs/{run}")).await;
        assert_eq!((&run["state"], &run["attempt"]), (&json!(state), &json!(1)), "{decision} changes nothing");
    }
    for decision in ["cancel", "retry", "replay"] {
        assert_eq!(refused(&house, &format!("/runs/{NOBODY}/{decision}"), json!({})).await.0, 404, "{decision}");
        assert_eq!(refused(&house, &format!("/runs/nonsense/{decision}"), json!({})).await.0, 400, "{decision}");
    }
    assert_eq!(refused(&house, &format!("/runs/{waiting}/explode"), json!({})).await.0, 404);
    house.post(&format!("/runs/{waiting}/cancel"), json!({})).await;
    assert_eq!(refused(&house, &format!("/runs/{waiting}/retry"), json!({})).await.0, 409);
}

/// Waits until a run has failed in this attempt.
async fn fails(house: &House, run: &str, attempt: u64) -> Value {
    until(&format!("attempt {attempt} to fail"), async || {
        let run = house.get(&format!("/runs/{run}")).await;
        (run["state"] == "failed" && run["attempt"] == attempt).then_some(run)
    })
    .await
}

/// A person's answer, a night's sleep and what was promised outlive two retries and a crash.
async fn goes_on_after(error: &str) {
    let flow = r#"run: |
  send_text("+15417543010", "before");
  let answer = ask("+15417543010", "Ok?");
  send_text("+15417543010", `thanks for ${answer.text}`);
  sleep("1h");
  send_text("+15417543010", "slept");
  if shared::get("calm") == () { ERROR; }
  send_text("+15417543010", "done");
  answer.text
"#;
    let house = House::open(&[("flows/f.yaml", &flow.replace("ERROR", error)), CALM]).await;
    let run = house.trigger("f", Value::Null).await;
    gets(&house, ADA, &["Ok?", "before"]).await;
    says(&house, ADA, "yes").await;
    gets(&house, ADA, &["Ok?", "before", "thanks for yes"]).await;
    house.pass(HOUR);
    let failed = fails(&house, &run, 1).await;
    assert_eq!(failed["error"]["message"], "not calm", "{failed}");
    let again = house.post(&format!("/runs/{run}/retry"), json!({})).await;
    assert_eq!(again["id"], json!(run));
    // The clock stands still: who slept or asked again would wait now.
    let failed = fails(&house, &run, 2).await;
    assert_eq!(failed["error"]["message"], "not calm", "{failed}");
    let house = house.crash().await;
    let calm = house.trigger("calm", Value::Null).await;
    house.run_is(&calm, "succeeded").await;
    house.post(&format!("/runs/{run}/retry"), json!({})).await;
    let ended = house.run_is(&run, "succeeded").await;
    assert_eq!((&ended["result"], &ended["attempt"], &ended["error"]), (&json!("yes"), &json!(3), &Value::Null));
    let messages = house.messages_are(5, "delivered").await;
    assert_eq!(texts(&messages), ["Ok?", "before", "done", "slept", "thanks for yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_by_hand_goes_on_after_the_last_answer() {
    goes_on_after("throw \"not calm\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_by_hand_goes_on_after_a_fail_too() {
    goes_on_after("fail(\"not calm\")").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_calls_itself_a_fail_is_one_like_others() {
    goes_on_after("throw #{ kind: \"fail\", message: \"not calm\" }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_made_the_script_throw_is_made_again() {
    let flow = r#"run: |
  let one = http::get(event.data + "/one").body;
  send_text("+15417543010", `one is ${one}`);
  let two = http::get(event.data + "/two").body;
  if two != "good" { throw `it said ${two}`; }
  [one, two]
"#;
    let server = Server::start(|got, before| match (got.path.as_str(), before) {
        ("/one", _) => Say::text(200, "1"),
        (_, 0) => Say::text(200, "bad"),
        _ => Say::text(200, "good"),
    })
    .await;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let run = house.trigger("f", json!(server.url())).await;
    assert_eq!(fails(&house, &run, 1).await["error"]["message"], "it said bad");
    house.post(&format!("/runs/{run}/retry"), json!({})).await;
    let ended = house.run_is(&run, "succeeded").await;
    assert_eq!((&ended["result"], &ended["attempt"]), (&json!(["1", "good"]), &json!(2)));
    let asked = server.got();
    let paths: Vec<&str> = asked.iter().map(|got| got.path.as_str()).collect();
    assert_eq!(paths, ["/one", "/two", "/two"]);
    assert_ne!(asked[1].key(), asked[2].key(), "one that was answered is not asked again: it is another call");
    assert_eq!(house.messages_are(1, "delivered").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_that_takes_another_way_sends_what_it_promises_there() {
    let flow = r#"run: |
  let answer = http::get(event.data).body;
  if answer == "bad" { send_text("+15417543010", "trouble"); fail("it said bad"); }
  send_text("+15417543010", "all is well");
  answer
"#;
    let server = Server::start(|_, before| Say::text(200, if before == 0 { "bad" } else { "good" })).await;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let run = house.trigger("f", json!(server.url())).await;
    fails(&house, &run, 1).await;
    gets(&house, ADA, &["trouble"]).await;
    house.post(&format!("/runs/{run}/retry"), json!({})).await;
    assert_eq!(house.run_is(&run, "succeeded").await["result"], "good");
    assert_eq!(texts(&house.messages_are(2, "delivered").await), ["all is well", "trouble"]);
}
