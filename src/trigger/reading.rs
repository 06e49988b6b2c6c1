//! Reads files that are finished, to tell their contents apart. One that is large is read a part at a
//! time, so that the others, and other triggers, have their turn in between.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use rustix::io::Errno;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::scan::{Look, look};
use crate::files::Files;

/// What is read in one turn, bytes. A file of this size at most is read at once.
pub const TURN: u64 = 16 << 20;
/// What is read at once of a larger file, bytes. Where all of it is zero it counts by its place alone, for
/// a file may have holes that are larger than any disk.
const BLOCK: u64 = 1 << 20;

/// Most large files of one trigger that are read at once.
const MOST_LARGE: usize = 8;

/// A fingerprint of a file's content, and what the file looked like when it was read.
pub type Content = (Look, [u8; 16]);

/// Bounds on what is read at once, by all triggers together. Large files have their own, for nobody is to
/// wait behind them.
#[derive(Clone)]
pub struct Room {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self { small: Arc::new(Semaphore::new(4)), large: Arc::new(Semaphore::new(2)) }
    }
}

/// Does what blocks on a thread for that, when there is room; none when it broke down.
pub async fn aside<T: Send + 'static>(room: &Arc<Semaphore>, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // It is never closed, so there is always a place in the end.
    let place = room.clone().acquire_owned().await.ok();
    let work = move || {
        let _place = place;
        work()
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// Reads a file, waiting for room before each part of it; none when it is not there any more, or becomes
/// another one meanwhile.
///
/// # Errors
/// A sentence that says why it cannot be read.
pub async fn content(files: &Files, room: &Room, path: &str) -> Result<Option<Content>, String> {
    let broken = || format!("`{path}` cannot be read: the reading broke down");
    let (files, name) = (files.clone(), path.to_owned());
    let begun = aside(&room.small, move || begin(&files, &name)).await.ok_or_else(broken)?;
    let mut begun = begun?;
    loop {
        match begun {
            Begun::Gone => return Ok(None),
            Begun::Done(content) => return Ok(Some(content)),
            Begun::Large(large) => {
                let read = aside(&room.large, move || large.read_on()).await.ok_or_else(broken)?;
                begun = read.map_err(|error| format!("`{path}` cannot be read: {error}"))?;
            }
        }
    }
}

/// Large files of one trigger, which are read beside its looks.
#[derive(Default)]
pub struct Beside {
    tasks: JoinSet<(String, Outcome)>,
    under_way: BTreeMap<String, AbortHandle>,
    done: BTreeMap<String, Outcome>,
}

/// What became of reading a file.
pub type Outcome = Result<Option<Content>, String>;

impl Beside {
    /// What a file was found to be, if it has been read as it looks now.
    pub fn take(&mut self, path: &str, look: Look) -> Option<Outcome> {
        let done = self.done.remove(path)?;
        let same = done.as_ref().map_or(true, |content| content.is_some_and(|(then, _)| then == look));
        same.then_some(done)
    }

    /// Begins to read a file, unless it is being read or there are too many of them: then it is asked for
    /// again once one has been read.
    pub fn begin(&mut self, path: &str, files: &Files, room: &Room) {
        if self.under_way.len() >= MOST_LARGE || self.under_way.contains_key(path) {
            return;
        }
        let (path, files, room) = (path.to_owned(), files.clone(), room.clone());
        let name = path.clone();
        let task = self.tasks.spawn(async move {
            let read = content(&files, &room, &name).await;
            (name, read)
        });
        self.under_way.insert(path, task);
    }

    /// Waits until one of them has been read.
    pub async fn next(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok((path, outcome))) => {
                self.under_way.remove(&path);
                self.done.insert(path, outcome);
            }
            // It was let go.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    /// Lets go of the files that nobody wants to know of any more.
    pub fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.done.retain(|path, _| wanted(path));
        self.under_way.retain(|path, task| {
            let wanted = wanted(path);
            if !wanted {
                task.abort();
            }
            wanted
        });
    }
}

/// How far a file is read.
enum Begun {
    Gone,
    Done(Content),
    Large(Large),
}

