//! Knows when nobody was there: writes down now and then that the engine is, and finds out afterwards when it was not,
//! when the computer slept, and when its clock was moved.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::{Passed, SharedClock, after, before};
use crate::service::Service;
use crate::store::records::{Beat, Gap, GapKind};
use crate::store::{Store, StoreError};

/// How often it is written down. So much later, at most, is known when the engine went.
const BEAT: Duration = Duration::from_secs(60);
/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Less than this is nobody's business: clocks are set right all the time.
const NOTHING: Duration = Duration::from_secs(2);

/// The service.
pub struct Pulse {
    store: Arc<dyn Store>,
    clock: SharedClock,
    /// What the clock showed at the last look, and how much time had passed then.
    last: (Timestamp, Passed),
    /// When it is to be written down again.
    due: Timestamp,
    /// Gaps that are not written down yet.
    gaps: Vec<Gap>,
}

impl Pulse {
    /// Begins: what lies between the last beat and now was a gap.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn open(store: Arc<dyn Store>, clock: SharedClock) -> Result<Self, StoreError> {
        let now = clock.now();
        let gap = store.last_beat().await?.map(|beat| {
            let kind = if beat.stopped { GapKind::Stopped } else { GapKind::Down };
            Gap { from: beat.at, to: now, kind }
        });
        let gaps = gap.into_iter().filter(|gap| after(gap.from, NOTHING) < gap.to).collect();
        let last = (now, clock.passed());
        Ok(Self { store, clock, last, due: now, gaps })
    }

    /// Compares what the hands show with the time that has passed.
    fn look(&mut self) -> Timestamp {
        let (now, passed) = (self.clock.now(), self.clock.passed());
        let (then, before_it) = std::mem::replace(&mut self.last, (now, passed));
        let all = passed.all.saturating_sub(before_it.all);
        let slept = all.saturating_sub(passed.awake.saturating_sub(before_it.awake));
        if slept > NOTHING {
            let gap = Gap { from: before(after(then, all), slept), to: after(then, all), kind: GapKind::Asleep };
            tracing::warn!(seconds = slept.as_secs(), "the computer slept; what was due meanwhile is looked at now");
            self.gaps.push(gap);
        }
        let should = after(then, all);
        let moved = now.duration_since(should);
        if moved.unsigned_abs() > NOTHING {
            let kind = if moved > SignedDuration::ZERO { GapKind::Forward } else { GapKind::Back };
            tracing::warn!(seconds = moved.as_secs(), "the clock was moved");
            self.gaps.push(Gap { from: should, to: now, kind });
        }
        now
    }
}

/// The engine goes as it was told to.
///
/// # Errors
/// As the store fails.
pub async fn last(store: &dyn Store, at: Timestamp) -> Result<(), StoreError> {
    store.beat(Beat { at, stopped: true }, Vec::new()).await
}

impl Service for Pulse {
    type Error = StoreError;
    const TROUBLE: &'static str = "it cannot be written down that the engine is there";

    async fn turn(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.look();
        // A clock that was put back must not keep it from being written down for as long.
        if now >= self.due || !self.gaps.is_empty() || after(now, BEAT) < self.due {
            self.store.beat(Beat { at: now, stopped: false }, self.gaps.clone()).await?;
            self.gaps.clear();
            self.due = after(now, BEAT);
        }
        Ok(Some(after(now, LOOK)))
    }

    /// Nothing wakes it but the clock.
    async fn woken(&mut self) {
        std::future::pending().await
    }
}
