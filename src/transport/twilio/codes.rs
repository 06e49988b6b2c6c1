//! What Twilio's error codes mean, by its list of them.

use std::time::Duration;

use crate::model::delivery::{ErrorClass, Scope};

/// What a code means that is known; else its status decides.
pub fn classify(code: i64, retry_after: Option<Duration>) -> Option<ErrorClass> {
    let limited = |wait: u64| ErrorClass::RateLimited {
        retry_after: retry_after.or(Some(Duration::from_secs(wait))),
        scope: Scope::Account,
    };
    Some(match code {
        63016 => ErrorClass::WindowClosed,
        63018 | 63017 => limited(1),
        // The queue in front of the number is full.
        21611 | 30001 => limited(60),
        // The account's messages of the day are used up; the business account is restricted, or disabled.
        63038 | 63051 | 63112 => ErrorClass::Quota,
        // The sender is not there, or not for WhatsApp; the messaging service is not, or has no sender.
        63007 | 21606 | 21703 => ErrorClass::NotConnected,
        // How much marketing a person gets in a day, from anybody: Meta's 131049.
        63049 => ErrorClass::RateLimited {
            retry_after: retry_after.or(Some(Duration::from_secs(86_400))),
            scope: Scope::Recipient,
        },
        63003 | 63024 => ErrorClass::RecipientInvalid,
        63012 => ErrorClass::Upstream { retry_after },
        // Content that the channel does not take.
        63021 => ErrorClass::Invalid,
        _ => return None,
    })
}
