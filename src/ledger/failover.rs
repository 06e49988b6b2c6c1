//! Messages that leave an account for another one.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::questions::{has_open, went_elsewhere};
use super::work::Work;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Degraded, MessageState};
use crate::model::message::{Body, Content};
use crate::model::recipient::Recipient;
use crate::store::records::Diversion;
use crate::store::rows;
use crate::store::rows::outbox::MovableRest;
use crate::store::tx::{Read, Tx, if_readable};

/// Which messages may leave: a group for each recipient, in their order. A recipient's
/// messages move together: one that cannot move keeps the others.
pub fn plan(tx: &dyn Tx, diversion: &Diversion) -> Read<Vec<Vec<MessageId>>> {
    let mut of: HashMap<String, (usize, bool)> = HashMap::new();
    let mut groups: Vec<Vec<MessageId>> = Vec::new();
    rows::outbox::each_not_left(tx, &diversion.from, &mut |message| {
        // One that cannot be read stays where it is.
        let stays = match message.rest {
            Some(rest) => if_readable(stays(tx, rest, &message.to, diversion))?.unwrap_or(true),
            None => true,
        };
        let stays = stays
            || rows::people::opted_out(tx, &diversion.from, &message.to)?.is_some()
            || rows::people::opted_out(tx, &diversion.to, &message.to)?.is_some();
        let (place, kept) = of.entry(message.to).or_insert_with(|| {
            groups.push(Vec::new());
            (groups.len() - 1, false)
        });
        *kept |= stays;
        groups[*place].push(message.id);
        Ok(())
    })?;
    for (place, kept) in of.into_values() {
        if kept {
            groups[place].clear();
        }
    }
    groups.retain(|group| !group.is_empty());
    Ok(groups)
}

fn stays(tx: &dyn Tx, message: MovableRest, to: &str, diversion: &Diversion) -> Read<bool> {
    let MovableRest { state, body, parts, run } = message;
    let reached = Recipient::from_canonical(to).is_ok_and(|to| diversion.capabilities.addresses(&to).is_ok());
    // What is on the wire settles where it is; ids, approved texts and raw fields are one gateway's.
    let bound = state == MessageState::Sending
        || parts.iter().any(|part| part.is_out() || part.is_in_doubt())
        || matches!(body.content, Content::Reaction { .. } | Content::Template { .. })
        || !body.options.extra.is_empty();
    if bound || !reached || comes_between(tx, &body, run, to, diversion)? {
        return Ok(true);
    }
    let policy = body.options.on_unsupported.unwrap_or(diversion.on_unsupported);
    Ok(diversion.capabilities.adapt(body, policy, diversion.hosted).is_err())
}

/// Whether it asks something where another question is open: it waits until that is closed.
fn comes_between(tx: &dyn Tx, body: &Body, run: Option<RunId>, to: &str, diversion: &Diversion) -> Read<bool> {
    match (&body.content, run) {
        (Content::Question { .. }, Some(run)) => has_open(tx, &diversion.to, to, Some(run)),
        _ => Ok(false),
    }
}

/// Moves messages that are still there to the other account. Their tries begin anew there.
pub fn divert(work: &mut Work<'_>, ids: &[MessageId], diversion: &Diversion, now: Timestamp) -> Read<u64> {
    let mut moved = 0;
    let mut kept: HashSet<String> = HashSet::new();
    for id in ids {
        let Some(mut moving) = rows::outbox::scheduled_or_queued(work.tx, *id, &diversion.from)? else { continue };
        // A question may have been put there since the plan was made. What comes behind it stays too.
        if kept.contains(&moving.to) || comes_between(work.tx, &moving.body, moving.run, &moving.to, diversion)? {
            kept.insert(moving.to);
            continue;
        }
        for attempt in &mut moving.attempts {
            attempt.account.get_or_insert_with(|| diversion.from.clone());
        }
        let note = |field: &str, action: String| Degraded { field: field.into(), action };
        let action = format!("`{}` instead of `{}`: {}", diversion.to, diversion.from, diversion.reason);
        moving.degraded.push(note("account", action));
        if moving.body.options.reply_to.take().is_some() {
            let action = format!("left out: the message that it answers is one of `{}`", diversion.from);
            moving.degraded.push(note("reply_to", action));
        }
        let seq = (moving.state == MessageState::Queued).then(|| work.memory.next_seq());
        rows::outbox::move_to(work.tx, *id, (&diversion.to, seq), &moving, now)?;
        // Whoever waits for an answer waits for it there now.
        went_elsewhere(work, *id, &diversion.from, &diversion.to)?;
        moved += 1;
    }
    if moved > 0 {
        work.after.lane(&diversion.to);
    }
    Ok(moved)
}
