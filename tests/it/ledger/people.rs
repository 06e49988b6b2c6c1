//! People: the addresses that lead to them, what they are called, when they wrote, and that they can be forgotten.

use postrider::model::delivery::MessageState;
use postrider::model::inbound::Told;
use postrider::model::message::NewMessage;
use postrider::model::question::Question;
use postrider::model::recipient::Recipient;
use postrider::model::run::{NewRun, RunState};
use postrider::store::records::*;
use serde_json::json;

use super::{
    ADA, BOB, EVE, LID, Ledger, at, ends, entry, id, inbound, letter, message, ms, posted, promises, reached, run,
    run_id, sleeps,
};

fn same(one: &str, other: &str) -> Received {
    Received::Told(Told::Same(Recipient::parse(one).unwrap(), Recipient::parse(other).unwrap()))
}

fn named(event: &str, from: &str, name: &str, second: i64) -> Vec<Received> {
    let mut letter = letter(event, from, "hello", at(second));
    letter.written.name = Some(name.into());
    posted(letter)
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[tokio::test]
async fn addresses_that_lead_to_one_chat_are_one_person() {
    let ledger = Ledger::new();
    assert_eq!(ledger.names("main", ADA).await.unwrap(), [ADA]);
    ledger.hears(vec![same(LID, ADA)], at(1)).await;
    ledger.hears(vec![same(LID, "US.13491208655302741918")], at(2)).await;
    let ledger = ledger.again();
    for address in [ADA, LID, "US.13491208655302741918"] {
        let names = sorted(ledger.names("main", address).await.unwrap());
        assert_eq!(names, [ADA, LID, "US.13491208655302741918"], "{address}");
    }
    assert_eq!(ledger.names("second", LID).await.unwrap(), [LID], "account by account");
    assert_eq!(ledger.names("main", BOB).await.unwrap(), [BOB]);
    assert_eq!(sorted(ledger.person(LID).await.unwrap().addresses), [ADA, LID, "US.13491208655302741918"]);
}

#[tokio::test]
async fn whoever_is_waited_for_by_one_address_answers_by_another() {
    let ledger = Ledger::new();
    let question = Question::Wait(postrider::model::question::Wait::Message {
        account: None,
        from: Some(ADA.into()),
        text: None,
        until: ms(1_000),
    });
    ledger.waits(1, question).await;
    assert_eq!(ledger.hears(posted(letter("E1", LID, "x", at(2))), at(2)).await, [Fate::Unwanted]);
    let told = [vec![same(LID, ADA)], posted(letter("E2", LID, "x", at(3)))].concat();
    assert_eq!(ledger.hears(told, at(3)).await, [Fate::Answered(run_id(1))]);
}

#[tokio::test]
async fn who_says_stop_by_one_address_has_said_it_by_all() {
    let ledger = Ledger::new();
    ledger.hears(vec![same(LID, ADA)], at(1)).await;
    assert_eq!(ledger.hears(posted(letter("E1", LID, "stop", at(2))), at(2)).await, [Fate::Opted]);
    ledger.put(message(1, ADA)).await;
    assert!(!ledger.claims(1, at(3)).await);
    assert!(ledger.opt_in("main", ADA).await.unwrap());
    assert!(!ledger.opt_in("main", ADA).await.unwrap(), "that is not new");
    assert!(!ledger.opt_in("second", ADA).await.unwrap());
    ledger.put(message(2, LID)).await;
    assert!(ledger.claims(2, at(4)).await);
    assert!(ledger.person(ADA).await.unwrap().opted_out.is_empty());
}

#[tokio::test]
async fn people_are_called_what_they_were_called_last() {
    let ledger = Ledger::new();
    ledger.hears(named("E1", ADA, "Ada", 1), at(1)).await;
    ledger.hears(named("E2", BOB, "Bob", 2), at(2)).await;
    ledger.hears(named("E3", ADA, "Ada L.", 3), at(3)).await;
    let called = ledger.called(vec![ADA.into(), BOB.into(), EVE.into()]).await.unwrap();
    assert_eq!(called, [(ADA.to_owned(), "Ada L.".to_owned()), (BOB.to_owned(), "Bob".to_owned())].into());
    let ada = ledger.again().person(ADA).await.unwrap();
    assert_eq!((ada.name.as_deref(), ada.addresses), (Some("Ada L."), vec![ADA.to_owned()]));
}

#[tokio::test]
async fn an_account_with_a_window_notes_when_people_wrote() {
    let ledger = Ledger::new();
    assert_eq!(ledger.heard("main", ADA).await.unwrap(), LastHeard::default());
    let hears = async |event: &str, from: &str, second: i64| {
        let told = posted(letter(event, from, "x", at(second)));
        ledger.receive(Inbound { window: true, ..inbound(told, at(second)) }).await.unwrap();
    };
    hears("E1", ADA, 10).await;
    hears("E2", BOB, 20).await;
    hears("E3", ADA, 30).await;
    hears("E4", BOB, 40).await;
    let heard = ledger.heard("main", ADA).await.unwrap();
    assert_eq!((heard.since, heard.latest, heard.last, heard.hidden), (Some(at(10)), Some(at(40)), Some(at(30)), None));
    let nobody = ledger.heard("main", EVE).await.unwrap();
    assert_eq!((nobody.since, nobody.last), (Some(at(10)), None));
    assert_eq!(ledger.heard("second", ADA).await.unwrap(), LastHeard::default());
}

#[tokio::test]
async fn a_person_who_is_forgotten_leaves_no_word_behind() {
    let ledger = Ledger::new();
    ledger.hears(named("E1", ADA, "Ada", 1), at(1)).await;
    ledger.hears(named("E2", BOB, "Bob", 1), at(1)).await;
    let own = |number, by: u8, to: &str| NewMessage { run: Some(run_id(by)), ..message(number, to) };
    ledger.begin(1).await;
    let mut over = promises(1, vec![own(1, 1, ADA)], ends());
    over.entries = vec![entry(0, json!("a secret"))];
    ledger.commit(over).await;
    ledger.sends(1, reached(1, MessageState::Sent)).await;
    ledger.begin(2).await;
    ledger.commit(promises(2, vec![own(2, 2, ADA), own(3, 2, BOB)], sleeps(1_000))).await;
    let knows = NewRun { event: json!({ "phone": "+1 541-754-3010" }).to_string().into(), ..run(3) };
    ledger.intake(knows).await.unwrap();
    ledger.waits(4, Question::Wait(postrider::model::question::Wait::Sleep { until: ms(1_000) })).await;
    ledger.put(message(4, BOB)).await;
    let gone = ledger.forget(ADA, "mark-1", at(5)).await.unwrap();
    let mut ended = gone.ended.clone();
    ended.sort();
    assert_eq!(ended, [run_id(2), run_id(3)]);
    assert!(gone.erased.messages >= 2 && gone.erased.runs == 3, "{gone:?}");
    let ledger = ledger.again();
    let states = [ledger.run_state(1).await, ledger.run_state(2).await, ledger.run_state(3).await];
    assert_eq!(states, [RunState::Succeeded, RunState::Cancelled, RunState::Cancelled]);
    assert_eq!(ledger.run_state(4).await, RunState::Waiting, "it knows nobody");
    assert_eq!(ledger.lane().await, [4], "what it had promised to others is taken back too");
    let to_ada = MessageFilter { to: vec![ADA.into()], limit: 10, ..MessageFilter::default() };
    assert!(ledger.messages(to_ada).await.unwrap().rows.is_empty());
    for number in 1..=3 {
        let shown = format!("{:?}", ledger.run(run_id(number)).await.unwrap());
        assert!(!shown.contains("541") && !shown.contains("754-3010"), "{shown}");
        assert!(!format!("{:?}", ledger.journal(run_id(number)).await.unwrap()).contains("a secret"));
    }
    let wrote = ledger.incoming(IncomingFilter { limit: 10, ..IncomingFilter::default() }).await.unwrap();
    assert_eq!(wrote.iter().map(|wrote| wrote.from.as_str()).collect::<Vec<_>>(), [BOB]);
    assert!(ledger.called(vec![ADA.into()]).await.unwrap().is_empty());
}

#[tokio::test]
async fn that_somebody_wants_no_more_is_not_forgotten() {
    let ledger = Ledger::new();
    ledger.hears(posted(letter("E1", ADA, "stop", at(1))), at(1)).await;
    ledger.forget(ADA, "mark-1", at(2)).await.unwrap();
    ledger.put(message(1, ADA)).await;
    assert!(!ledger.claims(1, at(3)).await);
    assert_eq!(ledger.forget(EVE, "mark-2", at(4)).await.unwrap(), Forgotten::default());
    assert!(ledger.message(id(9)).await.unwrap().is_none());
}
