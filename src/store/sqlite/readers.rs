//! Connections that read beside the writer.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::connect::read_only;
use crate::store::tx::{Read, Tx};
use crate::store::{Reply, StoreError};

/// A few of them, opened when they are needed and kept.
pub struct Readers {
    file: PathBuf,
    idle: Mutex<Vec<Connection>>,
    most_idle: usize,
}

impl Readers {
    /// For `file`; none is opened yet.
    pub fn new(file: &Path) -> Self {
        // Those that read at the same time are the threads that serve, and as many that look through lists.
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self { file: file.into(), idle: Mutex::default(), most_idle: (2 * threads).max(4) }
    }

    /// Reads on a thread that may block.
    pub fn aside<T: Send + 'static>(
        self: Arc<Self>,
        read: impl FnOnce(&dyn Tx) -> Read<T> + Send + 'static,
    ) -> Reply<T> {
        Box::pin(async move {
            let result = tokio::task::spawn_blocking(move || self.with(read)).await;
            result.unwrap_or_else(|error| Err(StoreError::Other(error.to_string())))
        })
    }

    /// Reads on the calling thread.
    pub fn with<T>(&self, read: impl FnOnce(&dyn Tx) -> Read<T>) -> Read<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => read_only(&self.file)?,
        };
        let result = read(&connection);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most_idle {
            idle.push(connection);
        }
        result
    }
}
