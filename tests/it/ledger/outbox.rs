//! The outbox beside the states of its messages: promises, keys, days that are counted, parts, accounts that take
//! over, links that are followed.

use std::time::Duration;

use postrider::ledger::Ledger as Durable;
use postrider::model::capability::{Capabilities, Kind};
use postrider::model::delivery::{MessageState, Part};
use postrider::model::message::{NewMessage, SendOptions};
use postrider::model::policy::OnUnsupported;
use postrider::store::records::*;
use postrider::store::{Signals, Store as _};

use super::{ADA, BOB, EVE, Ledger, at, id, link, message, reached, text};

const DAY: &str = "2027-01-15";
const NEXT_DAY: &str = "2027-01-16";

/// An account that can send nothing but texts to phones.
static TEXTS: Capabilities = Capabilities {
    kinds: &[Kind::new("text", &[])],
    addresses: &["phone"],
    cards: false,
    whole_cards: false,
    in_flight: 1,
    max_text: None,
    max_caption: None,
    window: false,
};

fn diversion() -> Diversion {
    Diversion {
        from: "main".into(),
        to: "second".into(),
        capabilities: &TEXTS,
        on_unsupported: OnUnsupported::Emulate,
        hosted: false,
        reason: "paused".into(),
    }
}

fn rules(day: &str, daily: Option<u32>, new_recipients: Option<u32>) -> ClaimRules {
    ClaimRules { budget: Some(Budget { day: day.into(), daily, new_recipients }), cards: false }
}

fn sent(number: u8) -> Verdict {
    reached(number, MessageState::Sent)
}

#[tokio::test]
async fn the_same_promise_is_one_message() {
    let ledger = Ledger::new();
    ledger.put(message(1, ADA)).await;
    let before = format!("{:?}", ledger.record(1).await);
    // Whether that is an error is not the point.
    let _ = ledger.promise(vec![message(1, ADA)], at(5)).await;
    assert_eq!(format!("{:?}", ledger.record(1).await), before);
    assert_eq!(ledger.lane().await, [1]);
    ledger.sends(1, sent(1)).await;
    let _ = ledger.promise(vec![message(1, ADA)], at(6)).await;
    assert_eq!((ledger.state(1).await, ledger.lane().await.len()), (MessageState::Sent, 0));
}

#[tokio::test]
async fn what_is_undone_is_counted_and_told_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let signals = Signals::default();
    let store = Durable::open(&folder.path().join("state.db"), 10, signals.clone()).unwrap();
    let keyed = |number| NewMessage { key: Some("k".into()), ..message(number, ADA) };
    let before = signals.feed.look();
    // The second one takes the first one's key: neither is promised.
    store.promise(vec![keyed(1), keyed(2)], at(0)).await.unwrap_err();
    assert!(store.message(id(1)).await.unwrap().is_none());
    assert_eq!(signals.tally.all_messages().len(), 0);
    assert_eq!(signals.feed.since(before).unwrap().1.len(), 0);
    store.promise(vec![keyed(1)], at(0)).await.unwrap();
    assert_eq!(signals.tally.all_messages().into_values().sum::<u64>(), 1);
    assert_eq!(signals.feed.since(before).unwrap().1.len(), 1);
}

#[tokio::test]
async fn a_key_means_a_flow_and_a_recipient() {
    let ledger = Ledger::new();
    let keyed =
        |number, to: &str, flow: &str| NewMessage { key: Some("k".into()), flow: flow.into(), ..message(number, to) };
    ledger.put(keyed(1, ADA, "flow")).await;
    ledger.put(keyed(2, BOB, "flow")).await;
    ledger.put(keyed(3, ADA, "other")).await;
    for (flow, key, to, wanted) in [
        ("flow", "k", ADA, Some(1)),
        ("flow", "k", BOB, Some(2)),
        ("other", "k", ADA, Some(3)),
        ("other", "k", BOB, None),
        ("flow", "other", ADA, None),
    ] {
        let found = ledger.keyed(flow, key, to).await.unwrap();
        assert_eq!(found.as_ref().map(|known| known.id), wanted.map(id), "{flow} {key} {to}");
        if let Some(known) = found {
            assert_eq!((known.to.as_str(), known.account.as_str()), (to, "main"));
        }
    }
    ledger.decide(id(1), Decision::Cancel, at(1)).await.unwrap();
    assert!(ledger.keyed("flow", "k", ADA).await.unwrap().is_some(), "for as long as messages are kept");
}

