//! Whether what a file calls a secret can be one.

use super::node::{Findings, Node};

/// A secret that is shorter than this may be guessed.
const SHORTEST: usize = 16;

/// Warns of a secret that is too short to be one. One of nothing but blanks is an error: gives false.
pub fn is_secret(node: &Node, name: &str, text: &str, findings: &mut Findings) -> bool {
    let remedy = "set it to a long random text, as `openssl rand -hex 16` makes them";
    match text.trim().chars().count() {
        0 => findings.at(node, format!("`{name}` is empty, so anybody could come in")).hint(remedy),
        1..SHORTEST => {
            let message = format!("`{name}` has fewer than {SHORTEST} letters, so it may be guessed");
            findings.warn(node, message).hint(remedy);
        }
        _ => {}
    }
    !text.trim().is_empty()
}
