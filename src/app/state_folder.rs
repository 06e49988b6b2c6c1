//! The folder `.postrider/`: one engine's alone while it runs.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::files::Own;
use crate::id::random_bytes;
use crate::secret::Secret;
use crate::store::sqlite::files_of;

/// How often, and how far apart, a taken lock is tried again before the folder counts as taken.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// What is in the folder.
const FOLDER: &str = ".postrider";
const LOCK: &str = "lock";
const TOKEN: &str = "admin-token";
const LINK_KEY: &str = "link-key";
const BLOBS: &str = "blobs";
const SANDBOX: &str = "sandbox";

/// Where a running engine can be found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Address {
    /// Private side.
    pub admin: SocketAddr,
    /// Public side.
    pub listen: SocketAddr,
    /// Its process.
    pub pid: u32,
}

/// The folder, locked for as long as this lives.
pub struct StateFolder {
    /// Where it is.
    pub path: PathBuf,
    lock: File,
}

impl StateFolder {
    /// Makes the folder where there is none, for its owner alone, and locks it.
    ///
    /// # Errors
    /// A sentence: another engine has it, or it cannot be made.
    pub fn lock(root: &Path) -> Result<Self, String> {
        let path = root.join(FOLDER);
        let failed = |error: io::Error| format!("{} cannot be used: {error}", path.display());
        fs::create_dir_all(&path).map_err(failed)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        let file = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(file)
            .map_err(failed)?;
        // A command that looks whether somebody runs holds the lock for an instant; only who holds
        // it for longer is an engine.
        let mut patience = LOOKS;
        let mut taken = lock.try_lock();
        while matches!(taken, Err(TryLockError::WouldBlock)) && patience > 0 {
            patience -= 1;
            std::thread::sleep(BETWEEN_LOOKS);
            taken = lock.try_lock();
        }
        match taken {
            Ok(()) => Ok(Self { path, lock }),
            Err(TryLockError::WouldBlock) => {
                let who = read_address(root).map_or(String::new(), |address| format!(" (process {})", address.pid));
                Err(format!("another Postrider runs on this workspace{who}; stop it first, or use another folder"))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Writes down where the engine can be found.
    ///
    /// # Errors
    /// As the file system fails.
    pub fn announce(&mut self, address: &Address) -> io::Result<()> {
        self.lock.rewind()?;
        self.lock.set_len(0)?;
        self.lock.write_all(serde_json::to_string(address)?.as_bytes())
    }

    /// The token of the private side, made when there is none.
    ///
    /// # Errors
    /// As the file system fails.
    pub fn token(&self) -> io::Result<Secret> {
        self.secret(TOKEN)
    }

    /// The key that signs addresses of ours, made when there is none. Its own, so that a new token
    /// leaves the links alone that people have already.
    ///
    /// # Errors
    /// As the file system fails.
    pub fn link_key(&self) -> io::Result<Secret> {
        self.secret(LINK_KEY)
    }

    /// Where what belongs to the state is kept: copies of files, and which turns are under way.
    ///
    /// The sandbox has its own. It is begun anew, with links to the copies that the state names: no
    /// copy is ever written to, so those of the original stay what they are.
    ///
    /// # Errors
    /// As the file system fails.
    pub fn home(&self, sandbox: bool) -> io::Result<PathBuf> {
        if !sandbox {
            return Ok(self.path.clone());
        }
        let home = self.path.join(SANDBOX);
        match fs::remove_dir_all(&home) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(home.join(BLOBS))?,
        }
        for entry in WalkDir::new(self.path.join(BLOBS)).min_depth(1).into_iter().flatten() {
            let Ok(below) = entry.path().strip_prefix(&self.path) else { continue };
            match entry.file_type().is_dir() {
                true => fs::create_dir_all(home.join(below))?,
                // Not every file system has links.
                false => fs::hard_link(entry.path(), home.join(below))
                    .or_else(|_| fs::copy(entry.path(), home.join(below)).map(drop))?,
            }
        }
        Ok(home)
    }

    /// The state file of the sandbox.
    pub fn sandbox_store(root: &Path) -> PathBuf {
        root.join(FOLDER).join(SANDBOX).join("state.db")
    }

    /// Where copies of files are kept in such a home.
    pub fn blobs(home: &Path) -> PathBuf {
        home.join(BLOBS)
    }

    /// What is the engine's alone, so that no script reaches it: this folder, the state file, the settings.
    pub fn own(&self, root: &Path, store: &Path) -> Own {
        let kept = [LOCK, TOKEN, LINK_KEY].map(|name| self.path.join(name));
        let settings = ["postrider.yaml", ".env"].map(|name| root.join(name));
        // The state file may be a link, and what SQLite keeps beside it is beside the real one.
        let real = store.canonicalize().unwrap_or_else(|_| store.to_owned());
        let files = kept.into_iter().chain(settings).chain(files_of(store)).chain(files_of(&real));
        Own::new(vec![self.path.clone(), Self::blobs(&self.path)], files.collect())
    }

    /// Gives everything in the folder to its owner alone, for it may have been copied or unpacked. Nobody
    /// else comes into the folder meanwhile; there may be many files in it.
    pub fn restrict(path: &Path) {
        for entry in WalkDir::new(path).min_depth(1).into_iter().flatten() {
            let mode = match entry.file_type() {
                kind if kind.is_dir() => 0o700,
                kind if kind.is_file() => 0o600,
                // A link's own mode means nothing, and what it leads to may be somebody else's.
                _ => continue,
            };
            // What is gone meanwhile needs none.
            if entry.metadata().is_ok_and(|about| about.permissions().mode() & 0o7777 != mode) {
                let restricted = fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode));
                if let Err(error) = restricted.or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                }) {
                    tracing::warn!(file = %entry.path().display(), %error, "others may read this; change its mode");
                }
            }
        }
    }

    fn secret(&self, name: &str) -> io::Result<Secret> {
        let file = self.path.join(name);
        if let Ok(token) = fs::read_to_string(&file)
            && token.trim().len() >= 32
        {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            return Ok(Secret::new(token.trim()));
        }
        let token = hex::encode(random_bytes::<32>());
        let mut created = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&file)?;
        // One that was there keeps its mode.
        created.set_permissions(fs::Permissions::from_mode(0o600))?;
        created.write_all(token.as_bytes())?;
        created.sync_all()?;
        Ok(Secret::new(token))
    }
}

/// Where the engine of a workspace can be found; none when none runs.
pub fn read_address(root: &Path) -> Option<Address> {
    let mut file = File::open(root.join(FOLDER).join(LOCK)).ok()?;
    // Who gets the lock knows that nobody runs; it is given back when the file is closed.
    if file.try_lock_shared().is_ok() {
        return None;
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// The token of a workspace's private side.
pub fn read_token(root: &Path) -> Option<Secret> {
    let token = fs::read_to_string(root.join(FOLDER).join(TOKEN)).ok()?;
    Some(Secret::new(token.trim()))
}
