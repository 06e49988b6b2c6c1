//! What columns hold, written and read.

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use super::Read;
use crate::clock::from_millis;

/// A column that holds JSON.
pub fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> Read<T> {
    let text = row.get_ref(column)?.as_str()?;
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
