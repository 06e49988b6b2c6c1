//! What every store must do. A backend passes by opening itself in `open`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postrider::clock::after;
use postrider::id::{MessageId, RunId};
use postrider::ledger::Ledger;
use postrider::model::delivery::MessageState;
use postrider::model::journal::{Digest, Emitted, Kind, KvWrite, Outcome, Pending, Promises, TurnCommit};
use postrider::model::message::{Body, Content, NewMessage, SendOptions};
use postrider::model::question::{Change, Question, Wait};
use postrider::model::recipient::Recipient;
use postrider::model::run::{NewRun, RunState, ScriptError};
use postrider::store::records::*;
use postrider::store::{Signals, Store, StoreError};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempDir;

fn open(folder: &TempDir) -> Arc<dyn Store> {
    Arc::new(Ledger::open(&folder.path().join("state.db"), 3, Signals::default()).unwrap())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn run(number: u8) -> NewRun {
    NewRun {
        id: RunId::from_bytes([number; 16]),
        flow: "flow".into(),
        version: "v1".into(),
        trigger: "manual".into(),
        root: None,
        generation: 0,
        marks: Vec::new(),
        slot: None,
        event: json!({ "n": number }).to_string().into(),
        seed: [number; 16],
        at: at(0),
    }
}

fn message(number: u8, to: &str) -> NewMessage {
    NewMessage {
        id: MessageId::from_bytes([number; 16]),
        run: None,
        flow: "flow".into(),
        account: "main".into(),
        to: Recipient::parse(to).unwrap(),
        body: Body { content: Content::Text { text: format!("m{number}") }, options: SendOptions::default() },
        at: None,
        valid_for: None,
        key: None,
    }
}

fn turn(number: u8, outcome: Outcome) -> TurnCommit {
    TurnCommit {
        run: RunId::from_bytes([number; 16]),
        flow: "flow".into(),
        ready: 0,
        attempt: 1,
        at: at(1),
        cpu: Duration::from_millis(5),
        waited_for: None,
        entries: Vec::new(),
        lost: Vec::new(),
        promises: Promises::default(),
        outcome,
        follow_up: None,
    }
}

/// Commits a turn made from what the store shows as ready now.
async fn commit(store: &Arc<dyn Store>, turn: TurnCommit) -> Committed {
    let ready = store.ready_runs("flow", 0, 10).await.unwrap();
    let ready = ready.iter().find(|run| run.id == turn.run).map_or(0, |run| run.ready);
    store.commit_turn(TurnCommit { ready, ..turn }).await.unwrap()
}

fn pending(question: Question) -> Pending {
    let request = RawValue::from_string("{}".into()).unwrap();
    Pending { position: 0, kind: Kind::Sleep, digest: Digest::of("{}"), line: 1, request, asked_at: None, question }
}

const PHONE: &str = "+15417543010";

fn is_committed(committed: Committed) -> bool {
    matches!(committed, Committed::Yes { .. })
}

#[tokio::test]
async fn a_run_is_accepted_worked_on_and_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.intake(run(1)).await.unwrap();
    assert_eq!(store.ready_flows().await.unwrap(), ["flow"]);
    let ready = store.ready_runs("flow", 0, 10).await.unwrap();
    assert_eq!((ready.len(), &*ready[0].event, ready[0].base), (1, r#"{"n":1}"#, None));
    assert!(store.ready_runs("flow", ready[0].ready, 10).await.unwrap().is_empty());
    assert!(is_committed(commit(&store, turn(1, Outcome::Succeeded(json!(7)))).await));
    assert_eq!(commit(&store, turn(1, Outcome::Succeeded(json!(8)))).await, Committed::Over);
    store.intake(run(2)).await.unwrap();
    let old = store.ready_runs("flow", 0, 10).await.unwrap()[0].ready;
    let wait = || Outcome::Waiting(pending(Question::Change(Change::Cancel { message: message(1, PHONE).id })));
    assert!(is_committed(store.commit_turn(TurnCommit { ready: old, ..turn(2, wait()) }).await.unwrap()));
    assert_eq!(store.commit_turn(TurnCommit { ready: old, ..turn(2, wait()) }).await.unwrap(), Committed::Stale);
    assert!(is_committed(commit(&store, turn(2, Outcome::Succeeded(Value::Null))).await));
    let seen = store.run(run(1).id).await.unwrap().unwrap();
    assert_eq!((seen.state, seen.result.as_deref()), (RunState::Succeeded, Some("7")));
    assert!(store.ready_flows().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_backlog_is_bounded_and_counts_only_first_turns() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for number in 1..=3 {
        store.intake(run(number)).await.unwrap();
    }
    assert_eq!(store.intake(run(4)).await.unwrap_err(), StoreError::Backlog(3));
    let sleep = Outcome::Waiting(pending(Question::Wait(Wait::Sleep { until: at(60).as_millisecond() })));
    commit(&store, turn(1, sleep)).await;
    store.intake(run(4)).await.unwrap();
    drop(store);
    let store = open(&folder);
    assert!(store.intake(run(5)).await.is_err(), "the count survives");
}

/// A row that cannot be read decides nothing about a message that went out, or may have: a replay would send
/// what is certainly dead once more.
#[tokio::test]
async fn damage_declares_nothing_dead_that_may_have_gone_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let sent = Verdict::Reached { state: MessageState::Sent, provider_id: None, chat: None, degraded: Vec::new() };
    let doubt = Verdict::Doubt { error: "?".into(), provider_id: None };
    for (number, verdict) in [(1, sent), (2, doubt)] {
        store.promise(vec![message(number, PHONE)], at(0)).await.unwrap();
        let id = message(number, PHONE).id;
        store.claim("main", vec![id.into()], ClaimRules::default(), at(1)).await.unwrap();
        store.settle(Settlement { id, verdict, at: at(2), parts: Vec::new(), opened: None }).await.unwrap();
    }
    let spoil = rusqlite::Connection::open(folder.path().join("state.db")).unwrap();
    spoil
        .execute_batch(
            "INSERT INTO waits (message, run, goal) SELECT id, x'00', 'clicked' FROM messages WHERE state = 4;
             UPDATE messages SET attempts = '[', account = x'00ff' WHERE state = 7;",
        )
        .unwrap();
    store.click(message(1, PHONE).id, at(3)).await.unwrap();
    let state = |number: u8| {
        let sql = "SELECT state FROM messages WHERE id = ?";
        spoil.query_row(sql, [message(number, PHONE).id.as_bytes()], |row| row.get::<_, i64>(0)).unwrap() as usize
    };
    assert_eq!(MessageState::ALL[state(1)], MessageState::Sent);
    let _ = store.decide(message(2, PHONE).id, Decision::ReleaseAsSent, at(4)).await;
    assert_ne!(MessageState::ALL[state(2)], MessageState::Dead);
}

/// Another program holds the file; what comes in meanwhile waits, and what is more is refused at once.
#[tokio::test]
async fn what_waits_for_the_file_is_bounded_and_nothing_of_it_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.db");
    let store = Arc::new(Ledger::open(&file, 10_000, Signals::default()).unwrap());
    let backup = rusqlite::Connection::open(&file).unwrap();
    backup.execute_batch("BEGIN IMMEDIATE").unwrap();
    let large = |number| NewRun { event: json!({ "text": "x".repeat(1 << 20) }).to_string().into(), ..run(number) };
    let answers: Vec<_> = (1..=200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.intake(large(number)).await })
        })
        .collect();
    // Those that are refused know it while the file is still held.
    let (mut refused, mut waiting) = (0, Vec::new());
    for mut answer in answers {
        match tokio::time::timeout(std::time::Duration::from_millis(20), &mut answer).await {
            Ok(said) => {
                assert_eq!(said.unwrap().unwrap_err(), StoreError::Behind);
                refused += 1;
            }
            Err(_) => waiting.push(answer),
        }
    }
    assert!(refused > 100 && waiting.len() > 10, "{refused} refused, {} wait", waiting.len());
    backup.execute_batch("ROLLBACK").unwrap();
    for answer in waiting {
        answer.await.unwrap().unwrap();
    }
    store.intake(large(201)).await.unwrap();
}

