//! A bot as people build their first one: three words, a menu for everything else, and STOP.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{ADA, BOB};
use crate::support::binary::run;
use crate::support::engine::House;
use crate::support::{folder, until};

const GROUP: &str = "120363024512345678@g.us";
const FLOWS: [(&str, &str); 5] = [
    ("flows/hours.yaml", "triggers: [{ message: { text: \"(?i)^hours\" } }]\nrun: send_text(event.chat, \"9 to 5\")\n"),
    (
        "flows/prices.yaml",
        "triggers: [{ message: { text: \"(?i)^prices\" } }]\nrun: send_text(event.chat, \"from 5 EUR\")\n",
    ),
    (
        "flows/book.yaml",
        "triggers: [{ message: { text: \"(?i)^book\" } }]\nrun: |\n  let day = ask(event.chat, \"Which day?\", \
         #{ choices: [\"Monday\", \"Friday\"] });\n  send_text(event.chat, `See you on ${day.choice}`)\n",
    ),
    (
        "flows/menu.yaml",
        "triggers: [{ message: { else: true } }]\nrun: send_text(event.chat, \"hours, prices or book?\")\n",
    ),
    (
        "flows/group.yaml",
        "triggers: [{ message: { chats: groups, text: \"(?i)^hours\" } }]\nrun: send_text(event.chat, `Group ${event.group}, 9 to 5`)\n",
    ),
];

async fn writes(house: &House, from: &str, chat: Option<&str>, text: &str) {
    // What happens at the same time has no order.
    house.pass(Duration::from_secs(1));
    house.post("/sandbox/messages", json!({ "from": from, "chat": chat, "text": text })).await;
}

/// What stands on a phone, newest last, once there is so much.
async fn got(house: &House, to: &str, count: usize) -> Vec<String> {
    until(&format!("{count} messages to {to}"), async || {
        let all = house.get("/sandbox/messages?limit=200").await;
        let mut texts: Vec<String> = all["messages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["to"] == to)
            .map(|message| message["text"].as_str().unwrap_or_default().to_owned())
            .collect();
        texts.reverse();
        assert!(texts.len() <= count, "too many: {texts:?}");
        (texts.len() == count).then_some(texts)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn words_a_menu_and_stop_in_private_and_in_a_group() {
    let house = House::open(&FLOWS).await;
    for (text, wanted) in [
        ("Hours?", "9 to 5"),
        ("prices", "from 5 EUR"),
        ("hello there", "hours, prices or book?"),
        ("opening hours", "hours, prices or book?"),
    ] {
        let before = got_so_far(&house, ADA).await;
        writes(&house, ADA, None, text).await;
        assert_eq!(got(&house, ADA, before + 1).await[before], wanted, "{text}");
    }
    writes(&house, ADA, None, "book").await;
    got(&house, ADA, 5).await;
    // What answers a question begins nothing, and is not for the menu.
    writes(&house, ADA, None, "friday").await;
    assert_eq!(got(&house, ADA, 6).await[5], "See you on Friday");

    // A group is left alone but for what asks for groups, and the menu never speaks there.
    for text in ["prices", "hello all", "book", "Stop it, all of you"] {
        writes(&house, BOB, Some(GROUP), text).await;
    }
    writes(&house, BOB, Some(GROUP), "hours").await;
    assert_eq!(got(&house, GROUP, 1).await, ["Group true, 9 to 5"]);
    assert_eq!(got_so_far(&house, BOB).await, 0);

    // STOP in the group is a word like any other; in private it ends it, and START begins it again.
    writes(&house, BOB, Some(GROUP), "STOP").await;
    writes(&house, BOB, None, "hours").await;
    assert_eq!(got(&house, BOB, 1).await, ["9 to 5"]);
    writes(&house, BOB, None, "STOP").await;
    writes(&house, BOB, None, "hours").await;
    until("the answer that is not sent", async || {
        let all = house.get("/messages?limit=200").await;
        let refused = |message: &&Value| message["to"] == BOB && message["state"] == "rejected";
        all["messages"].as_array().unwrap().iter().find(refused).cloned()
    })
    .await;
    writes(&house, BOB, None, "START").await;
    writes(&house, BOB, None, "hours").await;
    assert_eq!(got(&house, BOB, 2).await, ["9 to 5", "9 to 5"]);
    house.pass(Duration::from_secs(3600));
    assert_eq!(got_so_far(&house, GROUP).await, 1);
}

async fn got_so_far(house: &House, to: &str) -> usize {
    let all = house.get("/sandbox/messages?limit=200").await;
    all["messages"].as_array().unwrap().iter().filter(|message| message["to"] == to).count()
}

#[test]
fn who_listens_where_nothing_can_be_heard_is_warned() {
    let settings = "default_account: shop\naccounts:\n  shop: { transport: gowa }\n  ears: { transport: gowa, webhook_secret: a-secret-of-theirs }\n";
    for (trigger, wanted) in [
        ("{ message: {} }", None),
        ("{ message: { account: ears } }", None),
        ("{ message: { account: shop } }", Some("`shop` can hear nothing")),
    ] {
        let flow = format!("triggers: [{trigger}]\nrun: 1\n");
        let folder = folder(&[("postrider.yaml", settings), ("flows/x.yaml", &flow)]);
        let output = run(folder.path(), &["check", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{report}");
        let found = report["diagnostics"].as_array().unwrap();
        assert_eq!(found.len(), usize::from(wanted.is_some()), "{trigger}: {report}");
        if let Some(part) = wanted {
            let (message, hint) = (found[0]["message"].as_str().unwrap(), found[0]["hint"].as_str().unwrap());
            assert!(message.contains(part) && hint.contains("webhook_secret"), "{report}");
            assert_eq!(found[0]["severity"], "warning");
        }
    }
    // Where no account hears, no trigger does.
    let settings = "accounts: { shop: { transport: gowa } }\n";
    let folder = folder(&[("postrider.yaml", settings), ("flows/x.yaml", "triggers: [{ message: {} }]\nrun: 1\n")]);
    assert!(String::from_utf8_lossy(&run(folder.path(), &["check", "--json"]).stdout).contains("hear"));
}
