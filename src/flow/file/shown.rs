//! How much of a file may be shown beside a finding: scripts as they are, of other lines no value that
//! may be a secret.

/// Keys whose values are for everybody. What stands below `params` and `verify` never is.
const HARMLESS: [&str; 58] = [
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
    "fallback",
    "first",
    "http",
    "interval",
    "jitter",
    "journal",
    "journal_bytes",
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
];

/// Whether a line belongs to a script.
pub fn is_script(file: &str, text: &str, number: u32) -> bool {
    file.ends_with(".rhai") || (file.starts_with("flows/") && outermost(text, number).starts_with("run:"))
}

/// A line as it may be shown; none of a file of secrets.
pub fn shown(file: &str, text: &str, number: u32) -> Option<String> {
    let known = [".yaml", ".yml", ".rhai"].iter().any(|ending| file.ends_with(ending));
    let line = text.lines().nth(number.checked_sub(1)? as usize).filter(|_| known)?.trim_end();
    let hidden = outermost(text, number).starts_with("params") || is_of_a_value(text, number);
    if is_script(file, text, number) || (shows_all(line) && !hidden) {
        return Some(line.to_owned());
    }
    let content = content(line);
    let head = &line[..line.len() - content.len()];
    Some(match entry(content) {
        _ if content.is_empty() => head.to_owned(),
        Some((_, "" | "|" | "|-" | "|+" | ">" | ">-" | ">+")) => line.to_owned(),
        Some((key, _)) => format!("{head}{key}: ***"),
        None => format!("{head}***"),
    })
}

/// Whether a line's value tells nothing that is not for everybody.
pub fn shows_all(line: &str) -> bool {
    let Some((key, value)) = entry(content(line)) else { return false };
    if is_reference(value) {
        return true;
    }
    let opens = value.replace("${", "").contains('{');
    // A second entry, a comment, credentials or a query may stand behind it.
    let more = value.contains(": ") || value.contains(['#', '?', '=']) || value.chars().skip(1).any(|c| c == '@');
    HARMLESS.contains(&key) && !opens && !more
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

/// Whether a line goes on with a value that began above it, such as a key file below `token: |`.
fn is_of_a_value(text: &str, number: u32) -> bool {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().take(number as usize).collect();
    let Some((own, above)) = lines.split_last() else { return false };
    let parent = above.iter().rfind(|line| !line.trim().is_empty() && indent(line) < indent(own));
    parent.is_some_and(|line| entry(content(line)).is_none_or(|(_, value)| !value.is_empty()))
}

/// The line of the outermost key that a line stands below, or is.
fn outermost(text: &str, number: u32) -> &str {
    let lines: Vec<&str> = text.lines().take(number as usize).collect();
    let found = lines.iter().rfind(|line| !line.is_empty() && !line.starts_with([' ', '\t', '#']));
    found.copied().unwrap_or_default()
}
