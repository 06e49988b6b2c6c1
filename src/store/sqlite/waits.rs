//! Runs that wait for what becomes of a message.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::columns::readable;
use super::conversation;
use super::outbox::state;
use super::runs::{make_ready, set_aside};
use super::writer::Work;
use super::{Read, conversation::ASKED};
use crate::clock::millis;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Goal, MessageState};
use crate::model::question::{Question, Wait};

/// Notes that a run waits for a message; says whether the wait is over already.
pub fn wait_for(work: &mut Work<'_>, run: RunId, message: MessageId, goal: &str) -> Read<bool> {
    let sql = "SELECT state FROM messages WHERE id = ?";
    let now = work.tx.prepare_cached(sql)?.query_row([message.as_bytes()], |row| state(row, 0)).optional()?;
    let goal_kind = Goal::parse(goal).unwrap_or(Goal::Settled);
    // A message that is no longer kept will never change again.
    if now.is_none_or(|state| state.answers(goal_kind)) {
        return Ok(true);
    }
    let sql = "SELECT 1 FROM clicks WHERE message = ?";
    if goal_kind == Goal::Clicked && work.tx.prepare_cached(sql)?.exists([message.as_bytes()])? {
        return Ok(true);
    }
    note(work, &message, run.as_bytes(), goal)?;
    Ok(false)
}

/// Notes that somebody wants to know of every step of a message.
pub fn note(work: &Work<'_>, message: &MessageId, run: &[u8; 16], goal: &str) -> Read<()> {
    let sql = "INSERT INTO waits (message, run, goal) VALUES (?, ?, ?)
        ON CONFLICT (message, run) DO UPDATE SET goal = excluded.goal";
    work.tx.prepare_cached(sql)?.execute(params![message.as_bytes(), run, goal])?;
    let sql = "UPDATE messages SET waited = 1 WHERE id = ?";
    work.tx.prepare_cached(sql)?.execute([message.as_bytes()])?;
    Ok(())
}

/// A message that somebody waits for has come to another state.
pub fn moved(work: &mut Work<'_>, message: MessageId, state: MessageState, now: Timestamp) -> Read<()> {
    let sql = "SELECT run, goal FROM waits WHERE message = ?";
    let row = |row: &Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, String>(1)?));
    // What stands here decides nothing about the message.
    let waits = readable(work.tx.prepare_cached(sql)?.query_map([message.as_bytes()], row)?, "waits")?;
    for (run, goal) in waits {
        let told = |work: &mut Work<'_>| {
            if goal == ASKED {
                conversation::question_moved(work, &run, message, state, now)
            } else if state.answers(Goal::parse(&goal).unwrap_or(Goal::Settled)) {
                make_ready(work, &run)?;
                forget(work, message, &run)
            } else {
                Ok(())
            }
        };
        work.each(told, |work, why| set_aside(work, &run, why, now))?;
    }
    Ok(())
}

/// A run that is taken back waits for no message any more.
pub fn forget_of(work: &Work<'_>, run: &[u8; 16]) -> Read<()> {
    match conversation::question(work, run)? {
        Some(Question::Wait(Wait::Delivery { message, .. })) => forget(work, message, run),
        // What it asked goes with the conversation.
        _ => Ok(()),
    }
}

/// A run does not wait for a message any more.
pub fn forget(work: &Work<'_>, message: MessageId, run: &[u8; 16]) -> Read<()> {
    let sql = "DELETE FROM waits WHERE message = ? AND run = ?";
    work.tx.prepare_cached(sql)?.execute(params![message.as_bytes(), run])?;
    Ok(())
}

/// Somebody followed a message's link.
pub fn click(work: &mut Work<'_>, id: MessageId, now: Timestamp) -> Read<()> {
    let sql = "SELECT state FROM messages WHERE id = ?";
    let found = work.tx.prepare_cached(sql)?.query_row([id.as_bytes()], |row| state(row, 0)).optional()?;
    if found.is_none_or(MessageState::is_open) {
        return Ok(());
    }
    let sql = "INSERT INTO clicks (message, count, first_at) VALUES (?, 1, ?)
        ON CONFLICT (message) DO UPDATE SET count = clicks.count + 1";
    work.tx.prepare_cached(sql)?.execute(params![id.as_bytes(), millis(now)])?;
    let sql = "SELECT run FROM waits WHERE message = ? AND goal = 'clicked'";
    let row = |row: &Row<'_>| row.get::<_, [u8; 16]>(0);
    for run in readable(work.tx.prepare_cached(sql)?.query_map([id.as_bytes()], row)?, "waits")? {
        make_ready(work, &run)?;
        forget(work, id, &run)?;
    }
    Ok(())
}