#[tokio::test]
async fn a_turn_is_committed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.intake(run(1)).await.unwrap();
    let entry = pending(Question::Wait(Wait::Sleep { until: 0 })).answered(at(1), Ok(json!("said")));
    let mut whole = turn(1, Outcome::Waiting(pending(Question::Wait(Wait::Sleep { until: at(60).as_millisecond() }))));
    whole.entries = vec![entry];
    whole.promises.messages = vec![message(1, PHONE).into()];
    whole.promises.kv = vec![KvWrite {
        shared: false,
        key: "k".into(),
        value: Some(json!([1])),
        expires_at: Some(at(10).as_millisecond()),
    }];
    commit(&store, whole.clone()).await;
    let look = async |store: &Arc<dyn Store>| {
        assert_eq!(store.kv_get("flow", "k", at(9)).await.unwrap(), Some(json!([1])));
        assert_eq!(store.kv_get("flow", "k", at(10)).await.unwrap(), None);
        assert_eq!(store.kv_get("other", "k", at(9)).await.unwrap(), None);
        assert_eq!(store.due_messages("main", 0, 10).await.unwrap().len(), 1);
        assert_eq!(store.journal(run(1).id).await.unwrap()[0].entry.result, json!("said"));
    };
    look(&store).await;
    drop(store);
    let store = open(&folder);
    look(&store).await;
    // Not due yet, due, and due only once.
    let woken = store.wake_runs(at(59)).await.unwrap();
    assert_eq!((woken.count, woken.next), (0, Some(at(60))));
    assert_eq!(store.wake_runs(at(60)).await.unwrap().count, 1);
    assert_eq!(store.wake_runs(at(60)).await.unwrap().count, 0);
    let ready = store.ready_runs("flow", 0, 10).await.unwrap();
    assert_eq!(
        (store.journal_after(run(1).id, 0).await.unwrap().0.len(), ready[0].base, ready[0].pending.is_some()),
        (1, Some(at(1)), true)
    );
    // The same promise again is the same message.
    commit(&store, whole).await;
    assert_eq!(store.due_messages("main", 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_belongs_to_whoever_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for number in [1, 2] {
        store.intake(run(number)).await.unwrap();
        let mut whole = turn(number, Outcome::Succeeded(Value::Null));
        whole.promises.messages = vec![NewMessage { key: Some("k".into()), ..message(number, PHONE) }.into()];
        whole.promises.kv =
            vec![KvWrite { shared: false, key: format!("k{number}"), value: Some(json!(1)), expires_at: None }];
        let committed = commit(&store, whole).await;
        assert!(if number == 1 { is_committed(committed) } else { committed == Committed::KeyTaken });
    }
    let known = store.keyed("flow", "k", PHONE).await.unwrap().unwrap();
    assert_eq!(known.id, message(1, PHONE).id);
    assert_eq!(store.kv_get("flow", "k2", at(0)).await.unwrap(), None, "nothing of the second was written");
}

#[tokio::test]
async fn attempts_are_opened_once_and_settled_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for number in 1..=3 {
        store.promise(vec![message(number, PHONE)], at(0)).await.unwrap();
    }
    let ids: Vec<MessageId> = (1..=3).map(|number| message(number, PHONE).id).collect();
    assert_eq!(
        store
            .claim("main", ids.iter().map(|id| (*id).into()).collect(), ClaimRules::default(), at(1))
            .await
            .unwrap()
            .claimed
            .len(),
        3
    );
    assert!(
        store
            .claim("main", ids.iter().map(|id| (*id).into()).collect(), ClaimRules::default(), at(1))
            .await
            .unwrap()
            .claimed
            .is_empty()
    );
    let settle = async |number: usize, verdict: Verdict| {
        store
            .settle(Settlement { id: ids[number - 1], at: at(2), verdict, parts: Vec::new(), opened: None })
            .await
            .unwrap();
        store.message(ids[number - 1]).await.unwrap().unwrap()
    };
    let sent =
        Verdict::Reached { state: MessageState::Sent, provider_id: Some("P".into()), chat: None, degraded: Vec::new() };
    let first = settle(1, sent.clone()).await;
    assert_eq!((first.state, first.provider_id.as_deref()), (MessageState::Sent, Some("P")));
    let late = settle(1, Verdict::Doubt { error: "late".into(), provider_id: None }).await;
    assert_eq!(late.state, MessageState::Sent, "what is settled stays settled");
    let again = Verdict::TryAgain { error: ("upstream".into(), "no".into()), due_at: at(30), counts: true };
    let second = settle(2, again).await;
    assert_eq!((second.state, second.due_at), (MessageState::Queued, Some(at(30))));
    drop(store);
    // The third was open when the engine died.
    let store = open(&folder);
    assert_eq!(store.recover(at(3)).await.unwrap(), 1);
    assert_eq!(store.recover(at(3)).await.unwrap(), 0);
    let third = store.message(ids[2]).await.unwrap().unwrap();
    assert_eq!((third.state, third.attempts[0].outcome.name()), (MessageState::Unknown, "interrupted"));
    let resend = vec![ResendPolicy { account: "main".into(), after: Duration::from_secs(60), attempts: 8 }];
    assert_eq!(store.move_messages(at(62), resend.clone()).await.unwrap().next, Some(at(63)));
    assert_eq!(store.move_messages(at(63), resend).await.unwrap().count, 1);
    let queue = store.due_messages("main", 0, 10).await.unwrap();
    assert_eq!(queue.iter().map(|due| due.id).collect::<Vec<_>>(), [ids[1], ids[2]], "it goes to the end");
}

