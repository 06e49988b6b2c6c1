//! Tables as text: RFC 4180, and what spreadsheets write besides. What could be understood in two ways is an error:
//! the rows of a table are often people who get messages.

use std::collections::HashMap;

use rhai::{Array, Dynamic, Map, Module, NativeCallContext};

use crate::script::error::{HostResult, at, thrown};
use crate::script::limits::{room_for, tick};

/// Most columns of a table, and most bytes of a column's name: each row has them all.
const MOST_COLUMNS: usize = 1_000;
const LONGEST_NAME: usize = 1_024;
/// Most fields of a line.
const MOST_FIELDS: usize = 100_000;
const WHICH_DELIMITER: &str = "is this a table? is the `delimiter` another one?";

/// Rows as maps by the first row's names, or as arrays with `#{ header: false }`.
pub fn parse(function: &str, text: &str, options: Map) -> HostResult<Array> {
    let failed = |why: String| thrown("invalid", format!("{function}: {why}"));
    let mut header = true;
    let mut delimiter = None;
    for (name, value) in &options {
        match (name.as_str(), value.as_bool(), value.as_immutable_string_ref()) {
            ("header", Ok(flag), _) => header = flag,
            ("delimiter", _, Ok(text)) if divides(&text) => delimiter = Some(text.as_bytes()[0]),
            _ => {
                let hint = "it takes `header` (true or false) and `delimiter` (one character)";
                return Err(failed(format!("`{name}` is not right here; {hint}")));
            }
        }
    }
    let mut lines = Lines::new(text.trim_start_matches('\u{feff}'), delimiter);
    let columns = match header {
        true => lines.next().and_then(|first| Columns::new(first.unwrap_or_default())).map(Some),
        false => Ok(None),
    };
    let columns = columns.map_err(failed)?;
    let mut width = columns.as_ref().map(|columns| columns.names.len());
    let mut rows = Array::new();
    while let Some(line) = lines.next().map_err(failed)? {
        tick()?;
        let (number, fields) = (line.number, line.fields.len());
        let width = *width.get_or_insert(fields);
        if fields != width {
            let why = format!("line {number} has {}, and the first row has {width}", fields_of(fields));
            return Err(failed(format!("{why}; {WHICH_DELIMITER}")));
        }
        room_for(line.weight(columns.as_ref()))?;
        rows.push(match &columns {
            Some(columns) => columns.row(line).map_err(failed)?.into(),
            None => line.fields.iter().map(Field::value).collect::<Array>().into(),
        });
    }
    Ok(rows)
}

/// Whether that can stand between fields: one letter that means nothing else.
fn divides(text: &str) -> bool {
    text.len() == 1 && !["\"", "\r", "\n"].contains(&text)
}

fn fields_of(count: usize) -> String {
    format!("{count} field{}", if count == 1 { "" } else { "s" })
}

/// What divides the fields of a table: what its first line has most of, outside quotes. Where a comma is the decimal
/// sign programs write semicolons.
fn usual_delimiter(text: &str) -> u8 {
    let (mut quoted, mut begins) = (false, true);
    let mut counts = [(b',', 0), (b';', 0), (b'\t', 0)];
    for byte in text.bytes() {
        match byte {
            b'"' if quoted || begins => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if quoted => {}
            _ => counts.iter_mut().filter(|(known, _)| *known == byte).for_each(|(_, count)| *count += 1),
        }
        begins = quoted || counts.iter().any(|(known, _)| *known == byte);
    }
    // The first of those that are as many.
    counts.iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(known, _)| *known)
}

/// The separator that a first line such as `sep=;` names, and what comes after it. Excel writes and reads it.
fn named_delimiter(text: &str) -> Option<(u8, &str)> {
    let (first, rest) = text.split_once(['\r', '\n'])?;
    let (word, separator) = first.split_at_checked(4)?;
    let is_named = word.eq_ignore_ascii_case("sep=") && divides(separator);
    is_named.then(|| (separator.as_bytes()[0], rest.strip_prefix('\n').unwrap_or(rest)))
}

/// A table that is being read, line by line.
struct Lines<'a> {
    rest: &'a str,
    delimiter: u8,
    /// Where we are, for people.
    number: usize,
}

/// A line of a table: a quoted field may have line ends in it.
#[derive(Default)]
struct Line<'a> {
    number: usize,
    fields: Vec<Field<'a>>,
}

/// A field as it is written, without the quotes around it.
struct Field<'a> {
    text: &'a str,
    /// Quotes in it are written twice.
    is_quoted: bool,
}

