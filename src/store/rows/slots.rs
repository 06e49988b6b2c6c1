//! Places of open runs among those of their flow.

use crate::id::RunId;
use crate::model::run::Slot;
use crate::store::records::Line;
use crate::store::tx::{Read, Tx, values};

/// Flows with places that are taken, or waited for.
pub fn flows(tx: &dyn Tx) -> Read<Vec<String>> {
    tx.readable("SELECT DISTINCT flow FROM slots", values![], "slots", |row| row.get(0))
}

/// Runs that wait in line, by flow.
pub fn in_line(tx: &dyn Tx) -> Read<Vec<(String, u64)>> {
    let sql = "SELECT flow, count(*) FROM slots WHERE held = 0 GROUP BY flow";
    tx.readable(sql, values![], "slots", |row| Ok((row.get(0)?, row.get::<i64>(1)?.unsigned_abs())))
}

/// How many are under way.
pub fn held(tx: &dyn Tx, flow: &str, part: &str) -> Read<u64> {
    let sql = "SELECT count(*) FROM slots WHERE flow = ? AND part = ? AND held = 1";
    let count = tx.first(sql, values![flow, part], |row| row.get::<i64>(0))?;
    Ok(count.unwrap_or_default().unsigned_abs())
}

/// Those under way, the oldest first.
pub fn holders(tx: &dyn Tx, flow: &str, part: &str) -> Read<Vec<RunId>> {
    let sql = "SELECT run FROM slots WHERE flow = ? AND part = ? AND held = 1 ORDER BY place";
    tx.readable(sql, values![flow, part], "slots", |row| row.get(0))
}

/// A run takes a place, or stands in line for one.
pub fn take(tx: &dyn Tx, run: RunId, flow: &str, slot: &Slot, place: i64, held: bool) -> Read<()> {
    let sql = "INSERT INTO slots (run, flow, part, most, place, held) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    tx.run(sql, values![run, flow, &slot.part, slot.most, place, held]).map(drop)
}

/// The first one in line, with how many may be under way.
pub fn next(tx: &dyn Tx, flow: &str, part: &str) -> Read<Option<(RunId, u64)>> {
    let sql = "SELECT run, most FROM slots WHERE flow = ? AND part = ? AND held = 0 ORDER BY place LIMIT 1";
    tx.first(sql, values![flow, part], |row| Ok((row.get(0)?, row.get::<i64>(1)?.unsigned_abs())))
}

/// All of those in line, the oldest first.
pub fn line(tx: &dyn Tx, flow: &str, part: &str) -> Read<Vec<RunId>> {
    let sql = "SELECT run FROM slots WHERE flow = ? AND part = ? AND held = 0 ORDER BY place";
    tx.readable(sql, values![flow, part], "slots", |row| row.get(0))
}

/// Where a run stands in line, if it does.
pub fn standing(tx: &dyn Tx, run: RunId) -> Read<Option<Line>> {
    let sql = "SELECT flow, part, place FROM slots WHERE run = ? AND held = 0";
    let found =
        tx.first(sql, values![run], |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?, row.get::<i64>(2)?)))?;
    let Some((flow, part, place)) = found else { return Ok(None) };
    let sql = "SELECT count(*) FROM slots WHERE flow = ? AND part = ? AND held = 0 AND place < ?";
    let before = tx.first(sql, values![&flow, &part, place], |row| row.get::<i64>(0))?.unwrap_or_default();
    Ok(Some(Line { holders: holders(tx, &flow, &part)?, before: before.unsigned_abs() }))
}

/// The parts of a flow that runs stand in line for.
pub fn parts_with_a_line(tx: &dyn Tx, flow: &str) -> Read<Vec<String>> {
    let sql = "SELECT DISTINCT part FROM slots WHERE flow = ? AND held = 0";
    tx.readable(sql, values![flow], "slots", |row| row.get(0))
}

/// So many may be under way from now on, also of those in line.
pub fn go_by(tx: &dyn Tx, flow: &str, slot: &Slot) -> Read<()> {
    let sql = "UPDATE slots SET most = ? WHERE flow = ? AND part = ? AND held = 0 AND most <> ?";
    tx.run(sql, values![slot.most, flow, &slot.part, slot.most]).map(drop)
}

/// The one in line has a place now.
pub fn hold(tx: &dyn Tx, run: RunId) -> Read<()> {
    tx.run("UPDATE slots SET held = 1 WHERE run = ?", values![run]).map(drop)
}

/// A run gives its place back, or leaves the line. Gives where it was.
pub fn leave(tx: &dyn Tx, run: RunId) -> Read<Option<(String, String)>> {
    tx.first("DELETE FROM slots WHERE run = ? RETURNING flow, part", values![run], |row| Ok((row.get(0)?, row.get(1)?)))
}
