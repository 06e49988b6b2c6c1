//! Overwriting what deleted rows leave in the file, a little at a time, beside the other work.
//!
//! SQLite takes a row off its page, and leaves its bytes in what is free there; a page that is split leaves a copy.
//! `VACUUM` writes the whole file anew, and nobody else writes for as long as that takes. Here only bytes that hold
//! nothing are overwritten with zeros: what is free on a page, pages that are free, and what is behind the end of a
//! long row. Facts of the format: <https://www.sqlite.org/fileformat2.html>, sections 1.3 to 1.8.
//!
//! SQLite is not told of it, so it must not hold such a page anywhere else: each step begins with a log that is
//! empty, holds the lock for writing, and ends by dropping the writer's copies of pages. What was overwritten once
//! stays so: the rows are gone, and pages that change later are taken from the file.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connect::PATIENCE;
use super::files_of;
use super::schema::error_of;
use crate::store::StoreError;

/// How long a step looks at pages, and how long others have before the next one.
const STEP: Duration = Duration::from_millis(10);
const PAUSE: Duration = Duration::from_millis(100);

/// The page at this place in the file (1 GiB) is for locks, and never used.
const LOCKED: u64 = 1 << 30;

/// So many empty pages are left to what comes.
const MUCH: i64 = 1_000;

/// A walk over the pages of the file.
pub struct Scrub {
    path: PathBuf,
    /// Stays open: a program that closes any descriptor of a file lets go of all its locks on it, SQLite's too.
    file: Option<File>,
    /// The page that comes next, if one is under way.
    next: Option<u32>,
    due: Instant,
}

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Scrubbed {
    /// It goes on.
    InPart,
    /// All pages were seen.
    Whole,
}

impl Scrub {
    /// One for this file. It begins at once if the last one did not come to its end.
    pub fn new(path: &Path, under_way: bool) -> Self {
        Self { path: path.to_owned(), file: None, next: under_way.then_some(1), due: Instant::now() }
    }

    /// Begins with the first page, also if one is under way: rows that were deleted since stood anywhere.
    pub fn begin(&mut self) {
        self.next = Some(1);
    }

    /// Gives up, up to the next time that the file is opened.
    pub fn give_up(&mut self) {
        self.next = None;
    }

    /// In what time the next step is to be made; none if there is none.
    pub fn due_in(&self) -> Option<Duration> {
        self.next.map(|_| self.due.saturating_duration_since(Instant::now()))
    }

    /// Makes a step. To be called by the writer, between two groups.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn step(&mut self, writer: &Connection) -> io::Result<Scrubbed> {
        let Some(from) = self.next else { return Ok(Scrubbed::Whole) };
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().read(true).write(true).open(&self.path)?,
        };
        let file = self.file.insert(file);
        let next = alone(writer, &self.path, || Pages::of(file)?.scrub(from));
        self.due = Instant::now() + PAUSE;
        match next.transpose()? {
            // Somebody reads what stands in the log.
            None => Ok(Scrubbed::InPart),
            Some(Some(page)) => {
                self.next = Some(page);
                Ok(Scrubbed::InPart)
            }
            Some(None) => {
                file.sync_data()?;
                self.next = None;
                Ok(Scrubbed::Whole)
            }
        }
    }
}

/// Does something while all that is committed stands in the file itself, and nobody writes. None where somebody reads
/// or writes just then.
fn alone<T>(writer: &Connection, path: &Path, work: impl FnOnce() -> T) -> Option<T> {
    let [_, log, ..] = files_of(path);
    writer.busy_timeout(Duration::ZERO).ok()?;
    let emptied = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    let begun = matches!(emptied, Ok(0)) && writer.execute_batch("BEGIN IMMEDIATE").is_ok();
    // Another program may have written in between.
    let is_empty =
        std::fs::metadata(log).map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |log| log.len() == 0);
    let done = (begun && is_empty).then(work);
    if begun {
        let _ = writer.execute_batch("ROLLBACK");
    }
    let _ = writer.execute_batch("PRAGMA shrink_memory");
    let _ = writer.busy_timeout(PATIENCE);
    done
}

