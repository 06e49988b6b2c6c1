//! The timers of messages: moves by the clock scheduled ones that are due, those that expire, unknown ones that
//! are sent again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Accounts;
use super::caught::tried;
use crate::clock::{SharedClock, after};
use crate::model::policy::OnUnknown;
use crate::shutdown::Shutdown;
use crate::store::rows::ResendPolicy;
use crate::store::{Store, StoreError};
use crate::wake::Bell;

/// The service that moves messages whose time has come.
pub struct MessageTimers {
    store: Arc<dyn Store>,
    clock: SharedClock,
    bell: Bell,
    accounts: watch::Receiver<Arc<Accounts>>,
}

impl MessageTimers {
    /// For the accounts that there are.
    pub fn new(
        store: Arc<dyn Store>,
        clock: SharedClock,
        bell: Bell,
        accounts: watch::Receiver<Arc<Accounts>>,
    ) -> Self {
        Self { store, clock, bell, accounts }
    }

    fn resend(&self) -> Vec<ResendPolicy> {
        let accounts = self.accounts.borrow();
        let resend =
            accounts.iter().map(|(account, _)| account).filter(|account| account.on_unknown == OnUnknown::Resend);
        let policy = |account: &super::Account| ResendPolicy {
            account: account.name.clone(),
            after: account.unknown_after,
            attempts: account.retry.attempts,
        };
        resend.map(policy).collect()
    }

    /// Moves whatever is due until told to stop.
    pub async fn run(mut self, shutdown: Shutdown) {
        while shutdown.is_running() {
            let next = match tried(|| self.turn()).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(error, "messages cannot be moved");
                    Some(after(self.clock.now(), Duration::from_secs(1)))
                }
            };
            tokio::select! {
                () = shutdown.draining() => return,
                () = self.bell.rung() => {}
                Ok(()) = self.accounts.changed() => {}
                () = async { match next { Some(at) => self.clock.sleep_until(at).await, None => std::future::pending().await } } => {}
            }
        }
    }

    /// Moves everything that is due now; gives when to look again.
    async fn turn(&self) -> Result<Option<jiff::Timestamp>, StoreError> {
        loop {
            let moved = self.store.move_messages(self.clock.now(), self.resend()).await?;
            if moved.count == 0 {
                return Ok(moved.next);
            }
        }
    }
}
