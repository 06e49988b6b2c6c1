//! Gateways in trouble: what each answer means, and that nothing is lost or doubled by it.

use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::Desk;
use super::fake::{self, ALL, Dialect, Mood};
use crate::support::engine::House;
use crate::support::gateway::{Gateway, Say};
use crate::support::{Nobody, until};

const TO: &str = "+15417543010";

/// The error rows of each gateway's documentation.
fn errors(name: &str) -> &'static [(u16, &'static str, &'static str)] {
    match name {
        "gowa" => fake::gowa::ERRORS,
        "wapim" => fake::wapim::ERRORS,
        "wawp" => fake::wawp::ERRORS,
        "express-chat" => fake::express_chat::ERRORS,
        "waha" => fake::waha::ERRORS,
        "meta" => fake::meta::ERRORS,
        "evolution" => fake::evolution::ERRORS,
        "twilio" => fake::twilio::ERRORS,
        other => panic!("{other}"),
    }
}

/// What the last attempt of a fresh message came to, and how many requests it took.
async fn outcome(desk: &Desk, mood: Mood) -> (String, Value, usize) {
    desk.fake.take();
    desk.fake.is(mood);
    // A recipient of its own: nothing waits behind what came before.
    let outcome = desk.send(&json!({ "to": TO, "text": "Hi" })).await;
    let message = outcome.message;
    let class = message["attempts"][0]["outcome"].as_str().unwrap_or_default().to_owned();
    (class, message, outcome.requests.len())
}

fn says(status: u16, body: &str) -> Mood {
    Mood::Says(status, vec![("content-type", "application/json".into())], Bytes::copy_from_slice(body.as_bytes()))
}

/// A new desk for each: a paused lane or a waiting recipient would get in the way of the next.
async fn every_row(dialect: Dialect) {
    let mut wrong = Vec::new();
    for (status, body, wanted) in errors(dialect.name) {
        let desk = Desk::open(dialect, "").await;
        let (class, message, _) = outcome(&desk, says(*status, body)).await;
        if class != *wanted {
            wrong.push(format!("{status} {body}: {class}, wanted {wanted}: {}", message["why"]));
        }
        let text = message.to_string();
        for secret in dialect.secrets {
            assert!(!text.contains(secret), "{text}");
        }
        let state = match *wanted {
            "ambiguous" => "unknown",
            "auth" | "not_connected" | "quota" | "rate_limited" | "upstream" => "queued",
            _ => "rejected",
        };
        if class == *wanted {
            assert_eq!(message["state"], state, "{status} {body}");
        }
    }
    assert!(wrong.is_empty(), "{}: {}", dialect.name, wrong.join("\n"));
}

macro_rules! rows {
    ($($test:ident: $name:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            every_row(fake::$name::DIALECT).await;
        }
    )*};
}

