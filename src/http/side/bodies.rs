//! Room for bodies of requests: bytes that came and are not yet worked up, over all connections.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of the largest body that counts as a small one.
pub const SMALL: usize = 64 << 10;

/// Most bytes of small bodies together, and of larger ones: a few callers with much to say do not keep
/// out the many who have little.
const SMALL_ONES: usize = 16 << 20;
const LARGE_ONES: usize = 24 << 20;

/// The room.
pub struct Bodies {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { small: Arc::new(Semaphore::new(SMALL_ONES)), large: Arc::new(Semaphore::new(LARGE_ONES)) }
    }
}

/// What of a body is here, and the room that it takes.
#[derive(Default)]
pub struct Held {
    bytes: usize,
    large: bool,
    room: Option<OwnedSemaphorePermit>,
}

/// Room that a body needs.
pub struct Wanted {
    /// Where.
    pub room: Arc<Semaphore>,
    /// How much.
    pub permits: u32,
    /// Whether that is among the large ones.
    pub large: bool,
}

impl Bodies {
    /// What a body needs for so many more bytes; `large` when it is known to become so. One that turns
    /// out to be large moves as a whole.
    pub fn wanted(&self, held: &Held, bytes: usize, large: bool) -> Wanted {
        let large = large || held.large || held.bytes + bytes > SMALL;
        let wanted = if large == held.large { bytes } else { held.bytes + bytes };
        let room = if large { &self.large } else { &self.small };
        // What is read at once is far from four gigabytes.
        Wanted { room: room.clone(), permits: u32::try_from(wanted).unwrap_or(u32::MAX), large }
    }
}

impl Held {
    /// Whether it takes room among the large or the small ones.
    pub fn is_in(&self, large: bool) -> bool {
        self.bytes > 0 && self.large == large
    }

    /// More came, for which there is room.
    pub fn add(&mut self, bytes: usize, large: bool, permit: OwnedSemaphorePermit) {
        self.bytes += bytes;
        match &mut self.room {
            Some(room) if self.large == large => room.merge(permit),
            room => *room = Some(permit),
        }
        self.large = large;
    }
}
