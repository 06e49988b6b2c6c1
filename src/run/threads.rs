//! The threads that take turns, and who looks after them: a turn that is over twice its time, or was
//! stopped because of its memory, is given up, and another thread takes the place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::committer::Committer;
use super::context::Context;
use super::crash_marks::Marks;
use super::queue::{Losses, Overdue, RunQueue, UnderWay};
use super::without_script::{damaged, failed};
use super::worker::{Worked, Worker};
use crate::memory::{self, Mark};
use crate::model::run::ScriptError;
use crate::script::Alarm;
use crate::shutdown::Breakdown;
use crate::store::StoreError;
use crate::store::records::ReadyRun;
use crate::units::format_duration;

/// The stack of a thread that runs scripts: calls may be 64 deep, each with nested expressions.
/// Values that a script has nested hundreds of thousands deep are walked and dropped by recursion;
/// this is address space, of which only what is touched becomes memory.
const STACK: usize = 512 << 20;
const SMALL_STACK: usize = 16 << 20;

/// After a turn that held so many bytes the thread is replaced by a new one.
const MUCH: u64 = 8 << 20;
/// A turn that takes longer than this may keep others waiting.
const LONG: Duration = Duration::from_millis(25);
/// How often the threads are looked at where none of them is waited for.
const LOOK: Duration = Duration::from_millis(500);
/// What the engine can bear to lose to turns that were given up; then it ends, to be started anew.
const BEARABLE: Losses = Losses { computing: 16, stopped: 4, leaked: 512 << 20 };

/// The threads of one engine.
pub struct Threads {
    committer: Committer,
    marks: Arc<Marks>,
    breakdown: Breakdown,
}

