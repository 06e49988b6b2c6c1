//! Runs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Count, Counts, MessageRow, Seen, Time, View};
use crate::clock::from_millis;
use crate::id::RunId;
use crate::model::event::seen;
use crate::model::journal::Pending;
use crate::model::question::{Question, Wait};
use crate::model::run::{RunState, ScriptError};
use crate::store::StoreError;
use crate::store::records::{Called, Line, MessageFilter, Origin, RunFilter, RunRecord};

/// Messages of one run that are shown.
const MESSAGES: usize = 1_000;

/// A run as lists show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunRow {
    /// Which.
    #[schema(value_type = String)]
    pub id: RunId,
    /// Name of its flow.
    pub flow: String,
    /// What it is pinned to.
    pub version: String,
    /// What started it: `webhook`, `cron`, `every`, `at`, `watch`, `message`, `manual`, `flow`, `failure`.
    pub trigger: String,
    /// `queued`, `running`, `waiting`, `succeeded`, `failed`, `cancelled` or `skipped`.
    #[schema(value_type = String)]
    pub state: RunState,
    /// What it waits for.
    pub waiting_for: Option<Waiting>,
    /// Counted from 1.
    pub attempt: u32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// When its first turn ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Time>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Time>,
    /// Why it failed, or why it is tried again.
    #[schema(value_type = Option<Object>)]
    pub error: Option<ScriptError>,
    /// Its messages that are rejected, dead or unknown.
    pub bad_messages: u64,
}

/// What a run waits for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Waiting {
    /// `time`, `reply`, `event`, `delivery`, `http`, `file`, `retry` or `slot`.
    pub kind: String,
    /// Until then at the latest.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// In words.
    pub detail: String,
    /// Whose answer, message or delivery is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// What the person is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// It waits for the end of another question to the same person, before it asks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
}

/// A page of runs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunList {
    /// Newest first.
    pub runs: Vec<RunRow>,
    /// Where to go on: `after` of the next page.
    #[schema(value_type = Option<String>)]
    pub next: Option<RunId>,
    /// How many there are, by state; counted up to 10,000.
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// A host call as it is shown.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EntryRow {
    /// Its place in the journal, from 0.
    pub position: u32,
    /// Which call: `send`, `ask`, `http`, `sleep`, ...
    #[schema(value_type = String)]
    pub kind: crate::model::journal::Kind,
    /// Line of the script.
    pub line: u32,
    /// When it was answered.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Time>,
    /// When it was asked, where that was earlier.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub asked_at: Option<Time>,
    /// The arguments; secrets by name.
    #[schema(value_type = Object)]
    pub request: Value,
    /// What the script got.
    #[schema(value_type = Object)]
    pub result: Value,
    /// What was thrown instead.
    #[schema(value_type = Option<Object>)]
    pub error: Option<ScriptError>,
    /// In which attempt of the run.
    pub attempt: u32,
    /// Its turn was thrown away: it is kept for reading only.
    pub lost: bool,
}

/// A run, whole.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunWhole {
    /// As lists show it.
    #[serde(flatten)]
    pub run: RunRow,
    /// The event, as the script sees it.
    #[schema(value_type = Object)]
    pub event: Value,
    /// The script's last value.
    #[schema(value_type = Object)]
    pub result: Value,
    /// Its host calls, in order.
    pub entries: Vec<EntryRow>,
    /// The call that it waits for, as it will stand among them.
    pub open_entry: Option<EntryRow>,
    /// What it sent, newest first.
    pub messages: Vec<MessageRow>,
    /// The run that it repeats.
    #[schema(value_type = Option<String>)]
    pub repeats: Option<RunId>,
}

/// Which runs are wanted.
#[derive(Clone, Debug, Default)]
pub struct RunWish {
    /// Of this flow.
    pub flow: Option<String>,
    /// In one of these states; none means any.
    pub states: Vec<RunState>,
    /// Accepted at or after this.
    pub since: Option<Timestamp>,
    /// That hold these words.
    pub words: Option<String>,
    /// Older than this one.
    pub after: Option<RunId>,
    /// Newer than this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
    /// Count all of them by state.
    pub counts: bool,
}

