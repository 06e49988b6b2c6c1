//! Keeps credentials out of what gateways say (an error may repeat the request that it refuses), and
//! what they say within bounds.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::answer::{readable, shortened};
use super::extra::Raw;
use super::{Download, Heard, Incoming, NotHeard, Outgoing, Sending, SharedTransport, Transport};
use crate::model::capability::Capabilities;
use crate::model::delivery::SendError;
use crate::secret::Secret;

/// Most characters of an error, and of an id.
const LONGEST_ERROR: usize = 400;
const LONGEST_ID: usize = 512;

/// A transport whose errors hold none of its account's credentials.
pub struct Redacted {
    inner: SharedTransport,
    written: Arc<Written>,
}

impl Redacted {
    /// Around a transport.
    pub fn new(inner: SharedTransport, secrets: &[&Secret]) -> Self {
        Self { inner, written: Arc::new(Written::new(secrets)) }
    }
}

/// Every way in which an account's credentials may be written, the longest first.
struct Written {
    plain: Vec<String>,
    /// Parts of what they are in Base64: the characters beside them may belong to them too.
    encoded: Vec<String>,
}

/// Characters on each side that a piece of Base64 shares with what stands beside it.
const SHARED: usize = 4;

impl Written {
    fn new(secrets: &[&Secret]) -> Self {
        let mut written = Self { plain: Vec::new(), encoded: Vec::new() };
        for secret in secrets {
            let secret = secret.reveal();
            // `user:password` is as secret as the password alone.
            let password = secret.split_once(':').map(|(_, password)| password);
            std::iter::once(secret).chain(password).for_each(|text| written.learn(text));
        }
        for ways in [&mut written.plain, &mut written.encoded] {
            // What is too short to be a secret would blacken half of every sentence.
            ways.retain(|way| way.len() >= 4);
            ways.sort_by_key(|way| std::cmp::Reverse(way.len()));
            ways.dedup();
        }
        written
    }

    fn learn(&mut self, text: &str) {
        let json = |text: &str| {
            let quoted = serde_json::Value::from(text).to_string();
            quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
        };
        let ascii = |text: &str| -> String {
            let unit = |unit: u16| match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
                _ => format!("\\u{unit:04x}"),
            };
            json(text).encode_utf16().map(unit).collect()
        };
        let html = |quote: &str| {
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            text.replace('"', "&quot;").replace('\'', quote)
        };
        let bytes = hex::encode(text);
        let whole = STANDARD.encode(text);
        let bare = whole.trim_end_matches('=');
        let urls = [&whole, bare].map(|text| text.replace('+', "-").replace('/', "_"));
        let plain = [text, &whole, bare, &urls[0], &urls[1]];
        for text in plain {
            let form: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            let path = super::wire::segment(text);
            self.plain.extend([text.to_owned(), lower(&form), lower(&path), form, path]);
            self.plain.extend([json(text), json(text).replace('/', "\\/"), ascii(text), text.replace('/', "\\/")]);
        }
        self.plain.extend([html("&#39;"), html("&#x27;"), html("&apos;"), bytes.to_ascii_uppercase(), bytes]);
        // Within a longer text its Base64 depends on where it begins and on what stands around it.
        for before in ["", "x", "xx"] {
            let encoded = STANDARD_NO_PAD.encode(format!("{before}{text}"));
            let shared = if before.is_empty() { 0 } else { SHARED };
            let inner = encoded.get(shared..encoded.len().saturating_sub(2)).unwrap_or_default();
            self.encoded.extend([inner.replace('+', "-").replace('/', "_"), inner.to_owned()]);
        }
    }

    /// Text of others without any of these ways that has at least so many bytes.
    fn left_out(&self, text: &str, least: usize) -> String {
        // First: what cannot be seen would keep a credential from being known.
        let mut text = readable(text);
        for (ways, shared) in [(&self.plain, 0), (&self.encoded, SHARED)] {
            for way in ways.iter().filter(|way| way.len() >= least) {
                if text.contains(way.as_str()) {
                    text = masked(&text, way, shared);
                }
            }
        }
        text
    }
}

/// Puts stars in the place of a text, and of up to so many digits of Base64 beside it.
fn masked(mut text: &str, way: &str, shared: usize) -> String {
    let is_digit = |c: &char| c.is_ascii_alphanumeric() || "+/-_=".contains(*c);
    let mut left = String::new();
    while let Some(start) = text.find(way) {
        let before = text[..start].chars().rev().take_while(is_digit).take(shared).count();
        left.push_str(&text[..start - before]);
        left.push_str("***");
        text = &text[start + way.len()..];
        let behind = text.chars().take_while(is_digit).take(shared).count();
        text = &text[behind..];
    }
    left.push_str(text);
    left
}

