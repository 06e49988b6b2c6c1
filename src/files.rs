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

    /// Where a file may be put that a script wants to have there: anywhere below the workspace but where
    /// flows and scripts are. Its folder is made if it is not there.
    ///
    /// # Errors
    /// A sentence that names the path and says why not.
    pub fn place(&self, path: &str) -> Result<PathBuf, String> {
        let refused = |why: &str| Err(format!("`{path}` cannot be written: {why}"));
        let parts: Vec<_> = Path::new(path).components().filter(|part| *part != Component::CurDir).collect();
        if parts.is_empty() || !parts.iter().all(|part| matches!(part, Component::Normal(_))) || path.ends_with('/') {
            return refused("it is the path of a file, relative to the workspace, that stays inside it");
        }
        if hidden(Path::new(path)) {
            return refused("hidden files, .postrider/ and postrider.yaml are not for scripts");
        }
        if matches!(parts[0].as_os_str().to_str(), Some("flows" | "scripts")) {
            return refused("flows and scripts are written by people");
        }
        let plain: PathBuf = parts.iter().collect();
        let (Some(folder), Some(name)) = (plain.parent(), plain.file_name()) else {
            return refused("it has no name");
        };
        let failed = |error: std::io::Error| format!("`{path}` cannot be written: {error}");
        let root = self.root.canonicalize().map_err(failed)?;
        // Only what is really below the workspace is made: no folder behind a link that leads out.
        let mut real = root.clone();
        for part in folder.components() {
            let next = real.join(part);
            if !next.exists() {
                fs::create_dir(&next).or_else(|error| match error.kind() {
                    std::io::ErrorKind::AlreadyExists => Ok(()),
                    _ => Err(failed(error)),
                })?;
            }
            real = next.canonicalize().map_err(failed)?;
            if !real.starts_with(&root) || real.strip_prefix(&root).is_ok_and(hidden) {
                return refused("a link leads out of the workspace");
            }
        }
        let top = real.strip_prefix(&root).ok().and_then(|inside| inside.components().next());
        if top.is_some_and(|top| matches!(top.as_os_str().to_str(), Some("flows" | "scripts"))) {
            return refused("flows and scripts are written by people");
        }
        let target = real.join(name);
        match target.symlink_metadata() {
            Ok(there) if !there.is_file() => refused("something that is no file is there"),
            _ => Ok(target),
        }
    }

    /// Which file is there: the number that the system knows it by, its size and its time of change.
    ///
    /// # Errors
    /// A sentence that names the path and says why it cannot be looked at.
    pub fn seen(&self, path: &str) -> Result<[i64; 3], String> {
        let real = self.resolve(path)?;
        let known = real.metadata().map_err(|error| format!("`{path}` cannot be read: {error}"))?;
        match known.is_file() {
            true => Ok(identity(&known)),
            false => Err(format!("`{path}` is no file")),
        }
    }

    /// Gives a file another place. `before` is which file it was when it may have been moved before.
    ///
    /// # Errors
    /// A sentence; nothing that is there is replaced.
    pub fn shift(&self, from: &str, to: &str, before: Option<[i64; 3]>) -> Result<(), String> {
        let target = self.place(to)?;
        let arrived = before.map_or(Arrived::Not, |before| Arrived::of(&target, before));
        let source = match self.resolve(from) {
            Ok(source) => source,
            Err(_) if arrived != Arrived::Not => return Ok(()),
            Err(error) => return Err(error),
        };
        // What must not be written must not vanish either.
        self.place(from)?;
        if source == target {
            return Err(format!("`{from}` cannot be moved to `{to}`: that is where it is"));
        }
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("`{from}` cannot be moved: there is a file `{to}` already"),
            _ => format!("`{from}` cannot be moved to `{to}`: {error}"),
        };
        let done = match before.filter(|_| arrived != Arrived::Not) {
            // It had its new name already when the engine died, and the old one was to go.
            Some(before) if source.metadata().is_ok_and(|left| identity(&left) == before) => {
                match arrived == Arrived::Itself || is_copy(&source, &target).map_err(failed)? {
                    true => fs::remove_file(&source),
                    false => shifted(&source, &target),
                }
            }
            // It was gone, and another file has come since.
            Some(_) => Ok(()),
            None => shifted(&source, &target),
        };
        done.map_err(failed)?;
        [target, source].iter().for_each(|file| sync_folder_of(file));
        Ok(())
    }

    /// Writes a file whole, or not at all; one that is there is replaced.
    ///
    /// # Errors
    /// A sentence.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), String> {
        let target = self.place(path)?;
        write_whole(&target, bytes, None).map_err(|error| format!("`{path}` cannot be written: {error}"))
    }

    /// The workspace itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

fn identity(file: &fs::Metadata) -> [i64; 3] {
    use std::os::unix::fs::MetadataExt;
    let size = i64::try_from(file.size()).unwrap_or(i64::MAX);
    [file.ino().cast_signed(), size, file.mtime().saturating_mul(1_000).saturating_add(file.mtime_nsec() / 1_000_000)]
}

/// Whether a file that was to be moved is where it was to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrived {
    /// Nothing is there, or another file.
    Not,
    /// It is there itself.
    Itself,
    /// A file is there that may be its copy on another disk, which has a number of its own.
    Copied,
}

impl Arrived {
    fn of(target: &Path, before: [i64; 3]) -> Self {
        match target.metadata().map(|there| identity(&there)) {
            Ok(there) if there == before => Self::Itself,
            Ok(there) if there[1..] == before[1..] => Self::Copied,
            _ => Self::Not,
        }
    }
}

/// Whether the target is what a move to another disk leaves behind before the source goes. Two files may
/// be of one size and one age; what is deleted stands there to the last byte.
fn is_copy(source: &Path, target: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (mut source, mut target) = (fs::File::open(source)?, fs::File::open(target)?);
    if source.metadata()?.dev() == target.metadata()?.dev() {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let read = source.read(&mut one)?;
        if read == 0 {
            return Ok(target.read(&mut other)? == 0);
        }
        match target.read_exact(&mut other[..read]) {
            Ok(()) if one[..read] == other[..read] => {}
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error),
            _ => return Ok(false),
        }
    }
}

/// Moves in one step, and never onto something that is there.
fn shifted(source: &Path, target: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, source, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(()),
        // Another disk, or one that knows no such step.
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    match fs::hard_link(source, target) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) => {}
        // A copy beside, its name, and the old one goes.
        Err(_) => {
            if target.symlink_metadata().is_ok() {
                return Err(std::io::ErrorKind::AlreadyExists.into());
            }
            let file = fs::File::open(source)?;
            let like = file.metadata()?;
            write_whole(target, file, Some(&like))?;
        }
    }
    fs::remove_file(source)
}

/// What a folder lists is on disk only when the folder is. Where that cannot be asked for, the system sees
/// to it by itself a little later.
fn sync_folder_of(file: &Path) {
    let _ = file.parent().map(|folder| fs::File::open(folder).and_then(|folder| folder.sync_all()));
}

/// Writes beside the target under a hidden name, which nobody watches, and then gives it its own.
fn write_whole(target: &Path, mut bytes: impl Read, like: Option<&fs::Metadata>) -> std::io::Result<()> {
    let beside = target.with_file_name(format!(".{}.part", uuid::Uuid::new_v4()));
    let written = (|| {
        let mut file = fs::File::create(&beside)?;
        std::io::copy(&mut bytes, &mut file)?;
        if let Some(like) = like {
            file.set_modified(like.modified()?)?;
        }
        file.sync_all()?;
        fs::rename(&beside, target)
    })();
    sync_folder_of(target);
    written.inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
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
