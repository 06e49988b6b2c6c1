//! What people wrote.

use jiff::Timestamp;
use serde_json::Value;

use crate::id::RunId;
use crate::store::tx::{Read, Tx, text, values};

/// Writes an event down; says whether it is new.
pub fn insert(tx: &dyn Tx, (account, id): (&str, &str), sender: &str, event: &Value, now: Timestamp) -> Read<bool> {
    let sql = "INSERT INTO incoming (account, id, at, sender, event, fate, chat) VALUES (?, ?, ?, ?, ?, '', ?)
        ON CONFLICT DO NOTHING";
    let (chat, event) = (event["chat"].as_str(), text(event)?);
    Ok(tx.run(sql, values![account, id, now, sender, &event, chat])? == 1)
}

/// What became of an event.
pub fn set_fate(tx: &dyn Tx, account: &str, id: &str, fate: &str, run: Option<RunId>) -> Read<()> {
    let sql = "UPDATE incoming SET fate = ?, run = ? WHERE account = ? AND id = ?";
    tx.run(sql, values![fate, run, account, id]).map(drop)
}

/// Some of what is older than this is gone.
pub fn delete_before(tx: &dyn Tx, before: i64) -> Read<()> {
    let sql = "DELETE FROM incoming WHERE (account, id) IN
        (SELECT account, id FROM incoming WHERE at < ? ORDER BY at LIMIT 25000)";
    tx.run(sql, values![before]).map(drop)
}
