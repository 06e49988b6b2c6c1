//! What is old and settled goes; what is under way, or for a person to decide about, stays for ever.

use postrider::model::delivery::MessageState;
use postrider::model::journal::Outcome;
use postrider::model::message::{Body, Content, Media, NewMessage, SendOptions, Snapshot, Source};
use postrider::model::question::{Question, Wait};
use postrider::store::records::*;
use serde_json::json;

use super::{ADA, Ledger, at, entry, id, message, promises, run, run_id, turn};

/// Everything before this may go.
const LATER: Spans = Spans { runs: jiff::Timestamp::MAX, messages: jiff::Timestamp::MAX };
const RECORDS: OldRecords = OldRecords { until: LATER, limit: 1_000 };

impl Ledger {
    /// Lets everything go that may; gives how many runs and messages that were.
    async fn keeps(&self, until: Spans) -> (u64, u64) {
        let found = self.prunable(until, Prunable::default(), 1_000).await.unwrap();
        let runs = found.runs.iter().map(|(_, id)| *id).collect();
        let messages = found.messages.iter().map(|(_, id)| *id).collect();
        let pruned = self.prune(runs, messages, until, OldRecords { until, ..RECORDS }).await.unwrap();
        (pruned.runs, pruned.messages)
    }
}

#[tokio::test]
async fn messages_go_when_they_are_settled_and_no_sooner() {
    use MessageState::*;
    let ledger = Ledger::new();
    for (number, state) in (1..).zip(MessageState::ALL) {
        ledger.bring(message(number, ADA), state).await;
    }
    let open = [Scheduled, Queued, Sending, Unknown];
    // Handed in by whoever does not ask first, nothing else goes either.
    let all = (1..=12).map(id).collect::<Vec<_>>();
    let pruned = ledger.prune(Vec::new(), all, LATER, RECORDS).await.unwrap();
    assert_eq!(pruned.messages, 12 - open.len() as u64);
    for (number, state) in (1..).zip(MessageState::ALL) {
        let is_there = ledger.message(id(number)).await.unwrap().is_some();
        assert_eq!(is_there, open.contains(&state), "{state:?}");
    }
    assert_eq!(ledger.keeps(LATER).await, (0, 0));
}

#[tokio::test]
async fn what_goes_leaves_room() {
    let ledger = Ledger::new();
    let empty = ledger.used().await.unwrap();
    for number in 1..=40 {
        let event = json!({ "text": "x".repeat(50 << 10) }).to_string().into();
        ledger.intake(postrider::model::run::NewRun { event, ..run(number) }).await.unwrap();
        ledger.commit(turn(number, Outcome::Succeeded(json!(1)))).await;
    }
    let full = ledger.used().await.unwrap();
    assert!(full > empty + ((40 * 50) << 10), "{full} bytes");
    assert_eq!(ledger.keeps(LATER).await, (40, 0));
    assert!(ledger.used().await.unwrap() < empty + (100 << 10));
}

#[tokio::test]
async fn what_something_happened_to_lately_stays_and_what_hangs_on_a_message_goes_with_it() {
    let ledger = Ledger::new();
    for number in 1..=2 {
        ledger.bring(message(number, ADA), MessageState::Sent).await;
    }
    // Somebody read the second one long after it was sent.
    let ack = postrider::model::inbound::Ack {
        message_id: super::provider(2),
        ours: None,
        chat: None,
        fate: postrider::model::inbound::Fate::Reached(MessageState::Read),
    };
    let told = || vec![Received::Told(postrider::model::inbound::Told::Ack(ack.clone()))];
    ledger.hears(told(), at(500)).await;
    assert_eq!(ledger.keeps(Spans { runs: at(400), messages: at(400) }).await, (0, 1));
    assert!(ledger.message(id(1)).await.unwrap().is_none() && ledger.message(id(2)).await.unwrap().is_some());
    assert_eq!(ledger.keeps(LATER).await, (0, 1));
    // An ack of what is gone is one of an id that nobody knows.
    ledger.hears(told(), at(600)).await;
    assert!(ledger.message(id(2)).await.unwrap().is_none());
}

