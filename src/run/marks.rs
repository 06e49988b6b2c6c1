//! Which runs are on a thread, noted where it survives the engine: a run that was on a thread when the
//! engine died, and again, and again, is what it dies of.
//!
//! The notes are in a file that is written to and never synced: a process that dies leaves them to the
//! system, and a machine that loses its power was not brought down by a script. A note is a run with its
//! number among the ready ones. Every turn that is put on record gives the run another number, so an old
//! note is known by being out of date, and nobody has to cross it out.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::worker::{Context, Worked, broken};
use crate::id::RunId;
use crate::model::run::ScriptError;
use crate::store::StoreError;

/// Bytes of a note: run, number among the ready ones, deaths so far.
const NOTE: usize = 16 + 8 + 8;
/// So many deaths, and a run is not taken up again.
const DEATHS: u64 = 3;

/// The notes of one engine.
pub struct Marks {
    file: File,
    /// Deaths of runs that were on a thread when an engine died.
    suspects: HashMap<(RunId, i64), u64>,
    next: AtomicU64,
}

/// A thread's place for its note.
pub struct Place<'a> {
    marks: &'a Marks,
    offset: u64,
}

impl Marks {
    /// Reads the notes of the engine before this one, and begins new ones. Runs that it died of too often
    /// fail as `crashed`.
    ///
    /// # Errors
    /// As the store or the file system fails.
    pub async fn open(file: &Path, context: &Context) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::NoRoom(format!("{}: {error}", file.display()));
        let mut notes = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(file)
            .map_err(failed)?;
        let mut bytes = Vec::new();
        notes.read_to_end(&mut bytes).map_err(failed)?;
        let mut suspects: HashMap<(RunId, i64), u64> = HashMap::new();
        for (run, ready, deaths) in bytes.chunks_exact(NOTE).map(read) {
            match still(context, run, ready, deaths + 1).await {
                Ok(Some(deaths)) => {
                    let known = suspects.entry((run, ready)).or_insert(deaths);
                    *known = deaths.max(*known);
                }
                // What cannot be read fails when it is taken up.
                Ok(None) | Err(StoreError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        notes.set_len(0).map_err(failed)?;
        let marks = Self { file: notes, suspects, next: AtomicU64::new(0) };
        // Those that are not on a thread when the next one dies are suspects still.
        for ((run, ready), deaths) in &marks.suspects {
            marks.place().write(*run, *ready, deaths - 1);
        }
        Ok(marks)
    }

    /// A place for a thread.
    pub fn place(&self) -> Place<'_> {
        Place { marks: self, offset: self.next.fetch_add(NOTE as u64, Ordering::Relaxed) }
    }

    /// The engine ends as it was told to: nothing is on a thread.
    pub fn clear(&self) {
        // What stays is out of date, and known to be.
        let _ = self.file.set_len(0);
    }
}

impl Place<'_> {
    /// A run is on this thread now.
    pub fn mark(&self, run: RunId, ready: i64) {
        let suspects = &self.marks.suspects;
        let deaths = if suspects.is_empty() { 0 } else { suspects.get(&(run, ready)).copied().unwrap_or(0) };
        self.write(run, ready, deaths);
    }

    fn write(&self, run: RunId, ready: i64, deaths: u64) {
        let mut note = [0; NOTE];
        note[..16].copy_from_slice(run.as_bytes());
        note[16..24].copy_from_slice(&ready.to_be_bytes());
        note[24..].copy_from_slice(&deaths.to_be_bytes());
        // On a full disk nobody is a suspect.
        let _ = self.marks.file.write_all_at(&note, self.offset);
    }
}

fn read(note: &[u8]) -> (RunId, i64, u64) {
    let mut run = [0; 16];
    run.copy_from_slice(&note[..16]);
    let number = |from: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&note[from..from + 8]);
        u64::from_be_bytes(bytes)
    };
    (RunId::from_bytes(run), number(16).cast_signed(), number(24))
}

/// How many deaths a run has that is still to be worked on; none when it is not, or not any more.
async fn still(context: &Context, run: RunId, ready: i64, deaths: u64) -> Result<Option<u64>, StoreError> {
    let Some(known) = context.store.origin(run).await? else { return Ok(None) };
    let found = context.store.ready_runs(&known.flow, ready - 1, 1).await?;
    let Some(found) = found.into_iter().find(|found| found.id == run && found.ready == ready) else {
        return Ok(None);
    };
    if deaths < DEATHS {
        return Ok(Some(deaths));
    }
    let message = format!(
        "the engine ended {deaths} times while it worked on this run, so it is not taken up again by itself; look at \
         the script and the event, then `postrider runs retry`"
    );
    if let Worked::Turn(commit, _) = broken(context, &found, ScriptError::new("crashed", message)) {
        context.store.commit_turn(*commit).await?;
    }
    Ok(None)
}