rows! {
    errors_of_gowa: gowa;
    errors_of_wapim: wapim;
    errors_of_wawp: wawp;
    errors_of_express_chat: express_chat;
    errors_of_waha: waha;
    errors_of_meta: meta;
    errors_of_evolution: evolution;
    errors_of_twilio: twilio;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_there_pauses_the_account_and_uses_up_no_tries() {
    let nobody = Nobody::at_a_port();
    let settings = format!(
        "accounts:\n  main: {{ transport: gowa, url: \"{}\", pace: unlimited, retry: {{ attempts: 2, first: 1s }} }}\n",
        nobody.url
    );
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    house.post("/messages", json!({ "to": "+15417543010", "text": "x" })).await;
    let tried = async |count: usize| {
        until("a try", async || {
            let message = house.get("/messages").await["messages"][0].clone();
            // The lane says why a moment after the attempt is on record.
            let said = message["why"].as_str()?.starts_with("pause: the gateway cannot be reached");
            (message["attempts"].as_array().unwrap().len() == count && said).then_some(message)
        })
        .await
    };
    let message = tried(1).await;
    assert_eq!((&message["attempts"][0]["outcome"], &message["state"]), (&json!("not_connected"), &json!("queued")));
    let account = house.get("/accounts").await["accounts"][0].clone();
    assert_eq!(account["state"], "paused");
    assert!(account["reason"].as_str().unwrap().contains("is it running, is `url` right?"), "{account}");
    for count in 2..8 {
        house.pass(std::time::Duration::from_secs(300));
        assert_eq!(tried(count).await["state"], "queued");
    }
}

/// Answers one text with what pauses an account, everything else with yes.
async fn one_bad(status: u16, code: &'static str) -> (Gateway, House) {
    let gateway = Gateway::with(move |_, got| match got.text().as_str() {
        "BAD" => Say::No(status, code, None),
        _ => Say::Yes,
    })
    .await;
    let settings = gateway.settings("pace: unlimited, retry: { attempts: 3, first: 1s }");
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    (gateway, house)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_single_message_holds_an_account() {
    let (gateway, house) = one_bad(401, "AUTHENTICATION_ERROR").await;
    let bad = house.post("/messages", json!({ "to": "+15417543011", "text": "BAD" })).await;
    let bad = bad["message"].as_str().unwrap().to_owned();
    until("the pause", async || (house.get("/accounts").await["accounts"][0]["state"] == "paused").then_some(())).await;
    for number in 2..9 {
        house.post("/messages", json!({ "to": format!("+1541754301{number}"), "text": "good" })).await;
    }
    // The next to try is somebody else, and with that the account goes on.
    house.pass(Duration::from_secs(5));
    house.messages_are(7, "sent").await;
    // The one that stops the account again and again while others go out is given up.
    let dead = until("the end of the bad one", async || {
        house.post("/messages", json!({ "to": "+15417543019", "text": "good" })).await;
        house.pass(Duration::from_secs(5));
        let message = house.get(&format!("/messages/{bad}")).await;
        (message["state"] == "dead").then_some(message)
    })
    .await;
    let outcomes: Vec<_> = dead["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert!((3..10).contains(&outcomes.len()) && outcomes.iter().all(|outcome| *outcome == "not_connected"), "{dead}");
    until("the others to go out", async || {
        house.pass(Duration::from_secs(5));
        let messages = house.get("/messages?limit=1000").await["messages"].as_array().unwrap().clone();
        let open = messages.iter().filter(|message| message["state"] == "queued" || message["state"] == "sending");
        (open.count() == 0).then_some(())
    })
    .await;
    let bad = gateway.texts().iter().filter(|text| *text == "BAD").count();
    assert_eq!(bad, outcomes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_in_doubt_is_sent_no_more_often_than_it_may() {
    let gateway = Gateway::with(|_, _| Say::Vanish).await;
    let settings =
        gateway.settings("pace: unlimited, on_unknown: resend, unknown_after: 1s, retry: { attempts: 3, first: 1s }");
    let house = House::open(&[("flows/x.yaml", "run: 1\n"), ("postrider.yaml", &settings)]).await;
    house.post("/messages", json!({ "to": "+15417543010", "text": "x" })).await;
    let tried = async |count: usize| {
        until(&format!("{count} tries"), async || {
            let message = house.get("/messages?to=%2B15417543010").await["messages"][0].clone();
            let tries = message["attempts"].as_array().unwrap().len();
            (tries == count && message["state"] == "unknown").then_some(message)
        })
        .await
    };
    for count in 1..=3 {
        tried(count).await;
        house.pass(Duration::from_secs(2));
    }
    // A person is asked now, however long it takes.
    house.pass(Duration::from_secs(86_400));
    house.post("/messages", json!({ "to": "+15417543011", "text": "y" })).await;
    until("another message", async || (gateway.texts().last()? == "y").then_some(())).await;
    tried(3).await;
    assert_eq!(gateway.texts().iter().filter(|text| *text == "x").count(), 3);
    // A person's word begins anew.
    let id = house.get("/messages?to=%2B15417543010").await["messages"][0]["id"].as_str().unwrap().to_owned();
    house.post(&format!("/messages/{id}/release"), json!({ "as": "resend" })).await;
    until("one more", async || (gateway.texts().iter().filter(|text| *text == "x").count() == 4).then_some(())).await;
}

fn html(status: u16) -> Mood {
    let page = "<!doctype html><html><title>Welcome</title><body>log in</body></html>";
    Mood::Says(status, vec![("content-type", "text/html".into())], Bytes::from_static(page.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gateway_may_hang_break_off_or_be_another_server() {
    let redirect = || {
        let location = vec![("location", "http://169.254.169.254/latest/meta-data".to_owned())];
        Mood::Says(302, location, Bytes::new())
    };
    let flood = Bytes::from(vec![b'['; 10_000_000]);
    for dialect in ALL {
        for (what, mood, wanted) in [
            ("hangs", Mood::Hangs(Duration::from_secs(30)), "ambiguous"),
            ("breaks off", Mood::Breaks, "ambiguous"),
            ("a page for a yes", html(200), "ambiguous"),
            ("a page from a proxy", html(502), if dialect.name == "wapim" { "upstream" } else { "ambiguous" }),
            ("another server", html(404), "not_connected"),
            ("leads elsewhere", redirect(), "not_connected"),
            ("10 MB", Mood::Says(200, Vec::new(), flood.clone()), "ambiguous"),
            ("nothing at all", Mood::Says(200, Vec::new(), Bytes::new()), "ambiguous"),
        ] {
            let desk = Desk::open(dialect, if what == "hangs" { "timeout: 1s" } else { "" }).await;
            let (class, message, requests) = outcome(&desk, mood).await;
            assert_eq!(class, wanted, "{} {what}: {message}", dialect.name);
            assert_eq!(requests, 1, "{} {what}: one attempt is one request", dialect.name);
            let state = if wanted == "ambiguous" { "unknown" } else { "queued" };
            assert_eq!(message["state"], state, "{} {what}", dialect.name);
            let text = message.to_string();
            assert!(text.len() < 4_000, "what others say is kept short: {} bytes", text.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_whose_page_gowa_cannot_load_goes_as_text() {
    let desk = Desk::open(fake::gowa::DIALECT, "").await;
    let failed = r#"{"code":"INTERNAL_SERVER_ERROR","message":"failed to download metadata: 403"}"#;
    desk.fake.is(says(500, failed));
    let wish = json!({ "kind": "link", "to": TO, "url": "https://e.com/a", "caption": "Look" });
    let outcome = desk.send(&wish).await;
    // Both were refused here; each was one request, and the second was text.
    let paths: Vec<_> = outcome.requests.iter().map(|got| got.path.as_str()).collect();
    assert_eq!(paths, ["/send/link", "/send/message"]);
    assert_eq!(outcome.requests[1].json().unwrap()["message"], "Look\nhttps://e.com/a");
    assert_eq!(outcome.message["state"], "queued");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_link_does_not_become_text() {
    let desk = Desk::open(fake::gowa::DIALECT, "").await;
    desk.fake.is(says(500, r#"{"code":"INTERNAL_SERVER_ERROR","message":"failed to download metadata: 403"}"#));
    let wish = json!({ "kind": "link", "to": TO, "url": "https://e.com/a", "on_unsupported": "strict" });
    let outcome = desk.send(&wish).await;
    assert_eq!((outcome.requests.len(), &outcome.message["state"]), (1, &json!("queued")));
}

#[tokio::test(flavor = "multi_thread")]
async fn gowa_names_its_devices_when_the_account_names_none() {
    let desk = Desk::open(fake::gowa::DIALECT, "").await;
    desk.fake.is(says(
        400,
        r#"{"code":"DEVICE_ID_REQUIRED","message":"device_id is required","results":[{"id":"front"},{"id":"back"}]}"#,
    ));
    let outcome = desk.send(&json!({ "to": TO, "text": "Hi" })).await;
    assert_eq!(outcome.requests[1].path, "/devices");
    // The lane says so a moment after the attempt is on record.
    until("the reason", async || {
        let message = desk.house.get(&format!("/messages/{}", outcome.message["id"].as_str().unwrap())).await;
        message["why"].as_str()?.contains("set `device` on the account to one of front, back").then_some(())
    })
    .await;
}