#[tokio::test]
async fn runs_go_with_their_journals_unless_something_of_them_is_open() {
    let ledger = Ledger::new();
    ledger.keep_flows(KeptFlows::default()).await.unwrap();
    let sleeps = || Question::Wait(Wait::Sleep { until: super::ms(1_000) });
    let ended = || Outcome::Succeeded(json!(1));
    ledger.begin(1).await;
    ledger.waits(2, sleeps()).await;
    for (number, state) in [(3, MessageState::Delivered), (4, MessageState::Unknown), (5, MessageState::Scheduled)] {
        ledger.begin(number).await;
        let mut turn = promises(number, Vec::new(), ended());
        turn.entries = vec![entry(0, json!(7))];
        ledger.commit(turn).await;
        ledger.bring(NewMessage { run: Some(run_id(number)), ..message(number, ADA) }, state).await;
    }
    ledger.begin(6).await;
    ledger.commit(turn(6, Outcome::Failed(postrider::model::run::ScriptError::new("thrown", "no")))).await;
    let pruned = ledger.prune((1..=6).map(run_id).collect(), Vec::new(), LATER, RECORDS).await.unwrap();
    assert_eq!(pruned.runs, 2);
    for number in 1..=6 {
        let is_there = ledger.run(run_id(number)).await.unwrap().is_some();
        assert_eq!(is_there, ![3, 6].contains(&number), "run {number}");
        assert_eq!(ledger.journal(run_id(number)).await.unwrap().is_empty(), ![4, 5].contains(&number), "{number}");
    }
    // A message of a run that is gone is still there, and one of a run that waits is not let go.
    assert!(ledger.message(id(3)).await.unwrap().is_some());
    ledger.bring(NewMessage { run: Some(run_id(2)), ..message(7, ADA) }, MessageState::Delivered).await;
    assert_eq!(ledger.keeps(LATER).await, (0, 1), "that of the run that is gone alone");
    assert!(ledger.message(id(7)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_version_is_free_when_its_last_run_is_gone() {
    let ledger = Ledger::new();
    let version = VersionRow { id: "v1".into(), flow: "flow".into(), content: "{}".into() };
    ledger
        .keep_flows(KeptFlows { good: vec![("a.yaml".into(), version)], gone: Vec::new(), home: None })
        .await
        .unwrap();
    ledger.keep_flows(KeptFlows { gone: vec!["a.yaml".into()], ..KeptFlows::default() }).await.unwrap();
    for number in 1..=2 {
        ledger.begin(number).await;
    }
    ledger.commit(turn(1, Outcome::Succeeded(json!(1)))).await;
    assert_eq!(ledger.keeps(LATER).await, (1, 0));
    assert!(ledger.unused_versions().await.unwrap().is_empty());
    ledger.commit(turn(2, Outcome::Succeeded(json!(1)))).await;
    assert_eq!(ledger.keeps(LATER).await, (1, 0));
    assert_eq!(ledger.unused_versions().await.unwrap(), ["v1"]);
    // The same event once more is another run of it.
    ledger.intake(run(3)).await.unwrap();
    assert!(ledger.unused_versions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_copy_of_a_file_is_free_when_the_last_message_with_it_is_gone() {
    let ledger = Ledger::new();
    let blob = |name: char| name.to_string().repeat(64);
    let with = |number, name| {
        let copy = Snapshot { blob: blob(name), size: 1, file_name: "a.png".into() };
        let content = Content::Image(Media::new(Source::Snapshot(copy)));
        NewMessage { body: Body { content, options: SendOptions::default() }, ..message(number, ADA) }
    };
    ledger.bring(with(1, 'a'), MessageState::Delivered).await;
    ledger.bring(with(2, 'a'), MessageState::Scheduled).await;
    ledger.bring(with(3, 'b'), MessageState::Delivered).await;
    let shown = PhoneMessage {
        id: id(3),
        account: "main".into(),
        to: ADA.into(),
        body: with(3, 'b').body,
        at: at(10),
        incoming: false,
    };
    ledger.receive_on_phone(shown).await.unwrap();
    let free = || async { ledger.unattached(vec![blob('a'), blob('b'), blob('c')]).await.unwrap() };
    assert_eq!(free().await, [blob('c')]);
    assert_eq!(ledger.keeps(Spans { runs: at(5), messages: at(9) }).await, (0, 2));
    // The second message is still to go, and the phone shows the other picture.
    assert_eq!(free().await, [blob('c')]);
    ledger.keeps(LATER).await;
    assert_eq!(free().await, [blob('b'), blob('c')]);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let ledger = Ledger::new();
    for number in 1..=5 {
        ledger.begin(number).await;
        ledger.commit(turn(number, Outcome::Succeeded(json!(1)))).await;
        ledger.bring(message(number, ADA), MessageState::Rejected).await;
    }
    let (mut after, mut seen) = (Prunable::default(), Vec::new());
    loop {
        let page = ledger.prunable(LATER, after, 2).await.unwrap();
        if page.runs.is_empty() {
            assert!(page.messages.is_empty());
            break;
        }
        assert_eq!(page.runs.len(), page.messages.len());
        seen.extend(page.runs.iter().map(|(_, id)| *id));
        after = page;
    }
    seen.sort();
    assert_eq!(seen, (1..=5).map(run_id).collect::<Vec<_>>());
}
