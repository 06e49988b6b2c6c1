//! Bounds of what a script does: CPU time and memory, watched while it runs.
//!
//! Three nets, each for what slips through the one before:
//! * every operation of the script looks at the bounds ([`Watch::check`]);
//! * functions that may grow or walk much in one call ask for the room first ([`room_for`]) and look at
//!   the bounds while they work ([`tick`]);
//! * whoever keeps the threads looks at them from outside ([`Alarm`]): a thread that is over twice its
//!   time, or was stopped by the allocator, is given up.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence};
use std::time::Duration;

use super::error::{HostResult, terminated};
use crate::clock::{cpu_of_thread, thread_cpu, thread_number};
use crate::memory::{self, Ceiling, Mark};
use crate::model::run::ScriptError;
use crate::units::format_duration;

/// How often the CPU clock is read: a reading costs about as much as ten operations.
const OPERATIONS_PER_READING: u64 = 256;
/// Copying a list may double what is held before anybody can look; what goes beyond that was never meant.
const MARGIN: u64 = 4 << 20;
/// Before so many bytes more are taken, what was freed goes back to the system.
const LARGE: u64 = 4 << 20;

thread_local! {
    static CURRENT: RefCell<Option<Watch>> = const { RefCell::new(None) };
    static ALARM: Arc<Alarm> = Arc::new(Alarm::of_this_thread());
}

/// What can be seen of a thread's turn from other threads.
pub struct Alarm {
    thread: i32,
    /// Grows by one before the next two change, and by one behind that: whoever reads an odd number, or not the same one
    /// before and behind, has not read what belongs together (a seqlock; only the thread itself writes).
    version: AtomicU64,
    /// The thread's CPU time when the turn began, in nanoseconds and plus one; 0 between turns.
    began: AtomicU64,
    allowed: AtomicU64,
    /// The next operation is to read the CPU clock.
    hurry: AtomicBool,
    stopped: Arc<AtomicBool>,
}

impl Alarm {
    fn of_this_thread() -> Self {
        let [version, began, allowed] = [0, 0, 0].map(AtomicU64::new);
        let hurry = AtomicBool::new(false);
        Self { thread: thread_number(), version, began, allowed, hurry, stopped: Arc::default() }
    }

    /// That of the calling thread.
    pub fn mine() -> Arc<Self> {
        ALARM.with(Arc::clone)
    }

    /// The number by which the system knows the thread.
    pub fn thread(&self) -> i32 {
        self.thread
    }

    /// Whether the allocator has stopped the thread for good.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The CPU time of the turn that is under way, and how much it may use. Makes the turn look at its
    /// clock, too.
    pub fn spent(&self) -> Option<(Duration, Duration)> {
        let version = self.version.load(Ordering::Acquire);
        let (began, allowed) = (self.began.load(Ordering::Relaxed), self.allowed.load(Ordering::Relaxed));
        let began = began.checked_sub(1)?;
        self.hurry.store(true, Ordering::Relaxed);
        let now = cpu_of_thread(self.thread)?;
        fence(Ordering::Acquire);
        // It may have ended its turn meanwhile, or begun another one, which has spent nothing yet.
        if version % 2 == 1 || self.version.load(Ordering::Relaxed) != version {
            return None;
        }
        Some((now.saturating_sub(Duration::from_nanos(began)), Duration::from_nanos(allowed)))
    }

    /// The thread's turn has begun then, and may use so much; gives what was so before.
    fn set(&self, began: u64, allowed: u64) -> (u64, u64) {
        let before = (self.began.load(Ordering::Relaxed), self.allowed.load(Ordering::Relaxed));
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.began.store(began, Ordering::Relaxed);
        self.allowed.store(allowed, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
        before
    }
}

/// Watches what a script does on one thread. Shared between the engine's callbacks, all on that thread.
#[derive(Clone)]
pub struct Watch {
    shared: Arc<Shared>,
    start: Duration,
    cpu: Duration,
    mark: Mark,
    memory: u64,
}

struct Shared {
    ended: AtomicBool,
    excess: AtomicU8,
    operations: AtomicU64,
    alarm: Arc<Alarm>,
}

/// Which bound was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// CPU time.
    Cpu(Duration),
    /// Bytes.
    Memory(u64),
}

