//! Lets go of what is old enough (`keep:`): runs, messages, records of what happened, and copies of files that nothing
//! needs any more; and of compiled scripts that have not been run for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::clock::{SharedClock, after, before, from_millis};
use crate::flow::catalog::Catalog;
use crate::service::Service;
use crate::store::records::{OldRecords, Prunable, Pruned, Spans};
use crate::store::{Store, StoreError};

/// How often it is looked for.
const LOOK: Duration = Duration::from_secs(600);
/// What is read at once of what may go.
const PAGE: usize = 1_000;
/// Rows that go in one command: as many as take about so long, so that nobody waits long behind them.
const AT_MOST: usize = 500;
const AT_LEAST: usize = 8;
const LONG: Duration = Duration::from_millis(2);
/// How long others are let in between.
const PATIENCE: Duration = Duration::from_secs(10);
/// A copy of a file that nothing hangs on may belong to a turn that is not on disk yet.
const YOUNG: Duration = Duration::from_secs(24 * 3600);

/// The service.
pub struct Keeper {
    store: Arc<dyn Store>,
    catalog: watch::Receiver<Arc<Catalog>>,
    blobs: Blobs,
    clock: SharedClock,
    /// How many rows go at once.
    batch: usize,
    /// Whether it has been said that the state file is larger than it may be.
    complained: bool,
}

impl Keeper {
    /// For this store and these copies, by what the settings say.
    pub fn new(
        store: Arc<dyn Store>,
        catalog: watch::Receiver<Arc<Catalog>>,
        blobs: Blobs,
        clock: SharedClock,
    ) -> Self {
        Self { store, catalog, blobs, clock, batch: 64, complained: false }
    }

    /// Lets everything go that may, until then; with `most`, until no more bytes than that are in use.
    async fn prune(&mut self, until: Spans, most: Option<u64>) -> Result<Pruned, StoreError> {
        let (mut behind, mut gone) = (Prunable::default(), Pruned::default());
        let mut room = Room { most, ..Room::default() };
        let begun = Instant::now();
        loop {
            let page = self.store.prunable(until, behind.clone(), PAGE).await?;
            let is_last = page.runs.is_empty() && page.messages.is_empty();
            let (mut runs, mut messages) = (&page.runs[..], &page.messages[..]);
            loop {
                let Some(batch) = room.rows(&*self.store, self.batch).await? else { return Ok(gone) };
                let (first_runs, other_runs) = runs.split_at(batch.min(runs.len()));
                let (first_messages, other_messages) = messages.split_at(batch.min(messages.len()));
                (runs, messages) = (other_runs, other_messages);
                let records_until = match most {
                    // What is recorded goes as far as the runs and messages of its time.
                    Some(_) if !is_last => Spans { runs: last_of(first_runs), messages: last_of(first_messages) },
                    _ => until,
                };
                let records = OldRecords { until: records_until, limit: batch };
                let pruned = self.store.prune(ids(first_runs), ids(first_messages), until, records).await?;
                self.adapt(&pruned);
                room.freed_by = pruned.runs + pruned.messages;
                gone.runs += pruned.runs;
                gone.messages += pruned.messages;
                gone.records += pruned.records;
                if runs.is_empty() && messages.is_empty() && !(is_last && pruned.more) {
                    break;
                }
                // Those who came meanwhile have the writer for as long, unless there is so much to do that it might
                // never be done.
                if begun.elapsed() < PATIENCE {
                    tokio::time::sleep(pruned.took.min(LONG)).await;
                }
            }
            if is_last {
                return Ok(gone);
            }
            // Where one of them has come to its end, it is not begun again.
            if let Some(last) = page.runs.last() {
                behind.runs = vec![*last];
            }
            if let Some(last) = page.messages.last() {
                behind.messages = vec![*last];
            }
        }
    }

