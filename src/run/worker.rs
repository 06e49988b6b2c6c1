//! Works on runs: answers the open question, runs turns until one needs the outside world, and
//! commits what came of them as one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::board::{Board, Taken};
use super::failure::follow_up;
use super::waiters::{Reply, Waiters};
use crate::blobs::Blobs;
use crate::clock::{SharedClock, after};
use crate::files::Files;
use crate::flow::Flow;
use crate::flow::catalog::Catalog;
use crate::flow::versions::{Missing, Versions};
use crate::model::journal::{Answer, Entry, Kind, Outcome, Promises, Question, Read, TurnCommit, snapshot_answer};
use crate::model::message::Snapshot;
use crate::model::run::ScriptError;
use crate::script::{Ending, TurnInput, turn};
use crate::store::rows::{Committed, ReadyRun};
use crate::store::{Store, StoreError};

/// The stack of a thread that runs scripts: calls may be 64 deep, each with nested expressions.
/// Values that a script has nested hundreds of thousands deep are walked and dropped by recursion;
/// this is address space, of which only what is touched becomes memory.
const STACK: usize = 512 << 20;
const SMALL_STACK: usize = 16 << 20;
/// After a failure of the store a run is taken up again then.
const STORE_REST: Duration = Duration::from_secs(1);

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

