//! Works on runs: answers the open question, runs turns until one needs the outside world, and
//! commits what came of them as one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::answer::answer;
use super::away::{Whose, errand};
use super::board::{Board, Taken};
use super::errand::Errands;
use super::failure::follow_up;
use super::journals::{Journals, Known};
use super::waiters::{Reply, Waiters};
use crate::blobs::Blobs;
use crate::clock::{SharedClock, after};
use crate::files::Files;
use crate::flow::Flow;
use crate::flow::catalog::Catalog;
use crate::flow::versions::{Missing, Versions};
use crate::model::journal::{Answer, Entry, Kind, Outcome, Pending, Promises, Retrying, TurnCommit};
use crate::model::question::Question;
use crate::model::run::ScriptError;
use crate::script::{Ending, TurnInput, turn};
use crate::shutdown::Shutdown;
use crate::store::rows::{Committed, ReadyRun};
use crate::store::{Store, StoreError};

/// The stack of a thread that runs scripts: calls may be 64 deep, each with nested expressions.
/// Values that a script has nested hundreds of thousands deep are walked and dropped by recursion;
/// this is address space, of which only what is touched becomes memory.
const STACK: usize = 512 << 20;
const SMALL_STACK: usize = 16 << 20;
/// After a failure of the store a run is taken up again then.
pub const STORE_REST: Duration = Duration::from_secs(1);

/// What the threads work with.
pub struct Context {
    /// Where runs live.
    pub store: Arc<dyn Store>,
    /// Flows by version.
    pub versions: Arc<Versions>,
    /// Flows that are live.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// The time.
    pub clock: SharedClock,
    /// The workspace's files.
    pub files: Files,
    /// Copies of files that are sent.
    pub blobs: Blobs,
    /// Who waits for an answer.
    pub waiters: Waiters,
    /// What is done outside for answers.
    pub errands: Errands,
    /// Journals of runs that go on in a moment.
    pub journals: Journals,
    /// Whether the end has come.
    pub shutdown: Shutdown,
}

/// Starts the threads that work on what the board shows, until it is closed.
///
/// # Errors
/// When the system gives no more threads.
pub fn start_threads(
    count: usize,
    board: &Arc<Board>,
    context: &Arc<Context>,
    runtime: &Handle,
) -> std::io::Result<()> {
    for number in 0..count {
        let start = |stack: usize| {
            let (board, context, runtime) = (board.clone(), context.clone(), runtime.clone());
            let thread = std::thread::Builder::new().name(format!("turn-{number}")).stack_size(stack);
            thread.spawn(move || take_turns(&board, &context, &runtime))
        };
        // Where address space is rationed, scripts get along with less.
        start(STACK).or_else(|_| start(SMALL_STACK))?;
    }
    Ok(())
}

/// Runs a script's turn on a thread of its own, with the room that scripts need. None when it breaks
/// down.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("aside".into()).stack_size(STACK);
    // Where address space is rationed there is no simulation.
    thread.spawn(move || drop(tell.send(work()))).ok()?;
    told.await.ok()
}

/// What came of working on a run.
enum Worked {
    /// A turn, to be committed.
    Turn(Box<TurnCommit>, Known),
    /// The run waits for an errand that an engine before this one did not bring to its end.
    Errand(Pending),
}

/// One thread's life.
fn take_turns(board: &Arc<Board>, context: &Arc<Context>, runtime: &Handle) {
    while let Some(taken) = board.take() {
        let worked = catch_unwind(AssertUnwindSafe(|| work(context, runtime, &taken.run)));
        let work = worked.unwrap_or_else(|_| {
            let error = ScriptError::new("panic", "the engine broke down over this run; please report it");
            Ok(broken(&taken.run, context.clock.now(), error))
        });
        let work = work.or_else(|error| match error {
            // Waiting would not mend it. A file that is damaged as a whole is another matter: that run stays.
            StoreError::Unreadable(what) => {
                let error = format!("a row of the state file that this run needs cannot be read: {what}");
                Ok(broken(&taken.run, context.clock.now(), ScriptError::new("damaged", error)))
            }
            error => Err(error),
        });
        hand_in(board, context, runtime, taken, work);
    }
}

