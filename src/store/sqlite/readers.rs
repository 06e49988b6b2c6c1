//! Connections that read beside the writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use super::Read;
use super::schema::error_of;
use crate::store::{Reply, StoreError};

/// A few of them, opened when they are needed and kept.
pub struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// For `file`; none is opened yet.
    pub fn new(file: &Path) -> Self {
        Self { file: file.into(), idle: Mutex::default() }
    }

    /// Reads on a thread that may block.
    pub fn aside<T: Send + 'static>(
        self: Arc<Self>,
        read: impl FnOnce(&Connection) -> Read<T> + Send + 'static,
    ) -> Reply<T> {
        Box::pin(async move {
            let result = tokio::task::spawn_blocking(move || self.with(read)).await;
            result.unwrap_or_else(|error| Err(StoreError::Other(error.to_string())))
        })
    }

    /// Reads on the calling thread.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> Read<T>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => read_only(&self.file)?,
        };
        let result = read(&connection).map_err(|error| error_of(&error));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < 4 {
            idle.push(connection);
        }
        result
    }
}

/// Opens a connection that reads.
pub fn read_only(file: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(|error| error_of(&error))?;
    let set = "PRAGMA busy_timeout = 5000; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2048;";
    connection.execute_batch(set).map_err(|error| error_of(&error))?;
    Ok(connection)
}
