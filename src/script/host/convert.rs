//! Pure functions on texts: `json::`, `csv::`, `base64::`, `hash::`, `regex::`, `url::`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rhai::{Array, Blob, Dynamic, Map, Module, NativeCallContext};
use sha2::{Digest, Sha256};

use crate::model::journal::Kind;
use crate::script::error::{HostResult, at, thrown};
use crate::script::secret_text::SecretText;
use crate::script::state;
use crate::script::value::{to_dynamic, to_json, type_name};

/// What a parsed value weighs against its text: `[1,1,1]` becomes slots of 16 bytes.
const SWELLING: u64 = 16;

fn room(ctx: &NativeCallContext, bytes: u64) -> HostResult<()> {
    state::with(ctx, |turn| match turn.watch.room_for(bytes) {
        Ok(()) => Ok(()),
        Err(excess) => Err(turn.excess(excess)),
    })
}

fn json_parse(ctx: &NativeCallContext, text: &str) -> HostResult<Dynamic> {
    room(ctx, text.len() as u64 * SWELLING)?;
    serde_json::from_str(text)
        .map(|value| to_dynamic(&value))
        .map_err(|error| thrown("invalid", format!("json::parse: {error}")))
}

fn json_stringify(ctx: &NativeCallContext, value: Dynamic) -> HostResult<String> {
    room(ctx, super::weight(&value) * 2)?;
    to_json(&value)
        .map(|value| value.to_string())
        .map_err(|error| thrown("invalid", format!("json::stringify: {error}")))
}

/// Rows as maps by the first row's names, or as arrays with `#{ header: false }`.
pub fn csv_parse(ctx: &NativeCallContext, function: &str, text: &str, options: Map) -> HostResult<Array> {
    room(ctx, text.len() as u64 * SWELLING)?;
    let mut header = true;
    let mut delimiter = b',';
    for (name, value) in &options {
        match (name.as_str(), value.as_bool(), value.as_immutable_string_ref()) {
            ("header", Ok(flag), _) => header = flag,
            ("delimiter", _, Ok(text)) if text.len() == 1 => delimiter = text.as_bytes()[0],
            _ => {
                let hint = "it takes `header` (true or false) and `delimiter` (one character)";
                return Err(thrown("invalid", format!("{function}: `{name}` is not right here; {hint}")));
            }
        }
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(header)
        .delimiter(delimiter)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let failed = |error: csv::Error| thrown("invalid", format!("{function}: {error}"));
    let names: Vec<String> = match header {
        true => reader.headers().map_err(failed)?.iter().map(str::to_owned).collect(),
        false => Vec::new(),
    };
    let mut rows = Array::new();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        rows.push(if header {
            let fields = names.iter().zip(&record);
            fields.map(|(name, field)| (name.as_str().into(), field.into())).collect::<Map>().into()
        } else {
            record.iter().map(|field| field.into()).collect::<Array>().into()
        });
    }
    Ok(rows)
}

fn base64_decode(text: &str) -> HostResult<Vec<u8>> {
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

fn hmac_sha256(key: &[u8], text: &str) -> HostResult<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|error| thrown("invalid", error.to_string()))?;
    mac.update(text.as_bytes());
    Ok(hex::encode(mac.finalize().into_bytes()))
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
            return Err(thrown("secret", message));
        };
        let mac = hmac_sha256(revealed.as_bytes(), text)?;
        if is_recorded {
            turn.record(Kind::Hmac, request, line, mac.clone().into())?;
        }
        Ok(mac)
    })
}

fn pattern(pattern: &str) -> HostResult<regex::Regex> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| thrown("invalid", format!("`{pattern}` is no regular expression: {error}")))
}

/// Named groups by name and all groups by number, as texts; `()` where a group took no part.
fn captures(text: &str, expression: &str) -> HostResult<Dynamic> {
    let expression = pattern(expression)?;
    let Some(found) = expression.captures(text) else { return Ok(Dynamic::UNIT) };
    let mut groups = Map::new();
    for (number, name) in expression.capture_names().enumerate() {
        let group = found.get(number).map_or(Dynamic::UNIT, |group| group.as_str().into());
        if let Some(name) = name {
            groups.insert(name.into(), group.clone());
        }
        groups.insert(number.to_string().into(), group);
    }
    Ok(groups.into())
}

