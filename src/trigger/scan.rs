//! Looks which files a watch trigger means, and what is in them.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use crate::files::Files;
use crate::flow::pattern::Pattern;

/// Folders deeper than this are not looked into.
const DEEPEST: usize = 256;

/// What a file looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Files by path, relative to the workspace.
    pub files: BTreeMap<String, Look>,
    /// Folders that could not be looked into: files missing below them may be there.
    pub blind: Vec<String>,
    /// What may not be read, and why.
    pub refused: Vec<String>,
    /// The devices that the watched folders are on.
    pub devices: BTreeMap<String, u64>,
}

impl Found {
    /// Whether a file that is not among them is certainly not there.
    pub fn would_show(&self, path: &str) -> bool {
        !self.blind.iter().any(|folder| Path::new(path).starts_with(folder))
    }
}

/// Looks for the files that these patterns mean.
pub fn scan(files: &Files, patterns: &[Pattern]) -> Found {
    let mut found = Found::default();
    for pattern in patterns {
        let base = files.root().join(pattern.base());
        if !pattern.base().is_empty()
            && let Err(why) = files.resolve(pattern.base())
        {
            // A folder that is not there, perhaps a drive that is not mounted, tells nothing.
            found.blind.push(pattern.base().into());
            if base.exists() {
                found.refused.push(why);
            }
            continue;
        }
        if let Ok(about) = base.metadata() {
            found.devices.insert(pattern.base().into(), about.dev());
        }
        let text = pattern.to_string();
        if files.root().join(&text).is_dir() {
            found.refused.push(format!("`{text}` is a folder; write `{text}/*` to watch the files in it"));
        }
        let walk = WalkDir::new(&base).follow_links(true).max_depth(pattern.depth().unwrap_or(DEEPEST));
        let mut refused = Vec::new();
        let mut allowed = |entry: &DirEntry| {
            if entry.depth() == 0 {
                return true;
            }
            if entry.file_name().to_string_lossy().starts_with('.') {
                return false;
            }
            if !entry.path_is_symlink() {
                return true;
            }
            let path = relative(files, entry.path());
            match files.resolve(&path) {
                // It would show the same files once more.
                Ok(real) if real.is_dir() && base.canonicalize().is_ok_and(|base| base.starts_with(&real)) => false,
                Ok(_) => true,
                Err(why) => {
                    refused.push(why);
                    false
                }
            }
        };
        let mut walk = walk.into_iter();
        while let Some(entry) = walk.next() {
            match entry {
                Ok(entry) if !allowed(&entry) => {
                    if entry.file_type().is_dir() {
                        walk.skip_current_dir();
                    }
                }
                Ok(entry) if entry.file_type().is_file() => {
                    let path = relative(files, entry.path());
                    if entry.path().to_str().is_none() {
                        found.refused.push(format!("`{path}` is left out: its name is not UTF-8"));
                    } else if pattern.means(&path)
                        && path != "postrider.yaml"
                        && let Ok(about) = entry.metadata()
                    {
                        found.files.insert(path, look(&about));
                    }
                }
                Ok(_) => {}
                Err(error) if error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound) => {}
                Err(error) => {
                    let path = error.path().map_or_else(|| pattern.base().to_owned(), |path| relative(files, path));
                    found.refused.push(format!("`{path}` cannot be looked into: {error}"));
                    found.blind.push(path);
                }
            }
        }
        found.refused.append(&mut refused);
    }
    found
}

fn relative(files: &Files, path: &Path) -> String {
    path.strip_prefix(files.root()).unwrap_or(path).to_string_lossy().into_owned()
}

fn look(about: &std::fs::Metadata) -> Look {
    let modified = about.mtime().saturating_mul(1_000_000_000).saturating_add(about.mtime_nsec());
    Look { size: about.size(), modified }
}

/// A fingerprint of a file's content, and what it looked like when that was read; none when it is
/// not there any more.
///
/// # Errors
/// A sentence that says why it cannot be read.
pub fn content(files: &Files, path: &str) -> Result<Option<(Look, [u8; 16])>, String> {
    if !files.root().join(path).exists() {
        return Ok(None);
    }
    let mut file = files.open(path)?;
    let failed = |error: std::io::Error| format!("`{path}` cannot be read: {error}");
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    Ok(Some((look(&file.metadata().map_err(failed)?), short)))
}