/// Writes the file anew if it has no map of its pages, by which it gets smaller when rows go (those of the first versions
/// had none), or if two fifths of much are empty: tables that became others leave half.
pub fn mend(connection: &Connection) {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).unwrap_or(-1);
    let has_map = number("PRAGMA auto_vacuum") != 0;
    let (empty, all) = (number("PRAGMA freelist_count"), number("PRAGMA page_count"));
    if has_map && (empty < MUCH || empty * 5 < all * 2) {
        return;
    }
    let share = if empty > 0 { empty * 100 / all.max(1) } else { 0 };
    tracing::info!("the state file is written anew: {share} % of it are empty; a large one takes some minutes");
    // In memory the copy might not have room.
    let made = connection.execute_batch("PRAGMA temp_store = FILE; VACUUM;");
    if let Err(error) = connection.execute_batch("PRAGMA temp_store = MEMORY;").and(made) {
        tracing::warn!(%error, "the state file cannot be written anew, and stays as large as it is until the next start");
    }
}

/// Whether rows were erased whose bytes may still stand in the file.
///
/// # Errors
/// The database's.
pub fn is_owed(connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM forgotten WHERE on_disk = 1)";
    connection.query_row(sql, [], |row| row.get(0)).map_err(|error| error_of(&error))
}

/// Nothing is owed any more.
///
/// # Errors
/// The database's.
pub fn note_done(connection: &Connection) -> Result<(), StoreError> {
    let done = connection.execute("UPDATE forgotten SET on_disk = 0 WHERE on_disk = 1", []);
    done.map(drop).map_err(|error| error_of(&error))
}

/// The pages of a file that nobody writes meanwhile.
struct Pages<'a> {
    file: &'a File,
    size: usize,
    /// What SQLite uses of a page.
    usable: usize,
    count: u32,
    /// Pages that list free ones, each with the bytes that it has for that.
    lists: HashMap<u32, usize>,
    /// The piece of the map of pages that was read last.
    map: Option<(u32, Vec<u8>)>,
}

impl<'a> Pages<'a> {
    fn of(file: &'a File) -> io::Result<Self> {
        let mut header = [0; 100];
        file.read_exact_at(&mut header, 0)?;
        let size = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size => usize::from(size),
        };
        let usable = size.saturating_sub(header[20].into());
        let has_map = header[52..56] != [0; 4];
        if usable < 480 || !has_map {
            return Err(io::Error::other("its pages are not as this program makes them"));
        }
        let count = u32::try_from(file.metadata()?.len() / size as u64).map_err(io::Error::other)?;
        let mut pages = Self { file, size, usable, count, lists: HashMap::new(), map: None };
        let mut list = number(&header, 32).unwrap_or(0);
        while list != 0 && !pages.lists.contains_key(&list) {
            let page = pages.read(list)?;
            let entries = number(&page, 4).unwrap_or(0) as usize;
            pages.lists.insert(list, (8 + 4 * entries).min(usable));
            list = number(&page, 0).unwrap_or(0);
        }
        Ok(pages)
    }

    /// Overwrites what is free from a page on, for as long as a step is. Gives the page to go on with.
    fn scrub(&mut self, from: u32) -> io::Result<Option<u32>> {
        let begun = Instant::now();
        for page in from..=self.count {
            if page > from && begun.elapsed() > STEP {
                return Ok(Some(page));
            }
            match self.kind(page)? {
                Kind::Tree => self.scrub_tree(page)?,
                Kind::Free => {
                    let used = self.lists.get(&page).copied().unwrap_or(0);
                    let bytes = self.read(page)?;
                    self.clear(page, &bytes, used..self.usable)?;
                }
                Kind::Other => {}
            }
        }
        Ok(None)
    }

    fn kind(&mut self, page: u32) -> io::Result<Kind> {
        if page == 1 {
            return Ok(Kind::Tree);
        }
        let locked = u32::try_from(LOCKED / self.size as u64 + 1).unwrap_or(u32::MAX);
        // A page of the map stands before those that it tells of, 5 bytes for each.
        let told = u32::try_from(self.usable / 5 + 1).unwrap_or(u32::MAX);
        let mut map = (page - 2) / told * told + 2;
        if map == locked {
            map += 1;
        }
        if page <= map || page == locked {
            return Ok(Kind::Other);
        }
        if self.map.as_ref().is_none_or(|(at, _)| *at != map) {
            self.map = Some((map, self.read(map)?));
        }
        let kind = self.map.as_ref().and_then(|(_, bytes)| bytes.get(5 * (page - map - 1) as usize).copied());
        Ok(match kind {
            Some(1 | 5) => Kind::Tree,
            Some(2) => Kind::Free,
            _ => Kind::Other,
        })
    }

    /// A page that does not read as one is left alone: whoever reads its rows hears of that.
    fn scrub_tree(&self, page: u32) -> io::Result<()> {
        let bytes = self.read(page)?;
        let header = if page == 1 { 100 } else { 0 };
        let Some(free) = Free::of(&bytes, header, self.usable) else { return Ok(()) };
        for range in free.ranges {
            self.clear(page, &bytes, range)?;
        }
        for (mut page, mut left) in free.long {
            let each = self.usable - 4;
            while left > each && (2..=self.count).contains(&page) {
                let mut next = [0; 4];
                self.file.read_exact_at(&mut next, self.offset(page))?;
                (page, left) = (u32::from_be_bytes(next), left - each);
            }
            if (2..=self.count).contains(&page) {
                let bytes = self.read(page)?;
                self.clear(page, &bytes, 4 + left..self.usable)?;
            }
        }
        Ok(())
    }

    fn clear(&self, page: u32, bytes: &[u8], range: Range<usize>) -> io::Result<()> {
        match bytes.get(range.clone()) {
            Some(old) if old.iter().any(|byte| *byte != 0) => {
                self.file.write_all_at(&vec![0; range.len()], self.offset(page) + range.start as u64)
            }
            _ => Ok(()),
        }
    }

    fn read(&self, page: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.size];
        self.file.read_exact_at(&mut bytes, self.offset(page))?;
        Ok(bytes)
    }

    fn offset(&self, page: u32) -> u64 {
        u64::from(page.saturating_sub(1)) * self.size as u64
    }
}

