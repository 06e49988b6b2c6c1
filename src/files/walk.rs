//! The way to a file, folder by folder, each opened within the one before: nobody can put another thing
//! in its place between a look and the use of what was looked at. Links are read and followed here, not
//! by the system, so that every step is checked, the last one too.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, mkdirat, open, openat, readlinkat, statat};
use rustix::io::Errno;

use super::alike;
use super::own::{Held, Id, Own};

/// Folders deeper than this are not gone into: each of them is kept open on the way.
const DEEPEST: usize = 100;
/// Most links on one way.
const MOST_LINKS: usize = 40;
/// Longest path, bytes; systems take no longer ones.
const LONGEST: usize = 4096;
/// How often a way is tried again that others change while it is gone.
const TRIES: usize = 100;
/// The link that a mounted configuration of Kubernetes is swapped by. It leads to a folder beside it.
const MOUNT: &str = "..data";

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A pipe must not keep us waiting, and no terminal may become ours.
pub const FILE: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// Why a way does not lead where it should.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("paths are relative to the workspace and stay inside it")]
    Shape,
    #[error("it is the path of a file, relative to the workspace, that stays inside it")]
    FileShape,
    #[error("hidden files, .postrider/ and postrider.yaml are not for scripts")]
    Hidden,
    #[error("a link leads out of {0}")]
    LinkOut(String),
    #[error("a link leads to a hidden file")]
    LinkHidden,
    #[error("too many links lead on from there")]
    Links,
    #[error("it lies more than {DEEPEST} folders deep")]
    Deep,
    #[error("it belongs to the engine")]
    Own,
    #[error("it is another user's file, and has another name elsewhere; copy it instead")]
    Shared,
    #[error("flows and scripts are written by people")]
    People,
    #[error("there is no such file or folder")]
    Missing,
    #[error("it is no regular file")]
    NoFile,
    #[error("it is no folder")]
    NoFolder,
    #[error("it has more than {0} entries; keep fewer of them in one folder")]
    Crowded(usize),
    #[error("it becomes another file all the time")]
    Swapped,
    #[error(transparent)]
    System(#[from] io::Error),
}

impl From<Errno> for Refused {
    fn from(error: Errno) -> Self {
        match error {
            Errno::NOENT => Self::Missing,
            Errno::NOTDIR => Self::NoFolder,
            error => Self::System(error.into()),
        }
    }
}

/// A folder that ways begin at and do not lead out of.
pub struct Base {
    path: PathBuf,
    top: OwnedFd,
    id: Id,
    /// What it is called where a link leads out of it.
    called: String,
    held: Held,
}

/// What becomes of the last part of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// It must be there, and is followed where it is a link.
    Followed,
    /// It is taken as it is, also when nothing is there. With `make`, folders that are missing above it
    /// are made.
    Kept { make: bool },
}

/// A folder on the way, open.
pub struct Step {
    /// Its real name; that of the base is empty.
    pub name: OsString,
    pub handle: OwnedFd,
    pub id: Id,
}

impl Step {
    /// The same folder, opened for its entries: a handle that only leads on cannot be read.
    pub fn readable(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(&self.handle, ".", flags, Mode::empty())?)
    }

    /// A name as it is written here: letters with marks are the same letters however they are put together.
    fn spelled(&self, name: OsString) -> OsString {
        let is_here = |name: &OsStr| statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let others = name.to_str().map(alike).unwrap_or_default();
        if others.is_empty() || is_here(&name) {
            return name;
        }
        others.into_iter().map(OsString::from).find(|other| is_here(other)).unwrap_or(name)
    }
}

/// Where a way ends: a folder, or a name in a folder.
pub struct Spot {
    /// The folders from the base down.
    pub folders: Vec<Step>,
    /// What is named in the last one.
    pub leaf: Option<Leaf>,
}

/// A name in a folder, and what it was when it was looked at.
pub struct Leaf {
    pub name: OsString,
    pub about: Option<Stat>,
}

