//! Requests that were turned away.

use crate::store::records::RefusedRow;
use crate::store::tx::{Read, Tx, values};

/// Keeps some as they are now, and forgets others.
pub fn keep(tx: &dyn Tx, rows: &[RefusedRow], gone: &[i64]) -> Read<()> {
    let sql = "INSERT INTO refused (id, since, at, what, status, reason, sender, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET at = excluded.at, count = excluded.count";
    for row in rows {
        let count = i64::try_from(row.count).unwrap_or(i64::MAX);
        let values =
            values![row.id, row.since, row.at, &row.what, u32::from(row.status), &row.reason, &row.from, count];
        tx.run(sql, values)?;
    }
    gone.iter().try_for_each(|id| tx.run("DELETE FROM refused WHERE id = ?", values![*id]).map(drop))
}

/// All of them, oldest first.
pub fn all(tx: &dyn Tx) -> Read<Vec<RefusedRow>> {
    let sql = "SELECT id, since, at, what, status, reason, sender, count FROM refused ORDER BY id";
    tx.readable(sql, values![], "refused requests", |row| {
        Ok(RefusedRow {
            id: row.get(0)?,
            since: row.get(1)?,
            at: row.get(2)?,
            what: row.get(3)?,
            status: u16::try_from(row.get::<i64>(4)?).unwrap_or_default(),
            reason: row.get(5)?,
            from: row.get(6)?,
            count: row.get::<i64>(7)?.unsigned_abs(),
        })
    })
}