/// What a page is, as the map says.
enum Kind {
    /// Rows, or what leads to them.
    Tree,
    Free,
    /// The rest of a long row, or the map itself.
    Other,
}

/// What is free on a page of a tree.
struct Free {
    ranges: Vec<Range<usize>>,
    /// Rows that go on elsewhere: the first page of the rest, and the bytes of it.
    long: Vec<(u32, usize)>,
}

impl Free {
    /// None where the page does not read as one.
    fn of(page: &[u8], header: usize, usable: usize) -> Option<Self> {
        let kind = *page.get(header)?;
        let pointers = header
            + match kind {
                2 | 5 => 12,
                10 | 13 => 8,
                _ => return None,
            };
        let cells = short(page, header + 3)?;
        let content = match short(page, header + 5)? {
            0 => 65_536,
            content => content,
        };
        let gap = pointers + 2 * cells..content;
        if gap.start > gap.end || gap.end > usable {
            return None;
        }
        let mut ranges = vec![gap];
        let mut block = short(page, header + 1)?;
        while block != 0 {
            let (next, size) = (short(page, block)?, short(page, block + 2)?);
            // They stand in order.
            if size < 4 || block + size > usable || (next != 0 && next < block + size) {
                return None;
            }
            ranges.push(block + 4..block + size);
            block = next;
        }
        let mut long = Vec::new();
        for cell in 0..cells {
            let at = short(page, pointers + 2 * cell)?;
            long.extend(rest_of(page.get(at..usable)?, kind, usable)?);
        }
        Some(Self { ranges, long })
    }
}

/// Where a row that is too long for its page goes on, and with how many bytes.
fn rest_of(cell: &[u8], kind: u8, usable: usize) -> Option<Option<(u32, usize)>> {
    let is_table = kind == 13;
    let cell = match kind {
        5 => return Some(None),
        2 => cell.get(4..)?,
        _ => cell,
    };
    let (length, mut cell) = varint(cell)?;
    if is_table {
        (_, cell) = varint(cell)?;
    }
    let length = usize::try_from(length).ok()?;
    let most = if is_table { usable - 35 } else { (usable - 12) * 64 / 255 - 23 };
    if length <= most {
        return Some(None);
    }
    let least = (usable - 12) * 32 / 255 - 23;
    let fits = least + (length - least) % (usable - 4);
    let here = if fits <= most { fits } else { least };
    Some(Some((number(cell, here)?, length - here)))
}

