//! What is wrong in one row of the state file stays with that row; what the engine cannot do without and has
//! ended, ends the engine with the reason.

use std::time::Duration;

use reqwest::Method;
use rusqlite::Connection;
use serde_json::json;

use crate::support::engine::{House, start, workspace};
use crate::support::mortal::{Coroner, Fault, Moment};
use crate::support::{folder, until};
use postrider::app::open_store;
use postrider::clock::HandClock;

const NAP: (&str, &str) = ("flows/nap.yaml", "run: |\n  sleep(event.data);\n  \"awake\"\n");
const LATER: (&str, &str) =
    ("flows/later.yaml", "run: |\n  send_text(\"+1 541-754-3010\", event.data, #{ at: \"1h\" }).id\n");

/// What no engine has written: half a text, bytes, numbers, another kind.
const JUNK: [&str; 9] =
    ["'{\"positio'", "''", "x'ff00fe'", "17", "-1", "9223372036854775807", "1.5", "'[[[[]]]]'", "NULL"];

const OF_RUNS: [&str; 16] = [
    "flow",
    "version",
    "trigger",
    "state",
    "ready",
    "wake_at",
    "attempt",
    "cpu",
    "base_at",
    "created_at",
    "started_at",
    "seed",
    "event",
    "pending",
    "waiting",
    "error",
];
const OF_MESSAGES: [&str; 17] = [
    "run",
    "flow",
    "account",
    "recipient",
    "state",
    "seq",
    "due_at",
    "expires_at",
    "tries",
    "waited",
    "created_at",
    "changed_at",
    "key",
    "body",
    "attempts",
    "provider_id",
    "error",
];

