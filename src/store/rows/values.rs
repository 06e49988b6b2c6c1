//! The values of flows and of the workspace. Those of the workspace stand under the flow without a name.

use jiff::Timestamp;
use serde_json::Value;

use crate::store::tx::{Read, Tx, text, values};

/// A value that has not expired.
pub fn get(tx: &dyn Tx, flow: &str, key: &str, now: Timestamp) -> Read<Option<Value>> {
    let sql = "SELECT value FROM kv WHERE flow = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)";
    tx.first(sql, values![flow, key, now], |row| row.json(0))
}

/// A value that has not expired, and when it does, in milliseconds since 1970.
pub fn get_with_end(tx: &dyn Tx, flow: &str, key: &str, now: Timestamp) -> Read<Option<(Value, Option<i64>)>> {
    let sql = "SELECT value, expires_at FROM kv WHERE flow = ? AND key = ? AND (expires_at IS NULL OR expires_at > ?)";
    tx.first(sql, values![flow, key, now], |row| Ok((row.json(0)?, row.get(1)?)))
}

/// The names of values that have not expired, sorted.
pub fn keys(tx: &dyn Tx, flow: &str, prefix: &str, now: Timestamp) -> Read<Vec<String>> {
    let sql = "SELECT key FROM kv WHERE flow = ?1 AND key >= ?2 AND substr(key, 1, length(?2)) = ?2
        AND (expires_at IS NULL OR expires_at > ?3) ORDER BY key LIMIT 100000";
    tx.all(sql, values![flow, prefix, now], |row| row.get(0))
}

/// Sets a value.
pub fn set(tx: &dyn Tx, flow: &str, key: &str, value: &Value, expires_at: Option<i64>) -> Read<()> {
    let sql = "INSERT INTO kv (flow, key, value, expires_at) VALUES (?, ?, ?, ?)
        ON CONFLICT (flow, key) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at";
    tx.run(sql, values![flow, key, &text(value)?, expires_at]).map(drop)
}

/// Deletes a value.
pub fn delete(tx: &dyn Tx, flow: &str, key: &str) -> Read<()> {
    tx.run("DELETE FROM kv WHERE flow = ? AND key = ?", values![flow, key]).map(drop)
}

/// Some values that expired before this are gone.
pub fn delete_expired(tx: &dyn Tx, before: i64, most: usize) -> Read<()> {
    let sql = "DELETE FROM kv WHERE (flow, key) IN (SELECT flow, key FROM kv WHERE expires_at < ? LIMIT ?)";
    tx.run(sql, values![before, most]).map(drop)
}
