//! How much of a file may be shown beside a finding: scripts as they are, of other lines no value that
//! may be a secret.

use std::ops::Range;

/// Keys whose values are for everybody. What stands below `params` and `verify` never is.
const HARMLESS: [&str; 64] = [
    "account",
    "accounts",
    "admin",
    "admin_hosts",
    "allow",
    "at",
    "attempts",
    "backlog",
    "body",
    "burst",
    "chats",
    "concurrency",
    "cpu_run",
    "cpu_turn",
    "cron",
    "daily",
    "default_account",
    "description",
    "enabled",
    "engine",
    "events",
    "every",
    "except",
    "fallback",
    "first",
    "http",
    "interval",
    "jitter",
    "journal",
    "journal_bytes",
    "limit",
    "limits",
    "listen",
    "max",
    "memory",
    "message",
    "methods",
    "missed",
    "name",
    "new_recipients",
    "not_after",
    "on_failure",
    "on_unknown",
    "on_unsupported",
    "pace",
    "path",
    "paths",
    "per_recipient",
    "poll",
    "quiet",
    "rate",
    "respond",
    "retry",
    "run",
    "schedule",
    "script",
    "settle",
    "store",
    "timeout",
    "timezone",
    "transport",
    "watch",
    "webhook",
    "when_full",
];

/// Those of them whose values are times: no address stands there, and `#`, `?` and `=` have meanings of their own.
const TIMES: [&str; 7] = ["at", "cron", "every", "except", "jitter", "not_after", "schedule"];

/// Keys below which nothing is for everybody.
const SECRET: [&str; 2] = ["params", "verify"];

/// Whether a line belongs to a script.
pub fn is_script(file: &str, text: &str, number: u32) -> bool {
    file.ends_with(".rhai") || (file.starts_with("flows/") && outermost(text, number).starts_with("run:"))
}

/// A line of a file, with what of it may not be shown.
pub struct Line<'a> {
    written: &'a str,
    /// In the order of their places, in bytes.
    hidden: Vec<Range<usize>>,
}

impl Line<'_> {
    /// As it may be shown.
    pub fn text(&self) -> String {
        self.until(self.written.len())
    }

    /// What is shown before a column, from 1, of the line as it is written; of one that is hidden, what is
    /// shown before it is hidden.
    pub fn before(&self, column: usize) -> String {
        let end = self.written.char_indices().nth(column.saturating_sub(1));
        self.until(end.map_or(self.written.len(), |(end, _)| end))
    }

    fn until(&self, end: usize) -> String {
        let (mut shown, mut from) = (String::new(), 0);
        for range in self.hidden.iter().filter(|range| range.start < end) {
            shown.push_str(&self.written[from..range.start]);
            from = range.end;
            if from > end {
                return shown;
            }
            shown.push_str("***");
        }
        shown + &self.written[from..end]
    }
}

/// A line as it may be shown; none of a file of secrets.
pub fn shown<'a>(file: &str, text: &'a str, number: u32) -> Option<Line<'a>> {
    let known = [".yaml", ".yml", ".rhai"].iter().any(|ending| file.ends_with(ending));
    let written = text.lines().nth(number.checked_sub(1)? as usize).filter(|_| known)?.trim_end();
    let hidden = match is_script(file, text, number) {
        true => Vec::new(),
        false => hidden(text, written, number),
    };
    Some(Line { written, hidden: hidden.into_iter().filter(|range| !range.is_empty()).collect() })
}

fn hidden(text: &str, line: &str, number: u32) -> Vec<Range<usize>> {
    let content = content(line);
    let all = line.len() - content.len()..line.len();
    let parents = parents(text, number);
    let goes_on = is_of_a_value(text, number);
    let is_secret = goes_on || parents.iter().any(|key| SECRET.contains(key));
    match entry(content) {
        Some((_, "" | "|" | "|-" | "|+" | ">" | ">-" | ">+")) => Vec::new(),
        Some((key, value)) => {
            let value = line.len() - value.len()..line.len();
            if is_secret { vec![value] } else { hidden_of_value(key, line, value.start) }
        }
        // An item of a list.
        None => match parents.first() {
            Some(key) if !is_secret && line.trim_start().starts_with("- ") => hidden_of_value(key, line, all.start),
            _ => vec![all],
        },
    }
}

