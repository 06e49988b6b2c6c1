//! Names that are nearly those of a workspace's own files and folders. Nothing is read from them, and people are told.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::model::diagnostic::Diagnostic;

/// What people and their editors have named nearly as what is read. Where settings or secrets lie in such a file alone
/// it is an error: messages would go to the sandbox, and look as if they had been sent.
pub fn near_names(root: &Path) -> Vec<Diagnostic> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut near: Vec<Diagnostic> = entries.filter_map(|entry| near_name(root, entry.file_name().to_str()?)).collect();
    near.sort_by(|a, b| a.file.cmp(&b.file));
    near
}

fn near_name(root: &Path, name: &str) -> Option<Diagnostic> {
    let small = name.to_ascii_lowercase();
    let (right, is_folder) = match small.strip_suffix(".txt").unwrap_or(&small) {
        "postrider.yaml" | "postrider.yml" | ".postrider.yaml" | ".postrider.yml" => ("postrider.yaml", false),
        ".env" | ".env.local" => (".env", false),
        "env" if small == "env.txt" => (".env", false),
        "flows" | "flow" => ("flows", true),
        "scripts" | "script" => ("scripts", true),
        _ => return None,
    };
    let about = fs::metadata(root.join(name)).ok()?;
    let is_kind = if is_folder { about.is_dir() } else { about.is_file() };
    if name == right || !is_kind {
        return None;
    }
    let (kind, shown) = if is_folder { ("folder", format!("{right}/")) } else { ("file", right.to_owned()) };
    let message = format!("nothing is read from this {kind}: its name should be `{shown}`");
    match fs::metadata(root.join(right)) {
        // Where large and small letters are one it is that very file.
        Ok(right) if (right.dev(), right.ino()) == (about.dev(), about.ino()) => None,
        Ok(_) => {
            let hint = format!("move what is needed to `{shown}`, and remove it");
            Some(Diagnostic::warning(name, 0, 0, message).with_hint(hint))
        }
        // Other programs know these, too.
        Err(_) if is_folder || small == ".env.local" => {
            Some(Diagnostic::warning(name, 0, 0, message).with_hint("rename it"))
        }
        Err(_) => Some(Diagnostic::error(name, 0, 0, message).with_hint("rename it")),
    }
}
