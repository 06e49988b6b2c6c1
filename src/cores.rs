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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::thread::current;

    use super::*;

    #[test]
    fn what_was_shared_out_comes_back_in_its_order() {
        for count in [0, 1, 2, 3, 7, 100, 101] {
            let all: Vec<usize> = (0..count).collect();
            assert_eq!(shared_out(&all, 1, |number| number * 2), all.iter().map(|n| n * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_too_little_stays_on_its_thread() {
        let threads = Mutex::new(BTreeSet::new());
        let note = |_: &u8| threads.lock().unwrap().insert(format!("{:?}", current().id()));
        shared_out(&[1, 2, 3], 2, note);
        assert_eq!(*threads.lock().unwrap(), BTreeSet::from([format!("{:?}", current().id())]));
    }

    #[test]
    #[should_panic(expected = "the third of them")]
    fn what_breaks_on_another_thread_breaks_here() {
        shared_out(&[1, 2, 3, 4], 1, |number| assert!(*number != 3, "the third of them"));
    }
}
