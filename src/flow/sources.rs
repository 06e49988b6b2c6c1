//! The files that flows are made of, as they were last read. Whatever tells of changes is a hint:
//! what counts is what a look at the folders finds.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use walkdir::{DirEntry, WalkDir};

use super::near::near_names;
use crate::clock::file_time;
use crate::cores::shared_out;
use crate::few::compact;
use crate::files::{Own, Top, open_regular};
use crate::model::diagnostic::Diagnostic;
use crate::store::records::FolderId;

/// Larger files are no flows and no scripts.
const LARGEST: u64 = 4 << 20;
/// Folders deeper than this are not looked into.
const DEEPEST: usize = 100;
/// File systems tell times apart that lie so far apart, nanoseconds. A file that was changed later
/// than this before it was read may be changed once more without looking different.
const TICK: i64 = 20_000_000;

/// So many files, read in some 30 ms, are worth a thread of their own.
const WORTHWHILE: usize = 2_000;

/// Where flows are.
const FLOWS: &str = "flows";
/// Files outside the folders that count as well.
const SINGLE: [&str; 2] = ["postrider.yaml", ".env"];

/// Bits of a file's mode: anybody may read it, ...
const EVERYBODY_READS: u32 = 0o004;
/// ... or write to it.
const ANYBODY: u32 = 0o002;

/// The files below a workspace.
pub struct Sources {
    root: PathBuf,
    own: Own,
    files: BTreeMap<Arc<str>, Source>,
    /// The folder that flows were last found in.
    home: Option<FolderId>,
    /// Flows were live before, and nobody has looked since.
    expected: bool,
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

impl Signature {
    fn of(about: &Metadata) -> Self {
        Self {
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
            inode: (about.dev(), about.ino()),
        }
    }

    /// Whether the file was changed just now.
    fn is_fresh(&self) -> bool {
        let (seconds, nanos) = self.changed;
        let age = file_time().saturating_sub(seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
        // A time far ahead is another machine's: nothing to wait for.
        (-TICK..TICK).contains(&age)
    }
}

/// A file that looks different from what is known of it.
struct Found {
    path: String,
    signature: Signature,
    /// The same path from the folder that is looked through.
    below: PathBuf,
    /// Why it is not read, if a link leads to it that is not followed.
    link: Result<(), String>,
}

/// What a file holds, and whether that may have been changed while it was read.
struct Content {
    text: Result<Arc<str>, String>,
    fresh: bool,
}

impl Content {
    fn read(signature: &Signature, open: impl FnOnce() -> Result<File, String>) -> Self {
        // Asked first: what is changed from here on looks different the next time.
        let fresh = signature.is_fresh();
        Self { text: open().and_then(|file| text(file, signature.size)), fresh }
    }
}

/// What a look found.
#[derive(Default)]
pub struct Scan {
    /// Paths of files that are new, have another text, or are gone.
    pub changed: BTreeSet<String>,
    /// Files and folders that could not be read; what is known of them stays. Also what else is to be told.
    pub problems: Vec<Diagnostic>,
    /// Something was changed just now: look again in a moment.
    pub fresh: bool,
}

/// A look that is under way.
#[derive(Default)]
struct Looking {
    scan: Scan,
    /// Files that are there.
    seen: BTreeSet<String>,
    /// Folders that were left out: what is known below them stays.
    kept: Vec<String>,
    /// What everybody may write.
    open: Vec<String>,
}

impl Looking {
    fn leave_out(&mut self, folder: &str, why: String) {
        self.scan.problems.push(Diagnostic::error(folder, 0, 0, why));
        self.kept.push(folder.into());
    }

    /// Who may write flows or secrets may do everything that this program can.
    fn warn_of(&mut self, path: &str, about: &Metadata) {
        if about.mode() & ANYBODY != 0 {
            self.open.push(path.to_owned());
        }
        self.scan.problems.extend((path == ".env").then(|| readable(about)).flatten());
    }
}

impl Sources {
    /// Nothing read yet; `expected` says whether flows were live before, and `home` in which folder.
    pub fn new(root: &Path, expected: bool, home: Option<FolderId>) -> Self {
        let settings = SINGLE.map(|path| root.join(path)).into();
        let own = Own::new(vec![root.join(".postrider")], settings);
        Self { root: root.into(), own, files: BTreeMap::new(), home, expected }
    }

