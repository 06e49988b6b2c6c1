//! Writing, moving and removing, within folders that are open: whatever becomes of their names meanwhile,
//! nothing is written anywhere else.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, Stat, fstat, linkat, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::walk::{FILE, Step, is_regular};

/// A name in a folder that scripts may write to.
pub struct Place {
    pub folder: Step,
    pub name: OsString,
    /// The regular file that was there.
    pub about: Option<Stat>,
}

/// Which file it is: the number that the system knows it by, its size and its time of change.
pub fn identity(file: &Stat) -> [i64; 3] {
    let millis = i64::try_from(file.st_mtime_nsec).unwrap_or(0) / 1_000_000;
    [file.st_ino.cast_signed(), file.st_size, file.st_mtime.saturating_mul(1_000).saturating_add(millis)]
}

/// Whether a file that was to be moved is where it was to go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// Nothing is there, or another file.
    Not,
    /// It is there itself.
    Itself,
    /// A file is there that may be its copy on another disk, which has a number of its own.
    Copied,
}

impl Arrived {
    pub fn of(target: &Place, before: [i64; 3]) -> Self {
        match target.about.as_ref().map(identity) {
            Some(there) if there == before => Self::Itself,
            Some(there) if there[1..] == before[1..] => Self::Copied,
            _ => Self::Not,
        }
    }
}

impl Place {
    /// Whether both are the same name in the same folder.
    pub fn is(&self, other: &Self) -> bool {
        self.folder.id == other.folder.id && self.name == other.name
    }

    /// Opens the file that was there when this was made, and no other one.
    fn open(&self) -> io::Result<File> {
        let handle = openat(&self.folder.handle, &self.name, FILE, Mode::empty())?;
        let about = fstat(&handle)?;
        let same = |was: &Stat| (was.st_dev, was.st_ino) == (about.st_dev, about.st_ino);
        match is_regular(&about) && self.about.as_ref().is_some_and(same) {
            true => Ok(handle.into()),
            false => Err(io::Error::other("another file has come in its place")),
        }
    }

    /// Whether it is what a move to another disk leaves behind before the source goes. Two files may be of
    /// one size and one age; what is deleted stands there to the last byte.
    pub fn is_copy_of(&self, source: &Self) -> io::Result<bool> {
        let (mut source, mut target) = (source.open()?, self.open()?);
        if fstat(&source)?.st_dev == fstat(&target)?.st_dev {
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
                Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error),
                _ => return Ok(false),
            }
        }
    }

    /// Takes the name away.
    pub fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(&self.folder.handle, &self.name, AtFlags::empty())?)
    }

    /// Moves the file in one step, and never onto something that is there.
    pub fn shift_to(&self, target: &Self) -> io::Result<()> {
        let (from, to) = (&self.folder.handle, &target.folder.handle);
        match renameat_with(from, &self.name, to, &target.name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // Another disk, or one that knows no such step.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        match linkat(from, &self.name, to, &target.name, AtFlags::empty()) {
            Err(Errno::EXIST) => return Err(Errno::EXIST.into()),
            Ok(()) => {}
            // A copy beside, its name, and the old one goes.
            Err(_) => {
                if statat(to, &target.name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                    return Err(Errno::EXIST.into());
                }
                let file = self.open()?;
                let like = file.metadata()?;
                target.put(file, Some(&like), RenameFlags::NOREPLACE)?;
            }
        }
        // What has come under the old name meanwhile stays.
        let there = statat(from, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        match self.about.as_ref().map(identity) == Some(identity(&there)) {
            true => self.remove(),
            false => Ok(()),
        }
    }

    /// Writes beside it under a hidden name, which nobody watches, and then gives it its own.
    pub fn write(&self, bytes: impl Read) -> io::Result<()> {
        self.put(bytes, None, RenameFlags::empty())
    }

    fn put(&self, mut bytes: impl Read, like: Option<&Metadata>, how: RenameFlags) -> io::Result<()> {
        let folder = &self.folder.handle;
        let beside = format!(".{}.part", uuid::Uuid::new_v4());
        let written = (|| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(folder, &beside, flags, Mode::from_raw_mode(0o666))?);
            io::copy(&mut bytes, &mut file)?;
            if let Some(like) = like {
                file.set_modified(like.modified()?)?;
            }
            file.sync_all()?;
            match renameat_with(folder, &beside, folder, &self.name, how) {
                // A disk that knows no such step: nothing was there a moment ago.
                Err(Errno::INVAL | Errno::NOSYS) => renameat(folder, &beside, folder, &self.name)?,
                done => done?,
            }
            Ok(())
        })();
        self.sync();
        written.inspect_err(|_| {
            let _ = unlinkat(folder, &beside, AtFlags::empty());
        })
    }

    /// What a folder lists is on disk only when the folder is. Where that cannot be asked for, the system
    /// sees to it by itself a little later.
    pub fn sync(&self) {
        let _ = self.folder.readable().map(|folder| File::from(folder).sync_all());
    }
}
