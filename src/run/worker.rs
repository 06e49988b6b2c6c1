//! Works on runs: puts the answer to the open question into the journal, runs the script until it needs the
//! outside world, and makes of it what is to be committed as one transaction.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;

use super::context::Context;
use super::follow_up::follow_up;
use super::input::input;
use super::journals::Known;
use super::local_answers::{over, read};
use super::queue::RunQueue;
use super::without_script::{failed, nothing, thrown};
use crate::flow::Flow;
use crate::flow::versions::Missing;
use crate::id::MessageId;
use crate::model::journal::{Entry, Kind, Outcome, Pending, Promises, TurnCommit};
use crate::model::message::Promised;
use crate::model::phone;
use crate::model::question::{Answer, Errand, Question, Read, Wait};
use crate::model::run::ScriptError;
use crate::script::{Ending, TurnInput, turn};
use crate::store::StoreError;
use crate::store::records::ReadyRun;

/// What came of working on a run.
pub enum Worked {
    /// A turn, to be committed.
    Turn(Box<TurnCommit>, Known),
    /// The run waits for an errand that an engine before this one did not bring to its end: where in the
    /// journal its answer will stand, and what it is.
    Errand(u32, Errand),
}

impl Worked {
    /// A turn of which nothing but its end is known.
    pub fn only(commit: TurnCommit) -> Self {
        Self::Turn(Box::new(commit), Known::default())
    }
}

/// Works on runs.
pub struct Worker<'a> {
    /// What they are worked on with.
    pub context: &'a Context,
    /// Where they are taken from.
    pub queue: &'a RunQueue,
    /// What answers are waited for on.
    pub runtime: &'a Handle,
}

