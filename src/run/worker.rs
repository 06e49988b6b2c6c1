//! Works on runs: answers the open question, runs turns until one needs the outside world, and
//! commits what came of them as one transaction.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;

use super::answer::{over, read};
use super::away::{Whose, errand};
use super::board::Board;
use super::context::Context;
use super::failure::follow_up;
use super::journals::Known;
use super::waiters::Reply;
use crate::clock::after;
use crate::flow::Flow;
use crate::flow::versions::Missing;
use crate::model::journal::{Entry, Kind, Outcome, Pending, Promises, Retrying, TurnCommit};
use crate::model::phone;
use crate::model::question::{Answer, Errand, Question, Wait};
use crate::model::run::ScriptError;
use crate::script::{Ending, TurnInput, turn};
use crate::store::rows::{Committed, ReadyRun};
use crate::store::{STORE_REST, StoreError};

/// What came of working on a run.
pub enum Worked {
    /// A turn, to be committed.
    Turn(Box<TurnCommit>, Known),
    /// The run waits for an errand that an engine before this one did not bring to its end: where in the
    /// journal its answer will stand, and what it is.
    Errand(u32, Errand),
}

/// Hands in a turn. The thread does not wait for the disk.
pub fn hand_in(
    board: &Arc<Board>,
    context: &Arc<Context>,
    runtime: &Handle,
    run: Arc<ReadyRun>,
    work: Result<Worked, StoreError>,
) {
    let (board, context) = (board.clone(), context.clone());
    let (commit, known) = match work {
        Ok(Worked::Turn(commit, known)) => (Ok(*commit), known),
        Ok(Worked::Errand(position, wanted)) => {
            board.away(run.id, &run.flow, run.ready);
            let whose = whose(&run, run.ready, position, wanted, true);
            runtime.spawn(async move { errand(&board, &context, &whose).await });
            return;
        }
        Err(error) => (Err(error), Known::default()),
    };
    let mut said = commit.as_ref().ok().and_then(said_of);
    let mut next = commit.as_ref().ok().and_then(goes_on);
    let commit = commit.map(|commit| context.store.commit_turn(commit));
    runtime.spawn(async move {
        let mut committed = match commit {
            Ok(commit) => commit.await,
            Err(error) => Err(error),
        };
        if let Ok(Committed::NoRoom) = committed {
            let refused = no_room(&context, &run);
            // With all that it promised, the turn's question is gone too.
            (said, next) = (said_of(&refused), None);
            committed = context.store.commit_turn(refused).await;
        }
        match committed {
            Ok(Committed::Yes { part, ready }) => {
                if let Some(reply) = said {
                    context.waiters.tell(run.id, || reply);
                }
                if let Some(next) = next {
                    context.journals.put(run.id, Known { part: part.unwrap_or(known.part), ..known });
                    if let (Some(ready), Soon::Errand(position, wanted)) = (ready, next) {
                        board.away(run.id, &run.flow, ready);
                        let whose = whose(&run, ready, position, wanted, false);
                        // A task of its own: this one holds the event, which may be large.
                        tokio::spawn(async move { errand(&board, &context, &whose).await });
                        return;
                    }
                }
                board.done(run.id);
            }
            // Read again before word of its commit came: that turn is done.
            Ok(Committed::Stale) => board.done(run.id),
            Ok(Committed::KeyTaken | Committed::NoRoom) => board.again(run.id, run.ready),
            Ok(Committed::Over) => {
                board.done(run.id);
                context.waiters.tell(run.id, || Reply::Ended(crate::model::run::RunState::Cancelled));
            }
            Err(error) => {
                tracing::error!(flow = %run.flow, run = %run.id, %error, "a turn could not be committed; it is done again");
                context.clock.sleep_until(after(context.clock.now(), STORE_REST)).await;
                board.again(run.id, run.ready);
            }
        }
    });
}

/// A turn that began more runs than there is room for: none of what it promised counts.
fn no_room(context: &Context, run: &ReadyRun) -> TurnCommit {
    let now = context.clock.now();
    let message = "flows::start: too many runs wait for their first turn already (`limits.backlog`)";
    let error = ScriptError::new("busy", message);
    let catalog = context.catalog.borrow().clone();
    let outcome = match catalog.flow(&run.flow) {
        Some(flow) => thrown(run, flow, error, None, now),
        None => Outcome::Failed(error),
    };
    let follow_up = match (&outcome, catalog.flow(&run.flow)) {
        (Outcome::Failed(error), Some(flow)) => follow_up(&catalog, flow, run, error, now),
        _ => None,
    };
    TurnCommit { outcome, follow_up, ..empty(run, now) }
}

fn whose(run: &ReadyRun, ready: i64, position: u32, errand: Errand, again: bool) -> Whose {
    let (flow, version) = (run.flow.clone(), run.version.clone());
    Whose { id: run.id, ready, flow, version, position, errand, again }
}

/// Whence a run will have its answer in a moment.
enum Soon {
    /// The commit gives it.
    Commit,
    /// An errand is run for it, whose answer will stand at this place of the journal.
    Errand(u32, Errand),
}

