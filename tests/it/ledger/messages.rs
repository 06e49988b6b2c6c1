//! Where a message stands: every step in every state, as the table of the design says it.

use std::time::Duration;

use postrider::model::delivery::{ErrorClass, MessageState};
use postrider::model::inbound::{Ack, Fate as AckFate, Told};
use postrider::model::message::NewMessage;
use postrider::store::records::*;

use super::{ADA, BOB, Ledger, ack, at, id, message, provider, reached};
use MessageState::*;

/// Something that may move a message.
#[derive(Clone, Debug)]
enum Step {
    Claim,
    Settle(Verdict),
    Ack(AckFate),
    Decide(Decision),
    Due,
    Resend,
    Recover,
}

fn error() -> (String, String) {
    ("invalid".into(), "no".into())
}

fn settle(state: MessageState) -> Step {
    Step::Settle(reached(0, state))
}

fn ack_of(state: MessageState) -> Step {
    Step::Ack(AckFate::Reached(state))
}

fn failed(class: ErrorClass) -> Step {
    Step::Ack(AckFate::Failed { class, error: "no".into() })
}

/// Each step with the states that it is legal in, and where it leads to from there.
fn table() -> Vec<(Step, Vec<(MessageState, MessageState)>)> {
    let again = Verdict::TryAgain { error: error(), due_at: at(30), counts: true };
    let upstream = ErrorClass::Upstream { retry_after: None };
    vec![
        (Step::Claim, vec![(Queued, Sending)]),
        (settle(Accepted), vec![(Sending, Accepted)]),
        (settle(Sent), vec![(Sending, Sent)]),
        (settle(Delivered), vec![(Sending, Delivered)]),
        (settle(Read), vec![(Sending, Read)]),
        (Step::Settle(again), vec![(Sending, Queued)]),
        (Step::Settle(Verdict::Doubt { error: "?".into(), provider_id: None }), vec![(Sending, Unknown)]),
        (Step::Settle(Verdict::Refuse { error: error() }), vec![(Sending, Rejected)]),
        (Step::Settle(Verdict::GiveUp { error: error() }), vec![(Sending, Dead)]),
        (ack_of(Accepted), vec![(Unknown, Accepted)]),
        (ack_of(Sent), vec![(Accepted, Sent), (Unknown, Sent)]),
        (ack_of(Delivered), vec![(Accepted, Delivered), (Sent, Delivered), (Unknown, Delivered)]),
        (ack_of(Read), vec![(Accepted, Read), (Sent, Read), (Delivered, Read), (Unknown, Read)]),
        (failed(ErrorClass::Invalid), vec![(Accepted, Rejected), (Sent, Rejected)]),
        (failed(ErrorClass::RecipientInvalid), vec![(Accepted, Rejected), (Sent, Rejected)]),
        // A late failure may be one that passes.
        (failed(upstream), vec![(Accepted, Queued), (Sent, Queued)]),
        (Step::Decide(Decision::Cancel), vec![(Scheduled, Cancelled), (Queued, Cancelled)]),
        (Step::Decide(Decision::Retry), vec![(Dead, Queued), (Rejected, Queued)]),
        (Step::Decide(Decision::ReleaseAsSent), vec![(Unknown, Sent)]),
        (Step::Decide(Decision::ReleaseAndResend), vec![(Unknown, Queued)]),
        (Step::Due, vec![(Scheduled, Queued)]),
        (Step::Resend, vec![(Unknown, Queued)]),
        (Step::Recover, vec![(Sending, Unknown)]),
    ]
}

impl Step {
    /// Whether the design leaves open what this does in a state: an ack for what is on the wire may be kept until
    /// the answer is there, a late yes is evidence like an ack, and whoever has a message has it, whatever was said
    /// before.
    fn is_open_in(&self, state: MessageState) -> bool {
        match self {
            Self::Ack(AckFate::Reached(Delivered | Read)) => matches!(state, Sending | Queued | Rejected),
            Self::Ack(_) => state == Sending,
            Self::Settle(Verdict::Reached { .. }) => {
                matches!(state, Queued | Accepted | Sent | Delivered | Unknown | Rejected)
            }
            _ => false,
        }
    }

    async fn take(&self, ledger: &Ledger, number: u8, before: MessageState, legal: Option<MessageState>) {
        match self {
            Self::Claim => assert_eq!(ledger.claims(number, at(20)).await, legal.is_some(), "{before:?}"),
            Self::Settle(verdict) => ledger.settles(number, verdict.clone(), at(20)).await,
            Self::Ack(fate) => assert!(ledger.hears(vec![ack(number, fate.clone())], at(20)).await.is_empty()),
            Self::Decide(decision) => {
                let wanted = legal.map_or(Decided::NotIn(before), Decided::Now);
                assert_eq!(ledger.decide(id(number), *decision, at(20)).await.unwrap(), wanted);
            }
            Self::Due => drop(ledger.move_messages(at(100), Vec::new()).await.unwrap()),
            Self::Resend => {
                let after = Duration::from_secs(60);
                let policy = ResendPolicy { account: "main".into(), after, attempts: 8 };
                ledger.move_messages(at(90), vec![policy]).await.unwrap();
            }
            Self::Recover => assert_eq!(ledger.recover(at(20)).await.unwrap(), u64::from(legal.is_some())),
        }
    }
}