/// What of a key's value, which begins at a place of a line, may not be shown.
fn hidden_of_value(key: &str, line: &str, begin: usize) -> Vec<Range<usize>> {
    if is_reference(&line[begin..]) {
        return Vec::new();
    }
    let all = begin..line.len();
    if !HARMLESS.contains(&key) {
        return vec![all];
    }
    let mut reader = Reader { line, place: begin, fine: begin, hidden: Vec::new() };
    if reader.whole(key).is_none() {
        // What cannot be read may be anything.
        reader.hidden.retain(|range| range.end <= reader.fine);
        reader.hidden.push(reader.fine..line.len());
    }
    reader.hidden
}

/// Whether a line's value tells nothing that is not for everybody.
pub fn shows_all(line: &str) -> bool {
    let line = line.trim_end();
    let found = entry(content(line));
    found.is_some_and(|(key, value)| hidden_of_value(key, line, line.len() - value.len()).is_empty())
}

/// Reads a value that stands on one line.
struct Reader<'a> {
    line: &'a str,
    place: usize,
    /// What stands before this is understood.
    fine: usize,
    hidden: Vec<Range<usize>>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.line[self.place..]
    }

    fn skip_blanks(&mut self) {
        self.place = self.line.len() - self.rest().trim_start().len();
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.rest().starts_with(wanted);
        self.place += if found { wanted.len_utf8() } else { 0 };
        found
    }

    /// A value and a comment behind it, and nothing else.
    fn whole(&mut self, key: &str) -> Option<()> {
        self.value(Some(key), false)?;
        let value_end = self.place;
        self.skip_blanks();
        if self.place > value_end && self.rest().starts_with('#') {
            self.hidden.push(self.place + 1..self.line.len());
            self.place = self.line.len();
        }
        self.rest().is_empty().then_some(())
    }

    /// A value of a key; without one it is hidden by whoever asks.
    fn value(&mut self, key: Option<&str>, within: bool) -> Option<()> {
        self.skip_blanks();
        match self.rest().chars().next()? {
            '{' => self.map(key.is_some()),
            '[' => {
                self.place += 1;
                while !self.take(']') {
                    self.value(key, true)?;
                    if !self.take(',') && !self.rest().starts_with(']') {
                        return None;
                    }
                }
                Some(())
            }
            quote @ ('"' | '\'') => {
                let begin = self.place + 1;
                let length = self.line[begin..].find(quote)?;
                // What `\\` and `''` stand for is not looked at.
                let doubled = self.line[begin + length + 1..].starts_with(quote);
                if doubled || self.line[begin..begin + length].contains('\\') {
                    return None;
                }
                self.scalar(key, begin..begin + length)?;
                self.place = begin + length + 1;
                Some(())
            }
            _ => {
                let rest = self.rest();
                let end = [rest.find(" #"), within.then(|| rest.find([',', '{', '}', '[', ']'])).flatten()];
                let word = rest[..end.into_iter().flatten().min().unwrap_or(rest.len())].trim_end();
                if word.contains(['{', '[']) && word.contains(char::is_whitespace) {
                    return None;
                }
                let range = self.place..self.place + word.len();
                self.place = range.end;
                self.scalar(key, range)
            }
        }
    }

    fn map(&mut self, is_shown: bool) -> Option<()> {
        self.place += 1;
        loop {
            self.skip_blanks();
            if is_shown {
                self.fine = self.place;
            }
            if self.take('}') {
                return Some(());
            }
            let (key, _) = self.rest().split_once(": ")?;
            let key = key.to_owned();
            entry(&format!("{key}:"))?;
            self.place += key.len() + 1;
            self.skip_blanks();
            let begin = self.place;
            let harmless = is_shown && HARMLESS.contains(&key.as_str());
            self.value(harmless.then_some(&key), true)?;
            if is_shown && !harmless && !is_reference(&self.line[begin..self.place]) {
                self.hidden.push(begin..self.place);
            }
            if !self.take(',') && !self.rest().starts_with('}') {
                return None;
            }
        }
    }

    fn scalar(&mut self, key: Option<&str>, range: Range<usize>) -> Option<()> {
        let Some(key) = key else { return Some(()) };
        let text = &self.line[range.clone()];
        // A second entry, or credentials.
        if text.contains(": ") || text.chars().skip(1).any(|c| c == '@') {
            return None;
        }
        // A query.
        if let Some(place) = text.find(['#', '?', '=']).filter(|_| !TIMES.contains(&key)) {
            self.hidden.push(range.start + place + 1..range.end);
        }
        Some(())
    }
}

