//! `postrider.yaml` and `.env`.

use std::time::Duration;

use postrider::config::{Flags, Settings};

use super::writings::edited;
use super::{bounded, hunt, seeds};

const WORDS: &[&str] = &[
    "accounts:",
    "main:",
    "transport: gowa",
    "transport: meta",
    "transport: waha",
    "transport: twilio",
    "transport: evolution",
    "url: http://127.0.0.1:3000",
    "pace: { rate: 30/min }",
    "pace: unlimited",
    "quiet: \"22:00-07:00\"",
    "retry: { attempts: 8 }",
    "timeout: 60s",
    "listen: 127.0.0.1:8700",
    "admin: \"[::1]:1\"",
    "admin_hosts: [a]",
    "public_url: https://example.com",
    "limits: { memory: 64MiB }",
    "http: { allow: [\"10.0.0.0/8\"] }",
    "timezone: Europe/Berlin",
    "${A}",
    "${B:-c}",
    "${",
    "}",
    "opt_out: off",
    "fallback: main",
    "&a",
    "*a",
    "!tag",
    "~",
    "---",
    "\n  ",
    "\n",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "#",
    "1e9",
    "-1",
    "99999999999999999999",
    "store: a.db",
    "\nexport A=b",
    "A=\"",
    "B='x'",
];

#[test]
fn settings() {
    let folder = tempfile::tempdir().unwrap();
    hunt("settings", (edited(seeds("settings"), WORDS), edited(seeds("dotenv"), WORDS)), |(yaml, dotenv)| {
        std::fs::write(folder.path().join("postrider.yaml"), yaml).unwrap();
        std::fs::write(folder.path().join(".env"), dotenv).unwrap();
        let flags = Flags::default();
        let environment = [("A".to_owned(), "secret".to_owned())];
        let read = bounded(Duration::from_secs(1), 16 << 20, || Settings::load(folder.path(), flags, environment));
        if let Err(findings) = read {
            assert!(!findings.is_empty());
        }
    });
}