    /// The folder that flows were last found in.
    pub fn home(&self) -> Option<FolderId> {
        self.home
    }

    /// Forgets what the files looked like, so that all are read again.
    pub fn doubt(&mut self) {
        self.files.values_mut().for_each(|source| source.signature = None);
    }

    /// Looks at all files and reads those that look different.
    pub fn look(&mut self) -> Scan {
        let mut look = Looking::default();
        for (folder, ending) in [(FLOWS, ".yaml"), ("scripts", ".rhai")] {
            match Top::open(&self.root, folder, &self.own) {
                Ok(Some(top)) => {
                    self.walk(&top, folder, ending, &mut look);
                    if folder == FLOWS {
                        self.mind_home(&mut look);
                    }
                }
                // A share or a drive that is away for a while takes its flows with it, and brings them back.
                Ok(None) if folder == FLOWS && self.has_flows() => {
                    look.leave_out(FLOWS, "the folder is away; its flows stay as they were until it is back".into());
                }
                Ok(None) => {}
                Err(why) if folder == FLOWS && self.has_flows() => {
                    look.leave_out(FLOWS, format!("{why}; those that were live stay as they were"));
                }
                Err(why) => look.leave_out(folder, why),
            }
        }
        for path in SINGLE {
            let file = self.root.join(path);
            if let Ok(about) = std::fs::metadata(&file) {
                look.warn_of(path, &about);
                // What is no file, such as a pipe, is said by whoever reads the settings.
                let open = || open_regular(&file).map_err(|error| format!("the file cannot be read: {error}"));
                let signature = Signature::of(&about);
                if !self.is_known(path, &signature) {
                    let content = Content::read(&signature, open);
                    self.take(path, signature, content, &mut look);
                }
                look.seen.insert(path.into());
            }
        }
        let Looking { mut scan, seen, kept, open } = look;
        scan.problems.extend(near_names(&self.root));
        scan.problems.extend(opened(&open));
        let below = |path: &str| kept.iter().any(|folder| Path::new(path).starts_with(folder));
        let gone: Vec<Arc<str>> =
            self.files.keys().filter(|path| !seen.contains(&***path) && !below(path)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            scan.changed.insert(path.to_string());
        }
        if scan.changed.len() > self.files.len() / 2 {
            compact(&mut self.files);
        }
        scan
    }

    /// Whether flows are known, or were live before.
    fn has_flows(&self) -> bool {
        self.expected || self.flows().next().is_some()
    }

    /// Remembers the folder that flows lie in. Another one in its place without any flow is what is left when a
    /// drive was unmounted, or was not mounted yet: what is known stays.
    fn mind_home(&mut self, look: &mut Looking) {
        let Ok(about) = self.root.join(FLOWS).metadata() else { return };
        let here = FolderId { device: about.dev(), inode: about.ino() };
        let empty = !look.seen.iter().any(|path| path.starts_with("flows/"));
        if empty && self.has_flows() && self.home.is_some_and(|home| home != here) {
            let why = "another folder lies here, and has no flows; those that were live stay until theirs is back";
            look.leave_out(FLOWS, why.into());
            return;
        }
        (self.home, self.expected) = (Some(here), false);
    }

