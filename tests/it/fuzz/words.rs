//! Short texts that people write: phones, durations, sizes, rates, hours, patterns of files.

use std::time::Duration;

use postrider::flow::pattern::Pattern;
use postrider::model::phone;
use postrider::model::policy::Quiet;
use postrider::model::recipient::Recipient;
use postrider::units::{format_duration, parse_bytes, parse_duration, parse_rate};

use super::writings::edited;
use super::{bounded, hunt, seeds};

const WORDS: &[&str] = &[
    "+1",
    "541-754-3010",
    "(0)",
    " ",
    "@g.us",
    "@lid",
    "@newsletter",
    "@s.whatsapp.net",
    "00",
    "\u{661}\u{665}",
    "\u{200b}",
    "h",
    "30s",
    "MiB",
    "GB",
    "/min",
    "22:00",
    "-",
    "**",
    "*",
    "?",
    "[a-z]",
    "{a,b}",
    "../",
    "/",
    ".csv",
    "inbox",
    ":1",
    "1e9",
    "9999999999999999",
];

#[test]
fn words() {
    // It is read once for all.
    phone::warm();
    hunt("words", edited(seeds("words"), WORDS), |text| {
        bounded(Duration::from_secs(1), 4 << 20, || {
            if let Ok(to) = Recipient::parse(&text) {
                let again = Recipient::from_canonical(&to.to_string());
                assert_eq!(again.as_ref(), Ok(&to), "what is written is read again");
            }
            if let Ok(span) = parse_duration(&text) {
                let written = format_duration(span);
                let again = parse_duration(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
                assert_eq!(format_duration(again), written);
            }
            let _ = (parse_bytes(&text), parse_rate(&text), Quiet::parse(&text));
            if let Ok(pattern) = Pattern::parse(&text) {
                for path in ["inbox/a.csv", "inbox/a/b/c.csv", "a", "", &"a/".repeat(200)] {
                    pattern.means(path);
                }
            }
        });
    });
}
