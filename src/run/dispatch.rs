//! Keeps the board filled from the store.

use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use crate::clock::{SharedClock, after};
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use crate::wake::Bell;

/// Even without a bell the table is looked at this often.
const LOOK: Duration = Duration::from_secs(10);

/// The service.
pub struct Dispatcher {
    store: Arc<dyn Store>,
    board: Arc<Board>,
    clock: SharedClock,
    bell: Bell,
}

impl Dispatcher {
    /// From this store onto this board.
    pub fn new(store: Arc<dyn Store>, board: Arc<Board>, clock: SharedClock, bell: Bell) -> Self {
        Self { store, board, clock, bell }
    }

    /// Fills until told to stop.
    pub async fn run(self, shutdown: Shutdown) {
        let mut look = true;
        while shutdown.is_running() {
            let filled = self.turn(look).await;
            if let Err(error) = &filled {
                tracing::error!(%error, "ready runs cannot be read");
            }
            let pause = if filled.is_ok() { LOOK } else { Duration::from_secs(1) };
            look = false;
            tokio::select! {
                () = shutdown.draining() => return,
                () = self.bell.rung() => {}
                () = self.board.hungry() => {}
                () = self.clock.sleep_until(after(self.clock.now(), pause)) => look = true,
            }
        }
    }

    async fn turn(&self, look: bool) -> Result<(), StoreError> {
        if look {
            for flow in self.store.ready_flows().await? {
                self.board.announce(flow.into());
            }
        }
        for flow in self.bell.take() {
            self.board.announce(flow);
        }
        for page in self.board.wanting() {
            self.board.reads();
            let runs = self.store.ready_runs(&page.flow, page.cursor, page.most).await?;
            self.board.fill(&page, runs);
        }
        Ok(())
    }
}
