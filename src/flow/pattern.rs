//! Which files a watch trigger means: `inbox/*.csv`, `inbox/**/*.csv`.

use std::collections::BTreeSet;
use std::fmt;

use fast_glob::glob_match;

use crate::files::composed;

/// Most different letters of a pattern that are not ASCII.
const MOST_LETTERS: usize = 63;

/// A pattern of paths below the workspace.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    base: String,
    /// Its letters that are not ASCII, in their order.
    letters: Vec<char>,
    /// It with a byte for each letter.
    glob: Vec<u8>,
}

impl Pattern {
    /// Reads a pattern: `*` and `?` stay within one part of a path, `**` crosses parts.
    ///
    /// # Errors
    /// A sentence that says what is wrong and how it is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_start_matches("./");
        let refused = |why: &str| Err(format!("`{text}` cannot be watched: {why}"));
        let parts: Vec<&str> = text.split('/').collect();
        if text.is_empty() {
            return Err("a path is missing; write one such as `inbox/*.csv`".into());
        }
        if text.starts_with('~') {
            return refused("`~` is nobody's folder here; paths are relative to the workspace");
        }
        if text == "postrider.yaml" {
            return refused("settings are taken over by themselves");
        }
        if text.starts_with('/') || parts.contains(&"..") {
            return refused("paths are relative to the workspace and stay inside it");
        }
        if text.ends_with('/') {
            return Err(format!("`{text}` is a folder; write `{text}*` for the files in it"));
        }
        if parts.iter().any(|part| part.starts_with('.')) {
            return refused("hidden files are not for flows");
        }
        if text.starts_with('!') || parts.contains(&"") {
            return refused("parts of a path are not empty, and `!` has no meaning");
        }
        if text.contains('\\') {
            return refused("parts are separated by `/`, and `\\` has no meaning");
        }
        for (open, close) in [('[', ']'), ('{', '}')] {
            let opens = text.matches(open).count();
            if opens != text.matches(close).count() || text.find(close) < text.find(open) {
                return Err(format!("`{text}` is no pattern: `{open}` and `{close}` do not match"));
            }
        }
        let plain = |part: &&str| !part.contains(['*', '?', '[', '{']);
        // The last part is a file's, wildcard or not.
        let base: Vec<&str> = parts[..parts.len() - 1].iter().copied().take_while(plain).collect();
        let base = base.join("/");
        let text = composed(text).into_owned();
        let letters: BTreeSet<char> = text.chars().filter(|letter| !letter.is_ascii()).collect();
        if letters.len() > MOST_LETTERS {
            return refused(&format!("it has more than {MOST_LETTERS} different letters that are not ASCII"));
        }
        let letters: Vec<char> = letters.into_iter().collect();
        let glob = bytes(&letters, &text);
        Ok(Self { text, base, letters, glob })
    }

    /// The folder below which all files lie that it can mean; empty for the workspace itself.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// How many folders below its base a file may lie; none when that is not bounded.
    pub fn depth(&self) -> Option<usize> {
        let below = self.text.split('/').count() - self.base.split('/').filter(|part| !part.is_empty()).count();
        (!self.text.contains("**") && !self.text.contains('{')).then_some(below)
    }

    /// Whether it means this path, relative to the workspace. Hidden files are never meant. Letters with marks are
    /// the same letters however they are put together: a Mac writes `ü` as `u` and two dots.
    pub fn means(&self, path: &str) -> bool {
        let hidden = path.split('/').any(|part| part.starts_with('.'));
        !hidden
            && match path.is_ascii() {
                true => glob_match(&self.glob, path),
                false => glob_match(&self.glob, bytes(&self.letters, &composed(path))),
            }
    }
}