#[tokio::test]
async fn messages_wait_for_their_time_and_expire() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let valid = Some(Duration::from_secs(10));
    store.promise(vec![NewMessage { at: Some(at(60)), valid_for: valid, ..message(1, PHONE) }], at(0)).await.unwrap();
    store.promise(vec![NewMessage { valid_for: valid, ..message(2, PHONE) }], at(0)).await.unwrap();
    assert_eq!(store.due_messages("main", 0, 10).await.unwrap().len(), 1);
    assert_eq!(store.move_messages(at(9), Vec::new()).await.unwrap().next, Some(at(10)));
    assert_eq!(store.move_messages(at(10), Vec::new()).await.unwrap().next, Some(at(60)));
    assert_eq!(store.message(message(2, PHONE).id).await.unwrap().unwrap().state, MessageState::Expired);
    store.move_messages(at(60), Vec::new()).await.unwrap();
    assert!(
        store
            .claim("main", vec![message(1, PHONE).id.into()], ClaimRules::default(), at(70))
            .await
            .unwrap()
            .claimed
            .is_empty(),
        "too late to begin"
    );
    assert_eq!(
        store
            .claim("main", vec![message(1, PHONE).id.into()], ClaimRules::default(), at(69))
            .await
            .unwrap()
            .claimed
            .len(),
        1
    );
}

