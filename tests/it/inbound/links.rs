//! What gateways say of their link to WhatsApp: accounts show it, and a lane that waits for it goes on
//! when it is back, whatever the clock says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};

use super::said::{self, PHONE, evolution, waha};
use super::{Ear, text_of};
use crate::gateways::fake::{self, Checked, Dialect, Got, Mood};
use crate::support::until;

/// A gateway's words for a link that is down, and the one for a link that is up.
fn words(gateway: &str) -> (&'static [&'static str], &'static str) {
    match gateway {
        "evolution" => (&["close", "connecting", "refused"], "open"),
        _ => (&["STOPPED", "STARTING", "SCAN_QR_CODE", "FAILED", "PASSKEY_REQUIRED"], "WORKING"),
    }
}

/// How it says so.
fn status(gateway: &str, word: &str) -> Value {
    match gateway {
        "evolution" => {
            let data = json!({ "instance": "my shop", "state": word, "statusReason": 200 });
            evolution("connection.update", data)
        }
        _ => waha(gateway, "session.status", json!({ "name": "any", "status": word, "statuses": [], "data": null })),
    }
}

/// The same of another phone on the same server.
fn of_another(gateway: &str, word: &str) -> Value {
    let other = match gateway {
        "evolution" => json!({ "instance": "office" }),
        "wawp" => json!({ "instance_id": "OFFICE1" }),
        _ => json!({ "session": "office" }),
    };
    said::with(status(gateway, word), other)
}

/// The row of a gateway's documentation for a phone that is away.
fn refusal(gateway: &str) -> (u16, &'static str) {
    let rows = match gateway {
        "waha" => fake::waha::ERRORS,
        "wawp" => fake::wawp::ERRORS,
        _ => fake::evolution::ERRORS,
    };
    let (status, body, _) = rows.iter().find(|(_, _, class)| *class == "not_connected").unwrap();
    (*status, *body)
}

fn away(gateway: &str) -> Mood {
    let (status, body) = refusal(gateway);
    Mood::Says(status, vec![("content-type", "application/json".into())], Bytes::from_static(body.as_bytes()))
}

async fn tell(ear: &Ear, event: Value) {
    assert_eq!(ear.tell(&event).await, 200, "{event}");
}

async fn account(ear: &Ear) -> Value {
    ear.house.get("/accounts").await["accounts"][0].clone()
}

async fn is_paused(ear: &Ear) {
    until("the pause", async || (account(ear).await["state"] == "paused").then_some(())).await;
}

/// Promises a text; gives the message as it stands then.
async fn promise(ear: &Ear, text: &str) -> Value {
    let answer = ear.house.post("/messages", json!({ "to": PHONE, "text": text })).await;
    ear.message(text_of(&answer, "message")).await
}

/// The texts of all requests since this was last asked, of those that are looked for.
fn texts(ear: &Ear, wanted: &[&str]) -> Vec<String> {
    let requests = ear.fake.take();
    let bodies = requests.iter().map(|got| String::from_utf8_lossy(&got.body).into_owned());
    let text = |body: String| wanted.iter().find(|text| body.contains(**text)).map_or(body, |text| (*text).to_owned());
    bodies.map(text).collect()
}

async fn shows_its_link(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let gateway = ear.gateway();
    let (down, up) = words(gateway);
    assert_eq!(account(&ear).await["link"], Value::Null, "nobody said anything");
    for word in down {
        tell(&ear, status(gateway, word)).await;
        assert_eq!(account(&ear).await["link"], **word);
    }
    // What another phone does there is none of our business.
    tell(&ear, of_another(gateway, up)).await;
    assert_eq!(account(&ear).await["link"], **down.last().unwrap());
    tell(&ear, status(gateway, up)).await;
    assert_eq!(account(&ear).await["link"], Value::Null);
    tell(&ear, of_another(gateway, down[0])).await;
    assert_eq!(account(&ear).await["link"], Value::Null);
    // In its other ways of saying it.
    let other_ways = |word: &str| match gateway {
        "evolution" => said::with(status(gateway, word), json!({ "event": "CONNECTION_UPDATE" })),
        _ => waha(gateway, "session.status", json!(word)),
    };
    for (word, link) in [(down[0], json!(down[0])), (up, Value::Null)] {
        tell(&ear, other_ways(word)).await;
        assert_eq!(account(&ear).await["link"], link);
        let below = ear.tell_below("/connection-update", &status(gateway, word)).await;
        assert_eq!((below, &account(&ear).await["link"]), (200, &link));
    }
    assert_eq!(ear.runs().await, 0, "no person wrote");
}

