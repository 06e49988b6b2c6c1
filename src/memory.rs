//! Counts what a thread allocates, so that a script's memory can be bounded.
//!
//! Rhai's own size limits walk the whole value at every change, which makes `push` linear in the
//! array's length. Counting at the allocator costs a few additions and sees everything.
//!
//! The count is also the last net. A function of Rhai's that grows a value without end cannot be
//! made to fail: an allocator may neither unwind nor, without an abort, refuse. It may keep its
//! caller waiting, though. A thread that grows over its [`Ceiling`] stops inside the allocator and
//! never comes back; whoever watches it sees the flag and puts another thread in its place.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mimalloc::MiMalloc;

thread_local! {
    // Const-initialised and without a destructor: touching it never allocates and is safe while
    // a thread ends.
    static COUNTS: Counts =
        const { Counts { held: Cell::new(0), peak: Cell::new(0), ceiling: Cell::new(i64::MAX) } };
    /// Told when this thread is stopped. Touched only while a ceiling is in force.
    static STOPPED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// What a thread holds, in bytes. All in one, for it is looked up once for each allocation.
struct Counts {
    held: Cell<i64>,
    peak: Cell<i64>,
    ceiling: Cell<i64>,
}

/// mimalloc with a tally for each thread.
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn tally(change: i64) {
    COUNTS.with(|counts| {
        let held = counts.held.get().wrapping_add(change);
        counts.held.set(held);
        if held > counts.peak.get() {
            counts.peak.set(held);
            if held > counts.ceiling.get() {
                stop(counts);
            }
        }
    });
}

/// Keeps this thread from ever going on. No lock of the allocator is held here.
#[cold]
fn stop(counts: &Counts) {
    counts.ceiling.set(i64::MAX);
    let told = STOPPED.with(|flag| flag.try_borrow().is_ok_and(|flag| flag.as_ref().is_some_and(tell)));
    if told {
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}

fn tell(flag: &Arc<AtomicBool>) -> bool {
    flag.store(true, Ordering::Release);
    true
}

// SAFETY: every call is handed on to `MiMalloc` unchanged; the tally touches no allocated memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        tally(layout.size() as i64);
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        tally(layout.size() as i64);
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        tally(-(layout.size() as i64));
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        tally(size as i64 - layout.size() as i64);
        unsafe { MiMalloc.realloc(block, layout, size) }
    }
}

/// Bytes of the process that are in the machine's memory; 0 where the system does not tell.
pub fn resident() -> u64 {
    // Pages in all, pages resident, ... (proc_pid_statm(5)).
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * rustix::param::page_size() as u64
}

/// Asks the kernel for small pages only. An engine at rest holds a few megabytes; in pages of two
/// megabytes each it would hold several times as much.
pub fn prefer_small_pages() {
    // Where the kernel knows no large pages there is nothing to refuse.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Gives what this thread has freed back to the system. After much work: it would be kept for more of it.
pub fn give_back() {
    // SAFETY: it walks the calling thread's own heap, and frees nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// Bytes this thread has allocated and not freed since the mark was made.
#[derive(Clone, Copy)]
pub struct Mark(i64);

impl Mark {
    /// Begins counting on this thread; the peak is that of the newest mark.
    pub fn new() -> Self {
        COUNTS.with(|counts| {
            counts.peak.set(counts.held.get());
            Self(counts.held.get())
        })
    }

    /// What has been added since; zero when more was freed than taken.
    pub fn held(self) -> u64 {
        COUNTS.with(|counts| counts.held.get()).wrapping_sub(self.0).max(0).unsigned_abs()
    }

    /// The most that was held at any instant since.
    pub fn peak(self) -> u64 {
        COUNTS.with(|counts| counts.peak.get()).wrapping_sub(self.0).max(0).unsigned_abs()
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::new()
    }
}

/// As long as this lives, the thread stops for good when it holds more than so many bytes above
/// the mark. Then the ceiling that was there before it is there again.
pub struct Ceiling {
    before: i64,
    told: Option<Arc<AtomicBool>>,
}

impl Ceiling {
    /// Puts the ceiling up for the calling thread. `stopped` is set when the thread has been
    /// stopped by it.
    pub fn new(mark: Mark, bytes: u64, stopped: Arc<AtomicBool>) -> Self {
        let told = STOPPED.with(|flag| flag.borrow_mut().replace(stopped));
        let height = mark.0.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        Self { before: COUNTS.with(|counts| counts.ceiling.replace(height)), told }
    }

    /// Does something without it: what holds a lock that others need must not be stopped.
    pub fn lifted<T>(act: impl FnOnce() -> T) -> T {
        struct Back(i64);
        impl Drop for Back {
            fn drop(&mut self) {
                COUNTS.with(|counts| counts.ceiling.set(self.0));
            }
        }
        let _back = Back(COUNTS.with(|counts| counts.ceiling.replace(i64::MAX)));
        act()
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        COUNTS.with(|counts| counts.ceiling.set(self.before));
        STOPPED.with(|flag| *flag.borrow_mut() = self.told.take());
    }
}
