//! How connections are opened.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::schema::error_of;
use crate::store::StoreError;

/// How long it is waited for another program to let go of the file.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a connection that may write.
pub fn connect(file: &Path) -> Result<Connection, StoreError> {
    // One thread alone uses such a connection, so SQLite needs no locks of its own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(|error| error_of(&error))?;
    // Others (a backup, an engine that is just closing it) may hold the file for a moment.
    connection.busy_timeout(PATIENCE).map_err(|error| error_of(&error))?;
    let set = "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
        PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;
        PRAGMA cache_size = -8192;";
    connection.execute_batch(set).map_err(|error| error_of(&error))?;
    steady(&connection).map_err(|error| error_of(&error))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
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
pub fn steady(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
