//! What type a file is of: from its content where that tells, from its name where the content is
//! only a wrapping.

use std::time::Duration;

use crate::blobs::Blobs;
use crate::fetch::{Bounds, Fetched};
use crate::model::mime::{COMPOUND, ZIPPED, by_name, common, is_readable};

/// Bytes at a file's beginning that are looked at.
const BEGINNING: usize = 4096;
/// A look at the beginning of what is behind an address.
pub(super) const PEEK: Bounds = Bounds { time: Duration::from_secs(5), bytes: BEGINNING };
/// Types that say no more than "a file" or "letters": a name says more.
const VAGUE: [&str; 4] = ["application/octet-stream", "binary/octet-stream", "application/x-download", "text/plain"];

/// The type of a copy, from its beginning or the name that it is asked for by; bytes that nobody
/// knows are just that. Reads a file: to be called where that holds nobody up.
pub fn served_type(blobs: &Blobs, blob: &str, name: &str) -> &'static str {
    of_copy(blobs, blob, name).unwrap_or("application/octet-stream")
}

/// The type of a copy, if anything tells.
pub(super) fn of_copy(blobs: &Blobs, blob: &str, name: &str) -> Option<&'static str> {
    let beginning = &blobs.beginning(blob, BEGINNING)[..];
    by_content(beginning, name).or_else(|| by_name(name)).or_else(|| is_text(beginning).then_some("text/plain"))
}

/// The type of what came from an address. Its server's word counts where the content tells nothing.
pub(super) fn of_fetched(fetched: &Fetched, name: &str) -> Option<String> {
    let beginning = &fetched.body[..fetched.body.len().min(BEGINNING)];
    let said = fetched.mime();
    let told = said.as_deref().filter(|said| !VAGUE.contains(said)).map(|said| common(said).to_owned());
    by_content(beginning, name)
        .map(str::to_owned)
        .or(told)
        .or_else(|| by_name(name).map(str::to_owned))
        .or_else(|| said.filter(|said| said == "text/plain"))
        .or_else(|| is_text(beginning).then(|| "text/plain".into()))
}

/// What the content says. Office files are archives, or the older kind of container, in which the
/// parts that tell them apart stand anywhere: there the name decides.
fn by_content(beginning: &[u8], name: &str) -> Option<&'static str> {
    let found = match infer::get(beginning).map(|kind| common(kind.mime_type())) {
        None if is_drawing(beginning) => return Some("image/svg+xml"),
        found => found?,
    };
    if beginning.starts_with(b"PK\x03\x04") {
        return by_name(name).filter(|named| ZIPPED.contains(named)).or(Some(found));
    }
    if beginning.starts_with(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
        return by_name(name).filter(|named| COMPOUND.contains(named)).or(Some(found));
    }
    // Marks in pointed brackets begin many a text that is no page: Markdown, for one.
    match found {
        "text/xml" if is_drawing(beginning) => Some("image/svg+xml"),
        "text/xml" | "text/html" => by_name(name).filter(|named| is_readable(named)).or(Some(found)),
        found => Some(found),
    }
}

/// A drawing in XML, with or without what may stand before its first element.
fn is_drawing(beginning: &[u8]) -> bool {
    let text = String::from_utf8_lossy(beginning);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with('<')
        && !text.to_ascii_lowercase().starts_with("<!doctype html")
        && text.contains("<svg")
        && !text.contains("<html")
}

/// Letters of an encoding that everybody reads; the beginning may end inside one.
fn is_text(beginning: &[u8]) -> bool {
    let valid = match std::str::from_utf8(beginning) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&beginning[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && !valid.chars().any(|c| c.is_control() && !"\t\n\r\u{c}".contains(c))
}

/// Whether nobody will find anything there, whoever asks; others may be let in where we are not.
pub(super) fn is_gone(status: u16) -> bool {
    matches!(status, 404 | 410)
}
