//! Files that triggers have seen.

use jiff::Timestamp;

use crate::store::records::{SeenFile, TriggerKey};
use crate::store::tx::{Read, Tx, values};

/// The files that a trigger has seen.
pub fn seen(tx: &dyn Tx, key: &TriggerKey) -> Read<Vec<SeenFile>> {
    let sql = "SELECT path, size, modified, hash, gone_at, changed, device FROM ledger WHERE flow = ? AND trigger = ?";
    tx.readable(sql, values![&key.flow, &key.trigger], "seen files", |row| {
        Ok(SeenFile {
            path: row.get(0)?,
            size: row.get::<i64>(1)?.unsigned_abs(),
            modified: row.get(2)?,
            hash: row.get(3)?,
            gone_at: row.get(4)?,
            changed: row.get(5)?,
            device: row.get::<Option<i64>>(6)?.map(i64::cast_unsigned),
        })
    })
}

/// A trigger saw a file so.
pub fn see(tx: &dyn Tx, key: &TriggerKey, row: &SeenFile) -> Read<()> {
    let sql = "INSERT INTO ledger (flow, trigger, path, size, modified, hash, gone_at, changed, device)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (flow, trigger, path) DO UPDATE SET size = excluded.size,
        modified = excluded.modified, hash = excluded.hash, gone_at = excluded.gone_at, changed = excluded.changed,
        device = excluded.device";
    let size = i64::try_from(row.size).unwrap_or(i64::MAX);
    let (hash, device) = (row.hash.as_ref(), row.device.map(u64::cast_signed));
    let values =
        values![&key.flow, &key.trigger, &row.path, size, row.modified, hash, row.gone_at, row.changed, device];
    tx.run(sql, values).map(drop)
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
