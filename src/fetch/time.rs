//! The time that an answer may take: what waits for room of ours does not count.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::FetchError;

/// How often a clock that stands still is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A clock that can be stopped.
pub struct Time {
    allowed: Duration,
    begun: Instant,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    over: Duration,
    since: Option<Instant>,
}

impl Time {
    /// Runs from now on.
    pub fn new(allowed: Duration) -> Self {
        Self { allowed, begun: Instant::now(), waits: Mutex::default() }
    }

    fn waits(&self) -> std::sync::MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has gone by, without the waits.
    pub fn spent(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.waits().over)
    }

    /// Waits for something while the clock stands still.
    pub async fn stopped<T>(&self, wait: impl Future<Output = T>) -> T {
        let since = Instant::now();
        self.waits().since = Some(since);
        let came = wait.await;
        let mut waits = self.waits();
        (waits.over, waits.since) = (waits.over + since.elapsed(), None);
        came
    }

    /// Lets something take the time that there is.
    pub async fn bounds<T>(&self, work: impl Future<Output = Result<T, FetchError>>) -> Result<T, FetchError> {
        let mut work = pin!(work);
        loop {
            let end = {
                let waits = self.waits();
                let end = self.begun + self.allowed + waits.over;
                waits.since.map_or(end, |_| end.max(Instant::now() + LOOK))
            };
            if let Ok(done) = timeout_at(end, work.as_mut()).await {
                return done;
            }
            let waits = self.waits();
            if waits.since.is_none() && self.begun + self.allowed + waits.over <= Instant::now() {
                return Err(FetchError::Slow(self.allowed));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_room_is_not_slow() {
        let seconds = Duration::from_secs;
        let time = Time::new(seconds(5));
        let patient = time.bounds(async {
            sleep(seconds(2)).await;
            time.stopped(sleep(seconds(60))).await;
            sleep(seconds(2)).await;
            Ok(time.spent())
        });
        assert_eq!(patient.await.unwrap(), seconds(4));
        let time = Time::new(seconds(5));
        let slow = time.bounds(async {
            time.stopped(sleep(seconds(60))).await;
            sleep(seconds(6)).await;
            Ok(())
        });
        assert!(matches!(slow.await, Err(FetchError::Slow(_))));
        assert_eq!(time.begun.elapsed(), seconds(65));
    }
}
