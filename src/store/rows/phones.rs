//! The sandbox's phones, and the browsers that may look at them.

use jiff::Timestamp;

use crate::store::records::{Handset, HandsetChange, PhoneMessage};
use crate::store::tx::{Columns, Read, Tx, text, values};

/// Puts a message onto a phone, once for each id.
pub fn insert(tx: &dyn Tx, message: &PhoneMessage) -> Read<()> {
    let sql = "INSERT INTO phones (id, account, recipient, body, at, incoming) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT DO NOTHING";
    let body = text(&message.body)?;
    let values = values![message.id, &message.account, &message.to, &body, message.at, message.incoming];
    tx.run(sql, values)?;
    match message.body.content.blob() {
        Some(blob) => super::keep::attach(tx, blob, message.id, true),
        None => Ok(()),
    }
}

/// Whether a phone is switched off.
pub fn is_off(tx: &dyn Tx, phone: &str) -> Read<bool> {
    tx.exists("SELECT 1 FROM handsets WHERE phone = ? AND off = 1", values![phone])
}

/// What the phones got, or one of them.
pub fn messages(tx: &dyn Tx, phone: Option<&str>, limit: usize) -> Read<Vec<PhoneMessage>> {
    let of_all = "SELECT id, account, recipient, body, at, incoming FROM phones ORDER BY at DESC, id DESC LIMIT ?1";
    let of_one = "SELECT id, account, recipient, body, at, incoming FROM phones WHERE recipient = ?2
        ORDER BY at DESC, id DESC LIMIT ?1";
    let row = |row: &dyn Columns| {
        Ok(PhoneMessage {
            id: row.get(0)?,
            account: row.get(1)?,
            to: row.get(2)?,
            body: row.json(3)?,
            at: row.get(4)?,
            incoming: row.get(5)?,
        })
    };
    match phone {
        Some(phone) => tx.readable(of_one, values![limit, phone], "phones", row),
        None => tx.readable(of_all, values![limit], "phones", row),
    }
}

/// Most phones that are told of.
const MOST: usize = 100;

/// The phones, found by one step down the index for each.
pub fn all(tx: &dyn Tx) -> Read<Vec<Handset>> {
    let sql = "WITH RECURSIVE numbers (phone) AS (
            SELECT min(recipient) FROM phones
            UNION ALL
            SELECT (SELECT min(recipient) FROM phones WHERE recipient > numbers.phone) FROM numbers
            WHERE numbers.phone IS NOT NULL
        )
        SELECT phone, name, off, CASE WHEN heard > made THEN heard ELSE made END AS last FROM (
            SELECT known.phone AS phone, name, off, coalesce(at, 0) AS made,
                coalesce((SELECT max(at) FROM phones WHERE recipient = known.phone), 0) AS heard
            FROM (SELECT phone FROM numbers WHERE phone IS NOT NULL UNION SELECT phone FROM handsets) AS known
            LEFT JOIN handsets ON handsets.phone = known.phone
        ) AS stood ORDER BY last DESC, phone LIMIT ?";
    tx.readable(sql, values![MOST], "phones", |row| {
        Ok(Handset {
            phone: row.get(0)?,
            name: row.maybe::<Option<String>>(1)?.flatten(),
            off: row.maybe::<Option<bool>>(2)?.flatten().unwrap_or_default(),
            at: row.get(3)?,
        })
    })
}

/// Makes a phone, or changes it.
pub fn change(tx: &dyn Tx, phone: &str, change: &HandsetChange, now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO handsets (phone, name, off, at) VALUES (?1, ?2, coalesce(?3, 0), ?4)
        ON CONFLICT (phone) DO UPDATE SET name = coalesce(?2, handsets.name), off = coalesce(?3, handsets.off)";
    tx.run(sql, values![phone, change.name.as_ref(), change.off, now]).map(drop)
}

/// Takes everything off the phones, and the phones too.
pub fn delete_all(tx: &dyn Tx) -> Read<()> {
    tx.run("DELETE FROM phones", values![])?;
    tx.run("DELETE FROM attached WHERE phone = 1", values![])?;
    tx.run("DELETE FROM handsets", values![]).map(drop)
}

/// Lets a browser in.
pub fn open_session(tx: &dyn Tx, digest: &[u8; 32], now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO sessions (digest, created_at, used_at) VALUES (?1, ?2, ?2)
        ON CONFLICT (digest) DO UPDATE SET created_at = excluded.created_at, used_at = excluded.used_at";
    tx.run(sql, values![digest, now]).map(drop)
}

/// Whether a browser is let in that was since then.
pub fn has_session(tx: &dyn Tx, digest: &[u8; 32], oldest: Timestamp) -> Read<bool> {
    tx.exists("SELECT 1 FROM sessions WHERE digest = ? AND created_at >= ?", values![digest, oldest])
}

/// Lets a browser in no more, or all of them. Gives how many.
pub fn close_sessions(tx: &dyn Tx, digest: Option<&[u8; 32]>) -> Read<u64> {
    match digest {
        Some(digest) => tx.run("DELETE FROM sessions WHERE digest = ?", values![digest]),
        None => tx.run("DELETE FROM sessions", values![]),
    }
}