impl Threads {
    /// Starts so many threads, which work on what the queue shows until it is closed, and the one that looks
    /// after them.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(
        count: usize,
        queue: Arc<RunQueue>,
        context: Arc<Context>,
        marks: Arc<Marks>,
        breakdown: Breakdown,
    ) -> std::io::Result<()> {
        let committer = Committer { queue, context, runtime: Handle::current() };
        let threads = Arc::new(Self { committer, marks, breakdown });
        for _ in 0..count {
            threads.committer.queue.joined();
            threads.add()?;
        }
        let thread = std::thread::Builder::new().name("turn-watch".into());
        thread.spawn(move || threads.look_after()).map(drop)
    }

    fn add(self: &Arc<Self>) -> std::io::Result<()> {
        let start = |stack: usize| {
            let threads = self.clone();
            let thread = std::thread::Builder::new().name("turn".into()).stack_size(stack);
            thread.spawn(move || threads.take_turns())
        };
        // Where address space is rationed, scripts get along with less.
        start(STACK).or_else(|_| start(SMALL_STACK)).map(drop)
    }

    /// One thread's life.
    fn take_turns(self: &Arc<Self>) {
        let alarm = Alarm::mine();
        let place = self.marks.place();
        while let Some(taken) = self.committer.queue.take(&alarm, place.offset()) {
            let (run, fresh) = (taken.run.clone(), taken.fresh.clone());
            let mark = Mark::new();
            let work = match (taken.barred, &fresh) {
                (true, _) => Ok(self.failed(&run, barred())),
                // What is not on disk would not be there after a crash.
                (false, Some(_)) => self.work(&run, &|| ()),
                (false, None) => self.work(&run, &|| place.mark(run.id, run.ready)),
            };
            if fresh.as_ref().is_none_or(|fresh| fresh.number().is_some()) {
                place.clear();
            }
            // Given up meanwhile: the thread has been replaced, and what came of it is nobody's.
            let Some(run) = taken.off_thread() else { return };
            self.committer.commit(run, fresh, work);
            // Its stack may be as deep as its values were nested, and what other threads free of its heap
            // comes back to it alone. It goes, and another takes the place.
            if mark.peak() > MUCH {
                memory::give_back();
                if self.add().is_ok() {
                    return;
                }
            }
        }
    }

    fn work(&self, run: &ReadyRun, begins: &dyn Fn()) -> Result<Worked, StoreError> {
        let Committer { queue, context, runtime } = &self.committer;
        let worker = Worker { context, queue, runtime };
        let worked = catch_unwind(AssertUnwindSafe(|| worker.work(run, begins)));
        let work = worked.unwrap_or_else(|_| {
            let error = ScriptError::new("panic", "the engine broke down over this run; please report it");
            Ok(self.failed(run, error))
        });
        work.or_else(|error| match error {
            // Waiting would not mend it. A file that is damaged as a whole is another matter: that run stays.
            StoreError::Unreadable(what) => Ok(Worked::only(damaged(context, run, &what))),
            error => Err(error),
        })
    }

    fn failed(&self, run: &ReadyRun, error: ScriptError) -> Worked {
        Worked::only(failed(&self.committer.context, run, error))
    }

    fn look_after(self: Arc<Self>) {
        let queue = &self.committer.queue;
        while queue.watch(LOOK) {
            std::thread::sleep(LONG);
            queue.turns().into_iter().for_each(|turn| self.look_at(turn));
            for _ in 0..queue.wants_relief(LONG) {
                if let Err(error) = self.add() {
                    tracing::error!(%error, "no thread can be added for other runs");
                    queue.left();
                }
            }
            let Losses { computing, stopped, leaked } = queue.losses();
            if computing > BEARABLE.computing || stopped > BEARABLE.stopped || leaked > BEARABLE.leaked {
                let reason = format!(
                    "scripts have cost too much: {computing} threads compute without an end, {stopped} were stopped \
                     because of their memory, {leaked} bytes are lost; the log names the flows"
                );
                self.breakdown.report(reason);
                return;
            }
        }
    }

    fn look_at(&self, turn: UnderWay) {
        if turn.alarm.is_stopped() {
            return self.give_up(turn, Overdue::Memory);
        }
        let Some((spent, allowed)) = turn.alarm.spent() else { return };
        if spent > 2 * allowed {
            return self.give_up(turn, Overdue::Time(allowed));
        }
        if spent > LONG {
            let ready = match &turn.fresh {
                Some(fresh) => fresh.number(),
                None => Some(turn.run.ready),
            };
            if let Some(ready) = ready {
                self.marks.takes_time(turn.place, turn.run.id, ready);
            }
        }
    }

    fn give_up(&self, turn: UnderWay, why: Overdue) {
        if !self.committer.queue.give_up(&turn, why) {
            return;
        }
        // What cannot be stopped gets the time that nobody else wants.
        if let Some(thread) = rustix::process::Pid::from_raw(turn.alarm.thread()) {
            let _ = rustix::process::setpriority_process(Some(thread), 19);
        }
        let message = match why {
            Overdue::Time(most) => format!(
                "the script computed for more than twice the {} that a turn may take, in one call; the turn was given \
                 up (`limits.cpu_turn`)",
                format_duration(most)
            ),
            Overdue::Memory => {
                "the script took far more memory than it may, in one call; the turn was given up (`limits.memory`)"
                    .into()
            }
        };
        let failed = self.failed(&turn.run, ScriptError::new("limit", message));
        self.committer.commit(turn.run, turn.fresh, Ok(failed));
    }
}

fn barred() -> ScriptError {
    let message = "turns of this version of the flow had to be given up, or left memory behind, several times, so it \
                   is not run any more; the log says why; change the flow, or start Postrider anew, and retry the run";
    ScriptError::new("limit", message)
}

/// Runs a script's turn on a thread of its own, with the room that scripts need. None when it breaks
/// down, or is stopped because of its memory.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let (name, named) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("aside".into()).stack_size(STACK);
    let act = move || {
        let _ = name.send(Alarm::mine());
        drop(tell.send(work()));
    };
    // Where address space is rationed there is no simulation.
    thread.spawn(act).ok()?;
    let alarm = named.await.ok()?;
    let stopped = async {
        loop {
            tokio::time::sleep(LOOK).await;
            let over = alarm.spent().is_some_and(|(spent, allowed)| spent > 2 * allowed);
            if alarm.is_stopped() || over {
                return;
            }
        }
    };
    tokio::select! {
        told = told => told.ok(),
        () = stopped => None,
    }
}
