//! What commands print: lines, and rows under headings, as wide as what stands in them.

use std::fmt::Arguments;
use std::io::Write;

use serde_json::Value;

use crate::plain::plain;

/// Prints one line, whatever stands in it. Whoever reads may have seen enough
/// (`postrider runs | head -1`): then the command ends without a word.
pub fn say(line: Arguments<'_>) {
    let line = line.to_string();
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{}", plain(&line)).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// Prints what went wrong.
pub fn complain(message: &str) {
    eprintln!("postrider: {}", plain(message));
}

/// Prints a table; with no rows, a sentence.
pub fn table(headings: &[&str], rows: &[Vec<String>], empty: &str) {
    if rows.is_empty() {
        say(format_args!("{empty}"));
        return;
    }
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).chain([headings[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        say(format_args!("{}", padded.collect::<Vec<_>>().join("  ").trim_end()));
    };
    line(headings.to_vec());
    for row in rows {
        line(row.iter().map(String::as_str).collect());
    }
}

/// A field as a cell: one line, cut short.
pub fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".into(),
        Value::String(text) => plain(text).into_owned(),
        other => plain(&other.to_string()).into_owned(),
    };
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What a message says, in a few words.
pub fn gist(body: &Value) -> String {
    let own = ["text", "url", "caption", "question", "name", "emoji"].into_iter().map(|name| &body[name]);
    let source = &body["source"];
    let file = [&source["file_name"], &source["url"], &body["contacts"][0]["name"], &body["latitude"]];
    own.chain(file).find(|value| !value.is_null()).map_or_else(|| "-".into(), cell)
}