impl Spot {
    /// The last folder. The base itself is always there.
    pub fn folder(&self) -> &Step {
        &self.folders[self.folders.len() - 1]
    }

    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.leaf.is_none()
    }

    /// What is there, if it is a regular file.
    pub fn regular(&self) -> Option<(&OsStr, &Stat)> {
        let Leaf { name, about } = self.leaf.as_ref()?;
        let about = about.as_ref().filter(|about| is_regular(about))?;
        Some((name, about))
    }

    /// Whether it lies in the base itself; what is mounted there counts as if it did.
    pub fn is_at_top(&self) -> bool {
        self.folders[1..].iter().all(|step| step.name.as_bytes().starts_with(b".."))
    }

    /// Its path below the base, without links.
    pub fn real(&self) -> PathBuf {
        let folders = self.folders[1..].iter().map(|step| step.name.as_os_str());
        folders.chain(self.leaf.as_ref().map(|leaf| leaf.name.as_os_str())).collect()
    }
}

/// Whether that is a file with bytes in it, and no folder, pipe or device.
pub fn is_regular(about: &Stat) -> bool {
    FileType::from_raw_mode(about.st_mode) == FileType::RegularFile
}

fn id(about: &Stat) -> Id {
    (about.st_dev, about.st_ino)
}

/// Tries again what others came in the way of.
pub fn settled<T>(mut work: impl FnMut() -> Result<T, Refused>) -> Result<T, Refused> {
    for _ in 0..TRIES {
        match work() {
            Err(Refused::Swapped) => {}
            done => return done,
        }
    }
    Err(Refused::Swapped)
}

/// The parts of a path as somebody wrote it.
pub fn parts(path: &Path) -> Result<Vec<OsString>, Refused> {
    if path.as_os_str().len() > LONGEST {
        return Err(io::Error::from(Errno::NAMETOOLONG).into());
    }
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(Ok(name.to_owned())),
        Component::CurDir => None,
        _ => Some(Err(Refused::Shape)),
    };
    path.components().filter_map(part).collect()
}

impl Base {
    /// The workspace at `path`, where all but `own` may be reached.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn workspace(path: &Path, own: &Own) -> Result<Self, Refused> {
        let top = open(path, FOLDER.difference(OFlags::NOFOLLOW), Mode::empty())?;
        let id = id(&fstat(&top)?);
        Ok(Self { path: path.into(), top, id, called: "the workspace".into(), held: own.now() })
    }

    /// One of its folders: what is in it stays below it, and it is not the workspace itself.
    ///
    /// # Errors
    /// When there is no such folder, or it lies outside or is hidden.
    pub fn narrowed(self, folder: &str) -> Result<Self, Refused> {
        let mut spot = settled(|| self.walk(parts(Path::new(folder))?, Last::Followed))?;
        match spot.folders.pop() {
            Some(step) if spot.leaf.is_none() && !spot.folders.is_empty() => Ok(Self {
                path: self.path.join(folder),
                top: step.handle,
                id: step.id,
                called: format!("`{folder}/`"),
                ..self
            }),
            Some(_) if spot.leaf.is_none() => Err(Refused::LinkOut(format!("`{folder}/`"))),
            _ => Err(Refused::NoFolder),
        }
    }

    /// The engine's own things.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Goes the way that these parts are.
    ///
    /// # Errors
    /// [`Refused`]; `Swapped` when somebody changed it meanwhile, see [`settled`].
    pub fn walk(&self, parts: Vec<OsString>, last: Last) -> Result<Spot, Refused> {
        let top = Step { name: OsString::new(), handle: self.top.try_clone()?, id: self.id };
        let mut way = Way { base: self, folders: vec![top], asked: parts.len(), todo: parts, links: 0, mounted: false };
        way.todo.reverse();
        while let Some(name) = way.todo.pop() {
            if let Some(leaf) = way.step(name, last)? {
                return Ok(Spot { folders: way.folders, leaf: Some(leaf) });
            }
        }
        Ok(Spot { folders: way.folders, leaf: None })
    }

    /// Opens the file at the end of a way for reading.
    ///
    /// # Errors
    /// When it is no regular file; `Swapped` when it is another one by now.
    pub fn open(&self, spot: &Spot) -> Result<(File, Stat), Refused> {
        let (name, _) = spot.regular().ok_or(Refused::NoFile)?;
        let opened = openat(&spot.folder().handle, name, FILE, Mode::empty());
        let handle = opened.map_err(|error| match error {
            // A link, or a socket.
            Errno::LOOP | Errno::NXIO => Refused::Swapped,
            error => error.into(),
        })?;
        let about = fstat(&handle)?;
        match is_regular(&about) {
            true => Ok((File::from(handle), about)),
            false => Err(Refused::NoFile),
        }
    }
}

