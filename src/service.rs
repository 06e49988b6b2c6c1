//! Services: what runs beside everything else until the engine stops. Each says what one turn does and what
//! may wake it; the loop around that is the same for all of them, and stands here.

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{SharedClock, after};
use crate::shutdown::Shutdown;

/// What is done again and again.
///
/// A turn finds its work by itself, in the store: being woken is only a hint. A turn that failed is made again
/// after a rest, so it leaves nothing half done that the next one would not take up.
pub trait Service: Send {
    /// Why a turn fails.
    type Error: Display;
    /// What people read in the log before the reason, when one has failed.
    const TROUBLE: &'static str;

    /// Does whatever is due now. Gives when there will be more by the clock; none where only being woken helps.
    fn turn(&mut self) -> impl Future<Output = Result<Option<Timestamp>, Self::Error>> + Send;

    /// Resolves when there may be something to do before that time. It is dropped and called anew between turns.
    fn woken(&mut self) -> impl Future<Output = ()> + Send;
}

/// Makes turns of a service until the engine takes no more work. After one that failed the next comes when
/// `rest` has passed, or when it is woken before.
pub async fn run(mut service: impl Service, clock: SharedClock, rest: Duration, shutdown: Shutdown) {
    while shutdown.is_running() {
        let since = clock.now();
        let next = next(&mut service, &clock, rest).await;
        let due = async {
            match next {
                Some(at) => clock.sleep_until(at, since).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.draining() => return,
            () = service.woken() => {}
            () = due => {}
        }
    }
}

/// One turn, and when the next one is due.
async fn next<S: Service>(service: &mut S, clock: &SharedClock, rest: Duration) -> Option<Timestamp> {
    match service.turn().await {
        Ok(next) => next,
        Err(error) => {
            tracing::error!(%error, "{}", S::TROUBLE);
            Some(after(clock.now(), rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::{Clock, HandClock, before};
    use crate::shutdown::{Phase, channel};
    use crate::wake::Bell;

    /// Says each turn, and gives what it was told to give.
    struct Told {
        turns: mpsc::UnboundedSender<()>,
        results: Vec<Result<Option<Timestamp>, &'static str>>,
        bell: Bell,
    }

    impl Service for Told {
        type Error = &'static str;
        const TROUBLE: &'static str = "a turn of a test failed";

        async fn turn(&mut self) -> Result<Option<Timestamp>, &'static str> {
            let _ = self.turns.send(());
            self.results.pop().unwrap_or(Ok(None))
        }

        async fn woken(&mut self) {
            self.bell.rung().await;
        }
    }

    #[tokio::test]
    async fn turns_come_by_the_clock_by_a_bell_and_after_a_rest_until_the_end() {
        let clock = Arc::new(HandClock::new(Timestamp::UNIX_EPOCH));
        let (stopper, shutdown) = channel();
        let (turns, mut made) = mpsc::unbounded_channel();
        let bell = Bell::default();
        let in_a_minute = after(clock.now(), Duration::from_secs(60));
        let results = vec![Err("no"), Ok(Some(in_a_minute))];
        let service = Told { turns, results, bell: bell.clone() };
        let running = tokio::spawn(run(service, clock.clone(), Duration::from_secs(1), shutdown));
        made.recv().await.unwrap();
        clock.advance(Duration::from_secs(60));
        made.recv().await.unwrap();
        // That one failed.
        clock.advance(Duration::from_secs(1));
        made.recv().await.unwrap();
        assert!(made.try_recv().is_err(), "nothing is due");
        bell.nudge();
        made.recv().await.unwrap();
        stopper.enter(Phase::Draining);
        running.await.unwrap();
        assert!(made.recv().await.is_none());
    }

    /// Sees its clock set back by an hour in the first of its turns, after it has decided when the next one is due.
    struct SetBack {
        clock: Arc<HandClock>,
        turns: mpsc::UnboundedSender<Timestamp>,
        is_first: bool,
    }

    impl Service for SetBack {
        type Error = &'static str;
        const TROUBLE: &'static str = "a turn of a test failed";

        async fn turn(&mut self) -> Result<Option<Timestamp>, &'static str> {
            let now = self.clock.now();
            self.turns.send(now).unwrap();
            if std::mem::take(&mut self.is_first) {
                self.clock.set_back(Duration::from_secs(3_600));
            }
            Ok(Some(after(now, Duration::from_secs(10))))
        }

        async fn woken(&mut self) {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_clock_set_back_during_a_turn_is_looked_at_again_at_once() {
        let start = after(Timestamp::UNIX_EPOCH, Duration::from_secs(7_200));
        let clock = Arc::new(HandClock::new(start));
        let (_stopper, shutdown) = channel();
        let (turns, mut made) = mpsc::unbounded_channel();
        let service = SetBack { clock: clock.clone(), turns, is_first: true };
        let running = tokio::spawn(run(service, clock.clone(), Duration::from_secs(1), shutdown));
        assert_eq!(made.recv().await, Some(start));
        let next = tokio::time::timeout(Duration::from_secs(60), made.recv()).await;
        assert_eq!(next.expect("a turn by the new time"), Some(before(start, Duration::from_secs(3_600))));
        running.abort();
    }
}
