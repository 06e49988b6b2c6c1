//! What the bytes of a body say: unpacked, and read by their charset.

use std::borrow::Cow;
use std::io::Read;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use encoding_rs::{Encoding, UTF_8};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use percent_encoding::percent_decode;
use serde_json::{Map, Value};

use super::body::too_large;
use super::error::Refused;

/// Nobody packs more often.
const MOST_CODINGS: usize = 4;

/// What `Content-Type` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Such as `application/json`, in small letters; empty when nothing is said.
    pub name: String,
    /// As it is written.
    pub charset: Option<String>,
    /// What parts of a form are divided by.
    pub boundary: Option<String>,
}

impl Kind {
    /// Reads the header, or that of a part.
    pub fn of(headers: &HeaderMap) -> Self {
        let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self::read(value)
    }

    /// Reads its text (RFC 9110, 8.3.1).
    pub fn read(value: &str) -> Self {
        let mut parts = value.split(';');
        let name = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut kind = Self { name, ..Self::default() };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = Some(value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty());
            match name.trim().to_ascii_lowercase().as_str() {
                "charset" => kind.charset = value,
                "boundary" => kind.boundary = value,
                _ => {}
            }
        }
        kind
    }

    /// JSON by its name, or by its suffix (RFC 6839; the rest by the list of WHATWG's MIME Sniffing).
    pub fn is_json(&self) -> bool {
        matches!(&*self.name, "application/json" | "text/json" | "application/x-json") || self.name.ends_with("+json")
    }

    /// A form in one text.
    pub fn is_form(&self) -> bool {
        self.name == "application/x-www-form-urlencoded"
    }

    /// A form in parts.
    pub fn is_multipart(&self) -> bool {
        self.name == "multipart/form-data"
    }

    /// Whether it is meant to be read, so that bytes that are no letters are a mistake.
    fn is_text(&self) -> bool {
        let name = &self.name;
        self.is_json()
            || self.is_form()
            || name.starts_with("text/")
            || name.ends_with("+xml")
            || matches!(&**name, "application/xml" | "application/javascript" | "application/graphql")
    }
}

/// A body without what `Content-Encoding` says was done to it; of at most `limit` bytes.
///
/// # Errors
/// 415 for what we do not know, 413, or 400 when it is not what it says.
pub fn unpacked(headers: &HeaderMap, raw: &Bytes, limit: usize) -> Result<Bytes, Refused> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings: Vec<String> = codings
        .flat_map(|value| {
            String::from_utf8_lossy(value.as_bytes())
                .to_ascii_lowercase()
                .split(',')
                .map(|coding| coding.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|coding| !matches!(coding.as_str(), "" | "identity"))
        .collect();
    if codings.len() > MOST_CODINGS {
        return Err(unknown("the body is packed too often".into()));
    }
    let mut body = raw.clone();
    // What was done last is undone first.
    for coding in codings.iter().rev() {
        body = unpack(coding, &body, limit)?.into();
    }
    Ok(body)
}

fn unpack(coding: &str, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Refused> {
    let broken = |error: &dyn std::fmt::Display| {
        Refused::bad(format!("the body is not packed as `Content-Encoding: {coding}` says: {error}"))
    };
    // RFC 9110, 8.4.1.2: zlib's format; but some send what is inside it.
    let is_zlib = matches!(bytes, [a, b, ..] if a & 0x0f == 8 && (u16::from(*a) << 8 | u16::from(*b)) % 31 == 0);
    let unpacking: Box<dyn Read + '_> = match coding {
        "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(bytes)),
        "deflate" if is_zlib => Box::new(ZlibDecoder::new(bytes)),
        "deflate" => Box::new(DeflateDecoder::new(bytes)),
        "br" => Box::new(brotli_decompressor::Decompressor::new(bytes, 4_096)),
        "zstd" => Box::new(ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|error| broken(&error))?),
        other => {
            let known = "gzip, deflate, br and zstd are unpacked";
            return Err(unknown(format!("nobody here can unpack `Content-Encoding: {}`", printable(other))).hint(known));
        }
    };
    let mut unpacked = Vec::new();
    // One byte more than may be: so much is never kept, however much would come.
    unpacking.take(limit as u64 + 1).read_to_end(&mut unpacked).map_err(|error| broken(&error))?;
    match unpacked.len() > limit {
        true => Err(too_large(limit)),
        false => Ok(unpacked),
    }
}

fn unknown(message: String) -> Refused {
    Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported", message)
}

fn printable(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(40).collect()
}

fn encoding(label: &str) -> Result<&'static Encoding, Refused> {
    Encoding::for_label(label.as_bytes())
        .ok_or_else(|| unknown(format!("there is no charset `{}`", printable(label))).hint("send UTF-8"))
}

