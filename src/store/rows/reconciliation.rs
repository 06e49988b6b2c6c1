//! By what ids gateways know our messages, and what they told of ids that were not known yet.

use jiff::Timestamp;

use crate::id::MessageId;
use crate::store::tx::{Read, Tx, Value, if_readable, text, values};

const POST: &str = "INSERT INTO posted (account, provider_id, message) VALUES (?, ?, ?)
        ON CONFLICT (account, provider_id) DO UPDATE SET message = excluded.message";

/// An account's gateway knows a message by this id (the part of it that stays the same).
pub fn post(tx: &dyn Tx, account: &str, bare_id: &str, message: MessageId) -> Read<()> {
    tx.run(POST, values![account, bare_id, message]).map(drop)
}

/// The same of many.
pub fn post_all(tx: &dyn Tx, posted: &[(&str, &str, MessageId)]) -> Read<()> {
    let rows = posted.iter().map(|(account, id, message)| vec![(*account).into(), (*id).into(), (*message).into()]);
    tx.run_each(POST, &rows.collect::<Vec<Vec<Value<'_>>>>()).map(drop)
}

const MESSAGE_OF: &str = "SELECT message FROM posted WHERE account = ? AND provider_id IN (?, ?)";

/// The message that an id means, in its bare form or, in files of earlier versions, as the gateway's answer gave it.
pub fn message_of(tx: &dyn Tx, account: &str, bare_id: &str, whole_id: &str) -> Read<Option<MessageId>> {
    tx.first(MESSAGE_OF, values![account, bare_id, whole_id], |row| row.get(0))
}

/// The messages that ids of accounts mean, each in the place of its id.
pub fn messages_of(tx: &dyn Tx, ids: &[(&str, &str, &str)]) -> Read<Vec<Option<MessageId>>> {
    let rows = ids.iter().map(|(account, bare, whole)| vec![(*account).into(), (*bare).into(), (*whole).into()]);
    let mut found = vec![None; ids.len()];
    tx.visit_each(MESSAGE_OF, &rows.collect::<Vec<Vec<Value<'_>>>>(), &mut |place, row| {
        found[place] = found[place].or(Some(row.get(0)?));
        Ok(())
    })?;
    Ok(found)
}

/// An id means no message any more.
pub fn unpost(tx: &dyn Tx, account: Option<&String>, bare_id: &str, whole_id: &str) -> Read<()> {
    let sql = "DELETE FROM posted WHERE account = ? AND provider_id IN (?, ?)";
    tx.run(sql, values![account, bare_id, whole_id]).map(drop)
}

/// Whether anything was told too early.
pub fn any_early(tx: &dyn Tx) -> Read<bool> {
    tx.exists("SELECT 1 FROM early", values![])
}

/// What was told of an id before it was known: a fate as JSON, as far as it can be read. It is gone by that. With
/// when it was told, in milliseconds since 1970.
pub fn take_early<T: serde::de::DeserializeOwned>(
    tx: &dyn Tx,
    account: &str,
    bare_id: &str,
) -> Read<Option<(Option<T>, i64)>> {
    let sql = "DELETE FROM early WHERE account = ? AND provider_id = ? RETURNING fate, at";
    tx.first(sql, values![account, bare_id], |row| Ok((if_readable(row.json_or_none(0))?.flatten(), row.get(1)?)))
}

/// The fate that was told of an id, as far as it can be read.
pub fn early_fate<T: serde::de::DeserializeOwned>(tx: &dyn Tx, account: &str, bare_id: &str) -> Read<Option<T>> {
    let sql = "SELECT fate FROM early WHERE account = ? AND provider_id = ?";
    let found = tx.first(sql, values![account, bare_id], |row| row.json_or_none(0));
    Ok(if_readable(found)?.flatten().flatten())
}

/// A fate was told of an id that is not known; of which message of ours, if it says so.
pub fn keep_fate(
    tx: &dyn Tx,
    (account, bare_id): (&str, &str),
    fate: &impl serde::Serialize,
    ours: Option<MessageId>,
    now: Timestamp,
) -> Read<()> {
    let sql = "INSERT INTO early (account, provider_id, at, fate, ours) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (account, provider_id) DO UPDATE SET fate = excluded.fate, ours = excluded.ours";
    let (fate, ours) = (text(fate)?, ours.map(|ours| ours.to_string()));
    tx.run(sql, values![account, bare_id, now, &fate, ours.as_ref()]).map(drop)
}

/// A message of our own came back in a chat, under an id that is not known.
pub fn keep_echo(
    tx: &dyn Tx,
    (account, bare_id): (&str, &str),
    echo: &impl serde::Serialize,
    chat: &str,
    now: Timestamp,
) -> Read<()> {
    let sql = "INSERT INTO early (account, provider_id, at, echo, chat) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (account, provider_id) DO UPDATE SET echo = excluded.echo, chat = excluded.chat";
    tx.run(sql, values![account, bare_id, now, &text(echo)?, chat]).map(drop)
}

/// What was told of a message by our own id of it, each with the gateway's id, in order.
pub fn early_of<T: serde::de::DeserializeOwned>(
    tx: &dyn Tx,
    account: &str,
    ours: MessageId,
    since: i64,
) -> Read<Vec<(String, T)>> {
    let sql = "SELECT provider_id, fate FROM early WHERE account = ? AND ours = ? AND at >= ? ORDER BY at";
    let ours = ours.to_string();
    tx.readable(sql, values![account, &ours, since], "early acks", |row| Ok((row.get(0)?, row.json(1)?)))
}

/// Messages of our own that came back in a chat, each with the gateway's id and when it came (milliseconds since
/// 1970), in order.
pub fn early_echoes<T: serde::de::DeserializeOwned>(
    tx: &dyn Tx,
    account: &str,
    chat: &str,
    since: i64,
) -> Read<Vec<(String, i64, T)>> {
    let sql = "SELECT provider_id, at, echo FROM early
        WHERE account = ? AND chat = ? AND chat IS NOT NULL AND at >= ? ORDER BY at";
    tx.readable(sql, values![account, chat, since], "early echoes", |row| Ok((row.get(0)?, row.get(1)?, row.json(2)?)))
}

/// What is older than this is gone.
pub fn delete_before(tx: &dyn Tx, before: i64) -> Read<()> {
    tx.run("DELETE FROM early WHERE at < ?", values![before]).map(drop)
}
