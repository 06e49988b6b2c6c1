//! The workspace's files as scripts may see them: everything below the folder but what is hidden,
//! secret or outside.

mod own;
mod shift;
mod top;
mod walk;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::process::geteuid;

use own::id_of;
use shift::{Arrived, Place, identity};
use walk::{Base, Last, Leaf, Refused, Spot, is_regular, parts, settled};

pub use own::{Held, Own};
pub use top::Top;

/// Most bytes of a file that a script reads as text.
const LARGEST_TEXT: u64 = 8 << 20;
/// Most entries of a folder that is listed, whatever they are.
const MOST_LISTED: usize = 10_000;
/// Longer paths are not said back whole.
const LONGEST_SAID: usize = 300;
/// Where flows and scripts are; scripts do not write there.
const PEOPLES: [&str; 2] = ["flows", "scripts"];

/// A folder whose files may be read.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
    own: Own,
}

impl Files {
    /// Files below `root`, but for what is the engine's own.
    pub fn new(root: PathBuf, own: Own) -> Self {
        Self { root, own }
    }

    /// The workspace itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The engine's own things as they are now.
    pub fn held(&self) -> Held {
        self.own.now()
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// A sentence that names the path and says why it cannot be read.
    pub fn open(&self, path: &str) -> Result<File, String> {
        let opened = settled(|| {
            let base = self.base()?;
            let spot = find(&base, path)?;
            let (name, _) = spot.regular().ok_or(Refused::NoFile)?;
            let (file, about) = base.open(&spot)?;
            // It may be another one than was looked at.
            may_have(&base, &spot, name, Some(&about))?;
            not_shared(&about)?;
            Ok(file)
        });
        opened.map_err(|why| cannot(path, "read", &why))
    }

    /// The text of a file.
    ///
    /// # Errors
    /// As [`Self::open`]; also for one that is larger than 8 MiB, or no UTF-8. Tables may be in Windows-1252.
    pub fn text(&self, path: &str) -> Result<String, String> {
        let file = self.open(path)?;
        let mut bytes = Vec::new();
        file.take(LARGEST_TEXT + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("`{path}` cannot be read: {error}"))?;
        if bytes.len() as u64 > LARGEST_TEXT {
            return Err(format!("`{path}` is larger than {} MiB", LARGEST_TEXT >> 20));
        }
        read_text(path, bytes)
    }

    /// The text of a file; none where nothing is.
    ///
    /// # Errors
    /// What stands in its way: as of [`Self::text`], or it leads out of the workspace.
    pub fn text_if_there(&self, path: &str) -> Result<Option<String>, String> {
        let is_missing = |path: &String| {
            let about = std::fs::symlink_metadata(self.root().join(path));
            about.is_err_and(|error| error.kind() == ErrorKind::NotFound)
        };
        match self.spellings(path).iter().all(is_missing) {
            true => Ok(None),
            false => self.text(path).map(Some),
        }
    }

    /// The path as it is written, or as its names may be written on the disk, whichever is there. Where nothing is, it
    /// is the path itself.
    pub fn spellings(&self, path: &str) -> Vec<String> {
        let mut ways = vec![String::new()];
        for (place, part) in path.split('/').enumerate() {
            let below = |way: &str, name: &str| if place == 0 { name.to_owned() } else { format!("{way}/{name}") };
            let others = alike(part);
            ways = ways
                .iter()
                .flat_map(|way| {
                    let others = others.iter().map(|other| below(way, other));
                    let mut there: Vec<String> = std::iter::once(below(way, part)).chain(others).collect();
                    if there.len() > 1 && there.iter().any(|way| self.is_taken(way)) {
                        there.retain(|way| self.is_taken(way));
                    } else {
                        there.truncate(1);
                    }
                    there
                })
                .collect();
        }
        ways
    }

    /// Whether something has this name already, whoever may read it.
    pub fn is_taken(&self, path: &str) -> bool {
        self.root().join(path).exists()
    }

    /// Whether there is such a file or folder, and it may be read.
    pub fn exists(&self, path: &str) -> bool {
        let found = settled(|| find(&self.base()?, path));
        found.is_ok_and(|spot| spot.is_folder() || spot.regular().is_some_and(|(_, about)| not_shared(about).is_ok()))
    }

    /// Where a file or folder really is, relative to the workspace, if it may be read.
    ///
    /// # Errors
    /// A sentence that names the path and says why not.
    pub fn real(&self, path: &str) -> Result<PathBuf, String> {
        let found = settled(|| find(&self.base()?, path));
        found.map(|spot| spot.real()).map_err(|why| cannot(path, "read", &why))
    }

    /// The files in a folder, as paths, sorted; without hidden ones and folders.
    ///
    /// # Errors
    /// A sentence that names the path and says why it cannot be looked into.
    pub fn list(&self, path: &str) -> Result<Vec<String>, String> {
        let folder = path.trim_end_matches('/');
        let folder = if folder.is_empty() && !path.starts_with('/') { "." } else { folder };
        settled(|| self.listed(folder)).map_err(|why| cannot(path, "looked into", &why))
    }

    fn listed(&self, folder: &str) -> Result<Vec<String>, Refused> {
        let base = self.base()?;
        let spot = find(&base, folder)?;
        if !spot.is_folder() {
            return Err(Refused::NoFolder);
        }
        let mut files = Vec::new();
        let mut entries = 0;
        for entry in Dir::new(spot.folder().readable()?)? {
            let entry = entry?;
            entries += 1;
            // The folder itself and the one above it are among them.
            if entries > MOST_LISTED + 2 {
                return Err(Refused::Crowded(MOST_LISTED));
            }
            // Scripts could not name it.
            let Ok(name) = entry.file_name().to_str() else { continue };
            let below = if folder == "." { name.to_owned() } else { format!("{folder}/{name}") };
            if !name.starts_with('.') && self.is_file(&base, &spot, name, &below) {
                files.push(below);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Whether a name in a folder is that of a file which may be read.
    fn is_file(&self, base: &Base, spot: &Spot, name: &str, path: &str) -> bool {
        let Ok(about) = statat(&spot.folder().handle, name, AtFlags::SYMLINK_NOFOLLOW) else { return false };
        match FileType::from_raw_mode(about.st_mode) {
            FileType::RegularFile => {
                may_have(base, spot, name.as_ref(), Some(&about)).is_ok() && not_shared(&about).is_ok()
            }
            FileType::Symlink => {
                let found = find(base, path);
                found.is_ok_and(|spot| spot.regular().is_some_and(|(_, about)| not_shared(about).is_ok()))
            }
            _ => false,
        }
    }

    /// Whether a script may write a file there: anywhere below the workspace but where flows and scripts
    /// are. Its folder is made if it is not there.
    ///
    /// # Errors
    /// A sentence that names the path and says why not.
    pub fn may_write(&self, path: &str) -> Result<(), String> {
        self.target(path).map(drop)
    }

    /// Writes a file whole, or not at all; one that is there is replaced.
    ///
    /// # Errors
    /// A sentence.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), String> {
        self.target(path)?.write(bytes).map_err(|error| cannot(path, "written", &error))
    }

    /// Which file is there: the number that the system knows it by, its size and its time of change.
    ///
    /// # Errors
    /// A sentence that names the path and says why it cannot be moved.
    pub fn seen(&self, path: &str) -> Result<[i64; 3], String> {
        let source = self.source(path)?;
        source.about.as_ref().map(identity).ok_or_else(|| cannot(path, "moved", &Refused::Missing))
    }

    /// Gives a file another place. `before` is which file it was when it may have been moved before.
    ///
    /// # Errors
    /// A sentence; nothing that is there is replaced.
    pub fn shift(&self, from: &str, to: &str, before: Option<[i64; 3]>) -> Result<(), String> {
        let target = self.target(to)?;
        let arrived = before.map_or(Arrived::Not, |before| Arrived::of(&target, before));
        let source = match self.source(from) {
            Ok(source) => source,
            Err(_) if arrived != Arrived::Not => return Ok(()),
            Err(error) => return Err(error),
        };
        if source.is(&target) {
            return Err(format!("`{from}` cannot be moved to `{to}`: that is where it is"));
        }
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::AlreadyExists => format!("`{from}` cannot be moved: there is a file `{to}` already"),
            _ => format!("`{from}` cannot be moved to `{to}`: {error}"),
        };
        let done = match before.filter(|_| arrived != Arrived::Not) {
            // It had its new name already when the engine died, and the old one was to go.
            Some(before) if source.about.as_ref().is_some_and(|left| identity(left) == before) => {
                match arrived == Arrived::Itself || target.is_copy_of(&source).map_err(failed)? {
                    true => source.remove(),
                    false => source.shift_to(&target),
                }
            }
            // It was gone, and another file has come since.
            Some(_) => Ok(()),
            None => source.shift_to(&target),
        };
        done.map_err(failed)?;
        [target, source].iter().for_each(Place::sync);
        Ok(())
    }

    /// Where a file is to be written.
    fn target(&self, path: &str) -> Result<Place, String> {
        self.place(path, true).map_err(|why| cannot(path, "written", &why))
    }

    /// Where a file is that is to be moved away. What must not be written must not vanish either.
    fn source(&self, path: &str) -> Result<Place, String> {
        let place = self.place(path, false).and_then(|place| match &place.about {
            Some(about) => not_shared(about).map(|()| place),
            None => Err(Refused::Missing),
        });
        place.map_err(|why| cannot(path, "moved", &why))
    }

    /// The place of a file; with `make`, its folder is made.
    fn place(&self, path: &str, make: bool) -> Result<Place, Refused> {
        let all = parts(Path::new(path))?;
        let Some(first) = all.first().filter(|_| !path.ends_with('/')) else { return Err(Refused::FileShape) };
        if PEOPLES.iter().any(|people| first == people) {
            return Err(Refused::People);
        }
        let base = self.base()?;
        let spot = settled(|| base.walk(all.clone(), Last::Kept { make }))?;
        // Their folders may have other names too.
        let peoples: Vec<_> = PEOPLES.iter().filter_map(|people| id_of(&self.root.join(people))).collect();
        let below = &spot.folders[1..];
        if below.first().is_some_and(|top| PEOPLES.iter().any(|people| top.name == *people))
            || below.iter().any(|folder| peoples.contains(&folder.id))
        {
            return Err(Refused::People);
        }
        free(&base, spot)
    }

    /// Writes a flow's file for a person, whole, or not at all.
    ///
    /// # Errors
    /// A sentence that names the path and says why not.
    pub fn write_flow(&self, path: &str, bytes: &[u8]) -> Result<(), String> {
        let place = || {
            let all = parts(Path::new(path))?;
            if all.first().is_none_or(|first| first != PEOPLES[0]) || path.ends_with('/') {
                return Err(Refused::FileShape);
            }
            let base = self.base()?;
            let spot = settled(|| base.walk(all.clone(), Last::Kept { make: true }))?;
            free(&base, spot)
        };
        let place = place().map_err(|why| cannot(path, "written", &why))?;
        place.write(bytes).map_err(|error| cannot(path, "written", &error))
    }

    fn base(&self) -> Result<Base, Refused> {
        Base::workspace(&self.root, &self.own)
    }
}

/// Goes to what is at a path, if it is for scripts.
fn find(base: &Base, path: &str) -> Result<Spot, Refused> {
    if path.is_empty() {
        return Err(Refused::Shape);
    }
    let spot = base.walk(parts(Path::new(path))?, Last::Followed)?;
    if let Some(Leaf { name, about }) = &spot.leaf {
        may_have(base, &spot, name, about.as_ref())?;
    }
    Ok(spot)
}

/// Whether what has this name at the end of a way is for scripts.
fn may_have(base: &Base, spot: &Spot, name: &OsStr, about: Option<&Stat>) -> Result<(), Refused> {
    // Copies of the settings beside them have the same secrets.
    let settings = |name: &[u8]| ["postrider.yaml", "postrider.yml"].iter().any(|own| begins_with(name, own));
    if spot.is_at_top() && settings(name.as_encoded_bytes()) {
        return Err(Refused::Hidden);
    }
    match base.held().has_file(spot.folder().id, name, about) {
        true => Err(Refused::Own),
        false => Ok(()),
    }
}

/// A text with its letters put together: a Mac writes `ü` as `u` and two dots.
pub fn composed(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// The other ways in which systems write a name: its letters put together, and taken apart.
fn alike(name: &str) -> Vec<String> {
    if name.is_ascii() {
        return Vec::new();
    }
    let others = [composed(name), DecomposingNormalizerBorrowed::new_nfd().normalize(name)];
    others.into_iter().filter(|other| other != name).map(Cow::into_owned).collect()
}

fn begins_with(name: &[u8], with: &str) -> bool {
    name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
}

/// Who cannot read a file may still be able to give it another name where we read.
fn not_shared(about: &Stat) -> Result<(), Refused> {
    match about.st_nlink > 1 && about.st_uid != geteuid().as_raw() {
        true => Err(Refused::Shared),
        false => Ok(()),
    }
}

fn cannot(path: &str, what: &str, why: &dyn std::fmt::Display) -> String {
    match path.char_indices().nth(LONGEST_SAID) {
        Some((end, _)) => format!("`{}...` cannot be {what}: {why}", &path[..end]),
        None => format!("`{path}` cannot be {what}: {why}"),
    }
}

/// Opens a file for reading; anything else, such as a pipe that would keep us waiting for ever, is
/// an error.
///
/// # Errors
/// As the file system fails.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// The place of a file, where one may be.
fn free(base: &Base, mut spot: Spot) -> Result<Place, Refused> {
    let Some(Leaf { name, about }) = spot.leaf.take() else { return Err(Refused::NoFile) };
    may_have(base, &spot, &name, about.as_ref())?;
    match (&about, spot.folders.pop()) {
        (Some(there), _) if !is_regular(there) => Err(Refused::NoFile),
        (_, Some(folder)) => Ok(Place { folder, name, about }),
        (_, None) => Err(Refused::Missing),
    }
}

/// The text of a file: UTF-8, or UTF-16 that says so by its first bytes. A table that is neither is what Excel writes
/// as plain "CSV".
fn read_text(path: &str, bytes: Vec<u8>) -> Result<String, String> {
    if let Some((encoding, length)) = Encoding::for_bom(&bytes)
        && encoding != UTF_8
    {
        let text = encoding.decode_without_bom_handling_and_without_replacement(&bytes[length..]);
        return text
            .map(Cow::into_owned)
            .ok_or_else(|| format!("`{path}` is not the {} text that it says", encoding.name()));
    }
    let is_table = || {
        Path::new(path)
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("csv") || end.eq_ignore_ascii_case("tsv"))
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if is_table() => Ok(WINDOWS_1252.decode_without_bom_handling(error.as_bytes()).0.into_owned()),
        Err(_) => Err(format!("`{path}` is not UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        // As Kubernetes mounts a configuration.
        fs::create_dir(root.join("..one")).unwrap();
        for name in ["list.csv", "postrider.yaml", ".env"] {
            fs::write(root.join("..one").join(name), "x").unwrap();
            std::os::unix::fs::symlink(format!("..data/{name}"), root.join(format!("mounted-{name}"))).unwrap();
        }
        std::os::unix::fs::symlink("..one", root.join("..data")).unwrap();
        let files = Files::new(root.to_owned(), Own::new(Vec::new(), Vec::new()));
        for good in ["files/a.txt", "./files/a.txt", "files/in", "mounted-list.csv"] {
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
            ("mounted-postrider.yaml", "postrider.yaml"),
            ("mounted-.env", "hidden file"),
            ("..data/list.csv", "hidden"),
            ("files", "regular"),
            ("files/none", "no such file"),
        ] {
            assert!(files.open(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