fn url_encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Adds `utm_source`, `utm_medium`, `utm_campaign`, `utm_content`, `utm_term`; what the link has
/// already is replaced.
fn utm(link: &str, fields: Map) -> HostResult<String> {
    let mut url = url::Url::parse(link).map_err(|error| thrown("invalid", format!("url::utm: `{link}`: {error}")))?;
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in &fields {
        if !["source", "medium", "campaign", "content", "term"].contains(&name.as_str()) {
            let hint = "it takes `source`, `medium`, `campaign`, `content` and `term`";
            return Err(thrown("invalid", format!("url::utm: there is no `{name}`; {hint}")));
        }
        let name = format!("utm_{name}");
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name, value.to_string()));
    }
    url.query_pairs_mut().clear().extend_pairs(pairs);
    Ok(url.into())
}

/// All of these functions, by namespace.
pub fn spaces() -> Vec<(&'static str, Module)> {
    let mut json = Module::new();
    json.set_native_fn("parse", |ctx: NativeCallContext, text: &str| at(&ctx, json_parse(&ctx, text)));
    json.set_native_fn("stringify", |ctx: NativeCallContext, value: Dynamic| at(&ctx, json_stringify(&ctx, value)));

    let mut csv = Module::new();
    csv.set_native_fn("parse", |ctx: NativeCallContext, text: &str| {
        at(&ctx, csv_parse(&ctx, "csv::parse", text, Map::new()))
    });
    csv.set_native_fn("parse", |ctx: NativeCallContext, text: &str, options: Map| {
        at(&ctx, csv_parse(&ctx, "csv::parse", text, options))
    });

    let mut base64 = Module::new();
    base64.set_native_fn("encode", |text: &str| Ok(STANDARD.encode(text)));
    base64.set_native_fn("encode", |bytes: Blob| Ok(STANDARD.encode(bytes)));
    base64.set_native_fn("decode", |ctx: NativeCallContext, text: &str| at(&ctx, base64_decode(text)));
    base64.set_native_fn("decode_text", |ctx: NativeCallContext, text: &str| at(&ctx, base64_decode_text(text)));

    let mut hash = Module::new();
    hash.set_native_fn("sha256", |text: &str| Ok(sha256(text.as_bytes())));
    hash.set_native_fn("sha256", |bytes: Blob| Ok(sha256(&bytes)));
    hash.set_native_fn("hmac_sha256", |key: &str, text: &str| hmac_sha256(key.as_bytes(), text));
    hash.set_native_fn("hmac_sha256", hmac_with_secret);

    let mut regex = Module::new();
    regex.set_native_fn("is_match", |ctx: NativeCallContext, text: &str, expression: &str| {
        Ok(at(&ctx, pattern(expression))?.is_match(text))
    });
    regex.set_native_fn("find", |ctx: NativeCallContext, text: &str, expression: &str| {
        Ok(at(&ctx, pattern(expression))?.find(text).map_or(Dynamic::UNIT, |found| found.as_str().into()))
    });
    regex.set_native_fn("captures", |ctx: NativeCallContext, text: &str, expression: &str| {
        at(&ctx, captures(text, expression))
    });
    regex.set_native_fn("replace", |ctx: NativeCallContext, text: &str, expression: &str, by: &str| {
        let expression = at(&ctx, pattern(expression))?;
        let hits = expression.find_iter(text).count() as u64;
        // A replacement may name groups, each at most the whole text.
        let names = by.matches('$').count() as u64;
        room(&ctx, hits.saturating_mul(by.len() as u64) + (names + 1).saturating_mul(text.len() as u64))?;
        Ok(expression.replace_all(text, by).into_owned())
    });

    let mut url = Module::new();
    url.set_native_fn("encode", |text: &str| Ok(url_encode(text)));
    url.set_native_fn("encode", |value: Dynamic| -> HostResult<String> {
        match value.is_map() || value.is_array() || value.is::<SecretText>() {
            true => Err(thrown("type", format!("url::encode takes a text, not a value of type {}", type_name(&value)))),
            false => Ok(url_encode(&value.to_string())),
        }
    });
    url.set_native_fn("utm", |ctx: NativeCallContext, link: &str, fields: Map| at(&ctx, utm(link, fields)));

    vec![("json", json), ("csv", csv), ("base64", base64), ("hash", hash), ("regex", regex), ("url", url)]
}
