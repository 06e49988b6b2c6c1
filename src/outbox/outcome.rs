//! What an attempt's end means for its message and for its lane. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::model::delivery::{ErrorClass, Receipt, Remedy, Scope, SendError};
use crate::model::policy::Retry;
use crate::store::records::Verdict;

/// What the lane does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneAction {
    /// The message has left its queue; its successor may go.
    Advance,
    /// The message stays first in its queue and is tried again then.
    RetryAt(Timestamp),
    /// The same, and the whole lane rests until then.
    RestUntil(Timestamp),
    /// The account cannot send: the circuit breaker opens, or stays open.
    Open {
        /// What the gateway said.
        reason: String,
        /// The account itself is at fault: waiting will not help.
        certain: bool,
        /// The gateway was not reached, for which no message is to blame.
        unreached: bool,
    },
}

/// What an attempt means for its lane.
pub struct Outcome {
    /// What the lane does.
    pub action: LaneAction,
    /// Whether the gateway took anything.
    pub reached: bool,
    /// When the wire was touched last, if it was.
    pub sent_at: Option<Timestamp>,
    /// When it was over: what is on record of it counts from then.
    pub at: Timestamp,
}

/// Classifies the end of an attempt: the verdict for the record, and what the lane does. `tries` are those that
/// counted before this one; `blamed` says how often the account has paused for this message, and others went out
/// all the same.
pub fn classify(
    result: Result<Receipt, SendError>,
    tries: u32,
    blamed: u32,
    retry: &Retry,
    now: Timestamp,
    chance: u64,
) -> (Verdict, LaneAction) {
    let error = match result {
        Ok(receipt) => {
            let Receipt { state, provider_id, chat, degraded } = receipt;
            return (Verdict::Reached { state, provider_id, chat, degraded }, LaneAction::Advance);
        }
        Err(error) => error,
    };
    let named = (error.class.name().to_owned(), error.message.clone());
    match error.class.remedy() {
        Remedy::Refuse => (Verdict::Refuse { error: named }, LaneAction::Advance),
        Remedy::Doubt => (Verdict::Doubt { error: error.message, provider_id: error.provider_id }, LaneAction::Advance),
        // It is the message after all: others have gone out each time.
        Remedy::Pause if blamed >= retry.attempts.saturating_sub(1).max(1) && !error.unreached => {
            (Verdict::GiveUp { error: named }, LaneAction::Advance)
        }
        Remedy::Pause => {
            let certain = error.class != ErrorClass::NotConnected;
            let action = LaneAction::Open { reason: error.message, certain, unreached: error.unreached };
            (Verdict::TryAgain { error: named, due_at: now, counts: false }, action)
        }
        Remedy::Retry if tries.saturating_add(1) >= retry.attempts => {
            (Verdict::GiveUp { error: named }, LaneAction::Advance)
        }
        Remedy::Retry => {
            let asked = error.class.retry_after().unwrap_or(Duration::ZERO);
            let due_at = after(now, retry.delay(tries.saturating_add(1), chance).max(asked));
            let account_wide = matches!(error.class, ErrorClass::RateLimited { scope: Scope::Account, .. });
            let action = if account_wide { LaneAction::RestUntil(due_at) } else { LaneAction::RetryAt(due_at) };
            (Verdict::TryAgain { error: named, due_at, counts: true }, action)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry { attempts: 3, first: Duration::from_secs(2), max: Duration::from_secs(60) };

    fn of(class: ErrorClass, tries: u32) -> (Verdict, LaneAction) {
        classify(Err(SendError::new(class, "why")), tries, 0, &RETRY, Timestamp::UNIX_EPOCH, 0)
    }

    #[test]
    fn a_message_that_stops_the_account_while_others_go_out_is_given_up() {
        let decided = |blamed, unreached| {
            let error = SendError { unreached, ..SendError::new(ErrorClass::NotConnected, "not found") };
            classify(Err(error), 0, blamed, &RETRY, Timestamp::UNIX_EPOCH, 0)
        };
        assert!(matches!(decided(1, false), (Verdict::TryAgain { counts: false, .. }, LaneAction::Open { .. })));
        assert!(matches!(decided(2, false), (Verdict::GiveUp { .. }, LaneAction::Advance)));
        assert!(matches!(decided(2, true), (Verdict::TryAgain { counts: false, .. }, LaneAction::Open { .. })));
    }

    #[test]
    fn errors_lead_to_their_remedies() {
        let limited = |scope| ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(30)), scope };
        let later = after(Timestamp::UNIX_EPOCH, Duration::from_secs(30));
        assert_eq!(of(limited(Scope::Recipient), 0).1, LaneAction::RetryAt(later));
        assert_eq!(of(limited(Scope::Account), 0).1, LaneAction::RestUntil(later));
        assert!(matches!(
            of(ErrorClass::Auth, 99),
            (Verdict::TryAgain { counts: false, .. }, LaneAction::Open { certain: true, .. })
        ));
        assert!(matches!(of(ErrorClass::Ambiguous, 0), (Verdict::Doubt { .. }, LaneAction::Advance)));
        assert!(matches!(of(ErrorClass::TooLarge, 0), (Verdict::Refuse { .. }, LaneAction::Advance)));
        let upstream = || ErrorClass::Upstream { retry_after: None };
        assert!(matches!(of(upstream(), 1), (Verdict::TryAgain { counts: true, .. }, LaneAction::RetryAt(_))));
        assert!(matches!(of(upstream(), 2), (Verdict::GiveUp { .. }, LaneAction::Advance)));
    }
}
