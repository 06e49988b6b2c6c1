//! Files that triggers have seen.

use jiff::Timestamp;

use crate::store::records::{SeenFile, TriggerKey};
use crate::store::tx::{Read, Tx, values};

/// The files that a trigger has seen.
pub fn seen(tx: &dyn Tx, key: &TriggerKey) -> Read<Vec<SeenFile>> {
    let sql = "SELECT path, size, modified, hash, gone_at FROM ledger WHERE flow = ? AND trigger = ?";
    tx.readable(sql, values![&key.flow, &key.trigger], "seen files", |row| {
        Ok(SeenFile {
            path: row.get(0)?,
            size: row.get::<i64>(1)?.unsigned_abs(),
            modified: row.get(2)?,
            hash: row.get(3)?,
            gone_at: row.get(4)?,
        })
    })
}

/// A trigger saw a file so.
pub fn see(tx: &dyn Tx, key: &TriggerKey, row: &SeenFile) -> Read<()> {
    let sql = "INSERT INTO ledger (flow, trigger, path, size, modified, hash, gone_at)
        VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (flow, trigger, path) DO UPDATE SET size = excluded.size,
        modified = excluded.modified, hash = excluded.hash, gone_at = excluded.gone_at";
    let size = i64::try_from(row.size).unwrap_or(i64::MAX);
    let (hash, gone_at) = (row.hash.as_ref(), row.gone_at);
    tx.run(sql, values![&key.flow, &key.trigger, &row.path, size, row.modified, hash, gone_at]).map(drop)
}

/// Files that have been gone since before this are forgotten.
pub fn forget_gone(tx: &dyn Tx, key: &TriggerKey, before: Timestamp) -> Read<()> {
    let sql = "DELETE FROM ledger WHERE flow = ? AND trigger = ? AND gone_at < ?";
    tx.run(sql, values![&key.flow, &key.trigger, before]).map(drop)
}

/// All files of a trigger are forgotten.
pub fn forget_all(tx: &dyn Tx, key: &TriggerKey) -> Read<()> {
    tx.run("DELETE FROM ledger WHERE flow = ? AND trigger = ?", values![&key.flow, &key.trigger]).map(drop)
}
