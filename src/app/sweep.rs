//! Forgets what nobody needs any more.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{SharedClock, after};
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};

/// How often it is looked for.
const LOOK: Duration = Duration::from_secs(3600);

/// Forgets flow versions that are not live and that no run needs. One has to be found so twice: a run
/// that is being accepted while its flow changes is not in the store yet.
pub async fn sweep(store: Arc<dyn Store>, clock: SharedClock, shutdown: Shutdown) {
    let mut before: HashSet<String> = HashSet::new();
    while shutdown.is_running() {
        match turn(&*store, &mut before).await {
            Ok(0) => {}
            Ok(versions) => tracing::info!(versions, "old versions of flows are forgotten"),
            Err(error) => tracing::error!(%error, "old versions of flows stay"),
        }
        tokio::select! {
            () = shutdown.draining() => return,
            () = clock.sleep_until(after(clock.now(), LOOK)) => {}
        }
    }
}

async fn turn(store: &dyn Store, before: &mut HashSet<String>) -> Result<u64, StoreError> {
    let unused: HashSet<String> = store.unused_versions().await?.into_iter().collect();
    let gone: Vec<String> = unused.intersection(before).cloned().collect();
    *before = unused;
    match gone.is_empty() {
        true => Ok(0),
        false => store.prune_versions(gone).await,
    }
}
