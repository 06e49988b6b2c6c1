//! What lies in the workspace and is the engine's alone. A path tells little: what counts is what is
//! really there, by device and inode, and in which folder.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::Stat;
use walkdir::{DirEntry, WalkDir};

/// Device and inode: what a file or folder is, whatever its names.
pub type Id = (u64, u64);

/// Where the engine's own folders and files are. Some may not be there, or be links.
#[derive(Clone, Debug)]
pub struct Own {
    folders: Arc<[PathBuf]>,
    files: Arc<[PathBuf]>,
}

impl Own {
    /// These folders with all that is in them, and these files.
    pub fn new(folders: Vec<PathBuf>, files: Vec<PathBuf>) -> Self {
        Self { folders: folders.into(), files: files.into() }
    }

    /// What they are at this moment: files are replaced by others when they are saved.
    pub fn now(&self) -> Held {
        let place = |file: &PathBuf| Some((id_of(file.parent()?)?, file.file_name()?.to_owned()));
        Held {
            own: self.clone(),
            folders: self.folders.iter().filter_map(|folder| id_of(folder)).collect(),
            files: self.files.iter().filter_map(|file| id_of(file)).collect(),
            places: self.files.iter().filter_map(place).collect(),
            inside: OnceLock::new(),
        }
    }
}

/// The engine's own things as they were at a moment.
pub struct Held {
    own: Own,
    folders: Vec<Id>,
    files: Vec<Id>,
    /// Where its files are, or will be: the folder and the name.
    places: Vec<(Id, OsString)>,
    /// Files in its folders, once somebody asked for one with several names.
    inside: OnceLock<HashSet<Id>>,
}

impl Held {
    /// Whether a folder is the engine's.
    pub fn has_folder(&self, folder: Id) -> bool {
        self.folders.contains(&folder)
    }

    /// Whether what has this name in this folder is the engine's; `about` is what is there.
    pub fn has_file(&self, folder: Id, name: &OsStr, about: Option<&Stat>) -> bool {
        // Some systems do not tell large letters from small ones.
        let is_place = |(known, file): &(Id, OsString)| *known == folder && file.eq_ignore_ascii_case(name);
        self.places.iter().any(is_place)
            || about.is_some_and(|about| {
                let id = (about.st_dev, about.st_ino);
                self.files.contains(&id) || (about.st_nlink > 1 && self.is_linked(id))
            })
    }

    /// Whether a file or folder is one of them itself.
    pub fn has(&self, about: &std::fs::Metadata) -> bool {
        let id = (about.dev(), about.ino());
        self.folders.contains(&id) || self.files.contains(&id)
    }

    /// Whether a file has another name in one of the engine's folders. They may hold many copies, but few
    /// files have two names.
    fn is_linked(&self, id: Id) -> bool {
        let below = |folder: &PathBuf| WalkDir::new(folder).into_iter().flatten();
        let id_of = |entry: DirEntry| entry.metadata().ok().map(|about| (about.dev(), about.ino()));
        let inside = || self.own.folders.iter().flat_map(below).filter_map(id_of).collect();
        self.inside.get_or_init(inside).contains(&id)
    }
}

/// What is at a path, behind links too.
pub fn id_of(path: &Path) -> Option<Id> {
    path.metadata().ok().map(|about| (about.dev(), about.ino()))
}