/// The text of a body; none when it is no text and does not say that it is. A mark of the byte order is left out.
///
/// # Errors
/// 415 for a charset that does not exist, 400 when the bytes are not what is said of them.
pub fn text<'a>(kind: &Kind, bytes: &'a [u8]) -> Result<Option<Cow<'a, str>>, Refused> {
    let declared = kind.charset.as_deref().map(encoding).transpose()?;
    // A mark says more than a header does (Encoding Standard, 6). In what is not said to be text, only UTF-8's counts.
    let marked = Encoding::for_bom(bytes).filter(|(found, _)| *found == UTF_8 || declared.is_some() || kind.is_text());
    let (encoding, bytes) = match marked {
        Some((found, length)) => (found, &bytes[length..]),
        None => (declared.unwrap_or(UTF_8), bytes),
    };
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok(Some(text)),
        None if declared.is_none() && !kind.is_text() => Ok(None),
        None => Err(not_written_in(encoding, declared.is_some())),
    }
}

fn not_written_in(encoding: &'static Encoding, declared: bool) -> Refused {
    let refused = Refused::bad(format!("the body is not written in {}", encoding.name()));
    match declared {
        true => refused,
        false => refused.hint("send UTF-8, or say the charset, such as `Content-Type: text/plain; charset=iso-8859-1`"),
    }
}

/// A form as a map; a name that comes again makes a list. Its bytes are in the charset that `Content-Type` or a
/// field of the form itself names.
///
/// # Errors
/// As [`text`].
pub fn form(kind: &Kind, bytes: &[u8]) -> Result<Value, Refused> {
    let declared = kind.charset.as_deref().map(encoding).transpose()?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let part = |part: &[u8]| {
        let spaced: Vec<u8> = part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        percent_decode(&spaced).collect::<Vec<u8>>()
    };
    let pair = |field: &[u8]| {
        let mut halves = field.splitn(2, |byte| *byte == b'=');
        (part(halves.next().unwrap_or_default()), part(halves.next().unwrap_or_default()))
    };
    let fields = bytes.split(|byte| *byte == b'&').filter(|field| !field.is_empty());
    let fields: Vec<(Vec<u8>, Vec<u8>)> = fields.map(pair).collect();
    // Browsers name it `_charset_`, PayPal `charset`.
    let named = || {
        let mut fields = fields.iter();
        let (_, label) = fields.find(|(name, _)| matches!(name.as_slice(), b"_charset_" | b"charset"))?;
        Encoding::for_label(label)
    };
    let fits = |encoding: &'static Encoding| {
        let text =
            |bytes: &[u8]| Some(encoding.decode_without_bom_handling_and_without_replacement(bytes)?.into_owned());
        let pair = |(name, value): &(Vec<u8>, Vec<u8>)| Some((text(name)?, text(value)?));
        fields.iter().map(pair).collect::<Option<Vec<_>>>()
    };
    let first = declared.unwrap_or(UTF_8);
    let read = fits(first).or_else(|| named().filter(|_| declared.is_none()).and_then(fits));
    read.map(|pairs| map(pairs.into_iter())).ok_or_else(|| not_written_in(first, declared.is_some()))
}

/// A query as a map. What is no UTF-8 in it is replaced, as everywhere in addresses.
pub fn query(text: &str) -> Value {
    map(form_urlencoded::parse(text.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())))
}

/// Pairs as a map; a name that comes again makes a list.
pub fn map(pairs: impl Iterator<Item = (String, String)>) -> Value {
    let mut map = Map::new();
    for (name, value) in pairs {
        let value = Value::String(value);
        match map.entry(name) {
            serde_json::map::Entry::Vacant(free) => {
                free.insert(value);
            }
            serde_json::map::Entry::Occupied(mut taken) => match taken.get_mut() {
                Value::Array(list) => list.push(value),
                one => *one = Value::Array(vec![one.take(), value]),
            },
        }
    }
    Value::Object(map)
}

/// JSON in which half of a pair of surrogates (a cut emoji, as JavaScript writes it) is the mark for what cannot
/// be read: others read it so, and a sender that is refused loses its event.
pub fn mended(json: &str) -> Cow<'_, str> {
    const HALF: &str = "\\ufffd";
    let half = |at: usize| -> Option<u16> {
        let digits = json.get(at..)?.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(digits, 16).ok().filter(|code| (0xd800..0xe000).contains(code))
    };
    let (mut mended, mut kept, mut at) = (String::new(), 0, 0);
    let bytes = json.as_bytes();
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match half(at) {
            // A pair.
            Some(0xd800..0xdc00) if half(at + 6).is_some_and(|low| low >= 0xdc00) => at += 12,
            Some(_) => {
                mended.push_str(&json[kept..at]);
                mended.push_str(HALF);
                at += 6;
                kept = at;
            }
            None => at += 2,
        }
    }
    match kept {
        0 => Cow::Borrowed(json),
        _ => Cow::Owned(mended + &json[kept..]),
    }
}