/// Whether a run will go on in a moment.
fn goes_on(commit: &TurnCommit) -> Option<Soon> {
    let Outcome::Waiting(pending) = &commit.outcome else { return None };
    match &pending.question {
        Question::Change(_) => Some(Soon::Commit),
        Question::Errand(errand) => Some(Soon::Errand(pending.position, errand.clone())),
        Question::Wait(_) | Question::Read(_) => None,
    }
}

/// What a waiting caller is told once the turn is on disk.
fn said_of(commit: &TurnCommit) -> Option<Reply> {
    if let Some(response) = &commit.promises.response {
        return Some(Reply::Response(response.clone()));
    }
    match &commit.outcome {
        Outcome::Succeeded(value) => Some(Reply::Value(value.clone())),
        Outcome::Failed(error) => Some(Reply::Failed(error.clone())),
        Outcome::Waiting(_) | Outcome::Retrying(_) => None,
    }
}

/// One run's next turn, up to where the outside world is needed. `begins` is called before the script is run.
pub fn work(
    context: &Context,
    board: &Board,
    runtime: &Handle,
    run: &ReadyRun,
    begins: &dyn Fn(),
) -> Result<Worked, StoreError> {
    let now = context.clock.now();
    if let Some(what) = &run.damaged {
        return Err(StoreError::Unreadable(format!("{what}; `postrider runs retry` asks its last question anew")));
    }
    if let Some((position, errand)) = run.errand() {
        return Ok(Worked::Errand(position, errand.clone()));
    }
    // A retry asks once more.
    if let (Some(pending), None) = (&run.pending, &run.answer)
        && matches!(pending.question, Question::Wait(Wait::Ask(_)) | Question::Change(_))
    {
        let commit = TurnCommit { outcome: Outcome::Waiting(pending.clone()), ..empty(run, now) };
        return Ok(Worked::Turn(Box::new(commit), Known::default()));
    }
    let flow = match runtime.block_on(context.versions.get(&run.flow, &run.version)) {
        Ok(flow) => flow,
        Err(Missing::Store(error)) => return Err(error),
        Err(Missing::Broken(error)) => return Ok(broken(context, run, error)),
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
    let mut leaked = 0;
    if let Some(pending) = run.pending.clone() {
        if let Question::Wait(Wait::Delivery { message, .. }) = &pending.question {
            waited_for = Some(*message);
        }
        let answer = match (&run.answer, &pending.question) {
            (Some(answer), _) => answer.clone(),
            (None, Question::Wait(wait)) => runtime.block_on(over(context, wait))?,
            (None, Question::Read(wanted)) => runtime.block_on(read(context, &flow, wanted, now))?,
            // Asked once more above.
            (None, Question::Errand(_) | Question::Change(_)) => Ok(Value::Null),
        };
        answered = Some(answer.clone());
        push(&mut journal, &mut weight, pending.answered(now, answer));
    }
    if !flow.program.calls().is_empty() {
        // They take a moment the first time, which is not the script's.
        phone::warm();
    }
    begins();
    let ending = loop {
        let output = turn(TurnInput {
            program: &flow.program,
            event: &run.event,
            params: &flow.params,
            flow: &flow.name,
            who: Some(flow.who.clone()),
            account: flow.account.as_deref(),
            zone: flow.zone.clone(),
            country: flow.country,
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
            attempt: run.attempt,
            generation: run.generation,
        });
        cpu += output.cpu;
        leaked += output.leaked;
        for entry in output.entries {
            push(&mut journal, &mut weight, entry);
        }
        promises.add(output.promises);
        let Ending::Waiting(pending) = output.ending else { break output.ending };
        let Question::Read(wanted) = &pending.question else { break Ending::Waiting(pending) };
        // Only our own store is asked: no commit, the turn goes on.
        let answer = runtime.block_on(read(context, &flow, wanted, now))?;
        push(&mut journal, &mut weight, pending.answered(now, answer));
    };
    if leaked > 0 {
        board.leaked(&run.flow, &run.version, leaked);
        tracing::warn!(
            flow = %run.flow, run = %run.id, bytes = leaked,
            "the script has left memory behind that nobody can free: a closure is kept in the variable that it uses"
        );
    }
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
                let http = |pending: &Pending| matches!(pending.question, Question::Errand(Errand::Http { .. }));
                // A retry makes requests again, whatever came.
                let renewed = run.pending.as_ref().is_some_and(http);
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
    let hopeless = matches!(error.kind.as_str(), "limit" | "replay" | "panic" | "version" | "damaged" | "crashed");
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

/// A run that cannot go on fails, and whoever is to hear of it does.
pub fn broken(context: &Context, run: &ReadyRun, error: ScriptError) -> Worked {
    let now = context.clock.now();
    tracing::error!(flow = %run.flow, run = %run.id, "the run cannot go on: {error}");
    let catalog = context.catalog.borrow().clone();
    let follow_up = catalog.flow(&run.flow).and_then(|flow| follow_up(&catalog, flow, run, &error, now));
    let commit = TurnCommit { outcome: Outcome::Failed(error), follow_up, ..empty(run, now) };
    Worked::Turn(Box::new(commit), Known::default())
}
