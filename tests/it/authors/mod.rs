//! Several authors in one workspace: each has what is its own, and nothing of the others.

mod accounts;
mod doors;
mod modes;
mod secrets;
mod settings;

use serde_json::Value;

use crate::support::{binary, folder};

/// What `check` says of these files, a line each: severity, place, message, remedy.
fn check(files: &[(&str, &str)]) -> Vec<String> {
    let folder = folder(files);
    let output = binary::run(folder.path(), &["check", "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    lines(&answer["diagnostics"])
}

fn lines(diagnostics: &Value) -> Vec<String> {
    let line = |finding: &Value| {
        let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let place = format!("{} {}:{}", text("severity"), text("file"), finding["line"]);
        format!("{place} {} ({})", text("message"), text("hint"))
    };
    diagnostics.as_array().unwrap().iter().map(line).collect()
}