/// Hands in a turn. The thread does not wait for the disk.
fn hand_in(
    board: &Arc<Board>,
    context: &Arc<Context>,
    runtime: &Handle,
    taken: Taken,
    work: Result<Worked, StoreError>,
) {
    let run = taken.off_thread();
    let (board, context) = (board.clone(), context.clone());
    let (commit, known) = match work {
        Ok(Worked::Turn(commit, known)) => (Ok(*commit), known),
        Ok(Worked::Errand(pending)) => {
            board.away(run.id, &run.flow, run.ready);
            let whose = Whose { id: run.id, ready: run.ready, flow: run.flow, version: run.version };
            runtime.spawn(async move { errand(&board, &context, &whose, &pending, true).await });
            return;
        }
        Err(error) => (Err(error), Known::default()),
    };
    let said = commit.as_ref().ok().and_then(said);
    let goes_on = commit.as_ref().ok().and_then(goes_on);
    let commit = commit.map(|commit| context.store.commit_turn(commit));
    runtime.spawn(async move {
        let committed = match commit {
            Ok(commit) => commit.await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(Committed::Yes { part, ready }) => {
                if let Some(reply) = said {
                    context.waiters.tell(run.id, || reply);
                }
                if let Some(pending) = goes_on {
                    context.journals.put(run.id, Known { part: part.unwrap_or(known.part), ..known });
                    if let Some(ready) = ready.filter(|_| pending.question.is_errand()) {
                        board.away(run.id, &run.flow, ready);
                        let whose = Whose { id: run.id, ready, flow: run.flow, version: run.version };
                        // A task of its own: this one holds the event, which may be large.
                        tokio::spawn(async move { errand(&board, &context, &whose, &pending, false).await });
                        return;
                    }
                }
                board.done(run.id);
            }
            // Read again before word of its commit came: that turn is done.
            Ok(Committed::Stale) => board.done(run.id),
            Ok(Committed::KeyTaken) => board.again(&run.flow, run.id, run.ready),
            Ok(Committed::Over) => {
                board.done(run.id);
                context.waiters.tell(run.id, || Reply::Ended(crate::model::run::RunState::Cancelled));
            }
            Err(error) => {
                tracing::error!(flow = %run.flow, run = %run.id, %error, "a turn could not be committed; it is done again");
                context.clock.sleep_until(after(context.clock.now(), STORE_REST)).await;
                board.again(&run.flow, run.id, run.ready);
            }
        }
    });
}

/// The question that a run will have the answer to in a moment.
fn goes_on(commit: &TurnCommit) -> Option<Pending> {
    match &commit.outcome {
        Outcome::Waiting(pending) => {
            let soon = matches!(pending.question, Question::Increment { .. } | Question::Cancel { .. });
            (soon || pending.question.is_errand()).then(|| pending.clone())
        }
        _ => None,
    }
}

/// What a waiting caller is told once the turn is on disk.
fn said(commit: &TurnCommit) -> Option<Reply> {
    if let Some(response) = &commit.promises.response {
        return Some(Reply::Response(response.clone()));
    }
    match &commit.outcome {
        Outcome::Succeeded(value) => Some(Reply::Value(value.clone())),
        Outcome::Failed(error) => Some(Reply::Failed(error.clone())),
        Outcome::Waiting(_) | Outcome::Retrying(_) => None,
    }
}

/// One run's next turn, up to where the outside world is needed.
fn work(context: &Context, runtime: &Handle, run: &ReadyRun) -> Result<Worked, StoreError> {
    let now = context.clock.now();
    if let Some(what) = &run.damaged {
        return Err(StoreError::Unreadable(format!("{what}; `postrider runs retry` asks its last question anew")));
    }
    if let Some(pending) = run.errand() {
        return Ok(Worked::Errand(pending.clone()));
    }
    // A retry asks once more.
    if let Some(pending) = run.pending.as_ref().filter(|pending| pending.question.is_put() && run.answer.is_none()) {
        let commit = TurnCommit { outcome: Outcome::Waiting(pending.clone()), ..empty(run, now) };
        return Ok(Worked::Turn(Box::new(commit), Known::default()));
    }
    let flow = match runtime.block_on(context.versions.get(&run.flow, &run.version)) {
        Ok(flow) => flow,
        Err(Missing::Store(error)) => return Err(error),
        Err(Missing::Broken(error)) => return Ok(broken(run, now, error)),
    };
    let ground = context.catalog.borrow().ground.clone();
    let Known { cuts, mut part, entries: mut journal, mut weight } = context.journals.take(run.id, run.cuts);
    if run.base.is_some() {
        let (mut more, last) = runtime.block_on(context.store.journal_after(run.id, part))?;
        weight += more.iter().map(Entry::weight).sum::<u64>();
        Arc::make_mut(&mut journal).append(&mut more);
        part = last;
    }
    let already = match run.root {
        Some(root) => Arc::new(runtime.block_on(context.store.promised(root, run.id))?),
        None => Arc::default(),
    };
    let committed = journal.len();
    let mut promises = Promises::default();
    let mut cpu = Duration::ZERO;
    let mut waited_for = None;
    let mut answered = None;
    if let Some(pending) = run.pending.clone() {
        if let Question::Delivery { message, .. } = &pending.question {
            waited_for = Some(*message);
        }
        let answer = match run.answer.clone() {
            Some(answer) => answer,
            None => runtime.block_on(answer(context, &flow, &pending.question, now))?,
        };
        answered = Some(answer.clone());
        push(&mut journal, &mut weight, pending.answered(now, answer));
    }
    let ending = loop {
        let output = turn(TurnInput {
            program: &flow.program,
            event: &run.event,
            params: &flow.params,
            flow: &flow.name,
            who: Some(flow.who.clone()),
            account: flow.account.as_deref(),
            zone: flow.zone.clone(),
            accounts: ground.accounts.clone(),
            secrets: flow.secrets.clone(),
            run: run.id,
            run_time: run.created_at,
            seed: run.seed,
            base: run.base.unwrap_or(now),
            now,
            journal: journal.clone(),
            weight,
            committed,
            already: already.clone(),
            limits: ground.limits,
            cpu_left: ground.limits.cpu_run.saturating_sub(run.cpu + cpu),
        });
        cpu += output.cpu;
        for entry in output.entries {
            push(&mut journal, &mut weight, entry);
        }
        promises.add(output.promises);
        match output.ending {
            // Only our own store is asked: no commit, the turn goes on.
            Ending::Waiting(pending) if matches!(pending.question, Question::Read(_)) => {
                let answer = runtime.block_on(answer(context, &flow, &pending.question, now))?;
                push(&mut journal, &mut weight, pending.answered(now, answer));
            }
            ending => break ending,
        }
    };
    let entries = journal[committed..].to_vec();
    let made = Made { run, flow: &flow, entries, promises, cpu, waited_for, answered, now };
    let commit = Box::new(made.commit(context, ending));
    Ok(Worked::Turn(commit, Known { cuts, part, entries: journal, weight }))
}