#[tokio::test]
async fn each_step_moves_a_message_as_the_table_says_and_else_not_at_all() {
    let mut wrong = Vec::new();
    for (step, legal) in table() {
        let ledger = Ledger::new();
        for (number, state) in (1..).zip(MessageState::ALL) {
            if step.is_open_in(state) {
                continue;
            }
            ledger.bring(message(number, ADA), state).await;
            let before = ledger.record(number).await;
            let wanted = legal.iter().find(|(from, _)| *from == state).map(|(_, to)| *to);
            step.take(&ledger, number, state, wanted).await;
            let after = ledger.record(number).await;
            if after.state != wanted.unwrap_or(state) {
                wrong.push(format!("{step:?} in {state:?} leads to {:?}", after.state));
                continue;
            }
            let is_ack = matches!(step, Step::Ack(_));
            if wanted.is_none() && !is_ack && format!("{after:?}") != format!("{before:?}") {
                wrong.push(format!("{step:?} in {state:?} makes {after:?} of {before:?}"));
            }
            // It is in nobody's way for the next ones.
            if matches!(after.state, Sending) {
                ledger.settles(number, Verdict::Refuse { error: error() }, at(21)).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn only_what_is_not_on_its_way_expires() {
    let ledger = Ledger::new();
    let lasting = |number| NewMessage { valid_for: Some(Duration::from_secs(3_600)), ..message(number, ADA) };
    let states = MessageState::ALL.into_iter().filter(|state| *state != Expired);
    for (number, state) in (1..).zip(states.clone()) {
        ledger.bring(lasting(number), state).await;
    }
    ledger.move_messages(at(3_599), Vec::new()).await.unwrap();
    for (number, state) in (1..).zip(states.clone()) {
        let wanted = if state == Scheduled { Queued } else { state };
        assert_eq!(ledger.state(number).await, wanted, "{state:?} a second before");
    }
    // What was due at second 100 is worth sending for an hour from then on.
    ledger.move_messages(at(3_600), Vec::new()).await.unwrap();
    assert_eq!((ledger.state(1).await, ledger.state(2).await), (Queued, Expired));
    ledger.move_messages(at(3_700), Vec::new()).await.unwrap();
    for (number, state) in (1..).zip(states) {
        let wanted = if [Scheduled, Queued].contains(&state) { Expired } else { state };
        assert_eq!(ledger.state(number).await, wanted, "{state:?} an hour later");
    }
}

#[tokio::test]
async fn what_is_no_message_moves_nobody() {
    let ledger = Ledger::new();
    for decision in [Decision::Cancel, Decision::Retry, Decision::ReleaseAsSent, Decision::ReleaseAndResend] {
        assert_eq!(ledger.decide(id(9), decision, at(1)).await.unwrap(), Decided::Missing);
    }
    assert!(!ledger.claims(9, at(1)).await);
    assert!(ledger.message(id(9)).await.unwrap().is_none());
    let moved = ledger.move_messages(at(1), Vec::new()).await.unwrap();
    assert_eq!((moved.count, moved.next, ledger.recover(at(1)).await.unwrap()), (0, None, 0));
}

#[tokio::test]
async fn an_ack_that_comes_before_the_answer_is_kept_for_an_hour() {
    for (late, wanted) in [(60, Delivered), (3_599, Delivered), (3_661, Accepted)] {
        let ledger = Ledger::new();
        ledger.put(message(1, ADA)).await;
        assert!(ledger.claims(1, at(0)).await);
        // Only the gateway's own id tells which message it is about.
        let ack = Ack { message_id: provider(1), ours: None, chat: None, fate: AckFate::Reached(Delivered) };
        ledger.hears(vec![Received::Told(Told::Ack(ack))], at(1)).await;
        assert_eq!(ledger.state(1).await, Sending);
        ledger.settles(1, reached(1, Accepted), at(late)).await;
        assert_eq!(ledger.state(1).await, wanted, "after {late} s");
    }
}

#[tokio::test]
async fn an_ack_that_comes_before_the_answer_is_never_undone_by_it() {
    let ledger = Ledger::new();
    ledger.put(message(1, ADA)).await;
    assert!(ledger.claims(1, at(0)).await);
    ledger.hears(vec![ack(1, AckFate::Reached(Read))], at(1)).await;
    ledger.settles(1, reached(1, Accepted), at(2)).await;
    assert_eq!(ledger.state(1).await, Read);
}

#[tokio::test]
async fn whoever_tries_again_keeps_the_place_and_whoever_is_asked_to_goes_to_the_end() {
    let ledger = Ledger::new();
    let refuse = || Verdict::Refuse { error: error() };
    for number in 1..=4 {
        ledger.put(message(number, if number == 3 { BOB } else { ADA })).await;
    }
    ledger.sends(1, Verdict::TryAgain { error: error(), due_at: at(30), counts: true }).await;
    assert_eq!(ledger.lane().await, [1, 2, 3, 4]);
    let due = ledger.due_messages("main", 0, 1).await.unwrap().remove(0);
    assert_eq!((due.id, due.to.as_str(), due.due_at), (id(1), ADA, Some(at(30))));
    ledger.sends(2, refuse()).await;
    assert_eq!(ledger.decide(id(2), Decision::Retry, at(5)).await.unwrap(), Decided::Now(Queued));
    assert_eq!(ledger.lane().await, [1, 3, 4, 2]);
    ledger.sends(3, Verdict::Doubt { error: "?".into(), provider_id: None }).await;
    assert_eq!(ledger.decide(id(3), Decision::ReleaseAndResend, at(5)).await.unwrap(), Decided::Now(Queued));
    assert_eq!(ledger.lane().await, [1, 4, 2, 3]);
    let later = ledger.due_messages("main", due.seq, 2).await.unwrap();
    assert_eq!(later.iter().map(|due| due.id).collect::<Vec<_>>(), [id(4), id(2)]);
    let ledger = ledger.again();
    assert_eq!(ledger.lane().await, [1, 4, 2, 3], "the order survives");
}

#[tokio::test]
async fn a_message_enters_the_order_when_it_is_due() {
    let ledger = Ledger::new();
    ledger.put(NewMessage { at: Some(at(50)), ..message(1, ADA) }).await;
    ledger.put(NewMessage { at: Some(at(40)), ..message(2, ADA) }).await;
    ledger.put(message(3, ADA)).await;
    assert_eq!((ledger.lane().await, ledger.record(1).await.due_at), (vec![3], Some(at(50))));
    assert_eq!(ledger.move_messages(at(39), Vec::new()).await.unwrap().next, Some(at(40)));
    assert_eq!(ledger.move_messages(at(50), Vec::new()).await.unwrap().count, 2);
    assert_eq!(ledger.lane().await, [3, 2, 1]);
    assert_eq!(ledger.lane_length("main").await.unwrap(), 3);
    assert_eq!(ledger.lane_length("second").await.unwrap(), 0);
}

#[tokio::test]
async fn doubt_is_resent_when_it_is_old_enough_and_tries_are_left() {
    let ledger = Ledger::new();
    ledger.put(message(1, ADA)).await;
    let doubt = || Verdict::Doubt { error: "?".into(), provider_id: None };
    let policy =
        |account: &str| vec![ResendPolicy { account: account.into(), after: Duration::from_secs(60), attempts: 2 }];
    ledger.sends(1, doubt()).await;
    assert_eq!(ledger.move_messages(at(61), policy("main")).await.unwrap().next, Some(at(62)));
    assert_eq!(ledger.move_messages(at(62), policy("second")).await.unwrap().count, 0);
    assert_eq!(ledger.move_messages(at(62), Vec::new()).await.unwrap().count, 0, "a person decides");
    assert_eq!(ledger.move_messages(at(62), policy("main")).await.unwrap().count, 1);
    assert!(ledger.claims(1, at(63)).await);
    ledger.settles(1, doubt(), at(64)).await;
    // Two tries were made, and more there are not.
    assert_eq!(ledger.move_messages(at(1_000), policy("main")).await.unwrap().count, 0);
    assert_eq!(ledger.state(1).await, Unknown);
    let attempts = ledger.record(1).await.attempts;
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn an_attempt_is_on_record_before_the_wire_is_touched() {
    let ledger = Ledger::new();
    ledger.put(message(1, ADA)).await;
    let again = |counts| Verdict::TryAgain { error: error(), due_at: at(3), counts };
    let mut tries = Vec::new();
    for counts in [true, false, true] {
        let claims = ledger.claim("main", vec![id(1).into()], ClaimRules::default(), at(5)).await.unwrap();
        let claimed = &claims.claimed[0];
        assert_eq!((claimed.id, claimed.to.as_str(), claimed.preparing), (id(1), ADA, false));
        tries.push(claimed.tries);
        let attempts = ledger.record(1).await.attempts;
        let last = attempts.last().unwrap();
        assert_eq!((last.at, last.outcome.name()), (at(5).as_millisecond(), "open"));
        ledger.settles(1, again(counts), at(6)).await;
    }
    assert_eq!(tries, [0, 1, 1], "what does not count is no try");
}
