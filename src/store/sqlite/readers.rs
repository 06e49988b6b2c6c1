//! Connections that read beside the writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::Read;
use super::schema::error_of;
use crate::store::{Reply, StoreError};

/// A few of them, opened when they are needed and kept.
pub struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    most_idle: usize,
}

impl Readers {
    /// For `file`; none is opened yet.
    pub fn new(file: &Path) -> Self {
        // Those that read at the same time are the threads that serve, and as many that look through lists.
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self { file: file.into(), idle: Mutex::default(), most_idle: (2 * threads).max(4) }
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
        if idle.len() < self.most_idle {
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
    steady(&connection).map_err(|error| error_of(&error))?;
    Ok(connection)
}

/// A statement's plan looks at no bound value (SQLite's query planner stability guarantee). Else whoever binds
/// another one has the statement compiled anew, at every use.
pub fn steady(connection: &Connection) -> Read<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