async fn goes_on_at_once(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let gateway = ear.gateway();
    let (down, up) = words(gateway);
    let wanted = ["The first", "The second", "The third"];
    ear.fake.is(away(gateway));
    let first = ear.write(wanted[0]).await;
    is_paused(&ear).await;
    let others = [promise(&ear, wanted[1]).await, promise(&ear, wanted[2]).await];
    assert_eq!(texts(&ear, &wanted), wanted[..1], "one is enough to know");
    ear.fake.is(Mood::Strict);
    // That it is still down, or that somebody else's is up, is no reason to try.
    tell(&ear, status(gateway, down[0])).await;
    tell(&ear, of_another(gateway, up)).await;
    assert_eq!(ear.runs().await, 0);
    let paused = account(&ear).await;
    assert_eq!((texts(&ear, &wanted).len(), &paused["state"], &paused["link"]), (0, &json!("paused"), &json!(down[0])));
    tell(&ear, status(gateway, up)).await;
    for message in others.iter().chain([&first]) {
        ear.becomes(message, "accepted").await;
    }
    assert_eq!(texts(&ear, &wanted), wanted, "each once, in their order");
    let outcomes = |message: Value| -> Vec<Value> {
        message["attempts"].as_array().unwrap().iter().map(|attempt| attempt["outcome"].clone()).collect()
    };
    assert_eq!(outcomes(ear.message(text_of(&first, "id")).await), ["not_connected", "accepted"]);
    assert_eq!(outcomes(ear.message(text_of(&others[0], "id")).await), ["accepted"]);
    let ready = account(&ear).await;
    assert_eq!((&ready["state"], &ready["link"], &ready["reason"]), (&json!("ready"), &Value::Null, &Value::Null));
    // Said again, it sends nothing again.
    tell(&ear, status(gateway, up)).await;
    assert_eq!(ear.runs().await, 0);
    assert_eq!(texts(&ear, &wanted), [""; 0]);
    assert_eq!(ear.fake.faults(), [""; 0]);
}

/// A word that is older than the refusal says nothing about it: the lane waits as it does without one.
async fn waits_for_a_new_word(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let gateway = ear.gateway();
    let (down, up) = words(gateway);
    tell(&ear, status(gateway, up)).await;
    tell(&ear, status(gateway, down[0])).await;
    assert_eq!(ear.runs().await, 0);
    ear.fake.is(away(gateway));
    let message = ear.write("Hi").await;
    is_paused(&ear).await;
    assert_eq!(ear.runs().await, 0);
    assert_eq!(texts(&ear, &["Hi"]), ["Hi"], "the gateway said no, and nothing else since");
    ear.fake.is(Mood::Strict);
    tell(&ear, status(gateway, up)).await;
    ear.becomes(&message, "accepted").await;
}

each! {
    the_link_of_waha: shows_its_link waha;
    the_link_of_wawp: shows_its_link wawp;
    the_link_of_evolution: shows_its_link evolution;
    waha_comes_back: goes_on_at_once waha;
    wawp_comes_back: goes_on_at_once wawp;
    evolution_comes_back: goes_on_at_once evolution;
    an_old_word_of_waha: waits_for_a_new_word waha;
    an_old_word_of_wawp: waits_for_a_new_word wawp;
    an_old_word_of_evolution: waits_for_a_new_word evolution;
}

/// How many more requests the gateway refuses in [`the_word_may_come_while_something_is_out`].
static REFUSALS: AtomicUsize = AtomicUsize::new(0);

fn refuses_some(got: &Got) -> Checked {
    // One comes after the other.
    if REFUSALS.load(Ordering::SeqCst) == 0 {
        return (fake::waha::DIALECT.check)(got);
    }
    REFUSALS.fetch_sub(1, Ordering::SeqCst);
    let (status, body) = refusal("waha");
    Ok((status, serde_json::from_str(body).unwrap()))
}

/// The refusal was written before the link came back, and is read after it.
#[tokio::test(flavor = "multi_thread")]
async fn the_word_may_come_while_something_is_out() {
    for probes in [0, 1] {
        let ear = Ear::open(Dialect { check: refuses_some, ..fake::waha::DIALECT }).await;
        REFUSALS.store(probes + 1, Ordering::SeqCst);
        let slow = Mood::Slow(Duration::from_millis(700));
        let message = match probes {
            0 => {
                ear.fake.is(slow);
                promise(&ear, "Hi").await
            }
            _ => {
                let message = ear.write("Hi").await;
                is_paused(&ear).await;
                assert_eq!(texts(&ear, &["Hi"]), ["Hi"]);
                ear.fake.is(slow);
                ear.house.pass(Duration::from_secs(5));
                message
            }
        };
        until("it to be out", async || (texts(&ear, &["Hi"]) == ["Hi"]).then_some(())).await;
        tell(&ear, status("waha", "WORKING")).await;
        ear.becomes(&message, "accepted").await;
        assert_eq!(texts(&ear, &["Hi"]), ["Hi"], "once more, and that was all");
    }
}