impl Field<'_> {
    fn value(&self) -> Dynamic {
        match self.is_quoted {
            true => self.text.replace("\"\"", "\"").into(),
            false => self.text.into(),
        }
    }
}

impl Line<'_> {
    /// About what a row takes: each one has its own copy of the columns' names.
    fn weight(&self, columns: Option<&Columns>) -> u64 {
        const FIELD: usize = 64;
        let fields: usize = self.fields.iter().map(|field| field.text.len() + FIELD).sum();
        let names = columns.map_or(0, |columns| columns.names.iter().map(|name| name.len() + FIELD).sum());
        (fields + names + FIELD) as u64
    }
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, delimiter: Option<u8>) -> Self {
        let (named, rest, number) = match named_delimiter(text) {
            Some((named, rest)) => (Some(named), rest, 2),
            None => (None, text, 1),
        };
        let delimiter = delimiter.or(named).unwrap_or_else(|| usual_delimiter(rest));
        Self { rest, delimiter, number }
    }

    /// The next line that is not empty.
    fn next(&mut self) -> Result<Option<Line<'a>>, String> {
        while self.ends() {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut line = Line { number: self.number, fields: Vec::new() };
        loop {
            line.fields.push(self.field()?);
            if line.fields.len() > MOST_FIELDS {
                let what = format!("line {} has more than {MOST_FIELDS} fields, which are the most", line.number);
                return Err(format!("{what}; {WHICH_DELIMITER}"));
            }
            if self.rest.as_bytes().first() != Some(&self.delimiter) {
                break;
            }
            self.rest = &self.rest[1..];
        }
        self.ends();
        Ok(Some(line))
    }

    /// Goes over the end of a line, if it is here.
    fn ends(&mut self) -> bool {
        let after = ["\r\n", "\n", "\r"].iter().find_map(|end| self.rest.strip_prefix(end));
        self.rest = after.unwrap_or(self.rest);
        self.number += usize::from(after.is_some());
        after.is_some()
    }

    fn field(&mut self) -> Result<Field<'a>, String> {
        if let Some(inside) = self.rest.strip_prefix('"') {
            return self.quoted(inside);
        }
        let is_end = |byte| byte == self.delimiter || byte == b'\n' || byte == b'\r';
        let end = self.rest.bytes().position(is_end).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(Field { text, is_quoted: false })
    }

    /// A field of which the first quote has been read.
    fn quoted(&mut self, inside: &'a str) -> Result<Field<'a>, String> {
        let mut end = 0;
        loop {
            let quote = inside[end..].find('"');
            end += quote.ok_or_else(|| format!("a quote opens in line {} and is never closed", self.number))?;
            match inside[end + 1..].starts_with('"') {
                true => end += 2,
                false => break,
            }
        }
        let (text, rest) = (&inside[..end], &inside[end + 1..]);
        let opens = self.number;
        self.number += text.matches('\n').count() + text.matches('\r').count() - text.matches("\r\n").count();
        self.rest = rest;
        let is_end = |letter: char| letter == char::from(self.delimiter) || letter == '\n' || letter == '\r';
        match rest.chars().next().filter(|letter| !is_end(*letter)) {
            None => Ok(Field { text, is_quoted: true }),
            Some(letter) => Err(format!(
                "a quote opens in line {opens} and is closed in line {}, and then comes `{letter}`; a quote in a quoted \
                 field is written twice",
                self.number
            )),
        }
    }
}

/// The names in a table's first row.
struct Columns {
    names: Vec<String>,
    /// More than one has no name: they could not be told apart in a map.
    is_partly_nameless: bool,
}

impl Columns {
    fn new(first: Line<'_>) -> Result<Self, String> {
        let count = first.fields.len();
        if count > MOST_COLUMNS {
            return Err(format!("the first row has {count} columns, {MOST_COLUMNS} is the most; {WHICH_DELIMITER}"));
        }
        if let Some(long) = first.fields.iter().find(|field| field.text.len() > LONGEST_NAME) {
            let length = long.text.len();
            return Err(format!("a column's name has {length} bytes, {LONGEST_NAME} is the most; {WHICH_DELIMITER}"));
        }
        let names: Vec<String> = first.fields.iter().map(|field| field.value().to_string()).collect();
        let mut places = HashMap::new();
        for (place, name) in (1..).zip(&names).filter(|(_, name)| !name.is_empty()) {
            if let Some(before) = places.insert(name, place) {
                return Err(format!("columns {before} and {place} are both named `{name}`; give one another name"));
            }
        }
        let is_partly_nameless = names.iter().filter(|name| name.is_empty()).count() > 1;
        Ok(Self { names, is_partly_nameless })
    }

