//! Files of flows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use postrider::flow::file::fill::Environment;
use postrider::flow::file::{Home, Surroundings, read};

use super::writings::edited;
use super::{bounded, hunt, seeds};

const WORDS: &[&str] = &[
    "triggers:",
    "- webhook:",
    "{ path: /a, respond: result }",
    "verify:",
    "hmac:",
    "token:",
    "cron:",
    "\"*/5 * * * *\"",
    "every: 15m",
    "at: 2026-12-24T18:00",
    "watch:",
    "\"inbox/*.csv\"",
    "message:",
    "run: |",
    "script: a.rhai",
    "params:",
    "secrets: [A]",
    "retry:",
    "{ attempts: 3 }",
    "on_failure: x",
    "timezone: Europe/Berlin",
    "name: a/b",
    "enabled: false",
    "${A}",
    "${B:-c}",
    "&a",
    "*a",
    "<<:",
    "!tag",
    "~",
    "null",
    "---",
    "...",
    "|2-",
    ">+",
    "? ",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "#",
    "\"",
    "'",
    "\n  ",
    "\n",
    "  ",
    "{{",
    "1_000",
    "0x1f",
    ".inf",
    "text: \"(?i)^stop\"",
    "from: \"+15417543010\"",
    "let a = 1;",
    "send_text(\"+15417543010\", \"x\");",
    "import \"m\" as m;",
];

#[test]
fn flow_files() {
    let environment = Environment::new(BTreeMap::new(), [("A".to_owned(), "secret".to_owned())]);
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let script = |path: &str| match path {
        "a.rhai" => Some(Arc::from("send_text(params.to, \"hello\")")),
        "m.rhai" => Some(Arc::from("fn f() { 1 }")),
        _ => None,
    };
    hunt("flows", edited(seeds("flows"), WORDS), |text| {
        let text: Arc<str> = text.into();
        let around = Surroundings {
            script: &script,
            home: Home { environment: &environment, zone: &zone, country: None },
            params: None,
        };
        let read = bounded(Duration::from_secs(1), 16 << 20, || read(&"flows/a.yaml".into(), &text, &around));
        if let Err(findings) = read {
            assert!(!findings.is_empty());
            for finding in findings {
                assert!(finding.message.len() < 1 << 20, "a sentence of {} bytes", finding.message.len());
            }
        }
    });
}