const CPU: u8 = 1;
const MEMORY: u8 = 2;

/// As long as this lives, the watch is that of the thread. Then the one before it is so again.
pub struct Entered {
    before: Option<Watch>,
    began: u64,
    allowed: u64,
    _ceiling: Ceiling,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        ALARM.with(|alarm| alarm.set(self.began, self.allowed));
        CURRENT.with(|current| *current.borrow_mut() = before);
    }
}

impl Watch {
    /// Begins watching on this thread.
    pub fn new(cpu: Duration, memory: u64) -> Self {
        let alarm = Alarm::mine();
        let (ended, excess, operations) = (AtomicBool::new(false), AtomicU8::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { ended, excess, operations, alarm });
        Self { shared, start: thread_cpu(), cpu, mark: Mark::new(), memory }
    }

    /// Makes it the one that functions on this thread ask.
    pub fn enter(&self) -> Entered {
        let alarm = &self.shared.alarm;
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX - 1);
        let (began, allowed) = alarm.set(nanos(self.start) + 1, nanos(self.cpu));
        let ceiling =
            Ceiling::new(self.mark, self.memory.saturating_mul(2).saturating_add(MARGIN), alarm.stopped.clone());
        let before = CURRENT.with(|current| current.borrow_mut().replace(self.clone()));
        Entered { before, began, allowed, _ceiling: ceiling }
    }

    /// From now on every operation ends the turn.
    pub fn end(&self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }

    /// Whether the turn has its end already.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// CPU time used since the beginning.
    pub fn spent(&self) -> Duration {
        thread_cpu().saturating_sub(self.start)
    }

    /// Looks at both bounds; called for every operation.
    pub fn check(&self) -> Result<(), Excess> {
        self.room(0)?;
        let count = self.shared.operations.fetch_add(1, Ordering::Relaxed);
        let hurry = &self.shared.alarm.hurry;
        if count % OPERATIONS_PER_READING == OPERATIONS_PER_READING - 1 || hurry.load(Ordering::Relaxed) {
            hurry.store(false, Ordering::Relaxed);
            return self.time();
        }
        Ok(())
    }

    fn time(&self) -> Result<(), Excess> {
        match self.spent() > self.cpu {
            true => Err(self.exceeded(Excess::Cpu(self.cpu))),
            false => Ok(()),
        }
    }

    fn room(&self, bytes: u64) -> Result<(), Excess> {
        match self.mark.held().saturating_add(bytes) > self.memory {
            true => Err(self.exceeded(Excess::Memory(self.memory))),
            false => Ok(()),
        }
    }

    /// Bytes that the thread holds more than at the beginning.
    pub fn held(&self) -> u64 {
        self.mark.held()
    }

    fn left(&self) -> u64 {
        self.memory.saturating_sub(self.mark.held())
    }

    /// Notes that a bound was broken, and ends the turn.
    fn exceeded(&self, excess: Excess) -> Excess {
        let number = if matches!(excess, Excess::Cpu(_)) { CPU } else { MEMORY };
        // The first one is the reason.
        let _ = self.shared.excess.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        self.end();
        excess
    }

    /// The bound that was broken, if one was: also by a last call, behind which no operation came.
    pub fn excess(&self) -> Option<Excess> {
        match self.shared.excess.load(Ordering::Relaxed) {
            CPU => Some(Excess::Cpu(self.cpu)),
            MEMORY => Some(Excess::Memory(self.memory)),
            _ if self.mark.peak() > self.memory => Some(Excess::Memory(self.memory)),
            _ if self.spent() > self.cpu => Some(Excess::Cpu(self.cpu)),
            _ => None,
        }
    }
}

