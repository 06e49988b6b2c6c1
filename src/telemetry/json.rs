//! JSON on its way to the log: its strings are cut and lose what steers, and it stays JSON.

use std::fmt::{self, Write};

use super::cut::{Cut, LEAST, LONGEST};
use crate::plain::write_plain;

/// Passes JSON on. What stands outside of strings is ours; what stands inside may be anybody's.
pub struct Strings<'a, W> {
    to: &'a mut W,
    room: usize,
    /// The string that is being written.
    inside: Option<Cut>,
    /// An escape, as far as it has come.
    unit: String,
}

impl<'a, W: Write> Strings<'a, W> {
    /// For one line.
    pub fn new(to: &'a mut W) -> Self {
        Self { to, room: LONGEST, inside: None, unit: String::new() }
    }

    fn letter(&mut self, letter: char) -> fmt::Result {
        let Some(cut) = &mut self.inside else {
            if letter == '"' {
                self.inside = Some(Cut::new(self.room.max(LEAST)));
            }
            return self.to.write_char(letter);
        };
        if self.unit.is_empty() && letter == '"' {
            self.room = self.room.saturating_sub(cut.end(self.to)?);
            self.inside = None;
            return self.to.write_char('"');
        }
        if self.unit.is_empty() && letter != '\\' {
            write_plain(letter, &mut self.unit)?;
        } else {
            self.unit.push(letter);
            let whole = match self.unit.as_bytes() {
                [_] => false,
                [_, b'u', digits @ ..] => digits.len() == 4,
                _ => true,
            };
            if !whole {
                return Ok(());
            }
        }
        cut.unit(&self.unit, self.to)?;
        self.unit.clear();
        Ok(())
    }
}

impl<W: Write> Write for Strings<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|letter| self.letter(letter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_json_still() {
        let long = "\\\"\u{1}ä\u{202e}".repeat(2_000);
        let value = serde_json::json!({ "a": 1, "long": long, "short": "\\", "run": "r", "wide": "x".repeat(90) });
        let mut line = String::new();
        // In pieces, as a serializer writes.
        let mut strings = Strings::new(&mut line);
        for piece in value.to_string().split_inclusive('u') {
            strings.write_str(piece).unwrap();
        }
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        let kept = read["long"].as_str().unwrap().split('…').next().unwrap();
        assert!(long.starts_with(kept) && kept.len() > 1_000 && line.len() < 4_500, "{line}");
        assert_eq!((&read["short"], &read["run"], &read["a"]), (&value["short"], &value["run"], &value["a"]));
        assert!(read["wide"].as_str().unwrap().ends_with("x… (26 bytes left out)"), "{line}");
    }
}
