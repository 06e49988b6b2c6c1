//! Panics caught where they happen, so that whoever broke down still gives back what it held.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use crate::panics::words;

/// Makes a call at once, and waits for what it gives; a panic on the way is an error in words.
///
/// What the call borrows may be left half changed by a panic: the caller knows which of it to trust. What it waits
/// with has a place of its own: one within the other they would grow to tens of kilobytes, copied for each message.
pub fn caught<F: Future>(call: impl FnOnce() -> F) -> impl Future<Output = Result<F::Output, String>> {
    let mut made = catch_unwind(AssertUnwindSafe(|| Box::pin(call()))).map_err(|panic| words(&*panic).to_owned());
    poll_fn(move |context| {
        let future = match &mut made {
            Ok(future) => future,
            Err(panic) => return Poll::Ready(Err(std::mem::take(panic))),
        };
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(words(&*panic).to_owned())),
        }
    })
}

/// The same for a call that has errors of its own; handed in when it is first waited for.
pub async fn tried<T, E: Display, F: Future<Output = Result<T, E>>>(call: impl FnOnce() -> F) -> Result<T, String> {
    caught(call).await.and_then(|result| result.map_err(|error| error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panics_become_words_wherever_they_happen() {
        assert_eq!(caught(|| async { 7 }).await, Ok(7));
        let late = caught(|| async {
            tokio::task::yield_now().await;
            assert_eq!(1 + 1, 3, "late");
        });
        assert!(late.await.unwrap_err().contains("late"));
        let early = caught(|| -> std::future::Ready<()> { panic!("early {}", 1) });
        assert_eq!(early.await, Err("early 1".to_owned()));
        let odd = caught(|| async { std::panic::resume_unwind(Box::new(7)) });
        assert_eq!(odd.await.map(|(): ()| ()), Err("no reason given".to_owned()));
    }
}
