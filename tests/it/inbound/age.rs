//! How old what is told may be: what somebody has kept for longer than ids are remembered, or dates ahead,
//! starts nothing and settles nothing.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::said::{self, NOW};
use super::{Ear, TALKING, text_of};
use crate::gateways::fake::{self, Dialect, Mood};

const DAY: i64 = 86_400;

/// A text dated so many seconds after the test's beginning; none where no time is told.
fn dated(gateway: &str, bare: &str, after: i64) -> Option<Value> {
    let mut event = said::text(gateway, bare, "Hi");
    let at = NOW + after;
    let (place, time) = match gateway {
        "gowa" => ("/payload/timestamp", json!(Timestamp::from_second(at).unwrap().to_string())),
        "wapim" => ("/timestamp", json!(at)),
        "waha" | "wawp" => ("/payload/timestamp", json!(at)),
        "meta" => ("/entry/0/changes/0/value/messages/0/timestamp", json!(at.to_string())),
        "evolution" => ("/data/messageTimestamp", json!(at)),
        _ => return None,
    };
    *event.pointer_mut(place).unwrap() = time;
    Some(event)
}

async fn only_what_is_recent_counts(dialect: Dialect) {
    let ear = Ear::open(dialect).await;
    let told = [
        ("OLD0", -8 * DAY),
        ("OLD1", -7 * DAY - 60),
        ("OLD2", -30 * DAY),
        ("OLD3", -NOW),
        ("NEW1", DAY + 60),
        ("NEW2", 3_650 * DAY),
    ];
    for (bare, after) in told {
        let Some(event) = dated(dialect.name, bare, after) else { return };
        // The gateway is not told to come again.
        assert_eq!(ear.tell(&event).await, 200, "{} {bare}", dialect.name);
    }
    assert_eq!(ear.runs().await, 0, "{}", dialect.name);
    // A gateway that was away for a week tells what came meanwhile; clocks may be wrong by a day.
    for (bare, after) in [("FINE0", -7 * DAY + 60), ("FINE1", -3 * DAY), ("FINE2", DAY - 60)] {
        assert_eq!(ear.tell(&dated(dialect.name, bare, after).unwrap()).await, 200);
    }
    assert_eq!(ear.runs().await, 3, "{}", dialect.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_another_time_start_nothing() {
    for dialect in TALKING {
        only_what_is_recent_counts(dialect).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_kept_starts_no_second_run() {
    for dialect in TALKING {
        // From the past, from now, and by a clock that is a day ahead.
        for after in [-6 * DAY, 0, DAY - 60] {
            let ear = Ear::open(dialect).await;
            let Some(event) = dated(dialect.name, "KEPT", after) else { continue };
            for days in 0..10 {
                assert_eq!(ear.tell(&event).await, 200);
                // What is told besides lets the store forget what is old.
                assert_eq!(ear.tell(&dated(dialect.name, "OTHER", days * DAY).unwrap()).await, 200);
                ear.house.pass(Duration::from_secs(DAY as u64));
            }
            let kept = said::id(dialect.name, "KEPT");
            ear.event(&kept).await;
            let mut count = 0;
            for run in ear.house.runs_of("echo").await {
                let run = ear.house.get(&format!("/runs/{}", text_of(&run, "id"))).await;
                count += usize::from(run["event"]["message_id"] == kept.as_str());
            }
            assert_eq!(count, 1, "{} {after}", dialect.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_echo_settles_no_doubt() {
    let ear = Ear::open(fake::gowa::DIALECT).await;
    ear.fake.is(Mood::Breaks);
    let message = ear.write("Your order is ready").await;
    assert_eq!(message["state"], "unknown", "{message}");
    ear.fake.is(Mood::Strict);
    let echo = |id: &str, at: &str| {
        said::gowa_message(
            id,
            json!({ "from": "628123456789@s.whatsapp.net", "is_from_me": true, "body": "Your order is ready",
                "timestamp": at }),
        )
    };
    assert_eq!(ear.tell(&echo("3EB0AA", "2026-10-20T07:00:00Z")).await, 200);
    assert_eq!(ear.message(text_of(&message, "id")).await["state"], "unknown");
    assert_eq!(ear.tell(&echo("3EB0BB", "2026-11-20T07:00:00Z")).await, 200);
    ear.becomes(&message, "sent").await;
}
