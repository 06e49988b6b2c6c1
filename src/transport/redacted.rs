//! Keeps credentials out of what gateways say (an error may repeat the request that it refuses), and
//! what they say within bounds.

use std::sync::Arc;

use super::answer::readable;
use super::extra::Raw;
use super::reach::{Listing, Looking};
use super::{Download, Heard, Incoming, NotHeard, Outgoing, Sending, SharedTransport, Transport};
use crate::model::capability::Capabilities;
use crate::plain::shortened;
use crate::secret::{Secret, Veil};

/// Most characters of an error, and of an id.
const LONGEST_ERROR: usize = 400;
const LONGEST_ID: usize = 512;

/// A transport whose errors hold none of its account's credentials.
pub struct Redacted {
    inner: SharedTransport,
    veil: Arc<Veil>,
    /// A short secret may stand in an id by chance, and what is told of the id would go astray.
    long: Arc<Veil>,
}

impl Redacted {
    /// Around a transport.
    pub fn new(inner: SharedTransport, secrets: &[&Secret]) -> Self {
        let veil = Veil::over(secrets.iter().copied());
        Self { inner, long: Arc::new(veil.over_long_ones(12)), veil: Arc::new(veil) }
    }
}

impl Redacted {
    fn cleaned(&self, looking: Looking) -> Looking {
        let veil = self.veil.clone();
        let clean = move |said: String| clean(&veil, readable(&said), LONGEST_ERROR);
        Box::pin(async move { looking.await.map(&clean).map_err(&clean) })
    }
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
        let (veil, long) = (self.veil.clone(), self.long.clone());
        Box::pin(async move {
            match sending.await {
                Ok(mut receipt) => {
                    let clean = |id: String| clean(&long, readable(&id), LONGEST_ID);
                    receipt.provider_id = receipt.provider_id.map(clean);
                    Ok(receipt)
                }
                Err(mut error) => {
                    error.message = clean(&veil, readable(&error.message), LONGEST_ERROR);
                    Err(error)
                }
            }
        })
    }

    fn receive(&self, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
        self.inner.receive(incoming)
    }

    fn reach(&self) -> Looking {
        self.cleaned(self.inner.reach())
    }

    fn check(&self) -> Looking {
        self.cleaned(self.inner.check())
    }

    fn groups(&self) -> Listing {
        let (groups, veil) = (self.inner.groups(), self.veil.clone());
        Box::pin(async move { groups.await.map_err(|error| clean(&veil, readable(&error), LONGEST_ERROR)) })
    }

    fn thanks(&self) -> &'static str {
        self.inner.thanks()
    }

    fn download(&self, source: &str) -> Download {
        let download = self.inner.download(source);
        let veil = self.veil.clone();
        Box::pin(async move { download.await.map_err(|error| clean(&veil, readable(&error), LONGEST_ERROR)) })
    }
}

/// A text without the account's credentials, and not too long.
fn clean(veil: &Veil, text: String, most: usize) -> String {
    shortened(&veil.drawn_over(text), most)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};

    use super::*;

    fn shown(secrets: &[&str], text: &str) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        clean(&Veil::over(&secrets), readable(text), LONGEST_ERROR)
    }

    #[test]
    fn no_letter_of_a_credential_is_left_at_its_edges() {
        let (user, token) = ("AC1", "tw1l/+io token~5");
        let pair = format!("{user}:{token}");
        for encoded in [STANDARD.encode(&pair), STANDARD_NO_PAD.encode(&pair), URL_SAFE.encode(&pair)] {
            assert_eq!(shown(&[&pair], &format!("you sent Basic {encoded}!")), "you sent Basic ***!");
            let form: String = form_urlencoded::byte_serialize(encoded.as_bytes()).collect();
            let left = shown(&[&pair], &format!("a: {form}&b"));
            assert!(left.starts_with("a: ***") && left.ends_with("&b") && left.len() <= 14, "{left}");
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
