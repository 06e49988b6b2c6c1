//! What Wawp sends to us: WAHA's events, signed in another way.
//!
//! Facts are from api.wawp.net/en/docs/message and its Python client. The name of the header is
//! nowhere told, so that it is a setting; nor is whether `session` is the instance, so that an
//! event of another one is only known by an id of its own.

use crate::secret::{Hash, Secret};
use crate::transport::events::first_text;
use crate::transport::waha::events as waha;
use crate::transport::{Heard, Incoming, NotHeard};

/// Reads an event of an instance, whose signature comes in `header`.
///
/// # Errors
/// [`NotHeard`].
pub fn read(instance: &str, header: &str, secret: Option<&Secret>, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    let given = (incoming.header)(header).unwrap_or_default();
    let given = given.trim();
    // Its client makes SHA-256, the engine below it SHA-512; the length tells which.
    incoming.proven(secret, |secret| {
        let bare = given.strip_prefix("sha256=").or(given.strip_prefix("sha512=")).unwrap_or(given);
        secret.has_signed_hex(Hash::Sha256, incoming.body, bare)
            || secret.has_signed_hex(Hash::Sha512, incoming.body, bare)
    })?;
    let event = incoming.json()?;
    let named = first_text([&event["instance_id"], &event["metadata"]["instance_id"]]);
    if named.is_some_and(|named| named != instance) {
        return Ok(Heard::Told(Vec::new()));
    }
    Ok(Heard::Told(waha::told(&event, false, incoming.now)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::inbound::Told;
    use crate::transport::events::{person, post};

    const BODY: &[u8] = br#"{"event":"session.status","session":"default","payload":{"status":"WORKING"}}"#;
    const SHA256: &str = "559c23dec65cb7647abf7b99a113843c405e4d06c5dc21edeb40b5aab543de42";

    fn read_by(header: Option<(&str, &str)>, body: &[u8]) -> Result<Heard, NotHeard> {
        let secret = Secret::new("my-secret-key");
        post(header, body, |incoming| read("I1", "x-wawp-signature", Some(&secret), incoming))
    }

    #[test]
    fn the_signature_is_over_the_bytes() {
        let header = Some(("x-wawp-signature", SHA256));
        assert!(matches!(read_by(header, BODY), Ok(Heard::Told(told)) if told.len() == 1));
        let prefixed = format!("sha256={SHA256}");
        assert!(read_by(Some(("x-wawp-signature", &prefixed)), BODY).is_ok());
        let mut other = BODY.to_vec();
        other[3] ^= 1;
        assert_eq!(read_by(header, &other), Err(NotHeard::Forged));
        assert_eq!(read_by(header, &[BODY, b" "].concat()), Err(NotHeard::Forged));
        assert_eq!(read_by(Some(("x-other", SHA256)), BODY), Err(NotHeard::Forged));
    }

    #[test]
    fn its_own_example_is_read() {
        let event = |instance: &str| {
            let payload = json!({
                "id": "false_15417543010@c.us_AAAA", "timestamp": 1_700_000_000, "from": "15417543010@c.us",
                "fromMe": false, "source": "app", "body": "", "hasMedia": true, "vCards": {}, "location": {},
                "media": { "url": "https://api.wawp.net/api/files/a.oga", "mimetype": "audio/ogg", "filename": "a.oga" },
                "replyTo": { "id": "BBBB", "participant": "15550100009@c.us" },
            });
            let event =
                json!({ "event": "message", "session": "default", "instance_id": instance, "payload": payload });
            post(None, event.to_string().as_bytes(), |incoming| read("I1", "x", None, incoming))
        };
        let Ok(Heard::Told(told)) = event("I1") else { panic!() };
        let [Told::Written(written)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((written.kind, Some(&written.from)), ("voice", person("15417543010").as_ref()));
        assert_eq!(written.reply_to.as_deref(), Some("true_15417543010@c.us_BBBB"));
        assert_eq!(event("I2"), Ok(Heard::Told(Vec::new())));
    }
}
