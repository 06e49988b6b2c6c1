//! Which runs a message starts: by account, person and text; each message once.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::said::{self, gowa_message};
use super::{Ear, TALKING, TOKEN, call, has, text_of};
use crate::gateways::fake::{self, Dialect};
use crate::support::engine::House;
use crate::support::{client, until};

const FLOWS: [(&str, &str); 8] = [
    ("flows/any.yaml", "triggers:\n  - message: { chats: all }\nrun: event\n"),
    ("flows/main.yaml", "triggers:\n  - message: { account: main }\nrun: event\n"),
    ("flows/second.yaml", "triggers:\n  - message: { account: second }\nrun: event\n"),
    ("flows/ada.yaml", "triggers:\n  - message: { from: \"+1 541-754-3010\" }\nrun: event\n"),
    ("flows/stop.yaml", "triggers:\n  - message: { text: \"(?i)^stop\" }\nrun: event\n"),
    (
        "flows/all.yaml",
        "triggers:\n  - message: { account: second, from: \"15417543010\", text: \"stop$\" }\nrun: event\n",
    ),
    ("flows/off.yaml", "enabled: false\ntriggers:\n  - message: {}\nrun: event\n"),
    ("flows/other.yaml", "triggers:\n  - webhook: /other\nrun: event\n"),
];

/// What each flow was started by, in the order of their names.
async fn counts(house: &House) -> Vec<usize> {
    let mut counts = Vec::new();
    for name in ["any", "main", "second", "ada", "stop", "all", "off", "other"] {
        counts.push(house.runs_of(name).await.len());
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_flow_gets_the_messages_that_it_asks_for() {
    let account = format!("{{ transport: gowa, inbound_token: {TOKEN}, opt_out: off }}");
    let settings = format!("default_account: main\naccounts:\n  main: {account}\n  second: {account}\n");
    let files: Vec<_> = FLOWS.into_iter().chain([("postrider.yaml", settings.as_str())]).collect();
    let house = House::open(&files).await;
    let client = client();
    let tell = async |account: &str, event: &Value| {
        let path = format!("/gateways/{account}/{TOKEN}");
        let (status, answer) = call(&client, &house, Method::POST, &path, &[], event.to_string().into_bytes()).await;
        assert_eq!(status, 200, "{answer}");
    };
    let other = "15417543011@s.whatsapp.net";
    let image = json!({ "image": { "path": "statics/media/a.jpeg", "caption": "STOP" }, "body": "STOP" });
    let cases: [(&str, Value, [usize; 8]); 7] = [
        ("main", gowa_message("A", json!({ "body": "Stop it" })), [1, 1, 0, 1, 1, 0, 0, 0]),
        (
            "main",
            gowa_message("B", json!({ "body": "don't stop", "from": other, "chat_id": other })),
            [2, 2, 0, 1, 1, 0, 0, 0],
        ),
        ("second", gowa_message("C", json!({ "body": "don't stop" })), [3, 2, 1, 2, 1, 1, 0, 0]),
        // The same id means another message on another account.
        ("second", gowa_message("A", json!({ "body": "Hi" })), [4, 2, 2, 3, 1, 1, 0, 0]),
        // A caption is a text; a sticker has none.
        ("main", gowa_message("D", image), [5, 3, 2, 4, 2, 1, 0, 0]),
        ("main", gowa_message("E", json!({ "sticker": "statics/media/b.webp" })), [6, 4, 2, 5, 2, 1, 0, 0]),
        // What is said in a group is for those who say so.
        ("main", gowa_message("F", json!({ "chat_id": said::GROUP, "body": "Hi all" })), [7, 4, 2, 5, 2, 1, 0, 0]),
    ];
    for (account, event, wanted) in cases {
        tell(account, &event).await;
        until(&format!("{wanted:?} after {event}"), async || (counts(&house).await == wanted).then_some(())).await;
    }
    let run = house.runs_of("all").await.remove(0);
    let run = house.run_is(text_of(&run, "id"), "succeeded").await;
    assert_eq!(run["trigger"], "message");
    let wanted =
        json!({ "trigger": "message", "flow": "all", "run": run["id"], "account": "second", "text": "don't stop" });
    has(&run["event"], &wanted);
    has(&run["result"], &wanted);
    assert!(!run.to_string().contains(TOKEN), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_not_lost() {
    let mut ear = Ear::open(fake::gowa::DIALECT).await;
    for id in ["A", "B", "C", "D", "E"] {
        assert_eq!(ear.tell(&gowa_message(id, json!({ "body": id }))).await, 200);
        ear = ear.crash().await;
        ear.event(id).await;
    }
    assert_eq!(ear.runs().await, 5);
}

async fn each_message_once(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let (one, two) = (said::text(dialect.name, "AA01", "Hi"), said::text(dialect.name, "AA02", "Hi"));
    for event in [&one, &one, &two, &one] {
        assert_eq!(ear.tell(event).await, 200);
    }
    assert_eq!(ear.runs().await, 2, "equal words of another message are another message");
    let ear = ear.crash().await;
    assert_eq!(ear.tell(&one).await, 200);
    // Meta tries again for seven days.
    ear.house.pass(Duration::from_secs(6 * 86_400));
    assert_eq!(ear.tell(&two).await, 200);
    assert_eq!(ear.runs().await, 2);
    // And all at once.
    let event = said::text(dialect.name, "AA03", "Hi");
    let told = tokio::join!(ear.tell(&event), ear.tell(&event), ear.tell(&event), ear.tell(&event));
    assert_eq!(told, (200, 200, 200, 200));
    assert_eq!(ear.runs().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_starts_one_run() {
    for dialect in TALKING {
        each_message_once(dialect).await;
    }
}