/// Whence a turn has the answer to the question that the one before it ended with.
enum Last<'a> {
    /// There was none.
    None,
    /// It is on record.
    Answered(&'a Answer),
    /// Nobody has answered, and the wait is over.
    Over(&'a Wait),
    /// It is read now.
    Read(&'a Read),
}

/// What is known of a run when its turn begins.
struct Begun {
    flow: Arc<Flow>,
    known: Known,
    /// How many entries of the journal are in the store.
    committed: usize,
    /// What the other runs for the same event promised and may have sent.
    already: Arc<Vec<Promised>>,
    waited_for: Option<MessageId>,
    /// The answer that the turn begins with.
    answered: Option<Answer>,
}

impl Worker<'_> {
    /// One run's next turn, up to where the outside world is needed. `begins` is called before the script is run.
    pub fn work(&self, run: &ReadyRun, begins: &dyn Fn()) -> Result<Worked, StoreError> {
        let now = self.context.clock.now();
        if let Some(what) = &run.damaged {
            return Err(StoreError::Unreadable(format!("{what}; `postrider runs retry` asks its last question anew")));
        }
        let last = match (&run.pending, &run.answer) {
            (None, _) => Last::None,
            (Some(_), Some(answer)) => Last::Answered(answer),
            (Some(pending), None) => match &pending.question {
                Question::Errand(errand) => return Ok(Worked::Errand(pending.position, errand.clone())),
                // A retry asks once more.
                Question::Wait(Wait::Ask(_)) | Question::Change(_) => {
                    let outcome = Outcome::Waiting(pending.clone());
                    return Ok(Worked::only(TurnCommit { outcome, ..nothing(run, now) }));
                }
                Question::Wait(wait) => Last::Over(wait),
                Question::Read(wanted) => Last::Read(wanted),
            },
        };
        let flow = match self.runtime.block_on(self.context.versions.get(&run.flow, &run.version)) {
            Ok(flow) => flow,
            Err(Missing::Store(error)) => return Err(error),
            Err(Missing::Broken(error)) => return Ok(Worked::only(failed(self.context, run, error))),
        };
        let begun = self.begin(run, flow, last, now)?;
        if !begun.flow.program.calls().is_empty() {
            // They take a moment the first time, which is not the script's.
            phone::warm();
        }
        begins();
        self.turns(run, begun, now)
    }

    /// Reads what the run has done so far, and puts the answer that it waited for behind it.
    fn begin(&self, run: &ReadyRun, flow: Arc<Flow>, last: Last<'_>, now: Timestamp) -> Result<Begun, StoreError> {
        let mut known = self.context.journals.take(run.id, run.cuts);
        if run.base.is_some() {
            let (mut more, last) = self.runtime.block_on(self.context.store.journal_after(run.id, known.part))?;
            known.weight += more.iter().map(Entry::weight).sum::<u64>();
            Arc::make_mut(&mut known.entries).append(&mut more);
            known.part = last;
        }
        let already = match run.root {
            Some(root) => Arc::new(self.runtime.block_on(self.context.store.promised(root, run.id))?),
            None => Arc::default(),
        };
        let committed = known.entries.len();
        let answered = match last {
            Last::None => None,
            Last::Answered(answer) => Some(answer.clone()),
            Last::Over(wait) => Some(self.runtime.block_on(over(self.context, wait))?),
            Last::Read(wanted) => Some(self.runtime.block_on(read(self.context, &flow, wanted, now))?),
        };
        let mut waited_for = None;
        if let (Some(pending), Some(answer)) = (run.pending.clone(), answered.clone()) {
            if let Question::Wait(Wait::Delivery { message, .. }) = &pending.question {
                waited_for = Some(*message);
            }
            known.push(pending.answered(now, answer));
        }
        Ok(Begun { flow, known, committed, already, waited_for, answered })
    }

    /// Runs the script, again from its first line after each answer of our own store.
    fn turns(&self, run: &ReadyRun, begun: Begun, now: Timestamp) -> Result<Worked, StoreError> {
        let Begun { flow, mut known, committed, already, waited_for, answered } = begun;
        let ground = self.context.catalog.borrow().ground.clone();
        let mut promises = Promises::default();
        let (mut cpu, mut leaked) = (Duration::ZERO, 0);
        let ending = loop {
            let output = turn(TurnInput {
                event: &run.event,
                run_time: run.created_at,
                seed: run.seed,
                base: run.base.unwrap_or(now),
                journal: known.entries.clone(),
                weight: known.weight,
                committed,
                already: already.clone(),
                cpu_left: ground.limits.cpu_run.saturating_sub(run.cpu + cpu),
                attempt: run.attempt,
                generation: run.generation,
                ..input(&flow, &ground, run.id, now)
            });
            cpu += output.cpu;
            leaked += output.leaked;
            output.entries.into_iter().for_each(|entry| known.push(entry));
            promises.add(output.promises);
            let Ending::Waiting(pending) = output.ending else { break output.ending };
            let Question::Read(wanted) = &pending.question else { break Ending::Waiting(pending) };
            // Only our own store is asked: no commit, the turn goes on.
            let answer = self.runtime.block_on(read(self.context, &flow, wanted, now))?;
            known.push(pending.answered(now, answer));
        };
        if leaked > 0 {
            self.queue.leaked(&run.flow, &run.version, leaked);
            tracing::warn!(
                flow = %run.flow, run = %run.id, bytes = leaked,
                "the script has left memory behind that nobody can free: a closure is kept in the variable that it uses"
            );
        }
        let entries = known.entries[committed..].to_vec();
        let made = Made { run, flow: &flow, entries, promises, cpu, waited_for, answered, now };
        Ok(Worked::Turn(Box::new(made.commit(self.context, ending)), known))
    }
}

/// What turns have made so far.
struct Made<'a> {
    run: &'a ReadyRun,
    flow: &'a Flow,
    entries: Vec<Entry>,
    promises: Promises,
    cpu: Duration,
    waited_for: Option<MessageId>,
    /// The answer that the turn began with.
    answered: Option<Answer>,
    now: Timestamp,
}

impl Made<'_> {
    fn commit(self, context: &Context, ending: Ending) -> TurnCommit {
        let Self { run, flow, entries, promises, cpu, waited_for, answered, now } = self;
        let mut commit = TurnCommit { entries, promises, cpu, waited_for, ..nothing(run, now) };
        commit.outcome = match ending {
            Ending::Done(value) => Outcome::Succeeded(value),
            Ending::Waiting(pending) => Outcome::Waiting(pending),
            Ending::Failed(error) => Outcome::Failed(flow.program.with_source(ScriptError {
                script: error.script.clone().or_else(|| Some(flow.program.file().to_owned())),
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