/// Each pair of a column and junk that the schema lets in, written into a row of its own.
fn spoil(folder: &std::path::Path, table: &str, columns: &[&str], ids: &[Vec<u8>]) -> usize {
    let connection = Connection::open(folder.join(".postrider/state.db")).unwrap();
    let pairs = columns.iter().flat_map(|column| JUNK.iter().map(move |junk| (column, junk)));
    let mut ids = ids.iter();
    let mut spoilt = 0;
    for (column, junk) in pairs {
        let sql = format!("UPDATE {table} SET {column} = {junk} WHERE id = ?");
        let Some(id) = ids.as_slice().first() else { panic!("too few rows for all pairs") };
        if connection.execute(&sql, [id.as_slice()]).is_ok_and(|changed| changed == 1) {
            ids.next();
            spoilt += 1;
        }
    }
    spoilt
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_in_the_row_of_a_run_stops_the_others() {
    let house = House::open(&[NAP]).await;
    let most = OF_RUNS.len() * JUNK.len();
    let mut naps = Vec::new();
    for _ in 0..=most {
        naps.push(house.trigger("nap", json!("1h")).await);
    }
    for nap in &naps {
        house.run_is(nap, "waiting").await;
    }
    let (good, bad) = naps.split_first().unwrap();
    let ids = |run: &String| run.parse::<postrider::id::RunId>().unwrap().as_bytes().to_vec();
    let bad_ids: Vec<_> = bad.iter().map(ids).collect();
    let (folder, clock) = house.down().await;
    let spoilt = spoil(folder.path(), "runs", &OF_RUNS, &bad_ids);
    assert!(spoilt > most / 2, "{spoilt}");
    let house = House::again(folder, clock).await;
    // A new one goes through, and the old one wakes.
    let new = house.trigger("nap", json!("1h")).await;
    house.run_is(&new, "waiting").await;
    house.pass(Duration::from_secs(3_601));
    for run in [good, &new] {
        assert_eq!(house.run_is(run, "succeeded").await["result"], "awake");
    }
    // Also those that nothing was done to.
    for run in &bad[spoilt..] {
        house.run_is(run, "succeeded").await;
    }
    all_are_shown(&house, "runs", naps.len() + 1, &bad[..spoilt]).await;
    for run in &bad[..spoilt] {
        let (status, said) = house.api(Method::POST, &format!("/runs/{run}/cancel"), Some(json!({}))).await;
        assert!(status == 200 || status == 409, "{run}: {status} {said}");
    }
    let last = house.trigger("nap", json!("1ms")).await;
    until("the last run to be over", async || {
        house.pass(Duration::from_secs(1));
        (house.get(&format!("/runs/{last}")).await["state"] == "succeeded").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_in_the_row_of_a_message_stops_the_others() {
    let house = House::open(&[NAP, LATER]).await;
    let most = OF_MESSAGES.len() * JUNK.len();
    let mut messages = Vec::new();
    for number in 0..=most {
        let run = house.trigger("later", json!(format!("number {number}"))).await;
        let id = house.run_is(&run, "succeeded").await["result"].as_str().unwrap().to_owned();
        messages.push(id);
    }
    let (good, bad) = messages.split_first().unwrap();
    let ids = |message: &String| message.parse::<postrider::id::MessageId>().unwrap().as_bytes().to_vec();
    let bad_ids: Vec<_> = bad.iter().map(ids).collect();
    let (folder, clock) = house.down().await;
    let spoilt = spoil(folder.path(), "messages", &OF_MESSAGES, &bad_ids);
    assert!(spoilt > most / 2, "{spoilt}");
    let house = House::again(folder, clock).await;
    house.pass(Duration::from_secs(3_601));
    let whole: Vec<&String> = std::iter::once(good).chain(&bad[spoilt..]).collect();
    for message in whole {
        until(&format!("message {message} to be sent"), async || {
            house.pass(Duration::from_millis(200));
            let record = house.get(&format!("/messages/{message}")).await;
            matches!(record["state"].as_str(), Some("sent" | "delivered" | "read")).then_some(())
        })
        .await;
    }
    all_are_shown(&house, "messages", messages.len(), &bad[..spoilt]).await;
}

/// Runs and messages are read in pages: what cannot be addressed must not make a page look like the last.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_hides_nobody_behind_it() {
    for id in ["x'00'", "'no id of ours..'"] {
        let house = House::open(&[NAP, LATER]).await;
        let (mut naps, mut messages) = (Vec::new(), Vec::new());
        for _ in 0..140 {
            naps.push(house.trigger("nap", json!("1h")).await);
            let run = house.trigger("later", json!("x")).await;
            messages.push(house.run_is(&run, "succeeded").await["result"].as_str().unwrap().to_owned());
        }
        for nap in &naps {
            house.run_is(nap, "waiting").await;
        }
        // The first of each in the order of their ids is spoilt.
        naps.sort();
        messages.sort();
        let (folder, clock) = house.down().await;
        let connection = Connection::open(folder.path().join(".postrider/state.db")).unwrap();
        for sql in [
            "UPDATE runs SET ready = wake_at + (SELECT count(*) FROM runs other WHERE other.id < runs.id),
                wake_at = NULL WHERE state = 2",
            "UPDATE messages SET state = 1, due_at = NULL,
                seq = 1 + (SELECT count(*) FROM messages other WHERE other.id < messages.id)",
            &format!("UPDATE runs SET id = {id} WHERE id = (SELECT min(id) FROM runs WHERE state = 2)"),
            &format!("UPDATE messages SET id = {id} WHERE id = (SELECT min(id) FROM messages)"),
        ] {
            assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
        }
        drop(connection);
        let house = House::again(folder, clock).await;
        for nap in &naps[1..] {
            house.run_is(nap, "succeeded").await;
        }
        until("all other messages to be sent", async || {
            house.pass(Duration::from_secs(1));
            let mut left = 0;
            for message in &messages[1..] {
                left += usize::from(house.get(&format!("/messages/{message}")).await["state"] == "queued");
            }
            (left == 0).then_some(())
        })
        .await;
    }
}

/// A service looks again when there is something to do, not because there was nothing that it could do.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_brings_nothing_about_is_not_come_back_to_for_ever() {
    for spoilt in ["state = 99", "state = 4", "ready = 5, version = ''", "id = x'00'"] {
        let house = House::open(&[NAP]).await;
        let nap = house.trigger("nap", json!("1h")).await;
        house.run_is(&nap, "waiting").await;
        let (folder, clock) = house.down().await;
        let connection = Connection::open(folder.path().join(".postrider/state.db")).unwrap();
        assert_eq!(connection.execute(&format!("UPDATE runs SET {spoilt}"), []).unwrap(), 1);
        drop(connection);
        let coroner = Coroner::default();
        let opener = coroner.open(open_store(&workspace(folder.path())), None);
        let house = House::with(folder, clock, opener).await;
        house.pass(Duration::from_secs(3_601));
        let next = house.trigger("nap", json!("1h")).await;
        house.run_is(&next, "waiting").await;
        house.pass(Duration::from_secs(3_601));
        house.run_is(&next, "succeeded").await;
        // So often, at most, for some ten changes of what there is to wait for.
        let looks = coroner.calls()["wake_runs"];
        assert!(looks < 40, "{spoilt}: {looks} looks");
    }
}

/// The list has them all, and each can be looked at: it says what it is, or what is wrong with it.
async fn all_are_shown(house: &House, what: &str, count: usize, ids: &[String]) {
    let list = house.get(&format!("/{what}?limit=1000")).await;
    let there = list[what].as_array().map_or(0, Vec::len);
    assert_eq!(there, count, "of {what}");
    for id in ids {
        let (status, said) = house.api(Method::GET, &format!("/{what}/{id}"), None).await;
        assert!(status == 200 && said["id"] == *id, "{id}: {status} {said}");
    }
}

/// A service that breaks down does not leave an engine behind that only looks alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_breaks_down_ends_the_engine_with_the_reason() {
    let folder = folder(&[NAP]);
    let fault = Fault { method: "wake_runs", nth: 1, moment: Moment::Called };
    let opener = Coroner::default().shake(open_store(&workspace(folder.path())), fault);
    let house = House::with(folder, std::sync::Arc::new(HandClock::new(start())), opener).await;
    let reason = tokio::time::timeout(Duration::from_secs(20), house.engine.broken()).await;
    assert_eq!(reason.unwrap(), "the clock of runs broke down though nobody had asked for it");
}
