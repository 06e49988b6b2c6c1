//! What Evolution answers, and what it means.
//!
//! From `src/api/integrations/channel/whatsapp/whatsapp.baileys.service.ts` and
//! `src/api/integrations/channel/meta/whatsapp.business.service.ts` (2.3.7 and 2.4): the send itself stands
//! in a `try` whose errors are a 400; what is a 500 happened before it, at the look for the number or the
//! instance. The channel of Meta's Cloud API answers 201 with Meta's error in place of a message.

use serde_json::Value;

use super::options::EvolutionOptions;
use crate::model::delivery::{ErrorClass, MessageState, Receipt, SendError};
use crate::transport::answer::Answer;
use crate::transport::events::person_in;
use crate::transport::gateway::Options as _;
use crate::transport::meta::codes::classify_error;

/// Reads what a send was answered.
///
/// # Errors
/// With what Evolution said.
pub fn read(answer: &Answer) -> Result<Receipt, SendError> {
    let body: Value = answer.json().unwrap_or_default();
    if let (200 | 201, Some(id)) = (answer.status, body["key"]["id"].as_str()) {
        let state = match body["status"].as_str() {
            Some("SERVER_ACK") => MessageState::Sent,
            Some("DELIVERY_ACK") => MessageState::Delivered,
            Some("READ" | "PLAYED") => MessageState::Read,
            Some("ERROR") => return Err(answer.refusal(EvolutionOptions::NAME, ErrorClass::Ambiguous, "status ERROR")),
            _ => MessageState::Accepted,
        };
        let chat = person_in(&body["key"]["remoteJid"]);
        return Ok(Receipt { state, provider_id: Some(id.to_owned()), chat, degraded: Vec::new() });
    }
    if let (200 | 201, Some(error)) = (answer.status, of_meta(&body)) {
        let class = classify_error(error, answer.retry_after).unwrap_or(ErrorClass::Ambiguous);
        return Err(answer.refusal(EvolutionOptions::NAME, class, error["message"].as_str().unwrap_or_default()));
    }
    let reasons = &body["response"]["message"];
    let nobody = reasons.as_array().into_iter().flatten().any(|reason| reason["exists"] == false);
    let said = match reasons {
        _ if nobody => "this number is not on WhatsApp".into(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join("; "),
        _ => [&body["message"], &body["error"]].into_iter().find_map(Value::as_str).unwrap_or_default().to_owned(),
    };
    let class = match answer.status {
        400 if nobody => ErrorClass::RecipientInvalid,
        400 if said.contains("textMessage") => {
            let hint = "this server is Evolution 1, which wants `textMessage`; Postrider speaks to version 2";
            return Err(answer.refusal(EvolutionOptions::NAME, ErrorClass::NotConnected, hint));
        }
        400 => bad_request(&said),
        404 if body.is_object() => not_found(&said),
        500 | 503 if body.is_object() => ErrorClass::NotConnected,
        _ => answer.class(),
    };
    Err(answer.refusal(EvolutionOptions::NAME, class, &said))
}

/// Meta's error object, where it stands.
fn of_meta(body: &Value) -> Option<&Value> {
    [body, &body["error"]].into_iter().find(|error| error["code"].is_i64())
}

/// A send that failed on the way is a 400 like any other; these say that nothing went out.
fn bad_request(said: &str) -> ErrorClass {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    // Its check of the request speaks in the words of JSON Schema.
    if has(&["requires property", "is not of a type", "does not match", "is not one of", "does not meet"]) {
        ErrorClass::Invalid
    } else if has(&["Method not available"]) {
        ErrorClass::Unsupported
    } else if has(&["Owned media must be", "Request failed with status code 4", "getaddrinfo ENOTFOUND"]) {
        ErrorClass::MediaRejected
    } else if has(&["Request failed with status code 5", "getaddrinfo EAI_AGAIN"]) {
        ErrorClass::Upstream { retry_after: None }
    } else if has(&["[object Object]", "Group not found", "Number not found"]) {
        // What it says of a group that the phone is not in.
        ErrorClass::RecipientInvalid
    } else if has(&["Connection Closed", "not connected"]) {
        ErrorClass::NotConnected
    } else {
        ErrorClass::Ambiguous
    }
}

/// The instance is not there, which is not the message's fault; or something in the message is not.
fn not_found(said: &str) -> ErrorClass {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["instance", "Cannot POST"]) || said.is_empty() || said == "Not Found" {
        ErrorClass::NotConnected
    } else if has(&["Number", "number", "Group", "group"]) {
        ErrorClass::RecipientInvalid
    } else {
        ErrorClass::Invalid
    }
}
