//! What a turn leaves in its run's journal: what it recorded, and what is kept of one that threw, for reading.

use super::work::Work;
use crate::model::journal::{Entry, Kind, TurnCommit};
use crate::store::rows;
use crate::store::tx::Read;

/// Puts the turn into the journal. Gives the part that it became; none when it recorded nothing that counts.
pub fn record(work: &Work<'_>, turn: &TurnCommit) -> Read<Option<i64>> {
    let mut part = None;
    if !turn.entries.is_empty() {
        part = Some(rows::journal::append(work.tx, turn.run, true, turn.attempt, &turn.entries)?);
    }
    if !turn.lost.is_empty() {
        let lost = as_much_as_fits(work, turn)?;
        if !lost.is_empty() {
            rows::journal::append(work.tx, turn.run, false, turn.attempt, &lost)?;
        }
    }
    Ok(part)
}

/// Most bytes of what is kept of all attempts of a run that threw.
const MOST_KEPT_OF_THROWN: i64 = 1 << 20;

/// What is kept of a turn that threw: while there is room, what it logged; in any case the answers that it had.
fn as_much_as_fits(work: &Work<'_>, turn: &TurnCommit) -> Read<Vec<Entry>> {
    let mut room = u64::try_from(MOST_KEPT_OF_THROWN - rows::journal::bytes_lost(work.tx, turn.run)?).unwrap_or(0);
    let fits = |entry: &&Entry| {
        let left = room.checked_sub(entry.weight());
        room = left.unwrap_or(0);
        left.is_some() || entry.kind != Kind::Log
    };
    Ok(turn.lost.iter().filter(fits).cloned().collect())
}
