//! Who writes `stop` gets nothing more: not what flows send, nor what people send by hand, nor what was
//! in the outbox already; and hears so once.

use reqwest::Method;
use serde_json::{Value, json};

use super::by_hand::{ADA, BOB, HOUR, gets, got, says};
use crate::support::engine::House;
use crate::support::{binary, client, folder, until};

pub const SETTINGS: (&str, &str) = (
    "postrider.yaml",
    r#"accounts:
  sandbox:
    transport: sandbox
    inbound_token: abcdefgh1234
    opt_out: { words: [stop, unsubscribe], reply: "You will get nothing more." }
"#,
);
const ECHO: (&str, &str) = ("flows/echo.yaml", "triggers:\n  - message: { chats: all }\nrun: event.text\n");
const OFF: (&str, &str) = ("postrider.yaml", "accounts: { sandbox: { transport: sandbox, opt_out: off } }\n");
const REPLY: &str = "You will get nothing more.";
/// The other address under which Ada is known.
pub const LID: &str = "77123456789012@lid";
const GROUP: &str = "120363040000000001@g.us";

/// Tells what a gateway tells, by its address.
pub async fn told(house: &House, event: Value) {
    let url = format!("http://{}/gateways/sandbox/abcdefgh1234", house.engine.address().listen);
    let answer = client().request(Method::POST, url).body(event.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{event}");
}

/// Sends a message by hand; gives it when its fate is known.
pub async fn sent(house: &House, wish: Value) -> Value {
    let answer = house.post("/messages", wish).await;
    settled(house, answer["message"].as_str().unwrap()).await
}

async fn settled(house: &House, message: &str) -> Value {
    until(&format!("the fate of {message}"), async || {
        let message = house.get(&format!("/messages/{message}")).await;
        let open = matches!(message["state"].as_str(), Some("scheduled" | "queued" | "sending"));
        (!open).then_some(message)
    })
    .await
}

/// Checks that a message was refused because of its recipient's wish.
pub fn is_refused(message: &Value) {
    let last = message["attempts"].as_array().unwrap().last().unwrap_or(&Value::Null);
    assert_eq!((&message["state"], &last["outcome"]), (&json!("rejected"), &json!("opted_out")), "{message}");
    assert!(last["error"].as_str().is_some_and(|error| !error.is_empty()), "{message}");
}

/// What runs of the flow `echo` have heard, sorted.
async fn heard(house: &House) -> Vec<String> {
    let mut texts = Vec::new();
    for run in house.runs_of("echo").await {
        let run = house.get(&format!("/runs/{}", run["id"].as_str().unwrap())).await;
        texts.push(run["event"]["text"].as_str().unwrap().to_owned());
    }
    texts.sort();
    texts
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_alone_counts_however_it_is_written() {
    let house = House::open(&[SETTINGS, ECHO]).await;
    let words = ["stop", "STOP", "Stop!", "  stop. ", "»Stop«", "*STOP*", "sToP!!!", "unsubscribe", "Unsubscribe."];
    for (number, word) in words.into_iter().enumerate() {
        let phone = format!("+154175430{}", 20 + number);
        says(&house, &phone, word).await;
        gets(&house, &phone, &[REPLY]).await;
        is_refused(&sent(&house, json!({ "to": phone, "text": "too late" })).await);
        assert_eq!(got(&house, &phone).await, [REPLY], "{word}");
    }
    let others = ["stop it", "please stop", "nonstop", "stopped", "don't", "go on", "start"];
    for (number, text) in others.into_iter().enumerate() {
        let phone = format!("+154175430{}", 40 + number);
        says(&house, &phone, text).await;
        assert_eq!(sent(&house, json!({ "to": phone, "text": "still here" })).await["state"], "delivered", "{text}");
        assert_eq!(got(&house, &phone).await, ["still here"], "{text}");
    }
    let mut all = others.to_vec();
    all.sort_unstable();
    assert_eq!(heard(&house).await, all, "the word itself is no message to anybody");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_person_is_left_alone_under_every_address_and_nobody_else_is() {
    let flow = r#"run: |
  let a = send_text("+1 541-754-3010", "from a flow").wait();
  let b = send_text("+15417543011", "to another").wait();
  [a.status, a.error != (), b.status]
"#;
    let settings = format!("{}  other: {{ transport: sandbox }}\ndefault_account: sandbox\n", SETTINGS.1);
    let house = House::open(&[("postrider.yaml", &settings), ("flows/f.yaml", flow), ECHO]).await;
    told(&house, json!({ "id": "A1", "from": ADA, "also": LID, "text": "hello" })).await;
    told(&house, json!({ "id": "A2", "from": LID, "text": "Stop." })).await;
    // Told again by the gateway, and said again by the person.
    told(&house, json!({ "id": "A2", "from": LID, "text": "Stop." })).await;
    told(&house, json!({ "id": "A3", "from": ADA, "text": "stop" })).await;
    for _ in 0..2 {
        let run = house.trigger("f", Value::Null).await;
        let run = house.run_is(&run, "succeeded").await;
        assert_eq!(run["result"], json!(["rejected", true, "delivered"]));
        is_refused(run["messages"].as_array().unwrap().iter().find(|message| message["to"] == ADA).unwrap());
        for to in [ADA, LID] {
            is_refused(&sent(&house, json!({ "to": to, "text": "by hand" })).await);
        }
        let wish = json!({ "to": ADA, "text": "from another number", "account": "other" });
        assert_eq!(sent(&house, wish).await["state"], "delivered", "each account is asked for itself");
    }
    let messages = house.get("/messages?limit=1000").await;
    let replies = messages["messages"].as_array().unwrap().iter().filter(|message| message["body"]["text"] == REPLY);
    let states: Vec<&Value> = replies.map(|message| &message["state"]).collect();
    assert_eq!(states, ["delivered"], "the reply goes out once");
    assert_eq!(heard(&house).await, ["hello"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_outbox_already_is_refused_too_and_a_restart_changes_nothing() {
    let settings = SETTINGS.1.replace("transport: sandbox", "transport: sandbox\n    pace: { quiet: \"06:00-08:00\" }");
    let settings = format!("timezone: UTC\n{settings}");
    let house = House::open(&[("postrider.yaml", &settings), ("flows/x.yaml", "run: 1\n")]).await;
    let send =
        async |house: &House, wish: Value| house.post("/messages", wish).await["message"].as_str().unwrap().to_owned();
    let queued = send(&house, json!({ "to": ADA, "text": "queued" })).await;
    let other = send(&house, json!({ "to": BOB, "text": "queued" })).await;
    let scheduled = send(&house, json!({ "to": ADA, "text": "scheduled", "at": "3h" })).await;
    let later = send(&house, json!({ "to": BOB, "text": "scheduled", "at": "3h" })).await;
    house.messages_are(2, "queued").await;
    says(&house, ADA, "STOP").await;
    let house = house.crash().await;
    house.pass(HOUR + HOUR / 60);
    is_refused(&settled(&house, &queued).await);
    assert_eq!(settled(&house, &other).await["state"], "delivered");
    gets(&house, ADA, &[REPLY]).await;
    let house = house.crash().await;
    house.pass(2 * HOUR);
    is_refused(&settled(&house, &scheduled).await);
    assert_eq!(settled(&house, &later).await["state"], "delivered");
    is_refused(&sent(&house, json!({ "to": ADA, "text": "now" })).await);
    assert_eq!(got(&house, ADA).await, [REPLY]);
    assert_eq!(got(&house, BOB).await, ["queued", "scheduled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_question_throws() {
    let flow = r#"run: |
  let said = "answered";
  try { ask("+15417543010", event.data); } catch (e) { said = e.kind; }
  said
"#;
    let house =
        House::open(&[SETTINGS, ("flows/f.yaml", flow), ("flows/g.yaml", "run: ask(event.data, \"Ok?\").text\n")])
            .await;
    let open = house.trigger("f", json!("One?")).await;
    gets(&house, ADA, &["One?"]).await;
    // This one waits for its turn in the chat.
    let behind = house.trigger("f", json!("Two?")).await;
    house.run_is(&behind, "waiting").await;
    let another = house.trigger("g", json!(BOB)).await;
    gets(&house, BOB, &["Ok?"]).await;
    says(&house, ADA, "Stop").await;
    for run in [&open, &behind] {
        assert_eq!(house.run_is(run, "succeeded").await["result"], "opted_out");
    }
    // Nobody is asked any more, and nobody waits for an answer.
    let late = house.trigger("f", json!("Three?")).await;
    let late = house.run_is(&late, "succeeded").await["result"].clone();
    assert!(late == "opted_out" || late == "undeliverable", "{late}");
    gets(&house, ADA, &["One?", REPLY]).await;
    assert_eq!(house.get(&format!("/runs/{another}")).await["state"], "waiting", "others are not concerned");
    says(&house, BOB, "unsubscribe").await;
    assert_eq!(house.run_is(&another, "failed").await["error"]["kind"], "opted_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_undoes_it_and_triggers_that_come_first_hear_the_word() {
    let early = "triggers:\n  - message: { first: true, text: \"(?i)stop\" }\nrun: event.text\n";
    let house = House::open(&[SETTINGS, ECHO, ("flows/early.yaml", early)]).await;
    says(&house, ADA, "Stop!").await;
    is_refused(&sent(&house, json!({ "to": ADA, "text": "no" })).await);
    says(&house, ADA, "stop").await;
    let runs = house.runs_of("early").await;
    assert_eq!(runs.len(), 2);
    for run in runs {
        house.run_is(run["id"].as_str().unwrap(), "succeeded").await;
    }
    assert!(house.runs_of("echo").await.is_empty());
    gets(&house, ADA, &[REPLY]).await;
    says(&house, ADA, "START.").await;
    assert_eq!(sent(&house, json!({ "to": ADA, "text": "yes" })).await["state"], "delivered");
    // A message that was refused may be tried again now.
    let refused = house.get("/messages?state=rejected").await["messages"][0]["id"].as_str().unwrap().to_owned();
    house.post(&format!("/messages/{refused}/retry"), json!({})).await;
    gets(&house, ADA, &[REPLY, "no", "yes"]).await;
    let house = house.crash().await;
    assert_eq!(sent(&house, json!({ "to": ADA, "text": "zero" })).await["state"], "delivered");
    says(&house, ADA, "stop").await;
    is_refused(&sent(&house, json!({ "to": ADA, "text": "again" })).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_cannot_opt_out() {
    let house = House::open(&[SETTINGS, ECHO]).await;
    house.post("/sandbox/messages", json!({ "from": ADA, "chat": GROUP, "text": "stop" })).await;
    for to in [GROUP, ADA] {
        assert_eq!(sent(&house, json!({ "to": to, "text": "hello" })).await["state"], "delivered", "{to}");
    }
    assert_eq!(house.messages_are(2, "delivered").await.len(), 2, "nobody is told anything");
    assert_eq!(heard(&house).await, ["stop"], "there it is a word like others");
    // Who is left alone may still be in a group that is written to.
    says(&house, ADA, "stop").await;
    is_refused(&sent(&house, json!({ "to": ADA, "text": "hello" })).await);
    assert_eq!(sent(&house, json!({ "to": GROUP, "text": "hello" })).await["state"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wanted_no_more_may_want_it_again_when_the_setting_is_gone() {
    let house = House::open(&[SETTINGS, ECHO]).await;
    says(&house, ADA, "stop").await;
    house.write(OFF.0, OFF.1);
    until("the settings without it", async || {
        says(&house, BOB, "stop").await;
        heard(&house).await.contains(&"stop".to_owned()).then_some(())
    })
    .await;
    is_refused(&sent(&house, json!({ "to": ADA, "text": "hello" })).await);
    says(&house, ADA, "Start").await;
    assert_eq!(sent(&house, json!({ "to": ADA, "text": "hello" })).await["state"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_setting_off_the_words_are_words() {
    let house = House::open(&[OFF, ECHO]).await;
    for text in ["stop", "unsubscribe", "start"] {
        says(&house, ADA, text).await;
    }
    assert_eq!(heard(&house).await, ["start", "stop", "unsubscribe"]);
    assert_eq!(sent(&house, json!({ "to": ADA, "text": "hello" })).await["state"], "delivered");
    gets(&house, ADA, &["hello"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sets_nothing_has_the_words_of_the_language_and_english() {
    for (settings, stopping, not) in [
        ("timezone: UTC\n", ["STOP", "unsubscribe"], "abmelden"),
        ("locale: de-AT\n", ["Abmelden", "stop"], "cancelar"),
        ("locale: es\n", ["¡Baja!", "Stop."], "abmelden"),
    ] {
        let house = House::open(&[("postrider.yaml", settings), ECHO]).await;
        for word in stopping {
            says(&house, ADA, word).await;
            is_refused(&sent(&house, json!({ "to": ADA, "text": "hello" })).await);
            says(&house, ADA, "Start").await;
        }
        says(&house, ADA, not).await;
        assert_eq!(sent(&house, json!({ "to": ADA, "text": "hello" })).await["state"], "delivered", "{settings}");
    }
}

#[test]
fn settings_that_say_nothing_are_findings_with_place_and_remedy() {
    for (opt_out, part, hint) in [
        ("stop", "`opt_out` is a map", "words, reply"),
        ("[stop]", "`opt_out` is a map", "words, reply"),
        ("{ words: [] }", "`words`", "[stop"),
        ("{ words: [stop, ' '] }", "`words`", "[stop"),
        ("{ words: stop }", "`words` takes a list", "[one, two]"),
        ("{ wrods: [stop] }", "has no key `wrods`", "did you mean `words`?"),
        ("{ words: [stop], answer: bye }", "has no key `answer`", "reply"),
        ("{ words: [stop], reply: [bye] }", "`reply` takes a text", ""),
        ("{ words: [{ stop: 1 }] }", "`words` takes a text", ""),
        ("{ words: [stop] }", "", ""),
        ("{ reply: bye }", "", ""),
        ("off", "", ""),
        ("on", "", ""),
    ] {
        let settings = format!("accounts:\n  main:\n    transport: sandbox\n    opt_out: {opt_out}\n");
        let folder = folder(&[("postrider.yaml", &settings), ("flows/x.yaml", "run: 1\n")]);
        let output = binary::run(folder.path(), &["check", "--json"]);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = answer["diagnostics"].as_array().unwrap();
        if part.is_empty() {
            assert_eq!((output.status.code(), list.len()), (Some(0), 0), "{opt_out}: {answer}");
            continue;
        }
        assert_eq!(output.status.code(), Some(1), "{opt_out}: {answer}");
        let says =
            |finding: &Value, field: &str, part: &str| finding[field].as_str().unwrap_or_default().contains(part);
        let found = list.iter().any(|finding| {
            (&finding["file"], &finding["line"]) == (&json!("postrider.yaml"), &json!(4))
                && says(finding, "message", part)
                && says(finding, "hint", hint)
        });
        assert!(found, "{opt_out}: {answer}");
    }
}
