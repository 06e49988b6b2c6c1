//! How gateways sign, made a second time from what they document.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;

macro_rules! mac {
    ($hash:ty, $key:expr, $bytes:expr) => {{
        let mut mac = Hmac::<$hash>::new_from_slice($key.as_bytes()).unwrap();
        mac.update($bytes);
        mac.finalize().into_bytes().to_vec()
    }};
}

/// Hex of HMAC-SHA256: Wawp.
pub fn sha256(secret: &str, body: &[u8]) -> String {
    hex::encode(mac!(sha2::Sha256, secret, body))
}

/// The same behind `sha256=`: GOWA and Meta.
pub fn hub(secret: &str, body: &[u8]) -> String {
    format!("sha256={}", sha256(secret, body))
}

/// Hex of HMAC-SHA512: WAHA.
pub fn sha512(secret: &str, body: &[u8]) -> String {
    hex::encode(mac!(sha2::Sha512, secret, body))
}

/// Base64 of HMAC-SHA1 over the address and the fields in the order of their names: Twilio.
pub fn twilio(token: &str, url: &str, form: &[(String, String)]) -> String {
    let mut fields = form.to_vec();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let text = fields.iter().fold(url.to_owned(), |text, (name, value)| text + name.as_str() + value.as_str());
    STANDARD.encode(mac!(sha1::Sha1, token, text.as_bytes()))
}

/// A JSON Web Token signed with HS256, whatever its header says: Evolution.
pub fn jwt(key: &str, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(mac!(sha2::Sha256, key, text.as_bytes()));
    format!("{text}.{signature}")
}

/// The sheet gives four of them: what is built here builds those.
#[test]
fn the_vectors_that_are_documented_come_out() {
    let gowa = br#"{"event":"message","device_id":"628987654321@s.whatsapp.net","payload":{"id":"A1","body":"hi"}}"#;
    assert_eq!(hub("secret", gowa), "sha256=060444711aa527aff3af780ffd78961e2195428d6f29e268a8ca0ce23b7e1a5a");
    let meta = br#"{"object":"whatsapp_business_account","entry":[]}"#;
    assert_eq!(hub("app-secret", meta), "sha256=d3e4f9da0ce6c71ab3dba55929b8eeeee2455349e534924ead19f98d143e904f");
    let waha = br#"{"event":"message","session":"default","engine":"WEBJS"}"#;
    let wanted = "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8\
                  097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89";
    assert_eq!(sha512("my-secret-key", waha), wanted);
    let fields = [
        ("To", "+18005551212"),
        ("CallSid", "CA1234567890ABCDE"),
        ("Digits", "1234"),
        ("From", "+14158675309"),
        ("Caller", "+14158675309"),
    ];
    let form = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    assert_eq!(twilio("12345", url, &form), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
}
