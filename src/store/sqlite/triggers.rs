//! What triggers know: how far their schedules have come, and which files they have seen.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Row, params, params_from_iter};

use super::columns::readable;
use super::reading::Where;
use super::writer::{Refusal, Work};
use super::{Read, instant, runs};
use crate::clock::{from_millis, millis};
use crate::feed::Change;
use crate::id::RunId;
use crate::model::occurrence::{Fate, Occurrence};
use crate::store::rows::{
    ArmedRow, Firing, LedgerRow, NewTrigger, OccurrenceFilter, OccurrenceRecord, Seen, TriggerKey,
};

pub fn armed(connection: &Connection) -> Read<Vec<ArmedRow>> {
    let mut find = connection.prepare_cached("SELECT flow, trigger, position FROM armed")?;
    let row = |row: &Row<'_>| Ok(ArmedRow { key: key(row)?, position: from_millis(row.get(2)?) });
    readable(find.query_map([], row)?, "schedules")
}

fn key(row: &Row<'_>) -> Read<TriggerKey> {
    let text = |column| -> Read<Arc<str>> { Ok(Arc::from(row.get_ref(column)?.as_str()?)) };
    Ok(TriggerKey { flow: text(0)?, trigger: text(1)? })
}

pub fn arm(work: &mut Work<'_>, gone: &[TriggerKey], come: &[NewTrigger]) -> Read<()> {
    for sql in ["DELETE FROM armed WHERE flow = ? AND trigger = ?", "DELETE FROM ledger WHERE flow = ? AND trigger = ?"]
    {
        let mut forget = work.tx.prepare_cached(sql)?;
        for TriggerKey { flow, trigger } in gone {
            forget.execute(params![flow, trigger])?;
        }
    }
    let sql = "INSERT INTO armed (flow, trigger, position) VALUES (?, ?, ?)
        ON CONFLICT (flow, trigger) DO UPDATE SET position = excluded.position";
    let mut insert = work.tx.prepare_cached(sql)?;
    for NewTrigger { row, past, files } in come {
        let TriggerKey { flow, trigger } = &row.key;
        insert.execute(params![flow, trigger, millis(row.position)])?;
        if let Some(past) = past {
            record(work, &row.key, past)?;
        }
        for file in files {
            write(work, &row.key, file)?;
        }
    }
    Ok(())
}

pub fn fire(work: &mut Work<'_>, firings: &[Firing]) -> Result<u64, Refusal> {
    // Whoever fires can wait; but what it hands in together comes in together.
    for Firing { row, .. } in firings {
        runs::door(work, &row.key.flow, 1)?;
    }
    let mut begun = 0;
    for Firing { row, occurrences } in firings {
        for occurrence in occurrences {
            // An instant that has its fate already begins nothing again.
            if record(work, &row.key, occurrence)?
                && let Some(run) = &occurrence.run
            {
                runs::insert(work, run)?;
                begun += 1;
            }
        }
        let sql = "UPDATE armed SET position = ? WHERE flow = ? AND trigger = ?";
        let values = params![millis(row.position), row.key.flow, row.key.trigger];
        work.tx.prepare_cached(sql)?.execute(values)?;
    }
    Ok(begun)
}

/// Writes down an instant's fate, unless it has one; says whether it did.
fn record(work: &mut Work<'_>, key: &TriggerKey, occurrence: &Occurrence) -> Read<bool> {
    let sql = "INSERT INTO occurrences (flow, trigger, at, until, count, fate, late_by, run, reason)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let written = work.tx.prepare_cached(sql)?.execute(params![
        key.flow,
        key.trigger,
        millis(occurrence.at),
        occurrence.until.map(millis),
        occurrence.count,
        occurrence.fate as i64,
        occurrence.late_by.map(|late| i64::try_from(late.as_millis()).unwrap_or(i64::MAX)),
        occurrence.run.as_ref().map(|run| *run.id.as_bytes()),
        occurrence.reason,
    ])?;
    if written == 1 {
        if let Some(late) = occurrence.late_by {
            work.rings.late(late);
        }
        work.rings.note(|| Change::Occurrence { flow: key.flow.to_string(), fate: occurrence.fate.name() });
    }
    Ok(written == 1)
}

