//! Whether Twilio has signed a request: <https://www.twilio.com/docs/usage/webhooks/webhooks-security>.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::secret::{Hash, Secret};

/// Whether `given` is the signature over an address as Twilio knows it, and the fields of a form.
pub fn is_signed(token: &Secret, url: &str, pairs: &[(String, String)], given: &str) -> bool {
    let Ok(given) = STANDARD.decode(given.trim()) else { return false };
    let mut sorted: Vec<&(String, String)> = pairs.iter().collect();
    sorted.sort();
    sorted.dedup();
    let fields: String = sorted.into_iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect();
    let urls = [Some(url.to_owned()), other_port(url)];
    urls.into_iter().flatten().any(|url| token.has_signed(Hash::Sha1, format!("{url}{fields}").as_bytes(), &given))
}

/// The address without its port, or with the one that goes without saying: Twilio signs now this, now
/// that.
fn other_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name.to_owned(),
        _ => format!("{host}:{}", if scheme == "https" { 443 } else { 80 }),
    };
    Some(format!("{scheme}://{host}{tail}"))
}