impl View {
    /// A page of runs.
    pub async fn runs(&self, wish: RunWish) -> Seen<RunList> {
        let running: Vec<RunId> = self.queue.running().into_iter().collect();
        // Which runs are being worked on is not in the store: it changes too fast to be written down.
        let wants = |state| wish.states.contains(&state);
        let (only, without) = match wish.states.as_slice() {
            [RunState::Running] => (Some(running), Vec::new()),
            _ if wants(RunState::Running) => (None, Vec::new()),
            _ if wants(RunState::Queued) || wants(RunState::Waiting) => (None, running),
            _ => (None, Vec::new()),
        };
        let mut states: Vec<RunState> =
            wish.states.iter().copied().filter(|state| *state != RunState::Running).collect();
        if only.is_none() && wants(RunState::Running) {
            // They stand as these in the store.
            states.extend([RunState::Queued, RunState::Waiting]);
        }
        let filter = RunFilter {
            flow: wish.flow,
            states,
            only,
            without,
            since: wish.since,
            words: wish.words,
            after: wish.after,
            before: wish.before,
            limit: wish.limit,
            ..RunFilter::default()
        };
        let page = self.store.runs(filter).await?;
        let counts = match wish.counts {
            true => Some(self.run_counts().await?),
            false => None,
        };
        Ok(RunList { runs: self.run_rows(&page.rows).await?, next: page.next, counts })
    }

    /// How many runs there are, by state.
    async fn run_counts(&self) -> Seen<Counts> {
        let counted = self.store.run_counts().await?;
        let by_state = counted.by_state.iter().map(|(state, count)| (state.name(), Count(*count)));
        let running = Count::exactly(self.queue.running().len());
        Ok(by_state.chain([("all", Count(counted.all)), ("running", running)]).collect())
    }

    /// Runs as lists show them.
    pub async fn run_rows(&self, runs: &[RunRecord]) -> Seen<Vec<RunRow>> {
        let bad = self.store.bad_messages_of(runs.iter().map(|run| run.id).collect()).await?;
        let bad: BTreeMap<RunId, u64> = bad.into_iter().collect();
        let running = self.queue.running();
        let mut rows: Vec<RunRow> = Vec::with_capacity(runs.len());
        for run in runs {
            let state = match !run.state.is_over() && running.contains(&run.id) {
                true => RunState::Running,
                false => run.state,
            };
            // One that stands in line behind others of its flow waits before it has begun.
            let waits = matches!(state, RunState::Waiting | RunState::Queued);
            let waiting = run.waiting_for.as_ref().filter(|_| waits);
            rows.push(RunRow {
                id: run.id,
                flow: run.flow.clone(),
                version: run.version.clone(),
                trigger: run.trigger.clone(),
                state,
                waiting_for: waiting.map(|waiting| Waiting {
                    kind: waiting.kind.clone(),
                    until: waiting.until.map(from_millis).map(Time),
                    detail: waiting.detail.clone(),
                    who: None,
                    name: None,
                    question: None,
                    behind: false,
                }),
                attempt: run.attempt,
                created_at: Time(run.created_at),
                started_at: run.started_at.map(Time),
                finished_at: run.finished_at.map(Time),
                error: run.error.clone(),
                bad_messages: bad.get(&run.id).copied().unwrap_or_default(),
            });
        }
        self.who_is_waited_for(&mut rows).await?;
        Ok(rows)
    }

    /// Where a run stands; none when that cannot be read, which the run's own row says.
    pub(super) async fn origin(&self, id: RunId) -> Seen<Option<Origin>> {
        match self.store.origin(id).await {
            Err(StoreError::Unreadable(_)) => Ok(None),
            other => Ok(other?),
        }
    }

