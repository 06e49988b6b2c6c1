//! What Meta sends to us: its question whether we are there, and who wrote.
//!
//! From Meta's pages on webhooks: the signature is over the raw bytes, which hold `\\u` escapes that
//! no parser would write again.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::Sha256;

use super::{Heard, NotHeard};
use crate::model::recipient::Recipient;
use crate::secret::Secret;

/// Answers `hub.challenge` to whoever knows the token.
pub fn challenge(token: Option<&Secret>, query: &str) -> Result<Heard, NotHeard> {
    let token = token.ok_or(NotHeard::Unverifiable)?;
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let get = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let (mode, given, challenge) = (get("hub.mode"), get("hub.verify_token"), get("hub.challenge"));
    match (mode, given, challenge) {
        (Some("subscribe"), Some(given), Some(challenge)) if token.matches(given.as_bytes()) => {
            Ok(Heard::Challenge(challenge.into()))
        }
        _ => Err(NotHeard::Forged),
    }
}

/// Who wrote, by phone and by business-scoped id.
pub fn read(secret: Option<&Secret>, number: &str, signature: Option<&str>, body: &[u8]) -> Result<Heard, NotHeard> {
    let secret = secret.ok_or(NotHeard::Unverifiable)?;
    let given = signature.and_then(|text| hex::decode(text.strip_prefix("sha256=")?).ok()).ok_or(NotHeard::Forged)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes()).map_err(|_| NotHeard::Unverifiable)?;
    mac.update(body);
    mac.verify_slice(&given).map_err(|_| NotHeard::Forged)?;
    let body: Value = serde_json::from_slice(body).map_err(|_| NotHeard::Unreadable)?;
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut from = Vec::new();
    for entry in list(&body, "entry") {
        for change in list(&entry, "changes").iter().filter(|change| change["field"] == "messages") {
            // One app may serve several numbers; each account is one of them.
            let value = &change["value"];
            if value["metadata"]["phone_number_id"].as_str().is_some_and(|other| other != number) {
                continue;
            }
            for message in list(value, "messages") {
                // Seconds, as a text.
                let at = message["timestamp"].as_str().and_then(|text| Timestamp::from_second(text.parse().ok()?).ok());
                let Some(at) = at else { continue };
                // A person may hide the phone; then only the other id is there.
                let ids = [message["from"].as_str(), message["from_user_id"].as_str()];
                from.extend(ids.into_iter().flatten().filter_map(|id| Some((Recipient::parse(id).ok()?, at))));
            }
        }
    }
    Ok(Heard::From(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_over_the_bytes() {
        let secret = Secret::new("app-secret");
        let body = br#"{"object":"whatsapp_business_account","entry":[]}"#;
        let signature = "sha256=d3e4f9da0ce6c71ab3dba55929b8eeeee2455349e534924ead19f98d143e904f";
        assert_eq!(read(Some(&secret), "1", Some(signature), body), Ok(Heard::From(Vec::new())));
        assert_eq!(read(Some(&secret), "1", Some(signature), &body[..body.len() - 1]), Err(NotHeard::Forged));
        assert_eq!(read(Some(&secret), "1", None, body), Err(NotHeard::Forged));
        assert_eq!(read(None, "1", Some(signature), body), Err(NotHeard::Unverifiable));
    }
}
