//! What can be seen: read models that the API, the commands and the pages share. They are made of what the store,
//! the run queue, the lanes and the flows tell, and hold no secret.

mod accounts;
mod engine;
mod flows;
mod incoming;
mod messages;
mod needs;
mod people;
mod phones;
mod runs;
mod schedule;
mod why;
pub mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::clock::{SharedClock, rfc3339};
use crate::feed::Feed;
use crate::files::Files;
use crate::flow::catalog::Catalog;
use crate::flow::except::Calendars;
use crate::model::phone::Country;
use crate::outbox::Accounts;
use crate::run::RunQueue;
use crate::store::records::Capped;
use crate::store::{Store, StoreError};
use crate::tally::Tally;

pub use accounts::{AccountRow, Checked, Gauge, PaceRow, Unheard};
pub use engine::{Activity, EngineRow, Minute, Stats};
pub use flows::{FlowList, FlowRow, FlowSource, LastRun, TriggerRow, hash_of};
pub use incoming::{ArrivalRow, ArrivalWish, Turned, TurnedAway};
pub use messages::{AttemptRow, MessageList, MessageRow, MessageWish, PartRow, Reached, Waits};
pub use needs::{Need, NeedKind};
pub use people::{Bubble, PersonRow, PersonWhole};
pub use phones::{Chat, PhoneRow};
pub use runs::{EntryRow, RunList, RunRow, RunWhole, RunWish, Waiting};
pub use schedule::{DayDue, DueRow, Lane, OccurrenceRow, Shift};
pub use why::{Fact, Subject, Why};

/// An instant: RFC 3339 in UTC with milliseconds, wherever it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&rfc3339(self.0))
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// A count that stops at a most: `17`, or `"10000+"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub Capped);

impl Count {
    /// Exactly so many.
    pub fn exactly(count: usize) -> Self {
        Self(Capped { count: count as u64, more: false })
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0.more {
            true => to.serialize_str(&format!("{}+", self.0.count)),
            false => to.serialize_u64(self.0.count),
        }
    }
}

/// Counts by name.
pub type Counts = BTreeMap<&'static str, Count>;

/// What is known of the engine from its start on.
#[derive(Clone, Debug)]
pub struct EngineFacts {
    /// The workspace's folder.
    pub root: PathBuf,
    /// When it began.
    pub started: Timestamp,
    /// Nothing goes out: every account is a stand-in.
    pub sandbox: bool,
}

/// Looks at everything.
#[derive(Clone)]
pub struct View {
    /// What survives.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// Flows that are live.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// The accounts, each with what its lane shows.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// Which runs are being worked on.
    pub queue: Arc<RunQueue>,
    /// What changes.
    pub feed: Feed,
    /// Counts.
    pub tally: Tally,
    /// Requests that were turned away.
    pub turned_away: TurnedAway,
    /// The engine.
    pub engine: Arc<EngineFacts>,
    /// Days on which schedules are not due.
    pub calendars: Calendars,
    /// The workspace's files.
    pub files: Files,
}

/// What a look gives.
pub type Seen<T> = Result<T, StoreError>;

impl View {
    /// The workspace's zone.
    pub fn zone(&self) -> TimeZone {
        self.catalog.borrow().ground.zone.clone()
    }

    /// Whose phones are meant by those without a country's code.
    pub fn country(&self) -> Option<Country> {
        self.catalog.borrow().ground.country
    }

    /// What people are called, by those of these addresses that are known.
    pub async fn names(&self, addresses: impl IntoIterator<Item = &str>) -> Seen<BTreeMap<String, String>> {
        let mut addresses: Vec<String> = addresses.into_iter().map(str::to_owned).collect();
        addresses.sort_unstable();
        addresses.dedup();
        match addresses.is_empty() {
            true => Ok(BTreeMap::new()),
            false => self.store.called(addresses).await,
        }
    }
}
