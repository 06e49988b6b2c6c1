//! Copying the write-ahead log into the file while others go on writing.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::connect::connect;
use crate::store::StoreError;

/// Frames in the log after which it is copied (4 KiB each).
const FRAMES: i64 = 2_000;
/// How many groups are written between two looks at the length of the log.
const LOOK_EVERY: u64 = 16;

/// A thread that copies what stands in the log, for as long as the writer goes on appending to it. What
/// came meanwhile is little: the writer copies that itself, between two groups, since only a log that
/// was copied whole begins anew. Were all of it the writer's, whoever comes at that moment would wait
/// for thousands of pages.
pub struct Checkpoints {
    begin: Option<SyncSender<()>>,
    copied: Receiver<()>,
    under_way: bool,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread.
    ///
    /// # Errors
    /// Those of opening `file` once more.
    pub fn start(file: &Path) -> Result<Self, StoreError> {
        let connection = connect(file)?;
        let (begin, wanted) = sync_channel::<()>(1);
        let (done, copied) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                while wanted.recv().is_ok() {
                    // The first takes long enough for much to come meanwhile, the second does not.
                    copy(&connection);
                    copy(&connection);
                    if done.send(()).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| StoreError::Other(error.to_string()))?;
        Ok(Self { begin: Some(begin), copied, under_way: false, thread: Some(thread) })
    }

    /// To be called by the writer after its group number `commits`.
    pub fn between(&mut self, writer: &Connection, commits: u64) {
        if self.under_way {
            if self.copied.try_recv() != Err(TryRecvError::Empty) {
                self.under_way = false;
                copy(writer);
            }
        } else if commits.is_multiple_of(LOOK_EVERY) {
            let frames = writer.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1));
            if frames.is_ok_and(|frames| frames >= FRAMES)
                && let Some(begin) = &self.begin
            {
                // Should the thread be gone, the writer finds that out above, and copies alone.
                let _ = begin.send(());
                self.under_way = true;
            }
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.begin = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Copies what no reader still needs the old pages of; the next time comes if that is not all. A disk
/// that is full is heard of by whoever writes.
fn copy(connection: &Connection) {
    let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
}
