//! Where and why a text is no JSON, as people count: lines and characters from 1.

use serde_json::Error;

/// What is wrong with a text that was read as JSON, and where; `what` is what it should have been.
pub fn mistake(what: &str, text: &[u8], error: &Error) -> String {
    let told = error.to_string();
    // The reader has no other sign of these two than its words.
    if is_too_deep(error) {
        return format!("{what} is nested too deep, at {}", place(text, at(text, error)));
    }
    if told.starts_with("number out of range") {
        let end = at(text, error);
        let is_digit = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = text[..end].iter().rev().take_while(|byte| is_digit(byte)).count();
        return format!("{what} has a number that is too large for this engine, at {}", place(text, end - length));
    }
    let behind = format!(" at line {} column {}", error.line(), error.column());
    let why = told.strip_suffix(&behind).unwrap_or(&told);
    format!("{what} is no JSON: {why} at {}", place(text, at(text, error)))
}

/// Whether the reader has given up because of the depth.
pub fn is_too_deep(error: &Error) -> bool {
    error.to_string().starts_with("recursion limit exceeded")
}

/// The place of a byte in words.
pub fn place(text: &[u8], at: usize) -> String {
    let before = &text[..at.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    // A character counts once, by its first byte. A byte within one belongs to it.
    let until = text.len().min(at + 1);
    let column = text[line_start.min(until)..until].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    format!("line {line} column {}", column.max(1))
}

/// The byte at which the reader stopped. It tells where it was behind that byte, so behind the end of a line it tells of
/// the next one; where a text ends too early this is its last byte.
fn at(text: &[u8], error: &Error) -> usize {
    let mut ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let line_start = match error.line() {
        0 | 1 => 0,
        line => ends.nth(line - 2).unwrap_or(0),
    };
    (line_start + error.column()).saturating_sub(1).min(text.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_mistake_has_its_place_in_lines_and_characters() {
        for (text, wanted) in [
            ("{\n \"a\": 1,\n \"b\": tru\n}", "the body is no JSON: expected ident at line 3 column 10"),
            (
                "{\"a\": \"x\ny\"}",
                "the body is no JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 9",
            ),
            ("{\"a\": \"é\", \"b\": x}", "the body is no JSON: expected value at line 1 column 17"),
            ("{\"a\": nope}", "the body is no JSON: expected ident at line 1 column 8"),
            ("{\"a\": 1} trailing", "the body is no JSON: trailing characters at line 1 column 10"),
            ("{\n  \"a\": 1,\n}", "the body is no JSON: trailing comma at line 3 column 1"),
            ("{\"ü\":", "the body is no JSON: EOF while parsing a value at line 1 column 5"),
            ("{\"a\":\n", "the body is no JSON: EOF while parsing a value at line 1 column 6"),
            ("[\"ü", "the body is no JSON: EOF while parsing a string at line 1 column 3"),
            ("", "the body is no JSON: EOF while parsing a value at line 1 column 1"),
            ("{\"a\":1e400}", "the body has a number that is too large for this engine, at line 1 column 6"),
            ("[1,\n -1.5E+9999 ]", "the body has a number that is too large for this engine, at line 2 column 2"),
        ] {
            let error = serde_json::from_str::<Value>(text).unwrap_err();
            assert_eq!(mistake("the body", text.as_bytes(), &error), wanted, "{text}");
        }
        let deep = "[".repeat(200);
        let error = serde_json::from_str::<Value>(&deep).unwrap_err();
        assert_eq!(mistake("it", deep.as_bytes(), &error), "it is nested too deep, at line 1 column 128");
    }
}
