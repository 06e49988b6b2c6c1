//! State files as earlier formats left them: they are brought up to date, and their runs go on.

use std::sync::Arc;
use std::time::Duration;

use postrider::clock::HandClock;
use rusqlite::Connection;

use crate::support::engine::House;
use crate::support::folder;

/// A run that sleeps until 15:11:55 and a message that is due at 16:11:55, without the flow's file.
const FORMAT_2: &str = include_str!("stored/format-2.sql");

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_format_2_goes_on() {
    let folder = folder(&[("flows/other.yaml", "run: 1\n"), (".postrider/.keep", "")]);
    let file = folder.path().join(".postrider/state.db");
    let connection = Connection::open(&file).unwrap();
    connection.execute_batch(FORMAT_2).unwrap();
    connection.execute_batch("PRAGMA application_id = 0x706f7374; PRAGMA user_version = 2;").unwrap();
    drop(connection);
    let clock = Arc::new(HandClock::new("2026-11-20T14:12:00Z".parse().unwrap()));
    let house = House::again(folder, clock).await;
    house.messages_are(1, "scheduled").await;
    house.pass(Duration::from_secs(3600));
    let messages = house.messages_are(1, "delivered").await;
    assert_eq!(messages.len(), 2);
    house.pass(Duration::from_secs(3600));
    let messages = house.messages_are(2, "delivered").await;
    let texts: Vec<_> = messages.iter().map(|message| message["body"]["text"].clone()).collect();
    assert_eq!(texts, ["Hello Ada", "Are you still there?"]);
    let run = messages[0]["run"].as_str().unwrap();
    house.run_is(run, "succeeded").await;
}
