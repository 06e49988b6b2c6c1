//! What once was wrong with questions, calls and runs by hand.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{ADA, ASK, DOOR, HEARD, asked, messages_of, result, told};
use super::server::{LOCAL, Say, Server};
use crate::support::engine::House;
use crate::support::gateway::{self, Gateway};
use crate::support::until;

/// A flow that asks through the account `main`.
const ASK_MAIN: (&str, &str) = (
    "flows/ask.yaml",
    "run: |\n  let a = ask(\"+15417543010\", \"Ok?\", #{ account: \"main\", timeout: \"1h\" });\n  if a == () { return \"nobody\" }\n  a.text\n",
);

/// An engine with a gateway whose first answers are scripted, and which tells what people write.
async fn house(gateway: &Gateway, flow: (&str, &str), more: &str) -> House {
    let settings = gateway.settings(&format!("pace: unlimited, inbound_token: abcdefgh1234, {more}"));
    House::open(&[flow, HEARD, ("postrider.yaml", &settings)]).await
}

/// Ada writes to the account `main`.
async fn writes(house: &House, id: &str, text: &str) {
    let url = format!("http://{}/gateways/main/abcdefgh1234", house.engine.address().listen);
    let payload = json!({ "id": id, "chat_id": "15417543010@s.whatsapp.net", "from": "15417543010@s.whatsapp.net",
        "timestamp": house.clock_text(), "is_from_me": false, "body": text });
    let body = json!({ "event": "message", "device_id": "628123456789@s.whatsapp.net", "payload": payload });
    let response = crate::support::client().post(url).body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

async fn question_is(house: &House, run: &str, state: &str) -> Value {
    until(&format!("the question to be {state}"), async || {
        let message = messages_of(house, run).await.first().cloned()?;
        (message["state"] == state).then_some(message)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_shows_that_its_question_arrived_and_it_is_not_put_again() {
    let gateway = Gateway::with(|_, _| gateway::Say::Vanish).await;
    let house = house(&gateway, ASK_MAIN, "on_unknown: resend, unknown_after: 10m").await;
    let run = house.trigger("ask", Value::Null).await;
    question_is(&house, &run, "unknown").await;
    gateway.now_says(|_, _| gateway::Say::Yes);
    writes(&house, "A1", "yes").await;
    assert_eq!(result(&house, &run).await, "yes");
    let question = question_is(&house, &run, "sent").await;
    assert!(question["degraded"].to_string().contains("the person answered"), "{question}");
    house.pass(Duration::from_secs(3600));
    // What comes behind has gone out; the question has not, a second time.
    house.post("/messages", json!({ "to": ADA, "text": "behind" })).await;
    until("the message behind", async || (gateway.texts().last()? == "behind").then_some(())).await;
    assert_eq!(gateway.texts(), ["Ok?", "behind"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_in_doubt_whose_run_is_over_is_not_put_again() {
    for by_hand in [true, false] {
        let gateway = Gateway::with(|_, _| gateway::Say::Vanish).await;
        let house = house(&gateway, ASK_MAIN, "on_unknown: resend, unknown_after: 2h").await;
        let run = house.trigger("ask", Value::Null).await;
        question_is(&house, &run, "unknown").await;
        gateway.now_says(|_, _| gateway::Say::Yes);
        if by_hand {
            house.post(&format!("/runs/{run}/cancel"), json!({})).await;
        } else {
            house.sleep_through(&run).await;
            assert_eq!(result(&house, &run).await, "nobody");
        }
        house.pass(Duration::from_secs(3 * 3600));
        house.post("/messages", json!({ "to": "+15417543011", "text": "another" })).await;
        until("another message", async || gateway.texts().contains(&"another".to_owned()).then_some(())).await;
        question_is(&house, &run, "unknown").await;
        assert_eq!(gateway.texts(), ["Ok?", "another"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_got_a_question_in_doubt_may_answer_while_it_waits_to_go_out_again() {
    let gateway = Gateway::with(|_, _| gateway::Say::Vanish).await;
    let house = house(&gateway, ASK_MAIN, "on_unknown: resend, unknown_after: 1m").await;
    let run = house.trigger("ask", Value::Null).await;
    question_is(&house, &run, "unknown").await;
    gateway.now_says(|_, _| gateway::Say::No(503, "BUSY", Some(3600)));
    house.pass(Duration::from_secs(61));
    question_is(&house, &run, "queued").await;
    until("the second try", async || (gateway.got().len() == 2).then_some(())).await;
    // Time stands still meanwhile.
    let waits = house.run_is(&run, "waiting").await;
    assert_eq!(waits["waiting_for"]["until"], Value::Null, "{waits}");
    writes(&house, "A1", "yes").await;
    assert_eq!(result(&house, &run).await, "yes");
    assert_eq!(house.runs_of("heard").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_long_before_a_question_is_no_answer_to_it() {
    let house = House::open(&[ASK, HEARD, DOOR]).await;
    house.pass(Duration::from_secs(6 * 86_400));
    let run = asked(&house, ADA, "Pay 500?", json!({})).await;
    told(&house, json!({ "id": "OLD", "from": ADA, "text": "yes", "at": "2026-11-20T07:00:00Z" })).await;
    until("the old message's run", async || (house.runs_of("heard").await.len() == 1).then_some(())).await;
    house.run_is(&run, "waiting").await;
    told(&house, json!({ "id": "NEW", "from": ADA, "text": "no" })).await;
    assert_eq!(result(&house, &run).await["text"], "no");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_still_hears_answers() {
    let settings = "limits: { backlog: 1 }\n";
    // One flow computes for long, so that the next run waits for its first turn.
    let busy = ("flows/busy.yaml", "run: |\n  let n = 0;\n  while n < 4_000_000 { n += 1; }\n");
    let limits = format!("{settings}{}", "accounts:\n  sandbox: { transport: sandbox, inbound_token: abcdefgh1234 }\n");
    let slow = limits.replace("backlog: 1", "backlog: 1, cpu_turn: 10s, cpu_run: 10m");
    let house = House::open(&[ASK, HEARD, busy, ("postrider.yaml", &slow)]).await;
    let run = asked(&house, ADA, "Ok?", json!({})).await;
    let full = until("a full house", async || {
        let (status, _) = house.api(reqwest::Method::POST, "/flows/busy/trigger", Some(json!({}))).await;
        (status == 503).then_some(())
    });
    full.await;
    told(&house, json!({ "id": "A1", "from": ADA, "text": "yes" })).await;
    assert_eq!(result(&house, &run).await["text"], "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_on_the_wire_is_not_tried_again_when_its_run_is_cancelled() {
    let gateway = Gateway::with(|_, _| gateway::Say::Late(Duration::from_secs(3), 503, "BUSY")).await;
    let flow = ("flows/send.yaml", "run: |\n  send_text(\"+15417543010\", \"news\");\n  sleep(\"1d\");\n");
    let house = house(&gateway, flow, "timeout: 30s").await;
    let run = house.trigger("send", Value::Null).await;
    until("the request", async || (gateway.got().len() == 1).then_some(())).await;
    house.post(&format!("/runs/{run}/cancel"), json!({})).await;
    gateway.now_says(|_, _| gateway::Say::Yes);
    question_is(&house, &run, "cancelled").await;
    house.pass(Duration::from_secs(3600));
    house.post("/messages", json!({ "to": ADA, "text": "behind" })).await;
    until("the message behind", async || (gateway.texts().last()? == "behind").then_some(())).await;
    assert_eq!(gateway.texts(), ["news", "behind"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_list_has_a_new_key_only_where_an_answer_had_come() {
    let server = Server::start(|got, before| match (got.path.as_str(), before) {
        ("/gone", 0) => Say::Vanish,
        ("/bad", 0) => Say::text(500, "broken"),
        _ => Say::text(200, "done"),
    })
    .await;
    let flow = r#"
retry: { attempts: 2, first: 1s }
run: |
  let all = http::all([#{ url: event.data + "/gone" }, #{ url: event.data + "/bad" }]);
  for one in all { if !one.ok { throw "not all" } }
  all.len()
"#;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    house.sleep_through(&id).await;
    assert_eq!(house.run_is(&id, "succeeded").await["result"], 2);
    let keys = |path: &str| server.got_at(path).iter().map(|got| got.key()).collect::<Vec<_>>();
    let (gone, bad) = (keys("/gone"), keys("/bad"));
    assert!(gone.len() == 2 && gone[0] == gone[1], "no answer had come: {gone:?}");
    assert!(bad.len() == 2 && bad[0] != bad[1], "an answer had come: {bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_swell_on_record_are_too_large() {
    let server = Server::start(|got, _| match got.path.as_str() {
        "/zeros" => Say::Answer(200, Vec::new(), vec![0; 3 << 20]),
        _ => Say::Answer(200, Vec::new(), vec![b'x'; 1 << 20]),
    })
    .await;
    let flow = r#"run: |
  let all = [];
  for i in 0..20 { all.push(#{ url: event.data + "/x" }); }
  let large = 0;
  for one in http::all(all) { if one.error?.kind == "too_large" { large += 1; } }
  let kind = "";
  try { http::get(event.data + "/zeros") } catch (e) { kind = e.kind; }
  [large, kind]
"#;
    let house = House::open(&[("flows/f.yaml", flow), LOCAL]).await;
    let id = house.trigger("f", json!(server.url())).await;
    // Twenty share sixteen MiB; a byte that JSON writes with six signs counts as it is written.
    assert_eq!(house.run_is(&id, "succeeded").await["result"], json!([20, "too_large"]));
}
