//! Looks which files a watch trigger means.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use walkdir::{DirEntry, WalkDir};

use crate::files::{Files, Held, composed};
use crate::flow::pattern::Pattern;
use crate::store::records::SeenFile;

/// Folders deeper than this are not looked into.
const DEEPEST: usize = 256;

/// What a file looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// When anything of it was changed, in nanoseconds since 1970: nobody can set that.
    pub changed: i64,
    /// The device that it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl Look {
    /// Whether a file that was seen looks like this.
    pub fn is_of(&self, seen: &SeenFile) -> bool {
        (seen.size, seen.modified) == (self.size, self.modified)
            && seen.changed.is_none_or(|changed| changed == self.changed)
    }

    /// What is kept of a file that looks like this.
    pub fn seen(&self, path: String, hash: Option<[u8; 16]>) -> SeenFile {
        let (changed, device) = (Some(self.changed), Some(self.device));
        SeenFile { path, size: self.size, modified: self.modified, changed, device, hash, gone_at: None }
    }
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
    /// The folders that were looked into, as they are written on the disk.
    pub bases: Vec<String>,
}

impl Found {
    /// Whether a file that is not among them is certainly not there.
    pub fn would_show(&self, path: &str) -> bool {
        let path = composed(path);
        !self.blind.iter().any(|folder| Path::new(&*path).starts_with(&*composed(folder)))
    }
}

/// Looks for the files that these patterns mean.
pub fn scan(files: &Files, patterns: &[Pattern]) -> Found {
    let mut found = Found::default();
    let held = files.held();
    for pattern in patterns {
        Search { files, held: &held, pattern, patterns }.run(&mut found);
    }
    found
}

/// The device that a file lay on would it lie there now: that of the nearest folder above it.
pub fn device_at(files: &Files, path: &str) -> Option<u64> {
    let mut folders = Path::new(path).ancestors().skip(1);
    folders.find_map(|folder| files.root().join(folder).metadata().ok()).map(|about| about.dev())
}

/// The search for the files of one pattern.
struct Search<'a> {
    files: &'a Files,
    /// What the engine keeps for itself.
    held: &'a Held,
    pattern: &'a Pattern,
    /// All of the trigger's.
    patterns: &'a [Pattern],
}

impl Search<'_> {
    fn run(&self, found: &mut Found) {
        let text = self.pattern.to_string();
        if self.files.spellings(&text).iter().any(|path| self.files.root().join(path).is_dir()) {
            found.refused.push(format!("`{text}` is a folder; write `{text}/*` to watch the files in it"));
        }
        for folder in self.files.spellings(self.pattern.base()) {
            self.look_into(&folder, found);
            found.bases.push(folder);
        }
    }

    fn look_into(&self, folder: &str, found: &mut Found) {
        let (files, pattern) = (self.files, self.pattern);
        let base = files.root().join(folder);
        let real = match files.real(if folder.is_empty() { "." } else { folder }) {
            Ok(real) => real,
            Err(why) => {
                // A folder that is not there, perhaps a drive that is not mounted, tells nothing.
                found.blind.push(folder.into());
                if base.exists() {
                    found.refused.push(why);
                }
                return;
            }
        };
        let walk = WalkDir::new(&base).follow_links(true).max_depth(pattern.depth().unwrap_or(DEEPEST));
        let mut refused = Vec::new();
        let mut walk = walk.into_iter();
        // How deep the folder lies that a link led to, while what is below it is walked.
        let mut linked: Option<usize> = None;
        while let Some(entry) = walk.next() {
            let depth = entry.as_ref().map_or_else(walkdir::Error::depth, DirEntry::depth);
            linked = linked.filter(|above| depth > *above);
            match entry {
                Ok(entry) if !self.allows(&entry, &real, &mut refused) => {
                    if entry.file_type().is_dir() {
                        walk.skip_current_dir();
                    }
                }
                Ok(entry) if entry.file_type().is_dir() => {
                    linked = linked.or_else(|| (depth > 0 && entry.path_is_symlink()).then_some(depth));
                }
                Ok(entry) if linked.is_some() && self.comes_by_its_own_path(&entry) => {
                    // It may have been seen by this one, by an engine before this one.
                    found.blind.push(relative(files, entry.path()));
                }
                Ok(entry) => self.take(&entry, found),
                Err(error) if error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound) => {}
                Err(error) => {
                    let path = error.path().map_or_else(|| folder.to_owned(), |path| relative(files, path));
                    found.refused.push(format!("`{path}` cannot be looked into: {error}"));
                    found.blind.push(path);
                }
            }
        }
        found.refused.append(&mut refused);
    }

    /// Whether a file may be seen and a folder may be looked into; `real` is where the search began.
    fn allows(&self, entry: &DirEntry, real: &Path, refused: &mut Vec<String>) -> bool {
        if entry.depth() == 0 {
            return true;
        }
        if entry.file_name().to_string_lossy().starts_with('.') {
            return false;
        }
        // What the engine keeps changes all the time, and nobody may read it.
        if entry.file_type().is_dir() && entry.metadata().is_ok_and(|about| self.held.has(&about)) {
            return false;
        }
        if !entry.path_is_symlink() {
            return true;
        }
        match self.files.real(&relative(self.files, entry.path())) {
            // It would show the same files once more.
            Ok(there) if entry.file_type().is_dir() && real.starts_with(&there) => false,
            Ok(_) => true,
            Err(why) => {
                refused.push(why);
                false
            }
        }
    }

    /// Whether a file that a linked folder shows is meant where it really lies, too: there it is one file, and here
    /// it would be another.
    fn comes_by_its_own_path(&self, entry: &DirEntry) -> bool {
        let real = self.files.real(&relative(self.files, entry.path()));
        real.is_ok_and(|real| real.to_str().is_some_and(|real| self.patterns.iter().any(|meant| meant.means(real))))
    }

    /// Takes a file that the pattern means.
    fn take(&self, entry: &DirEntry, found: &mut Found) {
        if !entry.file_type().is_file() {
            return;
        }
        let path = relative(self.files, entry.path());
        if entry.path().to_str().is_none() {
            found.refused.push(format!("`{path}` is left out: its name is not UTF-8"));
        } else if self.pattern.means(&path)
            && path != "postrider.yaml"
            && let Ok(about) = entry.metadata()
            && !self.held.has(&about)
        {
            found.files.insert(path, look(&about));
        }
    }
}

fn relative(files: &Files, path: &Path) -> String {
    path.strip_prefix(files.root()).unwrap_or(path).to_string_lossy().into_owned()
}

/// What a file looks like.
pub fn look(about: &std::fs::Metadata) -> Look {
    let nanos = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    Look {
        size: about.size(),
        modified: nanos(about.mtime(), about.mtime_nsec()),
        changed: nanos(about.ctime(), about.ctime_nsec()),
        device: about.dev(),
        inode: about.ino(),
    }
}
