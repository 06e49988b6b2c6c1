//! Values of flows and of the workspace: whose they are, how long they live, and that turns write them whole.

use postrider::model::journal::{KvWrite, TurnCommit};
use postrider::store::records::Committed;
use serde_json::{Value, json};

use super::{Ledger, at, ends, ms, run, turn};

fn write(shared: bool, key: &str, value: Option<Value>, until: Option<i64>) -> KvWrite {
    KvWrite { shared, key: key.into(), value, expires_at: until.map(ms) }
}

/// A turn of a new run of a flow that writes values.
async fn writes(ledger: &Ledger, number: u8, flow: &str, kv: Vec<KvWrite>) {
    ledger.intake(postrider::model::run::NewRun { flow: flow.into(), ..run(number) }).await.unwrap();
    let mut whole = TurnCommit { flow: flow.into(), ..turn(number, ends()) };
    whole.promises.kv = kv;
    assert!(matches!(ledger.commit(whole).await, Committed::Yes { .. }));
}

#[tokio::test]
async fn values_belong_to_a_flow_or_to_the_workspace() {
    let ledger = Ledger::new();
    writes(&ledger, 1, "flow", vec![write(false, "k", Some(json!(1)), None), write(true, "k", Some(json!(2)), None)])
        .await;
    writes(&ledger, 2, "other", vec![write(false, "k", Some(json!({ "a": [null, "ü"] })), None)]).await;
    let ledger = ledger.again();
    for (flow, wanted) in
        [("flow", Some(json!(1))), ("other", Some(json!({ "a": [null, "ü"] }))), ("", Some(json!(2))), ("third", None)]
    {
        assert_eq!(ledger.kv_get(flow, "k", at(9)).await.unwrap(), wanted, "{flow}");
        assert_eq!(ledger.kv_keys(flow, "", at(9)).await.unwrap().len(), usize::from(wanted.is_some()));
    }
}

#[tokio::test]
async fn what_is_written_later_counts_and_what_is_deleted_is_gone() {
    let ledger = Ledger::new();
    let set = |key: &str, value: i64| write(false, key, Some(json!(value)), None);
    writes(&ledger, 1, "flow", vec![set("a", 1), set("b", 1), set("a", 2), write(false, "b", None, None)]).await;
    let get = async |key: &str| ledger.kv_get("flow", key, at(9)).await.unwrap();
    assert_eq!((get("a").await, get("b").await), (Some(json!(2)), None));
    writes(&ledger, 2, "flow", vec![write(false, "a", None, None), set("b", 3), write(false, "never", None, None)])
        .await;
    assert_eq!((get("a").await, get("b").await), (None, Some(json!(3))));
    assert_eq!(ledger.kv_keys("flow", "", at(9)).await.unwrap(), ["b"]);
}

#[tokio::test]
async fn a_value_lives_until_its_time_and_a_later_one_as_long_as_that_says() {
    let ledger = Ledger::new();
    writes(&ledger, 1, "flow", vec![write(false, "k", Some(json!(1)), Some(10))]).await;
    let alive = async |second| ledger.kv_get("flow", "k", at(second)).await.unwrap().is_some();
    assert!(alive(9).await && !alive(10).await && !alive(11).await);
    assert!(ledger.kv_keys("flow", "k", at(10)).await.unwrap().is_empty());
    writes(&ledger, 2, "flow", vec![write(false, "k", Some(json!(2)), None)]).await;
    assert!(alive(1_000_000).await, "for ever");
    writes(&ledger, 3, "flow", vec![write(false, "k", Some(Value::Null), Some(30))]).await;
    assert_eq!(ledger.kv_get("flow", "k", at(29)).await.unwrap(), Some(Value::Null), "nothing is a value too");
}

#[tokio::test]
async fn keys_are_listed_by_their_beginning_and_sorted() {
    let ledger = Ledger::new();
    let names = ["b/2", "a%", "b/1", "a_", "b", "A", "ä", "b/10", "ab"];
    writes(&ledger, 1, "flow", names.iter().map(|name| write(false, name, Some(json!(1)), None)).collect()).await;
    for (prefix, wanted) in [
        ("", &["A", "a%", "a_", "ab", "b", "b/1", "b/10", "b/2", "ä"][..]),
        ("b/", &["b/1", "b/10", "b/2"]),
        ("a", &["a%", "a_", "ab"]),
        ("a%", &["a%"]),
        ("a_", &["a_"]),
        ("B", &[]),
    ] {
        assert_eq!(ledger.kv_keys("flow", prefix, at(9)).await.unwrap(), wanted, "{prefix}");
    }
}

#[tokio::test]
async fn a_sum_of_what_has_expired_begins_anew() {
    use postrider::model::question::Question;
    let ledger = Ledger::new();
    writes(&ledger, 1, "flow", vec![write(false, "n", Some(json!(40)), Some(0))]).await;
    ledger
        .waits(
            2,
            Question::Change(postrider::model::question::Change::Increment {
                shared: false,
                key: "n".into(),
                by: 2.into(),
            }),
        )
        .await;
    // The turn was at second 1.
    assert_eq!(ledger.kv_get("flow", "n", at(1)).await.unwrap(), Some(json!(2)));
}