/// Whether a value is `${NAME}` and nothing else.
fn is_reference(value: &str) -> bool {
    let name = value.trim_matches(['"', '\'']).strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// The key of a mistaken entry as it may be shown: in `token:abc` all of it is one key for YAML.
pub fn named(key: &str) -> String {
    match key.find(|c: char| !c.is_ascii_alphanumeric() && !"_-./ ".contains(c)) {
        Some(end) => format!("{}***", &key[..end]),
        None => key.to_owned(),
    }
}

/// A text without the credentials of addresses.
pub fn without_credentials(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let before = &rest[..at];
        let begin = before.rfind(|c: char| c == '`' || c.is_whitespace()).map_or(0, |place| place + 1);
        let begin = before[begin..].find("://").map_or(begin, |place| begin + place + 3);
        match before[begin..].contains(':') {
            true => shown.push_str(&format!("{}***", &before[..begin])),
            false => shown.push_str(before),
        }
        shown.push('@');
        rest = &rest[at + 1..];
    }
    shown.push_str(rest);
    shown
}

/// A message about a filled-in value with what was written instead of it, or of a part of it.
pub fn as_written(message: &str, filled: &str, written: &str) -> String {
    // Shorter ones stand in other words too; in backticks they are found below.
    let whole = if filled.len() < 4 { message.to_owned() } else { message.replace(filled, written) };
    let filled = filled.to_lowercase();
    let quoted = |(place, part): (usize, &str)| match place % 2 == 1 && !part.is_empty() {
        true if filled.contains(&part.to_lowercase()) => written.to_owned(),
        _ => part.to_owned(),
    };
    whole.split('`').enumerate().map(quoted).collect::<Vec<_>>().join("`")
}

/// A value that YAML takes for something else because of how it begins, such as `* * * * *`.
pub fn needs_quotes(line: &str) -> Option<&str> {
    let line = line.trim().trim_start_matches("- ");
    let value = line.split_once(": ").map_or(line, |(_, value)| value).trim();
    value.starts_with(['*', '&', '@', '%', '`', '!']).then_some(value)
}

/// A line without its indentation and the dashes of lists.
fn content(line: &str) -> &str {
    let mut content = line.trim();
    while let Some(item) = content.strip_prefix("- ") {
        content = item.trim_start();
    }
    content
}

