//! What statements are run in: a transaction, or a look without one. It speaks the dialect that SQLite and PostgreSQL
//! share; values go in borrowed, rows are visited one by one, and a backend keeps the statements that it knows.

use std::sync::Arc;

use jiff::Timestamp;

use super::StoreError;
use crate::clock::from_millis;
use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::run::RunState;

/// What a statement gives: [`StoreError::Unreadable`] where a row does not read as what it should be, any other
/// error where the database failed.
pub type Read<T> = Result<T, StoreError>;

/// One value of a statement or a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// A whole number, an instant in milliseconds since 1970, a truth as 0 or 1, or a state by its place.
    Integer(i64),
    /// Any number.
    Real(f64),
    /// A text.
    Text(&'a str),
    /// Bytes; in a damaged row also a text that is none.
    Blob(&'a [u8]),
    /// The id of a run or a message.
    Id([u8; 16]),
}

/// A row that is being visited.
pub trait Columns {
    /// What stands in a column, counted from 0.
    ///
    /// # Errors
    /// There is no such column.
    fn column(&self, place: usize) -> Read<Value<'_>>;
}

/// A transaction, or a look without one.
pub trait Tx {
    /// Runs a statement and visits what it gives, until the visitor has seen enough (`false`) or there is no more.
    ///
    /// # Errors
    /// The database's, or the visitor's.
    fn visit(&self, sql: &str, values: &[Value<'_>], visitor: &mut dyn FnMut(&dyn Columns) -> Read<bool>) -> Read<()>;

    /// Runs a statement that gives nothing. Says how many rows it changed.
    ///
    /// # Errors
    /// The database's.
    fn run(&self, sql: &str, values: &[Value<'_>]) -> Read<u64>;

    /// Runs one statement for each of many rows, in their order; how many rows each changed. A backend behind a
    /// network sends them together.
    ///
    /// # Errors
    /// The database's.
    fn run_each(&self, sql: &str, rows: &[Vec<Value<'_>>]) -> Read<Vec<u64>>;

    /// Runs one statement for each of many rows, in their order, and visits what each gives with the place of its row.
    ///
    /// # Errors
    /// The database's, or the visitor's.
    fn visit_each(
        &self,
        sql: &str,
        rows: &[Vec<Value<'_>>],
        visitor: &mut dyn FnMut(usize, &dyn Columns) -> Read<()>,
    ) -> Read<()>;

    /// Begins a part that can be undone by itself. Parts may stand in one another.
    ///
    /// # Errors
    /// The database's.
    fn begin_part(&self) -> Read<()>;

    /// Ends the innermost part: what it did stays, or is undone.
    ///
    /// # Errors
    /// The database's; what the part did is then not certain.
    fn end_part(&self, keep: bool) -> Read<()>;

    /// Bytes of the database that something stands in.
    ///
    /// # Errors
    /// The database's.
    fn used(&self) -> Read<u64>;

    /// Whether the transaction still stands: SQLite itself gives it up when the disk is full.
    fn stands(&self) -> bool;
}

impl dyn Tx + '_ {
    /// The first row, if there is one.
    ///
    /// # Errors
    /// The database's, or the row cannot be read.
    pub fn first<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut row: impl FnMut(&dyn Columns) -> Read<T>,
    ) -> Read<Option<T>> {
        let mut first = None;
        self.visit(sql, values, &mut |columns| {
            first = Some(row(columns)?);
            Ok(false)
        })?;
        Ok(first)
    }

    /// All rows.
    ///
    /// # Errors
    /// The database's, or a row cannot be read.
    pub fn all<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut row: impl FnMut(&dyn Columns) -> Read<T>,
    ) -> Read<Vec<T>> {
        let mut all = Vec::new();
        self.visit(sql, values, &mut |columns| {
            all.push(row(columns)?);
            Ok(true)
        })?;
        Ok(all)
    }

    /// The rows that can be read. That others cannot is logged once for each look, as rows of `what`.
    ///
    /// # Errors
    /// The database's.
    pub fn readable<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        what: &str,
        mut row: impl FnMut(&dyn Columns) -> Read<T>,
    ) -> Read<Vec<T>> {
        let (mut kept, mut left_out) = (Vec::new(), 0);
        self.visit(sql, values, &mut |columns| {
            match if_readable(row(columns))? {
                Some(row) => kept.push(row),
                None => left_out += 1,
            }
            Ok(true)
        })?;
        if left_out > 0 {
            tracing::error!(rows = left_out, "rows of {what} in the state file cannot be read and are left out");
        }
        Ok(kept)
    }

    /// Whether there is such a row.
    ///
    /// # Errors
    /// The database's.
    pub fn exists(&self, sql: &str, values: &[Value<'_>]) -> Read<bool> {
        Ok(self.first(sql, values, |_| Ok(()))?.is_some())
    }
}

/// What can be read; nothing of what cannot.
///
/// # Errors
/// The database's.
pub fn if_readable<T>(read: Read<T>) -> Read<Option<T>> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Unreadable(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

impl dyn Columns + '_ {
    /// A column's value.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when it is no such thing.
    pub fn get<'a, T: FromColumn<'a>>(&'a self, place: usize) -> Read<T> {
        let value = self.column(place)?;
        T::from_column(value).ok_or_else(|| StoreError::Unreadable(format!("column {place} holds {}", shown(value))))
    }

    /// A column that holds JSON.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] when it is none, or says something else.
    pub fn json<T: serde::de::DeserializeOwned>(&self, place: usize) -> Read<T> {
        let text: &str = self.get(place)?;
        serde_json::from_str(text).map_err(|error| StoreError::Unreadable(format!("column {place}: {error}")))
    }

    /// A column that holds JSON or nothing.
    ///
    /// # Errors
    /// As [`Columns::json`](#method.json).
    pub fn json_or_none<T: serde::de::DeserializeOwned>(&self, place: usize) -> Read<Option<T>> {
        match self.column(place)? {
            Value::Null => Ok(None),
            _ => self.json(place).map(Some),
        }
    }

    /// A column's value, as far as it can be read.
    ///
    /// # Errors
    /// There is no such column.
    pub fn maybe<'a, T: FromColumn<'a>>(&'a self, place: usize) -> Read<Option<T>> {
        if_readable(self.get(place))
    }

    /// A column of JSON, as far as it can be read; its default where it holds nothing or something else.
    ///
    /// # Errors
    /// There is no such column.
    pub fn json_or_default<T: serde::de::DeserializeOwned + Default>(&self, place: usize) -> Read<T> {
        Ok(if_readable(self.json_or_none(place))?.flatten().unwrap_or_default())
    }
}

/// A value as people are told of it: what it is, not what it says.
fn shown(value: Value<'_>) -> &'static str {
    match value {
        Value::Null => "nothing where something belongs",
        Value::Integer(_) => "a number that does not belong there",
        Value::Real(_) => "a fraction that does not belong there",
        Value::Text(_) => "a text that does not belong there",
        Value::Blob(_) | Value::Id(_) => "bytes that do not belong there",
    }
}

/// JSON for a column.
///
/// # Errors
/// A value has no form in JSON.
pub fn text(value: &impl serde::Serialize) -> Read<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Other(format!("cannot be written as JSON: {error}")))
}

/// What a column can be read as.
pub trait FromColumn<'a>: Sized {
    /// None when it is no such thing.
    fn from_column(value: Value<'a>) -> Option<Self>;
}

impl<'a, T: FromColumn<'a>> FromColumn<'a> for Option<T> {
    fn from_column(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            value => T::from_column(value).map(Some),
        }
    }
}

impl FromColumn<'_> for i64 {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }
}

impl FromColumn<'_> for u32 {
    fn from_column(value: Value<'_>) -> Option<Self> {
        i64::from_column(value)?.try_into().ok()
    }
}

