//! Types of ours that values in scripts may have, and what each type is called.

use std::fmt;
use std::time::Duration;

use jiff::Zoned;
use rhai::Dynamic;

use crate::id::MessageId;
use crate::model::call::Veiled;
use crate::units::format_duration;

/// An instant in a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Zoned);

/// A length of time, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.0))
    }
}

/// Text of which some parts are secrets, kept by name until the wire.
#[derive(Clone, Debug)]
pub struct SecretText(pub Veiled);

impl SecretText {
    /// Both, one behind the other.
    pub fn joined(mut self, mut other: Self) -> Self {
        self.0.0.append(&mut other.0.0);
        self
    }

    /// Text without a secret.
    pub fn plain(text: &str) -> Self {
        Self(Veiled::plain(text))
    }
}

/// A promised message in a script's hands.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Canonical recipient.
    pub to: String,
    /// The account that sends it.
    pub account: String,
}

/// The name of a value's type as an author knows it.
pub fn type_name(value: &Dynamic) -> &'static str {
    if value.is_unit() {
        "()"
    } else if value.is_string() {
        "string"
    } else if value.is_int() {
        "integer"
    } else if value.is_float() {
        "float"
    } else if value.is_bool() {
        "bool"
    } else if value.is_array() {
        "array"
    } else if value.is_map() {
        "map"
    } else if value.is_char() {
        "char"
    } else if value.is::<Moment>() {
        "time"
    } else if value.is::<Span>() {
        "duration"
    } else if value.is::<SecretText>() {
        "secret"
    } else if value.is::<Message>() {
        "message"
    } else if value.is_blob() {
        "bytes"
    } else if value.is_fnptr() {
        "function"
    } else {
        "other"
    }
}
