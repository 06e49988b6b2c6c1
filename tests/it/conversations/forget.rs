//! Erasing a person: nothing that was said to them or by them is left, neither to be seen nor on the
//! disk. What belongs to others stays.

use std::sync::Arc;
use std::time::Duration;

use postrider::clock::HandClock;
use reqwest::Method;
use serde_json::{Value, json};

use super::by_hand::{ADA, BOB, gets, refused, says};
use super::opt_out::{LID, SETTINGS, is_refused, sent, told};
use crate::support::engine::House;
use crate::support::until;

/// What only Ada's messages say, and what only Bob's do.
const HERS: &str = "quetzal-7351";
const HIS: &str = "toucan-2846";
const MONTH: Duration = Duration::from_secs(30 * 86_400);

const TALK: (&str, &str) = (
    "flows/talk.yaml",
    r#"run: |
  send_text(event.data.to, event.data.words);
  let answer = ask(event.data.to, `Why ${event.data.words}?`);
  log::info(answer.text);
  answer.text
"#,
);
const ECHO: (&str, &str) = ("flows/echo.yaml", "triggers:\n  - message: {}\nrun: event.text\n");

/// Whether the state file or its log holds a text.
fn on_disk(house: &House, text: &str) -> bool {
    let files = std::fs::read_dir(house.folder.path().join(".postrider")).unwrap().map(|entry| entry.unwrap().path());
    let mut own = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("state.db"));
    own.any(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(text))
}

async fn leaves_the_disk(house: &House, text: &str) {
    until(&format!("`{text}` to be gone from the disk"), async || (!on_disk(house, text)).then_some(())).await;
}

/// All that the API shows of runs, messages and phones.
async fn shown(house: &House) -> String {
    let mut all = house.get("/messages?limit=1000").await.to_string();
    all.push_str(&house.get("/sandbox/messages?limit=1000").await.to_string());
    let runs = house.get("/runs?limit=1000").await;
    for run in runs["runs"].as_array().unwrap() {
        all.push_str(&house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await.to_string());
    }
    all
}

/// Forgets Ada, and sees to it that her words are nowhere.
async fn forget_her(house: &House) -> Value {
    assert!(shown(house).await.contains(HERS) && on_disk(house, HERS), "there is something to forget");
    let answer = house.post("/forget", json!({ "recipient": "+1 541-754-3010" })).await;
    let shown = shown(house).await;
    assert!(!shown.contains(HERS), "{shown}");
    leaves_the_disk(house, HERS).await;
    answer
}

/// The contents of all files that were copied, sorted.
fn copies(house: &House) -> Vec<String> {
    let files = std::fs::read_dir(house.folder.path().join(".postrider/blobs")).unwrap();
    let mut texts: Vec<String> = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    texts.sort();
    texts
}

