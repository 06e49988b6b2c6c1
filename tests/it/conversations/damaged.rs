//! A state file that is damaged in one run's rows: that run says so, and the others go on.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::ask::{ADA, ASK, BOB, HEARD, NAP, asked, asks, heard, on_phone, pass, result, said, writes};
use crate::support::engine::House;

/// Stops the engine, writes into its state file, and starts it again.
async fn spoil(house: House, sql: &str, run: &str) -> House {
    let (folder, clock) = house.down().await;
    let connection = Connection::open(folder.path().join(".postrider/state.db")).unwrap();
    let id = uuid_of(run);
    assert!(connection.execute(sql, [id.as_slice()]).unwrap() > 0, "nothing was spoilt");
    drop(connection);
    House::again(folder, clock).await
}

fn uuid_of(run: &str) -> Vec<u8> {
    use postrider::id::RunId;
    run.parse::<RunId>().unwrap().as_bytes().to_vec()
}

async fn says_so(house: &House, run: &str) -> Value {
    let run = house.run_is(run, "failed").await;
    assert_eq!(run["error"]["kind"], "damaged", "{run}");
    run
}

const PENDING: &str = "UPDATE runs SET pending = '{\"position' WHERE id = ?";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_question_cannot_be_read_stops_no_other() {
    let house = House::open(&[NAP, HEARD]).await;
    let bad = house.trigger("nap", json!("1h")).await;
    let good = house.trigger("nap", json!("1h")).await;
    for run in [&bad, &good] {
        house.run_is(run, "waiting").await;
    }
    let house = spoil(house, PENDING, &bad).await;
    pass(&house, 60).await;
    house.run_is(&good, "succeeded").await;
    says_so(&house, &bad).await;
    // By hand it is asked anew.
    house.post(&format!("/runs/{bad}/retry"), json!({})).await;
    house.run_is(&bad, "succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_may_ask_that_person_meanwhile() {
    let flow = "run: |\n  ask(event.data.to, \"Ok?\", #{ account: event.data.account })\n";
    let house = House::open(&[("flows/by.yaml", flow), super::ask::TWO]).await;
    let bad = house.trigger("by", json!({ "to": ADA, "account": "sandbox" })).await;
    said(&house, &bad, 1).await;
    let house = spoil(house, PENDING, &bad).await;
    let good = house.trigger("by", json!({ "to": ADA, "account": "second" })).await;
    said(&house, &good, 1).await;
    house.post("/sandbox/messages", json!({ "account": "second", "from": ADA, "text": "yes" })).await;
    assert_eq!(result(&house, &good).await["text"], "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_was_asked_by_it_can_be_asked_by_others() {
    let house = House::open(&[ASK, NAP, HEARD]).await;
    let bad = asked(&house, ADA, "One?", json!({ "choices": ["a", "b"], "timeout": "1h" })).await;
    let next = asks(&house, ADA, "Two?", json!({ "timeout": "10h" })).await;
    let other = asked(&house, BOB, "Three?", json!({ "timeout": "10h" })).await;
    let house = spoil(house, PENDING, &bad).await;
    writes(&house, BOB, "three").await;
    assert_eq!(result(&house, &other).await["text"], "three");
    writes(&house, ADA, "a").await;
    says_so(&house, &bad).await;
    said(&house, &next, 1).await;
    let mut questions = on_phone(&house, ADA).await;
    questions.sort();
    assert_eq!(questions, ["One?\n1. a\n2. b", "Two?"]);
    writes(&house, ADA, "two").await;
    assert_eq!(result(&house, &next).await["text"], "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_in_its_chat_waits_for_its_end_though_its_account_cannot_be_read() {
    let house = House::open(&[ASK]).await;
    let bad = asked(&house, ADA, "One?", json!({ "timeout": "1h" })).await;
    let house = spoil(house, "UPDATE listening SET account = x'00' WHERE run = ?", &bad).await;
    let next = asks(&house, ADA, "Two?", json!({ "timeout": "1h" })).await;
    let next = house.run_is(&next, "waiting").await;
    assert!(next["waiting_for"]["detail"].as_str().unwrap().starts_with("the end of another question"), "{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_for_its_turn_to_ask_is_passed_over() {
    let house = House::open(&[ASK, NAP]).await;
    let first = asked(&house, ADA, "One?", json!({ "timeout": "10h" })).await;
    let bad = asks(&house, ADA, "Two?", json!({ "timeout": "10h" })).await;
    house.pass(Duration::from_secs(1));
    let last = asks(&house, ADA, "Three?", json!({ "timeout": "10h" })).await;
    let house = spoil(house, PENDING, &bad).await;
    writes(&house, ADA, "one").await;
    assert_eq!(result(&house, &first).await["text"], "one");
    says_so(&house, &bad).await;
    said(&house, &last, 1).await;
    writes(&house, ADA, "three").await;
    assert_eq!(result(&house, &last).await["text"], "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_journal_cannot_be_read_says_so() {
    let flow = "run: |\n  log::info(\"before\");\n  sleep(event.data);\n";
    let house = House::open(&[("flows/nap.yaml", flow)]).await;
    let bad = house.trigger("nap", json!("1h")).await;
    let good = house.trigger("nap", json!("1h")).await;
    for run in [&bad, &good] {
        house.run_is(run, "waiting").await;
    }
    let house = spoil(house, "UPDATE journal SET entries = '[{' WHERE run = ?", &bad).await;
    pass(&house, 60).await;
    house.run_is(&good, "succeeded").await;
    let listed = house.get("/runs?state=failed").await;
    assert_eq!(listed["runs"][0]["error"]["kind"], "damaged", "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_time_cannot_be_read_makes_way_for_the_next_in_its_chat() {
    let house = House::open(&[ASK, NAP]).await;
    let bad = asked(&house, ADA, "One?", json!({ "timeout": "1h", "remind": "30m" })).await;
    let next = asks(&house, ADA, "Two?", json!({ "timeout": "10h" })).await;
    let house = spoil(house, "UPDATE listening SET deadline = 'x' WHERE run = ?", &bad).await;
    pass(&house, 31).await;
    says_so(&house, &bad).await;
    said(&house, &next, 1).await;
    writes(&house, ADA, "two").await;
    assert_eq!(result(&house, &next).await["text"], "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_in_its_chat_is_heard_by_others() {
    for spoilt in ["deadline = 'x'", "reminded = 'x'", "place = 'x'", "asks = 'x'"] {
        let house = House::open(&[ASK, NAP, HEARD]).await;
        let bad = asked(&house, ADA, "One?", json!({ "timeout": "10h" })).await;
        let house = spoil(house, &format!("UPDATE listening SET {spoilt} WHERE run = ?"), &bad).await;
        writes(&house, ADA, "first").await;
        writes(&house, ADA, "second").await;
        let texts = heard(&house, "heard").await;
        assert!(texts.contains(&"second".to_owned()), "{spoilt}: {texts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_forgotten_though_something_beside_cannot_be_read() {
    let house = House::open(&[ASK, NAP, HEARD]).await;
    let bad = asked(&house, ADA, "One?", json!({ "timeout": "10h" })).await;
    writes(&house, BOB, "hello").await;
    writes(&house, ADA, "mine").await;
    house.run_is(&bad, "succeeded").await;
    let house = spoil(house, "UPDATE incoming SET event = '{' WHERE ? IS NOT NULL", &bad).await;
    let house = spoil(house, "UPDATE messages SET body = '{' WHERE run = ?", &bad).await;
    let answer = house.post("/forget", json!({ "recipient": ADA })).await;
    assert_eq!(answer["messages"].as_u64().map(|count| count > 0), Some(true), "{answer}");
    let left = house.get("/messages?limit=1000").await;
    assert_eq!(left["messages"], json!([]), "what cannot be read is erased all the same");
}
