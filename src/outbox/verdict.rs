//! What an attempt's end means for its message and for the lane. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::model::delivery::{ErrorClass, Receipt, Remedy, Scope, SendError};
use crate::model::policy::Retry;
use crate::store::rows::Verdict;

/// What the lane does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The message has left; its successor may go.
    Leave,
    /// The message stays first and is tried again then.
    Back(Timestamp),
    /// The whole lane rests until then.
    Rest(Timestamp),
    /// The whole lane pauses and probes with this message.
    Pause {
        /// What the gateway said.
        reason: String,
        /// The account itself is at fault: waiting will not help.
        certain: bool,
        /// The gateway was not reached, for which no message is to blame.
        unreached: bool,
    },
}

/// Decides. `tries` are those that counted before this one; `blamed` says how often the account has paused
/// for this message, and others went out all the same.
pub fn decide(
    result: Result<Receipt, SendError>,
    tries: u32,
    blamed: u32,
    retry: &Retry,
    now: Timestamp,
    chance: u64,
) -> (Verdict, Effect) {
    let error = match result {
        Ok(receipt) => {
            let Receipt { state, provider_id, chat, degraded } = receipt;
            return (Verdict::Reached { state, provider_id, chat, degraded }, Effect::Leave);
        }
        Err(error) => error,
    };
    let named = (error.class.name().to_owned(), error.message.clone());
    match error.class.remedy() {
        Remedy::Refuse => (Verdict::Refuse { error: named }, Effect::Leave),
        Remedy::Doubt => (Verdict::Doubt { error: error.message, provider_id: error.provider_id }, Effect::Leave),
        // It is the message after all: others have gone out each time.
        Remedy::Pause if blamed >= retry.attempts.saturating_sub(1).max(1) && !error.unreached => {
            (Verdict::GiveUp { error: named }, Effect::Leave)
        }
        Remedy::Pause => {
            let certain = error.class != ErrorClass::NotConnected;
            let effect = Effect::Pause { reason: error.message, certain, unreached: error.unreached };
            (Verdict::TryAgain { error: named, due_at: now, counts: false }, effect)
        }
        Remedy::Retry if tries.saturating_add(1) >= retry.attempts => (Verdict::GiveUp { error: named }, Effect::Leave),
        Remedy::Retry => {
            let asked = error.class.retry_after().unwrap_or(Duration::ZERO);
            let due_at = after(now, retry.delay(tries.saturating_add(1), chance).max(asked));
            let account_wide = matches!(error.class, ErrorClass::RateLimited { scope: Scope::Account, .. });
            let effect = if account_wide { Effect::Rest(due_at) } else { Effect::Back(due_at) };
            (Verdict::TryAgain { error: named, due_at, counts: true }, effect)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Retry = Retry { attempts: 3, first: Duration::from_secs(2), max: Duration::from_secs(60) };

    fn of(class: ErrorClass, tries: u32) -> (Verdict, Effect) {
        decide(Err(SendError::new(class, "why")), tries, 0, &RETRY, Timestamp::UNIX_EPOCH, 0)
    }

    #[test]
    fn a_message_that_stops_the_account_while_others_go_out_is_given_up() {
        let decided = |blamed, unreached| {
            let error = SendError { unreached, ..SendError::new(ErrorClass::NotConnected, "not found") };
            decide(Err(error), 0, blamed, &RETRY, Timestamp::UNIX_EPOCH, 0)
        };
        assert!(matches!(decided(1, false), (Verdict::TryAgain { counts: false, .. }, Effect::Pause { .. })));
        assert!(matches!(decided(2, false), (Verdict::GiveUp { .. }, Effect::Leave)));
        assert!(matches!(decided(2, true), (Verdict::TryAgain { counts: false, .. }, Effect::Pause { .. })));
    }

    #[test]
    fn errors_lead_to_their_remedies() {
        let limited = |scope| ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(30)), scope };
        let later = after(Timestamp::UNIX_EPOCH, Duration::from_secs(30));
        assert_eq!(of(limited(Scope::Recipient), 0).1, Effect::Back(later));
        assert_eq!(of(limited(Scope::Account), 0).1, Effect::Rest(later));
        assert!(matches!(
            of(ErrorClass::Auth, 99),
            (Verdict::TryAgain { counts: false, .. }, Effect::Pause { certain: true, .. })
        ));
        assert!(matches!(of(ErrorClass::Ambiguous, 0), (Verdict::Doubt { .. }, Effect::Leave)));
        assert!(matches!(of(ErrorClass::TooLarge, 0), (Verdict::Refuse { .. }, Effect::Leave)));
        let upstream = || ErrorClass::Upstream { retry_after: None };
        assert!(matches!(of(upstream(), 1), (Verdict::TryAgain { counts: true, .. }, Effect::Back(_))));
        assert!(matches!(of(upstream(), 2), (Verdict::GiveUp { .. }, Effect::Leave)));
    }
}
