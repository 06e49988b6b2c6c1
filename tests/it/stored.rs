//! State files as earlier formats left them: they are brought up to date, and their runs go on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postrider::clock::HandClock;
use postrider::ledger::Ledger;
use postrider::store::Signals;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use crate::support::engine::House;
use crate::support::folder;

/// A file as it was left in this format.
fn stored(file: &Path, format: u32, rows: &str) -> Connection {
    let connection = Connection::open(file).unwrap();
    connection.execute_batch(rows).unwrap();
    connection.execute_batch(&format!("PRAGMA application_id = 0x706f7374; PRAGMA user_version = {format};")).unwrap();
    connection
}

/// A run that sleeps until 15:11:55 and a message that is due at 16:11:55, without the flow's file.
const FORMAT_2: &str = include_str!("stored/format-2.sql");

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_format_2_goes_on() {
    let folder = folder(&[("flows/other.yaml", "run: 1\n"), (".postrider/.keep", "")]);
    drop(stored(&folder.path().join(".postrider/state.db"), 2, FORMAT_2));
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

/// A run with an entry of every kind that there was, which sleeps until 17:00:47, and whose flow's file is gone.
const FORMAT_3: &str = include_str!("stored/format-3.sql");

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_format_3_goes_on_to_the_same_end() {
    let folder = folder(&[("flows/other.yaml", "run: 1\n"), (".postrider/.keep", "")]);
    drop(stored(&folder.path().join(".postrider/state.db"), 3, FORMAT_3));
    let clock = Arc::new(HandClock::new("2026-11-20T17:00:00Z".parse().unwrap()));
    let house = House::again(folder, clock).await;
    let run = house.get("/runs").await["runs"][0]["id"].as_str().unwrap().to_owned();
    let before = house.get(&format!("/runs/{run}")).await["entries"].as_array().unwrap().clone();
    house.pass(Duration::from_secs(60));
    // The second sleep begins when the first has ended.
    house.sleep_through(&run).await;
    let ended = house.run_is(&run, "succeeded").await;
    let after = ended["entries"].as_array().unwrap();
    assert_eq!(after[..before.len()], before[..], "what was recorded stays as it was");
    let messages = house.messages_are(4, "delivered").await;
    let texts: Vec<_> = messages.iter().filter_map(|message| message["body"]["text"].as_str()).collect();
    let id = messages.iter().find_map(|message| message["body"]["caption"].as_str()).unwrap();
    let told = texts.iter().find(|text| text.contains(id)).expect("the same `uuid()` before and after the upgrade");
    assert!(told.starts_with("delivered true ") && told.ends_with(" true"), "{told}");
    assert_eq!(texts.last(), Some(&"the end of Ada"));
    // What was sent before has its place among the ids that acks are told by.
    let hello = messages.iter().find(|message| message["body"]["text"] == "Hello Ada one 2 true 3").unwrap();
    assert_eq!(hello["provider_id"], format!("SANDBOX-{}", hello["id"].as_str().unwrap()));
}

/// A store in which so many runs wait for their time, each begun by an event of so many letters.
fn with_waiting_runs(file: &Path, count: usize, letters: usize) {
    drop(Ledger::open(file, 100, Signals::default()).unwrap());
    fill(&Connection::open(file).unwrap(), count, letters);
}

fn fill(connection: &Connection, count: usize, letters: usize) {
    let all = connection.unchecked_transaction().unwrap();
    let sql = "INSERT INTO runs (id, flow, version, trigger, state, wake_at, created_at, seed, event)
        VALUES (?, 'f', 'v', 'webhook', 2, ?, 0, zeroblob(16), ?)";
    let event = format!(r#"{{"body":"{}"}}"#, "x".repeat(letters));
    for number in 0..count {
        let id = (number as u128).to_be_bytes();
        all.execute(sql, params![id, 9_000_000_000_000_i64, event]).unwrap();
    }
    all.commit().unwrap();
}

/// Bytes that this thread has read from files so far (`proc_pid_io(5)`).
fn read_so_far() -> usize {
    let counts = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn a_start_looks_up_no_run_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    with_waiting_runs(&file, 2_000, 3_000);
    let before = read_so_far();
    drop(Ledger::open(&file, 100, Signals::default()).unwrap());
    let read = read_so_far() - before;
    assert!(read < 1_000_000, "{read} bytes were read, of 6,000,000 that the runs have");
}

#[test]
fn rows_lie_close_together_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let pages = |name: &str, runs: usize| -> i64 {
        let file = folder.path().join(name);
        with_waiting_runs(&file, runs, 1_500);
        Connection::open(&file).unwrap().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap()
    };
    let size = (pages("some.db", 1_000) - pages("none.db", 0)) * 4096;
    assert!(size < 2_500_000, "1,000 runs of 1,600 bytes take {size} bytes");
}

#[test]
fn the_manual_names_the_present_format() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    drop(Ledger::open(&file, 100, Signals::default()).unwrap());
    let connection = Connection::open(&file).unwrap();
    let format: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let manual = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md")).unwrap();
    assert!(manual.contains(&format!("The format of `state.db` is {format}.")), "it is {format}");
}

#[test]
fn a_file_that_was_brought_up_to_date_has_no_empty_room() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    fill(&stored(&file, 3, FORMAT_3), 2_000, 1_500);
    drop(Ledger::open(&file, 100, Signals::default()).unwrap());
    let connection = Connection::open(&file).unwrap();
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM runs WHERE flow = 'f' AND length(event) = 1511"), 2_000);
    let (empty, all) = (number("PRAGMA freelist_count"), number("PRAGMA page_count"));
    assert!(empty * 20 < all, "{empty} of {all} pages are empty");
}

/// A run that sleeps until 09:44:47, a value, a message on its way to a phone of the sandbox, and one from there. Each
/// table of texts has a row.
const FORMAT_10: &str = include_str!("stored/format-10.sql");

/// The rows of a table, each with what it has in which column.
fn rows_of(file: &Path, table: &str) -> Vec<BTreeMap<String, Value>> {
    let connection = Connection::open(file).unwrap();
    let mut all = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let names: Vec<String> = all.column_names().map(str::to_owned).collect();
    let row = |row: &Row<'_>| names.iter().map(|name| Ok((name.clone(), row.get(&**name)?))).collect();
    all.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_format_10_keeps_each_row_and_goes_on() {
    let folder = folder(&[("flows/other.yaml", "run: 1\n"), (".postrider/.keep", "")]);
    let file = folder.path().join(".postrider/state.db");
    drop(stored(&file, 10, FORMAT_10));
    let tables = ["versions", "runs", "journal", "messages", "kv", "phones", "incoming"];
    let before = tables.map(|table| rows_of(&file, table));
    assert!(before.iter().all(|rows| !rows.is_empty()));
    drop(Ledger::open(&file, 100, Signals::default()).unwrap());
    assert_eq!(tables.map(|table| rows_of(&file, table)), before);
    let clock = Arc::new(HandClock::new("2026-12-01T09:00:00Z".parse().unwrap()));
    let house = House::again(folder, clock).await;
    house.pass(Duration::from_secs(3600));
    let messages = house.messages_are(2, "delivered").await;
    let texts: Vec<_> = messages.iter().filter_map(|message| message["body"]["text"].as_str()).collect();
    assert_eq!(texts, ["Hello Ada", "Still 7"]);
}
