//! Keeps the queue filled from the store.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::queue::RunQueue;
use crate::clock::{SharedClock, after};
use crate::service::Service;
use crate::store::{Store, StoreError};
use crate::wake::Bell;

/// Even without a bell the table is looked at this often.
const LOOK: Duration = Duration::from_secs(10);

/// Pages that are read before others get the thread.
const PAGES_AT_ONCE: usize = 16;

/// The service.
pub struct Dispatcher {
    store: Arc<dyn Store>,
    queue: Arc<RunQueue>,
    clock: SharedClock,
    bell: Bell,
    /// When the table was last looked at.
    looked: Option<Timestamp>,
}

impl Dispatcher {
    /// From this store onto this queue; `bell` is rung with the names of flows that have ready runs.
    pub fn new(store: Arc<dyn Store>, queue: Arc<RunQueue>, clock: SharedClock, bell: Bell) -> Self {
        Self { store, queue, clock, bell, looked: None }
    }

    /// Asks the table which flows have ready runs, if that is due. Gives when it will be.
    async fn look(&mut self) -> Result<Timestamp, StoreError> {
        let now = self.clock.now();
        // The clock may have been set back.
        let next = self.looked.filter(|looked| *looked <= now).map(|looked| after(looked, LOOK));
        if let Some(next) = next.filter(|next| *next > now) {
            return Ok(next);
        }
        for flow in self.store.ready_flows().await? {
            self.queue.announce(flow.into());
        }
        self.looked = Some(now);
        Ok(after(now, LOOK))
    }
}

impl Service for Dispatcher {
    type Error = StoreError;
    const TROUBLE: &'static str = "ready runs cannot be read";

    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let next = self.look().await?;
        for flow in self.bell.take() {
            self.queue.announce(flow);
        }
        for (place, page) in self.queue.wanting().into_iter().enumerate() {
            // The store answers where it is asked, without waiting: with thousands of flows others would wait
            // long for this thread. With a few nobody is to wait for a turn more of the scheduler.
            if place > 0 && place.is_multiple_of(PAGES_AT_ONCE) {
                tokio::task::yield_now().await;
            }
            self.queue.reads();
            let runs = self.store.ready_runs(&page.flow, page.cursor, page.most).await?;
            self.queue.fill(&page, runs);
        }
        Ok(Some(next))
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.bell.rung() => {}
            () = self.queue.hungry() => {}
        }
    }
}
