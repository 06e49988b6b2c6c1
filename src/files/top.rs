//! The folders that flows and scripts are read from. Their links lead on within them and nowhere else.

use std::fs::File;
use std::path::Path;

use super::own::Own;
use super::walk::{Base, Last, Refused, Spot, parts, settled};

/// `flows/` or `scripts/`.
pub struct Top(Base);

impl Top {
    /// Opens a folder of the workspace at `root`; none when it is not there. What is in `own` is not for
    /// flows and scripts, whatever links lead to it.
    ///
    /// # Errors
    /// A sentence that says why it is not looked into.
    pub fn open(root: &Path, folder: &str, own: &Own) -> Result<Option<Self>, String> {
        match Base::workspace(root, own).and_then(|base| base.narrowed(folder)) {
            Ok(base) => Ok(Some(Self(base))),
            Err(Refused::Missing) => Ok(None),
            Err(why) => Err(format!("the folder is left out: {why}")),
        }
    }

    /// Whether what a link leads to may be looked at; `path` is relative to the folder.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn may_follow(&self, path: &Path) -> Result<(), String> {
        let followed = settled(|| {
            let spot = self.walk(path)?;
            match spot.leaf {
                Some(_) => self.0.open(&spot).map(|_| ()),
                None => Ok(()),
            }
        });
        followed.map_err(|why| format!("the link is not followed: {why}"))
    }

    /// Opens a file below it; `path` is relative to the folder.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read.
    pub fn file(&self, path: &Path) -> Result<File, String> {
        let opened = settled(|| self.0.open(&self.walk(path)?).map(|(file, _)| file));
        opened.map_err(|why| format!("the file cannot be read: {why}"))
    }

    fn walk(&self, path: &Path) -> Result<Spot, Refused> {
        let spot = self.0.walk(parts(path)?, Last::Followed)?;
        match spot.regular() {
            Some((name, about)) if self.0.held().has_file(spot.folder().id, name, Some(about)) => Err(Refused::Own),
            _ => Ok(spot),
        }
    }
}
