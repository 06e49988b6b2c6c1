//! A flow's file as it is shown: numbered, coloured, with what is wrong under its line.

use super::look::escaped;
use crate::model::diagnostic::{Diagnostic, Severity};

/// A line.
pub struct Line {
    /// Its number.
    pub number: usize,
    /// Its text as HTML.
    pub html: String,
    /// Something is wrong with it.
    pub bad: bool,
    /// What is to be said about it.
    pub findings: Vec<Finding>,
    /// What a run did there.
    pub marks: Vec<String>,
}

/// What is to be said about a line.
pub struct Finding {
    /// Whether it is a mistake, or only a hint.
    pub mistake: bool,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

const KEYWORDS: [&str; 22] = [
    "let", "const", "if", "else", "for", "in", "while", "loop", "do", "until", "switch", "fn", "return", "throw",
    "try", "catch", "import", "as", "break", "continue", "true", "false",
];

/// The lines of a file.
pub fn lines(file: &str, text: &str, findings: &[Diagnostic], marks: &[(u32, String)]) -> Vec<Line> {
    let mut script: Option<usize> = file.ends_with(".rhai").then_some(0);
    let mut lines = Vec::new();
    let mut quote: Option<char> = None;
    for (place, line) in text.lines().enumerate() {
        let number = place + 1;
        let indent = line.len() - line.trim_start().len();
        if let Some(depth) = script
            && depth > 0
            && !line.trim().is_empty()
            && indent < depth
        {
            (script, quote) = (None, None);
        }
        let html = match script {
            Some(_) => rhai(line, &mut quote),
            None => yaml(line),
        };
        let begins = line.trim_end();
        if script.is_none() && begins.starts_with("run:") && begins.ends_with(['|', '-', '+']) {
            script = Some(1);
        }
        let own = |finding: &&Diagnostic| finding.file == file && finding.line as usize == number;
        let findings: Vec<Finding> = findings
            .iter()
            .filter(own)
            .map(|finding| Finding {
                mistake: finding.severity == Severity::Error,
                message: finding.message.clone(),
                hint: finding.hint.clone(),
            })
            .collect();
        lines.push(Line {
            number,
            html,
            bad: findings.iter().any(|finding| finding.mistake),
            findings,
            marks: marks.iter().filter(|(line, _)| *line as usize == number).map(|(_, mark)| mark.clone()).collect(),
        });
    }
    lines
}

fn coloured(class: &str, text: &str) -> String {
    format!("<span class=\"{class}\">{}</span>", escaped(text))
}

fn yaml(line: &str) -> String {
    let trimmed = line.trim_start();
    if trimmed.starts_with('#') {
        return coloured("y-c", line);
    }
    let indent = &line[..line.len() - trimmed.len()];
    let (dash, rest) = match trimmed.strip_prefix("- ") {
        Some(rest) => ("- ", rest),
        None => ("", trimmed),
    };
    let key = rest.find(':').filter(|place| {
        let key = &rest[..*place];
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "_-.".contains(c)) && {
            let behind = &rest[place + 1..];
            behind.is_empty() || behind.starts_with(' ')
        }
    });
    let (key, value) = match key {
        Some(place) => (coloured("y-k", &rest[..place]) + ":", &rest[place + 1..]),
        None => (String::new(), rest),
    };
    format!("{}{dash}{key}{}", escaped(indent), plain(value))
}

/// The value of a line of YAML.
fn plain(value: &str) -> String {
    let (value, comment) = match value.find(" #") {
        Some(place) if !value[..place].contains(['"', '\'']) => value.split_at(place),
        _ => (value, ""),
    };
    let trimmed = value.trim();
    let shown = match trimmed {
        "" | "|" | ">" => escaped(value),
        text if text.starts_with(['"', '\'']) => coloured("y-s", value),
        text if text.starts_with(|c: char| c.is_ascii_digit()) => coloured("y-n", value),
        _ => escaped(value),
    };
    if comment.is_empty() { shown } else { format!("{shown}{}", coloured("y-c", comment)) }
}

/// A line of a script; `quote` is the text that goes on from the line above.
fn rhai(line: &str, quote: &mut Option<char>) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some(mark) = quote.or_else(|| matches!(c, '"' | '`' | '\'').then_some(c)) {
            let start = if quote.is_some() { 0 } else { c.len_utf8() };
            let end = closing(&rest[start..], mark).map(|place| start + place + mark.len_utf8());
            // Only a text in backquotes goes on in the next line.
            *quote = if end.is_none() && mark == '`' { Some(mark) } else { None };
            let end = end.unwrap_or(rest.len());
            out.push_str(&coloured("y-s", &rest[..end]));
            rest = &rest[end..];
        } else if rest.starts_with("//") {
            out.push_str(&coloured("y-c", rest));
            return out;
        } else if c.is_ascii_digit() {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
            out.push_str(&coloured("y-n", &rest[..end]));
            rest = &rest[end..];
        } else if c.is_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            let word = rest[..end].trim_end_matches(':');
            let behind = &rest[word.len()..];
            out.push_str(&match word {
                word if KEYWORDS.contains(&word) => coloured("y-w", word),
                word if behind.starts_with('(') => coloured("y-f", word),
                word => escaped(word),
            });
            rest = behind;
        } else {
            out.push_str(&escaped(&rest[..c.len_utf8()]));
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// Where a text ends.
fn closing(text: &str, mark: char) -> Option<usize> {
    let mut skip = false;
    for (place, c) in text.char_indices() {
        match c {
            _ if skip => skip = false,
            '\\' => skip = true,
            c if c == mark => return Some(place),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_coloured_and_nothing_in_them_is_markup() {
        let text = "name: a # so\ntriggers:\n  - cron: \"0 9 * * *\"\nrun: |\n  let a = `<b>\n  x`; // y\n  send_text(1, \"<i>\")\nretry: 3";
        let drawn: Vec<String> = lines("flows/a.yaml", text, &[], &[]).into_iter().map(|line| line.html).collect();
        assert_eq!(
            drawn,
            [
                "<span class=\"y-k\">name</span>: a<span class=\"y-c\"> # so</span>",
                "<span class=\"y-k\">triggers</span>:",
                "  - <span class=\"y-k\">cron</span>:<span class=\"y-s\"> &quot;0 9 * * *&quot;</span>",
                "<span class=\"y-k\">run</span>: |",
                "  <span class=\"y-w\">let</span> a = <span class=\"y-s\">`&lt;b&gt;</span>",
                "<span class=\"y-s\">  x`</span>; <span class=\"y-c\">// y</span>",
                "  <span class=\"y-f\">send_text</span>(<span class=\"y-n\">1</span>, <span class=\"y-s\">&quot;&lt;i&gt;&quot;</span>)",
                "<span class=\"y-k\">retry</span>:<span class=\"y-n\"> 3</span>",
            ]
        );
    }
}