/// One thread's life.
fn take_turns(board: &Arc<Board>, context: &Arc<Context>, runtime: &Handle) {
    while let Some(taken) = board.take() {
        let worked = catch_unwind(AssertUnwindSafe(|| work(context, runtime, &taken.run)));
        let work = worked.unwrap_or_else(|_| {
            let error = ScriptError::new("panic", "the engine broke down over this run; please report it");
            Ok(failed(&taken.run, context.clock.now(), error))
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
    work: Result<TurnCommit, StoreError>,
) {
    let run = taken.off_thread();
    let said = work.as_ref().ok().and_then(said);
    let commit = work.map(|commit| context.store.commit_turn(commit));
    let (board, context) = (board.clone(), context.clone());
    runtime.spawn(async move {
        let committed = match commit {
            Ok(commit) => commit.await,
            Err(error) => Err(error),
        };
        match committed {
            Ok(Committed::Yes) => {
                if let Some(reply) = said {
                    context.waiters.tell(run.id, || reply);
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

/// What a waiting caller is told once the turn is on disk.
fn said(commit: &TurnCommit) -> Option<Reply> {
    if let Some(response) = &commit.promises.response {
        return Some(Reply::Response(response.clone()));
    }
    match &commit.outcome {
        Outcome::Succeeded(value) => Some(Reply::Value(value.clone())),
        Outcome::Failed(error) => Some(Reply::Failed(error.clone())),
        Outcome::Waiting(_) | Outcome::Retrying { .. } => None,
    }
}

/// One run's next turn, up to where the outside world is needed.
fn work(context: &Context, runtime: &Handle, run: &ReadyRun) -> Result<TurnCommit, StoreError> {
    let now = context.clock.now();
    let flow = match runtime.block_on(context.versions.get(&run.flow, &run.version)) {
        Ok(flow) => flow,
        Err(Missing::Store(error)) => return Err(error),
        Err(Missing::Broken(error)) => return Ok(failed(run, now, error)),
    };
    let ground = context.catalog.borrow().ground.clone();
    let mut journal = Arc::new(run.journal.clone());
    let committed = journal.len();
    let mut promises = Promises::default();
    let mut cpu = Duration::ZERO;
    let mut waited_for = None;
    if let Some(pending) = run.pending.clone() {
        if let Question::Delivery { message, .. } = &pending.question {
            waited_for = Some(*message);
        }
        let answer = runtime.block_on(answer(context, &flow, &pending.question, now))?;
        Arc::make_mut(&mut journal).push(pending.answered(now, answer));
    }
    let ending = loop {
        let output = turn(TurnInput {
            program: &flow.program,
            event: &run.event,
            params: &flow.params,
            flow: &flow.name,
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
            committed,
            limits: ground.limits,
            cpu_left: ground.limits.cpu_run.saturating_sub(run.cpu + cpu),
        });
        cpu += output.cpu;
        let entries = Arc::make_mut(&mut journal);
        entries.extend(output.entries);
        promises.messages.extend(output.promises.messages);
        promises.kv.extend(output.promises.kv);
        promises.response = output.promises.response.or(promises.response);
        match output.ending {
            // Only our own store is asked: no commit, the turn goes on.
            Ending::Waiting(pending) if matches!(pending.question, Question::Read(_)) => {
                let answer = runtime.block_on(answer(context, &flow, &pending.question, now))?;
                entries.push(pending.answered(now, answer));
            }
            ending => break ending,
        }
    };
    let entries = Arc::make_mut(&mut journal).split_off(committed);
    let made = Made { run, flow: &flow, entries, promises, cpu, waited_for, now };
    Ok(made.commit(context, ending))
}

/// What turns have made so far.
struct Made<'a> {
    run: &'a ReadyRun,
    flow: &'a Flow,
    entries: Vec<Entry>,
    promises: Promises,
    cpu: Duration,
    waited_for: Option<crate::id::MessageId>,
    now: jiff::Timestamp,
}

impl Made<'_> {
    fn commit(self, context: &Context, ending: Ending) -> TurnCommit {
        let Self { run, flow, entries, promises, cpu, waited_for, now } = self;
        let mut commit = TurnCommit { entries, promises, cpu, waited_for, ..empty(run, now) };
        commit.outcome = match ending {
            Ending::Done(value) => Outcome::Succeeded(value),
            Ending::Waiting(pending) => Outcome::Waiting(pending),
            Ending::Failed(error) => Outcome::Failed(flow.program.with_source(ScriptError {
                script: error.script.clone().or_else(|| Some(flow.script.clone())),
                ..error
            })),
            Ending::Thrown(error) => {
                // What a turn promised before it threw does not count; what it logged is kept.
                let entries = std::mem::take(&mut commit.entries);
                commit.lost = entries.into_iter().filter(|entry| entry.kind == Kind::Log).collect();
                commit.promises = Promises::default();
                thrown(run, flow, error, now)
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
fn thrown(run: &ReadyRun, flow: &Flow, error: ScriptError, now: jiff::Timestamp) -> Outcome {
    let hopeless = matches!(error.kind.as_str(), "limit" | "replay" | "panic" | "version" | "damaged");
    if hopeless || run.attempt >= flow.retry.attempts {
        return Outcome::Failed(error);
    }
    let chance = u64::from_be_bytes(run.seed[..8].try_into().unwrap_or_default());
    let delay = flow.retry.delay(run.attempt, chance.rotate_left(run.attempt));
    tracing::warn!(flow = %flow.name, run = %run.id, attempt = run.attempt, "the run threw and is tried again: {error}");
    Outcome::Retrying { error, at: after(now, delay), pending: run.pending.clone() }
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

fn failed(run: &ReadyRun, now: jiff::Timestamp, error: ScriptError) -> TurnCommit {
    tracing::error!(flow = %run.flow, run = %run.id, "the run cannot go on: {error}");
    TurnCommit { outcome: Outcome::Failed(error), ..empty(run, now) }
}

/// The answer to a question that can be answered now.
async fn answer(
    context: &Context,
    flow: &Flow,
    question: &Question,
    now: jiff::Timestamp,
) -> Result<Answer, StoreError> {
    Ok(Ok(match question {
        Question::Sleep { .. } => Value::Null,
        Question::Delivery { message, goal, .. } => match context.store.message(*message).await? {
            Some(message) => json!({
                "status": match message.clicks.filter(|_| goal == "clicked") {
                    Some(_) => "clicked",
                    None => message.state.name(),
                },
                "provider_id": message.provider_id,
                "error": message.error,
            }),
            None => json!({ "status": "gone", "provider_id": null, "error": "the message is not kept any more" }),
        },
        // The store answers it within the commit.
        Question::Cancel { .. } => Value::Null,
        Question::Read(Read::Kv { key }) => context.store.kv_get(&flow.name, key, now).await?.unwrap_or(Value::Null),
        Question::Read(Read::Keyed { key, to }) => match context.store.keyed(&flow.name, key, to).await? {
            Some(known) => json!(known),
            None => Value::Null,
        },
        Question::Read(Read::File { path }) => return Ok(of_file(context.files.text(path).map(Value::String))),
        Question::Read(Read::List { path }) => return Ok(of_file(context.files.list(path).map(|list| json!(list)))),
        Question::Read(Read::Exists { path }) => context.files.resolve(path).is_ok().into(),
        Question::Read(Read::Snapshot { path }) => {
            return Ok(of_file(snapshot(context, path).map(|copy| snapshot_answer(&copy))));
        }
    }))
}

fn of_file(read: Result<Value, String>) -> Answer {
    read.map_err(|error| ScriptError::new("file", error))
}

/// Copies a file that is to be sent.
pub(super) fn snapshot(context: &Context, path: &str) -> Result<Snapshot, String> {
    let mut file = context.files.open(path)?;
    let (blob, size) = context.blobs.keep(&mut file).map_err(|error| match error.kind() {
        std::io::ErrorKind::FileTooLarge => {
            format!("`{path}` is larger than {} MiB", crate::blobs::LARGEST >> 20)
        }
        _ => format!("`{path}` cannot be copied: {error}"),
    })?;
    let file_name = path.rsplit('/').next().unwrap_or(path).to_owned();
    Ok(Snapshot { blob, size, file_name })
}
