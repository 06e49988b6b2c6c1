//! Somebody is told of what goes wrong: once for each cause, in the lists, the log and the flow that
//! `on_failure` names.

use std::time::Duration;

use axum::body::Bytes;
use postrider::clock::Clock;
use serde_json::{Value, json};

use crate::gateways::fake::{self, Fake, Mood};
use crate::support::binary::{self, Process};
use crate::support::engine::{House, flow_in};
use crate::support::until;

const ADA: &str = "+15417543010";
const OPS: (&str, &str) = ("flows/ops.yaml", "run: event\n");
const SEND: (&str, &str) = (
    "flows/send.yaml",
    "run: |\n  for n in 0..event.data.count { send_text(event.data.to, `${event.data.from + n}`) }\n",
);
const MINUTE: Duration = Duration::from_secs(60);

/// A workspace with one account, `main`, that uses this fake; `ops` is told.
async fn house(fake: &Fake, account: &str, files: &[(&str, &str)]) -> House {
    let settings = format!("on_failure: ops\n{}", fake.settings(&format!("pace: unlimited\n{account}")));
    let files: Vec<_> = files.iter().copied().chain([OPS, ("postrider.yaml", settings.as_str())]).collect();
    House::open(&files).await
}

/// What `ops` was told of, oldest first, when it was told so often.
async fn told(house: &House, count: usize) -> Vec<Value> {
    let runs = until(&format!("{count} runs of ops"), async || {
        let runs = house.runs_of("ops").await;
        assert!(runs.len() <= count, "told too often: {runs:?}");
        (runs.len() == count && runs.iter().all(|run| run["state"] == "succeeded")).then_some(runs)
    })
    .await;
    let mut events = Vec::new();
    for run in runs {
        events.push(house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await["event"].clone());
    }
    events
}

async fn sends(house: &House, to: &str, from: usize, count: usize) {
    let data = json!({ "data": { "to": to, "from": from, "count": count } });
    let run = house.post("/flows/send/trigger", data).await["run"].as_str().unwrap().to_owned();
    house.run_is(&run, "succeeded").await;
}

async fn account(house: &House) -> Value {
    house.get("/accounts").await["accounts"][0].clone()
}

