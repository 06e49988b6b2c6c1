//! Questions: what each waits for, what answers it, and what one person is asked at a time.

use postrider::model::delivery::MessageState;
use postrider::model::inbound::Fate as AckFate;
use postrider::model::journal::TurnCommit;
use postrider::model::message::Content;
use postrider::model::question::{Asked, Question};
use postrider::model::run::{RunState, ScriptError};
use postrider::store::records::*;
use serde_json::{Number, Value, json};

use super::{
    ADA, BOB, Ledger, ack, asks, at, ends, id, is_yes, letter, link, message, ms, posted, reached, run_id, turn,
};
use MessageState::*;

/// A question of a run to somebody; its messages are 100, 130 and 160 behind the run's number.
fn asked(number: u8, to: &str) -> Asked {
    Asked {
        message: id(100 + number),
        reminder: id(130 + number),
        repetition: id(160 + number),
        account: "main".into(),
        to: to.into(),
        text: "Ok?".into(),
        choices: Vec::new(),
        timeout: 3_600_000,
        remind: None,
    }
}

fn ask(asked: Asked) -> Question {
    Question::Wait(postrider::model::question::Wait::Ask(Box::new(asked)))
}

fn delivery(number: u8, goal: &str, until: Option<i64>) -> Question {
    Question::Wait(postrider::model::question::Wait::Delivery { message: id(number), goal: goal.into(), until })
}

/// The answer that a run got; none as long as it waits.
async fn answer(ledger: &Ledger, number: u8) -> Option<Result<Value, ScriptError>> {
    ledger.ready(number).await.map(|ready| ready.answer.unwrap_or(Ok(Value::Null)))
}

#[tokio::test]
async fn a_sleep_ends_when_its_time_has_come_and_not_before() {
    let ledger = Ledger::new();
    assert_eq!(
        ledger.waits(1, Question::Wait(postrider::model::question::Wait::Sleep { until: ms(60) })).await,
        Committed::Yes { part: None, ready: None }
    );
    let waits = ledger.run(run_id(1)).await.unwrap().unwrap().waiting_for.unwrap();
    assert_eq!((waits.kind.as_str(), waits.until), ("time", Some(ms(60))));
    let ledger = ledger.again();
    let woken = ledger.wake_runs(at(59)).await.unwrap();
    assert_eq!((woken.count, woken.next, ledger.ready(1).await.is_none()), (0, Some(at(60)), true));
    assert_eq!(ledger.wake_runs(at(61)).await.unwrap().count, 1);
    assert!(ledger.ready_flows().await.unwrap() == ["flow"]);
}

/// What ends each wait for a message: these states, and all from which it cannot come any more.
const ENDS: [(&str, &[MessageState]); 5] = [
    ("settled", &[Accepted, Sent, Delivered, Read, Unknown]),
    ("accepted", &[Accepted, Sent, Delivered, Read]),
    ("sent", &[Sent, Delivered, Read]),
    ("delivered", &[Delivered, Read]),
    ("read", &[Read]),
];

#[tokio::test]
async fn a_wait_for_a_message_ends_by_what_it_waits_for_or_what_rules_it_out() {
    for (goal, states) in ENDS {
        let ledger = Ledger::new();
        for (number, state) in (1..).zip(MessageState::ALL) {
            ledger.bring(message(number, ADA), state).await;
            ledger.waits(number, delivery(number, goal, None)).await;
            let wanted = states.contains(&state) || [Rejected, Dead, Expired, Cancelled].contains(&state);
            assert_eq!(ledger.ready(number).await.is_some(), wanted, "{goal} in {state:?}");
        }
    }
}

