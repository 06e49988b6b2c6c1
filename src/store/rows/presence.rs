//! When the engine was there, and when it was not.

use jiff::Timestamp;

use crate::store::StoreError;
use crate::store::records::{Beat, Gap, GapKind};
use crate::store::tx::{Read, Tx, values};

/// The engine is there.
pub fn beat(tx: &dyn Tx, beat: Beat) -> Read<()> {
    let sql = "INSERT INTO heartbeat (one, at, stopped) VALUES (1, ?, ?)
        ON CONFLICT (one) DO UPDATE SET at = excluded.at, stopped = excluded.stopped";
    tx.run(sql, values![beat.at, beat.stopped]).map(drop)
}

/// When it was last known to be there: by its beat, or by what the last runs did since.
pub fn last_beat(tx: &dyn Tx) -> Read<Option<Beat>> {
    let found = tx.readable("SELECT at, stopped FROM heartbeat", values![], "heartbeat", |row| {
        Ok(Beat { at: row.get(0)?, stopped: row.get::<i64>(1)? != 0 })
    })?;
    let Some(beat) = found.into_iter().next() else { return Ok(None) };
    let sql = "SELECT coalesce(finished_at, started_at, created_at) FROM runs ORDER BY id DESC LIMIT 50";
    let signs = tx.readable(sql, values![], "runs", |row| row.get::<Timestamp>(0))?;
    let later = signs.into_iter().filter(|_| !beat.stopped).max();
    Ok(Some(Beat { at: later.map_or(beat.at, |sign| sign.max(beat.at)), ..beat }))
}

/// It was not there, or its clock was moved.
pub fn add(tx: &dyn Tx, gap: &Gap) -> Read<()> {
    let sql = "INSERT INTO gaps (begun, ended, kind) VALUES (?, ?, ?)
        ON CONFLICT (begun, kind) DO UPDATE SET ended = excluded.ended";
    tx.run(sql, values![gap.from, gap.to, gap.kind as i64]).map(drop)
}

/// Gaps that reach into a span, oldest first.
pub fn gaps(tx: &dyn Tx, from: Timestamp, to: Timestamp) -> Read<Vec<Gap>> {
    let sql = "SELECT begun, ended, kind FROM gaps WHERE begun < ? AND ended >= ? ORDER BY begun, kind LIMIT 1000";
    tx.readable(sql, values![to, from], "gaps", |row| {
        let number: i64 = row.get(2)?;
        let kind = usize::try_from(number).ok().and_then(|number| GapKind::ALL.get(number).copied());
        let kind = kind.ok_or_else(|| StoreError::Unreadable(format!("there is no gap {number}")))?;
        Ok(Gap { from: row.get(0)?, to: row.get(1)?, kind })
    })
}
