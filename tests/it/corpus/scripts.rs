//! The corpus as it stands in `tests/corpus/scripts`: a file for each subject, a section for each script.
//!
//! ```text
//! functions that all scripts of the file share
//! //# name: limit or refused      how it may end
//! //# flow: retry: { ... }        a further line of its flow's file
//! //# event: large                it gets an event of a megabyte
//! //# times: 8                    it is run so often
//! the script
//! ```

use std::path::{Path, PathBuf};

/// How a script may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A bound stopped it.
    Limit,
    /// So, after twice its time and from outside: it was in a call of Rhai's that looks at no clock.
    GivenUp,
    /// Another error stopped it, or it was refused before it ran.
    Refused,
    /// It came to its end.
    Fine,
    /// It waits for the clock or for a person.
    Waits,
}

impl End {
    fn parse(word: &str) -> Option<Self> {
        Some(match word.trim() {
            "limit" => Self::Limit,
            "given-up" => Self::GivenUp,
            "refused" => Self::Refused,
            "fine" => Self::Fine,
            "waits" => Self::Waits,
            _ => return None,
        })
    }
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub text: String,
    pub ends: Vec<End>,
    pub flow: String,
    pub large: bool,
    pub times: usize,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

/// The files of a folder below `tests/corpus`: name without ending, and text.
pub fn files(name: &str) -> Vec<(String, String)> {
    let mut found: Vec<_> = std::fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (stem, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

/// All scripts, in the order in which they stand.
pub fn all() -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for (file, text) in files("scripts") {
        let mut head = String::new();
        let mut first = true;
        for line in text.lines() {
            let mark = line.strip_prefix("//# ").map(|mark| mark.split_once(": ").unwrap());
            match (mark, scripts.last_mut().filter(|_| !first)) {
                (Some(("flow", more)), Some(script)) => script.flow.push_str(&format!("{more}\n")),
                (Some(("event", _)), Some(script)) => script.large = true,
                (Some(("times", times)), Some(script)) => script.times = times.parse().unwrap(),
                (Some((name, ends)), _) => {
                    let ends = ends.split(" or ").map(|word| End::parse(word).unwrap_or_else(|| panic!("{line}")));
                    let (name, text) = (format!("{file}-{name}"), head.clone());
                    let (flow, ends) = (String::new(), ends.collect());
                    scripts.push(Script { name, text, ends, flow, large: false, times: 1 });
                    first = false;
                }
                (None, Some(script)) => script.text.push_str(&format!("{line}\n")),
                (None, None) => head.push_str(&format!("{line}\n")),
            }
        }
    }
    scripts
}

#[test]
fn the_corpus_can_be_read() {
    let scripts = all();
    let mut names: Vec<_> = scripts.iter().map(|script| &script.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), scripts.len(), "names are unique");
    assert!(scripts.len() >= 150, "{}", scripts.len());
}