/// Percent signs as others write them.
fn lower(encoded: &str) -> String {
    let mut rest = 0_u8;
    let lowered = encoded.chars().map(|c| {
        rest = if c == '%' { 3 } else { rest.saturating_sub(1) };
        if rest > 0 { c.to_ascii_lowercase() } else { c }
    });
    lowered.collect()
}

impl Transport for Redacted {
    fn capabilities(&self) -> &'static Capabilities {
        self.inner.capabilities()
    }

    fn raw(&self) -> &'static Raw {
        self.inner.raw()
    }

    fn send(&self, message: Outgoing) -> Sending {
        let sending = self.inner.send(message);
        let written = self.written.clone();
        Box::pin(async move {
            match sending.await {
                Ok(mut receipt) => {
                    // A short one may stand in an id by chance, and what is told of the id would go astray.
                    let clean = |id: String| shortened(&written.left_out(&id, 12), LONGEST_ID);
                    receipt.provider_id = receipt.provider_id.map(clean);
                    Ok(receipt)
                }
                Err(error) => Err(SendError { message: clean(&written, &error.message), ..error }),
            }
        })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        self.inner.receive(incoming)
    }

    fn thanks(&self) -> &'static str {
        self.inner.thanks()
    }

    fn download(&self, source: &str) -> Download {
        let download = self.inner.download(source);
        let written = self.written.clone();
        Box::pin(async move { download.await.map_err(|error| clean(&written, &error)) })
    }
}

/// An error that may be shown, and is not too long.
fn clean(written: &Written, error: &str) -> String {
    shortened(&written.left_out(error, 0), LONGEST_ERROR)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    fn shown(secrets: &[&str], text: &str) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        clean(&Written::new(&secrets.iter().collect::<Vec<_>>()), text)
    }

    #[test]
    fn no_letter_of_a_credential_is_left_at_its_edges() {
        let (user, token) = ("AC1", "tw1l/+io token~5");
        let pair = format!("{user}:{token}");
        for encoded in [STANDARD.encode(&pair), STANDARD_NO_PAD.encode(&pair), URL_SAFE.encode(&pair)] {
            assert_eq!(shown(&[&pair], &format!("you sent Basic {encoded}!")), "you sent Basic ***!");
            let form: String = form_urlencoded::byte_serialize(encoded.as_bytes()).collect();
            assert_eq!(shown(&[&pair], &format!("a={form}&b")), "a=***&b");
            assert_eq!(shown(&[&pair], &format!("a={}&b", lower(&form))), "a=***&b");
        }
        // In the Base64 of a longer text, wherever it begins there: no piece of eight bits is left.
        for before in ["", "a", "ab", "abc", "{\"authorization\": \""] {
            for behind in ["", "\"", "\"}", "\", \"more\": 1}"] {
                let text = format!("{before}{token}{behind}");
                for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let left = shown(&[token], &encoded);
                    let (head, tail) = left.split_once("***").unwrap_or_else(|| panic!("{text}: {left}"));
                    assert!(head.len() <= before.len() * 4 / 3, "{text}: {left}");
                    assert!(tail.len() <= behind.len().div_ceil(3) * 4, "{text}: {left}");
                }
            }
        }
    }

    #[test]
    fn credentials_are_known_in_the_writings_of_others() {
        let secret = "p\u{e4}ss/<w'ord>&\"1";
        for written in [
            secret.to_owned(),
            secret.replace('/', "\\/"),
            r#"p\u00e4ss/<w'ord>&\"1"#.to_owned(),
            "p\u{e4}ss/&lt;w&#39;ord&gt;&amp;&quot;1".to_owned(),
            "p%C3%A4ss%2F%3Cw%27ord%3E%26%221".to_owned(),
            "p%c3%a4ss%2f%3cw%27ord%3e%26%221".to_owned(),
            hex::encode(secret),
            hex::encode_upper(secret),
            "p\u{e4}ss/<w'\u{200e}\u{0}ord>&\"1".to_owned(),
        ] {
            assert_eq!(shown(&[secret], &format!("a {written} b")), "a *** b", "{written}");
        }
    }
}