fn begin(files: &Files, path: &str) -> Result<Begun, String> {
    if !files.root().join(path).exists() {
        return Ok(Begun::Gone);
    }
    let mut file = files.open(path)?;
    let mut begin = || {
        let about = file.metadata()?;
        if about.len() > TURN {
            return Ok(None);
        }
        let mut hash = Sha256::new();
        let mut whole = (&mut file).take(TURN + 1);
        let mut buffer = vec![0; 1 << 16];
        loop {
            match whole.read(&mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        Ok(Some((look(&file.metadata()?), short(hash))))
    };
    match begin().map_err(|error: io::Error| format!("`{path}` cannot be read: {error}"))? {
        Some(content) => Ok(Begun::Done(content)),
        None => Large::new(file).map(Begun::Large).map_err(|error| format!("`{path}` cannot be read: {error}")),
    }
}

/// A large file that is being read.
struct Large {
    file: File,
    look: Look,
    at: u64,
    hash: Sha256,
}

impl Large {
    fn new(file: File) -> io::Result<Self> {
        let look = look(&file.metadata()?);
        let mut hash = Sha256::new();
        hash.update(look.size.to_be_bytes());
        Ok(Self { file, look, at: 0, hash })
    }

    /// Reads the next part. Blocks that hold something are counted with their place in the file.
    fn read_on(mut self) -> io::Result<Begun> {
        let mut block = Vec::with_capacity(usize::try_from(BLOCK).unwrap_or_default());
        let mut left = TURN;
        while left > 0 {
            let Some(next) = self.next_data()? else { return self.end() };
            self.at = next - next % BLOCK;
            self.file.seek(SeekFrom::Start(self.at))?;
            block.clear();
            (&mut self.file).take(BLOCK).read_to_end(&mut block)?;
            if block.is_empty() {
                return self.end();
            }
            if block.iter().any(|byte| *byte != 0) {
                self.hash.update(self.at.to_be_bytes());
                self.hash.update(&block);
            }
            self.at += BLOCK;
            left -= BLOCK;
        }
        match self.is_as_it_was()? {
            true => Ok(Begun::Large(self)),
            false => Ok(Begun::Gone),
        }
    }

    /// One that changes while it is read is not finished: it is read from its beginning when it is. Else what
    /// was read before the change would count as what is there after it.
    fn is_as_it_was(&self) -> io::Result<bool> {
        Ok(look(&self.file.metadata()?) == self.look)
    }

    /// Where the next bytes are that are no hole; none behind the last one. Where the system does not know
    /// holes, they are everywhere.
    fn next_data(&self) -> io::Result<Option<u64>> {
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(self.at)) {
            Ok(next) => Ok(Some(next)),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL) => Ok(Some(self.at)),
            Err(error) => Err(error.into()),
        }
    }

    fn end(self) -> io::Result<Begun> {
        match self.is_as_it_was()? {
            true => Ok(Begun::Done((self.look, short(self.hash)))),
            false => Ok(Begun::Gone),
        }
    }
}

fn short(hash: Sha256) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_changes_while_it_is_read_is_not_taken_for_what_it_has_become() {
        for parts in [1, 3] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(1 << 40).unwrap();
            // Each part of the reading has as many blocks as it takes.
            for place in 0..parts * TURN / BLOCK - 1 {
                file.write_at(b"x", place * BLOCK).unwrap();
            }
            let reading = |mut large: Large, changes: bool| {
                if changes {
                    file.write_at(b"y", 0).unwrap();
                    file.set_len((1 << 40) + 1).unwrap();
                }
                loop {
                    match large.read_on().unwrap() {
                        Begun::Large(more) => large = more,
                        end => return end,
                    }
                }
            };
            let begin = || Large::new(file.try_clone().unwrap()).unwrap();
            assert!(matches!(reading(begin(), false), Begun::Done(_)));
            let begun = begin();
            assert!(matches!(reading(begun, true), Begun::Gone), "{parts}");
            assert!(matches!(reading(begin(), false), Begun::Done(_)));
        }
    }
}
