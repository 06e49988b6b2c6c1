//! Pure functions on texts: `json::`, `csv::`, `base64::`, `hash::`, `url::`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhai::{Array, Blob, Dynamic, Map, Module, NativeCallContext};
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

/// Most columns of a table, and most bytes of a column's name: each row has them all.
const MOST_COLUMNS: usize = 1_000;
const LONGEST_NAME: usize = 1_024;
/// Most fields of a line.
const MOST_ENDS: usize = 100_000;

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

/// What divides the fields of a table: what its first line has most of, outside quotes. Where a comma is the decimal
/// sign programs write semicolons.
fn usual_delimiter(text: &str) -> u8 {
    let mut quoted = false;
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in text.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => break,
            _ if quoted => {}
            _ => counts.iter_mut().filter(|(known, _)| *known == byte).for_each(|(_, count)| *count += 1),
        }
    }
    // The first of those that are as many.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(known, _)| *known)
}

/// Rows as maps by the first row's names, or as arrays with `#{ header: false }`.
pub fn csv_parse(function: &str, text: &str, options: Map) -> HostResult<Array> {
    let mut header = true;
    let mut delimiter = None;
    for (name, value) in &options {
        match (name.as_str(), value.as_bool(), value.as_immutable_string_ref()) {
            ("header", Ok(flag), _) => header = flag,
            ("delimiter", _, Ok(text)) if text.len() == 1 => delimiter = Some(text.as_bytes()[0]),
            _ => {
                let hint = "it takes `header` (true or false) and `delimiter` (one character)";
                return Err(thrown("invalid", format!("{function}: `{name}` is not right here; {hint}")));
            }
        }
    }
    let text = text.trim_start_matches('\u{feff}');
    let delimiter = delimiter.unwrap_or_else(|| usual_delimiter(text));
    // The reader keeps one row of it, as text and as ends of fields.
    let (mut longest, mut ends) = (0, 0);
    for line in text.split('\n') {
        longest = longest.max(line.len());
        ends = ends.max(line.bytes().filter(|byte| *byte == delimiter).count());
    }
    if ends > MOST_ENDS {
        let what = format!("a line has {ends} fields, and {MOST_ENDS} are the most");
        return Err(thrown("invalid", format!("{function}: {what}; is the `delimiter` another one?")));
    }
    room_for(2 * longest as u64)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(header).delimiter(delimiter).from_reader(text.as_bytes());
    let failed = |error: csv::Error| thrown("invalid", format!("{function}: {error}"));
    let names = match header {
        true => column_names(function, reader.headers().map_err(failed)?)?,
        false => Vec::new(),
    };
    let mut rows = Array::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(failed)? {
        tick()?;
        room_for(row_weight(&names, &record))?;
        rows.push(if header {
            let fields = names.iter().zip(&record);
            fields.map(|(name, field)| (name.as_str().into(), field.into())).collect::<Map>().into()
        } else {
            record.iter().map(|field| field.into()).collect::<Array>().into()
        });
    }
    Ok(rows)
}

/// The names in a table's first row.
fn column_names(function: &str, row: &csv::StringRecord) -> HostResult<Vec<String>> {
    let refused = |what: String| {
        let hint = "is this a table? is the `delimiter` another one?";
        Err(thrown("invalid", format!("{function}: {what}; {hint}")))
    };
    if row.len() > MOST_COLUMNS {
        return refused(format!("the first row has {} columns, {MOST_COLUMNS} is the most", row.len()));
    }
    match row.iter().find(|name| name.len() > LONGEST_NAME) {
        Some(name) => refused(format!("a column's name has {} bytes, {LONGEST_NAME} is the most", name.len())),
        None => Ok(row.iter().map(str::to_owned).collect()),
    }
}

/// About what a row takes: each one has its own copy of the columns' names.
fn row_weight(names: &[String], record: &csv::StringRecord) -> u64 {
    const FIELD: usize = 64;
    let names: usize = names.iter().take(record.len()).map(|name| name.len() + FIELD).sum();
    (names + record.as_slice().len() + FIELD * (record.len() + 1)) as u64
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

    let mut csv = Module::new();
    csv.set_native_fn("parse", |ctx: NativeCallContext, text: &str| {
        at(&ctx, csv_parse("csv::parse", text, Map::new()))
    });
    csv.set_native_fn("parse", |ctx: NativeCallContext, text: &str, options: Map| {
        at(&ctx, csv_parse("csv::parse", text, options))
    });

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

    vec![("json", json), ("csv", csv), ("base64", base64), ("hash", hash), ("url", url)]
}