#[tokio::test]
async fn a_wait_for_a_message_follows_it_as_it_goes() {
    let ledger = Ledger::new();
    ledger.put(message(1, ADA)).await;
    for (number, goal) in (1..).zip(["settled", "sent", "delivered", "read"]) {
        ledger.waits(number, delivery(1, goal, Some(ms(100)))).await;
    }
    let ready = async |ledger: &Ledger| {
        let mut ready = Vec::new();
        for number in 1..=4 {
            ready.extend(ledger.ready(number).await.map(|_| number));
        }
        ready
    };
    let waits = ledger.run(run_id(1)).await.unwrap().unwrap().waiting_for.unwrap();
    assert_eq!((waits.kind.as_str(), waits.until), ("delivery", Some(ms(100))));
    ledger.sends(1, reached(1, Accepted)).await;
    assert_eq!(ready(&ledger).await, [1]);
    ledger.hears(vec![ack(1, AckFate::Reached(Sent))], at(3)).await;
    assert_eq!(ready(&ledger).await, [1, 2]);
    let ledger = ledger.again();
    ledger.hears(vec![ack(1, AckFate::Reached(Delivered))], at(4)).await;
    assert_eq!(ready(&ledger).await, [1, 2, 3]);
    assert_eq!(ledger.wake_runs(at(99)).await.unwrap().next, Some(at(100)));
    assert_eq!(ledger.wake_runs(at(100)).await.unwrap().count, 1, "only one still waits");
}

#[tokio::test]
async fn a_wait_for_a_click_ends_by_a_click_and_not_by_a_state() {
    let ledger = Ledger::new();
    ledger.put(link(1, ADA)).await;
    ledger.waits(1, delivery(1, "clicked", None)).await;
    ledger.sends(1, reached(1, Read)).await;
    assert!(ledger.ready(1).await.is_none());
    ledger.click(id(1), at(5)).await.unwrap();
    assert!(ledger.ready(1).await.is_some());
    ledger.waits(2, delivery(1, "clicked", None)).await;
    assert!(ledger.ready(2).await.is_some(), "it was followed already");
}

#[tokio::test]
async fn taking_back_is_in_time_as_long_as_nothing_went_out() {
    let ledger = Ledger::new();
    for (number, state) in (1..).zip(MessageState::ALL) {
        ledger.bring(message(number, ADA), state).await;
        let committed = ledger
            .waits(number, Question::Change(postrider::model::question::Change::Cancel { message: id(number) }))
            .await;
        assert!(matches!(committed, Committed::Yes { ready: Some(_), .. }), "{committed:?}");
        let is_open = [Scheduled, Queued].contains(&state);
        // What was taken back before is no less taken back.
        if state != Cancelled {
            assert_eq!(answer(&ledger, number).await, Some(Ok(json!(is_open))), "{state:?}");
        }
        assert_eq!(ledger.state(number).await, if is_open { Cancelled } else { state });
    }
}

#[tokio::test]
async fn an_increment_is_one_step_with_its_answer() {
    let ledger = Ledger::new();
    let add = |shared, by: i64| {
        Question::Change(postrider::model::question::Change::Increment {
            shared,
            key: "n".into(),
            by: Number::from(by),
        })
    };
    for (number, shared, by, sum) in [(1, false, 1, 1), (2, false, 4, 5), (3, true, 2, 2), (4, false, -6, -1)] {
        let committed = ledger.waits(number, add(shared, by)).await;
        assert!(matches!(committed, Committed::Yes { ready: Some(_), .. }), "{committed:?}");
        assert_eq!(answer(&ledger, number).await, Some(Ok(json!(sum))));
        let space = if shared { "" } else { "flow" };
        assert_eq!(ledger.kv_get(space, "n", at(5)).await.unwrap(), Some(json!(sum)));
    }
    let ledger = ledger.again();
    assert_eq!(answer(&ledger, 1).await, Some(Ok(json!(1))), "the answer survives");
    // The same turn again is none.
    let stale = ledger.commit_turn(TurnCommit { ready: 1, ..turn(1, asks(add(false, 1))) }).await.unwrap();
    assert_eq!((stale, ledger.kv_get("flow", "n", at(5)).await.unwrap()), (Committed::Stale, Some(json!(-1))));
}

