//! Hints that something below a folder changed. They only shorten a wait: whoever listens looks
//! for itself, and looks now and then without being told.

use std::collections::HashMap;
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
    listeners: Arc<Mutex<Listeners>>,
}

/// Folders that are watched, with what they were then: device and inode. Never held while the
/// watcher is told something: it may be waiting to tell us.
type Watched = Arc<Mutex<HashMap<PathBuf, (u64, u64)>>>;

#[derive(Default)]
struct Listeners {
    next: u64,
    by_number: HashMap<u64, (PathBuf, Bell)>,
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
            let listeners = told.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Ok(event) if !event.need_rescan() => listeners.ring(&event),
                // Something was lost: everybody looks.
                _ => listeners.by_number.values().for_each(|(_, bell)| bell.nudge()),
            }
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "the system does not tell of changed files; they are looked at every few seconds"))
            .ok();
        let changes = Self { root: root.clone(), watcher: Arc::new(Mutex::new(watcher)), watched, listeners };
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
        listeners.by_number.insert(number, (base.clone(), bell.clone()));
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
        watched().insert(name, now);
        // Said once, and tried again when the folder is another one.
        if let Err(error) = watcher.watch(&folder, mode) {
            tracing::warn!(folder = %folder.display(), %error, "changes are not told of here; it is looked at every few seconds");
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
    fn ring(&self, event: &Event) {
        // Reading is no change; we read ourselves.
        if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
            return;
        }
        for (base, bell) in self.by_number.values() {
            if event.paths.iter().any(|path| path.starts_with(base) || base.starts_with(path)) {
                bell.nudge();
            }
        }
    }
}

impl Ear {
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
    }
}
