//! Texts: what makes another one of a text, takes parts of it, or takes it to pieces.

use std::any::TypeId;
use std::iter::FusedIterator;
use std::ops::{Range, RangeInclusive};

use rhai::{Array, Blob, Dynamic, ImmutableString, Module};

use super::{SLOT, changing};
use crate::script::error::HostResult;
use crate::script::limits::room_for;

/// Registers them.
pub fn register(module: &mut Module) {
    replacing(module);
    cases(module);
    letters(module);
    parts(module);
    places(module);
    pieces(module);
}

fn replacing(module: &mut Module) {
    fn replaced(text: &mut ImmutableString, find: &str, by: &str) -> HostResult<()> {
        if text.is_empty() {
            return Ok(());
        }
        let hits = text.matches(find).count() as u64;
        room_for(hits.saturating_mul(by.len() as u64).saturating_add(text.len() as u64))?;
        *text = text.replace(find, by).into();
        Ok(())
    }
    changing(module, "replace", |text: &mut ImmutableString, find: &str, by: &str| replaced(text, find, by));
    changing(module, "replace", |text: &mut ImmutableString, find: char, by: &str| {
        replaced(text, find.encode_utf8(&mut [0; 4]), by)
    });
    changing(module, "replace", |text: &mut ImmutableString, find: &str, by: char| {
        replaced(text, find, by.encode_utf8(&mut [0; 4]))
    });
    changing(module, "replace", |text: &mut ImmutableString, find: char, by: char| {
        replaced(text, find.encode_utf8(&mut [0; 4]), by.encode_utf8(&mut [0; 4]))
    });
}

fn cases(module: &mut Module) {
    // Some letters become three (`ΐ` in capitals).
    type Case = fn(&str) -> String;
    fn cased(text: &str, case: Case) -> HostResult<ImmutableString> {
        room_for((text.len() as u64).saturating_mul(if text.is_ascii() { 1 } else { 3 }))?;
        Ok(case(text).into())
    }
    let cases: [(&str, &str, Case); 2] =
        [("to_upper", "make_upper", str::to_uppercase), ("to_lower", "make_lower", str::to_lowercase)];
    for (to, make, case) in cases {
        module.set_native_fn(to, move |text: &str| cased(text, case));
        changing(module, make, move |text: &mut ImmutableString| {
            *text = cased(text, case)?;
            Ok(())
        });
    }
}

/// The letters of a text one after the other. Rhai would take four bytes for each of them at once.
#[derive(Clone)]
struct Letters {
    text: ImmutableString,
    at: usize,
    left: usize,
}

impl Letters {
    fn new(text: ImmutableString, from: i64, len: i64) -> Self {
        Self { at: place(&text, from), left: usize::try_from(len).unwrap_or(0), text }
    }
}

impl Iterator for Letters {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        self.left = self.left.checked_sub(1)?;
        let next = self.text[self.at..].chars().next()?;
        self.at += next.len_utf8();
        Some(next)
    }
}

impl FusedIterator for Letters {}

fn letters(module: &mut Module) {
    module.set_iterator::<Letters>();
    module.set_iter(TypeId::of::<ImmutableString>(), |value| {
        let text = value.into_immutable_string().unwrap_or_default();
        Box::new(Letters::new(text, 0, i64::MAX).map(Dynamic::from_char))
    });
    module.set_native_fn("chars", |text: ImmutableString| Ok(Letters::new(text, 0, i64::MAX)));
    module.set_getter_fn("chars", |text: &mut ImmutableString| Ok(Letters::new(text.clone(), 0, i64::MAX)));
    module.set_native_fn("chars", |text: ImmutableString, from: i64| Ok(Letters::new(text, from, i64::MAX)));
    module.set_native_fn("chars", |text: ImmutableString, from: i64, len: i64| Ok(Letters::new(text, from, len)));
    module.set_native_fn("chars", |text: ImmutableString, range: Range<i64>| {
        let (from, len) = within(&range);
        Ok(Letters::new(text, from, len))
    });
    module.set_native_fn("chars", |text: ImmutableString, range: RangeInclusive<i64>| {
        let from = (*range.start()).max(0);
        let to = (*range.end()).clamp(from - 1, i64::MAX - 1);
        Ok(Letters::new(text, from, (to - from).saturating_add(1)))
    });
}

/// Where a letter begins, counted from the end where the number is negative. Behind the last one the text ends.
fn place(text: &str, letter: i64) -> usize {
    let letter = match letter < 0 {
        true => (text.chars().count() as u64).saturating_sub(letter.unsigned_abs()),
        false => letter.unsigned_abs(),
    };
    let letter = usize::try_from(letter).unwrap_or(usize::MAX);
    text.char_indices().nth(letter).map_or(text.len(), |(at, _)| at)
}

/// So many letters of a text.
fn part(text: &str, start: i64, len: i64) -> &str {
    let rest = &text[place(text, start)..];
    &rest[..place(rest, len.max(0))]
}

/// Where a range starts and how many letters it has.
fn within(range: &Range<i64>) -> (i64, i64) {
    let start = range.start.max(0);
    (start, range.end.max(start) - start)
}

