//! Attempts, opened within the day's budget; and when people last wrote. Where no budget is counted, first attempts
//! are opened by [`commands::sets`](super::commands) in the same way.

use jiff::Timestamp;

use super::attempts::settle;
use super::messages::{is_now, set_aside};
use super::work::Work;
use crate::id::MessageId;
use crate::model::delivery::{Attempt, AttemptOutcome, MessageState, OPTED_OUT, Step};
use crate::model::message::Content;
use crate::model::recipient::Recipient;
use crate::store::records::{Budget, ClaimRules, Claimed, Claims, Held, Settlement, ToClaim, Verdict};
use crate::store::rows;
use crate::store::rows::outbox::Claimable;
use crate::store::tx::Read;

/// What the budget has left.
struct Left {
    budget: Budget,
    sent: u32,
    new: u32,
}

/// Opens an attempt for each message that is still queued in `account`, as far as the budget goes.
pub fn claim(
    work: &mut Work<'_>,
    account: &str,
    messages: &[ToClaim],
    rules: &ClaimRules,
    now: Timestamp,
) -> Read<Claims> {
    let mut left = rules.budget.clone().map(|budget| open_day(work, account, budget)).transpose()?;
    let mut claims = Claims { claimed: Vec::with_capacity(messages.len()), ..Claims::default() };
    for ToClaim { id, .. } in messages {
        let outcome = work.each(
            |work| claim_one(work, account, *id, rules, left.as_mut(), now),
            |work, why| set_aside(work, *id, why, now),
        )?;
        match outcome.flatten() {
            None => {}
            Some(Ok(message)) => claims.claimed.push(message),
            Some(Err(held)) => claims.held.push((*id, held)),
        }
    }
    Ok(claims)
}

/// Opens an attempt for one; none when it is not there for that any more.
fn claim_one(
    work: &mut Work<'_>,
    account: &str,
    id: MessageId,
    rules: &ClaimRules,
    left: Option<&mut Left>,
    now: Timestamp,
) -> Read<Option<Result<Claimed, Held>>> {
    let Some(found) = rows::outbox::claimable(work.tx, account, id)? else { return Ok(None) };
    if !is_there_for_it(&found, now) {
        return Ok(None);
    }
    // Whoever wants to hear no more is told so once, and nothing else.
    let refused = work.anybody_opted_out()?
        && rows::people::opted_out(work.tx, account, &found.to)?.is_some_and(|reply| reply != Some(id));
    // A message counts when it is tried first by this account.
    let first = found.attempts.iter().all(|attempt| attempt.account.is_some());
    if let Some(left) = left.filter(|_| first && !refused)
        && let Some(held) = count(work, account, &found.to, left)?
    {
        return Ok(Some(Err(held)));
    }
    let (attempts, claimed) = opened(id, found, rules, now);
    rows::outbox::claim(work.tx, id, &attempts, now)?;
    work.memory.on_the_wire.add(id, account, &claimed.to);
    is_now(work, id, account, MessageState::Sending)?;
    if refused {
        let sentence = format!("{} wants to get no more messages from this account", claimed.to);
        let verdict = Verdict::Refuse { error: (OPTED_OUT.into(), sentence) };
        settle(work, &Settlement { id, at: now, verdict, parts: Vec::new(), opened: None })?;
        return Ok(None);
    }
    Ok(Some(Ok(claimed)))
}

/// Opens an attempt for one of an account that counts no days.
pub fn claim_unbudgeted(
    work: &mut Work<'_>,
    account: &str,
    id: MessageId,
    rules: &ClaimRules,
    now: Timestamp,
) -> Read<Option<Claimed>> {
    Ok(claim_one(work, account, id, rules, None, now)?.and_then(Result::ok))
}

/// Whether a message may be claimed where it stands.
fn is_there_for_it(found: &Claimable, now: Timestamp) -> bool {
    found.expires_at.is_none_or(|expires| expires > now)
        && found.state.after(Step::Claim) == Some(MessageState::Sending)
}

/// The tries of a message with one more that is open, and the message as whoever makes it gets it.
fn opened(id: MessageId, found: Claimable, rules: &ClaimRules, now: Timestamp) -> (Vec<Attempt>, Claimed) {
    let Claimable { to, body, tries, mut attempts, parts, .. } = found;
    let preparing = is_prepared(&body.content, rules.cards);
    // What is only being prepared when the engine dies has certainly not gone out.
    let outcome = if preparing { AttemptOutcome::Preparing } else { AttemptOutcome::Open };
    attempts.push(Attempt { outcome, ..Attempt::open(attempts.len() as u32 + 1, now) });
    (attempts, Claimed { id, to, body, tries, parts, preparing, opened: None })
}

/// The tries of a message whose first one is open.
pub fn opened_first(now: Timestamp, outcome: AttemptOutcome) -> [Attempt; 1] {
    [Attempt { outcome, ..Attempt::open(1, now) }]
}

/// Whether something is fetched for a message, or the names in its addresses are asked for, before it touches
/// the wire.
pub fn is_prepared(content: &Content, cards: bool) -> bool {
    match content {
        Content::Link { .. } => cards || content.names_addresses(),
        other => other.media().is_some() || other.names_addresses(),
    }
}

/// The day's counts so far. When counting begins, everybody who got a message before is known. A count that cannot
/// be read begins anew.
fn open_day(work: &mut Work<'_>, account: &str, budget: Budget) -> Read<Left> {
    if let Some((sent, new)) = rows::accounts::day(work.tx, account, &budget.day)? {
        return Ok(Left { budget, sent, new });
    }
    if !rows::accounts::counts_days(work.tx, account)? {
        rows::accounts::know_all(work.tx, account)?;
    }
    rows::accounts::begin_day(work.tx, account, &budget.day)?;
    Ok(Left { budget, sent: 0, new: 0 })
}

/// Counts a message, or says why the day has no room for it.
fn count(work: &mut Work<'_>, account: &str, to: &str, left: &mut Left) -> Read<Option<Held>> {
    if left.budget.daily.is_some_and(|most| left.sent >= most) {
        return Ok(Some(Held::Daily));
    }
    let known = rows::accounts::knows(work.tx, account, to)?;
    if !known && left.budget.new_recipients.is_some_and(|most| left.new >= most) {
        return Ok(Some(Held::NewRecipients));
    }
    left.sent = left.sent.saturating_add(1);
    if !known {
        left.new = left.new.saturating_add(1);
        rows::accounts::know(work.tx, account, to)?;
    }
    rows::accounts::set_day(work.tx, account, &left.budget.day, (left.sent, left.new))?;
    Ok(None)
}

/// Notes who wrote to an account, and that it gets events at all.
pub fn hear(work: &mut Work<'_>, account: &str, from: &[(Recipient, Timestamp)], now: Timestamp) -> Read<()> {
    rows::accounts::hears(work.tx, account, now)?;
    for (recipient, at) in from {
        // A clock that is ahead of ours opens no window for longer than a day.
        rows::accounts::heard_at(work.tx, account, &recipient.to_string(), (*at).min(now))?;
    }
    // A person's phone and other id come together, unless the phone is hidden.
    let phones = from.iter().any(|(who, _)| matches!(who, Recipient::Phone(_)));
    match phones || from.is_empty() {
        true => Ok(()),
        false => rows::accounts::heard_hidden(work.tx, account, now),
    }
}
