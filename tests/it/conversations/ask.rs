//! `ask`: a question over chat, what counts as its answer, and one more try when none was understood.
//! The other files here ask in the same way.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::engine::House;
use crate::support::{client, until};

pub const ADA: &str = "+15417543010";
pub const BOB: &str = "+15417543011";
pub const GROUP: &str = "120363024512345678@g.us";
/// The form of Ada that hides her phone.
pub const LID: &str = "251556368777322@lid";

/// One account, which is also told things as by a gateway.
pub const DOOR: (&str, &str) =
    ("postrider.yaml", "accounts: { sandbox: { transport: sandbox, inbound_token: abcdefgh1234 } }\n");
/// Two accounts.
pub const TWO: (&str, &str) = (
    "postrider.yaml",
    "default_account: sandbox\naccounts:\n  sandbox: { transport: sandbox }\n  second: { transport: sandbox }\n",
);
/// A flow that asks what it is told to, and gives back what it gets.
pub const ASK: (&str, &str) = ("flows/ask.yaml", "run: |\n  ask(event.data.to, event.data.text, event.data.options)\n");
/// A flow that hears what nobody waits for.
pub const HEARD: (&str, &str) = ("flows/heard.yaml", "triggers:\n  - message: { chats: all }\nrun: event.text\n");
/// A flow that sleeps: when it has woken up, so has everybody who slept for less.
pub const NAP: (&str, &str) = ("flows/nap.yaml", "run: sleep(event.data)\n");

/// Begins a run that asks; gives it when the question is on record.
pub async fn asks(house: &House, to: &str, text: &str, options: Value) -> String {
    let run = house.trigger("ask", json!({ "to": to, "text": text, "options": options })).await;
    let waits = house.run_is(&run, "waiting").await;
    assert_eq!(waits["waiting_for"]["kind"], "reply", "{waits}");
    run
}

/// The same when the phone has got the question.
pub async fn asked(house: &House, to: &str, text: &str, options: Value) -> String {
    let run = asks(house, to, text, options).await;
    said(house, &run, 1).await;
    run
}

/// All messages of a run, oldest first.
pub async fn messages_of(house: &House, run: &str) -> Vec<Value> {
    let answer = house.get(&format!("/messages?run={run}&limit=1000")).await;
    let mut messages = answer["messages"].as_array().unwrap().clone();
    messages.sort_by_key(|message| message["created_at"].as_str().unwrap().to_owned());
    messages
}

/// The messages of a run when so many of them have arrived, oldest first.
pub async fn said(house: &House, run: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} messages of run {run}"), async || {
        let messages = messages_of(house, run).await;
        let there =
            messages.iter().filter(|message| message["state"] == "delivered" || message["state"] == "read").count();
        (there == count).then_some(messages)
    })
    .await
}

