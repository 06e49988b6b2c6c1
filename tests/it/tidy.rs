//! Rules of the house that a compiler does not know.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Modules by row; imports may only point to a lower one.
const ROWS: [&[&str]; 11] = [
    &["blobs", "clock", "fetch", "files", "id", "memory", "plain", "secret", "shutdown", "tally", "units", "wake"],
    &["changes", "feed", "links", "preview", "telemetry"],
    &["model"],
    &["store", "transport", "script"],
    &["flow", "outbox"],
    &["run", "inbound"],
    &["view"],
    &["http", "trigger", "alarm"],
    &["config"],
    &["app"],
    &["cli", "main", "lib"],
];

/// What only some places may know: a word and where it may stand.
const ONLY: [(&str, &[&str]); 8] = [
    ("axum::", &["src/http/"]),
    ("rusqlite::", &["src/store/"]),
    ("rhai::", &["src/script/"]),
    ("serde_yaml::", &["src/flow/file/", "src/config/"]),
    ("notify::", &["src/changes.rs"]),
    ("cron::", &["src/flow/schedule.rs"]),
    ("Timestamp::now", &["src/clock.rs"]),
    ("SystemTime", &["src/clock.rs"]),
];

const MOST_LINES: usize = 600;

fn sources(folder: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    assert!(!found.is_empty());
    found
}

fn module(path: &str) -> &str {
    path.strip_prefix("src/").unwrap().split(['/', '.']).next().unwrap()
}

fn row(module: &str) -> usize {
    let row = ROWS.iter().position(|row| row.contains(&module));
    row.unwrap_or_else(|| panic!("`{module}` has no row; give it one in tests/it/tidy.rs and lib.rs"))
}

/// Our own modules that a file names, by `crate::`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap())
        .filter(|name| !name.is_empty())
}

#[test]
fn imports_point_downward_only() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let own = module(&path);
        for name in names(&text).filter(|name| *name != own) {
            if row(name) >= row(own) {
                wrong.push(format!("{path} (row {}) names `{name}` (row {})", row(own), row(name)));
            }
        }
        let runs = ["run", "inbound"].contains(&own);
        if runs && names(&text).any(|name| name == "outbox") {
            wrong.push(format!("{path} names `outbox`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        for (word, places) in ONLY {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            if code.clone().any(|line| line.contains(word)) && !places.iter().any(|place| path.starts_with(place)) {
                wrong.push(format!("{path} knows `{word}`, which belongs to {}", places.join(", ")));
            }
        }
        if path.starts_with("src/model/") && ["async ", "std::fs", "std::net"].iter().any(|word| text.contains(word)) {
            wrong.push(format!("{path} does I/O; `model` is nouns and pure decisions"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for (path, text) in ["src", "tests", "benches"].into_iter().flat_map(sources) {
        if !text.starts_with("//!") {
            wrong.push(format!("{path} does not open with `//!`"));
        }
        if text.lines().count() > MOST_LINES {
            wrong.push(format!("{path} has {} lines; {MOST_LINES} are the most", text.lines().count()));
        }
        // Written apart, so that this file does not find itself.
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("#[", "ignore"), concat!("allow(dead", "_code")]
        {
            if text.contains(word) {
                wrong.push(format!("{path} holds `{word}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_row_on_the_map() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    for path in sources("src").keys() {
        let name = module(path);
        row(name);
        assert!(
            ["main", "lib"].contains(&name) || map.contains(&format!("[`{name}`]")),
            "`{name}` is not on the map in lib.rs"
        );
    }
}
