//! While git works nothing is read: what it leaves behind is one set, what lies about meanwhile is not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// It is waited for no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lock that git holds while it changes files.
pub struct Lock {
    file: Option<PathBuf>,
    /// One that was left behind: waited for once, and then no more.
    ignored: Option<(u64, i64)>,
}

impl Lock {
    /// Of the repository that a workspace lies in, if it lies in one.
    pub fn of(root: &Path) -> Self {
        let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        let git = root.ancestors().map(|folder| folder.join(".git")).find(|git| git.exists());
        let folder = git.map(|git| {
            // In a worktree it is a file that says where the folder is.
            let text = fs::read_to_string(&git).ok();
            let named = text.as_deref().and_then(|text| text.trim().strip_prefix("gitdir: "));
            named.map_or_else(|| git.clone(), |named| git.parent().unwrap_or(&root).join(named))
        });
        Self { file: folder.map(|folder| folder.join("index.lock")), ignored: None }
    }

    /// Looks again for a repository where there was none.
    pub fn found(&mut self, root: &Path) {
        if self.file.is_none() {
            *self = Self::of(root);
        }
    }

    fn look(&self) -> Option<(u64, i64)> {
        let about = fs::symlink_metadata(self.file.as_ref()?).ok()?;
        Some((about.ino(), about.mtime()))
    }

    /// Whether git is changing files.
    pub fn is_held(&self) -> bool {
        self.look().is_some_and(|look| self.ignored != Some(look))
    }

    /// Waits until git has done what it does, but not for ever.
    pub async fn released(&mut self) {
        let begun = Instant::now();
        while self.is_held() {
            if begun.elapsed() > PATIENCE {
                self.ignored = self.look();
                let file = self.file.as_deref().unwrap_or(Path::new("")).display();
                tracing::warn!(
                    "git's {file} has been there for ten seconds; files are read all the same. If no git runs, remove it"
                );
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_that_of_the_repository_that_the_folder_lies_in() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in ["alone/.git", "above/.git", "above/in/it", "tree/flows", "alone/.git/worktrees/tree"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join("tree/.git"), "gitdir: ../alone/.git/worktrees/tree\n").unwrap();
        for (workspace, lock) in [
            ("alone", "alone/.git/index.lock"),
            ("above/in/it", "above/.git/index.lock"),
            ("tree", "alone/.git/worktrees/tree/index.lock"),
        ] {
            let watched = Lock::of(&root.join(workspace));
            assert!(!watched.is_held(), "{workspace}");
            fs::write(root.join(lock), "").unwrap();
            assert!(watched.is_held(), "{workspace}");
            fs::remove_file(root.join(lock)).unwrap();
        }
    }
}