    /// Finds out how many rows go in [`LONG`], from how long the last ones took.
    fn adapt(&mut self, pruned: &Pruned) {
        let rows = pruned.runs.max(pruned.messages).max(pruned.records);
        // A few rows take about as long as many: they say something only if they took too long.
        if pruned.took > LONG || rows >= self.batch as u64 {
            let wanted = rows.saturating_mul(LONG.as_micros() as u64) / (pruned.took.as_micros() as u64).max(1);
            let wanted = usize::try_from(wanted).unwrap_or(AT_MOST);
            self.batch = wanted.clamp(self.batch / 2, self.batch * 2).clamp(AT_LEAST, AT_MOST);
        }
    }

    /// Copies of files that nothing hangs on.
    async fn free_blobs(&self) -> Result<u64, StoreError> {
        let blobs = self.blobs.clone();
        let old = tokio::task::spawn_blocking(move || blobs.older_than(YOUNG));
        let old = old.await.map_err(|error| StoreError::Other(error.to_string()))?;
        let mut removed = 0;
        for some in old.chunks(PAGE) {
            let free = self.store.unattached(some.to_vec()).await?;
            let blobs = self.blobs.clone();
            let gone = tokio::task::spawn_blocking(move || blobs.remove_older_than(&free, YOUNG)).await;
            removed += gone.map_err(|error| StoreError::Other(error.to_string()))?;
        }
        Ok(removed)
    }
}

/// How much is to go until no more bytes are in use than there may be.
#[derive(Default)]
struct Room {
    /// The bytes that there may be; as many as there are, if none are given.
    most: Option<u64>,
    /// The bytes that were in use before some rows went, ...
    before: u64,
    /// ... and how many rows that were.
    freed_by: u64,
}

impl Room {
    /// How many rows go next; none when enough have gone.
    async fn rows(&mut self, store: &dyn Store, batch: usize) -> Result<Option<usize>, StoreError> {
        let Some(most) = self.most else { return Ok(Some(batch)) };
        let used = store.used().await?;
        // Rows of the same age mostly take about as much.
        let for_each = self.before.saturating_sub(used).checked_div(self.freed_by);
        self.before = used;
        let wanted = for_each.map_or(1, |bytes| used.saturating_sub(most) / bytes.max(1));
        Ok((used > most).then_some(usize::try_from(wanted).unwrap_or(batch).clamp(1, batch)))
    }
}

/// The time of the last of them, the earliest that there is where there are none.
fn last_of<T>(found: &[(i64, T)]) -> Timestamp {
    found.last().map_or(Timestamp::MIN, |(at, _)| from_millis(*at))
}

fn ids<T: Copy>(found: &[(i64, T)]) -> Vec<T> {
    found.iter().map(|(_, id)| *id).collect()
}

impl Service for Keeper {
    type Error = StoreError;
    const TROUBLE: &'static str = "what is old stays (`keep`)";

    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.catalog.borrow().flows.values().for_each(|flow| flow.program.rest());
        let (keep, now) = (self.catalog.borrow().ground.keep, self.clock.now());
        let old = Spans { runs: before(now, keep.runs), messages: before(now, keep.messages) };
        let mut gone = self.prune(old, None).await?;
        if self.store.used().await? > keep.size {
            // The oldest first, until there is some room again.
            let all = Spans { runs: now, messages: now };
            let more = self.prune(all, Some(keep.size / 10 * 9)).await?;
            (gone.runs, gone.messages) = (gone.runs + more.runs, gone.messages + more.messages);
            let is_large = self.store.used().await? > keep.size;
            if is_large && !self.complained {
                tracing::warn!(
                    "the state file holds more than `keep.size` allows, though nothing is left that is over; what is \
                     under way is never let go"
                );
            }
            self.complained = is_large;
        }
        let files = self.free_blobs().await?;
        let Pruned { runs, messages, records, .. } = gone;
        if runs + messages + records + files > 0 {
            tracing::info!(runs, messages, records, files, "what was old enough is gone (`keep`)");
        }
        Ok(Some(after(now, LOOK)))
    }

    /// Nothing wakes it but the clock, and other settings.
    async fn woken(&mut self) {
        if self.catalog.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
