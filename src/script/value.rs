//! Between Rhai's values and JSON, which is what journals, events and the API are written in.

use std::borrow::Cow;
use std::fmt;

use rhai::{Array, Blob, Dynamic, Map};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

use super::limits::{room_for, tick};
use super::types::{Moment, SecretText, Span, type_name};
use crate::model::call::SECRET;

/// A Rhai value from JSON. Whole numbers that do not fit into 64 bits become texts, as far as they were read with all
/// their digits (below 2^64): nobody reckons with such numbers, and as floats they would lose digits.
pub fn to_dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(large)) => large.to_string().into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(to_dynamic).collect::<Array>().into(),
        Value::Object(fields) => {
            fields.iter().map(|(key, item)| (key.as_str().into(), to_dynamic(item))).collect::<Map>().into()
        }
    }
}

/// A Rhai value from the text of JSON, without a tree between.
///
/// # Errors
/// Where and why the text is no JSON.
pub fn read_json(text: &str) -> Result<Dynamic, serde_json::Error> {
    serde_json::from_str::<Read>(&large_as_texts(text)).map(|Read(value)| value)
}

/// Digits of the largest number that certainly fits into 64 bits.
const CERTAIN: usize = 18;

/// JSON whose whole numbers stand as texts where they do not fit into 64 bits: what reads it would make floats of them.
fn large_as_texts(json: &str) -> Cow<'_, str> {
    let (mut whole, mut done) = (String::new(), 0);
    let (mut place, mut in_text) = (0, false);
    let bytes = json.as_bytes();
    while let Some(byte) = bytes.get(place) {
        match byte {
            b'\\' if in_text => place += 1,
            b'"' => in_text = !in_text,
            b'-' | b'0'..=b'9' if !in_text => {
                let rest = &bytes[place..];
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let end = place + rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
                let number = &json[place..end];
                let is_whole = number.bytes().skip(1).all(|byte| byte.is_ascii_digit());
                if number.len() > CERTAIN && is_whole && number.parse::<i64>().is_err() {
                    whole.extend([&json[done..place], "\"", number, "\""]);
                    done = end;
                }
                place = end;
                continue;
            }
            _ => {}
        }
        place += 1;
    }
    match done {
        0 => Cow::Borrowed(json),
        _ => Cow::Owned(whole + &json[done..]),
    }
}

/// A value may take many times what its text does.
fn room<E: serde::de::Error>() -> Result<(), E> {
    tick().map_err(|_| E::custom("the value takes more memory than the script may have"))
}

struct Read(Dynamic);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Dynamic;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Dynamic, E> {
                Ok(Dynamic::UNIT)
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Dynamic, E> {
                Ok(flag.into())
            }
            fn visit_i64<E>(self, number: i64) -> Result<Dynamic, E> {
                Ok(number.into())
            }
            fn visit_u64<E>(self, number: u64) -> Result<Dynamic, E> {
                Ok(i64::try_from(number).map_or_else(|_| number.to_string().into(), Dynamic::from))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Dynamic, E> {
                Ok(number.into())
            }
            fn visit_str<E>(self, text: &str) -> Result<Dynamic, E> {
                Ok(text.into())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Dynamic, A::Error> {
                let mut list = Array::new();
                while let Some(Read(item)) = items.next_element()? {
                    room()?;
                    list.push(item);
                }
                Ok(list.into())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Dynamic, A::Error> {
                let mut map = Map::new();
                while let Some((name, Read(value))) = fields.next_entry::<Cow<'_, str>, Read>()? {
                    room()?;
                    map.insert((&*name).into(), value);
                }
                Ok(map.into())
            }
        }
        deserializer.deserialize_any(Any).map(Read)
    }
}

/// JSON from a Rhai value. Times and durations become their text.
///
/// # Errors
/// A sentence that names what cannot be written as JSON: a secret, bytes, a function, infinity.
pub fn to_json(value: &Dynamic) -> Result<Value, String> {
    to_json_within(value, LARGEST)
}

/// The same for a value that may take so many bytes. Rhai shares texts between the places they
/// stand in; as JSON each place has its own copy, so size is counted here and not at the script.
///
/// # Errors
/// As [`to_json`], and when the value is larger.
pub fn to_json_within(value: &Dynamic, bytes: usize) -> Result<Value, String> {
    let mut room = bytes;
    nested(value, 0, &mut room, false)
}

/// The same for what goes onto a wire: secrets stand in it by name.
///
/// # Errors
/// As [`to_json`], but for secrets; and for a map with the key that secrets stand under.
pub fn to_json_veiled(value: &Dynamic) -> Result<Value, String> {
    let mut room = LARGEST;
    nested(value, 0, &mut room, true)
}

/// The same for the fields of a map.
///
/// # Errors
/// As [`to_json`].
pub fn fields_to_json(fields: &Map) -> Result<Value, String> {
    let mut room = LARGEST;
    object(fields, 0, &mut room, false)
}

fn object(fields: &Map, depth: usize, room: &mut usize, veil: bool) -> Result<Value, String> {
    let mut object = serde_json::Map::new();
    for (name, item) in fields {
        *room = room.checked_sub(name.len()).ok_or(TOO_LARGE)?;
        object.insert(name.to_string(), nested(item, depth + 1, room, veil)?);
    }
    Ok(Value::Object(object))
}

const TOO_LARGE: &str = "the value is too large to be written as JSON";

/// Most bytes of one value as JSON.
const LARGEST: usize = 16 << 20;
/// Deepest nesting: what is written must be read again, and readers stop at 128.
const DEEPEST: usize = 100;

fn nested(value: &Dynamic, depth: usize, room: &mut usize, veil: bool) -> Result<Value, String> {
    if depth > DEEPEST {
        return Err(format!("the value is nested more than {DEEPEST} deep"));
    }
    let text = value.as_immutable_string_ref().map_or(0, |text| text.len());
    *room = room.checked_sub(text + 16).ok_or(TOO_LARGE)?;
    // What the script holds already counts as well.
    tick().map_err(|_| TOO_LARGE)?;
    room_for(text as u64).map_err(|_| TOO_LARGE)?;
    if value.is_unit() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.as_bool() {
        return Ok(flag.into());
    }
    if let Ok(whole) = value.as_int() {
        return Ok(whole.into());
    }
    if let Ok(number) = value.as_float() {
        return Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| format!("`{number}` is no number that JSON knows"));
    }
    if let Ok(character) = value.as_char() {
        return Ok(character.to_string().into());
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(text.as_str().into());
    }
    if let Some(items) = value.read_lock::<Array>() {
        return items.iter().map(|item| nested(item, depth + 1, room, veil)).collect();
    }
    if let Some(fields) = value.read_lock::<Map>() {
        if veil && fields.contains_key(SECRET) {
            return Err(format!("`{SECRET}` cannot be the name of a field"));
        }
        return object(&fields, depth, room, veil);
    }
    if let Some(moment) = value.read_lock::<Moment>() {
        return Ok(moment.to_string().into());
    }
    if let Some(span) = value.read_lock::<Span>() {
        return Ok(span.to_string().into());
    }
    if let Some(secret) = value.read_lock::<SecretText>() {
        return match veil {
            true => Ok(serde_json::json!({ SECRET: secret.0 })),
            false => Err("a secret cannot be stored or sent as data".into()),
        };
    }
    if value.is::<Blob>() {
        return Err("bytes cannot be written as JSON; use `base64::encode` first".into());
    }
    Err(format!("a value of type `{}` cannot be written as JSON", type_name(value)))
}