/// A conversation that is over, a message of their own accord, one that is to come, and a question that
/// is open. Gives the runs: the first is over, the second too, the third waits.
async fn lives(house: &House, phone: &str, words: &str) -> [String; 3] {
    let wish = json!({ "to": phone, "words": words });
    let over = house.trigger("talk", wish.clone()).await;
    gets(house, phone, &[&format!("Why {words}?"), words]).await;
    says(house, phone, &format!("because of {words}")).await;
    assert_eq!(house.run_is(&over, "succeeded").await["result"], format!("because of {words}"));
    let before = house.runs_of("echo").await;
    says(house, phone, &format!("hello from {words}")).await;
    let echo = house.runs_of("echo").await.into_iter().find(|run| before.iter().all(|known| known["id"] != run["id"]));
    let echo = echo.unwrap()["id"].as_str().unwrap().to_owned();
    house.run_is(&echo, "succeeded").await;
    house.post("/messages", json!({ "to": phone, "text": format!("a month of {words}"), "at": "30d" })).await;
    let live = house.trigger("talk", wish).await;
    house.run_is(&live, "waiting").await;
    [over, echo, live]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_and_others_are_not() {
    let house = House::open(&[TALK, ECHO]).await;
    let hers = lives(&house, ADA, HERS).await;
    let his = lives(&house, BOB, HIS).await;
    house.messages_are(8, "delivered").await;
    let of_bob = async |house: &House| {
        let mut all = vec![house.get("/messages?to=%2B15417543011").await];
        for run in &his {
            all.push(house.get(&format!("/runs/{run}")).await);
        }
        all
    };
    let before = of_bob(&house).await;

    let answer = forget_her(&house).await;
    let mark = answer["mark"].as_str().unwrap().to_owned();
    assert!(!mark.is_empty() && answer["messages"].as_u64().unwrap() >= 5, "{answer}");
    assert_eq!((&answer["events"], &answer["runs"], &answer["files"]), (&json!(2), &json!(3), &json!(0)), "{answer}");
    assert_eq!(house.get("/messages?to=%2B15417543010").await["messages"], json!([]));
    for (id, state) in hers.iter().zip(["succeeded", "succeeded", "cancelled"]) {
        let run = house.get(&format!("/runs/{id}")).await;
        assert_eq!((&run["state"], &run["result"]), (&json!(state), &Value::Null), "{run}");
        assert_eq!((&run["entries"], &run["messages"]), (&json!([]), &json!([])), "{run}");
        assert!(run["event"].to_string().contains(&mark), "what is left says why: {run}");
        assert!(run["finished_at"].is_string() && !run.to_string().contains("5417543010"), "{run}");
    }
    assert!(on_disk(&house, &mark), "that somebody was forgotten is on record");
    leaves_the_disk(&house, "5417543010").await;

    assert_eq!(of_bob(&house).await, before);
    assert!(on_disk(&house, HIS));
    let house = house.crash().await;
    assert!(!shown(&house).await.contains(HERS) && !on_disk(&house, HERS));
    assert_eq!(of_bob(&house).await, before);
    says(&house, BOB, "because").await;
    assert_eq!(house.run_is(&his[2], "succeeded").await["result"], "because");
    house.pass(MONTH);
    assert_eq!(house.messages_are(5, "delivered").await.len(), 5);
    // She is nobody special: whoever writes to her begins anew.
    assert_eq!(sent(&house, json!({ "to": ADA, "text": "hello" })).await["state"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_over_before_is_gone_too() {
    let flow = r#"run: |
  for n in 0..30 {
    send_text("+15417543010", `${event.data} ${n}`);
    send_text("+15417543011", `for Bob ${n}`, #{ at: "30d" });
  }
"#;
    // Rows that change (a message is claimed, sent, delivered) leave their earlier forms behind, between
    // rows that stay.
    let house = House::open(&[("flows/many.yaml", flow)]).await;
    let run = house.trigger("many", json!(HERS)).await;
    house.run_is(&run, "succeeded").await;
    house.messages_are(30, "delivered").await;
    forget_her(&house).await;
    assert_eq!(house.messages_are(30, "scheduled").await.len(), 30);
}

/// Ada was told something, and is forgotten; all of that with the engine at rest. Gives its folder and its clock.
async fn forgotten_and_down() -> (tempfile::TempDir, Arc<HandClock>) {
    let house = House::open(&[]).await;
    sent(&house, json!({ "to": ADA, "text": HERS })).await;
    forget_her(&house).await;
    house.down().await
}

/// A row that stood in the file and was deleted by the way.
fn leave_words(file: &std::path::Path, more: &str) {
    let connection = rusqlite::Connection::open(file).unwrap();
    let rows = "INSERT INTO kv (flow, key, value) VALUES ('f', '1', 'quetzal-7351'); DELETE FROM kv;";
    connection.execute_batch(&format!("{rows} {more}")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_the_rest_to_the_next_start() {
    let (folder, clock) = forgotten_and_down().await;
    leave_words(&folder.path().join(".postrider/state.db"), "UPDATE forgotten SET on_disk = 1;");
    let house = House::again(folder, clock).await;
    leaves_the_disk(&house, HERS).await;
    let (folder, clock) = house.down().await;
    leave_words(&folder.path().join(".postrider/state.db"), "");
    let house = House::again(folder, clock).await;
    sent(&house, json!({ "to": BOB, "text": HIS })).await;
    assert!(on_disk(&house, HERS), "once it is done it is not done at every start");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_the_first_versions_is_overwritten_too() {
    let (folder, clock) = forgotten_and_down().await;
    leave_words(&folder.path().join(".postrider/state.db"), "PRAGMA auto_vacuum = NONE; VACUUM;");
    let house = House::again(folder, clock).await;
    sent(&house, json!({ "to": ADA, "text": HERS })).await;
    forget_her(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_the_file_for_long_holds_nobody_else_up() {
    let house = House::open(&[TALK]).await;
    sent(&house, json!({ "to": ADA, "text": HERS })).await;
    let reader = rusqlite::Connection::open(house.folder.path().join(".postrider/state.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM messages;").unwrap();
    house.post("/forget", json!({ "recipient": ADA })).await;
    for _ in 0..20 {
        sent(&house, json!({ "to": BOB, "text": HIS })).await;
    }
    assert!(on_disk(&house, HERS), "what is being read stays");
    reader.execute_batch("COMMIT").unwrap();
    leaves_the_disk(&house, HERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_a_person_is_the_person() {
    for asked in [LID, ADA] {
        let house = House::open(&[SETTINGS, TALK, ECHO]).await;
        told(&house, json!({ "id": "A1", "from": ADA, "also": LID, "text": format!("hi {HERS}") })).await;
        told(&house, json!({ "id": "A2", "from": LID, "text": format!("it is me, {HERS}") })).await;
        told(&house, json!({ "id": "B1", "from": BOB, "text": HIS })).await;
        for to in [ADA, LID, BOB] {
            sent(&house, json!({ "to": to, "text": if to == BOB { HIS } else { HERS } })).await;
        }
        let live = house.trigger("talk", json!({ "to": LID, "words": HERS })).await;
        house.run_is(&live, "waiting").await;
        for run in house.runs_of("echo").await {
            house.run_is(run["id"].as_str().unwrap(), "succeeded").await;
        }
        house.messages_are(5, "delivered").await;
        let answer = house.post("/forget", json!({ "recipient": asked })).await;
        assert_eq!((&answer["events"], &answer["runs"]), (&json!(2), &json!(3)), "{asked}: {answer}");
        let all = shown(&house).await;
        assert!(!all.contains(HERS) && all.contains(HIS), "{asked}: {all}");
        assert_eq!(house.get(&format!("/runs/{live}")).await["state"], "cancelled");
        for gone in [HERS, "5417543010", LID] {
            leaves_the_disk(&house, gone).await;
        }
        assert!(on_disk(&house, HIS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_nobody_else_needs_go_with_the_person() {
    let flow = r#"run: |
  send_file("+15417543010", "files/own.txt");
  send_file("+15417543010", "files/shared.txt");
  send_file("+15417543011", "files/shared.txt", #{ at: "30d" });
"#;
    let house = House::open(&[
        ("flows/f.yaml", flow),
        ("files/own.txt", "for Ada alone"),
        ("files/shared.txt", "for both of them"),
    ])
    .await;
    let run = house.trigger("f", Value::Null).await;
    house.run_is(&run, "succeeded").await;
    house.messages_are(2, "delivered").await;
    assert_eq!(copies(&house), ["for Ada alone", "for both of them"]);
    let answer = house.post("/forget", json!({ "recipient": ADA })).await;
    assert_eq!(answer["files"], 1, "{answer}");
    assert_eq!(copies(&house), ["for both of them"]);
    house.pass(MONTH);
    assert_eq!(house.messages_are(1, "delivered").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_the_person_sent_goes_too() {
    let files = [("files/hers.txt", "typed by Ada"), ("files/both.txt", "typed by both"), ECHO];
    let house = House::open(&files).await;
    for (phone, file) in [(ADA, "files/hers.txt"), (ADA, "files/both.txt"), (BOB, "files/both.txt")] {
        house.post("/sandbox/messages", json!({ "from": phone, "media": file })).await;
    }
    assert_eq!(copies(&house), ["typed by Ada", "typed by both"]);
    house.post("/forget", json!({ "recipient": ADA })).await;
    assert_eq!(copies(&house), ["typed by both"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wanted_to_hear_no_more_still_does() {
    let house = House::open(&[SETTINGS, ECHO]).await;
    told(&house, json!({ "id": "A1", "from": ADA, "also": LID, "text": HERS })).await;
    told(&house, json!({ "id": "A2", "from": LID, "text": "stop" })).await;
    house.messages_are(1, "delivered").await;
    forget_her(&house).await;
    for _ in 0..2 {
        for to in [ADA, LID] {
            is_refused(&sent(&house, json!({ "to": to, "text": "are you there?" })).await);
        }
        house.post("/forget", json!({ "recipient": LID })).await;
    }
    let house = house.crash().await;
    for to in [ADA, LID] {
        is_refused(&sent(&house, json!({ "to": to, "text": "are you there?" })).await);
    }
    told(&house, json!({ "id": "A3", "from": ADA, "text": "start" })).await;
    for to in [ADA, LID] {
        assert_eq!(sent(&house, json!({ "to": to, "text": "welcome" })).await["state"], "delivered", "{to}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_sent_nothing_itself_is_forgotten_too() {
    let house = House::open(&[("flows/f.yaml", "run: send_text(event.data.to, event.data.words)\n")]).await;
    let first = house.trigger("f", json!({ "to": ADA, "words": HERS })).await;
    house.run_is(&first, "succeeded").await;
    house.messages_are(1, "delivered").await;
    let second = house.post(&format!("/runs/{first}/replay"), json!({})).await;
    let second = house.run_is(second["id"].as_str().unwrap(), "succeeded").await;
    assert_eq!(second["messages"], json!([]));
    forget_her(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_only_listened_is_forgotten_too() {
    let flow = "run: |\n  wait_for_message(#{ from: event.data }).text\n";
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let run = house.trigger("f", json!(ADA)).await;
    house.run_is(&run, "waiting").await;
    says(&house, ADA, HERS).await;
    assert_eq!(house.run_is(&run, "succeeded").await["result"], HERS);
    forget_her(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_heard_of_a_failure_forgets_it_too() {
    let flow = r#"on_failure: alarm
run: |
  send_text(event.data.to, event.data.words).wait();
  throw "no luck"
"#;
    let house = House::open(&[("flows/f.yaml", flow), ("flows/alarm.yaml", "run: event.event.data.words\n")]).await;
    let run = house.trigger("f", json!({ "to": ADA, "words": HERS })).await;
    house.run_is(&run, "failed").await;
    let alarm = until("the alarm", async || {
        house.runs_of("alarm").await.first().map(|run| run["id"].as_str().unwrap().to_owned())
    })
    .await;
    assert_eq!(house.run_is(&alarm, "succeeded").await["result"], HERS);
    forget_her(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgotten_cannot_be_done_again() {
    let house = House::open(&[TALK, ECHO]).await;
    for recipient in [json!({}), json!({ "recipient": "Ada" }), json!({ "recipient": 1 }), json!({ "who": ADA })] {
        let (status, reason) = refused(&house, "/forget", recipient.clone()).await;
        assert!(status == 400 && !reason.is_empty(), "{recipient}: {status} {reason}");
    }
    let nobody = house.post("/forget", json!({ "recipient": ADA })).await;
    let counts = ["messages", "events", "runs", "files"].map(|name| nobody[name].as_u64());
    assert_eq!(counts, [Some(0); 4], "{nobody}");
    let [over, _, live] = lives(&house, ADA, HERS).await;
    house.messages_are(4, "delivered").await;
    forget_her(&house).await;
    for run in [&over, &live] {
        for decision in ["cancel", "retry", "replay"] {
            let (status, reason) = refused(&house, &format!("/runs/{run}/{decision}"), json!({})).await;
            assert!(status == 409 && !reason.is_empty(), "{decision}: {status} {reason}");
        }
        let (status, answer) = house.api(Method::GET, &format!("/runs/{run}/simulate"), None).await;
        assert_eq!(status, 409, "{answer}");
    }
    // What she writes later is heard, and answers nothing of before.
    says(&house, ADA, "because").await;
    assert_eq!(house.runs_of("echo").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_found_however_the_phone_is_written() {
    let keep = ("flows/keep.yaml", "run: sleep(\"1d\")\n");
    let house = House::open(&[keep]).await;
    let mut hers = Vec::new();
    let texts = [
        "+1 541-754-3010",
        "001 (541) 754 3010",
        "call (541) 754.3010 please",
        "15417543010",
        "call me:\n15417543010",
        r#"{"phone":"541\u00a0754\/3010","note":"1\n2"}"#,
    ];
    for text in texts.map(|text| json!({ "note": text })).into_iter().chain([json!({ "to": 15_417_543_010_i64 })]) {
        hers.push(house.trigger("keep", text).await);
    }
    let mut others = Vec::new();
    for text in ["+1 541-754-3011", "order 9-15417543010-1", "254175430100", "2026-11-20 10:15"] {
        others.push(house.trigger("keep", json!({ "note": text })).await);
    }
    for run in hers.iter().chain(&others) {
        house.run_is(run, "waiting").await;
    }
    let answer = house.post("/forget", json!({ "recipient": ADA })).await;
    for run in &hers {
        let shown = house.get(&format!("/runs/{run}")).await;
        assert_eq!(shown["state"], "cancelled", "{shown}");
        assert!(!shown.to_string().contains("3010"), "{shown}");
    }
    // An order's number that looks like her phone is rather forgotten too.
    for other in [&others[0], &others[2], &others[3]] {
        house.run_is(other, "waiting").await;
    }
    assert_eq!(answer["runs"], 8, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_were_to_hear_of_the_person_goes_too() {
    let flow = r#"run: |
  let how = event.data.sleep;
  send_text("+15417543011", event.data.tell, #{ at: "30d" });
  send_text("+15417543011", event.data.tell);
  send_text("+15417543011", "A customer waits", #{ at: "30d" });
  send_text("+15417543010", "We will call you");
  sleep(how);
"#;
    let house = House::open(&[("flows/f.yaml", flow)]).await;
    let tell = "Call Ada at +1 541 754 3010";
    let over = house.trigger("f", json!({ "sleep": "1ms", "tell": tell })).await;
    house.sleep_through(&over).await;
    house.run_is(&over, "succeeded").await;
    let live = house.trigger("f", json!({ "sleep": "1h", "tell": tell })).await;
    house.run_is(&live, "waiting").await;
    house.messages_are(4, "delivered").await;
    house.post("/forget", json!({ "recipient": ADA })).await;
    assert_eq!(house.get("/sandbox/messages").await["messages"], json!([]));
    // The run that was over has promised Bob something; the other one is taken back with all of it.
    let states: Vec<_> = house.get("/messages").await["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| (message["body"]["text"].clone(), message["state"].clone()))
        .collect();
    let told = json!("A customer waits");
    assert_eq!(states, [(told.clone(), json!("cancelled")), (told, json!("scheduled"))]);
    leaves_the_disk(&house, "754 3010").await;
    house.pass(MONTH);
    house.messages_are(1, "delivered").await;
}
