//! Texts that were good once, edited by somebody who does not know what they mean.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What may happen to a text.
#[derive(Clone, Debug)]
pub enum Edit {
    Insert(Index, String),
    Cut(Index, usize),
    Repeat(Index, usize, usize),
    Replace(Index, usize, String),
    Join(String),
}

/// Longest that becomes of a text.
const LONGEST: usize = 64 << 10;

impl Edit {
    pub fn apply(&self, text: &mut String) {
        let span = |at: &Index, length: usize, text: &str| {
            let from = text.floor_char_boundary(at.index(text.len() + 1));
            (from, text.ceil_char_boundary((from + length).min(text.len())))
        };
        match self {
            Self::Insert(at, more) => text.insert_str(span(at, 0, text).0, more),
            Self::Cut(at, length) => {
                let (from, to) = span(at, *length, text);
                text.replace_range(from..to, "");
            }
            Self::Repeat(at, length, times) => {
                let (from, to) = span(at, *length, text);
                let part = text[from..to].repeat(*times);
                text.insert_str(to, &part);
            }
            Self::Replace(at, length, other) => {
                let (from, to) = span(at, *length, text);
                text.replace_range(from..to, other);
            }
            Self::Join(other) => text.push_str(other),
        }
        text.truncate(text.floor_char_boundary(LONGEST));
    }
}

/// A bit of text: a word that means something here, or anything.
fn bit(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(words).prop_map(str::to_owned),
        2 => "\\PC{0,8}",
        1 => any::<char>().prop_map(String::from),
        1 => select(&["\u{0}", "\u{feff}", "\r\n", "\u{202e}", "\u{1b}[2J", "\u{85}", "\u{2028}", "\u{ffff}", "\t"][..])
            .prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| number.to_string()),
    ]
}

pub fn edit(words: &'static [&'static str]) -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<Index>(), bit(words)).prop_map(|(at, more)| Edit::Insert(at, more)),
        2 => (any::<Index>(), 1..20_usize).prop_map(|(at, length)| Edit::Cut(at, length)),
        3 => (any::<Index>(), 1..12_usize, bit(words)).prop_map(|(at, length, other)| Edit::Replace(at, length, other)),
        1 => (any::<Index>(), 1..40_usize, 1..1_500_usize).prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
        1 => bit(words).prop_map(Edit::Join),
    ]
}

/// One of the texts, edited a few times.
pub fn edited(texts: Vec<String>, words: &'static [&'static str]) -> impl Strategy<Value = String> {
    (select(texts), vec(edit(words), 0..6)).prop_map(|(mut text, edits)| {
        for edit in &edits {
            edit.apply(&mut text);
        }
        text
    })
}