    /// Looks at one of the folders.
    fn walk(&mut self, top: &Top, folder: &str, ending: &str, look: &mut Looking) {
        let base = self.root.join(folder);
        if let Ok(about) = base.metadata() {
            look.warn_of(folder, &about);
        }
        let mut found = Vec::new();
        let walk = WalkDir::new(&base).follow_links(true).max_depth(DEEPEST);
        let mut walk =
            walk.into_iter().filter_entry(|entry: &DirEntry| entry.depth() == 0 || !is_hidden(Some(entry.file_name())));
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.unseen(&error, look);
                    continue;
                }
            };
            let (Some(path), Ok(below)) = (self.relative(entry.path()), entry.path().strip_prefix(&base)) else {
                continue;
            };
            if entry.file_type().is_dir() {
                if entry.depth() > 0
                    && entry.path_is_symlink()
                    && let Err(why) = top.may_follow(below)
                {
                    look.leave_out(&path, why);
                    walk.skip_current_dir();
                } else if let Ok(about) = entry.metadata()
                    && entry.depth() > 0
                {
                    look.warn_of(&path, &about);
                }
                continue;
            }
            if !entry.file_type().is_file() {
                if path.ends_with(ending) {
                    look.leave_out(&path, "it is no regular file, and is left out".into());
                }
                continue;
            }
            if is_nearly(&path, ending) {
                let what = if folder == FLOWS { "flow" } else { "script" };
                let message = format!("the file is left out: a {what}'s name ends with {ending}");
                look.scan.problems.push(Diagnostic::warning(&path, 0, 0, message).with_hint("rename it"));
            }
            let wanted = path.ends_with(ending) && !path.ends_with(".test.yaml");
            if wanted && let Ok(about) = entry.metadata() {
                let link = if entry.path_is_symlink() { top.may_follow(below) } else { Ok(()) };
                if let Err(why) = &link {
                    look.scan.problems.push(Diagnostic::error(&path, 0, 0, why.clone()));
                }
                look.warn_of(&path, &about);
                look.seen.insert(path.clone());
                let new = Found { path, signature: Signature::of(&about), below: below.into(), link };
                found.extend((!self.is_known(&new.path, &new.signature)).then_some(new));
            }
        }
        self.read(top, found, look);
    }

    /// Tells of what a look could not see. What went while it was looked at is nothing to tell of.
    fn unseen(&self, error: &walkdir::Error, look: &mut Looking) {
        let Some((path, shown)) = error.path().and_then(|path| Some((path, self.relative(path)?))) else { return };
        let is_missing = error.io_error().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if !is_missing {
            look.leave_out(&shown, format!("the folder cannot be read: {error}"));
        } else if path.is_symlink() && !is_hidden(path.file_name()) {
            look.leave_out(&shown, "the link leads to nothing".into());
        }
    }

    fn relative(&self, path: &Path) -> Option<String> {
        path.strip_prefix(&self.root).ok().map(|path| path.to_string_lossy().into_owned())
    }

    /// Reads files that look different from what is known of them.
    fn read(&mut self, top: &Top, found: Vec<Found>, look: &mut Looking) {
        let contents = shared_out(&found, WORTHWHILE, |found| {
            Content::read(&found.signature, || found.link.clone().and_then(|()| top.file(&found.below)))
        });
        for (found, content) in found.into_iter().zip(contents) {
            self.take(&found.path, found.signature, content, look);
        }
    }

    fn is_known(&self, path: &str, signature: &Signature) -> bool {
        self.files.get(path).is_some_and(|known| known.signature.as_ref() == Some(signature))
    }

    fn take(&mut self, path: &str, signature: Signature, Content { text, fresh }: Content, look: &mut Looking) {
        look.scan.fresh |= fresh;
        if self.files.get(path).is_none_or(|known| known.text != text) {
            look.scan.changed.insert(path.into());
        }
        self.files.insert(path.into(), Source { signature: (!fresh).then_some(signature), text });
    }

    /// The flow files that are there.
    pub fn flows(&self) -> impl Iterator<Item = &Arc<str>> {
        self.files.keys().filter(|path| path.starts_with("flows/"))
    }

    /// The text of a file, or why it cannot be read; none when it is not there.
    pub fn text(&self, path: &str) -> Option<Result<Arc<str>, String>> {
        self.files.get(path).map(|source| source.text.clone())
    }
}

/// Whether a name ends nearly as those of flows, or of scripts.
fn is_nearly(path: &str, ending: &str) -> bool {
    let small = path.to_ascii_lowercase();
    let small = small.strip_suffix(".txt").unwrap_or(&small);
    !path.ends_with(ending) && (small.ends_with(ending) || (ending == ".yaml" && small.ends_with(".yml")))
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

fn is_hidden(name: Option<&OsStr>) -> bool {
    name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The text of a file that looked so large.
fn text(file: File, size: u64) -> Result<Arc<str>, String> {
    // With a byte more than it looked like, it and its end are found at once.
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(LARGEST)).unwrap_or(0) + 1);
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("the file cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("the file is larger than {} MiB", LARGEST >> 20));
    }
    match String::from_utf8(bytes) {
        // A mark of the byte order says nothing in UTF-8.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).into()),
        Err(error) => {
            let line =
                error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Err(format!("the file is not UTF-8 (line {}); save it as UTF-8", line + 1))
        }
    }
}
