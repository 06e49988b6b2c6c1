//! Where a side keeps its connections: each has a seat that says whose turn it is. When there is no
//! room, those that have waited longest for their callers give theirs up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::bodies::{Bodies, Held};

/// How long a head may take, from its first byte or from the connection's beginning.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection is kept for its next request.
const IDLE_TIME: Duration = Duration::from_secs(75);

/// Most bytes of heads that are not whole; without the first piece where the connection was kept.
const HEADS: usize = 4 << 20;

/// How long a body that brings nothing is safe from those who need its room, and how long one is that
/// goes on and on.
const SILENCE: u64 = 100;
const LONG: u64 = 3_000;
/// How long room for a body is waited for (less than the first bytes of a body may take, or its caller would
/// be blamed), and how often a body is looked for that could make it.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

/// The connections of a side.
pub struct Room {
    name: &'static str,
    most: usize,
    epoch: Instant,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
    next: AtomicU64,
    freed: Notify,
    heads: AtomicUsize,
    bodies: Bodies,
    /// When something was last warned of, in milliseconds since the epoch, from 1.
    warned: AtomicU64,
    /// When a body was last looked for that could make room.
    looked: AtomicU64,
}

/// Whose turn it is at a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The caller's: it may ask for something more.
    Idle,
    /// The caller's: its head is not whole.
    Head,
    /// The caller's: its body is not whole.
    Body,
    /// Ours.
    Ours,
}

/// A connection's place in the room.
pub struct Seat {
    room: Arc<Room>,
    id: u64,
    /// The turn, and above it since when, in milliseconds since the room's epoch.
    turn: AtomicU64,
    /// When the body began.
    body_began: AtomicU64,
    /// Since when an answer cannot be written because the caller does not read; 0 is never.
    stuck: AtomicU64,
    /// Bytes of a head that is not whole, as far as they count.
    head: AtomicUsize,
    /// Whether bytes of a body may still come.
    unread: AtomicBool,
    body: Mutex<Held>,
    task: OnceLock<AbortHandle>,
}

/// Gives the seat back.
pub struct Leaving(Arc<Seat>);

impl Leaving {
    /// The seat.
    pub fn seat(&self) -> Arc<Seat> {
        self.0.clone()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let Seat { room, id, .. } = &*self.0;
        self.0.head_is_over();
        room.seats().remove(id);
        room.freed.notify_one();
    }
}

