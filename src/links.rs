//! Addresses of ours that others are given: files for gateways that fetch, and links whose clicks
//! are counted. They are signed, so that nothing has to be kept for them and none can be guessed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use crate::id::MessageId;
use crate::secret::{Hash, Secret, is_same};

/// Bytes of a signature: 96 bits, far more than can be tried over a network.
const SIGNATURE: usize = 12;

/// Makes and reads the tokens.
#[derive(Clone)]
pub struct LinkKey(Secret);

impl LinkKey {
    /// From a secret of this workspace: another workspace's tokens mean nothing here.
    pub fn new(secret: &Secret) -> Self {
        Self(secret.clone())
    }

    fn signature(&self, purpose: &[u8], data: &[u8]) -> Vec<u8> {
        let mut signature = self.0.signature(Hash::Sha256, &[purpose, data].concat());
        signature.truncate(SIGNATURE);
        signature
    }

    fn sealed(&self, purpose: &[u8], data: &[u8]) -> String {
        let signature = self.signature(purpose, data);
        URL_SAFE_NO_PAD.encode([data, signature.as_slice()].concat())
    }

    fn opened(&self, purpose: &[u8], token: &str) -> Option<Vec<u8>> {
        let mut data = URL_SAFE_NO_PAD.decode(token).ok()?;
        let given = data.split_off(data.len().checked_sub(SIGNATURE)?);
        is_same(&self.signature(purpose, &data), &given).then_some(data)
    }

    /// A token for a file, good until `until`; `ending` (such as `.png`) is for gateways that look
    /// at it.
    pub fn media(&self, blob: &str, until: Timestamp, ending: &str) -> Option<String> {
        let mut data = hex::decode(blob).ok()?;
        data.extend(u32::try_from(until.as_second()).ok()?.to_be_bytes());
        Some(format!("{}{ending}", self.sealed(b"media", &data)))
    }

    /// The file that a token stands for, while it is good.
    pub fn read_media(&self, token: &str, now: Timestamp) -> Option<String> {
        let data = self.opened(b"media", token.split('.').next()?)?;
        let (blob, until) = data.split_last_chunk::<4>()?;
        (i64::from(u32::from_be_bytes(*until)) > now.as_second()).then(|| hex::encode(blob))
    }

    /// A token for a message's link; it is good for as long as the message is kept.
    pub fn click(&self, message: MessageId) -> String {
        self.sealed(b"click", message.as_bytes())
    }

    /// The message that a token stands for.
    pub fn read_click(&self, token: &str) -> Option<MessageId> {
        let data = self.opened(b"click", token)?;
        Some(MessageId::from_bytes(data.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_good_for_what_they_say_and_nothing_else() {
        let key = LinkKey::new(&Secret::new("a key"));
        let now: Timestamp = "2026-11-20T07:00:00Z".parse().unwrap();
        let blob = "ab".repeat(32);
        let token = key.media(&blob, now + jiff::SignedDuration::from_hours(1), ".png").unwrap();
        assert_eq!(key.read_media(&token, now).as_deref(), Some(blob.as_str()));
        assert_eq!(key.read_media(&token, now + jiff::SignedDuration::from_hours(1)), None);
        assert_eq!(LinkKey::new(&Secret::new("another")).read_media(&token, now), None);
        let message = MessageId::new(now);
        let click = key.click(message);
        assert_eq!(key.read_click(&click), Some(message));
        assert_eq!(key.read_media(&click, now), None);
        for place in 0..click.len() {
            let mut wrong = click.clone().into_bytes();
            wrong[place] = if wrong[place] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.read_click(&String::from_utf8(wrong).unwrap()), None, "{place}");
        }
        for junk in ["", "x", "%", "AAAA"] {
            assert!(key.read_click(junk).is_none() && key.read_media(junk, now).is_none());
        }
    }
}