#[tokio::test]
async fn a_wait_is_over_when_the_message_is_settled_or_was_already() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let id = message(9, PHONE).id;
    store.promise(vec![message(9, PHONE)], at(0)).await.unwrap();
    let delivery = || Wait::Delivery { message: id, goal: "settled".into(), until: None };
    let wait = || Outcome::Waiting(pending(Question::Wait(delivery())));
    store.intake(run(1)).await.unwrap();
    commit(&store, turn(1, wait())).await;
    assert!(store.ready_runs("flow", 0, 10).await.unwrap().is_empty());
    assert_eq!(store.decide(id, Decision::Cancel, at(2)).await.unwrap(), Decided::Now(MessageState::Cancelled));
    assert_eq!(store.decide(id, Decision::Cancel, at(2)).await.unwrap(), Decided::NotIn(MessageState::Cancelled));
    assert_eq!(store.ready_runs("flow", 0, 10).await.unwrap().len(), 1);
    store.intake(run(2)).await.unwrap();
    commit(&store, turn(2, wait())).await;
    assert_eq!(store.ready_runs("flow", 0, 10).await.unwrap().len(), 2, "it was settled already");
    let missing = MessageId::from_bytes([77; 16]);
    assert_eq!(store.decide(missing, Decision::Retry, at(2)).await.unwrap(), Decided::Missing);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for number in 1..=3 {
        store.intake(run(number)).await.unwrap();
        store.promise(vec![message(number, if number == 2 { "+15417543011" } else { PHONE })], at(0)).await.unwrap();
    }
    let error = ScriptError::new("thrown", "no");
    commit(&store, turn(2, Outcome::Failed(error))).await;
    let runs = async |filter: RunFilter| -> Vec<u8> {
        store.runs(filter).await.unwrap().rows.iter().map(|run| run.id.as_bytes()[0]).collect()
    };
    let all = RunFilter { limit: 10, ..RunFilter::default() };
    assert_eq!(runs(all.clone()).await, [3, 2, 1]);
    assert_eq!(runs(RunFilter { states: vec![RunState::Failed], ..all.clone() }).await, [2]);
    assert_eq!(runs(RunFilter { limit: 1, after: Some(run(3).id), ..all.clone() }).await, [2]);
    assert_eq!(runs(RunFilter { only: Some(vec![run(1).id]), ..all.clone() }).await, [1]);
    assert_eq!(runs(RunFilter { only: Some(Vec::new()), ..all.clone() }).await, Vec::<u8>::new());
    assert_eq!(runs(RunFilter { without: vec![run(1).id], flow: Some("flow".into()), ..all.clone() }).await, [3, 2]);
    assert_eq!(runs(RunFilter { since: Some(after(at(0), Duration::from_secs(1))), ..all }).await, Vec::<u8>::new());
    let to = MessageFilter { to: vec!["+15417543011".into()], limit: 10, ..MessageFilter::default() };
    assert_eq!(store.messages(to).await.unwrap().rows.len(), 1);
    let queued = MessageFilter { states: vec![MessageState::Queued], limit: 2, ..MessageFilter::default() };
    assert_eq!(store.messages(queued).await.unwrap().rows.len(), 2);
}