    /// A row by these names. Spreadsheets write columns without a name that have nothing in them.
    fn row(&self, line: Line<'_>) -> Result<Map, String> {
        let mut row = Map::new();
        for (place, (name, field)) in (1..).zip(self.names.iter().zip(&line.fields)) {
            if !(name.is_empty() && self.is_partly_nameless) {
                row.insert(name.as_str().into(), field.value());
            } else if !field.text.is_empty() {
                let what = format!("line {} has a value in column {place}, which has no name", line.number);
                return Err(format!("{what}, as other columns; give it one in the first row"));
            }
        }
        Ok(row)
    }
}

/// The `csv::` functions.
pub fn space() -> Module {
    let mut module = Module::new();
    module.set_native_fn("parse", |ctx: NativeCallContext, text: &str| at(&ctx, parse("csv::parse", text, Map::new())));
    module.set_native_fn("parse", |ctx: NativeCallContext, text: &str, options: Map| {
        at(&ctx, parse("csv::parse", text, options))
    });
    module
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::value::to_json;

    fn read(text: &str, header: bool) -> Result<String, String> {
        let options = Map::from([("header".into(), header.into())]);
        match parse("csv::parse", text, options) {
            Ok(rows) => Ok(to_json(&rows.into()).unwrap().to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn tables_are_read_as_rfc_4180_says() {
        for (text, rows) in [
            ("a,b\r\n1,2\r\n3,4", r#"[["a","b"],["1","2"],["3","4"]]"#),
            ("a,b\r1,2\r", r#"[["a","b"],["1","2"]]"#),
            ("a,b\n\n1,2\n\n", r#"[["a","b"],["1","2"]]"#),
            ("a,\n,\n", r#"[["a",""],["",""]]"#),
            (
                "\"a\",\"b\r\nb\",\"c\"\"c\"\n\"\",\"\"\"\",\",\"",
                "[[\"a\",\"b\\r\\nb\",\"c\\\"c\"],[\"\",\"\\\"\",\",\"]]",
            ),
            ("5\" pipe;2,50;x\n\"6;\"\" pipe\";3;y\n", r#"[["5\" pipe","2,50","x"],["6;\" pipe","3","y"]]"#),
            ("\"a;a;a\",b\n", r#"[["a;a;a","b"]]"#),
            ("sep=;\na,b;c\n", r#"[["a,b","c"]]"#),
            ("\u{feff}SEP=|\r\na|b\r\n", r#"[["a","b"]]"#),
            ("sep=;x\na;b\n", r#"[["sep=","x"],["a","b"]]"#),
            ("", "[]"),
        ] {
            assert_eq!(read(text, false).as_deref(), Ok(rows), "{text:?}");
        }
        for (text, rows) in [
            ("sep=;\na;b\n1;2\n", r#"[{"a":"1","b":"2"}]"#),
            // What a table of people looks like when its rows are numbered, and when cells beside it were once used.
            (",name\n0,Ada\n", r#"[{"":"0","name":"Ada"}]"#),
            ("name,,\nAda,,\n", r#"[{"name":"Ada"}]"#),
            ("sep=;\n", "[]"),
        ] {
            assert_eq!(read(text, true).as_deref(), Ok(rows), "{text:?}");
        }
    }

    #[test]
    fn what_has_two_meanings_is_an_error() {
        for (text, part) in [
            ("a,b\n1,\"x\n2,y\n", "a quote opens in line 2 and is never closed"),
            ("sep=,\na\n\n\"x\"\"\n", "a quote opens in line 4 and is never closed"),
            (
                "phone,text\n1,\"here\n2,\"there\"\n",
                "a quote opens in line 2 and is closed in line 3, and then comes `t`",
            ),
            ("a\n\"x\"y\n", "opens in line 2 and is closed in line 2, and then comes `y`"),
            ("a\n\"x\\\"y\"\n", "then comes `y`"),
            ("phone,name,phone,text\n", "columns 1 and 3 are both named `phone`"),
            ("a,,\n1,,2\n", "line 2 has a value in column 3, which has no name"),
            ("a,b\n\"1\n1\",2\n1,2,3\n", "line 4 has 3 fields, and the first row has 2"),
        ] {
            let error = read(text, true).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        let options = Map::from([("delimiter".into(), "\"".into())]);
        assert!(parse("csv::parse", "a", options).unwrap_err().to_string().contains("`delimiter` is not right"));
    }
}
