//! Work that is shared out among the processor's cores.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::thread::{available_parallelism, scope};

/// Does `work` for each of `all`, in their order, on as many threads as there are cores; on this one alone where there
/// are fewer than `worthwhile` for each thread.
///
/// # Panics
/// As `work` does.
pub fn shared_out<T: Sync, R: Send>(all: &[T], worthwhile: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = available_parallelism().map_or(1, NonZeroUsize::get).min(all.len() / worthwhile.max(1));
    if threads < 2 {
        return all.iter().map(work).collect();
    }
    let share = |some: &[T]| some.iter().map(&work).collect::<Vec<R>>();
    let share = &share;
    scope(|scope| {
        let shares = all.chunks(all.len().div_ceil(threads)).map(|some| scope.spawn(move || share(some)));
        let shares: Vec<_> = shares.collect();
        shares.into_iter().flat_map(|share| share.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}