/// A text with a byte for each letter, as globs are matched by bytes. Letters that the pattern has get bytes of their
/// own, and those between two of them share one: what is equal stays equal, and what lies between stays between.
fn bytes(letters: &[char], text: &str) -> Vec<u8> {
    let byte = |letter: char| match letters.binary_search(&letter) {
        _ if letter.is_ascii() => letter as u8,
        Ok(place) => 129 + 2 * place as u8,
        Err(place) => 128 + 2 * place as u8,
    };
    text.chars().map(byte).collect()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_know_their_folder_and_their_files() {
        for (text, base, depth, yes, no) in [
            ("inbox/*.csv", "inbox", Some(1), "inbox/a.csv", "inbox/b/a.csv"),
            ("./inbox/**/*.csv", "inbox", None, "inbox/b/c/a.csv", "outbox/a.csv"),
            ("inbox/*/in/*.csv", "inbox", Some(3), "inbox/x/in/a.csv", "inbox/x/a.csv"),
            ("prices.csv", "", Some(1), "prices.csv", "inbox/prices.csv"),
            ("data/prices.csv", "data", Some(1), "data/prices.csv", "data/prices.csvx"),
            ("inbox/*.{csv,txt}", "inbox", None, "inbox/a.txt", "inbox/.a.txt"),
            ("**/*.csv", "", None, "a/b.csv", ".postrider/b.csv"),
            ("inbox/**/*.csv", "inbox", None, "inbox/a.csv", "inbox/b/.c/a.csv"),
            ("inbox/[ab]?.csv", "inbox", Some(1), "inbox/b1.csv", "inbox/c1.csv"),
            ("inbox/*.csv", "inbox", Some(1), "inbox/größe & co.csv", "inbox/a.CSV"),
            ("inbox/grün*.csv", "inbox", Some(1), "inbox/gru\u{308}n 1.csv", "inbox/grun.csv"),
            ("inbox/gru\u{308}n*.csv", "inbox", Some(1), "inbox/grün 1.csv", "inbox/grun.csv"),
            ("gru\u{308}n/*.csv", "gru\u{308}n", Some(1), "grün/1.csv", "grun/1.csv"),
            ("c/caf?.txt", "c", Some(1), "c/café.txt", "c/cafés.txt"),
            ("c/caf?.txt", "c", Some(1), "c/cafe\u{301}.txt", "c/caf.txt"),
            ("c/?.txt", "c", Some(1), "c/한.txt", "c/한한.txt"),
            ("c/?.txt", "c", Some(1), "c/😀.txt", "c/яж.txt"),
            ("c/[éb].txt", "c", Some(1), "c/e\u{301}.txt", "c/ê.txt"),
            ("c/[e\u{301}b].txt", "c", Some(1), "c/é.txt", "c/e.txt"),
            ("c/[!b].txt", "c", Some(1), "c/ß.txt", "c/b.txt"),
            ("c/[!é].txt", "c", Some(1), "c/ê.txt", "c/e\u{301}.txt"),
            ("c/[à-ü].txt", "c", Some(1), "c/ö.txt", "c/ý.txt"),
            ("c/[à-ü].txt", "c", Some(1), "c/à.txt", "c/z.txt"),
            ("c/[a-я]й.txt", "c", Some(1), "c/жи\u{306}.txt", "c/жи.txt"),
            ("c/{ü,я}?.txt", "c", None, "c/яb.txt", "c/жb.txt"),
        ] {
            let pattern = Pattern::parse(text).unwrap();
            assert_eq!((pattern.base(), pattern.depth()), (base, depth), "{text}");
            assert!(pattern.means(yes) && !pattern.means(no), "{text}");
        }
        for (text, part) in [
            ("", "missing"),
            ("/etc/*", "stay inside"),
            ("~/Downloads/*.csv", "relative to the workspace"),
            ("postrider.yaml", "by themselves"),
            ("inbox/../../*", "stay inside"),
            ("inbox/", "write `inbox/*`"),
            (".postrider/*", "hidden"),
            ("inbox/[a", "no pattern"),
            ("inbox/}a{", "no pattern"),
            ("!inbox/*", "`!` has no meaning"),
            ("inbox//*.csv", "not empty"),
            ("inbox\\a", "separated by `/`"),
            (&('а'..).take(64).collect::<String>(), "63 different letters"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