/// Key and value of a line.
fn entry(content: &str) -> Option<(&str, &str)> {
    let end = content.find(": ").or_else(|| content.strip_suffix(':').map(str::len))?;
    let (key, value) = (&content[..end], content[end + 1..].trim());
    let sound = !key.is_empty() && key.len() <= 40;
    let plain = key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    (sound && plain).then_some((key, value))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The line that a line stands below.
fn parent(text: &str, number: u32) -> Option<(u32, &str)> {
    let lines = || (1..).zip(text.lines().take(number as usize));
    let (_, own) = lines().last()?;
    // The items of a list may stand below their key without an indentation.
    let is_item = |line: &str| line.trim_start().starts_with("- ");
    let is_less =
        |line: &str| indent(line) < indent(own) || (indent(line) == indent(own) && is_item(own) && !is_item(line));
    lines().filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#') && is_less(line)).last()
}

/// The keys that a line stands below, the nearest first.
fn parents(text: &str, number: u32) -> Vec<&str> {
    let above = std::iter::successors(parent(text, number), |(number, _)| parent(text, *number));
    above.filter_map(|(_, line)| Some(entry(content(line))?.0)).collect()
}

/// Whether a line goes on with a value that began above it, such as a key file below `token: |`.
fn is_of_a_value(text: &str, number: u32) -> bool {
    parent(text, number).is_some_and(|(_, line)| entry(content(line)).is_none_or(|(_, value)| !value.is_empty()))
}

/// The line of the outermost key that a line stands below, or is.
fn outermost(text: &str, number: u32) -> &str {
    let lines: Vec<&str> = text.lines().take(number as usize).collect();
    let found = lines.iter().rfind(|line| !line.is_empty() && !line.starts_with([' ', '\t', '#']));
    found.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_may_be_secrets_are_hidden_and_no_others() {
        for (line, shown_as) in [
            ("  - cron: \"0 9 * * FRI#6\"", "  - cron: \"0 9 * * FRI#6\""),
            ("  - cron: 0 9 ? * *", "  - cron: 0 9 ? * *"),
            ("  - cron: \"@reboot\"", "  - cron: \"@reboot\""),
            ("  - cron: CRON_TZ=UTC 0 9 * * *", "  - cron: CRON_TZ=UTC 0 9 * * *"),
            ("  - cron: 0 9 * * *  # hunter2", "  - cron: 0 9 * * *  #***"),
            (
                "  - cron: { schedule: \"0 9 * * *\", missed: never, except: [2026-12-25] }",
                "  - cron: { schedule: \"0 9 * * *\", missed: never, except: [2026-12-25] }",
            ),
            ("  - cron: { shedule: \"0 9 * * *\", timezone: UTC }", "  - cron: { shedule: ***, timezone: UTC }"),
            ("concurrency: { limit: 0, when_full: skp }", "concurrency: { limit: 0, when_full: skp }"),
            ("  - webhook: /y/{one}/{one}", "  - webhook: /y/{one}/{one}"),
            ("  - webhook: /y?token=hunter2", "  - webhook: /y?***"),
            ("  - webhook: http://user:hunter2@host/", "  - webhook: ***"),
            ("  - webhook: { path: x, verify: { token: hunter2 } }", "  - webhook: { path: x, verify: *** }"),
            (
                "  - webhook: { path: x, verify: { token: [a, hunter2] }, max: 1 }",
                "  - webhook: { path: x, verify: ***, max: 1 }",
            ),
            ("  - webhook: { path: x, verify: { token: ${T} } }", "  - webhook: { path: x, ***"),
            ("  - webhook: { path: x, token: \"${T}\" }", "  - webhook: { path: x, token: \"${T}\" }"),
            // No YAML: from there on it may be anything.
            ("  - webhook: { path: x, token:hunter2 }", "  - webhook: { path: x, ***"),
            ("  - webhook: { path: \"x, token: hunter2 }", "  - webhook: { ***"),
            ("  - webhook: { path: x, max: y token: hunter2 }", "  - webhook: { path: x, ***"),
            ("  - webhook: /x {token:hunter2}", "  - webhook: ***"),
            ("  - webhook: \"/x\" hunter2", "  - webhook: ***"),
            ("  - webhook: {", "  - webhook: {"),
            ("token: hunter2", "token: ***"),
            ("hunter2", "***"),
            ("params: { name: hunter2 }", "params: ***"),
            ("verify:\n  name: hunter2", "  name: ***"),
            ("params:\n- name: hunter2", "- name: ***"),
            ("token: |\n  name: hunter2", "  name: ***"),
            ("  - cron:\n# of days\n      schedule: 0 9", "      schedule: 0 9"),
            ("  except:\n    - 2026-12-24T09:00", "    - 2026-12-24T09:00"),
            ("  token:\n    - hunter2", "    - ***"),
        ] {
            let number = line.lines().count() as u32;
            assert_eq!(shown("flows/a.yaml", line, number).unwrap().text(), shown_as, "{line}");
        }
    }

    #[test]
    fn a_column_is_found_again_behind_what_is_hidden() {
        let text = "  - webhook: { path: x, verify: { token: hunter2 }, mx: 1 }";
        let line = shown("flows/a.yaml", text, 1).unwrap();
        let column = |word: &str| text.find(word).unwrap() + 1;
        for (word, before) in [
            ("path", "  - webhook: { "),
            ("hunter2", "  - webhook: { path: x, verify: "),
            ("mx", "  - webhook: { path: x, verify: ***, "),
        ] {
            assert_eq!(line.before(column(word)), before, "{word}");
        }
        assert_eq!(line.before(1_000), line.text());
    }
}
