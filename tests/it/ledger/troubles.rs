//! Messages that came to a bad end: counted, and told once to whoever is to hear of them.

use std::collections::BTreeSet;

use postrider::model::delivery::MessageState;
use postrider::model::inbound::Fate as AckFate;
use postrider::model::message::NewMessage;
use postrider::model::run::NewRun;
use postrider::store::records::*;

use super::{ADA, Ledger, ack, at, id, letter, message, posted, run, run_id};
use MessageState::*;

async fn numbers(ledger: &Ledger) -> Vec<u8> {
    ledger.troubles(0, 100).await.unwrap().iter().map(|trouble| trouble.message.as_bytes()[0]).collect()
}

#[tokio::test]
async fn what_was_rejected_is_dead_or_unknown_is_a_trouble_and_nothing_else_is() {
    let ledger = Ledger::new();
    for (number, state) in (1..).zip(MessageState::ALL) {
        let own = NewMessage { run: Some(run_id(number)), ..message(number, ADA) };
        ledger.bring(own, state).await;
    }
    let ledger = ledger.again();
    let found = ledger.troubles(0, 100).await.unwrap();
    let states: BTreeSet<_> = found.iter().map(|trouble| trouble.state).collect();
    assert_eq!((found.len(), states), (3, [Unknown, Rejected, Dead].into()));
    for trouble in &found {
        assert_eq!((trouble.account.as_str(), trouble.flow.as_str(), trouble.to.as_str()), ("main", "flow", ADA));
        assert_eq!(trouble.run, Some(run_id(trouble.message.as_bytes()[0])));
        let wanted = if trouble.state == Unknown { ("ambiguous", "?") } else { ("upstream", "no") };
        assert_eq!((trouble.kind(), trouble.error.as_str()), wanted);
    }
    assert!(found.windows(2).all(|pair| pair[0].number < pair[1].number));
    let behind = ledger.troubles(found[0].number, 1).await.unwrap();
    assert_eq!(behind.iter().map(|trouble| trouble.message).collect::<Vec<_>>(), [found[1].message]);
    assert_eq!(ledger.bad_messages().await.unwrap(), [("main".to_owned(), "flow".to_owned(), 3)]);
    let mut of = ledger.bad_messages_of(vec![run_id(2), run_id(8), run_id(9)]).await.unwrap();
    of.retain(|(_, count)| *count > 0);
    of.sort();
    assert_eq!(of, [(run_id(8), 1), (run_id(9), 1)]);
}

#[tokio::test]
async fn a_trouble_that_is_over_is_none_any_more() {
    let ledger = Ledger::new();
    for (number, state) in [(1, Unknown), (2, Dead), (3, Rejected), (4, Unknown)] {
        ledger.bring(message(number, ADA), state).await;
    }
    assert_eq!(numbers(&ledger).await, [1, 2, 3, 4]);
    ledger.hears(vec![ack(1, AckFate::Reached(Delivered))], at(3)).await;
    ledger.decide(id(2), Decision::Retry, at(3)).await.unwrap();
    ledger.decide(id(4), Decision::ReleaseAsSent, at(3)).await.unwrap();
    assert_eq!(numbers(&ledger).await, [3]);
    assert_eq!(ledger.bad_messages().await.unwrap(), [("main".to_owned(), "flow".to_owned(), 1)]);
}

#[tokio::test]
async fn what_is_told_is_told_once_and_begins_its_runs_with_it() {
    let ledger = Ledger::new();
    for (number, state) in [(1, Dead), (2, Rejected), (3, Dead)] {
        ledger.bring(message(number, ADA), state).await;
    }
    let found = ledger.troubles(0, 10).await.unwrap();
    let [first, second] = [found[0].number, found[1].number];
    let alert = |number| NewRun { flow: "alert".into(), trigger: "failure".into(), ..run(number) };
    let telling = Telling {
        done: vec![first, second],
        runs: vec![(alert(11), Some(first)), (alert(12), None)],
        causes: vec![("account main".into(), at(4)), ("disk".into(), at(4))],
        over: Vec::new(),
    };
    ledger.tell(telling).await.unwrap();
    let ledger = ledger.again();
    assert_eq!(numbers(&ledger).await, [3]);
    assert_eq!(ledger.ready_runs("alert", 0, 10).await.unwrap().len(), 2);
    let mut told = ledger.told().await.unwrap();
    told.sort();
    assert_eq!(told, [("account main".to_owned(), at(4)), ("disk".to_owned(), at(4))]);
    ledger.tell(Telling { over: vec!["disk".into()], ..Telling::default() }).await.unwrap();
    assert_eq!(ledger.told().await.unwrap(), [("account main".to_owned(), at(4))]);
    assert_eq!(ledger.bad_messages().await.unwrap()[0].2, 3, "they are as bad as before");
}

#[tokio::test]
async fn nobody_is_told_of_a_trouble_that_was_settled_meanwhile() {
    let ledger = Ledger::new();
    for number in [1, 2] {
        ledger.bring(message(number, ADA), Dead).await;
    }
    let found = ledger.troubles(0, 10).await.unwrap();
    let alert = |number| NewRun { flow: "alert".into(), trigger: "failure".into(), ..run(number) };
    let runs = (11..).zip(&found).map(|(number, trouble)| (alert(number), Some(trouble.number))).collect();
    ledger.decide(id(1), Decision::Retry, at(3)).await.unwrap();
    let done = found.iter().map(|trouble| trouble.number).collect();
    ledger.tell(Telling { done, runs, ..Telling::default() }).await.unwrap();
    let begun = ledger.ready_runs("alert", 0, 10).await.unwrap();
    assert_eq!(begun.iter().map(|run| run.id).collect::<Vec<_>>(), [run_id(12)]);
}

#[tokio::test]
async fn telling_is_all_or_none() {
    let ledger = Ledger::new();
    ledger.limit_backlog(1).await.unwrap();
    ledger.begin(1).await;
    ledger.bring(message(1, ADA), Dead).await;
    let number = ledger.troubles(0, 10).await.unwrap()[0].number;
    let telling = || Telling {
        done: vec![number],
        runs: vec![(run(2), Some(number))],
        causes: vec![("c".into(), at(4))],
        over: Vec::new(),
    };
    // Whether there is room for it is not the point.
    if ledger.tell(telling()).await.is_err() {
        assert_eq!((numbers(&ledger).await, ledger.told().await.unwrap().len()), (vec![1], 0));
        ledger.limit_backlog(9).await.unwrap();
        ledger.tell(telling()).await.unwrap();
    }
    assert!(ledger.ready(2).await.is_some());
    assert_eq!((numbers(&ledger).await.len(), ledger.told().await.unwrap().len()), (0, 1));
}

#[tokio::test]
async fn somebody_who_wants_no_more_is_told_apart_from_other_troubles() {
    let ledger = Ledger::new();
    ledger.hears(posted(letter("E1", ADA, "stop", at(1))), at(1)).await;
    ledger.put(message(1, ADA)).await;
    ledger.claims(1, at(2)).await;
    let found = ledger.troubles(0, 10).await.unwrap();
    assert_eq!((found.len(), found[0].state, found[0].kind()), (1, Rejected, "opted_out"));
}
