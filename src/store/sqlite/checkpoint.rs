//! Copying the write-ahead log into the file while others go on writing.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::connect::connect;
use crate::store::StoreError;

/// Frames since the last copy after which the log is copied (4 KiB each). With more of them the copy keeps the disk busy
/// for longer at a time, and commits wait for that.
const FRAMES: i64 = 1_000;
/// How often the thread copies at most before it is begun anew: where a reader needs old pages, or much is written, it
/// is never done.
const COPIES: usize = 6;
/// With so many frames the log is to begin anew. For that the writer copies what is left, and whoever comes at that moment
/// waits for it: the longer the log, the more seldom.
const LONG: i64 = 8 * FRAMES;
/// How many frames the writer copies at most in a log of [`LONG`], and one more for each [`MILDER`] that it is longer.
const FEW: i64 = 16;
const MILDER: i64 = 32;
/// With so many frames the writer copies whatever is left.
const MOST: i64 = 32 * FRAMES;
/// How many groups are written between two looks at the length of the log.
const LOOK_EVERY: u64 = 16;

/// A thread that copies what stands in the log while the writer goes on appending to it. Once the log is long, it copies
/// what came meanwhile too, until little is left. That the writer copies itself, between two groups, since only a log
/// that was copied whole begins anew.
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
                        if frames(&connection).is_ok_and(|frames| !frames.is_long() || frames.has_little_left()) {
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
            if is_alone || frames(writer).is_ok_and(|frames| frames.is_long() && frames.has_little_left()) {
                copy(writer);
            }
        } else if commits.is_multiple_of(LOOK_EVERY)
            && frames(writer).is_ok_and(|frames| frames.left() >= FRAMES || frames.is_long())
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

    fn is_long(&self) -> bool {
        self.in_log >= LONG
    }

    fn has_little_left(&self) -> bool {
        self.left() <= FEW + (self.in_log - LONG) / MILDER || self.in_log >= MOST
    }
}

fn frames(connection: &Connection) -> rusqlite::Result<Frames> {
    let sql = "PRAGMA wal_checkpoint(NOOP)";
    connection.query_row(sql, [], |row| Ok(Frames { in_log: row.get(1)?, copied: row.get(2)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes, with the thread beside it, until the log has begun anew or has so many frames; gives how many it had.
    fn write(connection: &Connection, checkpoints: &mut Checkpoints, most: i64) -> (i64, bool) {
        let (mut longest, mut commits) = (0, 0);
        while longest < most {
            connection.execute("INSERT INTO bytes VALUES (zeroblob(100000))", []).unwrap();
            commits += 1;
            checkpoints.between(connection, commits);
            let in_log = frames(connection).unwrap().in_log;
            if in_log < longest {
                return (longest, true);
            }
            longest = in_log;
        }
        (longest, false)
    }

    #[test]
    fn a_log_begins_anew_once_it_is_long_and_nobody_reads_old_pages() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.db");
        let connection = connect(&file).unwrap();
        connection.execute_batch("CREATE TABLE bytes (some BLOB)").unwrap();
        let mut checkpoints = Checkpoints::start(&file).unwrap();
        let (longest, is_anew) = write(&connection, &mut checkpoints, 2 * MOST);
        assert!(is_anew && longest >= LONG, "{longest} {is_anew}");

        let reader = connect(&file).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM bytes").unwrap();
        let (_, is_anew) = write(&connection, &mut checkpoints, 2 * LONG);
        assert!(!is_anew, "begun anew under a reader");
        reader.execute_batch("COMMIT").unwrap();
        let (longest, is_anew) = write(&connection, &mut checkpoints, 4 * MOST);
        assert!(is_anew, "{longest}");
        let count = |connection: &Connection| {
            let sql = "SELECT count(*), total(length(some)) FROM bytes";
            connection.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?))).unwrap()
        };
        let (rows, bytes) = count(&connection);
        assert!(rows > 0 && bytes == 100_000.0 * rows as f64, "{rows} {bytes}");
        assert_eq!(count(&reader), (rows, bytes));
    }
}
