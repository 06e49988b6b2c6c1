//! The one place that knows what time it is: a wall clock for real life, a hand-set one for tests.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::ClockId;
use tokio::sync::watch;

/// Time from outside. All of Postrider asks this and nothing else for the hour.
pub trait Clock: Send + Sync + 'static {
    /// The present instant, cut to whole milliseconds: what is stored is what was compared.
    fn now(&self) -> Timestamp;

    /// Resolves once `instant` has come, at once if it has passed; also when the clock was set
    /// back after it showed `since`, so that whoever waits can think again. `since` is what it showed when
    /// `instant` was worked out: it may be set back between that and this call too.
    fn sleep_until(&self, instant: Timestamp, since: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// The same for so much time from now on.
    fn rest(&self, span: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let now = self.now();
        self.sleep_until(after(now, span), now)
    }

    /// How much time has passed, whatever the hands show.
    fn passed(&self) -> Passed;
}

/// Time that has passed since some beginning, which nobody can set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// All of it.
    pub all: Duration,
    /// But for the time in which the computer slept.
    pub awake: Duration,
}

/// A clock shared by everything in one engine.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clock.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        whole_millis(Timestamp::now())
    }

    fn passed(&self) -> Passed {
        Passed { all: since(ClockId::Boottime), awake: since(ClockId::Monotonic) }
    }

    fn sleep_until(&self, instant: Timestamp, since: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // The wall clock may be set back or the machine put to sleep, so long waits are cut into
        // pieces and the wall is asked again after each.
        Box::pin(async move {
            // Whoever asks in a circle for what has passed must not keep others from running.
            tokio::task::yield_now().await;
            let mut last = since;
            loop {
                let now = Timestamp::now();
                let left = instant.duration_since(now);
                if left <= jiff::SignedDuration::ZERO || now < last {
                    return;
                }
                last = now;
                let left = left.unsigned_abs().min(Duration::from_secs(60));
                tokio::time::sleep(left).await;
            }
        })
    }
}

/// A clock that stands still until it is moved.
pub struct HandClock {
    time: watch::Sender<Timestamp>,
    passed: Mutex<Passed>,
}

impl HandClock {
    /// A clock that shows `start` until told otherwise.
    pub fn new(start: Timestamp) -> Self {
        let (time, _) = watch::channel(whole_millis(start));
        Self { time, passed: Mutex::default() }
    }

    /// Time passes: moves the hands forward and wakes whoever waited for an instant that has now come.
    pub fn advance(&self, by: Duration) {
        self.pass(by, by);
        self.put_forward(by);
    }

    /// Time passes while the computer sleeps.
    pub fn sleep(&self, by: Duration) {
        self.pass(by, Duration::ZERO);
        self.put_forward(by);
    }

    fn pass(&self, all: Duration, awake: Duration) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        (passed.all, passed.awake) = (passed.all + all, passed.awake + awake);
    }

    /// Moves the hands forward, as somebody does whose clock was slow.
    pub fn put_forward(&self, by: Duration) {
        self.time.send_modify(|now| *now = now.saturating_add(by).unwrap_or(*now));
    }

    /// Moves the hands back, as somebody does whose clock was wrong.
    pub fn set_back(&self, by: Duration) {
        self.time.send_modify(|now| *now = now.saturating_sub(by).unwrap_or(*now));
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.time.borrow()
    }

    fn passed(&self) -> Passed {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep_until(&self, instant: Timestamp, since: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut time = self.time.subscribe();
        let mut last = since;
        Box::pin(async move {
            let over = |now: &Timestamp| *now >= instant || *now < std::mem::replace(&mut last, *now);
            // The sender is gone only when the whole engine is: then nobody is left to wake.
            if time.wait_for(over).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Milliseconds since 1970, the form in which instants are stored.
pub fn millis(instant: Timestamp) -> i64 {
    instant.as_millisecond()
}

/// The instant of so many milliseconds since 1970; out-of-range values become the nearest end.
pub fn from_millis(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// `2026-11-20T07:00:00.000Z`: how every instant is written for people and programs.
pub fn rfc3339(instant: Timestamp) -> String {
    format!("{instant:.3}")
}

/// `instant + span`, stopping at the end of time instead of overflowing.
pub fn after(instant: Timestamp, span: Duration) -> Timestamp {
    instant.saturating_add(span).unwrap_or(Timestamp::MAX)
}

/// CPU time that the calling thread has used, which is what a script's limit counts: the wall
/// clock would blame a script for a busy machine.
pub fn thread_cpu() -> Duration {
    since(ClockId::ThreadCPUTime)
}

fn since(clock: ClockId) -> Duration {
    let passed = rustix::time::clock_gettime(clock);
    Duration::new(passed.tv_sec.unsigned_abs(), passed.tv_nsec.unsigned_abs() as u32)
}

/// CPU time that the whole process has used.
pub fn process_cpu() -> Duration {
    since(ClockId::ProcessCPUTime)
}

/// The number by which the system knows the calling thread.
pub fn thread_number() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// CPU time that another thread of this process has used; none when it is gone or the system does not
/// tell.
pub fn cpu_of_thread(number: i32) -> Option<Duration> {
    // Nanoseconds on a processor, nanoseconds of waiting for one, how often (proc_pid_schedstat in the
    // kernel's scheduler/sched-stats documentation).
    let text = std::fs::read_to_string(format!("/proc/self/task/{number}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// An instant so long before another one; the earliest that there is, where that would be before it.
pub fn before(instant: Timestamp, span: Duration) -> Timestamp {
    instant.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// The machine's clock in nanoseconds since 1970: what the times of files are made from, whatever
/// the engine's own clock shows.
pub fn file_time() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn whole_millis(instant: Timestamp) -> Timestamp {
    from_millis(instant.as_millisecond())
}
