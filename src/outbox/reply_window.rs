//! The 24 hours after a person wrote, as far as an account's events tell.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::model::delivery::{ErrorClass, SendError};
use crate::model::recipient::Recipient;
use crate::store::Store;

/// How long people can be written to freely after they wrote.
const WINDOW: Duration = Duration::from_secs(86_400);
/// Mexico, Argentina, Brazil: a digit more or less is the same phone.
const REWRITTEN: [&str; 3] = ["52", "54", "55"];

/// Refuses what would arrive only within the window, when it is known to be closed: the account
/// must have been listening for as long, and hear still.
///
/// # Errors
/// [`ErrorClass::WindowClosed`].
pub async fn window(store: &dyn Store, account: &str, to: &Recipient, now: Timestamp) -> Result<(), SendError> {
    // Groups have no window; of some countries' phones the gateways know another writing.
    let told = match to {
        Recipient::Phone(digits) => !REWRITTEN.iter().any(|country| digits.starts_with(country)),
        Recipient::Bsuid(_) => true,
        _ => false,
    };
    if !told {
        return Ok(());
    }
    // What cannot be read is not held against the message.
    let heard = store.heard(account, &to.to_string()).await.unwrap_or_default();
    let recent = |at: Option<Timestamp>| at.is_some_and(|at| after(at, WINDOW) > now);
    let listens = recent(heard.latest) && !recent(heard.since);
    // Somebody who hides the phone may be anybody.
    if !listens || recent(heard.last) || (recent(heard.hidden) && matches!(to, Recipient::Phone(_))) {
        return Ok(());
    }
    let message = "this person has not written in the last 24 hours, so only a template would arrive; send one \
        with `send(to, #{ kind: \"template\", ... })`";
    Err(SendError::new(ErrorClass::WindowClosed, message))
}
