//! Forgets what nobody needs any more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{SharedClock, after};
use crate::service::Service;
use crate::store::{Store, StoreError};

/// How often it is looked for.
const LOOK: Duration = Duration::from_secs(3600);

/// Forgets flow versions that are not live and that no run needs. One has to be found so twice: a run
/// that is being accepted while its flow changes is not in the store yet.
pub struct Sweeper {
    store: Arc<dyn Store>,
    clock: SharedClock,
    /// Those that were found so the last time.
    unused: HashSet<String>,
}

impl Sweeper {
    /// For the versions in this store.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock) -> Self {
        Self { store, clock, unused: HashSet::new() }
    }
}

impl Service for Sweeper {
    type Error = StoreError;
    const TROUBLE: &'static str = "old versions of flows stay";

    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let unused: HashSet<String> = self.store.unused_versions().await?.into_iter().collect();
        let gone: Vec<String> = unused.intersection(&self.unused).cloned().collect();
        self.unused = unused;
        if !gone.is_empty() {
            match self.store.prune_versions(gone).await? {
                0 => {}
                versions => tracing::info!(versions, "old versions of flows are forgotten"),
            }
        }
        Ok(Some(after(self.clock.now(), LOOK)))
    }

    /// Nothing wakes it but the clock.
    async fn woken(&mut self) {
        std::future::pending().await
    }
}
