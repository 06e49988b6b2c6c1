//! The event of a webhook: its body is kept once. What `event.raw` holds beside it is told by a few
//! fields, or by nothing at all:
//!
//! | kept | `raw` is |
//! |---|---|
//! | `raw` | that |
//! | `raw_bytes` | the text of these bytes, see [`from_bytes`]; without a `body` it is the body too |
//! | `raw_around` | the body's JSON between these two blanks |
//! | none of them | the body: a text as it is, nothing as an empty text, everything else as its JSON |

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The fields that say what `raw` is.
#[derive(Deserialize)]
struct Kept<'a> {
    #[serde(borrow, default)]
    trigger: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(default)]
    raw: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    raw_bytes: Option<String>,
    #[serde(default)]
    raw_around: Option<[String; 2]>,
}

/// What `event.raw` is where it is not kept as that, and whether it is the body too.
pub fn raw_of(event: &str) -> Option<(String, bool)> {
    let kept: Kept<'_> = serde_json::from_str(event).ok()?;
    if kept.trigger != "webhook" || kept.raw.is_some() {
        return None;
    }
    if let Some(bytes) = &kept.raw_bytes {
        return Some((String::from_utf8_lossy(&to_bytes(bytes)).into_owned(), kept.body.is_none()));
    }
    let json = kept.body.map_or("null", RawValue::get);
    let raw = match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str(json).ok()?,
        _ if json == "null" => String::new(),
        _ => match kept.raw_around {
            Some([before, behind]) => format!("{before}{json}{behind}"),
            None => json.to_owned(),
        },
    };
    Some((raw, false))
}

/// What stands in an event behind these names, as JSON; none where there is nothing. Headers are asked for in any
/// letters.
pub fn at(json: &str, names: &[String]) -> Option<String> {
    let root: &RawValue = serde_json::from_str(json).ok()?;
    let found = names.iter().enumerate().try_fold(root.to_owned(), |value, (place, name)| {
        let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(value.get()).ok()?;
        let small = (place == 1 && names[0] == "headers").then(|| name.to_ascii_lowercase());
        fields.remove(name).or_else(|| fields.remove(&small?))
    })?;
    Some(found.get().to_owned()).filter(|text| !matches!(text.as_str(), "null" | "\"\""))
}

/// The bytes of a file that came with an event.
pub fn part_of(event: &str, part: usize) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Files {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        bytes: String,
    }
    let kept: Files = serde_json::from_str(event).ok()?;
    kept.files.get(part).map(|file| to_bytes(&file.bytes))
}

/// A kept event as scripts and people see it.
pub fn seen(event: &str) -> Value {
    let mut seen: Value = serde_json::from_str(event).unwrap_or(Value::Null);
    if let (Some(fields), Some((raw, is_body))) = (seen.as_object_mut(), raw_of(event)) {
        fields.remove("raw_bytes");
        fields.remove("raw_around");
        if is_body {
            fields.insert("body".into(), raw.clone().into());
        }
        fields.insert("raw".into(), raw.into());
    }
    if let Some(Value::Array(files)) = seen.get_mut("files") {
        files.iter_mut().filter_map(Value::as_object_mut).for_each(|file| drop(file.remove("bytes")));
    }
    seen
}

/// Bytes as a text in which each takes two bytes at most also as JSON, and letters and digits can still be
/// found: what is printable in ASCII stands for itself, every other byte is the character at U+0100 and
/// its value.
pub fn from_bytes(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => char::from_u32(0x100 + u32::from(*byte)).unwrap_or_default(),
    };
    bytes.iter().map(shown).collect()
}

fn to_bytes(text: &str) -> Vec<u8> {
    // The low eight bits, of either kind.
    text.chars().map(|c| (u32::from(c) & 0xff) as u8).collect()
}

/// Whether a text would take much more as JSON than it is long: control characters take six bytes each.
pub fn swells(text: &str) -> bool {
    let controls = text.bytes().filter(|b| *b < 0x20 && !matches!(b, b'\n' | b'\r' | b'\t')).count();
    controls > text.len() / 8
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn raw_is_what_it_was() {
        for (event, raw) in [
            (r#"{"trigger":"webhook","body":{"a": 1.50}}"#, r#"{"a": 1.50}"#),
            (r#"{"trigger":"webhook","body":[1],"raw_around":[" ","\n"]}"#, " [1]\n"),
            (r#"{"trigger":"webhook","body":"a\nb"}"#, "a\nb"),
            (r#"{"trigger":"webhook","body":null}"#, ""),
            (r#"{"trigger":"webhook","body":null,"raw":"null"}"#, "null"),
        ] {
            assert_eq!(seen(event)["raw"], raw, "{event}");
        }
        let names = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let event = r#"{"headers":{"x-shop":"a"},"body":{"x-shop":"b"}}"#;
        for (path, found) in
            [("headers.X-Shop", Some("\"a\"")), ("headers.x-shop", Some("\"a\"")), ("body.X-Shop", None)]
        {
            assert_eq!(at(event, &names(path)).as_deref(), found, "{path}");
        }
        assert_eq!(seen(r#"{"trigger":"manual","body":"a"}"#), json!({ "trigger": "manual", "body": "a" }));
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(to_bytes(&from_bytes(&all)), all);
        let event = json!({ "trigger": "webhook", "raw_bytes": from_bytes(b"a\xff\0") }).to_string();
        assert_eq!(seen(&event), json!({ "trigger": "webhook", "body": "a\u{fffd}\0", "raw": "a\u{fffd}\0" }));
    }
}
