//! Counts what a thread allocates, so that a script's memory can be bounded.
//!
//! Rhai's own size limits walk the whole value at every change, which makes `push` linear in the
//! array's length. Counting at the allocator costs two additions and sees everything.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use mimalloc::MiMalloc;

thread_local! {
    // Const-initialised and without a destructor: touching it never allocates and is safe while
    // a thread ends.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// mimalloc with a tally for each thread.
pub struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn tally(change: i64) {
    HELD.with(|held| held.set(held.get().wrapping_add(change)));
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

/// Asks the kernel for small pages only. An engine at rest holds a few megabytes; in pages of two
/// megabytes each it would hold several times as much.
pub fn prefer_small_pages() {
    // Where the kernel knows no large pages there is nothing to refuse.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Bytes this thread has allocated and not freed since the mark was made.
#[derive(Clone, Copy)]
pub struct Mark(i64);

impl Mark {
    /// Begins counting on this thread.
    pub fn new() -> Self {
        Self(HELD.with(Cell::get))
    }

    /// What has been added since; zero when more was freed than taken.
    pub fn held(self) -> u64 {
        HELD.with(Cell::get).wrapping_sub(self.0).max(0).unsigned_abs()
    }
}

impl Default for Mark {
    fn default() -> Self {
        Self::new()
    }
}