/// A way that is being gone.
struct Way<'a> {
    base: &'a Base,
    folders: Vec<Step>,
    /// What is still to come, the next one last.
    todo: Vec<OsString>,
    /// How many parts of what is to come were asked for; those above came from links.
    asked: usize,
    links: usize,
    /// The next part is the folder of a mounted configuration.
    mounted: bool,
}

impl Way<'_> {
    /// Goes one step; gives the end of the way if it is one.
    fn step(&mut self, name: OsString, last: Last) -> Result<Option<Leaf>, Refused> {
        let by_link = self.todo.len() >= self.asked;
        self.asked = self.asked.min(self.todo.len());
        if name == ".." {
            // Only links say so. The base itself is never left.
            return match self.folders.len() {
                1 => Err(self.out()),
                _ => Ok(self.folders.pop().and(None)),
            };
        }
        let mounted = std::mem::take(&mut self.mounted);
        let is_mount = by_link && name == MOUNT;
        if name.as_bytes().starts_with(b".") && !mounted && !is_mount {
            return Err(if by_link { Refused::LinkHidden } else { Refused::Hidden });
        }
        let here = &self.folders[self.folders.len() - 1];
        let is_last = self.todo.is_empty();
        let kept = is_last && !by_link && last != Last::Followed;
        let name = here.spelled(name);
        let about = match statat(&here.handle, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) => about,
            Err(Errno::NOENT) if kept => return Ok(Some(Leaf { name, about: None })),
            Err(Errno::NOENT) if !by_link && last == (Last::Kept { make: true }) => {
                match mkdirat(&here.handle, &name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                return self.enter(name).map(|()| None);
            }
            Err(error) => return Err(error.into()),
        };
        let kind = FileType::from_raw_mode(about.st_mode);
        if kept {
            return Ok(Some(Leaf { name, about: Some(about) }));
        }
        if (is_mount && kind != FileType::Symlink) || (mounted && kind != FileType::Directory) {
            return Err(Refused::LinkHidden);
        }
        match kind {
            FileType::Directory => self.enter(name).map(|()| None),
            FileType::Symlink => self.follow(&name, is_mount).map(|()| None),
            _ if is_last => Ok(Some(Leaf { name, about: Some(about) })),
            _ => Err(Refused::NoFolder),
        }
    }

    fn out(&self) -> Refused {
        Refused::LinkOut(self.base.called.clone())
    }

    fn enter(&mut self, name: OsString) -> Result<(), Refused> {
        if self.folders.len() > DEEPEST {
            return Err(Refused::Deep);
        }
        let here = &self.folders[self.folders.len() - 1];
        let handle = openat(&here.handle, &name, FOLDER, Mode::empty()).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => Refused::Swapped,
            error => error.into(),
        })?;
        let id = id(&fstat(&handle)?);
        if self.base.held.has_folder(id) {
            return Err(Refused::Own);
        }
        self.folders.push(Step { name, handle, id });
        Ok(())
    }

    fn follow(&mut self, name: &OsStr, is_mount: bool) -> Result<(), Refused> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(Refused::Links);
        }
        let here = &self.folders[self.folders.len() - 1];
        let target = readlinkat(&here.handle, name, Vec::new()).map_err(|error| match error {
            Errno::INVAL => Refused::Swapped,
            error => error.into(),
        })?;
        let mut target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            // This only says where to look; each step is checked all the same.
            let (Ok(base), Ok(real)) = (self.base.path.canonicalize(), target.canonicalize()) else {
                return Err(if target.starts_with(&self.base.path) { Refused::Missing } else { self.out() });
            };
            target = real.strip_prefix(base).map_err(|_| self.out())?.to_owned();
            self.folders.truncate(1);
        }
        let mut parts = target.components();
        if is_mount {
            let beside =
                |part: Component<'_>| matches!(part, Component::Normal(name) if name.as_bytes().starts_with(b".."));
            if !parts.next().is_some_and(beside) || parts.next().is_some() {
                return Err(Refused::LinkHidden);
            }
            self.mounted = true;
        }
        let parts = target.components().filter(|part| *part != Component::CurDir);
        self.todo.extend(parts.rev().map(|part| part.as_os_str().to_owned()));
        Ok(())
    }
}