fn push(journal: &mut Arc<Vec<Entry>>, weight: &mut u64, entry: Entry) {
    *weight += entry.weight();
    Arc::make_mut(journal).push(entry);
}

/// What turns have made so far.
struct Made<'a> {
    run: &'a ReadyRun,
    flow: &'a Flow,
    entries: Vec<Entry>,
    promises: Promises,
    cpu: Duration,
    waited_for: Option<crate::id::MessageId>,
    /// The answer that the turn began with.
    answered: Option<Answer>,
    now: jiff::Timestamp,
}

impl Made<'_> {
    fn commit(self, context: &Context, ending: Ending) -> TurnCommit {
        let Self { run, flow, entries, promises, cpu, waited_for, answered, now } = self;
        let mut commit = TurnCommit { entries, promises, cpu, waited_for, ..empty(run, now) };
        commit.outcome = match ending {
            Ending::Done(value) => Outcome::Succeeded(value),
            Ending::Waiting(pending) => Outcome::Waiting(pending),
            Ending::Failed(error) => Outcome::Failed(flow.program.with_source(ScriptError {
                script: error.script.clone().or_else(|| Some(flow.script.clone())),
                ..error
            })),
            Ending::Thrown(error) => {
                let began = answered.is_some();
                let outcome = thrown(run, flow, error, answered, now);
                // What a turn promised before it threw does not count; what it logged is kept, and the
                // answer that it began with, if it was the reason or will not come again.
                let renewed = run.pending.as_ref().is_some_and(|pending| pending.question.is_renewed());
                let answers = began && (renewed || matches!(outcome, Outcome::Failed(_)));
                let entries = std::mem::take(&mut commit.entries).into_iter().enumerate();
                let told = entries.filter(|(place, entry)| (answers && *place == 0) || entry.kind == Kind::Log);
                commit.lost = told.map(|(_, entry)| entry).collect();
                commit.promises = Promises::default();
                outcome
            }
        };
        if let Outcome::Failed(error) = &commit.outcome {
            tracing::warn!(flow = %flow.name, run = %run.id, kind = %error.kind, "the run failed: {error}");
            commit.follow_up = follow_up(&context.catalog.borrow(), flow, run, error, now);
        }
        commit
    }
}

/// Another attempt, if one is left and could help.
fn thrown(run: &ReadyRun, flow: &Flow, error: ScriptError, answered: Option<Answer>, now: jiff::Timestamp) -> Outcome {
    let hopeless = matches!(error.kind.as_str(), "limit" | "replay" | "panic" | "version" | "damaged");
    if hopeless || run.attempt >= flow.retry.attempts {
        return Outcome::Failed(error);
    }
    let chance = u64::from_be_bytes(run.seed[..8].try_into().unwrap_or_default());
    let delay = flow.retry.delay(run.attempt, chance.rotate_left(run.attempt));
    tracing::warn!(flow = %flow.name, run = %run.id, attempt = run.attempt, "the run threw and is tried again: {error}");
    let (mut pending, mut answer) = (run.pending.clone(), run.answer.clone());
    if let (Some(pending), Some(useless)) = (&mut pending, &answered)
        && let Some(again) = pending.question.asked_again(useless)
    {
        pending.question = again;
        answer = None;
    }
    Outcome::Retrying(Box::new(Retrying { error, at: after(now, delay), pending, answer }))
}

fn empty(run: &ReadyRun, now: jiff::Timestamp) -> TurnCommit {
    TurnCommit {
        run: run.id,
        flow: run.flow.clone(),
        ready: run.ready,
        attempt: run.attempt,
        at: now,
        cpu: Duration::ZERO,
        waited_for: None,
        entries: Vec::new(),
        lost: Vec::new(),
        promises: Promises::default(),
        outcome: Outcome::Succeeded(Value::Null),
        follow_up: None,
    }
}

fn broken(run: &ReadyRun, now: jiff::Timestamp, error: ScriptError) -> Worked {
    tracing::error!(flow = %run.flow, run = %run.id, "the run cannot go on: {error}");
    let commit = TurnCommit { outcome: Outcome::Failed(error), ..empty(run, now) };
    Worked::Turn(Box::new(commit), Known::default())
}