#[tokio::test]
async fn a_claim_takes_only_what_is_queued_in_that_account() {
    let ledger = Ledger::new();
    ledger.put(message(1, ADA)).await;
    ledger.put(NewMessage { account: "second".into(), ..message(2, ADA) }).await;
    let claims = ledger
        .claim("main", vec![id(1).into(), id(2).into(), id(3).into()], ClaimRules::default(), at(1))
        .await
        .unwrap();
    assert_eq!(claims.claimed.iter().map(|claimed| claimed.id).collect::<Vec<_>>(), [id(1)]);
    assert!(claims.held.is_empty());
    assert_eq!(ledger.state(2).await, MessageState::Queued);
}

#[tokio::test]
async fn a_day_has_room_for_so_many_messages() {
    let ledger = Ledger::new();
    for number in 1..=3 {
        ledger.put(message(number, ADA)).await;
    }
    let all = || [1, 2, 3].map(|number| id(number).into()).into();
    let claims = ledger.claim("main", all(), rules(DAY, Some(2), None), at(1)).await.unwrap();
    assert_eq!(claims.claimed.iter().map(|claimed| claimed.id).collect::<Vec<_>>(), [id(1), id(2)]);
    assert_eq!(claims.held, [(id(3), Held::Daily)]);
    assert_eq!(ledger.state(3).await, MessageState::Queued);
    ledger.settles(1, sent(1), at(2)).await;
    ledger.settles(2, sent(2), at(2)).await;
    assert_eq!(ledger.spent("main", DAY).await.unwrap().sent, Some(2));
    let ledger = ledger.again();
    let claims = ledger.claim("main", vec![id(3).into()], rules(DAY, Some(2), None), at(3)).await.unwrap();
    assert_eq!((claims.claimed.len(), claims.held.len()), (0, 1), "the count survives");
    let claims = ledger.claim("main", vec![id(3).into()], rules(NEXT_DAY, Some(2), None), at(4)).await.unwrap();
    assert_eq!(claims.claimed.len(), 1, "another day has room again");
}

#[tokio::test]
async fn a_day_has_room_for_so_many_new_people() {
    let ledger = Ledger::new();
    for (number, to) in [(1, ADA), (2, BOB), (3, ADA), (4, EVE)] {
        ledger.put(message(number, to)).await;
    }
    let budget = |day| rules(day, None, Some(1));
    let claims =
        ledger.claim("main", vec![id(1).into(), id(2).into(), id(3).into()], budget(DAY), at(1)).await.unwrap();
    let claimed: Vec<_> = claims.claimed.iter().map(|claimed| claimed.id).collect();
    assert_eq!((claimed, claims.held), (vec![id(1), id(3)], vec![(id(2), Held::NewRecipients)]));
    for number in [1, 3] {
        ledger.settles(number, sent(number), at(2)).await;
    }
    assert_eq!(ledger.spent("main", DAY).await.unwrap().new, Some(1));
    let claims = ledger.claim("main", vec![id(2).into()], budget(NEXT_DAY), at(3)).await.unwrap();
    assert_eq!(claims.claimed.len(), 1);
    ledger.settles(2, sent(2), at(4)).await;
    // While nothing was counted somebody got something: that person is no new one afterwards.
    ledger.stop_counting("main").await.unwrap();
    assert!(ledger.claims(4, at(5)).await);
    ledger.settles(4, sent(4), at(6)).await;
    ledger.put(message(5, EVE)).await;
    let claims = ledger.claim("main", vec![id(5).into()], rules(NEXT_DAY, None, Some(0)), at(7)).await.unwrap();
    assert_eq!(claims.claimed.len(), 1);
}