/// As [`within`]; one that ends before it starts has the letter where it starts, as Rhai has it.
fn within_inclusive(range: &RangeInclusive<i64>) -> (i64, i64) {
    let start = (*range.start()).max(0);
    (start, (*range.end()).max(start).saturating_add(1) - start)
}

/// What takes a part of a text. Rhai would first take four bytes for each of its letters.
fn parts(module: &mut Module) {
    fn taken(text: &str, (start, len): (i64, i64)) -> HostResult<ImmutableString> {
        let part = part(text, start, len);
        room_for(part.len() as u64)?;
        Ok(part.into())
    }
    fn crop(text: &mut ImmutableString, part: (i64, i64)) -> HostResult<()> {
        *text = taken(text, part)?;
        Ok(())
    }
    changing(module, "crop", |text: &mut ImmutableString, start: i64, len: i64| crop(text, (start, len)));
    changing(module, "crop", |text: &mut ImmutableString, start: i64| crop(text, (start, i64::MAX)));
    changing(module, "crop", |text: &mut ImmutableString, range: Range<i64>| crop(text, within(&range)));
    changing(module, "crop", |text: &mut ImmutableString, range: RangeInclusive<i64>| {
        crop(text, within_inclusive(&range))
    });
    changing(module, "truncate", |text: &mut ImmutableString, len: i64| crop(text, (0, len)));
    module.set_native_fn("sub_string", |text: &str, start: i64, len: i64| taken(text, (start, len)));
    module.set_native_fn("sub_string", |text: &str, start: i64| taken(text, (start, i64::MAX)));
    module.set_native_fn("sub_string", |text: &str, range: Range<i64>| taken(text, within(&range)));
    module.set_native_fn("sub_string", |text: &str, range: RangeInclusive<i64>| taken(text, within_inclusive(&range)));
    changing(module, "pop", |text: &mut ImmutableString, len: i64| {
        if len <= 0 {
            return Ok(ImmutableString::new());
        }
        room_for(text.len() as u64)?;
        let at = place(text, len.saturating_neg());
        let end: ImmutableString = text[at..].into();
        *text = text[..at].into();
        Ok(end)
    });
}

/// What finds something behind a letter.
fn places(module: &mut Module) {
    fn index(text: &str, start: i64, find: impl FnOnce(&str) -> Option<usize>) -> HostResult<i64> {
        let from = place(text, start);
        // Behind the last letter nothing is found, not even nothing.
        let found = if from < text.len() { find(&text[from..]) } else { None };
        Ok(found.map_or(-1, |at| i64::try_from(text[..from + at].chars().count()).unwrap_or(-1)))
    }
    module.set_native_fn("index_of", |text: &str, what: &str, start: i64| index(text, start, |rest| rest.find(what)));
    module.set_native_fn("index_of", |text: &str, what: char, start: i64| index(text, start, |rest| rest.find(what)));
}

/// Pieces of a text weigh far more than their letters.
fn pieces(module: &mut Module) {
    fn cut<'a>(text: &'a str, split: impl Iterator<Item = &'a str> + Clone) -> HostResult<Array> {
        if text.is_empty() {
            return Ok(vec![ImmutableString::new().into()]);
        }
        let many = split.clone().count() as u64;
        room_for(many.saturating_mul(SLOT + 32).saturating_add(text.len() as u64))?;
        Ok(split.map(|piece| piece.into()).collect())
    }
    fn most(segments: i64) -> usize {
        usize::try_from(segments).unwrap_or(0).max(1)
    }
    module.set_native_fn("split", |text: &mut ImmutableString| cut(text, text.split_whitespace()));
    module.set_native_fn("split", |text: &mut ImmutableString, by: &str| cut(text, text.split(by)));
    module.set_native_fn("split", |text: &mut ImmutableString, by: char| cut(text, text.split(by)));
    module.set_native_fn("split", |text: &mut ImmutableString, by: &str, segments: i64| {
        cut(text, text.splitn(most(segments), by))
    });
    module.set_native_fn("split", |text: &mut ImmutableString, by: char, segments: i64| {
        cut(text, text.splitn(most(segments), by))
    });
    module.set_native_fn("split_rev", |text: &mut ImmutableString, by: &str| cut(text, text.rsplit(by)));
    module.set_native_fn("split_rev", |text: &mut ImmutableString, by: char| cut(text, text.rsplit(by)));
    module.set_native_fn("split_rev", |text: &mut ImmutableString, by: &str, segments: i64| {
        cut(text, text.rsplitn(most(segments), by))
    });
    module.set_native_fn("split_rev", |text: &mut ImmutableString, by: char, segments: i64| {
        cut(text, text.rsplitn(most(segments), by))
    });
    module.set_native_fn("to_chars", |text: &str| {
        room_for((text.len() as u64).saturating_mul(SLOT))?;
        Ok(text.chars().map(Dynamic::from_char).collect::<Array>())
    });
    module.set_native_fn("to_array", |blob: &mut Blob| {
        room_for((blob.len() as u64).saturating_mul(SLOT))?;
        Ok(blob.iter().map(|byte| Dynamic::from_int(i64::from(*byte))).collect::<Array>())
    });
}
