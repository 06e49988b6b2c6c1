//! Files under `.postrider/blobs/`, named by the hash of their content.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// Largest file that is copied.
pub const LARGEST: u64 = 100 << 20;

/// A folder of copies, its owner's alone. The same content is kept once.
#[derive(Clone, Debug)]
pub struct Blobs {
    folder: PathBuf,
    /// Held while a copy gets its name and while one is removed: none is removed that has just been taken anew.
    names: Arc<Mutex<()>>,
}

impl Blobs {
    /// Uses `folder`, which is made when the first copy is.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, names: Arc::default() }
    }

    /// Copies a file; the copy is on disk when this returns. Gives hash and size.
    ///
    /// # Errors
    /// As the file system fails; `FileTooLarge` above [`LARGEST`].
    pub fn keep(&self, file: &mut impl Read) -> io::Result<(String, u64)> {
        if !self.folder.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        }
        let unfinished = self.folder.join(format!("{}.part", uuid::Uuid::new_v4()));
        let kept = self.copy(file, &unfinished);
        if kept.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        kept
    }

    fn copy(&self, file: &mut impl Read, unfinished: &Path) -> io::Result<(String, u64)> {
        let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
        let mut hash = Sha256::new();
        let mut size: u64 = 0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            size += count as u64;
            if size > LARGEST {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            hash.update(&buffer[..count]);
            copy.write_all(&buffer[..count])?;
        }
        let name = hex::encode(hash.finalize());
        copy.sync_all()?;
        let named = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        fs::rename(unfinished, self.path(&name))?;
        drop(named);
        // The name is durable only when the folder is.
        fs::File::open(&self.folder)?.sync_all()?;
        Ok((name, size))
    }

    /// The bytes of the copy with this hash.
    ///
    /// # Errors
    /// As the file system fails.
    pub fn read(&self, hash: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(hash))
    }

    /// Removes copies; gives how many were there.
    pub fn remove(&self, hashes: &[String]) -> u64 {
        // One that is gone already is as good.
        hashes.iter().filter(|hash| fs::remove_file(self.path(hash)).is_ok()).count() as u64
    }

    /// Copies that were taken longer ago than this.
    pub fn older_than(&self, age: Duration) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| is_older(&self.path(name), age)).collect()
    }

    /// Removes those of some copies that were taken longer ago than this; gives how many.
    pub fn remove_older_than(&self, hashes: &[String], age: Duration) -> u64 {
        let remove = |hash: &&String| {
            let _named = self.names.lock().unwrap_or_else(PoisonError::into_inner);
            is_older(&self.path(hash), age) && fs::remove_file(self.path(hash)).is_ok()
        };
        hashes.iter().filter(remove).count() as u64
    }

    /// The first bytes of a copy, at most so many; none of one that cannot be read.
    pub fn beginning(&self, hash: &str, most: usize) -> Vec<u8> {
        let mut beginning = Vec::new();
        let read = fs::File::open(self.path(hash)).and_then(|file| file.take(most as u64).read_to_end(&mut beginning));
        read.map_or_else(|_| Vec::new(), |_| beginning)
    }

    /// Where the copy with this hash is.
    pub fn path(&self, hash: &str) -> PathBuf {
        self.folder.join(hash)
    }
}

fn is_older(file: &Path, age: Duration) -> bool {
    let taken = fs::symlink_metadata(file).and_then(|found| found.modified());
    taken.ok().and_then(|taken| taken.elapsed().ok()).is_some_and(|since| since > age)
}