#[tokio::test]
async fn an_account_says_since_when_its_oldest_message_waits() {
    let ledger = Ledger::new();
    assert_eq!(ledger.spent("main", DAY).await.unwrap().oldest, None);
    ledger.promise(vec![message(1, ADA)], at(3)).await.unwrap();
    ledger.promise(vec![message(2, ADA)], at(5)).await.unwrap();
    assert_eq!(ledger.spent("main", DAY).await.unwrap().oldest, Some(at(3)));
    ledger.sends(1, sent(1)).await;
    let spent = ledger.spent("main", DAY).await.unwrap();
    assert_eq!((spent.oldest, spent.heard), (Some(at(5)), None));
}

#[tokio::test]
async fn what_is_being_prepared_has_not_touched_the_wire() {
    for is_touched in [false, true] {
        let ledger = Ledger::new();
        ledger.put(link(1, ADA)).await;
        let rules = ClaimRules { budget: None, cards: true };
        let claims = ledger.claim("main", vec![id(1).into()], rules, at(1)).await.unwrap();
        assert!(claims.claimed[0].preparing);
        assert_eq!(ledger.record(1).await.attempts[0].outcome.name(), "preparing");
        if is_touched {
            ledger.touch(id(1)).await.unwrap();
            assert_eq!(ledger.record(1).await.attempts[0].outcome.name(), "open");
        }
        let ledger = ledger.again();
        ledger.recover(at(2)).await.unwrap();
        let wanted = if is_touched { MessageState::Unknown } else { MessageState::Queued };
        assert_eq!(ledger.state(1).await, wanted, "touched: {is_touched}");
    }
}

#[tokio::test]
async fn each_part_has_a_state_of_its_own_that_survives() {
    let ledger = Ledger::new();
    ledger.put(message(1, ADA)).await;
    assert!(ledger.claims(1, at(1)).await);
    let mut parts = vec![Part::new(text("a"), true), Part::new(text("b"), false)];
    parts[0].state = MessageState::Sending;
    ledger.note_parts(id(1), parts.clone(), Vec::new(), at(2)).await.unwrap();
    assert_eq!(ledger.record(1).await.parts, parts);
    (parts[0].state, parts[0].provider_id) = (MessageState::Sent, Some("P1".into()));
    ledger.note_parts(id(1), parts.clone(), Vec::new(), at(3)).await.unwrap();
    let ledger = ledger.again();
    assert_eq!(ledger.record(1).await.parts, parts);
    let error = ("upstream".into(), "no".into());
    let verdict = Verdict::TryAgain { error, due_at: at(4), counts: true };
    ledger.settle(Settlement { id: id(1), at: at(4), verdict, parts: parts.clone(), opened: None }).await.unwrap();
    let claims = ledger.claim("main", vec![id(1).into()], ClaimRules::default(), at(5)).await.unwrap();
    assert_eq!(claims.claimed[0].parts, parts, "what is out is not sent again");
}

#[tokio::test]
async fn a_persons_word_vouches_for_the_parts_that_were_in_doubt() {
    let ledger = Ledger::new();
    ledger.put(message(1, ADA)).await;
    assert!(ledger.claims(1, at(1)).await);
    let mut parts = vec![Part::new(text("a"), true), Part::new(text("b"), false)];
    (parts[0].state, parts[1].state) = (MessageState::Sent, MessageState::Unknown);
    let verdict = Verdict::Doubt { error: "?".into(), provider_id: None };
    ledger.settle(Settlement { id: id(1), at: at(2), verdict, parts, opened: None }).await.unwrap();
    let now = ledger.decide(id(1), Decision::ReleaseAsSent, at(3)).await.unwrap();
    assert_eq!(now, Decided::Now(MessageState::Sent));
    let states: Vec<_> = ledger.record(1).await.parts.iter().map(|part| part.state).collect();
    assert_eq!(states, [MessageState::Sent, MessageState::Sent]);
}

