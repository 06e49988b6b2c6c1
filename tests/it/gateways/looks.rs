//! A look at a gateway: whether somebody is there, whether its phone is linked, which groups it is in. Nothing
//! is sent for that.

use std::process::Output;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::fake::{self, Dialect, Fake, Mood};
use crate::support::binary::{Process, json, run, said};
use crate::support::engine::House;
use crate::support::{folder, until};

fn says(status: u16, body: &Value) -> Mood {
    Mood::Says(status, vec![("content-type", "application/json".into())], Bytes::from(body.to_string()))
}

async fn house(fake: &Fake, more: &str) -> House {
    House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &fake.settings(more))]).await
}

async fn check(house: &House) -> (bool, String) {
    let found = house.post("/accounts/main/check", json!({})).await;
    (found["ok"].as_bool().unwrap(), found["said"].as_str().unwrap().to_owned())
}

/// What a gateway answers to the question how its link is: fine, and not.
fn links(dialect: &Dialect) -> [(Value, bool, &'static str); 2] {
    match dialect.name {
        // A client that is connected waits for its code to be scanned.
        "gowa" => ["logged_in", "connected"].map(|state| {
            let row = json!({ "id": "front-desk+1", "state": state, "jid": "628123456789@s.whatsapp.net" });
            (json!({ "code": "SUCCESS", "results": [row] }), state == "logged_in", "linked")
        }),
        "waha" => ["WORKING", "SCAN_QR_CODE"]
            .map(|state| (json!({ "name": "shop", "status": state, "config": {} }), state == "WORKING", "linked")),
        "evolution" => ["open", "close"].map(|state| {
            (json!({ "instance": { "instanceName": "my shop", "state": state } }), state == "open", "link")
        }),
        "twilio" => {
            ["active", "suspended"].map(|state| (json!({ "sid": "AC", "status": state }), state == "active", "active"))
        }
        _ => [
            (json!({ "id": "106540352242922" }), true, "there"),
            (json!({ "error": { "code": 100, "message": "x" } }), false, "phone_number_id"),
        ],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_that_can_say_how_it_is_is_asked() {
    for dialect in
        [fake::gowa::DIALECT, fake::waha::DIALECT, fake::evolution::DIALECT, fake::meta::DIALECT, fake::twilio::DIALECT]
    {
        let fake = Fake::away(dialect);
        let house = house(&fake, "").await;
        let (ok, said) = check(&house).await;
        assert!(
            !ok && said.contains("cannot be reached") && said.contains("is it running"),
            "{}: {said}",
            dialect.name
        );
        fake.comes().await;
        for (body, fine, part) in links(&dialect) {
            fake.is(says(200, &body));
            let (ok, said) = check(&house).await;
            assert_eq!(ok, fine, "{}: {body}: {said}", dialect.name);
            assert!(said.contains(part), "{}: {body}: {said}", dialect.name);
        }
        fake.is(says(401, &json!({ "message": "Unauthorized" })));
        let (ok, said) = check(&house).await;
        assert!(!ok && said.contains("credentials"), "{}: {said}", dialect.name);
        for (status, junk) in [(200, ""), (200, "<html>nginx</html>"), (404, "<html>nginx</html>"), (200, "7")] {
            fake.is(Mood::Says(status, Vec::new(), Bytes::from_static(junk.as_bytes())));
            let (ok, said) = check(&house).await;
            assert!(!ok && said.contains("is `url` right?"), "{}: {junk}: {said}", dialect.name);
        }
        for junk in ["[]", "{\"status\":5,\"results\":{\"a\":1},\"instance\":[]}"] {
            fake.is(Mood::Says(200, Vec::new(), Bytes::from_static(junk.as_bytes())));
            assert!(!check(&house).await.0, "{}: {junk}", dialect.name);
        }
        let got = fake.take();
        assert!(!got.is_empty() && got.iter().all(|got| got.method == "GET"), "{}: something was sent", dialect.name);
        for got in got {
            for secret in dialect.secrets {
                assert!(!got.path.contains(secret), "{}", got.path);
            }
        }
    }
    // The others are looked at from outside.
    for dialect in [fake::wapim::DIALECT, fake::wawp::DIALECT, fake::express_chat::DIALECT] {
        let fake = Fake::away(dialect);
        let house = house(&fake, "").await;
        assert!(!check(&house).await.0);
        fake.comes().await;
        let (ok, said) = check(&house).await;
        assert!(ok && said.contains("send a message"), "{}: {said}", dialect.name);
        assert!(fake.take().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_listed_with_the_addresses_that_flows_write_to() {
    let id = "120363024512345678@g.us";
    let odd = "Team\u{202e} \u{1b}[31m";
    for (dialect, body) in [
        (
            fake::gowa::DIALECT,
            json!({ "results": { "data": [{ "JID": id, "Name": "Team" }, { "JID": "x", "Name": "no" }] } }),
        ),
        (
            fake::waha::DIALECT,
            json!([{ "id": id, "subject": "Team" }, { "id": { "_serialized": "1@g.us" }, "name": odd }]),
        ),
        (fake::waha::DIALECT, json!({ id: { "id": id, "subject": "Team" } })),
        (fake::waha::DIALECT, json!([{ "JID": id, "Name": "Team" }])),
        (fake::evolution::DIALECT, json!([{ "id": id, "subject": "Team", "size": 4 }])),
    ] {
        let fake = Fake::start(dialect).await;
        let house = house(&fake, "").await;
        fake.is(says(200, &body));
        let answer = house.get("/accounts/main/groups").await;
        let groups = answer["groups"].as_array().unwrap();
        assert!(groups.contains(&json!({ "id": id, "name": "Team" })), "{}: {answer}", dialect.name);
        assert!(
            groups.iter().all(|group| group["name"].as_str().unwrap().chars().all(|c| !postrider::plain::steers(c)))
        );
        for (status, body) in [(200, json!({ "ok": true })), (200, json!("x")), (404, json!("x")), (401, json!({}))] {
            fake.is(says(status, &body));
            let (refused, answer) = house.api(reqwest::Method::GET, "/accounts/main/groups", None).await;
            let why = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(
                refused >= 400 && (why.contains("is `url` right?") || why.contains("credentials")),
                "{body}: {answer}"
            );
        }
    }
    // With all their members.
    let fake = Fake::start(fake::gowa::DIALECT).await;
    let house_of_many = house(&fake, "").await;
    let members: Vec<Value> =
        (0..200).map(|n| json!({ "JID": format!("1541754{n:04}@s.whatsapp.net"), "Name": "Ada" })).collect();
    let many: Vec<Value> =
        (0..100).map(|n| json!({ "JID": format!("{n}@g.us"), "Name": "T", "Participants": members })).collect();
    fake.is(says(200, &json!({ "results": { "data": many } })));
    assert_eq!(house_of_many.get("/accounts/main/groups").await["groups"].as_array().unwrap().len(), 100);
    let fake = Fake::start(fake::meta::DIALECT).await;
    let house = house(&fake, "").await;
    let (status, answer) = house.api(reqwest::Method::GET, "/accounts/main/groups", None).await;
    assert!(status >= 400 && answer["error"]["message"].as_str().unwrap().contains("does not list groups"), "{answer}");
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// As somebody does it who has forgotten to start the gateway.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_running_is_put_right_with_the_tool_alone() {
    let fake = Fake::away(fake::gowa::DIALECT);
    let settings = fake.settings("pace: unlimited\nretry: { attempts: 2, first: 1s }");
    let hello = ("flows/hello.yaml", "run: send_text(\"+15417543010\", \"hello\")\n");
    let folder = folder(&[hello, ("postrider.yaml", &settings)]);
    let root = folder.path();
    let engine = Process::start(root);
    // Before anything was sent the list does not say that all is well.
    let listed = until("the look at the start", async || {
        let listed = json(root, &["accounts"]);
        (!listed["accounts"][0]["checked"].is_null()).then_some(listed)
    })
    .await;
    assert_eq!(listed["accounts"][0]["state"], "paused", "{listed}");
    assert!(said(root, &["accounts"]).contains("is it running"), "{}", said(root, &["accounts"]));
    said(root, &["trigger", "hello", "--wait"]);
    until("the message to wait", async || said(root, &["messages"]).contains("cannot be reached").then_some(())).await;
    let checked = run(root, &["accounts", "check"]);
    assert_eq!(checked.status.code(), Some(1), "{}", text(&checked));
    assert!(text(&checked).contains("main: cannot send: the gateway cannot be reached"), "{}", text(&checked));
    let row = json!({ "id": "front-desk+1", "state": "logged_in" });
    fake.comes().await;
    fake.is(says(200, &json!({ "code": "SUCCESS", "results": [row] })));
    assert_eq!(said(root, &["accounts", "check", "main"]), "main: ok: the phone is linked\n");
    // It is found again without a restart.
    fake.is(Mood::Strict);
    until("the message to be sent", async || {
        (json(root, &["messages"])["messages"][0]["state"] == "sent").then_some(())
    })
    .await;
    assert_eq!(json(root, &["accounts"])["accounts"][0]["state"], "ready");
    let (_, log) = engine.terminate();
    assert!(log.contains("account `main` cannot send") && log.contains("sends again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_comes_later_is_seen_though_nothing_is_sent() {
    let fake = Fake::away(fake::gowa::DIALECT);
    let house = house(&fake, "").await;
    let is = async |state: &str| {
        until(state, async || {
            house.pass(std::time::Duration::from_secs(10));
            let account = house.get("/accounts").await["accounts"][0].clone();
            (account["state"] == state && !account["checked"].is_null()).then_some(())
        })
        .await;
    };
    is("paused").await;
    let link =
        |state: &str| says(200, &json!({ "code": "SUCCESS", "results": [{ "id": "front-desk+1", "state": state }] }));
    fake.is(link("logged_in"));
    fake.comes().await;
    is("ready").await;
    // What somebody has found out meanwhile is looked after too.
    fake.is(link("disconnected"));
    assert!(!check(&house).await.0);
    is("paused").await;
    fake.is(link("logged_in"));
    is("ready").await;
    assert!(fake.take().iter().all(|got| got.method == "GET"));
}

/// With a single try too: until others have gone out, it is the account's fault.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_meets_a_closed_account_waits_however_few_its_tries_are() {
    for (status, body) in [(401, "{\"code\":\"401\"}"), (404, "<html>nginx</html>")] {
        let fake = Fake::start(fake::gowa::DIALECT).await;
        let house = house(&fake, "pace: unlimited\nretry: { attempts: 1 }").await;
        fake.is(Mood::Says(status, Vec::new(), Bytes::from_static(body.as_bytes())));
        house.post("/messages", json!({ "to": "+15417543010", "text": "first ever" })).await;
        until("three tries", async || {
            house.pass(std::time::Duration::from_secs(60));
            let message = house.get("/messages").await["messages"][0].clone();
            assert!(["queued", "sending"].contains(&message["state"].as_str().unwrap()), "{message}");
            (message["attempts"].as_array().unwrap().len() >= 3).then_some(())
        })
        .await;
        fake.is(Mood::Strict);
        until("the message to be sent", async || {
            house.pass(std::time::Duration::from_secs(60));
            (house.get("/messages").await["messages"][0]["state"] == "sent").then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_are_decided_about_at_once() {
    let fake = Fake::start(fake::gowa::DIALECT).await;
    let hello = ("flows/hello.yaml", "run: |\n  for n in 0..7 { send_text(`+1541754301${n}`, \"hello\") }\n");
    let settings = fake.settings("pace: unlimited\nretry: { attempts: 1 }");
    let folder = folder(&[hello, ("postrider.yaml", &settings)]);
    let root = folder.path();
    let _engine = Process::start(root);
    fake.is(says(400, &json!({ "code": "400", "status": 400, "message": "invalid" })));
    said(root, &["trigger", "hello", "--wait"]);
    let are = async |state: &str, count: usize| {
        until(&format!("{count} to be {state}"), async || {
            let all = json(root, &["messages", "--limit", "100"]);
            let list = all["messages"].as_array().unwrap();
            (list.iter().filter(|message| message["state"] == state).count() == count).then_some(())
        })
        .await;
    };
    are("rejected", 7).await;
    assert!(said(root, &["runs"]).contains("7 of its messages"), "{}", said(root, &["runs"]));
    let none = run(root, &["messages", "retry", "--state", "dead"]);
    assert!(text(&none).contains("no message is dead"), "{}", text(&none));
    assert_eq!(run(root, &["messages", "retry"]).status.code(), Some(2), "which ones?");
    let wrong = run(root, &["messages", "retry", "--state", "deda"]);
    assert!(wrong.status.code() == Some(1) && text(&wrong).contains("deda"), "{}", text(&wrong));
    fake.is(Mood::Strict);
    let one = said(root, &["messages", "retry", "--state", "rejected", "--to", "+15417543010"]);
    assert_eq!(one, "1 of 1 that were rejected: to be sent again\n");
    are("sent", 1).await;
    // Each by its id: what cannot be is named, and the others are done all the same, in whatever form it is said.
    let ids: Vec<String> = json(root, &["messages", "--state", "rejected"])["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["id"].as_str().unwrap().to_owned())
        .collect();
    let sent = json(root, &["messages", "--state", "sent"])["messages"][0]["id"].as_str().unwrap().to_owned();
    let some = run(root, &["messages", "retry", &ids[0], &sent, "nonsense", &ids[1], "--json"]);
    let report: Value = serde_json::from_slice(&some.stdout).unwrap_or_else(|_| panic!("{}", text(&some)));
    let errors: Vec<bool> = report["messages"].as_array().unwrap().iter().map(|end| !end["error"].is_null()).collect();
    assert_eq!((errors, some.status.code()), (vec![false, true, true, false], Some(1)), "{report}");
    are("sent", 3).await;
    assert!(said(root, &["messages", "retry", "--state", "rejected", "--flow", "none"]).contains("no such message"));
    said(root, &["messages", "retry", "--state", "rejected"]);
    are("sent", 7).await;
    let sent = fake.take().iter().filter(|got| got.path == "/send/message").count();
    assert_eq!(sent, 14, "each was refused once and sent once");
}
