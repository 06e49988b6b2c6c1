//! `${NAME}` and `${NAME:-default}`: values that come from the environment, then from `.env`.
//!
//! They are filled in after parsing, in string values only, so that a value can never change a
//! file's structure and works quoted or not.

use std::collections::{BTreeMap, BTreeSet};

use super::grants::Grants;

/// The values that may be filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    values: BTreeMap<String, String>,
    /// Which flows may have which of them.
    pub grants: Grants,
}

impl Environment {
    /// The process's own variables over those of a `.env` file.
    pub fn new(dotenv: BTreeMap<String, String>, process: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut values = dotenv;
        values.extend(process);
        Self { values, grants: Grants::default() }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Fills in a text. A `$` that begins no `${` stays; `$${` gives `${`.
    ///
    /// # Errors
    /// A sentence for the first name that is not set or not closed.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        fill_by(text, |name| Ok(self.get(name)))
    }
}

/// Whether a text is a name.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The names that a text asks for.
pub fn names(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    // Whatever else is wrong with the text is told when it is filled in.
    let _ = fill_by(text, |name| {
        names.insert(name.to_owned());
        Ok(Some(""))
    });
    names
}

/// Fills in a text with what `lookup` has under each name.
///
/// # Errors
/// A sentence for the first name that is not set or not closed, and what `lookup` refuses.
pub fn fill_by<'a>(
    text: &str,
    mut lookup: impl FnMut(&str) -> Result<Option<&'a str>, String>,
) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            filled.push_str(&rest[..start]);
            filled.push('{');
            rest = &rest[start + 2..];
            continue;
        }
        filled.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let Some(end) = inner.find('}') else {
            return Err("`${` is not closed; write `${NAME}`, or `$${` for the characters themselves".into());
        };
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        if !is_name(name) {
            return Err(format!("`${{{name}}}` is no name; write letters, digits and `_`"));
        }
        match lookup(name)?.filter(|value| !value.is_empty() || default.is_none()).or(default) {
            Some(value) => filled.push_str(value),
            None => {
                return Err(format!(
                    "`{name}` is not set; set it in the environment or in .env, or write `${{{name}:-default}}`"
                ));
            }
        }
        rest = &inner[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Reads a `.env` file: `NAME=value` lines, `#` comments, `export ` before a name, values in
/// single quotes as they are and in double quotes with `\n`, `\"` and `\\`.
///
/// # Errors
/// Line number and sentence for each line that is not of that form.
pub fn parse_dotenv(text: &str) -> Result<BTreeMap<String, String>, Vec<(u32, String)>> {
    let mut values = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let entry = line.split_once('=').map(|(name, value)| (name.trim(), unquote(value.trim())));
        match entry {
            Some((name, Some(value))) if is_name(name) => {
                values.insert(name.to_owned(), value);
            }
            Some((_, None)) => wrong.push((number, "the quotes are not closed".to_owned())),
            _ => wrong.push((number, "write `NAME=value`".to_owned())),
        }
    }
    if wrong.is_empty() { Ok(values) } else { Err(wrong) }
}

fn unquote(value: &str) -> Option<String> {
    if let Some(inner) = value.strip_prefix('\'') {
        return inner.find('\'').map(|end| inner[..end].to_owned());
    }
    let Some(inner) = value.strip_prefix('"') else {
        let end = value.find(" #").unwrap_or(value.len());
        return Some(value[..end].trim_end().to_owned());
    };
    let mut text = String::new();
    let mut letters = inner.chars();
    loop {
        match letters.next()? {
            '"' => return Some(text),
            '\\' => match letters.next()? {
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in() {
        let environment = Environment::new(
            BTreeMap::from([("A".into(), "from file".into()), ("B".into(), "b".into())]),
            [("A".to_owned(), "a".to_owned()), ("EMPTY".to_owned(), String::new())],
        );
        for (text, wanted) in [
            ("${A}", "a"),
            ("x${A}y${B}", "xayb"),
            ("${C:-default}", "default"),
            ("${EMPTY:-default}", "default"),
            ("${EMPTY}", ""),
            ("$5 and $${A}", "$5 and ${A}"),
        ] {
            assert_eq!(environment.fill(text).unwrap(), wanted, "{text}");
        }
        for (text, part) in [("${C}", "`C` is not set"), ("${A", "not closed"), ("${A B}", "no name")] {
            assert!(environment.fill(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn dotenv_files_are_read() {
        let text = "# c\nA=1\nexport B='x # y'\nC=\"a\\n\\\"b\\\"\" \nD=v # comment\n\nE=\n";
        let values = parse_dotenv(text).unwrap();
        let wanted = [("A", "1"), ("B", "x # y"), ("C", "a\n\"b\""), ("D", "v"), ("E", "")];
        assert!(wanted.iter().all(|(name, value)| values[*name] == *value), "{values:?}");
        assert_eq!(parse_dotenv("A=1\nnonsense\nB=\"x").unwrap_err().iter().map(|w| w.0).collect::<Vec<_>>(), [2, 3]);
    }
}
