//! How far triggers have come, and what became of each of their instants.

use std::time::Duration;

use crate::model::occurrence::{Fate, Occurrence};
use crate::store::StoreError;
use crate::store::records::{ArmedRow, OccurrenceFilter, OccurrenceRecord, TriggerKey};
use crate::store::tx::{Columns, Read, Tx, values};

use super::lists::Where;

fn key(row: &dyn Columns) -> Read<TriggerKey> {
    Ok(TriggerKey { flow: row.get(0)?, trigger: row.get(1)? })
}

/// The triggers that are known.
pub fn armed(tx: &dyn Tx) -> Read<Vec<ArmedRow>> {
    tx.readable("SELECT flow, trigger, position FROM armed", values![], "schedules", |row| {
        Ok(ArmedRow { key: key(row)?, position: row.get(2)? })
    })
}

/// A trigger is known, and has come so far.
pub fn arm(tx: &dyn Tx, row: &ArmedRow) -> Read<()> {
    let sql = "INSERT INTO armed (flow, trigger, position) VALUES (?, ?, ?)
        ON CONFLICT (flow, trigger) DO UPDATE SET position = excluded.position";
    tx.run(sql, values![&row.key.flow, &row.key.trigger, row.position]).map(drop)
}

/// A trigger is not known any more. The record of what it did stays.
pub fn disarm(tx: &dyn Tx, key: &TriggerKey) -> Read<()> {
    tx.run("DELETE FROM armed WHERE flow = ? AND trigger = ?", values![&key.flow, &key.trigger]).map(drop)
}

/// A trigger that is known has come so far.
pub fn advance(tx: &dyn Tx, row: &ArmedRow) -> Read<()> {
    let sql = "UPDATE armed SET position = ? WHERE flow = ? AND trigger = ?";
    tx.run(sql, values![row.position, &row.key.flow, &row.key.trigger]).map(drop)
}

/// Writes down an instant's fate, unless it has one; says whether it did.
pub fn insert(tx: &dyn Tx, key: &TriggerKey, occurrence: &Occurrence) -> Read<bool> {
    let sql = "INSERT INTO occurrences (flow, trigger, at, until, count, fate, late_by, run, reason)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let values = values![
        &key.flow,
        &key.trigger,
        occurrence.at,
        occurrence.until,
        occurrence.count,
        occurrence.fate as i64,
        occurrence.late_by.map(|late| i64::try_from(late.as_millis()).unwrap_or(i64::MAX)),
        occurrence.run.as_ref().map(|run| run.id),
        occurrence.reason.as_ref(),
    ];
    Ok(tx.run(sql, values)? == 1)
}

/// Adds instants to those before them, which had the same fate for the same reason. Says whether there were such.
pub fn extend(tx: &dyn Tx, key: &TriggerKey, occurrence: &Occurrence) -> Read<bool> {
    let sql = "UPDATE occurrences SET until = ?, count = coalesce(count, 1) + ?
        WHERE flow = ? AND trigger = ? AND fate = ? AND reason = ? AND run IS NULL AND coalesce(until, at) < ? AND at =
            (SELECT max(at) FROM occurrences WHERE flow = ? AND trigger = ? AND at < ?)";
    let values = values![
        occurrence.until.unwrap_or(occurrence.at),
        occurrence.count.unwrap_or(1),
        &key.flow,
        &key.trigger,
        occurrence.fate as i64,
        occurrence.reason.as_ref(),
        occurrence.at,
        &key.flow,
        &key.trigger,
        occurrence.at,
    ];
    Ok(tx.run(sql, values)? == 1)
}

/// Occurrences, newest first.
pub fn occurrences(tx: &dyn Tx, filter: &OccurrenceFilter) -> Read<Vec<OccurrenceRecord>> {
    let mut only = Where::default();
    if let Some(flow) = &filter.flow {
        only.and("flow = ?", flow);
    }
    if let Some(from) = filter.from {
        only.and("coalesce(until, at) >= ?", from);
    }
    if let Some(to) = filter.to {
        only.and("at < ?", to);
    }
    let sql = format!(
        "SELECT flow, trigger, at, until, count, fate, late_by, run, reason FROM occurrences {}
        ORDER BY at DESC, flow, trigger LIMIT {}",
        only.sql(),
        filter.limit
    );
    tx.readable(&sql, &only.values, "occurrences", |row| {
        let number: i64 = row.get(5)?;
        let fate = usize::try_from(number).ok().and_then(|number| Fate::ALL.get(number).copied());
        Ok(OccurrenceRecord {
            key: key(row)?,
            at: row.get(2)?,
            until: row.get(3)?,
            count: row.get(4)?,
            fate: fate.ok_or_else(|| StoreError::Unreadable(format!("there is no fate {number}")))?,
            late_by: row.get::<Option<i64>>(6)?.map(|late| Duration::from_millis(late.unsigned_abs())),
            run: row.get(7)?,
            reason: row.get(8)?,
        })
    })
}
