//! Moves messages by the clock: scheduled ones that are due, those that expire, unknown ones that
//! are sent again.

use std::sync::Arc;
use std::time::Duration;

use super::Account;
use crate::clock::{SharedClock, after};
use crate::model::policy::OnUnknown;
use crate::shutdown::Shutdown;
use crate::store::rows::ResendPolicy;
use crate::store::{Store, StoreError};
use crate::wake::Bell;

/// The service.
pub struct Mover {
    store: Arc<dyn Store>,
    clock: SharedClock,
    bell: Bell,
    resend: Vec<ResendPolicy>,
}

impl Mover {
    /// For these accounts.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock, bell: Bell, accounts: &[Account]) -> Self {
        let resend = accounts
            .iter()
            .filter(|account| account.on_unknown == OnUnknown::Resend)
            .map(|account| ResendPolicy { account: account.name.clone(), after: account.unknown_after })
            .collect();
        Self { store, clock, bell, resend }
    }

    /// Moves whatever is due until told to stop.
    pub async fn run(self, shutdown: Shutdown) {
        while shutdown.is_running() {
            let next = match self.turn().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(%error, "messages cannot be moved");
                    Some(after(self.clock.now(), Duration::from_secs(1)))
                }
            };
            tokio::select! {
                () = shutdown.draining() => return,
                () = self.bell.rung() => {}
                () = async { match next { Some(at) => self.clock.sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }

    /// Moves everything that is due now; gives when to look again.
    async fn turn(&self) -> Result<Option<jiff::Timestamp>, StoreError> {
        loop {
            let moved = self.store.move_messages(self.clock.now(), self.resend.clone()).await?;
            if moved.count == 0 {
                return Ok(moved.next);
            }
        }
    }
}
