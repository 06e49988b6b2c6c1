//! Lists for people and programs: what is asked for, in which order, page by page, and how many there are.

use postrider::id::{MessageId, RunId};
use postrider::model::delivery::MessageState;
use postrider::model::message::NewMessage;
use postrider::model::run::{NewRun, RunState};
use postrider::store::records::*;
use serde_json::json;

use super::{ADA, BOB, Ledger, at, ends, fails, id, letter, message, ms, posted, reached, run, run_id, sleeps, turn};

/// Five runs of two flows, one in each state that a store knows.
async fn five_runs() -> Ledger {
    let ledger = Ledger::new();
    let flows = ["flow", "flow", "other", "flow", "other"];
    for (number, flow) in (1..).zip(flows) {
        let trigger = if number == 4 { "cron" } else { "manual" };
        let event = json!({ "word": format!("event-{number}") }).to_string();
        let (flow, trigger, at) = (flow.into(), trigger.into(), at(10 * i64::from(number)));
        ledger.intake(NewRun { flow, trigger, event: event.into(), at, ..run(number) }).await.unwrap();
    }
    for (number, outcome) in [(2, sleeps(1_000)), (3, ends()), (4, fails())] {
        let flow = flows[usize::from(number) - 1].into();
        ledger.commit(postrider::model::journal::TurnCommit { flow, ..turn(number, outcome) }).await;
    }
    ledger.cancel_run(run_id(5), at(60)).await.unwrap();
    ledger
}

async fn runs(ledger: &Ledger, filter: RunFilter) -> Vec<u8> {
    ledger.runs(filter).await.unwrap().rows.iter().map(|run| run.id.as_bytes()[0]).collect()
}

async fn messages(ledger: &Ledger, filter: MessageFilter) -> Vec<u8> {
    ledger.messages(filter).await.unwrap().rows.iter().map(|message| message.id.as_bytes()[0]).collect()
}

fn every_run() -> RunFilter {
    RunFilter { limit: 100, ..RunFilter::default() }
}

fn every_message() -> MessageFilter {
    MessageFilter { limit: 100, ..MessageFilter::default() }
}

#[tokio::test]
async fn runs_are_found_by_what_is_asked_for() {
    let ledger = five_runs().await.again();
    let cases: [(RunFilter, &[u8]); 11] = [
        (every_run(), &[5, 4, 3, 2, 1]),
        (RunFilter { flow: Some("other".into()), ..every_run() }, &[5, 3]),
        (RunFilter { states: vec![RunState::Queued], ..every_run() }, &[1]),
        (RunFilter { states: vec![RunState::Failed, RunState::Waiting], ..every_run() }, &[4, 2]),
        (RunFilter { only: Some(vec![run_id(2), run_id(9)]), ..every_run() }, &[2]),
        (RunFilter { without: vec![run_id(5), run_id(1)], ..every_run() }, &[4, 3, 2]),
        (RunFilter { triggers: vec!["cron", "webhook"], ..every_run() }, &[4]),
        (RunFilter { words: Some("event-3".into()), ..every_run() }, &[3]),
        (RunFilter { words: Some("nothing has this".into()), ..every_run() }, &[]),
        (RunFilter { after: Some(run_id(4)), limit: 2, ..every_run() }, &[3, 2]),
        (RunFilter { flow: Some("flow".into()), states: vec![RunState::Succeeded], ..every_run() }, &[]),
    ];
    for (filter, wanted) in cases {
        assert_eq!(runs(&ledger, filter.clone()).await, wanted, "{filter:?}");
    }
}