/// Lets time pass in steps, each time until the account has tried again.
async fn passes(house: &House, steps: usize, step: Duration) {
    for _ in 0..steps {
        house.pass(step);
        let now = postrider::clock::rfc3339(house.clock.now());
        until("the next try", async || {
            let account = account(house).await;
            let later = account["probe_at"].as_str().is_some_and(|at| at > now.as_str());
            (later || account["state"] != "paused").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_weekend_without_the_gateway_loses_nothing_and_is_told_twice() {
    let fake = Fake::away(fake::gowa::DIALECT);
    let house = house(&fake, "retry: { attempts: 3 }", &[SEND]).await;
    sends(&house, ADA, 0, 500).await;
    sends(&house, ADA, 500, 500).await;
    until("the account to be paused", async || (account(&house).await["state"] == "paused").then_some(())).await;
    passes(&house, 4, MINUTE).await;
    assert_eq!(told(&house, 0).await, Vec::<Value>::new(), "not every minute without it is told");
    passes(&house, 72, Duration::from_secs(3600)).await;
    let paused = told(&house, 1).await.remove(0);
    assert_eq!(
        (&paused["trigger"], &paused["what"], &paused["account"]),
        (&json!("failure"), &json!("account"), &json!("main"))
    );
    assert_eq!((&paused["state"], &paused["backlog"]), (&json!("paused"), &json!(1000)));
    assert!(paused["reason"].as_str().unwrap().contains("cannot be reached"), "{paused}");
    let shown = account(&house).await;
    assert_eq!((&shown["backlog"], &shown["bad_messages"]), (&json!(1000), &json!(0)), "{shown}");
    // An engine that starts anew tells nobody again.
    let house = house.crash().await;
    passes(&house, 3, Duration::from_secs(3600)).await;
    told(&house, 1).await;

    fake.comes().await;
    house.pass(Duration::from_secs(3600));
    let messages = house.messages_are(1000, "sent").await;
    let texts: Vec<String> = fake.take().iter().filter(|got| got.path == "/send/message").map(message_text).collect();
    let wanted: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    assert_eq!(texts, wanted, "all, once, in order");
    assert!(
        messages.iter().all(|message| message["attempts"].as_array().unwrap().last().unwrap()["outcome"] == "sent")
    );
    let back = told(&house, 2).await.remove(1);
    assert_eq!((&back["what"], &back["state"], &back["reason"]), (&json!("account"), &json!("ready"), &Value::Null));
    assert_eq!(account(&house).await["state"], "ready");
}

fn message_text(got: &fake::Got) -> String {
    got.json().unwrap()["message"].as_str().unwrap().to_owned()
}

/// As Meta refuses a message.
fn refusal(code: u32) -> Mood {
    let body = json!({ "error": { "message": "(#1) x", "type": "OAuthException", "code": code } });
    Mood::Says(400, Vec::new(), Bytes::from(body.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_end_badly_are_told_together_once() {
    let fake = Fake::start(fake::meta::DIALECT).await;
    // Meta's window would refuse them before they go.
    let house = house(&fake, "retry: { attempts: 1 }\nunknown_after: 1h", &[SEND]).await;
    fake.is(refusal(131_026));
    template(&house, 1).await;
    let first = told(&house, 1).await.remove(0);
    for (field, wanted) in [
        ("what", json!("message")),
        ("state", json!("rejected")),
        ("to", json!(ADA)),
        ("account", json!("main")),
        ("count", json!(1)),
    ] {
        assert_eq!(first[field], wanted, "{field}: {first}");
    }
    assert_eq!(first["error"]["kind"], "recipient_invalid", "{first}");
    assert!(first["message"].is_string() && first["run"].is_null() && first["flow"].is_null(), "{first}");
    // Those that end alike soon after are told of together.
    for _ in 0..3 {
        template(&house, 1).await;
    }
    house.messages_are(4, "rejected").await;
    told(&house, 1).await;
    house.pass(MINUTE * 11);
    assert_eq!(told(&house, 2).await[1]["count"], 3);
    // Another end is another cause.
    fake.is(Mood::Breaks);
    template(&house, 1).await;
    let states =
        |events: &[Value]| events.iter().map(|event| event["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert!(states(&told(&house, 3).await).contains(&"unknown".to_owned()));
    fake.is(refusal(131_016));
    template(&house, 1).await;
    assert!(states(&told(&house, 4).await).contains(&"dead".to_owned()));
    let shown = account(&house).await;
    assert_eq!(shown["bad_messages"], 6, "{shown}");
    // Once over, the same is told again.
    fake.is(refusal(131_026));
    house.pass(MINUTE * 30);
    template(&house, 1).await;
    assert_eq!(told(&house, 5).await[4]["state"], "rejected");
}

async fn template(house: &House, count: usize) {
    for _ in 0..count {
        let wish = json!({ "kind": "template", "to": ADA, "name": "t", "language": "en" });
        house.post("/messages", wish).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_of_its_own_is_told_and_what_goes_wrong_there_is_not() {
    let fake = Fake::start(fake::gowa::DIALECT).await;
    let own = ("flows/own.yaml", "run: send_text(\"+15417543011\", event.what)\n");
    let send = ("flows/send.yaml", "on_failure: own\nrun: send_text(event.data.to, \"hello\")\n");
    let house = house(&fake, "", &[own, send]).await;
    let body = json!({ "code": "INVALID_JID", "message": "not on whatsapp", "status": 400 }).to_string();
    fake.is(Mood::Says(400, Vec::new(), Bytes::from(body)));
    sends(&house, ADA, 0, 1).await;
    house.messages_are(2, "rejected").await;
    let runs = house.runs_of("own").await;
    assert_eq!((runs.len(), &runs[0]["bad_messages"]), (1, &json!(1)), "{runs:?}");
    house.pass(MINUTE * 30);
    let flows = house.get("/flows").await;
    assert_eq!(flow_in(&flows, "send")["bad_messages"], 1);
    assert_eq!((house.runs_of("own").await.len(), house.runs_of("ops").await.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_more_is_nobodys_failure() {
    let house = House::open(&[
        OPS,
        ("flows/asks.yaml", "run: ask(\"+15417543010\", \"Well?\")\n"),
        ("postrider.yaml", "on_failure: ops\n"),
    ])
    .await;
    house.post("/sandbox/messages", json!({ "from": ADA, "text": "STOP" })).await;
    until("the refusal", async || {
        let id = house.post("/messages", json!({ "to": ADA, "text": "hello" })).await["message"]
            .as_str()
            .unwrap()
            .to_owned();
        let message = until("its end", async || {
            let message = house.get(&format!("/messages/{id}")).await;
            ["rejected", "delivered"].contains(&message["state"].as_str().unwrap()).then_some(message)
        })
        .await;
        (message["state"] == "rejected").then_some(())
    })
    .await;
    // Nor is a run that asks in vain.
    let asks = house.post("/flows/asks/trigger", json!({})).await["run"].as_str().unwrap().to_owned();
    house.run_is(&asks, "failed").await;
    // What is told comes after it.
    house.write("flows/ops.yaml", "run: [\n");
    house.pass(MINUTE * 2);
    house.write("flows/ops.yaml", OPS.1);
    house.pass(MINUTE * 30);
    assert!(house.runs_of("ops").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_stays_broken_is_told_once_until_it_is_mended() {
    let good = "triggers: [{ webhook: /in }]\nrun: 1\n";
    let house = House::open(&[OPS, ("flows/in.yaml", good), ("postrider.yaml", "on_failure: ops\n")]).await;
    let is = async |text: &str, stale: bool| {
        house.write("flows/in.yaml", text);
        until("the reload", async || {
            let flows = house.get("/flows").await;
            (flow_in(&flows, "in")["stale"] == stale).then_some(())
        })
        .await;
    };
    is("run: let = 1\n", true).await;
    house.pass(MINUTE / 2);
    is(good, false).await;
    house.pass(MINUTE * 2);
    is("run: let = 2\n", true).await;
    told(&house, 0).await;
    // Nothing tells that the alarm has seen it but that it tells in the end.
    until("it to be told", async || {
        house.pass(MINUTE);
        (!house.runs_of("ops").await.is_empty()).then_some(())
    })
    .await;
    let event = told(&house, 1).await.remove(0);
    assert_eq!((&event["what"], &event["flow"]), (&json!("flow"), &json!("in")), "{event}");
    assert_eq!(event["diagnostics"][0]["file"], "flows/in.yaml", "{event}");
    is("run: let = 3\n", true).await;
    house.pass(MINUTE * 60);
    told(&house, 1).await;
    is(good, false).await;
    is("run: let = 4\n", true).await;
    until("it to be told again", async || {
        house.pass(MINUTE);
        (house.runs_of("ops").await.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_fail_are_told_to_the_flow_of_the_workspace() {
    let flows = [
        OPS,
        ("postrider.yaml", "on_failure: ops\n"),
        ("flows/bad.yaml", "triggers: [{ webhook: /bad }]\nrun: throw \"no\"\n"),
    ];
    let house = House::open(&flows).await;
    house.post("/flows/bad/trigger", json!({})).await;
    let event = told(&house, 1).await.remove(0);
    assert_eq!((&event["what"], &event["attempt"]), (&json!("run"), &json!(1)), "{event}");
    assert!(event["error"]["message"].as_str().unwrap().contains("no"), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_among_what_is_to_be_told_hides_nothing() {
    let fake = Fake::start(fake::meta::DIALECT).await;
    let house = house(&fake, "", &[]).await;
    let (folder, clock) = house.down().await;
    let connection = rusqlite::Connection::open(folder.path().join(".postrider/state.db")).unwrap();
    for sql in [
        "INSERT INTO troubles (message) VALUES ('no id')",
        "INSERT INTO troubles (message) VALUES (x'00')",
        "INSERT INTO told (cause, at) VALUES (x'ff00', 'never')",
        "INSERT INTO told (cause, at) VALUES ('message:', 9223372036854775807)",
        "INSERT INTO told (cause, at) VALUES ('account:gone', -9223372036854775808)",
        "INSERT INTO told (cause, at) VALUES ('flow:gone', 0)",
        "UPDATE place SET machine = x'ff', file = 'none', path = x'ff'",
    ] {
        connection.execute(sql, []).unwrap();
    }
    drop(connection);
    let house = House::again(folder, clock).await;
    fake.is(refusal(131_026));
    template(&house, 1).await;
    assert_eq!(told(&house, 1).await[0]["state"], "rejected");
    // What belongs to nobody any more is over.
    let (folder, _) = house.stop().await;
    let connection = rusqlite::Connection::open(folder.path().join(".postrider/state.db")).unwrap();
    let kept: i64 =
        connection.query_row("SELECT count(*) FROM told WHERE cause = 'flow:gone'", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_in_the_flow_that_is_told_is_only_logged() {
    let flows = [("flows/ops.yaml", "run: throw \"no\"\n"), ("postrider.yaml", "on_failure: ops\n")];
    let house = House::open(&flows).await;
    let run = house.post("/flows/ops/trigger", json!({})).await["run"].as_str().unwrap().to_owned();
    house.run_is(&run, "failed").await;
    house.pass(MINUTE);
    assert_eq!(house.runs_of("ops").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_named_later_is_told_what_is_still_so() {
    let fake = Fake::away(fake::gowa::DIALECT);
    let account = fake.settings("pace: unlimited");
    let house = House::open(&[OPS, SEND, ("postrider.yaml", account.as_str())]).await;
    sends(&house, ADA, 0, 1).await;
    until("the account to be paused", async || (!account_pauses(&house).await.is_null()).then_some(())).await;
    passes(&house, 10, MINUTE).await;
    house.write("postrider.yaml", &format!("on_failure: ops\n{account}"));
    assert_eq!(told(&house, 1).await[0]["state"], "paused");
    // An account that is taken away while it is paused is no trouble when it comes again.
    house.write("postrider.yaml", "on_failure: ops\n");
    until("the account to be gone", async || (self::account(&house).await["name"] == "sandbox").then_some(())).await;
    house.pass(MINUTE);
    house.write("postrider.yaml", &format!("on_failure: ops\n{account}"));
    until("the account to pause again", async || (!account_pauses(&house).await.is_null()).then_some(())).await;
    passes(&house, 10, MINUTE).await;
    assert_eq!(told(&house, 2).await[1]["state"], "paused");
}

/// When the account tries again.
async fn account_pauses(house: &House) -> Value {
    account(house).await["probe_at"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_could_not_take_at_once_is_told_later() {
    let fake = Fake::start(fake::meta::DIALECT).await;
    let house = house(&fake, "", &[]).await;
    let other = rusqlite::Connection::open(house.folder.path().join(".postrider/state.db")).unwrap();
    other.busy_timeout(Duration::from_secs(20)).unwrap();
    // A store that takes everything but this.
    let fails = "CREATE TRIGGER fails BEFORE INSERT ON told BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(fails).unwrap();
    fake.is(refusal(131_026));
    template(&house, 1).await;
    house.messages_are(1, "rejected").await;
    for _ in 0..5 {
        house.pass(MINUTE);
        tokio::task::yield_now().await;
    }
    told(&house, 0).await;
    other.execute_batch("DROP TRIGGER fails").unwrap();
    until("it to be told", async || {
        house.pass(Duration::from_secs(6));
        (house.runs_of("ops").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(told(&house, 1).await[0]["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_who_was_forgotten_nor_of_what_was_settled() {
    let fake = Fake::start(fake::meta::DIALECT).await;
    let house = house(&fake, "unknown_after: 1h", &[]).await;
    fake.is(Mood::Breaks);
    template(&house, 1).await;
    let first = told(&house, 1).await.remove(0);
    assert_eq!(first["state"], "unknown");
    template(&house, 2).await;
    let messages = house.messages_are(3, "unknown").await;
    // They were all made in one hand-set millisecond, so their order says nothing.
    let settled = messages.iter().find(|message| message["id"] != first["message"]).unwrap();
    house.post(&format!("/messages/{}/release", settled["id"].as_str().unwrap()), json!({ "as": "sent" })).await;
    house.pass(MINUTE * 11);
    let second = told(&house, 2).await;
    assert_eq!(second.iter().map(|event| event["count"].clone()).collect::<Vec<_>>(), [1, 1]);
    template(&house, 1).await;
    house.messages_are(3, "unknown").await;
    house.post("/forget", json!({ "recipient": ADA })).await;
    house.pass(MINUTE * 30);
    house.pass(MINUTE * 30);
    // What the runs that heard of the person were told is gone with the rest, and nothing new comes.
    let events = told(&house, 2).await;
    assert!(events.iter().all(|event| event["forgotten"].is_string() && event["to"].is_null()), "{events:?}");
}

/// Each bad end has its line, until there are too many that are alike.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_that_messages_ended_badly_and_is_not_flooded() {
    let fake = Fake::start(fake::meta::DIALECT).await;
    fake.is(refusal(131_026));
    let flow = "run: |\n  for n in 0..event.data { send(`+1541754${3000 + n}`, #{ kind: \"template\", name: \"t\", language: \"en\" }) }\n";
    let settings = fake.settings("pace: unlimited");
    let folder = crate::support::folder(&[("flows/send.yaml", flow), ("postrider.yaml", &settings)]);
    let engine = Process::start(folder.path());
    for (count, all) in [(1, 1), (60, 61)] {
        binary::said(folder.path(), &["trigger", "send", "--data", &count.to_string(), "--wait"]);
        until("the bad ends", async || {
            let rejected = binary::json(folder.path(), &["accounts"])["accounts"][0]["bad_messages"] == all;
            rejected.then_some(())
        })
        .await;
        until("the line about it", async || {
            let log = std::fs::read_to_string(folder.path().join("engine.log")).unwrap();
            log.contains("a message is rejected").then_some(())
        })
        .await;
    }
    let (_, log) = engine.terminate();
    let lines = log.lines().filter(|line| line.contains("rejected") || line.contains("131026")).count();
    // Five before they were first told of, and five since.
    assert!((2..=10).contains(&lines), "{lines} lines: {log}");
    assert!(log.contains("on WhatsApp") || log.contains("(#1) x"), "the line says why: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_never_ran_is_silent_since_it_was_first_seen_also_over_restarts() {
    let beats = "triggers: [{ webhook: /in }]\nexpect: { every: 25h }\nrun: 1\n";
    let hears = "run: event.what\n";
    let files = [("flows/beats.yaml", beats), ("flows/ops.yaml", hears), ("postrider.yaml", "on_failure: ops\n")];
    let mut house = House::open(&files).await;
    until("it to be seen", async || {
        house.engine.store().told().await.unwrap().iter().any(|(cause, _)| cause == "awaited:beats").then_some(())
    })
    .await;
    let hour = Duration::from_secs(3_600);
    for day in 0..4 {
        house.pass(10 * hour);
        let expected = usize::from(day > 0);
        until(&format!("day {day}: it to be told {expected} times"), async || {
            let runs = house.runs_of("ops").await;
            assert!(runs.len() <= expected, "{runs:?}");
            (runs.len() == expected).then_some(())
        })
        .await;
        house.pass(9 * hour);
        let (folder, clock) = house.stop().await;
        clock.advance(5 * hour);
        house = House::again(folder, clock).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_is_silent_for_too_long_is_told_of_once_until_it_speaks() {
    let beats = "triggers: [{ webhook: /in }]\nexpect: { every: 25h }\nrun: 1\n";
    let hears = "run: |\n  [event.what, event.flow, event.every, event.last]\n";
    let files = [("flows/beats.yaml", beats), ("flows/ops.yaml", hears), ("postrider.yaml", "on_failure: ops\n")];
    let mut house = House::open(&files).await;
    let told = async |house: &House, count: usize| {
        until(&format!("it to be told {count} times"), async || {
            let runs = house.runs_of("ops").await;
            assert!(runs.len() <= count, "{runs:?}");
            (runs.len() == count && runs.iter().all(|run| run["state"] == "succeeded")).then_some(runs)
        })
        .await
    };
    house.pass(Duration::from_secs(24 * 3600));
    assert_eq!(house.hook("/in", &json!({})).await.0, 200);
    house.pass(Duration::from_secs(24 * 3600 + 1800));
    assert!(house.runs_of("ops").await.is_empty());
    house.pass(Duration::from_secs(3600));
    let run = told(&house, 1).await[0]["id"].as_str().unwrap().to_owned();
    let run = house.get(&format!("/runs/{run}")).await;
    assert_eq!(
        (&run["result"][0], &run["result"][1], &run["result"][2]),
        (&json!("silence"), &json!("beats"), &json!("1d1h")),
        "{run}"
    );
    // The same silence is told once, also over a restart.
    let (folder, clock) = house.stop().await;
    clock.advance(Duration::from_secs(3 * 3600));
    house = House::again(folder, clock).await;
    house.pass(Duration::from_secs(3600));
    told(&house, 1).await;
    assert_eq!(house.hook("/in", &json!({})).await.0, 200);
    house.pass(Duration::from_secs(120));
    until("the silence to be over", async || {
        let told = house.engine.store().told().await.unwrap();
        told.iter().all(|(cause, _)| !cause.starts_with("silence")).then_some(())
    })
    .await;
    house.pass(Duration::from_secs(26 * 3600));
    told(&house, 2).await;
}
