//! What accounts count: how much they sent on a day, whom they know, and who wrote to them.

use jiff::Timestamp;

use crate::model::phone::other_address;
use crate::store::records::{LastHeard, Spent};
use crate::store::tx::{Read, Tx, if_readable, values};

/// An account counts its days no more.
pub fn forget_days(tx: &dyn Tx, account: &str) -> Read<()> {
    tx.run("DELETE FROM days WHERE account = ?", values![account]).map(drop)
}

/// What was sent on a day, and to how many new people, as far as that can be read.
pub fn day(tx: &dyn Tx, account: &str, day: &str) -> Read<Option<(u32, u32)>> {
    let sql = "SELECT sent, new FROM days WHERE account = ? AND day = ?";
    Ok(if_readable(tx.first(sql, values![account, day], |row| Ok((row.get(0)?, row.get(1)?))))?.flatten())
}

/// Whether an account counts its days.
pub fn counts_days(tx: &dyn Tx, account: &str) -> Read<bool> {
    tx.exists("SELECT 1 FROM days WHERE account = ?", values![account])
}

/// Everybody who may have got a message of an account is known to it.
pub fn know_all(tx: &dyn Tx, account: &str) -> Read<()> {
    let sql = "INSERT INTO acquaintances (account, recipient) SELECT account, recipient FROM messages
            WHERE account = ? AND state IN (3, 4, 5, 6, 7) ON CONFLICT DO NOTHING";
    tx.run(sql, values![account]).map(drop)
}

/// A day begins; those before it are gone.
pub fn begin_day(tx: &dyn Tx, account: &str, day: &str) -> Read<()> {
    tx.run("DELETE FROM days WHERE account = ? AND day < ?", values![account, day])?;
    let sql = "INSERT INTO days (account, day, sent, new) VALUES (?, ?, 0, 0)
        ON CONFLICT (account, day) DO UPDATE SET sent = 0, new = 0";
    tx.run(sql, values![account, day]).map(drop)
}

/// What was sent on a day, and to how many new people.
pub fn set_day(tx: &dyn Tx, account: &str, day: &str, (sent, new): (u32, u32)) -> Read<()> {
    let sql = "UPDATE days SET sent = ?, new = ? WHERE account = ? AND day = ?";
    tx.run(sql, values![sent, new, account, day]).map(drop)
}

/// Whether somebody, in whatever spelling, got a message of an account before.
pub fn knows(tx: &dyn Tx, account: &str, to: &str) -> Read<bool> {
    let sql = "SELECT 1 FROM acquaintances WHERE account = ? AND recipient IN (?, ?)";
    tx.exists(sql, values![account, to, other_address(to).as_ref()])
}

/// Somebody who is not known yet gets a message of an account.
pub fn know(tx: &dyn Tx, account: &str, to: &str) -> Read<()> {
    tx.run("INSERT INTO acquaintances (account, recipient) VALUES (?, ?)", values![account, to]).map(drop)
}

/// Rows of `heard` that are no recipients.
const SINCE: &str = "";
const LATEST: &str = "*";
const HIDDEN: &str = "?";

/// An account gets events, since now if it got none before.
pub fn hears(tx: &dyn Tx, account: &str, now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO heard (account, recipient, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    tx.run(sql, values![account, SINCE, now])?;
    heard_at(tx, account, LATEST, now)
}

/// Somebody wrote to an account who hides the phone.
pub fn heard_hidden(tx: &dyn Tx, account: &str, now: Timestamp) -> Read<()> {
    heard_at(tx, account, HIDDEN, now)
}

/// Somebody wrote to an account; what is later counts.
pub fn heard_at(tx: &dyn Tx, account: &str, recipient: &str, at: Timestamp) -> Read<()> {
    let sql = "INSERT INTO heard (account, recipient, at) VALUES (?, ?, ?)
        ON CONFLICT (account, recipient)
        DO UPDATE SET at = CASE WHEN excluded.at > heard.at THEN excluded.at ELSE heard.at END";
    tx.run(sql, values![account, recipient, at]).map(drop)
}

/// What is known of when a recipient last wrote.
pub fn heard(tx: &dyn Tx, account: &str, recipient: &str) -> Read<LastHeard> {
    let sql = "SELECT at FROM heard WHERE account = ? AND recipient = ?";
    let at = |recipient: &str| tx.first(sql, values![account, recipient], |row| row.get(0));
    Ok(LastHeard { since: at(SINCE)?, latest: at(LATEST)?, hidden: at(HIDDEN)?, last: at(recipient)? })
}

/// How an account stands on one of its days.
pub fn spent(tx: &dyn Tx, account: &str, of: &str) -> Read<Spent> {
    let (sent, new) = day(tx, account, of)?.unzip();
    let at = |sql: &str| -> Read<Option<Timestamp>> {
        Ok(if_readable(tx.first(sql, values![account], |row| row.get(0)))?.flatten().flatten())
    };
    let oldest =
        "SELECT created_at FROM messages WHERE account = ? AND seq IS NOT NULL AND state = 1 ORDER BY seq LIMIT 1";
    let heard = "SELECT max(at) FROM incoming WHERE account = ?";
    Ok(Spent { sent, new, oldest: at(oldest)?, heard: at(heard)? })
}
