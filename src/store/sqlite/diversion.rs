//! Messages that leave an account for another one.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::columns::if_readable;
use super::outbox::state;
use super::writer::Work;
use super::{Read, conversation, json, json_or_none, people, text};
use crate::clock::millis;
use crate::id::MessageId;
use crate::model::delivery::{Attempt, Degraded, MessageState, Part};
use crate::model::message::{Body, Content};
use crate::model::recipient::Recipient;
use crate::store::rows::Diversion;

/// Which messages may leave: a group for each recipient, in their order. A recipient's
/// messages move together: one that cannot move keeps the others.
pub fn plan(connection: &Connection, diversion: &Diversion) -> Read<Vec<Vec<MessageId>>> {
    let mut of: HashMap<String, (usize, bool)> = HashMap::new();
    let mut groups: Vec<Vec<MessageId>> = Vec::new();
    for sql in [
        "SELECT id, recipient, body, state, parts, run FROM messages
            WHERE account = ? AND seq IS NOT NULL AND state IN (1, 2) ORDER BY seq",
        "SELECT id, recipient, body, state, parts, run FROM messages
            WHERE state = 0 AND account = ? ORDER BY due_at",
    ] {
        let mut find = connection.prepare(sql)?;
        let mut rows = find.query([&diversion.from])?;
        while let Some(row) = rows.next()? {
            let to: String = row.get(1)?;
            // One that cannot be read stays where it is.
            let stays = if_readable(stays(connection, row, &to, diversion))?.unwrap_or(true)
                || people::opted_out(connection, &diversion.from, &to)?.is_some()
                || people::opted_out(connection, &diversion.to, &to)?.is_some();
            let (place, kept) = of.entry(to).or_insert_with(|| {
                groups.push(Vec::new());
                (groups.len() - 1, false)
            });
            *kept |= stays;
            groups[*place].push(MessageId::from_bytes(row.get(0)?));
        }
    }
    for (place, kept) in of.into_values() {
        if kept {
            groups[place].clear();
        }
    }
    groups.retain(|group| !group.is_empty());
    Ok(groups)
}

fn stays(connection: &Connection, row: &Row<'_>, to: &str, diversion: &Diversion) -> Read<bool> {
    let body: Body = json(row, 2)?;
    let parts: Vec<Part> = json_or_none(row, 4)?.unwrap_or_default();
    let reached = Recipient::from_canonical(to).is_ok_and(|to| diversion.capabilities.addresses(&to).is_ok());
    // What is on the wire settles where it is; ids, approved texts and raw fields are one gateway's.
    let bound = state(row, 3)? == MessageState::Sending
        || parts.iter().any(|part| part.is_out() || part.is_in_doubt())
        || matches!(body.content, Content::Reaction { .. } | Content::Template { .. })
        || !body.options.extra.is_empty();
    if bound || !reached || comes_between(connection, &body, row.get(5)?, to, diversion)? {
        return Ok(true);
    }
    let policy = body.options.on_unsupported.unwrap_or(diversion.on_unsupported);
    Ok(diversion.capabilities.adapt(body, policy, diversion.hosted).is_err())
}

/// Whether it asks something where another question is open: it waits until that is closed.
fn comes_between(
    connection: &Connection,
    body: &Body,
    run: Option<[u8; 16]>,
    to: &str,
    diversion: &Diversion,
) -> Read<bool> {
    match (&body.content, run) {
        (Content::Question { .. }, Some(run)) => conversation::has_open(connection, &diversion.to, to, Some(&run)),
        _ => Ok(false),
    }
}

/// Moves messages that are still there to the other account. Their tries begin anew there.
pub fn divert(work: &mut Work<'_>, ids: &[MessageId], diversion: &Diversion, now: Timestamp) -> Read<u64> {
    let mut moved = 0;
    let mut kept: HashSet<String> = HashSet::new();
    for id in ids {
        let sql = "SELECT body, state, degraded, attempts, recipient, run FROM messages
            WHERE id = ? AND account = ? AND state IN (0, 1)";
        let row = |row: &Row<'_>| {
            let degraded: Vec<Degraded> = if_readable(json_or_none(row, 2))?.flatten().unwrap_or_default();
            let (to, run) = (row.get::<_, String>(4)?, row.get::<_, Option<[u8; 16]>>(5)?);
            let attempts = if_readable(json::<Vec<Attempt>>(row, 3))?.unwrap_or_default();
            Ok((json::<Body>(row, 0)?, state(row, 1)?, degraded, attempts, to, run))
        };
        let mut find = work.tx.prepare_cached(sql)?;
        let found = if_readable(find.query_row(params![id.as_bytes(), diversion.from], row).optional())?.flatten();
        drop(find);
        let Some((mut body, state, mut degraded, mut attempts, to, run)) = found else { continue };
        // A question may have been put there since the plan was made. What comes behind it stays too.
        if kept.contains(&to) || comes_between(work.tx, &body, run, &to, diversion)? {
            kept.insert(to);
            continue;
        }
        for attempt in &mut attempts {
            attempt.account.get_or_insert_with(|| diversion.from.clone());
        }
        let note = |field: &str, action: String| Degraded { field: field.into(), action };
        let action = format!("`{}` instead of `{}`: {}", diversion.to, diversion.from, diversion.reason);
        degraded.push(note("account", action));
        if body.options.reply_to.take().is_some() {
            let action = format!("left out: the message that it answers is one of `{}`", diversion.from);
            degraded.push(note("reply_to", action));
        }
        let seq = (state == MessageState::Queued).then(|| work.memory.next_seq());
        let sql = "UPDATE messages SET account = ?, seq = ?, due_at = CASE WHEN state = 1 THEN NULL ELSE due_at END,
            tries = 0, body = ?, degraded = ?, attempts = ?, parts = NULL, changed_at = ? WHERE id = ?";
        work.tx.prepare_cached(sql)?.execute(params![
            diversion.to,
            seq,
            text(&body)?,
            text(&degraded)?,
            text(&attempts)?,
            millis(now),
            id.as_bytes()
        ])?;
        // Whoever waits for an answer waits for it there now.
        conversation::divert(work, *id, &diversion.from, &diversion.to)?;
        moved += 1;
    }
    if moved > 0 {
        work.rings.lane(&diversion.to);
    }
    Ok(moved)
}
