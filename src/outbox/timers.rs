//! The timers of messages: moves by the clock scheduled ones that are due, those that expire, unknown ones that
//! are sent again.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

use super::Accounts;
use crate::clock::SharedClock;
use crate::model::policy::OnUnknown;
use crate::service::Service;
use crate::store::records::ResendPolicy;
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
}

impl Service for MessageTimers {
    type Error = StoreError;
    const TROUBLE: &'static str = "messages cannot be moved";

    /// Moves everything that is due now.
    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let moved = self.store.move_messages(self.clock.now(), self.resend()).await?;
            if moved.count == 0 {
                return Ok(moved.next);
            }
        }
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.bell.rung() => {}
            Ok(()) = self.accounts.changed() => {}
        }
    }
}
