//! The sandbox's phones, and the browsers that may look at them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::{if_readable, json, readable};
use super::writer::Work;
use super::{Read, text};
use crate::clock::{from_millis, millis};
use crate::feed::Change;
use crate::id::MessageId;
use crate::store::rows::{Handset, HandsetChange, PhoneMessage};

/// Puts a message onto a phone, once for each id; says whether the phone is on.
pub fn receive(work: &mut Work<'_>, message: &PhoneMessage) -> Read<bool> {
    let sql = "INSERT INTO phones (id, account, recipient, body, at, incoming) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT DO NOTHING";
    work.tx.prepare_cached(sql)?.execute(params![
        message.id.as_bytes(),
        message.account,
        message.to,
        text(&message.body)?,
        millis(message.at),
        message.incoming,
    ])?;
    work.rings.note(|| Change::Phone { phone: message.to.clone() });
    let off = "SELECT 1 FROM handsets WHERE phone = ? AND off = 1";
    Ok(!work.tx.prepare_cached(off)?.exists([&message.to])?)
}

/// What the phones got, or one of them.
pub fn messages(connection: &Connection, phone: Option<&str>, limit: usize) -> Read<Vec<PhoneMessage>> {
    let of_all = "SELECT id, account, recipient, body, at, incoming FROM phones ORDER BY at DESC, id DESC LIMIT ?1";
    let of_one = "SELECT id, account, recipient, body, at, incoming FROM phones WHERE recipient = ?2
        ORDER BY at DESC, id DESC LIMIT ?1";
    let row = |row: &Row<'_>| {
        Ok(PhoneMessage {
            id: MessageId::from_bytes(row.get(0)?),
            account: row.get(1)?,
            to: row.get(2)?,
            body: json(row, 3)?,
            at: from_millis(row.get(4)?),
            incoming: row.get(5)?,
        })
    };
    let mut find = connection.prepare_cached(if phone.is_some() { of_one } else { of_all })?;
    match phone {
        Some(phone) => readable(find.query_map(params![limit as i64, phone], row)?, "phones"),
        None => readable(find.query_map([limit as i64], row)?, "phones"),
    }
}

/// Most phones that are told of.
const MOST: i64 = 100;

/// The phones, found by one step down the index for each.
pub fn all(connection: &Connection) -> Read<Vec<Handset>> {
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
    let row = |row: &Row<'_>| {
        Ok(Handset {
            phone: row.get(0)?,
            name: if_readable(row.get(1))?.flatten(),
            off: if_readable(row.get::<_, Option<bool>>(2))?.flatten().unwrap_or_default(),
            at: from_millis(row.get(3)?),
        })
    };
    readable(connection.prepare_cached(sql)?.query_map([MOST], row)?, "phones")
}

/// Makes a phone, or changes it.
pub fn change(work: &mut Work<'_>, phone: &str, change: &HandsetChange, now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO handsets (phone, name, off, at) VALUES (?1, ?2, coalesce(?3, 0), ?4)
        ON CONFLICT (phone) DO UPDATE SET name = coalesce(?2, handsets.name), off = coalesce(?3, handsets.off)";
    work.tx.prepare_cached(sql)?.execute(params![phone, change.name, change.off, millis(now)])?;
    work.rings.note(|| Change::Phone { phone: phone.to_owned() });
    Ok(())
}

/// Takes everything off the phones.
pub fn empty(work: &mut Work<'_>) -> Read<()> {
    for sql in ["DELETE FROM phones", "DELETE FROM handsets"] {
        work.tx.execute(sql, [])?;
    }
    work.rings.note(|| Change::Phone { phone: String::new() });
    Ok(())
}

/// Lets a browser in.
pub fn open_session(work: &mut Work<'_>, digest: &[u8; 32], now: Timestamp) -> Read<()> {
    let sql = "INSERT INTO sessions (digest, created_at, used_at) VALUES (?1, ?2, ?2)
        ON CONFLICT (digest) DO UPDATE SET created_at = excluded.created_at, used_at = excluded.used_at";
    work.tx.prepare_cached(sql)?.execute(params![digest, millis(now)])?;
    Ok(())
}

/// Whether a browser is let in.
pub fn session(connection: &Connection, digest: &[u8; 32], oldest: Timestamp) -> Read<bool> {
    let sql = "SELECT 1 FROM sessions WHERE digest = ? AND created_at >= ?";
    let found = connection.prepare_cached(sql)?.query_row(params![digest, millis(oldest)], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

/// Lets browsers in no more.
pub fn close_sessions(work: &mut Work<'_>, digest: Option<&[u8; 32]>) -> Read<u64> {
    let closed = match digest {
        Some(digest) => work.tx.prepare_cached("DELETE FROM sessions WHERE digest = ?")?.execute([digest])?,
        None => work.tx.prepare_cached("DELETE FROM sessions")?.execute([])?,
    };
    Ok(closed as u64)
}
