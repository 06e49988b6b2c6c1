//! What is SQLite's own: one file, one thread that writes, others that read beside it.

mod checkpoint;
mod connect;
mod format_11;
mod formats;
pub mod place;
mod readers;
mod repair;
pub(crate) mod schema;
mod scrub;
mod transaction;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::Disk;
use super::group::{Beginning, Rules};
use super::records::Traffic;
use super::tx::{Read, Tx};
use super::{Reply, StoreError};
use crate::shutdown::Breakdown;
use checkpoint::Checkpoints;
use connect::{connect, read_only};
use readers::Readers;
use scrub::Scrub;
use writer::Writer;

/// A database in one SQLite file, which runs commands by somebody's rules.
pub struct Sqlite<C> {
    writer: Writer<C>,
    readers: Arc<Readers>,
}

impl<C> Clone for Sqlite<C> {
    fn clone(&self) -> Self {
        Self { writer: self.writer.clone(), readers: self.readers.clone() }
    }
}

impl<C: Send + 'static> Sqlite<C> {
    /// Opens `file`, creating it where there is none, and brings it to the present format. The rules begin with what
    /// stands there.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::Foreign`], [`StoreError::Copied`], [`StoreError::Damaged`],
    /// [`StoreError::Busy`] or [`StoreError::NoRoom`]; the file is then as it was.
    pub fn open<R: Rules<Command = C>>(
        file: &Path,
        breakdown: Breakdown,
        begin: impl FnOnce(&dyn Tx, Beginning) -> Read<R>,
    ) -> Result<Self, StoreError> {
        // A file that is not ours is looked at by a reader first: opening it for writing would
        // already change its journal mode.
        if file.is_dir() {
            return Err(StoreError::Foreign(file.display().to_string()));
        }
        if file.exists() {
            let reader = read_only(file)?;
            schema::examine(&reader, &file.display().to_string())?;
            place::check(&reader, file)?;
        }
        restrict(file)?;
        let mut connection = connect(file)?;
        schema::migrate(&mut connection)?;
        scrub::mend(&connection);
        place::settle(&connection, file)?;
        // From here on the file by itself shows what it is and where it belongs.
        place::fold_some(&connection);
        let last_number = repair::repair(&connection)?;
        let rules = begin(&connection, Beginning { last_number, disk: Disk::of(file.to_owned()) })?;
        let scrub = Scrub::new(file, scrub::is_owed(&connection)?);
        let writer = Writer::start(connection, Checkpoints::start(file)?, scrub, rules, breakdown)?;
        Ok(Self { writer, readers: Arc::new(Readers::new(file)) })
    }

    /// Hands in a command.
    pub fn submit(&self, command: C) {
        self.writer.submit(command);
    }

    /// Reads at once, on the calling thread.
    ///
    /// # Errors
    /// The database's.
    pub fn read<T>(&self, read: impl FnOnce(&dyn Tx) -> Read<T>) -> Read<T> {
        self.readers.with(read)
    }

    /// Reads on a thread that may block.
    pub fn read_aside<T: Send + 'static>(&self, read: impl FnOnce(&dyn Tx) -> Read<T> + Send + 'static) -> Reply<T> {
        self.readers.clone().aside(read)
    }

    /// How much was written.
    pub fn traffic(&self) -> Traffic {
        let counters = self.writer.counters();
        let (commits, commands) = (&counters.commits, &counters.commands);
        Traffic { commits: commits.load(Ordering::Relaxed), commands: commands.load(Ordering::Relaxed) }
    }
}

/// A store's file and those that SQLite keeps beside it while it is open.
pub fn files_of(file: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|ending| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        name.into()
    })
}

/// The files hold what people wrote to each other: they are their owner's alone. The first one is made
/// before SQLite makes it, for those beside it get its mode.
fn restrict(file: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let failed = |error: std::io::Error| StoreError::NoRoom(error.to_string());
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(failed(error));
    }
    for file in files_of(file) {
        match std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(())
}
