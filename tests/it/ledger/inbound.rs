//! What gateways tell: to whom a person's message goes, what is told twice, and how doubt is settled.

use postrider::model::delivery::MessageState;
use postrider::model::inbound::{Connection, Echo, Fate as AckFate, Reaction, Told};
use postrider::model::message::NewMessage;
use postrider::model::opt_out::OptOut;
use postrider::model::question::{Asked, Question};
use postrider::model::recipient::Recipient;
use postrider::model::run::NewRun;
use postrider::model::walls::FlowNames;
use postrider::store::StoreError;
use postrider::store::records::*;

use super::{ADA, BOB, Ledger, ack, at, id, inbound, letter, message, ms, posted, reached, run, run_id};

fn listener(number: u8) -> NewRun {
    NewRun { flow: "heard".into(), trigger: "message".into(), ..run(number) }
}

fn waits_for(from: Option<&str>) -> Question {
    let from = from.map(str::to_owned);
    Question::Wait(postrider::model::question::Wait::Message {
        account: Some("main".into()),
        from,
        text: None,
        until: ms(100_000),
    })
}

fn ask(number: u8, to: &str) -> Question {
    let asked = Asked {
        message: id(100 + number),
        reminder: id(130 + number),
        repetition: id(160 + number),
        account: "main".into(),
        to: to.into(),
        text: "Ok?".into(),
        choices: Vec::new(),
        timeout: 86_400_000,
        remind: None,
    };
    Question::Wait(postrider::model::question::Wait::Ask(Box::new(asked)))
}

fn echo(number: u8, text: &str, by_hand: bool) -> Received {
    Received::Told(Told::Echo(Echo {
        message_id: format!("ECHO{number}"),
        at: at(5),
        chat: Recipient::parse(ADA).unwrap(),
        kind: "text",
        text: Some(text.into()),
        by_hand,
    }))
}

#[tokio::test]
async fn a_message_is_told_once_however_often_it_comes() {
    let ledger = Ledger::new();
    let mut first = letter("E1", ADA, "hello", at(1));
    first.others = vec![listener(1)];
    let mut again = first.clone();
    again.others = vec![listener(2)];
    assert_eq!(ledger.hears(posted(first), at(1)).await, [Fate::Began(vec![run_id(1)])]);
    let ledger = ledger.again();
    for second in [2, 6 * 86_400] {
        assert_eq!(ledger.hears(posted(again.clone()), at(second)).await, [Fate::Known]);
    }
    // The same id at another account is another event.
    let other = Inbound { account: "second".into(), ..inbound(posted(again), at(3)) };
    assert_eq!(ledger.receive(other).await.unwrap(), [Fate::Began(vec![run_id(2)])]);
    let twice = [posted(letter("E2", ADA, "a", at(4))), posted(letter("E2", ADA, "a", at(4)))].concat();
    assert_eq!(ledger.hears(twice, at(4)).await, [Fate::Unwanted, Fate::Known]);
}

#[tokio::test]
async fn who_comes_first_gets_a_message_and_nobody_else_does() {
    let ledger = Ledger::new();
    ledger.waits(1, waits_for(Some(ADA))).await;
    let mut both = letter("E1", ADA, "hello", at(2));
    (both.first, both.others) = (vec![listener(11)], vec![listener(12)]);
    assert_eq!(ledger.hears(posted(both.clone()), at(2)).await, [Fate::Began(vec![run_id(11)])]);
    assert!(ledger.ready(1).await.is_none());
    both.written.event_id = "E2".into();
    both.first.clear();
    assert_eq!(ledger.hears(posted(both.clone()), at(3)).await, [Fate::Answered(run_id(1))]);
    assert!(ledger.run(run_id(12)).await.unwrap().is_none());
    both.written.event_id = "E3".into();
    assert_eq!(ledger.hears(posted(both), at(4)).await, [Fate::Began(vec![run_id(12)])]);
    assert_eq!(ledger.hears(posted(letter("E4", ADA, "x", at(5))), at(5)).await, [Fate::Unwanted]);
}