#[tokio::test]
async fn the_messages_of_a_recipient_move_together_and_what_cannot_be_sent_stays() {
    let ledger = Ledger::new();
    let answer = SendOptions { reply_to: Some("X".into()), ..SendOptions::default() };
    let mut reply = message(2, ADA);
    reply.body.options = answer;
    for message in [message(1, ADA), reply, message(3, BOB), message(4, "120363024512345678@g.us")] {
        ledger.put(message).await;
    }
    let mut groups = ledger.divertible(&diversion()).await.unwrap();
    groups.sort();
    assert_eq!(groups, [vec![id(1), id(2)], vec![id(3)]]);
    // Somebody was quicker.
    ledger.decide(id(3), Decision::Cancel, at(1)).await.unwrap();
    let moved = ledger.divert(groups.concat(), diversion(), at(2)).await.unwrap();
    assert_eq!(moved, 2);
    let due = ledger.due_messages("second", 0, 10).await.unwrap();
    assert_eq!(due.iter().map(|due| due.id).collect::<Vec<_>>(), [id(1), id(2)]);
    let reply = ledger.record(2).await;
    assert_eq!((reply.account.as_str(), reply.body.options.reply_to), ("second", None));
    assert!(reply.degraded.iter().any(|change| change.field == "reply_to"), "{:?}", reply.degraded);
    assert_eq!((ledger.lane().await, ledger.state(3).await), (vec![4], MessageState::Cancelled));
}

#[tokio::test]
async fn what_went_out_or_may_have_does_not_move_to_another_account() {
    use MessageState::*;
    let ledger = Ledger::new();
    let phones = ["+15417543020", "+15417543021", "+15417543022", "+15417543023", "+15417543024", "+15417543025"];
    let states = [Sending, Sent, Unknown, Rejected, Dead, Expired];
    for ((number, to), state) in (1..).zip(phones).zip(states) {
        ledger.bring(message(number, to), state).await;
    }
    assert!(ledger.divertible(&diversion()).await.unwrap().is_empty());
    let all = (1..=6).map(id).collect();
    assert_eq!(ledger.divert(all, diversion(), at(5)).await.unwrap(), 0);
    for (number, state) in (1..).zip(states) {
        assert_eq!((ledger.record(number).await.account.as_str(), ledger.state(number).await), ("main", state));
    }
}

#[tokio::test]
async fn clicks_count_from_when_a_message_was_sent() {
    let ledger = Ledger::new();
    ledger.put(link(1, ADA)).await;
    ledger.click(id(1), at(1)).await.unwrap();
    assert_eq!(ledger.record(1).await.clicks, None, "the gateway looks at the page");
    ledger.sends(1, sent(1)).await;
    ledger.click(id(1), at(10)).await.unwrap();
    ledger.click(id(1), at(20)).await.unwrap();
    assert_eq!(ledger.again().record(1).await.clicks, Some((2, at(10))));
}

#[tokio::test]
async fn the_store_says_how_much_it_has_written() {
    let ledger = Ledger::new();
    let before = ledger.traffic();
    ledger.put(message(1, ADA)).await;
    let after = ledger.traffic();
    assert!(after.commands > before.commands && after.commits > before.commits);
    assert_eq!(ledger.record(1).await.due_at, None);
    let valid = NewMessage { valid_for: Some(Duration::from_secs(5)), ..message(2, ADA) };
    ledger.promise(vec![valid, message(3, BOB)], at(0)).await.unwrap();
    assert_eq!(ledger.lane().await, [1, 2, 3]);
}
