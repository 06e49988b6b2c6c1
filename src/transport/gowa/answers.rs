//! What GOWA answers, and what it means.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::options::GowaOptions;
use crate::model::delivery::{ErrorClass, MessageState, Receipt, Scope, SendError};
use crate::transport::answer::Answer;
use crate::transport::gateway::Options as _;

/// Every answer is of this shape, but for plain texts from the basic-auth guard and proxies.
#[derive(Deserialize)]
struct Envelope {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    results: Value,
}

/// Reads what a send was answered.
///
/// # Errors
/// With what GOWA said.
pub fn read(answer: &Answer) -> Result<Receipt, SendError> {
    let envelope: Option<Envelope> = answer.json();
    let Some(envelope) = envelope else { return Err(answer.refusal(GowaOptions::NAME, answer.class(), "")) };
    if answer.status == 200 && envelope.code == "SUCCESS" {
        let provider_id = envelope.results["message_id"].as_str().map(str::to_owned);
        return Ok(Receipt { state: MessageState::Sent, provider_id, chat: None, degraded: Vec::new() });
    }
    let class = classify(answer, &envelope.code, &envelope.message);
    Err(answer.refusal(GowaOptions::NAME, class, &format!("{}: {}", envelope.code, envelope.message)))
}

fn classify(answer: &Answer, code: &str, text: &str) -> ErrorClass {
    let retry_after = answer.retry_after;
    match (answer.status, code) {
        (400, "INVALID_JID") => ErrorClass::RecipientInvalid,
        // The account's settings are wrong, not the message.
        (400, "DEVICE_ID_REQUIRED") | (404, "DEVICE_NOT_FOUND") => ErrorClass::Auth,
        (401, "AUTHENTICATION_ERROR") => ErrorClass::NotConnected,
        // WhatsApp's lock on new contacts lasts for hours.
        (429, "WA_REACHOUT_TIMELOCK") => ErrorClass::RateLimited {
            retry_after: retry_after.or(Some(Duration::from_secs(3_600))),
            scope: Scope::Recipient,
        },
        (429, _) => ErrorClass::RateLimited { retry_after, scope: Scope::Recipient },
        // The link's page or the picture could not be loaded; nothing had been sent by then.
        (500, _) if text.starts_with("failed to download") => ErrorClass::Upstream { retry_after },
        (503, _) => ErrorClass::Upstream { retry_after },
        _ => answer.class(),
    }
}

/// What it says when it could not load a page or a picture.
pub fn is_download(error: &SendError) -> bool {
    matches!(error.class, ErrorClass::Upstream { .. }) && error.message.contains("failed to download")
}
