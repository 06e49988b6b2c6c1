//! Puts requests that were turned away on record, some at a time: whoever is refused must not cost a commit.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::service::Service;
use crate::store::{Store, StoreError};
use crate::view::TurnedAway;

/// Others may be refused meanwhile.
const GATHER: Duration = Duration::from_secs(1);

/// The service.
pub struct Refusals {
    store: Arc<dyn Store>,
    list: TurnedAway,
}

impl Refusals {
    /// Of this list, into this store.
    pub fn new(store: Arc<dyn Store>, list: TurnedAway) -> Self {
        Self { store, list }
    }
}

impl Service for Refusals {
    type Error = StoreError;
    const TROUBLE: &'static str = "refused requests are not on record yet";

    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let (rows, gone) = self.list.unwritten();
        if !rows.is_empty() {
            let numbers: Vec<i64> = rows.iter().map(|row| row.id).collect();
            if let Err(error) = self.store.keep_refused(rows, gone.clone()).await {
                self.list.write_again(&numbers, &gone);
                return Err(error);
            }
        }
        Ok(None)
    }

    async fn woken(&mut self) {
        self.list.changed().await;
        // By the machine's own time: it only bounds how often the disk is written to.
        tokio::time::sleep(GATHER).await;
    }
}