impl FromColumn<'_> for bool {
    fn from_column(value: Value<'_>) -> Option<Self> {
        i64::from_column(value).map(|number| number != 0)
    }
}

impl FromColumn<'_> for Timestamp {
    fn from_column(value: Value<'_>) -> Option<Self> {
        i64::from_column(value).map(from_millis)
    }
}

impl<'a> FromColumn<'a> for &'a str {
    fn from_column(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl FromColumn<'_> for String {
    fn from_column(value: Value<'_>) -> Option<Self> {
        <&str>::from_column(value).map(str::to_owned)
    }
}

impl FromColumn<'_> for Arc<str> {
    fn from_column(value: Value<'_>) -> Option<Self> {
        <&str>::from_column(value).map(Arc::from)
    }
}

impl FromColumn<'_> for [u8; 16] {
    fn from_column(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Blob(bytes) => bytes.try_into().ok(),
            Value::Id(id) => Some(id),
            _ => None,
        }
    }
}

impl FromColumn<'_> for RunId {
    fn from_column(value: Value<'_>) -> Option<Self> {
        <[u8; 16]>::from_column(value).map(Self::from_bytes)
    }
}

impl FromColumn<'_> for MessageId {
    fn from_column(value: Value<'_>) -> Option<Self> {
        <[u8; 16]>::from_column(value).map(Self::from_bytes)
    }
}

impl FromColumn<'_> for RunState {
    fn from_column(value: Value<'_>) -> Option<Self> {
        Self::ALL.get(usize::try_from(i64::from_column(value)?).ok()?).copied()
    }
}

impl FromColumn<'_> for MessageState {
    fn from_column(value: Value<'_>) -> Option<Self> {
        Self::ALL.get(usize::try_from(i64::from_column(value)?).ok()?).copied()
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a Arc<str>> for Value<'a> {
    fn from(text: &'a Arc<str>) -> Self {
        Self::Text(text)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Blob(bytes)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Integer(number.into())
    }
}

/// A count or a limit; none of ours comes near the end of the range.
impl From<usize> for Value<'_> {
    fn from(number: usize) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value<'_> {
    fn from(is: bool) -> Self {
        Self::Integer(is.into())
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(at: Timestamp) -> Self {
        Self::Integer(at.as_millisecond())
    }
}

impl From<RunId> for Value<'_> {
    fn from(id: RunId) -> Self {
        Self::Id(*id.as_bytes())
    }
}

impl From<MessageId> for Value<'_> {
    fn from(id: MessageId) -> Self {
        Self::Id(*id.as_bytes())
    }
}

impl From<RunState> for Value<'_> {
    fn from(state: RunState) -> Self {
        Self::Integer(state as i64)
    }
}

impl From<MessageState> for Value<'_> {
    fn from(state: MessageState) -> Self {
        Self::Integer(state as i64)
    }
}

impl<'a, T> From<Option<T>> for Value<'a>
where
    Value<'a>: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

/// Values for a statement, each turned into one.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::tx::Value::from($value)),*] };
}
pub(crate) use values;