#[tokio::test]
async fn an_event_is_for_all_who_were_accepted_before_it_by_the_order_and_not_by_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let wait = || {
        let (name, key) = ("paid".to_owned(), None);
        let event = Wait::Event { name, key, after: 0, got: Vec::new(), until: None };
        Outcome::Waiting(pending(Question::Wait(event)))
    };
    let emits = |number: u8| {
        let mut turn = turn(number, Outcome::Succeeded(Value::Null));
        let (position, mark, name, key) = (0, Digest::of("paid"), "paid".into(), None);
        turn.promises.events = vec![Emitted { position, mark, name, key, data: json!(number) }];
        turn
    };
    let answer = async |number: u8| {
        let ready = store.ready_runs("flow", 0, 10).await.unwrap();
        ready.iter().find(|ready| ready.id == run(number).id).and_then(|ready| ready.answer.clone())
    };
    store.intake(run(1)).await.unwrap();
    // Accepted while the emitter's turn, which began before, goes on; or before the clock was set back.
    store.intake(NewRun { at: at(3_600), ..run(2) }).await.unwrap();
    commit(&store, emits(1)).await;
    commit(&store, turn(2, wait())).await;
    assert_eq!(answer(2).await.unwrap().unwrap()["data"], 1);
    // Accepted after it, by a clock that was set back.
    store.intake(NewRun { at: at(-3_600), ..run(3) }).await.unwrap();
    commit(&store, turn(3, wait())).await;
    assert_eq!(answer(3).await, None);
}
