//! The place that a state file belongs to. A copy of it would send beside the original, so it is not
//! opened before somebody says which of them counts.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::connect::read_only;
use super::schema::{error_of, examine};
use crate::store::StoreError;

/// File systems whose numbers for files do not outlive a mount: FUSE, 9P and overlays (`statfs(2)`).
const FLEETING: [i64; 3] = [0x6573_5546, 0x0102_1997, 0x794c_7630];
/// What this machine is called by systemd and D-Bus (`machine-id(5)`). Containers often have none.
const MACHINE: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// How long readers are waited for at the end.
const READERS: Duration = Duration::from_millis(500);

/// Where a state file is.
struct Place {
    /// A digest of the machine's id, which is nobody else's to know.
    machine: Option<String>,
    /// The file's own number, which a copy of it does not have.
    file: Option<i64>,
    path: PathBuf,
}

impl Place {
    fn of(file: &Path) -> std::io::Result<Self> {
        let path = file.canonicalize()?;
        let number = std::fs::metadata(&path)?.ino().cast_signed();
        // Where it cannot be told, the number counts.
        let fleeting = rustix::fs::statfs(&path).is_ok_and(|about| FLEETING.contains(&about.f_type));
        let machine = MACHINE.iter().find_map(|file| std::fs::read_to_string(file).ok());
        let machine = machine.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let machine = machine.map(|id| hex::encode(&Sha256::digest(format!("postrider {id}"))[..16]));
        Ok(Self { machine, file: (!fleeting).then_some(number), path })
    }
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError::NoRoom(error.to_string())
}

/// Whether the file behind `reader` is where it belongs, as far as it knows where that is.
///
/// # Errors
/// [`StoreError::Copied`].
pub fn check(reader: &Connection, file: &Path) -> Result<(), StoreError> {
    let sql = "SELECT machine, file, path FROM place";
    let kept = reader.prepare(sql).and_then(|mut statement| {
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        statement.query_row([], row).optional()
    });
    // A file of an earlier format has no such table.
    let Ok(Some(kept)) = kept else { return Ok(()) };
    let (machine, number, path): (Option<String>, Option<i64>, String) = kept;
    let here = Place::of(file).map_err(|error| failed(&error))?;
    let elsewhere = machine.zip(here.machine).is_some_and(|(kept, here)| kept != here);
    let another = number.zip(here.file).is_some_and(|(kept, here)| kept != here);
    let place = match (elsewhere, another) {
        (true, _) => format!("{path} on another machine"),
        (_, true) if Path::new(&path) == here.path => "the file that was here before it".to_owned(),
        (_, true) => path,
        (false, false) => return Ok(()),
    };
    Err(StoreError::Copied { file: file.display().to_string(), original: place })
}

/// Writes down that the file behind `connection` belongs where it is.
///
/// # Errors
/// As SQLite or the file system fails.
pub fn settle(connection: &Connection, file: &Path) -> Result<(), StoreError> {
    let here = Place::of(file).map_err(|error| failed(&error))?;
    let path = here.path.to_string_lossy();
    // Unchanged, it is not written: an engine that starts needs no room for that.
    let sql = "INSERT INTO place (one, machine, file, path) VALUES (1, ?1, ?2, ?3) ON CONFLICT (one) DO UPDATE \
               SET machine = ?1, file = ?2, path = ?3 \
               WHERE machine IS NOT ?1 OR file IS NOT ?2 OR path IS NOT ?3";
    connection.execute(sql, params![here.machine, here.file, path]).map_err(|error| error_of(&error))?;
    Ok(())
}

/// Makes a state file the one that counts, wherever it was copied from.
///
/// # Errors
/// When it is no state file of ours, or cannot be written.
pub fn adopt(file: &Path) -> Result<(), StoreError> {
    if !file.exists() {
        return Ok(());
    }
    examine(&read_only(file)?, &file.display().to_string())?;
    let connection = super::connect(file)?;
    // A file of an earlier format knows no place, and gets one when it is opened.
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'place'";
    match connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| error_of(&error))? {
        0 => Ok(()),
        _ => settle(&connection, file),
    }
}

/// Brings what is committed into the file itself, so that a copy of this file alone has it.
///
/// # Errors
/// [`StoreError::Busy`] when somebody reads it for long, and as SQLite fails; what could not be brought stays
/// in the file beside it.
pub fn fold(file: &Path) -> Result<(), StoreError> {
    let connection = super::connect(file)?;
    connection.busy_timeout(READERS).map_err(|error| error_of(&error))?;
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    match busy.map_err(|error| error_of(&error))? {
        0 => Ok(()),
        _ => Err(StoreError::Busy),
    }
}

/// The same by an open connection as far as it goes: nobody is waited for, and what cannot be brought is for
/// later.
pub(super) fn fold_some(connection: &Connection) {
    let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
}

/// Copies a state file as it is at one moment, and makes the copy one that may be opened. Without an
/// original there is no copy.
///
/// # Errors
/// When the original is none of ours, or the copy cannot be written.
pub fn copy(original: &Path, copy: &Path) -> Result<(), StoreError> {
    if !original.exists() {
        return Ok(());
    }
    let reader = read_only(original)?;
    examine(&reader, &original.display().to_string())?;
    reader.execute("VACUUM INTO ?1", [copy.to_string_lossy()]).map_err(|error| error_of(&error))?;
    adopt(copy)
}
