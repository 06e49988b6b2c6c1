//! Where a person's message goes: triggers that come first, runs that wait, all other triggers. And what
//! can be done with a message: its file, and word of what became of ours.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{ADA, ASK, BOB, DOOR, GROUP, HEARD, TWO, asked, heard, messages_of, result, said, told, writes};
use super::waiting::{LISTEN, waits};
use crate::support::engine::{House, flow_in};

/// Comes before those who wait.
const STOP: (&str, &str) =
    ("flows/stop.yaml", "triggers:\n  - message: { text: \"(?i)^stop\", first: true }\nrun: event.text\n");
/// Bytes that are no text.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\x00\xff\xfe";

/// Which of these flows were begun by a message with this text, and how often in all.
async fn begun(house: &House, flows: &[&str], text: &str) -> Vec<String> {
    let mut begun = Vec::new();
    for flow in flows {
        let texts = heard(house, flow).await;
        begun.extend(texts.iter().filter(|heard| *heard == text).map(|_| (*flow).to_owned()));
    }
    begun
}

/// The gateway's id of a run's first message.
async fn question_of(house: &House, run: &str) -> Value {
    let question = messages_of(house, run).await.remove(0);
    assert_eq!(question["provider_id"], format!("SANDBOX-{}", question["id"].as_str().unwrap()));
    question["provider_id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_goes_to_the_question_that_it_quotes() {
    let house = House::open(&[DOOR, ASK, LISTEN, HEARD]).await;
    let older = waits(&house, json!({ "from": ADA })).await;
    let asks = asked(&house, ADA, "Ok?", json!({})).await;
    let younger = waits(&house, json!({ "from": ADA })).await;
    let question = question_of(&house, &asks).await;
    let house = house.crash().await;
    told(&house, json!({ "id": "A1", "from": ADA, "text": "yes", "reply_to": question })).await;
    assert_eq!(result(&house, &asks).await["text"], "yes");
    // It is answered: who quotes it now quotes nothing that anybody waits for.
    told(&house, json!({ "id": "A2", "from": ADA, "text": "a", "reply_to": question })).await;
    told(&house, json!({ "id": "A3", "from": ADA, "text": "b" })).await;
    assert_eq!(result(&house, &older).await["text"], "a");
    assert_eq!(result(&house, &younger).await["text"], "b");
    assert!(heard(&house, "heard").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_the_second_copy_of_a_question_is_one_to_the_question() {
    let house = House::open(&[DOOR, ASK, LISTEN]).await;
    let listens = waits(&house, json!({ "from": ADA, "text": "^(yes|hello)$" })).await;
    let asks = asked(&house, ADA, "Ok?", json!({ "choices": ["Yes", "No"] })).await;
    house.pass(Duration::from_secs(1));
    told(&house, json!({ "id": "A1", "from": ADA, "text": "hm" })).await;
    let copy = said(&house, &asks, 2).await.remove(1);
    told(&house, json!({ "id": "A2", "from": ADA, "text": "yes", "reply_to": copy["provider_id"] })).await;
    assert_eq!(result(&house, &asks).await["choice"], "Yes");
    told(&house, json!({ "id": "A3", "from": ADA, "text": "hello" })).await;
    assert_eq!(result(&house, &listens).await["text"], "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quotation_who_has_waited_longest_gets_the_message() {
    let house = House::open(&[DOOR, ASK, LISTEN]).await;
    let first = waits(&house, json!({ "from": ADA })).await;
    let second = asked(&house, ADA, "Ok?", json!({})).await;
    let third = waits(&house, json!({ "from": ADA })).await;
    for (id, reply_to) in [("1", Value::Null), ("2", json!("SANDBOX-0")), ("3", Value::Null)] {
        told(&house, json!({ "id": id, "from": ADA, "text": id, "reply_to": reply_to })).await;
    }
    for (run, text) in [(&first, "1"), (&second, "2"), (&third, "3")] {
        assert_eq!(result(&house, run).await["text"], text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_first_takes_the_message_from_everybody_else() {
    let settings = DOOR.1.replace(" } }", ", opt_out: off } }");
    let house = House::open(&[(DOOR.0, &settings), ASK, LISTEN, STOP, HEARD]).await;
    let asks = asked(&house, ADA, "Ok?", json!({ "choices": ["Yes", "Stop"] })).await;
    let listens = waits(&house, json!({ "from": ADA, "text": "(?i)stop" })).await;
    let question = question_of(&house, &asks).await;
    writes(&house, ADA, "Stop").await;
    told(&house, json!({ "id": "A1", "from": ADA, "text": "stop it", "reply_to": question })).await;
    assert_eq!(heard(&house, "stop").await, ["Stop", "stop it"]);
    writes(&house, ADA, "yes").await;
    writes(&house, ADA, "non-stop").await;
    writes(&house, ADA, "anything").await;
    assert_eq!(result(&house, &asks).await["text"], "yes");
    assert_eq!(result(&house, &listens).await["text"], "non-stop");
    assert_eq!(heard(&house, "heard").await, ["anything"]);
    assert_eq!(heard(&house, "stop").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_flow_begins_once_with_what_it_asks_for() {
    let on = |triggers: &str| format!("triggers: [{triggers}]\nrun: event.text\n");
    let flows = [
        ("any", on("{ message: { chats: all } }")),
        ("ada", on("{ message: { from: \"+1 541-754-3010\" } }")),
        ("groups", on("{ message: { chats: groups } }")),
        ("else", on("{ message: { else: true, chats: all } }")),
        ("stop", on("{ message: { text: \"(?i)^stop\" } }")),
        ("second", on("{ message: { account: second } }")),
        ("all", on("{ message: { account: second, from: \"15417543010\", text: \"now$\" } }")),
        ("twice", on("{ message: { text: \"^stop\" } }, { message: { from: \"+15417543010\" } }")),
        ("off", format!("enabled: false\n{}", on("{ message: {} }"))),
        ("off-first", format!("enabled: false\n{}", on("{ message: { first: true } }"))),
    ];
    let files: Vec<(String, &str)> =
        flows.iter().map(|(name, text)| (format!("flows/{name}.yaml"), text.as_str())).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).chain([TWO]).collect();
    let house = House::open(&files).await;
    let names: Vec<&str> = flows.iter().map(|(name, _)| *name).collect();
    type Case<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, &'a [&'a str]);
    let cases: [Case<'_>; 6] = [
        ("sandbox", ADA, None, "hi", &["any", "ada", "twice"]),
        ("sandbox", BOB, None, "Stop it", &["any", "stop"]),
        ("sandbox", BOB, None, "don't stop", &["any"]),
        ("second", ADA, None, "stop now", &["any", "ada", "stop", "second", "all", "twice"]),
        ("second", BOB, None, "now", &["any", "second"]),
        // In a group it is still she who writes, and only those hear it who say so.
        ("sandbox", ADA, Some(GROUP), "hi all", &["any", "groups"]),
    ];
    for (account, from, chat, text, wanted) in cases {
        let message = json!({ "account": account, "from": from, "chat": chat, "text": text });
        house.post("/sandbox/messages", message).await;
        assert_eq!(begun(&house, &names, text).await, wanted, "{text}");
    }
    assert!(house.runs_of("off").await.is_empty() && house.runs_of("off-first").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_flow_hears_nothing_but_what_it_waits_for() {
    let flow = "triggers:\n  - message: { from: \"+15417543010\" }\nrun: |\n  ask(\"+15417543011\", \"Ok?\").text\n";
    let house = House::open(&[("flows/both.yaml", flow)]).await;
    writes(&house, ADA, "go").await;
    let run = house.runs_of("both").await[0]["id"].as_str().unwrap().to_owned();
    said(&house, &run, 1).await;
    house.write("flows/both.yaml", &format!("enabled: false\n{flow}"));
    house.flows_are("it to be disabled", |flows| flow_in(flows, "both")["enabled"] == false).await;
    writes(&house, ADA, "go again").await;
    writes(&house, BOB, "yes").await;
    assert_eq!(result(&house, &run).await, "yes");
    assert_eq!(house.runs_of("both").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_again_starts_nothing() {
    let house = House::open(&[DOOR, ASK, LISTEN, STOP, HEARD]).await;
    let asks = asked(&house, ADA, "Ok?", json!({ "choices": ["Yes", "No"] })).await;
    let events = [
        json!({ "id": "A1", "from": BOB, "text": "hello" }),
        json!({ "id": "A2", "from": BOB, "text": "stop" }),
        json!({ "id": "A3", "from": ADA, "text": "hm" }),
        json!({ "id": "A4", "from": ADA, "text": "yes" }),
    ];
    for event in &events {
        told(&house, event.clone()).await;
        told(&house, event.clone()).await;
    }
    assert_eq!(result(&house, &asks).await["choice"], "Yes");
    let again = asked(&house, ADA, "Sure?", json!({})).await;
    let listens = waits(&house, json!({})).await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(6 * 86_400));
    for event in &events {
        told(&house, event.clone()).await;
    }
    told(&house, json!(events)).await;
    assert_eq!(
        (heard(&house, "heard").await, heard(&house, "stop").await),
        (vec!["hello".into()], vec!["stop".into()])
    );
    // The time of the question has passed meanwhile, and that of the other one.
    for run in [&again, &listens] {
        assert_eq!(result(&house, run).await, Value::Null);
    }
    assert_eq!(messages_of(&house, &asks).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_message_can_be_kept() {
    let flow = "triggers:\n  - message: {}\nrun: |
  event.media.save(\"inbox/2026/photo.png\");
  [event.text, event.kind, event.media.name, files::exists(\"inbox/2026/photo.png\")]
";
    let house = House::open(&[("flows/keep.yaml", flow), ("files/.gitkeep", "")]).await;
    let root = house.folder.path().to_owned();
    std::fs::write(root.join("files/photo.png"), PICTURE).unwrap();
    let message = json!({ "from": ADA, "text": "Look", "media": "files/photo.png" });
    house.post("/sandbox/messages", message).await;
    // What was sent is what was there then.
    std::fs::write(root.join("files/photo.png"), "something else").unwrap();
    let run = house.runs_of("keep").await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(result(&house, &run).await, json!(["Look", "image", "photo.png", true]));
    assert_eq!(std::fs::read(root.join("inbox/2026/photo.png")).unwrap(), PICTURE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_kept_only_where_scripts_may_write() {
    let paths = [
        "../photo.png",
        "/tmp/photo.png",
        "inbox/../../photo.png",
        "out/photo.png",
        ".env",
        ".postrider/photo.png",
        "inbox/.hidden.png",
        "postrider.yaml",
        "flows/photo.yaml",
        "scripts/photo.rhai",
        "inbox/",
    ];
    let list = serde_json::to_string(&paths).unwrap();
    let flow = format!(
        "triggers:\n  - message: {{}}\nrun: |
  let ends = [];
  for path in {list} {{
    try {{ event.media.save(path); ends.push(\"saved\"); }} catch (e) {{ ends.push(e.message); }}
  }}
  event.media.save(\"inbox/photo.png\");
  ends
"
    );
    let files = [("flows/keep.yaml", flow.as_str()), ("files/.gitkeep", ""), ("inbox/.gitkeep", "")];
    let house = House::open(&files).await;
    let (root, outside) = (house.folder.path().to_owned(), tempfile::tempdir().unwrap());
    std::fs::write(root.join("files/photo.png"), PICTURE).unwrap();
    std::os::unix::fs::symlink(outside.path(), root.join("out")).unwrap();
    house.post("/sandbox/messages", json!({ "from": ADA, "media": "files/photo.png" })).await;
    let run = house.runs_of("keep").await[0]["id"].as_str().unwrap().to_owned();
    let ends = result(&house, &run).await;
    for (path, end) in paths.iter().zip(ends.as_array().unwrap()) {
        assert!(end.as_str().unwrap().contains(&format!("`{path}`")), "{path}: {end}");
    }
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    for path in [".env", ".postrider/photo.png", "inbox/.hidden.png", "postrider.yaml", "flows/photo.yaml", "scripts"] {
        assert!(!root.join(path).exists(), "{path}");
    }
    assert_eq!(std::fs::read(root.join("inbox/photo.png")).unwrap(), PICTURE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_file_says_how_to_ask_for_one() {
    let flow = "triggers:\n  - message: {}\nrun: |\n  event.media.save(\"inbox/photo.png\");\n";
    let house = House::open(&[("flows/keep.yaml", flow)]).await;
    writes(&house, ADA, "no file").await;
    let run = house.runs_of("keep").await[0]["id"].as_str().unwrap().to_owned();
    let run = house.run_is(&run, "failed").await;
    assert_eq!(run["error"]["line"], 4, "{run}");
    let message = run["error"]["message"].as_str().unwrap();
    assert!(message.contains("event.media != ()"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_can_wait_until_its_message_was_read() {
    let flow = "run: |
  let fate = send_text(\"+15417543010\", \"hi\").wait(\"read\", \"1h\");
  [fate.status, fate.provider_id]
";
    let house = House::open(&[DOOR, ("flows/tell.yaml", flow)]).await;
    let run = house.trigger("tell", Value::Null).await;
    house.run_is(&run, "waiting").await;
    let id = said(&house, &run, 1).await[0]["provider_id"].clone();
    let unread = house.trigger("tell", Value::Null).await;
    house.run_is(&unread, "waiting").await;
    let other = said(&house, &unread, 1).await[0]["provider_id"].clone();
    told(&house, json!({ "event": "ack", "id": id, "state": "delivered" })).await;
    let house = house.crash().await;
    let waits = house.get(&format!("/runs/{run}")).await;
    assert_eq!((&waits["state"], &waits["waiting_for"]["kind"]), (&json!("waiting"), &json!("delivery")), "{waits}");
    told(&house, json!({ "event": "ack", "id": id, "state": "read" })).await;
    assert_eq!(result(&house, &run).await, json!(["read", id]));
    house.sleep_through(&unread).await;
    assert_eq!(result(&house, &unread).await, json!(["delivered", other]));
}