/// A number of one to nine bytes, and what follows.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for at in 0..8 {
        let byte = *bytes.get(at)?;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    Some((value << 8 | u64::from(*bytes.get(8)?), &bytes[9..]))
}

fn short(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 2)?;
    Some(usize::from(u16::from_be_bytes(bytes.try_into().ok()?)))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What only rows that are deleted say.
    const SECRET: &str = "quetzal";

    fn step_on(scrub: &mut Scrub, writer: &Connection) {
        while scrub.step(writer).unwrap() == Scrubbed::InPart {}
    }

    /// How often the files hold the secret.
    fn left(path: &Path) -> usize {
        let files = files_of(path).into_iter().filter_map(|file| std::fs::read(file).ok());
        files.map(|bytes| String::from_utf8_lossy(&bytes).matches(SECRET).count()).sum()
    }

    /// Numbers by chance, the same each time.
    struct Lot(u64);

    impl Lot {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }

    /// Rows of all lengths in tables of both kinds, with indexes, that come, change, grow and go.
    fn live(connection: &Connection, lot: &mut Lot, changes: usize) {
        for _ in 0..changes {
            let (id, is_hers) = (lot.below(600), lot.below(3) == 0);
            let words = if is_hers { "quetzal " } else { "toucan " };
            let length = [4, 40, 400, 9_000][usize::try_from(lot.below(4)).unwrap()];
            let text = words.repeat(usize::try_from(1 + lot.below(length)).unwrap() / 2 + 1);
            // The long ones are few, or they would push everything else apart.
            for (table, text) in [("plain", &text), ("keyed", &text)] {
                let sql = match lot.below(4) {
                    0 => format!("DELETE FROM {table} WHERE id = ?1 AND ?2 IS NOT NULL AND ?3 IS NOT NULL"),
                    _ => format!(
                        "INSERT INTO {table} VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET hers = ?2, text = ?3"
                    ),
                };
                connection.execute(&sql, (format!("{id:04}"), is_hers, text.as_str())).unwrap();
            }
        }
    }

    fn all(connection: &Connection) -> Vec<(String, bool, String)> {
        let sql = "SELECT * FROM plain UNION ALL SELECT * FROM keyed ORDER BY 1, 3";
        let mut query = connection.prepare(sql).unwrap();
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn nothing_of_deleted_rows_is_left_and_nothing_else_changes() {
        for (seed, page) in [(1, 4_096), (2, 512), (3, 4_096), (4, 65_536), (5, 1_024), (6, 8_192)] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.db");
            let made = Connection::open(&path).unwrap();
            made.execute_batch(&format!("PRAGMA page_size = {page}; PRAGMA auto_vacuum = INCREMENTAL; VACUUM;"))
                .unwrap();
            drop(made);
            let connection = super::super::connect::connect(&path).unwrap();
            connection
                .execute_batch(
                    "CREATE TABLE plain (id TEXT UNIQUE, hers INTEGER, text TEXT);
                     CREATE TABLE keyed (id TEXT PRIMARY KEY, hers INTEGER, text TEXT) WITHOUT ROWID;
                     CREATE INDEX texts ON plain (text); CREATE INDEX words ON keyed (hers, text);",
                )
                .unwrap();
            let (mut lot, mut scrub) = (Lot(seed), Scrub::new(&path, false));
            for _ in 0..3 {
                connection.execute_batch("BEGIN").unwrap();
                live(&connection, &mut lot, 700);
                connection.execute_batch("COMMIT").unwrap();
                connection.execute_batch("DELETE FROM plain WHERE hers; DELETE FROM keyed WHERE hers;").unwrap();
                let rows = all(&connection);
                assert!(left(&path) > 0, "there is something to overwrite");
                scrub.begin();
                step_on(&mut scrub, &connection);
                assert_eq!(left(&path), 0, "seed {seed}, pages of {page}");
                assert!(all(&connection) == rows && !rows.is_empty(), "seed {seed}");
                // Pages that the writer had at hand do not bring it back.
                connection
                    .execute_batch("UPDATE plain SET text = text || '!'; UPDATE keyed SET text = text || '!';")
                    .unwrap();
                connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
                assert_eq!(left(&path), 0, "seed {seed}, pages of {page}, after changes");
                let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
                assert_eq!(sound, "ok", "seed {seed}");
            }
        }
    }
}
