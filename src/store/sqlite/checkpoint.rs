//! Copying the write-ahead log into the file while others go on writing.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::connect::connect;
use crate::store::StoreError;

/// Frames in the log after which it is copied (4 KiB each). With more of them the copy keeps the disk busy for longer at
/// a time, and commits wait for that.
const FRAMES: i64 = 1_000;
/// So few frames the writer copies in a moment.
const FEW: i64 = 128;
/// How often the thread copies at most before it is begun anew: where a reader needs old pages, or much is written, it
/// is never done.
const COPIES: usize = 6;
/// With so many frames the writer copies whatever is left, and whoever comes at that moment waits for it.
const MOST: i64 = 8 * FRAMES;
/// How many groups are written between two looks at the length of the log.
const LOOK_EVERY: u64 = 16;

/// A thread that copies what stands in the log while the writer goes on appending to it, and then what came meanwhile,
/// until little is left. That the writer copies itself, between two groups, since only a log that was copied whole
/// begins anew. Were more of it the writer's, whoever comes at that moment would wait for all those pages.
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
                    for _ in 0..COPIES {
                        copy(&connection);
                        if frames(&connection).is_ok_and(|frames| frames.left() <= FEW) {
                            break;
                        }
                    }
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
            let copied = self.copied.try_recv();
            if copied == Err(TryRecvError::Empty) {
                return;
            }
            self.under_way = false;
            // Should the thread be gone, the writer copies alone. If much has come since it was done, it is begun anew.
            let is_alone = copied == Err(TryRecvError::Disconnected);
            if is_alone || frames(writer).is_ok_and(|frames| frames.left() <= FEW || frames.in_log >= MOST) {
                copy(writer);
            }
        } else if commits.is_multiple_of(LOOK_EVERY)
            && frames(writer).is_ok_and(|frames| frames.in_log >= FRAMES)
            && let Some(begin) = &self.begin
        {
            // That the thread is gone is found out above.
            let _ = begin.send(());
            self.under_way = true;
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

struct Frames {
    in_log: i64,
    copied: i64,
}

impl Frames {
    fn left(&self) -> i64 {
        self.in_log - self.copied
    }
}

fn frames(connection: &Connection) -> rusqlite::Result<Frames> {
    let sql = "PRAGMA wal_checkpoint(NOOP)";
    connection.query_row(sql, [], |row| Ok(Frames { in_log: row.get(1)?, copied: row.get(2)? }))
}