    /// Fills in for whom waiting runs wait.
    async fn who_is_waited_for(&self, rows: &mut [RunRow]) -> Seen<()> {
        for row in rows.iter_mut() {
            let Some(waiting) =
                row.waiting_for.as_mut().filter(|waiting| matches!(waiting.kind.as_str(), "reply" | "delivery"))
            else {
                continue;
            };
            let Some(origin) = self.origin(row.id).await? else { continue };
            match origin.pending.map(|pending| pending.question) {
                Some(Question::Wait(Wait::Ask(asked))) => {
                    waiting.behind = origin.is_behind;
                    (waiting.who, waiting.question) = (Some(asked.to.clone()), Some(asked.text.clone()));
                }
                Some(Question::Wait(Wait::Message { from, .. })) => waiting.who = from,
                Some(Question::Wait(Wait::Delivery { message, .. })) => {
                    waiting.who = self.store.message(message).await?.map(|message| message.to);
                }
                _ => {}
            }
        }
        let people = rows.iter().filter_map(|row| row.waiting_for.as_ref()?.who.as_deref());
        let names = self.names(people).await?;
        for waiting in rows.iter_mut().filter_map(|row| row.waiting_for.as_mut()) {
            waiting.name = waiting.who.as_ref().and_then(|who| names.get(who).cloned());
        }
        Ok(())
    }

    /// Says for whom a run stands in line.
    async fn who_is_ahead(&self, row: &mut RunRow) -> Seen<()> {
        let Some(waiting) = row.waiting_for.as_mut().filter(|waiting| waiting.kind == "slot") else { return Ok(()) };
        let Some(Line { holders, before }) = self.store.line(row.id).await? else { return Ok(()) };
        let are = if holders.len() == 1 { "is" } else { "are" };
        let under_way = holders.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let stand = match before {
            0 => "it is the next".to_owned(),
            1 => "1 run stands in line before it".to_owned(),
            count => format!("{count} runs stand in line before it"),
        };
        waiting.detail = format!("{}: {under_way} {are} under way, and {stand}", waiting.detail);
        Ok(())
    }

    /// One run, whole.
    pub async fn run(&self, id: RunId) -> Seen<Option<RunWhole>> {
        let Some(run) = self.store.run(id).await? else { return Ok(None) };
        let entries: Vec<EntryRow> = self.store.journal(id).await?.iter().map(entry).collect();
        let origin = self.origin(id).await?;
        let repeats = origin.as_ref().and_then(|origin| origin.root);
        let pending = origin.filter(|origin| origin.is_open).and_then(|origin| origin.pending);
        let used = |pending: &Pending| entries.iter().any(|entry| !entry.lost && entry.position == pending.position);
        let open_entry = pending.filter(|pending| !used(pending)).map(|pending| open_entry(&pending, run.attempt));
        let filter = MessageFilter { run: Some(id), limit: MESSAGES, ..MessageFilter::default() };
        let sent = self.store.messages(filter).await?.rows;
        let rows = self.run_rows(std::slice::from_ref(&run)).await?;
        let Some(mut row) = rows.into_iter().next() else { return Ok(None) };
        self.who_is_ahead(&mut row).await?;
        Ok(Some(RunWhole {
            run: row,
            event: seen(&run.event),
            result: run.result.as_deref().map_or(Value::Null, read),
            entries,
            open_entry,
            messages: self.message_rows(&sent).await?,
            repeats,
        }))
    }
}

/// Stored JSON; what cannot be read is shown as it stands.
fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn entry(called: &Called) -> EntryRow {
    let entry = &called.entry;
    EntryRow {
        position: entry.position,
        kind: entry.kind,
        line: entry.line,
        at: Some(Time(from_millis(entry.at))),
        asked_at: entry.asked_at.map(from_millis).map(Time),
        request: read(entry.request.get()),
        result: entry.result.clone(),
        error: entry.error.clone(),
        attempt: called.attempt,
        lost: called.lost,
    }
}

fn open_entry(pending: &Pending, attempt: u32) -> EntryRow {
    EntryRow {
        position: pending.position,
        kind: pending.kind,
        line: pending.line,
        at: None,
        asked_at: pending.asked_at.map(from_millis).map(Time),
        request: read(pending.request.get()),
        result: Value::Null,
        error: None,
        attempt,
        lost: false,
    }
}
