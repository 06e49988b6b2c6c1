//! Statements on SQLite.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Row, ToSql, params_from_iter};

use super::schema::error_of;
use crate::store::tx::{Columns, Read, Tx, Value};

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(number) => ValueRef::Real(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
            Self::Id(id) => ValueRef::Blob(id),
        }))
    }
}

impl Columns for Row<'_> {
    fn column(&self, place: usize) -> Read<Value<'_>> {
        Ok(match self.get_ref(place).map_err(|error| error_of(&error))? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_or(Value::Blob(bytes), Value::Text),
            ValueRef::Blob(bytes) => Value::Blob(bytes),
        })
    }
}

fn statement<'a>(connection: &'a Connection, sql: &str) -> Read<CachedStatement<'a>> {
    connection.prepare_cached(sql).map_err(|error| error_of(&error))
}

fn visit_with(
    statement: &mut CachedStatement<'_>,
    values: &[Value<'_>],
    visitor: &mut dyn FnMut(&dyn Columns) -> Read<bool>,
) -> Read<()> {
    let failed = |error: rusqlite::Error| error_of(&error);
    let mut rows = statement.query(params_from_iter(values)).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        if !visitor(row)? {
            break;
        }
    }
    Ok(())
}

fn run_with(statement: &mut CachedStatement<'_>, values: &[Value<'_>]) -> Read<u64> {
    statement.execute(params_from_iter(values)).map(|changed| changed as u64).map_err(|error| error_of(&error))
}

impl Tx for Connection {
    fn visit(&self, sql: &str, values: &[Value<'_>], visitor: &mut dyn FnMut(&dyn Columns) -> Read<bool>) -> Read<()> {
        visit_with(&mut statement(self, sql)?, values, visitor)
    }

    fn run(&self, sql: &str, values: &[Value<'_>]) -> Read<u64> {
        run_with(&mut statement(self, sql)?, values)
    }

    fn run_each(&self, sql: &str, rows: &[Vec<Value<'_>>]) -> Read<Vec<u64>> {
        let mut statement = statement(self, sql)?;
        rows.iter().map(|values| run_with(&mut statement, values)).collect()
    }

    fn visit_each(
        &self,
        sql: &str,
        rows: &[Vec<Value<'_>>],
        visitor: &mut dyn FnMut(usize, &dyn Columns) -> Read<()>,
    ) -> Read<()> {
        let mut statement = statement(self, sql)?;
        for (place, values) in rows.iter().enumerate() {
            visit_with(&mut statement, values, &mut |row| visitor(place, row).map(|()| true))?;
        }
        Ok(())
    }

    fn begin_part(&self) -> Read<()> {
        self.run("SAVEPOINT part", &[]).map(drop)
    }

    fn end_part(&self, keep: bool) -> Read<()> {
        if !keep {
            self.run("ROLLBACK TO part", &[])?;
        }
        self.run("RELEASE part", &[]).map(drop)
    }

    fn used(&self) -> Read<u64> {
        let number = |pragma: &str| {
            let found = self.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(|error| error_of(&error));
            found.map(i64::unsigned_abs)
        };
        let pages = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        Ok(pages * number("PRAGMA page_size")?)
    }

    fn stands(&self) -> bool {
        !self.is_autocommit()
    }
}
