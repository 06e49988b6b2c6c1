//! What Meta's error codes mean; its resellers pass them on.
//!
//! From Meta's page on error codes (September 2026). The older list of the on-premises server is
//! still referred to by resellers.

use std::time::Duration;

use serde_json::Value;

use super::options::MetaOptions;
use crate::model::delivery::{ErrorClass, Scope, SendError};
use crate::transport::answer::Answer;
use crate::transport::gateway::Options as _;

/// A refusal, by its code.
pub fn refused(answer: &Answer, body: &Value) -> SendError {
    let error = &body["error"];
    // The code decides, not the status.
    let class = classify_error(error, answer.retry_after).unwrap_or_else(|| answer.class());
    let said = [&error["message"], &error["error_data"]["details"]].map(|text| text.as_str().unwrap_or_default());
    answer.refusal(MetaOptions::NAME, class, said.join(" ").trim())
}

/// The class of an error object; none when it has no code.
pub fn classify_error(error: &Value, retry_after: Option<Duration>) -> Option<ErrorClass> {
    // The number's id is wrong, or the token may not use it: no message would do better.
    if error["code"] == 100 && error["error_subcode"] == 33 {
        return Some(ErrorClass::NotConnected);
    }
    Some(classify_code(error["code"].as_i64()?, retry_after))
}

/// The class of a code.
pub fn classify_code(code: i64, retry_after: Option<Duration>) -> ErrorClass {
    let limited = |wait: u64, scope: Scope| ErrorClass::RateLimited {
        retry_after: retry_after.or(Some(Duration::from_secs(wait))),
        scope,
    };
    let upstream = |wait: u64| ErrorClass::Upstream { retry_after: retry_after.or(Some(Duration::from_secs(wait))) };
    match code {
        // Token invalid, expired, missing; permission.
        0 | 190 | 3 | 10 | 200..=299 | 131005 => ErrorClass::Auth,
        // The sending number is gone or not registered.
        33 | 131045 | 133010 => ErrorClass::NotConnected,
        // Account restricted or locked; display name; payment; terms; a number that has to win back
        // its quality: a person has to act, or time has to pass, for the whole account.
        368 | 131031 | 131037 | 131042 | 134011 | 131048 => ErrorClass::Quota,
        1 | 2 | 131000 | 131016 | 133004 => upstream(0),
        // Maintenance takes minutes.
        131057 | 2494100 => upstream(300),
        4 | 80007 => limited(300, Scope::Account),
        130429 | 429 => limited(1, Scope::Account),
        // One message in 6 seconds to one person.
        131056 => limited(6, Scope::Recipient),
        // How much marketing a person gets in a day, from anybody.
        131049 => limited(86_400, Scope::Recipient),
        // A template that is paused or blocked, a flow that is throttled, a registration that was
        // tried too often: they come back by themselves, and concern nothing else.
        132015 | 132069 | 131064 | 133016 => limited(3_600, Scope::Recipient),
        // 471: the older list's spam limit.
        471 => limited(3_600, Scope::Account),
        131047 | 470 => ErrorClass::WindowClosed,
        131052 | 131053 => ErrorClass::MediaRejected,
        // Nobody there; blocked; taking part in an experiment; opted out; the sender itself; a
        // country that is not allowed.
        131021 | 131026 | 130403 | 130472 | 131050 | 130497 | 1013 => ErrorClass::RecipientInvalid,
        _ => ErrorClass::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_that_talks_too_fast_holds_up_nobody_else() {
        let class = classify_code(131_056, None);
        assert_eq!(
            class,
            ErrorClass::RateLimited { retry_after: Some(Duration::from_secs(6)), scope: Scope::Recipient }
        );
        assert_eq!(class.retry_after(), Some(Duration::from_secs(6)));
    }
}
