//! Texts of flow versions, and which of them is the last good one of each file.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Read;
use super::columns::readable;
use super::writer::Work;
use crate::store::rows::{KeptFlows, VersionRow};

pub fn keep(work: &mut Work<'_>, kept: &KeptFlows) -> Read<()> {
    let mut text =
        work.tx.prepare_cached("INSERT INTO versions (id, flow, content) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")?;
    let sql =
        "INSERT INTO good (file, version) VALUES (?, ?) ON CONFLICT (file) DO UPDATE SET version = excluded.version";
    let mut good = work.tx.prepare_cached(sql)?;
    for (file, version) in &kept.good {
        text.execute(params![version.id, version.flow, version.content])?;
        good.execute(params![file, version.id])?;
    }
    let mut gone = work.tx.prepare_cached("DELETE FROM good WHERE file = ?")?;
    for file in &kept.gone {
        gone.execute([file])?;
    }
    Ok(())
}

pub fn good(connection: &Connection) -> Read<BTreeMap<String, String>> {
    let mut find = connection.prepare_cached("SELECT file, version FROM good")?;
    let rows = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(readable(rows, "good versions")?.into_iter().collect())
}

pub fn version(connection: &Connection, id: &str) -> Read<Option<VersionRow>> {
    let mut find = connection.prepare_cached("SELECT id, flow, content FROM versions WHERE id = ?")?;
    let row = |row: &Row<'_>| Ok(VersionRow { id: row.get(0)?, flow: row.get(1)?, content: row.get(2)? });
    find.query_row([id], row).optional()
}

/// Versions that are not live and that no run was begun with.
pub fn unused(connection: &Connection) -> Read<Vec<String>> {
    let sql = "SELECT id FROM versions WHERE id NOT IN (SELECT version FROM good)";
    let old: Vec<String> = connection.prepare_cached(sql)?.query_map([], |row| row.get(0))?.collect::<Read<_>>()?;
    if old.is_empty() {
        return Ok(old);
    }
    let mut find = connection.prepare_cached("SELECT DISTINCT version FROM runs")?;
    let used: std::collections::HashSet<String> = find.query_map([], |row| row.get(0))?.collect::<Read<_>>()?;
    Ok(old.into_iter().filter(|version| !used.contains(version)).collect())
}

/// Forgets those of the versions that have not come back meanwhile. Gives how many.
pub fn prune(work: &mut Work<'_>, unused: &[String]) -> Read<u64> {
    let sql = "DELETE FROM versions WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM good WHERE version = ?1)";
    let mut delete = work.tx.prepare_cached(sql)?;
    let mut gone = 0;
    for version in unused {
        gone += delete.execute([version])? as u64;
    }
    Ok(gone)
}
