//! The files that flows are made of, as they were last read. Whatever tells of changes is a hint:
//! what counts is what a look at the folders finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::{DirEntry, WalkDir};

use crate::clock::file_time;
use crate::files::open_regular;
use crate::model::diagnostic::Diagnostic;

/// Larger files are no flows and no scripts.
const LARGEST: u64 = 4 << 20;
/// File systems tell times apart that lie so far apart, nanoseconds. A file that was changed later
/// than this before it was read may be changed once more without looking different.
const TICK: i64 = 20_000_000;

/// Bits of a file's mode.
const EVERYBODY_WRITES: u32 = 0o002;
const EVERYBODY_READS: u32 = 0o004;

/// Files outside the folders that count as well.
const SINGLE: [&str; 2] = ["postrider.yaml", ".env"];

/// The files below a workspace.
pub struct Sources {
    root: PathBuf,
    files: BTreeMap<String, Source>,
}

struct Source {
    /// None when the file has to be read again in any case.
    signature: Option<Signature>,
    text: Result<Arc<str>, String>,
}

#[derive(Clone, PartialEq, Eq)]
struct Signature {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: (u64, u64),
}

/// What a look found.
#[derive(Default)]
pub struct Scan {
    /// Paths of files that are new, have another text, or are gone.
    pub changed: BTreeSet<String>,
    /// Folders that could not be read. What is known below them stays.
    pub problems: Vec<Diagnostic>,
    /// Something was changed just now: look again in a moment.
    pub fresh: bool,
}

impl Sources {
    /// Nothing read yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), files: BTreeMap::new() }
    }

    /// Forgets what the files looked like, so that all are read again.
    pub fn doubt(&mut self) {
        self.files.values_mut().for_each(|source| source.signature = None);
    }

    /// Looks at all files and reads those that look different.
    pub fn look(&mut self) -> Scan {
        let mut scan = Scan::default();
        let mut seen = BTreeSet::new();
        let mut kept = Vec::new();
        // What everybody may write.
        let mut open = Vec::new();
        for (folder, ending) in [("flows", ".yaml"), ("scripts", ".rhai")] {
            let walk = WalkDir::new(self.root.join(folder)).follow_links(true).max_depth(256);
            for entry in walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !hidden(entry)) {
                match entry {
                    Ok(entry) if entry.file_type().is_file() => {
                        let Some(path) = self.relative(entry.path()) else { continue };
                        if path.ends_with(".yml") {
                            let message = "the file is left out: a flow's name ends with .yaml";
                            scan.problems.push(Diagnostic::warning(&path, 0, 0, message).with_hint("rename it"));
                        }
                        if path.ends_with(ending)
                            && !path.ends_with(".test.yaml")
                            && let Ok(about) = entry.metadata()
                        {
                            self.read(&path, &about, &mut scan);
                            open.extend(is_open(&about).then(|| path.clone()));
                            seen.insert(path);
                        }
                    }
                    Ok(entry) if entry.metadata().is_ok_and(|about| is_open(&about)) => {
                        open.extend(self.relative(entry.path()));
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let missing =
                            error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound);
                        if let Some(path) = error.path().and_then(|path| self.relative(path)).filter(|_| !missing) {
                            let message = format!("the folder cannot be read: {error}");
                            scan.problems.push(Diagnostic::error(&path, 0, 0, message));
                            kept.push(path);
                        }
                    }
                }
            }
        }
        for path in SINGLE {
            if let Ok(about) = std::fs::metadata(self.root.join(path)) {
                open.extend(is_open(&about).then(|| path.to_owned()));
                scan.problems.extend((path == ".env").then(|| readable(&about)).flatten());
                // What is no file, such as a pipe, is said by whoever reads the settings.
                self.read(path, &about, &mut scan);
                seen.insert(path.into());
            }
        }
        scan.problems.extend(opened(&open));
        let below = |path: &str| kept.iter().any(|folder| Path::new(path).starts_with(folder));
        let gone: Vec<String> =
            self.files.keys().filter(|path| !seen.contains(*path) && !below(path)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            scan.changed.insert(path);
        }
        scan
    }

    fn relative(&self, path: &Path) -> Option<String> {
        path.strip_prefix(&self.root).ok().map(|path| path.to_string_lossy().into_owned())
    }

    fn read(&mut self, path: &str, about: &Metadata, scan: &mut Scan) {
        let signature = Signature {
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
            inode: (about.dev(), about.ino()),
        };
        let known = self.files.get(path);
        if known.is_some_and(|known| known.signature.as_ref() == Some(&signature)) {
            return;
        }
        let (seconds, nanos) = signature.changed;
        let age = file_time().saturating_sub(seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
        // A time far ahead is another machine's: nothing to wait for.
        let fresh = (-TICK..TICK).contains(&age);
        scan.fresh |= fresh;
        let text = text(&self.root.join(path));
        if known.is_none_or(|known| known.text != text) {
            scan.changed.insert(path.into());
        }
        self.files.insert(path.into(), Source { signature: (!fresh).then_some(signature), text });
    }

    /// The flow files that are there.
    pub fn flows(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str).filter(|path| path.starts_with("flows/"))
    }

    /// The text of a file, or why it cannot be read; none when it is not there.
    pub fn text(&self, path: &str) -> Option<Result<Arc<str>, String>> {
        self.files.get(path).map(|source| source.text.clone())
    }
}

fn is_open(about: &Metadata) -> bool {
    about.mode() & EVERYBODY_WRITES != 0
}

/// A warning about secrets that everybody may read.
fn readable(about: &Metadata) -> Option<Diagnostic> {
    let finding = Diagnostic::warning(".env", 0, 0, "everybody on this computer may read the secrets here");
    (about.mode() & EVERYBODY_READS != 0).then(|| finding.with_hint("run `chmod 600 .env`"))
}

/// A warning about what everybody may write: they decide what is sent, and with which secrets.
fn opened(open: &[String]) -> Option<Diagnostic> {
    let first = open.first()?;
    let others = match open.len() {
        1 => String::new(),
        count => format!(", and {} more here", count - 1),
    };
    let message = format!("everybody on this computer may write this{others}, and so decide what Postrider does");
    Some(Diagnostic::warning(first, 0, 0, message).with_hint("run `chmod -R o-w flows scripts postrider.yaml .env`"))
}

fn hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

fn text(path: &Path) -> Result<Arc<str>, String> {
    let failed = |error: std::io::Error| format!("the file cannot be read: {error}");
    let mut bytes = Vec::new();
    open_regular(path).map_err(failed)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("the file is larger than {} MiB", LARGEST >> 20));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(error) => {
            let line =
                error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Err(format!("the file is not UTF-8 (line {}); save it as UTF-8", line + 1))
        }
    }
}