#[tokio::test]
async fn of_several_that_wait_the_oldest_gets_a_message() {
    let ledger = Ledger::new();
    for (number, from) in [(1, Some(BOB)), (2, None), (3, Some(ADA))] {
        ledger.waits(number, waits_for(from)).await;
    }
    for (event, wanted) in
        [("E1", Fate::Answered(run_id(2))), ("E2", Fate::Answered(run_id(3))), ("E3", Fate::Unwanted)]
    {
        assert_eq!(ledger.hears(posted(letter(event, ADA, "x", at(5))), at(5)).await, [wanted]);
    }
}

#[tokio::test]
async fn a_quoted_reply_goes_to_the_question_that_it_quotes() {
    let ledger = Ledger::new();
    ledger.waits(1, waits_for(Some(ADA))).await;
    ledger.waits(2, ask(2, ADA)).await;
    ledger.sends(102, reached(102, MessageState::Delivered)).await;
    let quotes = |event: &str, quoted: &str| {
        let mut letter = letter(event, ADA, "yes", at(5));
        letter.written.reply_to = Some(quoted.into());
        posted(letter)
    };
    assert_eq!(ledger.hears(quotes("E1", "P102"), at(5)).await, [Fate::Answered(run_id(2))]);
    // It is closed: what quotes it is no answer to another one.
    ledger.cancel_run(run_id(1), at(5)).await.unwrap();
    ledger.waits(3, ask(3, ADA)).await;
    ledger.sends(103, reached(103, MessageState::Delivered)).await;
    assert_eq!(ledger.hears(quotes("E2", "P102"), at(6)).await, [Fate::Unwanted]);
    assert_eq!(ledger.hears(quotes("E3", "P103"), at(6)).await, [Fate::Answered(run_id(3))]);
}

#[tokio::test]
async fn a_flow_that_may_not_hear_an_account_is_told_nothing() {
    let ledger = Ledger::new();
    ledger.waits(1, waits_for(Some(ADA))).await;
    let told = posted(letter("E1", ADA, "x", at(2)));
    let walled = Inbound { flows: FlowNames::of(vec!["crm/*".into()]), ..inbound(told, at(2)) };
    assert_eq!(ledger.receive(walled).await.unwrap(), [Fate::Unwanted]);
    assert!(ledger.ready(1).await.is_none());
    assert_eq!(ledger.hears(posted(letter("E2", ADA, "x", at(3))), at(3)).await, [Fate::Answered(run_id(1))]);
}

#[tokio::test]
async fn another_account_is_another_chat() {
    let ledger = Ledger::new();
    ledger.waits(1, waits_for(Some(ADA))).await;
    let other = Inbound { account: "second".into(), ..inbound(posted(letter("E1", ADA, "x", at(2))), at(2)) };
    assert_eq!(ledger.receive(other).await.unwrap(), [Fate::Unwanted]);
}

#[tokio::test]
async fn what_cannot_be_taken_in_whole_is_not_taken_in_at_all() {
    let ledger = Ledger::new();
    ledger.limit_backlog(1).await.unwrap();
    ledger.begin(1).await;
    ledger.put(message(9, BOB)).await;
    ledger.sends(9, reached(9, MessageState::Accepted)).await;
    let mut begins = letter("E1", ADA, "x", at(2));
    begins.others = vec![listener(2)];
    let told = || [vec![ack(9, AckFate::Reached(MessageState::Read))], posted(begins.clone())].concat();
    assert_eq!(ledger.receive(inbound(told(), at(2))).await.unwrap_err(), StoreError::Backlog(1));
    assert_eq!(ledger.state(9).await, MessageState::Accepted);
    ledger.limit_backlog(10).await.unwrap();
    assert_eq!(ledger.hears(told(), at(3)).await, [Fate::Began(vec![run_id(2)])]);
    assert_eq!(ledger.state(9).await, MessageState::Read);
}