#[tokio::test]
async fn an_errand_is_on_record_until_its_answer_is() {
    let ledger = Ledger::new();
    let question = || {
        Question::Errand(postrider::model::question::Errand::Http { calls: Vec::new(), all: false, again: Vec::new() })
    };
    let Committed::Yes { ready: Some(ready), .. } = ledger.waits(1, question()).await else { panic!("not ready") };
    let ledger = ledger.again();
    let found = ledger.ready(1).await.unwrap();
    assert!(found.errand().is_some() && found.ready == ready);
    assert!(!ledger.answer_errand(run_id(1), ready + 100, Ok(json!(0))).await.unwrap(), "of an older reading");
    assert!(ledger.answer_errand(run_id(1), ready, Ok(json!({ "status": 200 }))).await.unwrap());
    assert!(!ledger.answer_errand(run_id(1), ready, Ok(json!(2))).await.unwrap(), "once");
    let found = ledger.again().ready(1).await.unwrap();
    assert!(found.errand().is_none() && found.answer == Some(Ok(json!({ "status": 200 }))));
}

#[tokio::test]
async fn nobody_wants_the_errand_of_a_run_that_was_cancelled() {
    let ledger = Ledger::new();
    let question =
        Question::Errand(postrider::model::question::Errand::Move { from: "a".into(), to: "b".into(), seen: None });
    let Committed::Yes { ready: Some(ready), .. } = ledger.waits(1, question).await else { panic!("not ready") };
    assert_eq!(ledger.cancel_run(run_id(1), at(2)).await.unwrap(), RunDecided::Done);
    assert!(!ledger.answer_errand(run_id(1), ready, Ok(json!(1))).await.unwrap());
    assert_eq!((ledger.run_state(1).await, ledger.ready(1).await.is_none()), (RunState::Cancelled, true));
}

#[tokio::test]
async fn a_question_goes_out_as_a_message_and_its_time_runs_from_when_the_gateway_has_it() {
    let ledger = Ledger::new();
    let choices: Vec<String> = vec!["Yes".into(), "No".into()];
    ledger.waits(1, ask(Asked { choices: choices.clone(), ..asked(1, ADA) })).await;
    let question = ledger.record(101).await;
    assert_eq!((question.state, question.to.as_str(), question.run), (Queued, ADA, Some(run_id(1))));
    assert_eq!(question.body.content, Content::Question { text: "Ok?".into(), choices });
    let waits = async |ledger: &Ledger| ledger.run(run_id(1)).await.unwrap().unwrap().waiting_for.unwrap();
    assert_eq!((waits(&ledger).await.kind.as_str(), waits(&ledger).await.until), ("reply", None));
    assert_eq!(ledger.wake_runs(at(100_000)).await.unwrap().count, 0);
    assert!(ledger.claims(101, at(100_000)).await);
    ledger.settles(101, reached(101, Accepted), at(100_001)).await;
    assert_eq!(waits(&ledger).await.until, Some(ms(103_601)));
    let ledger = ledger.again();
    assert_eq!(ledger.wake_runs(at(103_600)).await.unwrap().count, 0);
    assert_eq!(ledger.wake_runs(at(103_601)).await.unwrap().count, 1);
    assert_eq!(answer(&ledger, 1).await, Some(Ok(Value::Null)));
}

#[tokio::test]
async fn a_reminder_goes_out_once_in_the_middle() {
    let ledger = Ledger::new();
    ledger.waits(1, ask(Asked { remind: Some(60_000), ..asked(1, ADA) })).await;
    ledger.sends(101, reached(101, Accepted)).await;
    ledger.wake_runs(at(61)).await.unwrap();
    assert!(ledger.lane().await.is_empty());
    ledger.wake_runs(at(62)).await.unwrap();
    assert_eq!((ledger.lane().await, ledger.ready(1).await.is_none()), (vec![131], true));
    ledger.wake_runs(at(63)).await.unwrap();
    assert_eq!((ledger.lane().await, ledger.record(131).await.to), (vec![131], ADA.to_owned()));
    assert_eq!(ledger.wake_runs(at(3_602)).await.unwrap().count, 1);
}

