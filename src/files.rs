//! The workspace's files as scripts may see them: everything below the folder but what is hidden,
//! secret or outside.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

/// Most bytes of a file that a script reads as text.
const LARGEST_TEXT: u64 = 8 << 20;

/// A folder whose files may be read.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Files {
    /// Files below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// A sentence that names the path and says why it cannot be read.
    pub fn open(&self, path: &str) -> Result<fs::File, String> {
        let real = self.resolve(path)?;
        open_regular(&real).map_err(|error| format!("`{path}` cannot be read: {error}"))
    }

    /// The text of a file.
    ///
    /// # Errors
    /// As [`Self::open`]; also for one that is larger than 8 MiB, or no UTF-8.
    pub fn text(&self, path: &str) -> Result<String, String> {
        let file = self.open(path)?;
        let mut bytes = Vec::new();
        file.take(LARGEST_TEXT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("`{path}` cannot be read: {error}"))?;
        if bytes.len() as u64 > LARGEST_TEXT {
            return Err(format!("`{path}` is larger than {} MiB", LARGEST_TEXT >> 20));
        }
        String::from_utf8(bytes).map_err(|_| format!("`{path}` is not UTF-8 text"))
    }

    /// The files in a folder, as paths, sorted; without hidden ones and folders.
    ///
    /// # Errors
    /// A sentence that names the path and says why it cannot be looked into.
    pub fn list(&self, path: &str) -> Result<Vec<String>, String> {
        let folder = path.trim_end_matches('/');
        let failed = |error: std::io::Error| format!("`{path}` cannot be looked into: {error}");
        let real = if matches!(folder, "" | ".") { self.root.clone() } else { self.resolve(folder)? };
        if !real.is_dir() {
            return Err(format!("`{path}` is no folder"));
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(real).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            let below = if matches!(folder, "" | ".") { name } else { format!("{folder}/{name}") };
            if self.resolve(&below).is_ok_and(|real| real.is_file()) {
                files.push(below);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Where a file or folder really is, if it may be read.
    ///
    /// # Errors
    /// A sentence that names the path and says why not.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        let refused = |why: &str| Err(format!("`{path}` cannot be read: {why}"));
        let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain || path.is_empty() {
            return refused("paths are relative to the workspace and stay inside it");
        }
        if hidden(Path::new(path)) {
            return refused("hidden files, .postrider/ and postrider.yaml are not for scripts");
        }
        let (Ok(root), Ok(real)) = (self.root.canonicalize(), self.root.join(path).canonicalize()) else {
            return refused("there is no such file or folder");
        };
        let Ok(inside) = real.strip_prefix(&root) else {
            return refused("a link leads out of the workspace");
        };
        if hidden(inside) {
            return refused("a link leads to a hidden file");
        }
        Ok(real)
    }

    /// The workspace itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Opens a file for reading; anything else, such as a pipe that would keep us waiting for ever, is
/// an error.
///
/// # Errors
/// As the file system fails.
pub fn open_regular(path: &Path) -> std::io::Result<fs::File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::File::options().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

fn hidden(path: &Path) -> bool {
    let dotted = path.components().any(|part| match part {
        Component::Normal(name) => name.to_string_lossy().starts_with('.'),
        _ => false,
    });
    dotted || path.components().filter(|part| *part != Component::CurDir).eq(Path::new("postrider.yaml").components())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_open_below_the_folder_is_read() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::create_dir_all(root.join("files")).unwrap();
        for name in ["files/a.txt", "postrider.yaml", ".env"] {
            fs::write(root.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(outside.path().join("secret"), root.join("files/out")).unwrap();
        std::os::unix::fs::symlink("a.txt", root.join("files/in")).unwrap();
        std::os::unix::fs::symlink("../.env", root.join("files/env")).unwrap();
        let files = Files::new(root.to_owned());
        for good in ["files/a.txt", "./files/a.txt", "files/in"] {
            assert!(files.open(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("/etc/passwd", "stay inside"),
            ("../x", "stay inside"),
            ("files/../../x", "stay inside"),
            ("", "stay inside"),
            (".env", "hidden"),
            ("./.postrider/state.db", "hidden"),
            ("./postrider.yaml", "postrider.yaml"),
            ("files/out", "leads out"),
            ("files/env", "hidden file"),
            ("files", "regular"),
            ("files/none", "no such file"),
        ] {
            assert!(files.open(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
