//! Pure functions on texts: `json::`, `base64::`, `hash::`, `url::`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhai::{Blob, Dynamic, Map, Module, NativeCallContext};
use sha2::{Digest, Sha256};

use crate::model::journal::Kind;
use crate::model::run::ScriptError;
use crate::script::error::{HostResult, LONGEST, at, thrown};
use crate::script::limits::{room_for, tick};
use crate::script::printed::{beginning, plain};
use crate::script::state::{self, json};
use crate::script::types::SecretText;
use crate::script::types::type_name;
use crate::script::value::{read_json, to_json};
use crate::secret::{Hash, Secret};

/// A value from the text of JSON.
///
/// # Errors
/// Where and why the text is none; the end of the turn when the value is larger than it may be.
pub fn json_parse(function: &str, text: &str) -> HostResult<Dynamic> {
    let value = read_json(text);
    tick()?;
    value.map_err(|error| thrown("invalid", format!("{function}: {error}")))
}

fn json_stringify(value: Dynamic) -> HostResult<String> {
    let value = to_json(&value);
    tick()?;
    json(&value.map_err(|error| thrown("invalid", format!("json::stringify: {error}")))?)
}

fn base64_encode(bytes: &[u8]) -> HostResult<String> {
    room_for(2 * bytes.len() as u64)?;
    Ok(STANDARD.encode(bytes))
}

fn base64_decode(text: &str) -> HostResult<Vec<u8>> {
    room_for(2 * text.len() as u64)?;
    let clean: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(clean).map_err(|error| thrown("invalid", format!("base64::decode: {error}")))
}

fn base64_decode_text(text: &str) -> HostResult<String> {
    String::from_utf8(base64_decode(text)?).map_err(|_| {
        thrown("invalid", "base64::decode_text: the bytes are no UTF-8 text; use `base64::decode` for bytes")
    })
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn hmac_sha256(key: impl Into<String>, text: &str) -> String {
    hex::encode(Secret::new(key).signature(Hash::Sha256, text.as_bytes()))
}

fn hmac_with_secret(ctx: NativeCallContext, key: SecretText, text: &str) -> HostResult<String> {
    let line = state::line(&ctx);
    state::with(&ctx, |turn| {
        let request = state::json(&serde_json::json!({ "key": key.0, "text": text }))?;
        // Journals of earlier versions go on without.
        let is_recorded = turn.next_kind().is_none_or(|kind| kind == Kind::Hmac);
        if is_recorded && let Some(known) = turn.recall(Kind::Hmac, &request)? {
            return Ok(known.as_str().unwrap_or_default().to_owned());
        }
        let secrets = &turn.secrets;
        let Some(revealed) = key.0.reveal(&|name| Some(secrets.get(name)?.as_ref()?.reveal().to_owned())) else {
            let message = format!("{} is not set in the environment or .env", key.0.by_name());
            return match is_recorded {
                true => turn.refuse(Kind::Hmac, request, line, ScriptError::new("secret", message)),
                false => Err(thrown("secret", message)),
            };
        };
        let mac = hmac_sha256(revealed, text);
        if is_recorded {
            turn.record(Kind::Hmac, request, line, mac.clone().into())?;
        }
        Ok(mac)
    })
}

fn url_encode(text: &str) -> HostResult<String> {
    room_for(6 * text.len() as u64)?;
    Ok(percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string())
}

/// Adds `utm_source`, `utm_medium`, `utm_campaign`, `utm_content`, `utm_term`; what the link has
/// already is replaced.
fn utm(link: &str, fields: Map) -> HostResult<String> {
    let given: usize = fields.values().filter_map(|value| Some(value.as_immutable_string_ref().ok()?.len())).sum();
    room_for(8 * (link.len() + given) as u64)?;
    let mut url = url::Url::parse(link).map_err(|error| thrown("invalid", format!("url::utm: `{link}`: {error}")))?;
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in &fields {
        if !["source", "medium", "campaign", "content", "term"].contains(&name.as_str()) {
            let hint = "it takes `source`, `medium`, `campaign`, `content` and `term`";
            return Err(thrown("invalid", format!("url::utm: there is no `{name}`; {hint}")));
        }
        let name = format!("utm_{name}");
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, plain(value)));
    }
    url.query_pairs_mut().clear().extend_pairs(pairs);
    Ok(url.into())
}

/// All of these functions, by namespace.
pub fn spaces() -> Vec<(&'static str, Module)> {
    let mut json = Module::new();
    json.set_native_fn("parse", |ctx: NativeCallContext, text: &str| at(&ctx, json_parse("json::parse", text)));
    json.set_native_fn("stringify", |ctx: NativeCallContext, value: Dynamic| at(&ctx, json_stringify(value)));

    let mut base64 = Module::new();
    base64.set_native_fn("encode", |text: &str| base64_encode(text.as_bytes()));
    base64.set_native_fn("encode", |bytes: Blob| base64_encode(&bytes));
    base64.set_native_fn("decode", |ctx: NativeCallContext, text: &str| at(&ctx, base64_decode(text)));
    base64.set_native_fn("decode_text", |ctx: NativeCallContext, text: &str| at(&ctx, base64_decode_text(text)));

    let mut hash = Module::new();
    hash.set_native_fn("sha256", |text: &str| Ok(sha256(text.as_bytes())));
    hash.set_native_fn("sha256", |bytes: Blob| Ok(sha256(&bytes)));
    hash.set_native_fn("hmac_sha256", |key: &str, text: &str| Ok(hmac_sha256(key, text)));
    hash.set_native_fn("hmac_sha256", hmac_with_secret);

    let mut url = Module::new();
    url.set_native_fn("encode", |text: &str| url_encode(text));
    url.set_native_fn("encode", |value: Dynamic| -> HostResult<String> {
        match value.is_map() || value.is_array() || value.is::<SecretText>() {
            true => Err(thrown("type", format!("url::encode takes a text, not a value of type {}", type_name(&value)))),
            false => url_encode(&beginning(&value, LONGEST)),
        }
    });
    url.set_native_fn("utm", |ctx: NativeCallContext, link: &str, fields: Map| at(&ctx, utm(link, fields)));

    vec![("json", json), ("base64", base64), ("hash", hash), ("url", url)]
}