#[tokio::test]
async fn one_question_at_a_time_is_open_in_a_chat() {
    let ledger = Ledger::new();
    for (number, to) in [(1, ADA), (2, ADA), (3, BOB), (4, ADA)] {
        ledger.waits(number, ask(asked(number, to))).await;
    }
    assert_eq!(ledger.lane().await, [101, 103]);
    assert!(ledger.origin(run_id(2)).await.unwrap().unwrap().is_behind);
    assert!(!ledger.origin(run_id(1)).await.unwrap().unwrap().is_behind);
    ledger.sends(101, reached(101, Delivered)).await;
    // The second never gets its turn, so the third comes next.
    assert_eq!(ledger.cancel_run(run_id(2), at(3)).await.unwrap(), RunDecided::Done);
    assert_eq!(ledger.hears(posted(letter("E1", ADA, "yes", at(4))), at(4)).await, [Fate::Answered(run_id(1))]);
    assert_eq!(ledger.lane().await, [103, 104]);
    let ledger = ledger.again();
    ledger.sends(104, reached(104, Delivered)).await;
    assert_eq!(ledger.hears(posted(letter("E2", ADA, "no", at(5))), at(5)).await, [Fate::Answered(run_id(4))]);
    assert_eq!(answer(&ledger, 4).await.unwrap().unwrap()["text"], "no");
}

#[tokio::test]
async fn the_next_question_goes_out_when_the_time_of_the_one_before_is_up() {
    let ledger = Ledger::new();
    ledger.waits(1, ask(asked(1, ADA))).await;
    ledger.waits(2, ask(asked(2, ADA))).await;
    ledger.sends(101, reached(101, Sent)).await;
    assert_eq!(ledger.end_wait(run_id(1), at(10)).await.unwrap(), RunDecided::Done);
    assert_eq!((answer(&ledger, 1).await, ledger.lane().await), (Some(Ok(Value::Null)), vec![102]));
}

#[tokio::test]
async fn a_question_that_was_not_delivered_throws() {
    for (number, state) in (1..).zip([Rejected, Dead, Cancelled]) {
        let ledger = Ledger::new();
        ledger.waits(number, ask(asked(number, ADA))).await;
        ledger.waits(number + 10, ask(asked(number + 10, ADA))).await;
        let error = ("recipient_invalid".to_owned(), "nobody".to_owned());
        match state {
            Rejected => ledger.sends(100 + number, Verdict::Refuse { error }).await,
            Dead => ledger.sends(100 + number, Verdict::GiveUp { error }).await,
            _ => drop(ledger.decide(id(100 + number), Decision::Cancel, at(1)).await.unwrap()),
        }
        assert_eq!(ledger.state(100 + number).await, state);
        let thrown = answer(&ledger, number).await.unwrap().unwrap_err();
        assert_eq!(thrown.kind, "undeliverable", "{state:?}");
        assert_eq!(ledger.lane().await, [110 + number], "the next one goes out");
    }
}

#[tokio::test]
async fn a_question_that_fails_late_throws_too() {
    let ledger = Ledger::new();
    ledger.waits(1, ask(asked(1, ADA))).await;
    ledger.sends(101, reached(101, Sent)).await;
    let class = postrider::model::delivery::ErrorClass::RecipientInvalid;
    ledger.hears(vec![ack(101, AckFate::Failed { class, error: "nobody".into() })], at(3)).await;
    assert_eq!(answer(&ledger, 1).await.unwrap().unwrap_err().kind, "undeliverable");
}

