//! What the run queue knows of one flow: its runs that wait for a thread, how far the store was read, and how
//! much more of it may be.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use super::fresh::Fresh;
use crate::store::records::ReadyRun;

/// Runs read ahead for one flow, ...
pub const AHEAD: usize = 64;
/// ... and about how many bytes of runs are held for all of them together. An event may have a megabyte, an
/// answer sixteen. Rows beyond are left in the store and read when there is room: reading each row a second
/// time, when its turn comes, would cost every run a query, and nearly all of them are small.
pub const HELD: u64 = 8 << 20;
/// Runs of one flow whose errands are under way, at most: more stay in the store. Each is a task and
/// a question in memory.
pub const MOST_IN_FLIGHT: usize = 8_192;

/// A flow in the run queue.
#[derive(Default)]
pub struct FlowQueue {
    /// Runs that were read and wait for a thread.
    pub ready: VecDeque<Waiting>,
    /// Everything up to here has been read.
    pub cursor: i64,
    /// The store may have more behind the cursor.
    pub unread: bool,
    /// It stands in the order.
    pub in_order: bool,
    /// How many times the last pages were halved because they were heavier than what there is room for.
    halved: u32,
    /// Its runs that were read and are not through yet.
    pub taken: usize,
    /// Its runs whose turn is under way, ...
    pub on_threads: usize,
    /// ... and those whose errand is.
    pub in_flight: usize,
}

/// A run that waits for a thread.
pub struct Waiting {
    /// The run.
    pub run: ReadyRun,
    /// The way onto the disk of a run that is not there yet.
    pub fresh: Option<Arc<Fresh>>,
    /// About how many bytes it takes.
    pub weight: u64,
}

/// What is to be read of the store: so many ready runs of a flow behind a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Name of the flow.
    pub flow: Arc<str>,
    /// The number that they are behind.
    pub cursor: i64,
    /// Most of them.
    pub most: usize,
}

impl FlowQueue {
    /// Whether one more of its runs may be begun. The last thread is for the others.
    pub fn may_begin(&self, threads: usize) -> bool {
        !self.ready.is_empty() && self.on_threads + 1 < threads.max(2) && self.in_flight < MOST_IN_FLIGHT
    }

    /// Whether more of its runs are to be read, where so many bytes are held already.
    pub fn wants_more(&self, held: u64) -> bool {
        let most = if held < HELD { AHEAD / 2 } else { 0 };
        self.unread && self.ready.len() <= most
    }

    /// How many runs are read at once: fewer where there was no room for all of them.
    pub fn page(&self) -> usize {
        (AHEAD >> self.halved).max(1)
    }

    /// A page was read; whether there may be more behind it.
    pub fn was_read(&mut self, more: bool) {
        self.unread = more;
        self.halved = self.halved.saturating_sub(1);
    }

    /// There was no room for all of a page that was read: the rest is read again, and the next page is smaller.
    pub fn cut_short(&mut self) {
        self.unread = true;
        self.halved = (self.halved + 2).min(AHEAD.ilog2());
    }
}

impl Waiting {
    /// With its weight.
    pub fn new(run: ReadyRun) -> Self {
        let weight = weight(&run);
        Self { run, fresh: None, weight }
    }
}

fn weight(run: &ReadyRun) -> u64 {
    let asked = run.pending.as_ref().map_or(0, |pending| 2 * pending.request.get().len());
    let answer = match &run.answer {
        Some(Ok(value)) => extent(value),
        Some(Err(error)) => error.message.len(),
        None => 0,
    };
    (size_of::<ReadyRun>() + run.event.len() + asked + answer) as u64
}

fn extent(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(extent).sum(),
            Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + extent(value)).sum(),
            _ => 0,
        }
}
