//! What runs emit, and who gets it.

use postrider::model::journal::{Digest, Emitted, TurnCommit};
use postrider::model::question::Question;
use postrider::store::records::{Committed, RunDecided};
use serde_json::{Value, json};

use super::{Ledger, asks, at, ends, fails, is_yes, ms, run_id, sleeps, turn};

fn waits(name: &str, key: Option<&str>, got: &[i64], until: Option<i64>) -> Question {
    Question::Wait(postrider::model::question::Wait::Event {
        name: name.into(),
        key: key.map(str::to_owned),
        after: 0,
        got: got.to_vec(),
        until,
    })
}

fn emitted(position: u32, name: &str, key: Option<&str>, data: &str) -> Emitted {
    let mark = Digest::of(&format!("{name} {data}"));
    Emitted { position, mark, name: name.into(), key: key.map(str::to_owned), data: json!(data) }
}

/// A turn that emits.
fn emits(number: u8, events: Vec<Emitted>) -> TurnCommit {
    let mut turn = turn(number, ends());
    turn.promises.events = events;
    turn
}

/// What a run was told, and the number of it.
async fn told(ledger: &Ledger, number: u8) -> Option<(Value, i64)> {
    let answer = ledger.ready(number).await?.answer?.unwrap();
    Some((answer["data"].clone(), answer["number"].as_i64().unwrap()))
}

async fn data(ledger: &Ledger, number: u8) -> Option<Value> {
    told(ledger, number).await.map(|(data, _)| data)
}

#[tokio::test]
async fn names_and_keys_decide_who_gets_an_event() {
    let ledger = Ledger::new();
    ledger.begin(9).await;
    for (number, (name, key)) in
        (1..).zip([("paid", None), ("paid", Some("A")), ("paid", Some("B")), ("lost", None), ("lost", Some("A"))])
    {
        ledger.waits(number, waits(name, key, &[], None)).await;
    }
    assert!(is_yes(&ledger.commit(emits(9, vec![emitted(0, "paid", Some("A"), "x")])).await));
    let mut got = Vec::new();
    for number in 1..=5 {
        got.push(data(&ledger, number).await);
    }
    assert_eq!(got, [Some(json!("x")), Some(json!("x")), None, None, None]);
    let waiting = ledger.run(run_id(3)).await.unwrap().unwrap().waiting_for.unwrap();
    assert_eq!((waiting.kind.as_str(), waiting.until), ("event", None));
}

#[tokio::test]
async fn an_event_without_a_key_is_for_those_who_wait_without_one() {
    let ledger = Ledger::new();
    ledger.begin(9).await;
    ledger.waits(1, waits("paid", None, &[], None)).await;
    ledger.waits(2, waits("paid", Some("A"), &[], None)).await;
    ledger.commit(emits(9, vec![emitted(0, "paid", None, "x")])).await;
    assert_eq!((data(&ledger, 1).await, data(&ledger, 2).await), (Some(json!("x")), None));
}

#[tokio::test]
async fn an_event_that_comes_before_the_line_is_not_lost_and_comes_in_order() {
    let ledger = Ledger::new();
    ledger.begin(1).await;
    for (emitter, word) in [(8, "first"), (9, "second")] {
        ledger.begin(emitter).await;
        ledger.commit(emits(emitter, vec![emitted(0, "paid", None, word)])).await;
    }
    let ledger = ledger.again();
    ledger.commit(turn(1, asks(waits("paid", None, &[], None)))).await;
    let (word, number) = told(&ledger, 1).await.unwrap();
    assert_eq!(word, "first");
    ledger.commit(turn(1, asks(waits("paid", None, &[number], None)))).await;
    let (word, second) = told(&ledger, 1).await.unwrap();
    assert!(word == "second" && second > number);
    let behind = Question::Wait(postrider::model::question::Wait::Event {
        name: "paid".into(),
        key: None,
        after: second,
        got: Vec::new(),
        until: None,
    });
    ledger.commit(turn(1, asks(behind))).await;
    assert_eq!(told(&ledger, 1).await, None, "each comes once");
    ledger.begin(10).await;
    ledger.commit(emits(10, vec![emitted(0, "paid", None, "third"), emitted(1, "paid", None, "fourth")])).await;
    assert_eq!(data(&ledger, 1).await, Some(json!("third")), "the wait that was open gets the next one only");
}

#[tokio::test]
async fn its_own_events_a_run_does_not_get() {
    let ledger = Ledger::new();
    ledger.begin(1).await;
    let mut own = turn(1, asks(waits("paid", None, &[], None)));
    own.promises.events = vec![emitted(0, "paid", None, "own")];
    ledger.commit(own).await;
    assert_eq!(told(&ledger, 1).await, None);
    ledger.begin(2).await;
    ledger.commit(emits(2, vec![emitted(0, "paid", None, "other")])).await;
    assert_eq!(data(&ledger, 1).await, Some(json!("other")));
}

#[tokio::test]
async fn a_wait_for_an_event_ends_by_its_time() {
    let ledger = Ledger::new();
    ledger.waits(1, waits("paid", None, &[], Some(ms(60)))).await;
    ledger.waits(2, waits("paid", None, &[], None)).await;
    assert_eq!(ledger.wake_runs(at(59)).await.unwrap().next, Some(at(60)));
    let woken = ledger.wake_runs(at(60)).await.unwrap();
    assert_eq!((woken.count, woken.next), (1, None));
    assert_eq!(ledger.ready(1).await.unwrap().answer.unwrap_or(Ok(Value::Null)), Ok(Value::Null));
    ledger.begin(9).await;
    ledger.commit(emits(9, vec![emitted(0, "paid", None, "late")])).await;
    assert_eq!(ledger.ready(1).await.unwrap().answer.unwrap_or(Ok(Value::Null)), Ok(Value::Null), "said is said");
    assert_eq!(data(&ledger, 2).await, Some(json!("late")));
}

#[tokio::test]
async fn a_turn_that_does_not_count_emits_nothing() {
    let ledger = Ledger::new();
    ledger.waits(1, waits("paid", None, &[], None)).await;
    ledger.begin(2).await;
    let stale = TurnCommit { ready: 999, ..emits(2, vec![emitted(0, "paid", None, "x")]) };
    assert_eq!(ledger.commit_turn(stale).await.unwrap(), Committed::Stale);
    assert_eq!(ledger.cancel_run(run_id(2), at(2)).await.unwrap(), RunDecided::Done);
    assert_eq!(ledger.commit(emits(2, vec![emitted(0, "paid", None, "x")])).await, Committed::Over);
    assert_eq!(told(&ledger, 1).await, None);
}

#[tokio::test]
async fn the_same_promise_is_one_event() {
    let ledger = Ledger::new();
    ledger.begin(1).await;
    ledger.begin(2).await;
    let both = |outcome| {
        let mut turn = turn(2, outcome);
        turn.promises.events = vec![emitted(0, "paid", None, "x")];
        turn
    };
    ledger.commit(both(sleeps(10))).await;
    // Another attempt takes the same way.
    ledger.wake_runs(at(10)).await.unwrap();
    ledger.commit(both(fails())).await;
    ledger.commit(turn(1, asks(waits("paid", None, &[], None)))).await;
    let (_, number) = told(&ledger, 1).await.unwrap();
    ledger.commit(turn(1, asks(waits("paid", None, &[number], None)))).await;
    assert_eq!(told(&ledger, 1).await, None);
}