#[tokio::test]
async fn what_is_no_choice_makes_the_question_come_once_more() {
    let ledger = Ledger::new();
    let choices = vec!["Yes".into(), "No".into()];
    ledger.waits(1, ask(Asked { choices, ..asked(1, ADA) })).await;
    ledger.sends(101, reached(101, Delivered)).await;
    assert_eq!(ledger.hears(posted(letter("E1", ADA, "perhaps", at(3))), at(3)).await, [Fate::Repeated(run_id(1))]);
    let repeated = ledger.record(161).await;
    assert_eq!((repeated.body.options.reply_to.as_deref(), repeated.state), (Some("E1"), Queued));
    assert_eq!(ledger.hears(posted(letter("E2", ADA, "perhaps", at(4))), at(4)).await, [Fate::Unwanted]);
    assert_eq!(ledger.hears(posted(letter("E3", ADA, "2.", at(5))), at(5)).await, [Fate::Answered(run_id(1))]);
    let said = answer(&ledger, 1).await.unwrap().unwrap();
    assert_eq!((&said["choice"], &said["text"], &said["from"]), (&json!("No"), &json!("2."), &json!(ADA)));
}

#[tokio::test]
async fn what_was_written_before_a_question_is_no_answer_to_it() {
    let ledger = Ledger::new();
    assert_eq!(ledger.hears(posted(letter("E0", ADA, "hello", at(0))), at(0)).await, [Fate::Unwanted]);
    ledger.waits(1, ask(asked(1, ADA))).await;
    assert!(ledger.claims(101, at(4_000)).await);
    ledger.settles(101, reached(101, Delivered), at(4_001)).await;
    assert_eq!(ledger.hears(posted(letter("E1", ADA, "late", at(100))), at(5_000)).await, [Fate::Unwanted]);
    assert!(ledger.ready(1).await.is_none());
}

#[tokio::test]
async fn a_question_in_doubt_is_settled_by_its_answer() {
    let ledger = Ledger::new();
    ledger.waits(1, ask(asked(1, ADA))).await;
    ledger.sends(101, Verdict::Doubt { error: "?".into(), provider_id: None }).await;
    assert_eq!(ledger.hears(posted(letter("E1", ADA, "yes", at(10))), at(10)).await, [Fate::Answered(run_id(1))]);
    let question = ledger.record(101).await;
    assert_ne!(question.state, Unknown);
    assert!(question.degraded.iter().any(|change| change.field == "delivery"), "{:?}", question.degraded);
}

#[tokio::test]
async fn a_wait_for_a_message_takes_what_fits_and_ends_by_its_time() {
    let ledger = Ledger::new();
    let waits = |from: Option<&str>, text: Option<&str>| {
        Question::Wait(postrider::model::question::Wait::Message {
            account: Some("main".into()),
            from: from.map(str::to_owned),
            text: text.map(str::to_owned),
            until: ms(100),
        })
    };
    assert!(!ledger.is_listening().await.unwrap());
    ledger.waits(1, waits(Some(ADA), Some("(?i)^yes"))).await;
    assert!(ledger.is_listening().await.unwrap());
    ledger.waits(2, waits(None, Some("number"))).await;
    let heard = async |event: &str, from: &str, text: &str| {
        ledger.hears(posted(letter(event, from, text, at(5))), at(5)).await.remove(0)
    };
    assert_eq!(heard("E1", ADA, "no").await, Fate::Unwanted);
    assert_eq!(heard("E2", BOB, "yes").await, Fate::Unwanted);
    assert_eq!(heard("E3", BOB, "my number is 7").await, Fate::Answered(run_id(2)));
    assert_eq!(answer(&ledger, 2).await.unwrap().unwrap()["text"], "my number is 7");
    assert_eq!(heard("E4", BOB, "my number is 8").await, Fate::Unwanted, "it took one");
    assert_eq!(ledger.wake_runs(at(100)).await.unwrap().count, 1);
    assert_eq!((answer(&ledger, 1).await, heard("E5", ADA, "yes").await), (Some(Ok(Value::Null)), Fate::Unwanted));
}

#[tokio::test]
async fn a_turn_that_waits_for_what_is_not_there_is_still_a_turn() {
    let ledger = Ledger::new();
    ledger.waits(1, delivery(9, "settled", None)).await;
    // The message is not kept any more, and the run is told so.
    assert!(ledger.ready(1).await.is_some());
    assert!(is_yes(&ledger.commit(turn(1, ends())).await));
}
