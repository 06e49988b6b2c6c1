//! Which files are ours, and how one of an earlier format becomes one of this.

use rusqlite::{Connection, Error, ErrorCode};

use super::formats::FORMATS;
use crate::store::StoreError;

/// Marks the file as ours: `post` in ASCII.
const APPLICATION: i64 = 0x706f_7374;

/// The newest format that this program knows.
pub const FORMAT: i64 = FORMATS.len() as i64;

/// Looks whether the file behind `connection` is one that we may write to.
///
/// # Errors
/// [`StoreError::Newer`], [`StoreError::Foreign`], [`StoreError::Damaged`].
pub fn examine(connection: &Connection, file: &str) -> Result<(), StoreError> {
    if number(connection, "schema_version")? == 0 {
        return Ok(());
    }
    if number(connection, "application_id")? != APPLICATION {
        return Err(StoreError::Foreign(file.into()));
    }
    match number(connection, "user_version")? {
        format if format > FORMAT => Err(StoreError::Newer { found: format, known: FORMAT }),
        _ => Ok(()),
    }
}

/// Brings the file behind `connection` to the present format, in one transaction.
///
/// # Errors
/// As SQLite fails; the file is then as it was.
pub fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let format = number(connection, "user_version")?.max(0);
    if format >= FORMAT {
        return Ok(());
    }
    if format > 0 {
        tracing::info!("the state file has format {format} and is brought to {FORMAT}; a large one takes some minutes");
    }
    let steps = FORMATS[usize::try_from(format).unwrap_or(0)..].concat();
    // What a statement would have to take back is as large as a table: it may not have room in memory. The log is as
    // large as all tables.
    let sql = format!(
        "PRAGMA temp_store = FILE; BEGIN IMMEDIATE; {steps} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; COMMIT;
         PRAGMA temp_store = MEMORY;"
    );
    connection.execute_batch(&sql).map_err(|error| {
        // It may have stopped within the transaction; what cannot be taken back goes with the connection.
        let _ = connection.execute_batch("ROLLBACK");
        error_of(&error)
    })?;
    // It is brought into the file now or later.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(())
}

fn number(connection: &Connection, pragma: &str) -> Result<i64, StoreError> {
    connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get(0)).map_err(|error| error_of(&error))
}

/// What a failure of SQLite means for us.
pub fn error_of(error: &Error) -> StoreError {
    let text = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            StoreError::NoRoom(text)
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(text),
        _ => StoreError::Other(text),
    }
}