/// The texts that a phone has got.
pub async fn on_phone(house: &House, phone: &str) -> Vec<String> {
    let answer = house.get("/sandbox/messages?limit=1000").await;
    let got = answer["messages"].as_array().unwrap().iter().filter(|message| message["to"] == phone);
    got.map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

/// A person writes.
pub async fn writes(house: &House, from: &str, text: &str) {
    house.post("/sandbox/messages", json!({ "from": from, "text": text })).await;
}

/// A gateway tells something.
pub async fn told(house: &House, event: Value) {
    let url = format!("http://{}/gateways/sandbox/abcdefgh1234", house.engine.address().listen);
    let response = client().post(url).body(event.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200, "{event}");
}

/// What a run gave back, once it has succeeded.
pub async fn result(house: &House, run: &str) -> Value {
    house.run_is(run, "succeeded").await["result"].clone()
}

/// The texts by which a flow's runs were begun, sorted.
pub async fn heard(house: &House, flow: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for run in house.runs_of(flow).await {
        let run = house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await;
        texts.push(run["event"]["text"].as_str().unwrap().to_owned());
    }
    texts.sort();
    texts
}

/// Lets so many minutes pass; when this comes back, every run whose time has come was woken.
pub async fn pass(house: &House, minutes: u64) {
    let nap = house.trigger("nap", json!(format!("{minutes}m"))).await;
    house.run_is(&nap, "waiting").await;
    house.pass(Duration::from_secs(60 * minutes));
    house.run_is(&nap, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_free_words_comes_as_it_was_written() {
    let house = House::open(&[ASK, HEARD]).await;
    let run = asked(&house, "+1 541-754-3010", "Where to?", json!({})).await;
    assert_eq!(on_phone(&house, ADA).await, ["Where to?"]);
    assert_eq!(messages_of(&house, &run).await[0]["to"], ADA);
    house.pass(Duration::from_secs(90));
    writes(&house, BOB, "not me").await;
    writes(&house, ADA, "Elm Street 5!").await;
    let wanted = json!({ "kind": "text", "text": "Elm Street 5!", "choice": null, "from": ADA, "at": "2026-11-20T07:01:30.000Z" });
    assert_eq!(result(&house, &run).await, wanted);
    // What follows is a message like any other.
    writes(&house, ADA, "and thank you").await;
    assert_eq!(heard(&house, "heard").await, ["and thank you", "not me"]);
    assert_eq!(messages_of(&house, &run).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_choose_by_number_or_by_word_however_they_write_it() {
    let house = House::open(&[ASK]).await;
    let choices = ["Sí, por favor", "No", "Später", "👍"];
    let cases = [
        ("2", "No"),
        (" 2. ", "No"),
        ("(3)", "Später"),
        ("1)", "Sí, por favor"),
        ("No", "No"),
        ("no", "No"),
        ("NO!!", "No"),
        ("si, por favor", "Sí, por favor"),
        ("SÍ,  POR FAVOR.", "Sí, por favor"),
        ("spater", "Später"),
        ("„später“", "Später"),
        ("👍", "👍"),
        ("4", "👍"),
    ];
    for (number, (said, meant)) in (10..).zip(cases) {
        let phone = format!("+154175430{number}");
        let run = asked(&house, &phone, "Coffee?", json!({ "choices": choices })).await;
        let shown = on_phone(&house, &phone).await.remove(0);
        assert!(shown.starts_with("Coffee?"), "{shown}");
        for (number, choice) in (1..).zip(choices) {
            assert!(shown.contains(choice) && shown.contains(&number.to_string()), "{shown}");
        }
        writes(&house, &phone, said).await;
        let answer = result(&house, &run).await;
        assert_eq!((answer["choice"].as_str(), answer["text"].as_str()), (Some(meant), Some(said)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_may_be_choices_in_any_order() {
    let house = House::open(&[ASK]).await;
    for (choices, said) in
        [(["1", "2", "3"], "3"), (["3", "2", "1"], "1"), (["10", "5", "1"], "5"), (["0", "1", "2"], "1")]
    {
        let run = asked(&house, ADA, "How many?", json!({ "choices": choices })).await;
        writes(&house, ADA, said).await;
        assert_eq!(result(&house, &run).await["choice"], said, "{choices:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_makes_no_sense_is_asked_again_once() {
    let house = House::open(&[DOOR, ASK, HEARD]).await;
    let run = asked(&house, ADA, "Ok?", json!({ "choices": ["Yes", "No"] })).await;
    house.pass(Duration::from_secs(1));
    told(&house, json!({ "id": "A1", "from": ADA, "text": "perhaps" })).await;
    let messages = said(&house, &run, 2).await;
    let (question, again) = (&messages[0], &messages[1]);
    assert_eq!(question["body"]["options"]["reply_to"], Value::Null);
    assert_eq!(again["body"]["options"]["reply_to"], "A1");
    assert_eq!((&again["to"], &again["kind"]), (&question["to"], &question["kind"]));
    assert_eq!(
        (&again["body"]["text"], &again["body"]["choices"]),
        (&question["body"]["text"], &question["body"]["choices"])
    );
    let shown = on_phone(&house, ADA).await;
    assert!(shown.len() == 2 && shown[0] == shown[1], "{shown:?}");
    assert!(heard(&house, "heard").await.is_empty(), "the wrong answer went to the question");
    // From then on what makes no sense is not meant for us.
    house.pass(Duration::from_secs(1));
    told(&house, json!({ "id": "A2", "from": ADA, "text": "perhaps not" })).await;
    told(&house, json!({ "id": "A3", "from": ADA, "text": "3" })).await;
    assert_eq!(heard(&house, "heard").await, ["3", "perhaps not"]);
    told(&house, json!({ "id": "A4", "from": ADA, "text": "yes" })).await;
    assert_eq!(result(&house, &run).await["choice"], "Yes");
    assert_eq!(messages_of(&house, &run).await.len(), 2);
    assert_eq!(heard(&house, "heard").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_answers_in_the_group_and_a_person_alone() {
    let house = House::open(&[ASK, HEARD]).await;
    let in_group = asked(&house, GROUP, "Who comes?", json!({})).await;
    let alone = asked(&house, ADA, "And you?", json!({})).await;
    writes(&house, BOB, "not said in the group").await;
    assert_eq!(heard(&house, "heard").await, ["not said in the group"]);
    house.post("/sandbox/messages", json!({ "from": ADA, "chat": GROUP, "text": "I do" })).await;
    let answer = result(&house, &in_group).await;
    assert_eq!((answer["text"].as_str(), answer["from"].as_str()), (Some("I do"), Some(ADA)));
    // Nobody asks the group any more, and what she says there is no answer to what she was asked alone.
    house.post("/sandbox/messages", json!({ "from": ADA, "chat": GROUP, "text": "said in the group" })).await;
    assert_eq!(heard(&house, "heard").await, ["not said in the group", "said in the group"]);
    writes(&house, ADA, "me too").await;
    assert_eq!(result(&house, &alone).await["text"], "me too");
    // Anyone may be the one who answers.
    let in_group = asked(&house, GROUP, "Who else?", json!({})).await;
    house.post("/sandbox/messages", json!({ "from": BOB, "chat": GROUP, "text": "me" })).await;
    assert_eq!(result(&house, &in_group).await["from"], BOB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_goes_out_and_is_answered_through_its_account() {
    let flow = "account: second\nrun: |\n  ask(\"+15417543011\", \"By the flow's account?\").text\n";
    let house = House::open(&[TWO, ASK, HEARD, ("flows/own.yaml", flow)]).await;
    let named = asked(&house, ADA, "Ok?", json!({ "account": "second" })).await;
    let own = house.trigger("own", Value::Null).await;
    house.run_is(&own, "waiting").await;
    said(&house, &own, 1).await;
    for run in [&named, &own] {
        assert_eq!(messages_of(&house, run).await[0]["account"], "second");
    }
    for (account, from, text) in
        [("sandbox", ADA, "a"), ("sandbox", BOB, "b"), ("second", ADA, "yes"), ("second", BOB, "no")]
    {
        house.post("/sandbox/messages", json!({ "account": account, "from": from, "text": text })).await;
    }
    assert_eq!(result(&house, &named).await["text"], "yes");
    assert_eq!(result(&house, &own).await, "no");
    assert_eq!(heard(&house, "heard").await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_by_two_addresses_answers_by_either() {
    let house = House::open(&[DOOR, ASK, HEARD]).await;
    // Before both were told to be one, they are two.
    let run = asked(&house, ADA, "First?", json!({})).await;
    told(&house, json!({ "id": "A1", "from": LID, "text": "who am I" })).await;
    assert_eq!(heard(&house, "heard").await, ["who am I"]);
    // The answer itself may be what tells it.
    told(&house, json!({ "id": "A2", "from": LID, "also": ADA, "text": "me" })).await;
    let answer = result(&house, &run).await;
    assert_eq!((answer["text"].as_str(), answer["from"].as_str()), (Some("me"), Some(ADA)));
    let run = asked(&house, ADA, "Second?", json!({})).await;
    let house = house.crash().await;
    told(&house, json!({ "id": "A3", "from": LID, "text": "hidden" })).await;
    assert_eq!(result(&house, &run).await["text"], "hidden");
    let run = asked(&house, LID, "Third?", json!({})).await;
    told(&house, json!({ "id": "A4", "from": ADA, "text": "open" })).await;
    assert_eq!(result(&house, &run).await["text"], "open");
    assert_eq!(heard(&house, "heard").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_at_the_line() {
    let calls = [
        (r#"ask(["+15417543010", "+15417543011"], "Ok?")"#, "array"),
        (r#"ask("+15417543010", " ")"#, "empty"),
        (r#"ask("not a phone", "Ok?")"#, "not a phone"),
        (r#"ask("+15417543010", "Ok?", #{ choices: "Yes" })"#, "choices"),
        (r#"ask("+15417543010", "Ok?", #{ choices: ["Yes"] })"#, "choices"),
        (r#"ask("+15417543010", "Ok?", #{ choices: ["Yes", ""] })"#, "choices"),
        (r#"ask("+15417543010", "Ok?", #{ choices: ["Yes", "yes!"] })"#, "yes!"),
        (r#"ask("+15417543010", "Ok?", #{ timeout: "soon" })"#, "timeout"),
        (r#"ask("+15417543010", "Ok?", #{ timeout: 5 })"#, "timeout"),
        (r#"ask("+15417543010", "Ok?", #{ timeout: "1h", remind: "2h" })"#, "remind"),
        (r#"ask("+15417543010", "Ok?", #{ timout: "1h" })"#, "did you mean `timeout`?"),
        (r#"ask("+15417543010", "Ok?", #{ account: "sandbux" })"#, "did you mean `sandbox`?"),
    ];
    let flow = |call: &str| format!("run: |\n  let before = 1;\n  {call};\n");
    let files: Vec<(String, String)> =
        calls.iter().enumerate().map(|(n, (call, _))| (format!("flows/bad{n}.yaml"), flow(call))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let house = House::open(&files).await;
    for (number, (call, part)) in calls.into_iter().enumerate() {
        let run = house.trigger(&format!("bad{number}"), Value::Null).await;
        let run = house.run_is(&run, "failed").await;
        assert_eq!(run["error"]["line"], 3, "{call}: {run}");
        let message = run["error"]["message"].as_str().unwrap();
        assert!(message.contains("ask") && message.contains(part), "{call}: {message}");
        assert_eq!(run["messages"], json!([]), "{call}");
    }
}
