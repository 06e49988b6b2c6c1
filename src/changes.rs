//! Hints that something below a folder changed. They only shorten a wait: whoever listens looks
//! for itself, and looks now and then without being told.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::wake::Bell;

/// Tells of changes below one folder, for as long as it lives.
#[derive(Clone)]
pub struct Changes {
    root: PathBuf,
    /// None where the system has no such thing to give.
    watcher: Arc<Mutex<Option<RecommendedWatcher>>>,
    watched: Watched,
    /// Folders that could not be watched, which was said.
    failed: Arc<Mutex<HashSet<PathBuf>>>,
    listeners: Arc<Mutex<Listeners>>,
}

/// Folders that are watched, with what they were then: device and inode. Never held while the
/// watcher is told something: it may be waiting to tell us.
type Watched = Arc<Mutex<HashMap<PathBuf, (u64, u64)>>>;

#[derive(Default)]
struct Listeners {
    next: u64,
    by_number: HashMap<u64, Listener>,
}

struct Listener {
    base: PathBuf,
    bell: Bell,
    /// Files that somebody has changed and not closed yet.
    open: HashSet<PathBuf>,
}

/// A bell that rings when something at or below a path changes.
pub struct Ear {
    base: PathBuf,
    deep: bool,
    number: u64,
    changes: Changes,
}

impl Changes {
    /// Begins to watch `root` itself; what is below it is watched when somebody listens there.
    pub fn new(root: &Path) -> Self {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let listeners: Arc<Mutex<Listeners>> = Arc::default();
        let watched = Watched::default();
        let (told, lost) = (listeners.clone(), watched.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = &event {
                forget(&lost, event);
            }
            let mut listeners = told.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(event) if !event.need_rescan() => listeners.ring(&event),
                // Something was lost: everybody looks.
                _ => listeners.by_number.values().for_each(|listener| listener.bell.nudge()),
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "the system does not tell of changed files; they are looked at every few seconds"))
            .ok();
        let changes = Self {
            root: root.clone(),
            watcher: Arc::new(Mutex::new(watcher)),
            watched,
            failed: Arc::default(),
            listeners,
        };
        changes.hold(&root, false);
        changes
    }

    /// Rings `bell` when something at or below `base` (relative to the root) changes; `deep` says
    /// that folders in it count too.
    pub fn listen(&self, base: &str, deep: bool, bell: &Bell) -> Ear {
        let base = self.root.join(base);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.next += 1;
        let number = listeners.next;
        let listener = Listener { base: base.clone(), bell: bell.clone(), open: HashSet::new() };
        listeners.by_number.insert(number, listener);
        drop(listeners);
        let ear = Ear { base, deep, number, changes: self.clone() };
        ear.hold();
        ear
    }

    /// Watches a folder, or where there is none the nearest one above it.
    fn hold(&self, base: &Path, deep: bool) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(watcher) = &mut *watcher else { return };
        let watched = || self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let mut folder = base.to_owned();
        let about = loop {
            match fs::metadata(&folder) {
                Ok(about) if about.is_dir() => break about,
                _ if folder != self.root && folder.pop() && folder.starts_with(&self.root) => {}
                _ => return,
            }
        };
        let mode = if deep && folder == base { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
        let now = (about.dev(), about.ino());
        // What was only looked at from above is watched whole once somebody wants it.
        let name = if mode == RecursiveMode::Recursive { folder.join("**") } else { folder.clone() };
        if watched().get(&name) == Some(&now) {
            return;
        }
        watched().insert(name.clone(), now);
        if let Err(error) = watcher.watch(&folder, mode) {
            // It is tried again at the next look, and said once.
            watched().remove(&name);
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if failed.insert(name) {
                tracing::warn!(folder = %folder.display(), %error, "changes are not told of here; it is looked at every few seconds");
            }
        }
    }

    /// Nobody listens at a folder any more. Whoever listens below it asks for it again.
    fn let_go(&self, base: &Path) {
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost: Vec<PathBuf> = Vec::new();
        {
            let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            watched.retain(|name, _| {
                let below = name.starts_with(base);
                if below {
                    lost.push(if name.ends_with("**") { name.parent().unwrap_or(base).into() } else { name.clone() });
                }
                !below
            });
        }
        if let Some(watcher) = &mut *watcher {
            for folder in lost {
                // One that is gone is not watched anyhow.
                let _ = watcher.unwatch(&folder);
            }
        }
    }
}

/// A folder that went, or came, is not watched any more, even if it is the same one that comes back.
fn forget(watched: &Watched, event: &Event) {
    let named =
        matches!(event.kind, EventKind::Remove(_) | EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)));
    if named {
        let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|folder, _| !event.paths.iter().any(|path| folder.starts_with(path)));
    }
}

impl Listeners {
    fn ring(&mut self, event: &Event) {
        let closed = event.kind == EventKind::Access(AccessKind::Close(AccessMode::Write));
        // Reading is no change; we read ourselves.
        if matches!(event.kind, EventKind::Access(_)) && !closed {
            return;
        }
        let changed = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
        for listener in self.by_number.values_mut() {
            let mut heard = false;
            for path in &event.paths {
                if !listener.concerns(path) {
                    continue;
                }
                heard = true;
                if changed {
                    listener.open.insert(path.clone());
                } else {
                    // Closed, renamed, removed: whatever was being written is not any more.
                    listener.open.remove(path);
                }
            }
            if heard {
                listener.bell.nudge();
            }
        }
    }
}

impl Listener {
    /// Whether a path is at or below the base, or above it. Hidden files are nobody's concern but
    /// for the links that a mounted configuration is swapped by.
    fn concerns(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.base) else { return self.base.starts_with(path) };
        let hidden = |part: std::path::Component<'_>| {
            let name = part.as_os_str().to_string_lossy();
            name.starts_with('.') && !name.starts_with("..")
        };
        !below.components().any(hidden)
    }
}

impl Ear {
    /// Whether a file is being written: changed, and not closed yet.
    pub fn is_being_written(&self) -> bool {
        let listeners = self.changes.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.by_number.get(&self.number).is_some_and(|listener| !listener.open.is_empty())
    }

    /// Whether this file is being written: changed, and not closed yet.
    pub fn is_writing(&self, file: &Path) -> bool {
        let listeners = self.changes.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.by_number.get(&self.number).is_some_and(|listener| listener.open.contains(file))
    }

    /// Forgets what is being written: it has been waited for long enough.
    pub fn wait_no_longer(&self) {
        let mut listeners = self.changes.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listeners.by_number.get_mut(&self.number) {
            listener.open.clear();
        }
    }

    /// Makes sure that the folder is still being watched: it may have come, or come again.
    pub fn hold(&self) {
        if self.deep && self.base == self.changes.root {
            // Everything but what is hidden: our own state would ring all the time.
            let folders = fs::read_dir(&self.base).into_iter().flatten().flatten();
            for entry in folders.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')) {
                if entry.path().is_dir() {
                    self.changes.hold(&entry.path(), true);
                }
            }
        } else {
            self.changes.hold(&self.base, self.deep);
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let mut listeners = self.changes.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.by_number.remove(&self.number);
        let wanted = listeners.by_number.values().any(|other| other.base.starts_with(&self.base));
        drop(listeners);
        if !wanted && self.base != self.changes.root {
            self.changes.let_go(&self.base);
        }
    }
}
