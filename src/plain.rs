//! Text as it may be shown: letters that would steer a terminal, turn its lines around, break one
//! line into two or hide themselves are written as escapes.
//!
//! The escapes are those of JSON, so a text that is JSON stays the same JSON.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Whether a letter does something else than being seen. What joins letters of scripts and emoji
/// (U+200C, U+200D, variation selectors) is left alone: without it honest text falls apart.
pub fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            // Marks and overrides of direction, isolates, breaks of lines and paragraphs.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            // Letters of no width, and tags: text that only programs see.
            | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}'
        )
}

/// Whether nobody would see anything of a text: blanks, marks, joiners with nothing to join.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|letter| {
        letter.is_whitespace()
            || steers(letter)
            || matches!(
                letter,
                '\u{ad}' | '\u{34f}' | '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}'
                // Letters that are drawn as nothing: the fillers of Hangul, the empty Braille cell.
                | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
            )
    })
}

/// The beginning of a text: at most so many letters, and `…` where there are more.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text in which nothing steers, on one line.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        // A text takes all that is written into it.
        let _ = write_plain(letter, &mut shown);
    }
    Cow::Owned(shown)
}

/// Writes one letter, or its escape.
pub fn write_plain(letter: char, to: &mut impl Write) -> fmt::Result {
    match letter {
        '\n' => to.write_str("\\n"),
        '\r' => to.write_str("\\r"),
        '\t' => to.write_str("\\t"),
        _ if steers(letter) => {
            let mut units = [0; 2];
            letter.encode_utf16(&mut units).iter().try_for_each(|unit| write!(to, "\\u{unit:04x}"))
        }
        _ => to.write_char(letter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_written_out_and_honest_text_stays() {
        for (text, shown) in [
            ("a\u{1b}[31m\u{7}\r\n\tb\u{7f}", "a\\u001b[31m\\u0007\\r\\n\\tb\\u007f"),
            ("\u{85}\u{9b}\u{202e}\u{2066}\u{2029}\u{feff}", "\\u0085\\u009b\\u202e\\u2066\\u2029\\ufeff"),
            ("\u{e0041}", "\\udb40\\udc41"),
            (
                "Grüße 👩\u{200d}👧 ❤\u{fe0f} שלום مرحبا नम\u{200c}स्ते",
                "Grüße 👩\u{200d}👧 ❤\u{fe0f} שלום مرحبا नम\u{200c}स्ते",
            ),
        ] {
            assert_eq!(plain(text), shown);
        }
        let text = "a\u{9b}\u{202e}\u{e0041}\nb";
        let json = serde_json::to_string(text).unwrap();
        assert_eq!(serde_json::from_str::<String>(&plain(&json)).unwrap(), text);
    }
}