#[tokio::test]
async fn our_own_message_that_comes_back_settles_the_oldest_in_doubt_with_its_words() {
    let ledger = Ledger::new();
    for number in 1..=3 {
        let mut message = message(number, ADA);
        message.body = super::text(if number == 3 { "other" } else { "same" });
        ledger.put(message).await;
        ledger.sends(number, Verdict::Doubt { error: "?".into(), provider_id: None }).await;
    }
    assert!(ledger.hears(vec![echo(1, "same", true)], at(6)).await.is_empty());
    assert_eq!(ledger.state(1).await, MessageState::Unknown, "no program sent what was typed");
    ledger.hears(vec![echo(2, "same", false)], at(6)).await;
    let settled = ledger.record(1).await;
    assert!(matches!(settled.state, MessageState::Accepted | MessageState::Sent), "{:?}", settled.state);
    assert!(settled.degraded.iter().any(|change| change.field == "delivery"), "{:?}", settled.degraded);
    let rest = (ledger.state(2).await, ledger.state(3).await);
    assert_eq!(rest, (MessageState::Unknown, MessageState::Unknown));
    ledger.hears(vec![echo(2, "same", false)], at(7)).await;
    assert_eq!(ledger.state(2).await, MessageState::Unknown, "one message settles one");
    ledger.hears(vec![echo(3, "same", false)], at(8)).await;
    assert_ne!(ledger.state(2).await, MessageState::Unknown);
}

#[tokio::test]
async fn our_own_messages_start_and_answer_nothing() {
    let ledger = Ledger::new();
    ledger.waits(1, waits_for(Some(ADA))).await;
    assert!(ledger.hears(vec![echo(1, "hello", true), echo(2, "hello", false)], at(5)).await.is_empty());
    assert!(ledger.ready(1).await.is_none());
    assert!(ledger.incoming(IncomingFilter { limit: 10, ..IncomingFilter::default() }).await.unwrap().is_empty());
}

#[tokio::test]
async fn reactions_and_connections_start_nothing_and_a_reaction_is_noted_once() {
    let ledger = Ledger::new();
    ledger.waits(1, waits_for(Some(ADA))).await;
    let ada = || Recipient::parse(ADA).unwrap();
    let reaction = || {
        Received::Told(Told::Reaction(Reaction {
            event_id: "R1".into(),
            message_id: "P1".into(),
            at: at(5),
            chat: ada(),
            from: ada(),
            emoji: "👍".into(),
        }))
    };
    let down = Received::Told(Told::Connection(Connection { is_up: false, state: "closed".into() }));
    let left = Received::Told(Told::LeftOut("edited"));
    assert!(ledger.hears(vec![reaction(), reaction(), down, left], at(5)).await.is_empty());
    assert!(ledger.ready(1).await.is_none());
    let noted = ledger.incoming(IncomingFilter { limit: 10, ..IncomingFilter::default() }).await.unwrap();
    assert_eq!((noted.len(), noted[0].fate.as_str(), noted[0].from.as_str()), (1, "", ADA));
}

#[tokio::test]
async fn whoever_says_stop_gets_no_more_until_start() {
    let ledger = Ledger::new();
    ledger.waits(1, ask(1, ADA)).await;
    ledger.sends(101, reached(101, MessageState::Delivered)).await;
    let mut stop = letter("E1", ADA, "Stop!", at(5));
    stop.others = vec![listener(11)];
    assert_eq!(ledger.hears(posted(stop), at(5)).await, [Fate::Opted]);
    let thrown = ledger.ready(1).await.unwrap().answer.unwrap().unwrap_err();
    assert_eq!(thrown.kind, "opted_out");
    for (number, to) in [(2, ADA), (3, BOB)] {
        ledger.put(message(number, to)).await;
        ledger.claim("main", vec![id(number).into()], ClaimRules::default(), at(6)).await.unwrap();
    }
    assert_eq!((ledger.state(2).await, ledger.state(3).await), (MessageState::Rejected, MessageState::Sending));
    assert_eq!(ledger.record(2).await.attempts.last().unwrap().outcome.name(), "opted_out");
    let second = NewMessage { account: "second".into(), ..message(4, ADA) };
    ledger.put(second).await;
    let claims = ledger.claim("second", vec![id(4).into()], ClaimRules::default(), at(6)).await.unwrap();
    assert_eq!(claims.claimed.len(), 1, "it is said to one account");
    assert_eq!(ledger.person(ADA).await.unwrap().opted_out, [("main".to_owned(), at(5))]);
    let ledger = ledger.again();
    ledger.put(message(5, ADA)).await;
    assert!(!ledger.claims(5, at(7)).await, "it survives");
    assert_eq!(ledger.hears(posted(letter("E2", ADA, "START", at(8))), at(8)).await, [Fate::Opted]);
    ledger.put(message(6, ADA)).await;
    assert!(ledger.claims(6, at(9)).await);
    assert_eq!(ledger.state(2).await, MessageState::Rejected, "what is over is over");
}

