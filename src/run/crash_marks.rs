//! Which runs are on a thread, noted where it survives the engine: a run that was on a thread when the
//! engine died, and again, and again, is what it dies of.
//!
//! The notes are in a file that is written to and never synced: a process that dies leaves them to the
//! system, and a machine that loses its power was not brought down by a script. A note is a run with its
//! number among the ready ones: every turn that is put on record gives the run another number, so an old note
//! is known by being out of date. Each note is crossed out when the turn is over; its commit may still be on
//! its way when the engine dies, and that is no fault of the run.
//!
//! Whoever ends the engine by force may meet a run in the moment that it is on a thread. So a death counts
//! whole only when the turn had taken its time; it takes more of the others.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::context::Context;
use super::without_script::failed;
use crate::id::RunId;
use crate::model::run::ScriptError;
use crate::store::StoreError;

/// Bytes of a note: run, number among the ready ones, record so far, whether the turn takes its time.
const NOTE: usize = 16 + 8 + 4 + 4 + 1;
/// What a death counts, by whether the turn had just begun, ...
const BRIEF: u32 = 3;
/// ... or had taken its time.
const WHOLE: u32 = 10;
/// A run with so much on its record is not taken up again: three whole deaths, or ten brief ones.
const TOO_MUCH: u32 = 30;

/// What speaks against a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    weight: u32,
    deaths: u32,
}

/// The notes of one engine.
pub struct Marks {
    file: File,
    /// Deaths of runs that were on a thread when an engine died.
    suspects: HashMap<(RunId, i64), Record>,
    places: Mutex<Places>,
}

/// Where notes may stand: threads come and go, and the file is not to grow with them.
#[derive(Default)]
struct Places {
    next: u64,
    free: Vec<u64>,
}

impl Places {
    fn take(&mut self) -> u64 {
        self.free.pop().unwrap_or_else(|| {
            self.next += NOTE as u64;
            self.next - NOTE as u64
        })
    }
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
        let mut suspects: HashMap<(RunId, i64), Record> = HashMap::new();
        for (run, ready, record) in bytes.chunks_exact(NOTE).map(read) {
            match still(context, run, ready, record).await {
                Ok(Some(record)) => {
                    let known = suspects.entry((run, ready)).or_insert(record);
                    *known = record.max(*known);
                }
                // What cannot be read fails when it is taken up.
                Ok(None) | Err(StoreError::Unreadable(_)) => {}
                Err(error) => return Err(error),
            }
        }
        notes.set_len(0).map_err(failed)?;
        let marks = Self { file: notes, suspects, places: Mutex::default() };
        // Those that are not on a thread when the next one dies are suspects still.
        for ((run, ready), record) in &marks.suspects {
            marks.write(marks.places().take(), *run, *ready, *record, REST);
        }
        Ok(marks)
    }

    /// A place for a thread.
    pub fn place(&self) -> Place<'_> {
        Place { marks: self, offset: self.places().take() }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine ends as it was told to: nothing is on a thread.
    pub fn clear(&self) {
        // What stays is out of date, and known to be.
        let _ = self.file.set_len(0);
    }
}

/// How a run stands: on no thread, just taken, or worked on for some time.
const REST: u8 = 0;
const TAKEN: u8 = 1;
const LONG: u8 = 2;

impl Place<'_> {
    /// Where it is.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// A run is on this thread now.
    pub fn mark(&self, run: RunId, ready: i64) {
        self.marks.write(self.offset, run, ready, self.marks.record(run, ready), TAKEN);
    }

    /// Nothing is on this thread.
    pub fn clear(&self) {
        let _ = self.marks.file.write_all_at(&[0; NOTE], self.offset);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.marks.places().free.push(self.offset);
    }
}

impl Marks {
    /// The turn of a run on the thread with this place takes its time.
    pub fn takes_time(&self, offset: u64, run: RunId, ready: i64) {
        self.write(offset, run, ready, self.record(run, ready), LONG);
    }

    fn record(&self, run: RunId, ready: i64) -> Record {
        self.suspects.get(&(run, ready)).copied().unwrap_or_default()
    }

    fn write(&self, offset: u64, run: RunId, ready: i64, record: Record, stands: u8) {
        let mut note = [0; NOTE];
        note[..16].copy_from_slice(run.as_bytes());
        note[16..24].copy_from_slice(&ready.to_be_bytes());
        note[24..28].copy_from_slice(&record.weight.to_be_bytes());
        note[28..32].copy_from_slice(&record.deaths.to_be_bytes());
        note[32] = stands;
        // On a full disk nobody is a suspect.
        let _ = self.file.write_all_at(&note, offset);
    }
}

/// A note, with the death that it tells of.
fn read(note: &[u8]) -> (RunId, i64, Record) {
    fn bytes<const N: usize>(note: &[u8], from: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&note[from..from + N]);
        bytes
    }
    let number = |from| u32::from_be_bytes(bytes(note, from));
    let (weight, death) = match note[32] {
        REST => (0, 0),
        LONG => (WHOLE, 1),
        _ => (BRIEF, 1),
    };
    let record = Record { weight: number(24).saturating_add(weight), deaths: number(28).saturating_add(death) };
    (RunId::from_bytes(bytes(note, 0)), i64::from_be_bytes(bytes(note, 16)), record)
}

/// The record of a run that is still to be worked on; none when it is not, or not any more.
async fn still(context: &Context, run: RunId, ready: i64, record: Record) -> Result<Option<Record>, StoreError> {
    let Some(known) = context.store.origin(run).await? else { return Ok(None) };
    let found = context.store.ready_runs(&known.flow, ready - 1, 1).await?;
    let Some(found) = found.into_iter().find(|found| found.id == run && found.ready == ready) else {
        return Ok(None);
    };
    if record.weight < TOO_MUCH {
        return Ok(Some(record));
    }
    let deaths = record.deaths;
    let message = format!(
        "the engine ended {deaths} times while it worked on this run, so it is not taken up again by itself; look at \
         the script and the event, then `postrider runs retry`"
    );
    context.store.commit_turn(failed(context, &found, ScriptError::new("crashed", message))).await?;
    Ok(None)
}