impl Room {
    /// For so many connections.
    pub fn new(name: &'static str, most: usize) -> Arc<Self> {
        Arc::new(Self {
            name,
            most,
            epoch: Instant::now(),
            seats: Mutex::default(),
            next: AtomicU64::new(0),
            freed: Notify::new(),
            heads: AtomicUsize::new(0),
            bodies: Bodies::default(),
            warned: AtomicU64::new(0),
            looked: AtomicU64::new(0),
        })
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Says something about this side, at most once a minute.
    pub fn warn(&self, say: impl FnOnce(&'static str)) {
        let (now, last) = (self.now() + 1, self.warned.load(Ordering::Relaxed));
        if last == 0 || now - last >= 60_000 {
            self.warned.store(now, Ordering::Relaxed);
            say(self.name);
        }
    }

    /// A seat for a new connection, once there is one.
    pub async fn enter(self: &Arc<Self>) -> Arc<Seat> {
        loop {
            {
                let mut seats = self.seats();
                if seats.len() < self.most {
                    let id = self.next.fetch_add(1, Ordering::Relaxed);
                    let seat = Arc::new(Seat::new(self.clone(), id));
                    seats.insert(id, seat.clone());
                    return seat;
                }
            }
            self.warn(|side| {
                tracing::warn!(
                    side,
                    connections = self.most,
                    "there is no room for more connections; those that wait longest for their callers are closed"
                );
            });
            self.relieve();
            // Those that we are busy with end by themselves.
            let _ = tokio::time::timeout(Duration::from_millis(50), self.freed.notified()).await;
        }
    }

    /// Closes some of the connections that have waited longest for their callers: first those without
    /// a request. Several at once, for looking for them costs a look at all.
    pub fn relieve(&self) {
        let some = (self.most / 32).max(1);
        let mut waiting: Vec<(bool, u64, Arc<Seat>)> = Vec::new();
        for seat in self.seats().values() {
            let (turn, since) = seat.turn();
            let stuck = seat.stuck.load(Ordering::Relaxed);
            match turn {
                _ if stuck > 0 => waiting.push((true, stuck, seat.clone())),
                Turn::Idle | Turn::Head => waiting.push((false, since, seat.clone())),
                Turn::Body => waiting.push((true, since, seat.clone())),
                Turn::Ours => {}
            }
        }
        waiting.sort_unstable_by_key(|(asked, since, seat)| (*asked, *since, seat.id));
        waiting.iter().take(some).for_each(|(.., seat)| seat.ends());
    }

    /// Closes the head that is not whole and holds most.
    fn close_head(&self, but: u64) {
        let largest = {
            let seats = self.seats();
            let heads = seats.values().filter(|seat| seat.id != but && seat.turn().0 == Turn::Head);
            heads.max_by_key(|seat| seat.head.load(Ordering::Relaxed)).cloned()
        };
        if let Some(seat) = largest {
            seat.ends();
        }
    }

    /// Closes the body that has been silent for longest while it holds such room. Many may want one at
    /// once; one look serves them for a moment.
    fn close_body(&self, but: u64, large: bool) {
        let now = self.now();
        if now.saturating_sub(self.looked.load(Ordering::Relaxed)) < 5 {
            return;
        }
        self.looked.store(now, Ordering::Relaxed);
        let quietest = {
            let seats = self.seats();
            let quiet = seats.values().filter(|seat| {
                let (turn, since) = seat.turn();
                let long = now.saturating_sub(seat.body_began.load(Ordering::Relaxed)) >= LONG;
                let idle = turn == Turn::Body && (long || now.saturating_sub(since) >= SILENCE);
                idle && seat.id != but && seat.held().is_in(large)
            });
            quiet.min_by_key(|seat| seat.turn().1).cloned()
        };
        if let Some(seat) = quietest {
            seat.ends();
        }
    }
}

impl Seat {
    fn new(room: Arc<Room>, id: u64) -> Self {
        let seat = Self {
            id,
            turn: AtomicU64::new(0),
            body_began: AtomicU64::new(0),
            stuck: AtomicU64::new(0),
            head: AtomicUsize::new(0),
            unread: AtomicBool::new(false),
            body: Mutex::default(),
            task: OnceLock::new(),
            room,
        };
        seat.takes(Turn::Head);
        seat
    }

    fn takes(&self, turn: Turn) -> u64 {
        let now = self.room.now();
        self.turn.store((now << 2) | turn as u64, Ordering::Relaxed);
        now
    }

    fn turn(&self) -> (Turn, u64) {
        let told = self.turn.load(Ordering::Relaxed);
        let turn = match told & 3 {
            0 => Turn::Idle,
            1 => Turn::Head,
            2 => Turn::Body,
            _ => Turn::Ours,
        };
        (turn, told >> 2)
    }

    /// The task that has the connection; ending it closes the connection.
    pub fn is_held_by(&self, task: AbortHandle) {
        // Said once for each seat.
        let _ = self.task.set(task);
    }

    fn ends(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Gives the seat back when dropped.
    pub fn leaves(self: &Arc<Self>) -> Leaving {
        Leaving(self.clone())
    }

    /// Until when it is waited for a head, or for its beginning.
    pub fn deadline(&self) -> Option<Instant> {
        let (turn, since) = self.turn();
        let time = match turn {
            Turn::Idle => IDLE_TIME,
            Turn::Head => HEAD_TIME,
            Turn::Body | Turn::Ours => return None,
        };
        Some(self.room.epoch + Duration::from_millis(since) + time)
    }

    /// Whether a head is under way, or the first one has not begun.
    pub fn awaits_head(&self) -> bool {
        self.turn().0 == Turn::Head
    }

    /// Bytes came in.
    pub fn came(&self, bytes: usize) {
        match self.turn().0 {
            _ if bytes == 0 => {}
            Turn::Idle => drop(self.takes(Turn::Head)),
            Turn::Head => {
                self.head.fetch_add(bytes, Ordering::Relaxed);
                if self.room.heads.fetch_add(bytes, Ordering::Relaxed) + bytes > HEADS {
                    self.room.close_head(self.id);
                }
            }
            Turn::Body | Turn::Ours => {}
        }
    }

    fn head_is_over(&self) {
        let bytes = self.head.swap(0, Ordering::Relaxed);
        if bytes > 0 {
            self.room.heads.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// A head is whole: its request begins.
    pub fn begins(&self, body: &Incoming) {
        self.head_is_over();
        let now = self.takes(Turn::Ours);
        self.body_began.store(now, Ordering::Relaxed);
        self.unread.store(!body.is_end_stream(), Ordering::Relaxed);
    }

    /// The caller is to send more of its body.
    pub fn awaits_body(&self) {
        if self.turn().0 != Turn::Body {
            self.takes(Turn::Body);
        }
    }

    /// A part of the body came.
    pub fn has_part(&self) {
        if self.turn().0 == Turn::Body {
            self.takes(Turn::Ours);
        }
    }

    /// The body is whole.
    pub fn has_all(&self) {
        self.unread.store(false, Ordering::Relaxed);
    }

    /// Whether bytes of a body may still come.
    pub fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// The answer is given; the caller may ask for something more.
    pub fn is_idle(&self) {
        self.takes(Turn::Idle);
    }

    /// Since when the caller does not take its answer, or that it does.
    pub fn is_stuck(&self, stuck: bool) {
        let since = if stuck { self.room.now().max(1) } else { 0 };
        self.stuck.store(since, Ordering::Relaxed);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for so many more bytes of a body; `large` when it will not be a small one.
    pub fn charges(&self, bytes: usize, large: bool) -> bool {
        let wanted = self.room.bodies.wanted(&self.held(), bytes, large);
        match wanted.room.try_acquire_many_owned(wanted.permits) {
            Ok(permit) => {
                self.held().add(bytes, wanted.large, permit);
                true
            }
            Err(_) => false,
        }
    }

    /// Waits for that room. False when there is none.
    pub async fn awaits_room(self: Arc<Self>, bytes: usize, large: bool) -> bool {
        let wanted = self.room.bodies.wanted(&self.held(), bytes, large);
        let end = Instant::now() + PATIENCE;
        let mut permit = std::pin::pin!(wanted.room.acquire_many_owned(wanted.permits));
        while Instant::now() < end {
            self.room.close_body(self.id, wanted.large);
            if let Ok(permit) = tokio::time::timeout(LOOK, permit.as_mut()).await {
                // Nobody ever closes it.
                let Ok(permit) = permit else { return false };
                self.held().add(bytes, wanted.large, permit);
                return true;
            }
        }
        false
    }

    /// What came of the body is not held any more.
    pub fn releases(&self) {
        *self.held() = Held::default();
    }
}