#[tokio::test]
async fn events_come_along_where_they_are_asked_for() {
    let ledger = five_runs().await;
    let page = ledger.runs(RunFilter { events: true, ..every_run() }).await.unwrap();
    assert_eq!(page.rows[4].event, r#"{"word":"event-1"}"#);
}

#[tokio::test]
async fn pages_of_runs_hold_each_run_once_in_both_directions() {
    let ledger = five_runs().await;
    let (mut after, mut seen): (Option<RunId>, Vec<u8>) = (None, Vec::new());
    loop {
        let page = ledger.runs(RunFilter { after, limit: 2, ..RunFilter::default() }).await.unwrap();
        seen.extend(page.rows.iter().map(|run| run.id.as_bytes()[0]));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let before = RunFilter { before: Some(run_id(2)), limit: 2, ..RunFilter::default() };
    assert_eq!(runs(&ledger, before).await, [4, 3], "the page next to it");
}

#[tokio::test]
async fn messages_are_found_by_what_is_asked_for() {
    let ledger = Ledger::new();
    for number in 1..=5 {
        let mut one = message(number, if number == 2 { BOB } else { ADA });
        if number == 3 {
            one = NewMessage { run: Some(run_id(1)), flow: "other".into(), account: "second".into(), ..one };
        }
        ledger.promise(vec![one], at(10 * i64::from(number))).await.unwrap();
    }
    ledger.sends(4, reached(4, MessageState::Sent)).await;
    let cases: [(MessageFilter, &[u8]); 12] = [
        (every_message(), &[5, 4, 3, 2, 1]),
        (MessageFilter { to: vec![BOB.into()], ..every_message() }, &[2]),
        (MessageFilter { to: vec![BOB.into(), ADA.into()], ..every_message() }, &[5, 4, 3, 2, 1]),
        (MessageFilter { states: vec![MessageState::Sent, MessageState::Dead], ..every_message() }, &[4]),
        (MessageFilter { flow: Some("other".into()), ..every_message() }, &[3]),
        (MessageFilter { account: Some("second".into()), ..every_message() }, &[3]),
        (MessageFilter { run: Some(run_id(1)), ..every_message() }, &[3]),
        (MessageFilter { since: Some(at(20)), until: Some(at(40)), ..every_message() }, &[3, 2]),
        (MessageFilter { words: Some("m5".into()), ..every_message() }, &[5]),
        (MessageFilter { words: Some("43011".into()), ..every_message() }, &[2]),
        (MessageFilter { after: Some(id(4)), limit: 2, ..MessageFilter::default() }, &[3, 2]),
        (MessageFilter { before: Some(id(2)), limit: 2, ..MessageFilter::default() }, &[4, 3]),
    ];
    for (filter, wanted) in cases {
        assert_eq!(messages(&ledger, filter.clone()).await, wanted, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_of_messages_hold_each_message_once() {
    let ledger = Ledger::new();
    for number in 1..=7 {
        ledger.put(message(number, ADA)).await;
    }
    let (mut after, mut seen): (Option<MessageId>, Vec<u8>) = (None, Vec::new());
    loop {
        let page = ledger.messages(MessageFilter { after, limit: 3, ..MessageFilter::default() }).await.unwrap();
        seen.extend(page.rows.iter().map(|message| message.id.as_bytes()[0]));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn counts_are_those_of_the_lists() {
    let ledger = five_runs().await;
    for (number, state) in (1..).zip(MessageState::ALL) {
        ledger.bring(message(number, ADA), state).await;
    }
    ledger.put(message(13, ADA)).await;
    let counted = ledger.run_counts().await.unwrap();
    assert_eq!(counted.all, Capped { count: 5, more: false });
    assert!(!counted.by_state.is_empty());
    for (state, count) in counted.by_state {
        let listed = runs(&ledger, RunFilter { states: vec![state], ..every_run() }).await.len() as u64;
        assert_eq!(count, Capped { count: listed, more: false }, "{state:?}");
    }
    let counted = ledger.message_counts().await.unwrap();
    assert_eq!(counted.all, Capped { count: 13, more: false });
    assert!(!counted.by_state.is_empty());
    for (state, count) in counted.by_state {
        let listed = messages(&ledger, MessageFilter { states: vec![state], ..every_message() }).await.len() as u64;
        assert_eq!(count, Capped { count: listed, more: false }, "{state:?}");
    }
}

#[tokio::test]
async fn what_was_begun_lately_is_told_newest_first() {
    let ledger = Ledger::new();
    for number in 1..=3u8 {
        let made_at = at(10 * i64::from(number));
        let own = RunId::from_bytes(*postrider::id::layout(made_at, [number; 10]).as_bytes());
        ledger.intake(NewRun { id: own, at: made_at, ..run(number) }).await.unwrap();
        let own = MessageId::from_bytes(*postrider::id::layout(made_at, [number; 10]).as_bytes());
        ledger.promise(vec![NewMessage { id: own, ..message(number, ADA) }], made_at).await.unwrap();
    }
    let between = RunFilter { since: Some(at(20)), until: Some(at(30)), ..every_run() };
    let between = ledger.runs(between).await.unwrap().rows;
    assert_eq!(between.iter().map(|run| run.created_at).collect::<Vec<_>>(), [at(20)]);
    let lately = ledger.lately(at(20)).await.unwrap();
    let queued = |second| ("flow".to_owned(), RunState::Queued, at(second));
    assert_eq!((lately.runs, lately.more_runs), (vec![queued(30), queued(20)], false));
    let waits = |second| ("flow".to_owned(), "main".to_owned(), MessageState::Queued, at(second));
    assert_eq!((lately.messages, lately.more_messages), (vec![waits(30), waits(20)], false));
}

#[tokio::test]
async fn the_last_runs_of_each_flow_come_in_the_order_of_the_flows() {
    let ledger = five_runs().await;
    let asked = vec!["other".into(), "never".into(), "flow".into()];
    let last = ledger.last_runs(asked, 2).await.unwrap();
    let numbers: Vec<Vec<u8>> = last.iter().map(|runs| runs.iter().map(|run| run.id.as_bytes()[0]).collect()).collect();
    assert_eq!(numbers, [vec![5, 3], vec![], vec![4, 2]]);
    assert_eq!((last[0][0].state, last[0][0].created_at), (RunState::Cancelled, at(50)));
}

#[tokio::test]
async fn what_people_wrote_is_listed_with_what_became_of_it() {
    let ledger = Ledger::new();
    let question = postrider::model::question::Question::Wait(postrider::model::question::Wait::Message {
        account: Some("main".into()),
        from: Some(ADA.into()),
        text: None,
        until: ms(1_000),
    });
    ledger.waits(1, question).await;
    let mut begins = letter("E2", BOB, "two", at(20));
    begins.others = vec![NewRun { flow: "heard".into(), ..run(2) }];
    for told in [letter("E1", ADA, "one", at(10)), begins, letter("E3", ADA, "three", at(30))] {
        let when = told.written.at;
        ledger.hears(posted(told), when).await;
    }
    let filter = || IncomingFilter { limit: 10, ..IncomingFilter::default() };
    let list = async |filter: IncomingFilter| -> Vec<String> {
        ledger.incoming(filter).await.unwrap().into_iter().map(|wrote| wrote.id).collect()
    };
    assert_eq!(list(filter()).await, ["E3", "E2", "E1"]);
    assert_eq!(list(IncomingFilter { limit: 1, ..filter() }).await, ["E3"]);
    assert_eq!(list(IncomingFilter { from: vec![ADA.into()], ..filter() }).await, ["E3", "E1"]);
    assert_eq!(list(IncomingFilter { fates: vec!["answered", "began"], ..filter() }).await, ["E2", "E1"]);
    assert_eq!(list(IncomingFilter { words: Some("thre".into()), ..filter() }).await, ["E3"]);
    assert_eq!(list(IncomingFilter { since: Some(at(20)), until: Some(at(30)), ..filter() }).await, ["E2"]);
    let all = ledger.incoming(filter()).await.unwrap();
    let seen: Vec<_> = all.iter().map(|wrote| (wrote.fate.as_str(), wrote.run, wrote.flow.as_deref())).collect();
    let wanted = [
        ("unwanted", None, None),
        ("began", Some(run_id(2)), Some("heard")),
        ("answered", Some(run_id(1)), Some("flow")),
    ];
    assert_eq!(seen, wanted);
    assert_eq!((all[0].account.as_str(), all[0].from.as_str(), all[0].at), ("main", ADA, at(30)));
    assert_eq!(all[0].event["text"], "three");
}
