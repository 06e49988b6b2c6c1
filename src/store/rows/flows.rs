//! Texts of flow versions, and which of them is the last good one of each file.

use std::collections::BTreeMap;

use crate::store::records::{FolderId, VersionRow};
use crate::store::tx::{Read, Tx, values};

/// Keeps the text of a version, and that it is the last good one of a file.
pub fn keep(tx: &dyn Tx, file: &str, version: &VersionRow) -> Read<()> {
    let sql = "INSERT INTO versions (id, flow, content) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    tx.run(sql, values![&version.id, &version.flow, &version.content])?;
    let sql =
        "INSERT INTO good (file, version) VALUES (?, ?) ON CONFLICT (file) DO UPDATE SET version = excluded.version";
    tx.run(sql, values![file, &version.id]).map(drop)
}

/// A file is gone for good.
pub fn drop_file(tx: &dyn Tx, file: &str) -> Read<()> {
    tx.run("DELETE FROM good WHERE file = ?", values![file]).map(drop)
}

/// The folder that flows lie in. Numbers of devices and inodes take all 64 bits.
pub fn keep_home(tx: &dyn Tx, home: FolderId) -> Read<()> {
    let sql = "INSERT INTO home (one, device, inode) VALUES (1, ?, ?)
        ON CONFLICT (one) DO UPDATE SET device = excluded.device, inode = excluded.inode";
    tx.run(sql, values![home.device.cast_signed(), home.inode.cast_signed()]).map(drop)
}

/// The folder that flows were last read from.
pub fn home(tx: &dyn Tx) -> Read<Option<FolderId>> {
    let found = tx.readable("SELECT device, inode FROM home", values![], "home", |row| {
        Ok(FolderId { device: row.get::<i64>(0)?.cast_unsigned(), inode: row.get::<i64>(1)?.cast_unsigned() })
    })?;
    Ok(found.into_iter().next())
}

/// The last good version of each file.
pub fn good(tx: &dyn Tx) -> Read<BTreeMap<String, String>> {
    let rows = tx
        .readable("SELECT file, version FROM good", values![], "good versions", |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.into_iter().collect())
}

/// A version.
pub fn version(tx: &dyn Tx, id: &str) -> Read<Option<VersionRow>> {
    let sql = "SELECT id, flow, content FROM versions WHERE id = ?";
    tx.first(sql, values![id], |row| Ok(VersionRow { id: row.get(0)?, flow: row.get(1)?, content: row.get(2)? }))
}

/// Versions that are not live and that no run is kept of.
pub fn unused(tx: &dyn Tx) -> Read<Vec<String>> {
    let sql = "SELECT id FROM versions WHERE id NOT IN (SELECT version FROM good)
        AND id NOT IN (SELECT version FROM uses WHERE runs > 0)";
    tx.all(sql, values![], |row| row.get(0))
}

/// So many runs more (or fewer) are kept that were begun with a version.
pub fn count_runs(tx: &dyn Tx, version: &str, more: i64) -> Read<()> {
    let sql = "INSERT INTO uses (version, runs) VALUES (?, ?)
        ON CONFLICT (version) DO UPDATE SET runs = uses.runs + excluded.runs";
    tx.run(sql, values![version, more]).map(drop)
}

/// Forgets a version, unless it is live again or a run needs it after all. Says whether it did.
pub fn delete_if_unused(tx: &dyn Tx, version: &str) -> Read<bool> {
    let sql = "DELETE FROM versions WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM good WHERE version = ?1)
        AND NOT EXISTS (SELECT 1 FROM uses WHERE version = ?1 AND runs > 0)";
    let is_gone = tx.run(sql, values![version])? > 0;
    if is_gone {
        tx.run("DELETE FROM uses WHERE version = ?", values![version])?;
    }
    Ok(is_gone)
}
