//! Rules of the house that a compiler does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules by row; imports may only point to a lower one.
const ROWS: [&[&str]; 11] = [
    &[
        "blobs", "clock", "cores", "fetch", "few", "files", "id", "json", "memory", "panics", "plain", "secret",
        "shutdown", "tally", "units", "wake",
    ],
    &["changes", "feed", "links", "preview", "service", "telemetry"],
    &["model"],
    &["store", "transport", "script"],
    &["flow", "outbox", "ledger"],
    &["run", "inbound"],
    &["view"],
    &["http", "trigger", "alarm"],
    &["config"],
    &["app"],
    &["cli", "main", "lib"],
];

/// What only some places may know: a word and where it may stand.
const ONLY: [(&str, &[&str]); 12] = [
    ("axum::", &["src/http/"]),
    ("rusqlite::", &["src/store/sqlite/"]),
    ("\"SELECT ", &["src/store/"]),
    ("\"INSERT INTO ", &["src/store/"]),
    ("\"UPDATE ", &["src/store/"]),
    ("\"DELETE FROM ", &["src/store/"]),
    ("rhai::", &["src/script/"]),
    ("serde_yaml::", &["src/flow/file/", "src/config/"]),
    ("notify::", &["src/changes.rs"]),
    ("cron::", &["src/flow/schedule.rs"]),
    ("Timestamp::now", &["src/clock.rs"]),
    ("SystemTime", &["src/clock.rs"]),
];

const MOST_LINES: usize = 600;

/// A function that is longer does more than one thing.
const MOST_LINES_OF_A_FUNCTION: usize = 59;

/// Work on files that holds up the thread it is done on.
const BLOCKING: [&str; 7] =
    ["std::fs", "File::open", ".metadata()", ".exists()", ".is_file()", ".is_dir()", "std::thread::sleep"];

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
    // A unit test may make what it needs.
    for (path, text) in sources("src").into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
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

/// What stands behind a prefix in a file: the first name of each path, those of a list in braces too.
fn behind<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = BTreeSet::new();
    for (place, _) in text.match_indices(prefix) {
        let is_inside = text[..place].ends_with(|c: char| word(c) || c == ':');
        let rest = &text[place + prefix.len()..];
        if is_inside {
            continue;
        }
        let Some(list) = rest.strip_prefix('{') else {
            found.extend(rest.split(|c: char| !word(c)).next());
            continue;
        };
        let (mut depth, mut begin) = (0, true);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begin = true,
                _ if begin && word(letter) => {
                    found.extend(list[at..].split(|c: char| !word(c)).next());
                    begin = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// The code of a file, without comments and without the tests behind it.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// For each folder below `src`: its files and folders, each with those beside it that it names.
fn neighbours() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let all = sources("src");
    let mut folders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for path in all.keys().filter(|path| !path.ends_with("tests.rs")) {
        let parts: Vec<&str> = path.trim_end_matches(".rs").split('/').collect();
        for place in 1..parts.len() {
            if !["mod", "lib", "main"].contains(&parts[place]) {
                folders.entry(parts[..place].join("/")).or_default().entry(parts[place].to_owned()).or_default();
            }
        }
    }
    for (path, text) in all.iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        let text = code(text);
        let parts: Vec<&str> = path.trim_end_matches(".rs").trim_end_matches("/mod").split('/').collect();
        for place in 1..parts.len() {
            let whole = ["crate"].iter().chain(&parts[1..place]).copied().collect::<Vec<_>>().join("::") + "::";
            let mut named = behind(&text, &"super::".repeat(parts.len() - place));
            named.extend(behind(&text, &whole));
            let beside = folders.get_mut(&parts[..place].join("/")).unwrap();
            let known: Vec<String> = beside.keys().filter(|name| named.contains(name.as_str())).cloned().collect();
            if let Some(names) = beside.get_mut(parts[place]) {
                names.extend(known.into_iter().filter(|name| name != parts[place]));
            }
        }
    }
    folders
}

#[test]
fn no_files_of_a_folder_know_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for (folder, mut files) in neighbours() {
        // Whoever names nobody that is left stands at the bottom; what remains is a circle, or stands above one.
        while let Some(bottom) = files.iter().find(|(_, names)| names.is_empty()).map(|(name, _)| name.clone()) {
            files.remove(&bottom);
            for names in files.values_mut() {
                names.remove(&bottom);
            }
        }
        if !files.is_empty() {
            wrong.push(format!("{folder}: {files:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src").into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
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

/// A file or a folder that the map names is there.
#[test]
fn the_map_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = std::fs::read_to_string(root.join("lib.rs")).unwrap();
    let table = map.split("# Where things are decided").nth(1).unwrap().split("# Glossary").next().unwrap();
    let named: Vec<&str> = table.split('`').filter(|word| word.contains('/') && !word.contains(' ')).collect();
    assert!(named.len() > 50, "{named:?}");
    for path in named {
        let path = path.replace("NAME", "waha");
        assert!(root.join(&path).exists(), "lib.rs names `{path}`, which is not there");
    }
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

/// The functions of a file, tests left out: name and lines, from `fn` to the brace that closes it.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let lines: Vec<&str> = code.lines().collect();
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        let Some((before, rest)) = line.split_once("fn ") else { continue };
        let words = ["pub", "pub(super)", "pub(crate)", "const", "async", "unsafe"];
        let name = rest.split(['(', '<']).next().unwrap();
        if !before.split_whitespace().all(|word| words.contains(&word)) || name.contains(' ') {
            continue;
        }
        let ends = |other: &&str| {
            let closes =
                other.trim_start().starts_with('}') || (other.trim_start().starts_with(')') && other.ends_with(';'));
            depth(other) == depth(line) && closes
        };
        let more = match line.ends_with(['}', ';']) {
            true => 0,
            false => 1 + lines[place + 1..].iter().position(ends).expect("its closing brace"),
        };
        found.push((name, 1 + more));
    }
    found
}

#[test]
fn functions_are_short() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src").iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        for (name, lines) in functions(text) {
            if lines > MOST_LINES_OF_A_FUNCTION {
                wrong.push(format!("`{name}` of {path} has {lines} lines; {MOST_LINES_OF_A_FUNCTION} are the most"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn functions_are_counted_from_their_first_line_to_their_last() {
    let text = "pub fn one() {\n    a();\n}\ntrait T {\n    fn two(\n        &self,\n    ) -> u8;\n    fn three(&self);\n}\n\
        impl T for X {\n    async fn four(\n        self,\n    ) {\n        let f = |x| {\n            x\n        };\n    }\n}\n\
        // A fn of words.\nconst F: fn (u8) = g;\n#[cfg(test)]\nmod tests {\n    fn five() {\n    }\n}\n";
    assert_eq!(functions(text), [("one", 3), ("two", 3), ("three", 1), ("four", 7)]);
}

#[test]
fn files_hold_up_no_thread_that_others_wait_for() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let is_theirs = path.starts_with("src/http/") || path.starts_with("src/outbox/");
        let code = code(&text).replace("tokio::fs::File::open", "").replace(".metadata().await", "");
        for word in BLOCKING.iter().filter(|word| is_theirs && code.contains(*word)) {
            wrong.push(format!("{path} holds `{word}`; what works on files belongs to the layer that owns them"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
