//! Values as text, never longer than there is room for. Rhai shares texts between the places where
//! they stand; printed, each place has its own copy.

use std::fmt::{self, Write as _};

use rhai::{Array, Dynamic, ImmutableString, Map, NativeCallContext};

use super::error::LONGEST;
use super::limits::tick;

/// Most bytes of a value as text: what is longer is no text that anybody reads.
const MOST: u64 = 16 << 20;
/// Deeper nesting is shown by dots.
const DEEPEST: usize = 500;

/// A text with a bound. Writing beyond it fails.
pub struct Text {
    text: String,
    most: usize,
}

impl Text {
    /// An empty one that may have so many bytes.
    pub fn new(most: u64) -> Self {
        Self { text: String::new(), most: usize::try_from(most.min(MOST)).unwrap_or(usize::MAX) }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if more.len() > self.most - self.text.len() {
            // As much as fits, for those who want to see a beginning.
            self.text.push_str(&more[..more.floor_char_boundary(self.most - self.text.len())]);
            return Err(fmt::Error);
        }
        self.text.push_str(more);
        Ok(())
    }
}

/// JSON is written in whole letters.
impl std::io::Write for Text {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        let text = std::str::from_utf8(more).map_err(std::io::Error::other)?;
        self.write_str(text).map_err(std::io::Error::other)?;
        Ok(more.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.text
    }
}

impl From<Text> for ImmutableString {
    fn from(text: Text) -> Self {
        text.text.into()
    }
}

/// Prints a value as Rhai does.
///
/// # Errors
/// When it is too long, or the turn is over.
pub fn print(ctx: &NativeCallContext, value: &Dynamic, debug: bool, into: &mut Text) -> fmt::Result {
    nested(ctx, value, debug, 0, into)
}

/// Prints the items of an array.
///
/// # Errors
/// As [`print`].
pub fn print_list(ctx: &NativeCallContext, items: &Array, into: &mut Text) -> fmt::Result {
    list(ctx, items, 0, into)
}

/// Prints the fields of a map.
///
/// # Errors
/// As [`print`].
pub fn print_map(ctx: &NativeCallContext, fields: &Map, into: &mut Text) -> fmt::Result {
    map(ctx, fields, 0, into)
}

fn list(ctx: &NativeCallContext, items: &Array, depth: usize, into: &mut Text) -> fmt::Result {
    into.write_str("[")?;
    for (number, item) in items.iter().enumerate() {
        if number > 0 {
            into.write_str(", ")?;
        }
        nested(ctx, item, true, depth + 1, into)?;
    }
    into.write_str("]")
}

fn map(ctx: &NativeCallContext, fields: &Map, depth: usize, into: &mut Text) -> fmt::Result {
    into.write_str("#{")?;
    for (number, (name, item)) in fields.iter().enumerate() {
        if number > 0 {
            into.write_str(", ")?;
        }
        write!(into, "{name:?}: ")?;
        nested(ctx, item, true, depth + 1, into)?;
    }
    into.write_str("}")
}

fn nested(ctx: &NativeCallContext, value: &Dynamic, debug: bool, depth: usize, into: &mut Text) -> fmt::Result {
    tick().map_err(|_| fmt::Error)?;
    if depth > DEEPEST {
        return into.write_str("...");
    }
    // What is shared may hold itself; Rhai's own way knows that.
    if !value.is_shared() {
        if let Some(items) = value.read_lock::<Array>() {
            return list(ctx, &items, depth, into);
        }
        if let Some(fields) = value.read_lock::<Map>() {
            return map(ctx, &fields, depth, into);
        }
        if value.is_variant() {
            return own_type(ctx, value, debug, depth, into);
        }
    }
    // Inside of lists these two print as they do alone, as Rhai has it.
    let bare = depth > 0 && (value.is_char() || value.is_fnptr());
    match debug && !bare {
        true => write!(into, "{value:?}"),
        false => write!(into, "{value}"),
    }
}

/// Types of ours have a text of their own, which is asked for inside lists; ranges have one of Rhai's;
/// what has none is named, by the name that people know.
fn own_type(ctx: &NativeCallContext, value: &Dynamic, debug: bool, depth: usize, into: &mut Text) -> fmt::Result {
    if depth > 0 {
        let shown = ctx.call_native_fn_raw("to_debug", true, &mut [&mut value.clone()]);
        if let Some(text) = shown.ok().and_then(|text| text.into_immutable_string().ok()) {
            return into.write_str(&text);
        }
    }
    let text = if debug { format!("{value:?}") } else { value.to_string() };
    into.write_str(ctx.engine().map_type_name(&text))
}

/// A value as a text: texts whole, everything else as far as anybody reads it.
pub fn plain(value: &Dynamic) -> String {
    match value.as_immutable_string_ref() {
        Ok(text) => text.to_string(),
        Err(_) => beginning(value, LONGEST),
    }
}

/// The beginning of something's text, for sentences. The rest is never made.
pub fn beginning(shown: &dyn fmt::Display, most: usize) -> String {
    let mut text = Text { text: String::new(), most };
    if write!(text, "{shown}").is_err() {
        text.text.push('…');
    }
    text.text
}
