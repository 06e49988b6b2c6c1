//! What scripts read texts with: `csv::`, `json::`, `regex::`, `time::`, `duration`, `url::`.

use std::cell::RefCell;
use std::time::Duration;

use postrider::script::Ending;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::writings::edited;
use super::{hunt, seeds};
use crate::turn::Run;

/// A turn with short bounds.
fn script(text: &str) -> RefCell<Run> {
    let mut run = Run::new(text);
    run.limits.cpu_turn = Duration::from_millis(300);
    run.limits.memory = 16 << 20;
    RefCell::new(run)
}

/// Runs it over an event: it keeps within its bounds, and breaks nothing.
fn bounded_turn(run: &RefCell<Run>, event: Value) {
    let mut run = run.borrow_mut();
    run.event = json!({ "trigger": "manual", "data": event });
    let output = run.turn();
    assert!(output.cpu <= 2 * run.limits.cpu_turn, "took {:?}", output.cpu);
    if let Ending::Thrown(error) | Ending::Failed(error) = output.ending {
        assert!(error.kind != "panic" && error.kind != "replay", "{error}");
    }
}

#[test]
fn csv() {
    const WORDS: &[&str] = &[",", ";", "\n", "\r\n", "\"", "\"\"", "\t", "a,b", "'", "|", ",,,,,,,,", "name"];
    let run = script(
        "try { csv::parse(event.data.text).len } catch { }
        csv::parse(event.data.text, #{ header: event.data.header, delimiter: event.data.delimiter }).len",
    );
    let cases = (edited(seeds("csv"), WORDS), any::<bool>(), "[,;\t|a\"\n]");
    hunt("csv", cases, |(text, header, delimiter)| {
        bounded_turn(&run, json!({ "text": text, "header": header, "delimiter": delimiter }));
    });
}

#[test]
fn json() {
    const WORDS: &[&str] = &[
        "[", "]", "{", "}", ",", ":", "\"", "null", "true", "1e308", "-0", "\\u0000", "\\ud800", "{\"a\":", "[[[[",
        "1,",
    ];
    let run = script(
        "let value = json::parse(event.data);
        let text = json::stringify(value);
        if json::stringify(json::parse(text)) != text { throw \"another one\"; }
        [value == json::parse(text), value.to_string().len, value.to_debug().len]",
    );
    hunt("json", edited(seeds("json"), WORDS), |text| bounded_turn(&run, json!(text)));
}

#[test]
fn json_of_rhai() {
    const WORDS: &[&str] =
        &["[", "]", "{", "}", ",", ":", "\"", "null", "true", "1e308", "-", "//", "/*", "`", "${", "#{", "'"];
    let run = script("parse_json(event.data).to_string().len");
    hunt("json_of_rhai", edited(seeds("json"), WORDS), |text| bounded_turn(&run, json!(text)));
}

#[test]
fn patterns() {
    const WORDS: &[&str] = &[
        ".*",
        "(a|aa)+",
        "[a-z]",
        "{1,100}",
        "(?i)",
        "\\p{L}",
        "\\b",
        "^",
        "$",
        "(",
        ")",
        "|",
        "(?P<n>",
        "[^x]",
        "*?",
        "+",
        "(?:",
        "\\d",
        "{2000}",
        "(?s:.)",
        "\\PL{3,9}",
        "&&",
        "--",
    ];
    const LETTERS: &[&str] = &["a", "aa", "{a", "ab ", "\"a", "\u{390}", "01", "\n", "1", "$0", "${n}", "$1$1"];
    let run = script(
        "let d = event.data;
        let all = [];
        try { all.push(regex::is_match(d.text, d.pattern)); } catch { }
        try { all.push(regex::find(d.text, d.pattern)); } catch { }
        try { all.push(regex::captures(d.text, d.pattern)); } catch { }
        try { all.push(regex::replace(d.text, d.pattern, d.by).len); } catch { }
        all.len",
    );
    let texts = || edited(seeds("texts"), LETTERS);
    hunt("patterns", (texts(), edited(seeds("patterns"), WORDS), texts()), |(text, pattern, by)| {
        bounded_turn(&run, json!({ "text": text, "pattern": pattern, "by": by }));
    });
}

#[test]
fn times() {
    const WORDS: &[&str] = &[
        "%c",
        "%Y",
        "%255d",
        "%Q",
        "%%",
        "%",
        "Z",
        "[Europe/Berlin]",
        "T",
        "-",
        ":",
        "+02:00",
        "1h",
        "30s",
        "w",
        "9999",
    ];
    let run = script(
        "let t = event.data;
        let all = [];
        try { all.push(time::parse(t)); } catch { }
        try { all.push(duration(t)); all.push(now() + duration(t)); } catch { }
        try { all.push(now().format(t)); } catch { }
        try { all.push(now().in_zone(t)); } catch { }
        try { all.push(url::utm(t, #{ source: t })); } catch { }
        try { all.push(base64::decode(t)); } catch { }
        `${all}`.len",
    );
    hunt("times", edited(seeds("times"), WORDS), |text| bounded_turn(&run, json!(text)));
}