#[tokio::test]
async fn the_reply_to_stop_is_sent_once_and_goes_out() {
    let ledger = Ledger::new();
    let opt_out = Some(OptOut { reply: Some("Bye".into()), ..OptOut::usual("en") });
    for (event, second) in [("E1", 1), ("E2", 2)] {
        let told = posted(letter(event, ADA, "stop", at(second)));
        let fates = ledger.receive(Inbound { opt_out: opt_out.clone(), ..inbound(told, at(second)) }).await.unwrap();
        assert_eq!(fates, [Fate::Opted]);
    }
    let lane = ledger.due_messages("main", 0, 10).await.unwrap();
    assert_eq!((lane.len(), lane[0].to.as_str()), (1, ADA));
    let claims = ledger.claim("main", vec![lane[0].id.into()], ClaimRules::default(), at(3)).await.unwrap();
    assert_eq!(claims.claimed.len(), 1);
}

#[tokio::test]
async fn stop_is_a_word_like_any_other_where_nobody_counts_it() {
    let ledger = Ledger::new();
    let told = posted(letter("E1", ADA, "stop", at(1)));
    let fates = ledger.receive(Inbound { opt_out: None, ..inbound(told, at(1)) }).await.unwrap();
    assert_eq!(fates, [Fate::Unwanted]);
    let sentence = posted(letter("E2", ADA, "please stop by", at(2)));
    assert_eq!(ledger.hears(sentence, at(2)).await, [Fate::Unwanted]);
    assert!(ledger.person(ADA).await.unwrap().opted_out.is_empty());
}

#[tokio::test]
async fn an_ack_is_for_its_own_message_by_either_id() {
    let ledger = Ledger::new();
    for number in 1..=2 {
        ledger.put(message(number, ADA)).await;
        ledger.sends(number, reached(number, MessageState::Accepted)).await;
    }
    ledger.hears(vec![ack(2, AckFate::Reached(MessageState::Delivered))], at(3)).await;
    assert_eq!((ledger.state(1).await, ledger.state(2).await), (MessageState::Accepted, MessageState::Delivered));
    let other = inbound(vec![ack(1, AckFate::Reached(MessageState::Read))], at(4));
    let _ = ledger.receive(Inbound { account: "second".into(), ..other }).await;
    assert_eq!(ledger.state(1).await, MessageState::Accepted, "another account knows nothing of it");
    let reached = ledger.record(2).await.attempts[0].reached.clone();
    assert!(reached.iter().any(|(state, _)| *state == MessageState::Delivered), "{reached:?}");
}

#[tokio::test]
async fn an_account_knows_when_it_last_heard_from_its_gateway() {
    let ledger = Ledger::new();
    for (event, second) in [("E1", 5), ("E2", 9)] {
        ledger.hears(posted(letter(event, ADA, "x", at(second))), at(second)).await;
    }
    assert_eq!(ledger.spent("main", "2027-01-15").await.unwrap().heard, Some(at(9)));
    assert_eq!(ledger.spent("second", "2027-01-15").await.unwrap().heard, None);
}
