//! What columns hold, written and read.

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use super::Read;
use crate::clock::from_millis;

/// A column that holds JSON.
pub fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Read<T> {
    let text = row.get_ref(column)?.as_str().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })?;
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// A column that holds JSON or nothing.
pub fn json_or_none<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Read<Option<T>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => json(row, column).map(Some),
    }
}

/// Whether a row does not read as what it should be: the file is whole, and what stands in it is not what
/// was written.
pub fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    )
}

/// What can be read; nothing of what cannot.
pub fn if_readable<T>(read: Read<T>) -> Read<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_unreadable(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The rows that can be read. The others are told of once for each look.
pub fn readable<T>(rows: impl Iterator<Item = Read<T>>, what: &str) -> Read<Vec<T>> {
    let (mut kept, mut left_out) = (Vec::new(), 0);
    for row in rows {
        match if_readable(row)? {
            Some(row) => kept.push(row),
            None => left_out += 1,
        }
    }
    if left_out > 0 {
        tracing::error!(rows = left_out, "rows of {what} in the state file cannot be read and are left out");
    }
    Ok(kept)
}

/// A column that holds an instant or nothing.
pub fn instant(row: &Row<'_>, column: usize) -> Read<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(from_millis))
}

/// JSON for a column.
pub fn text(value: &impl serde::Serialize) -> Read<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// The sequence numbers and counts that the writer begins with.
pub fn first<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> Read<T> {
    connection.query_row(sql, [], |row| row.get(0))
}