/// Asks the watch of this thread; there is none outside of turns and compiling.
fn with<T>(default: T, look: impl FnOnce(&Watch) -> T) -> T {
    CURRENT.with(|current| current.borrow().as_ref().map_or(default, look))
}

/// Asks for room for so many bytes more, before they are taken.
///
/// # Errors
/// The end of the turn when they are more than it may hold.
pub fn room_for(bytes: u64) -> HostResult<()> {
    with(Ok(()), |watch| match watch.has_ended() {
        true => Err(terminated()),
        false => watch.room(bytes).map_err(|_| terminated()),
    })?;
    // What was freed is kept for a while: a text that grows piece by piece would hold all its former lengths.
    if bytes > LARGE {
        memory::give_back();
    }
    Ok(())
}

/// How many bytes more may be held.
pub fn room_left() -> u64 {
    with(u64::MAX, Watch::left)
}

/// Looks at both bounds; for each step of work that may be long.
///
/// # Errors
/// The end of the turn.
pub fn tick() -> HostResult<()> {
    with(Ok(()), |watch| match watch.has_ended() {
        true => Err(terminated()),
        false => watch.check().map_err(|_| terminated()),
    })
}

/// Looks at the clock in any case; for steps that are long themselves.
///
/// # Errors
/// The end of the turn.
pub fn tick_long() -> HostResult<()> {
    tick()?;
    with(Ok(()), |watch| watch.time().map_err(|_| terminated()))
}

/// Ends the turn because something would have taken more than there is room for.
pub fn too_large() {
    with((), |watch| {
        watch.exceeded(Excess::Memory(watch.memory));
    });
}

/// Ends the turn because something would have taken too long.
pub fn too_long() {
    with((), |watch| {
        watch.exceeded(Excess::Cpu(watch.cpu));
    });
}

/// The sentence for a broken bound.
pub fn excess_error(excess: Excess) -> ScriptError {
    let message = match excess {
        Excess::Cpu(limit) => format!(
            "the script computed for more than {} without an end; is a loop endless? (`limits.cpu_turn`)",
            format_duration(limit)
        ),
        Excess::Memory(limit) => {
            format!("the script holds more than {limit} bytes; does a loop hoard? (`limits.memory`)")
        }
    };
    ScriptError::new("limit", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_while_turns_come_and_go_sees_each_with_what_it_may_use() {
        let (told, alarm) = std::sync::mpsc::channel();
        let over = Arc::new(AtomicBool::new(false));
        let turns = std::thread::spawn({
            let over = over.clone();
            move || {
                told.send(Alarm::mine()).unwrap();
                let turn = Watch::new(Duration::from_secs(7), 1 << 30);
                for number in 0_u32.. {
                    let entered = turn.enter();
                    // Most are over at once; some are long enough to be seen.
                    let work = if number.is_multiple_of(64) { 2_000 } else { 0 };
                    (0..work).for_each(|step| _ = std::hint::black_box(step));
                    drop(entered);
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            }
        });
        let alarm = alarm.recv().unwrap();
        let (mut looks, mut seen) = (0, 0);
        while looks < 300_000 || seen < 1_000 {
            looks += 1;
            if let Some((_, allowed)) = alarm.spent() {
                seen += 1;
                assert_eq!(allowed, Duration::from_secs(7));
            }
        }
        over.store(true, Ordering::Relaxed);
        turns.join().unwrap();
    }

    #[test]
    fn a_watch_within_another_leaves_it_in_force() {
        let (outer, inner) = (Watch::new(Duration::from_secs(7), 1 << 30), Watch::new(Duration::from_secs(3), 1 << 20));
        let allowed = || Alarm::mine().spent().map(|(_, allowed)| allowed);
        let entered = outer.enter();
        drop(inner.enter());
        assert_eq!(allowed(), Some(Duration::from_secs(7)));
        assert_eq!(with(0, |watch| watch.memory), 1 << 30);
        drop(entered);
        assert_eq!(allowed(), None);
    }
}