pub fn occurrences(connection: &Connection, filter: &OccurrenceFilter) -> Read<Vec<OccurrenceRecord>> {
    let mut only = Where::default();
    if let Some(flow) = &filter.flow {
        only.and("flow = ?", flow.clone());
    }
    if let Some(from) = filter.from {
        only.and("coalesce(until, at) >= ?", millis(from));
    }
    if let Some(to) = filter.to {
        only.and("at < ?", millis(to));
    }
    let sql = format!(
        "SELECT flow, trigger, at, until, count, fate, late_by, run, reason FROM occurrences {}
        ORDER BY at DESC, flow, trigger LIMIT {}",
        only.sql(),
        filter.limit
    );
    let row = |row: &Row<'_>| {
        let number: i64 = row.get(5)?;
        let fate = usize::try_from(number).ok().and_then(|number| Fate::ALL.get(number).copied());
        Ok(OccurrenceRecord {
            key: key(row)?,
            at: from_millis(row.get(2)?),
            until: instant(row, 3)?,
            count: row.get(4)?,
            fate: fate.ok_or(rusqlite::Error::IntegralValueOutOfRange(5, number))?,
            late_by: row.get::<_, Option<i64>>(6)?.map(|late| Duration::from_millis(late.unsigned_abs())),
            run: row.get::<_, Option<[u8; 16]>>(7)?.map(RunId::from_bytes),
            reason: row.get(8)?,
        })
    };
    readable(connection.prepare(&sql)?.query_map(params_from_iter(only.values), row)?, "occurrences")
}

pub fn ledger(connection: &Connection, key: &TriggerKey) -> Read<Vec<LedgerRow>> {
    let sql = "SELECT path, size, modified, hash, gone_at FROM ledger WHERE flow = ? AND trigger = ?";
    let row = |row: &Row<'_>| {
        Ok(LedgerRow {
            path: row.get(0)?,
            size: row.get::<_, i64>(1)?.unsigned_abs(),
            modified: row.get(2)?,
            hash: row.get(3)?,
            gone_at: instant(row, 4)?,
        })
    };
    readable(connection.prepare_cached(sql)?.query_map(params![key.flow, key.trigger], row)?, "seen files")
}

pub fn see(work: &mut Work<'_>, key: &TriggerKey, seen: &[Seen], forget: Timestamp) -> Result<(), Refusal> {
    if seen.iter().any(|seen| seen.run.is_some()) {
        runs::door(work, &key.flow, 1)?;
    }
    for Seen { row, run } in seen {
        write(work, key, row)?;
        if let Some(run) = run {
            runs::insert(work, run)?;
        }
    }
    let sql = "DELETE FROM ledger WHERE flow = ? AND trigger = ? AND gone_at < ?";
    work.tx.prepare_cached(sql)?.execute(params![key.flow, key.trigger, millis(forget)])?;
    Ok(())
}

fn write(work: &Work<'_>, key: &TriggerKey, row: &LedgerRow) -> Read<()> {
    let sql = "INSERT INTO ledger (flow, trigger, path, size, modified, hash, gone_at)
        VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (flow, trigger, path) DO UPDATE SET size = excluded.size,
        modified = excluded.modified, hash = excluded.hash, gone_at = excluded.gone_at";
    work.tx.prepare_cached(sql)?.execute(params![
        key.flow,
        key.trigger,
        row.path,
        i64::try_from(row.size).unwrap_or(i64::MAX),
        row.modified,
        row.hash,
        row.gone_at.map(millis),
    ])?;
    Ok(())
}
