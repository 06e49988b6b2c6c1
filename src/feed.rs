//! What has changed, for whoever watches: a hint to look again, never the truth itself.
//!
//! As long as nobody watches nothing is kept, and whoever changes something is asked for nothing. Each
//! thing stands in the feed once, with its latest change; whoever is further behind than the feed goes back is
//! told to look at everything anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::id::{MessageId, RunId, random_bytes};

/// Changes that are kept at most.
const KEPT: usize = 2_048;
/// For so long after the last look somebody counts as watching: between two pages there is a moment in
/// which nobody listens.
const INTEREST: Duration = Duration::from_secs(30);

/// Something that has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Change {
    /// A run began, or has come to another state.
    Run {
        /// Which.
        id: RunId,
        /// The name of its flow.
        flow: String,
        /// Where it stands now.
        state: &'static str,
    },
    /// A message was written, or has come to another state.
    Message {
        /// Which.
        id: MessageId,
        /// The run that wrote it.
        run: Option<RunId>,
        /// Whom it goes to.
        to: String,
        /// Who sends it.
        account: String,
        /// Where it stands now.
        state: &'static str,
    },
    /// Somebody wrote to us, or a request came in.
    Incoming {
        /// `message` or `refused`.
        what: &'static str,
        /// The person, or the path.
        from: String,
        /// What became of it.
        outcome: &'static str,
    },
    /// A time was due.
    Occurrence {
        /// The name of the flow.
        flow: String,
        /// What became of it.
        fate: &'static str,
    },
    /// Flows were changed.
    Flows {
        /// The set that is live.
        hash: String,
    },
    /// An account pauses, goes on, or was changed.
    Account {
        /// Which.
        name: String,
    },
    /// A phone of the sandbox got something, or was switched.
    Phone {
        /// Its number.
        phone: String,
    },
}

impl Change {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run { .. } => "run",
            Self::Message { .. } => "message",
            Self::Incoming { .. } => "incoming",
            Self::Occurrence { .. } => "occurrence",
            Self::Flows { .. } => "flows",
            Self::Account { .. } => "account",
            Self::Phone { .. } => "phone",
        }
    }

    /// What it is about: a later change of the same takes its place.
    fn about(&self) -> (&'static str, String) {
        let about = match self {
            Self::Run { id, .. } => id.to_string(),
            Self::Message { id, .. } => id.to_string(),
            Self::Incoming { what, from, .. } => format!("{what} {from}"),
            Self::Occurrence { flow, .. } => flow.clone(),
            Self::Flows { .. } => String::new(),
            Self::Account { name } => name.clone(),
            Self::Phone { phone } => phone.clone(),
        };
        (self.kind(), about)
    }
}

/// A place in a feed: `<life>-<number>`. Another life of the engine has another feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    life: u32,
    number: u64,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}-{}", self.life, self.number)
    }
}

impl std::str::FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (life, number) = text.split_once('-').ok_or(())?;
        Ok(Self { life: u32::from_str_radix(life, 16).map_err(drop)?, number: number.parse().map_err(drop)? })
    }
}

/// The feed.
#[derive(Clone)]
pub struct Feed {
    inner: Arc<Inner>,
}

struct Inner {
    life: u32,
    begun: Instant,
    /// Milliseconds since `begun` until which somebody watches.
    watched_until: AtomicU64,
    kept: Mutex<Kept>,
    last: watch::Sender<u64>,
}

#[derive(Default)]
struct Kept {
    last: u64,
    /// Nothing is known of what was changed up to this number.
    blind_to: u64,
    changes: BTreeMap<u64, Change>,
    places: HashMap<(&'static str, String), u64>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            inner: Arc::new(Inner {
                life: u32::from_be_bytes(random_bytes()),
                begun: Instant::now(),
                watched_until: AtomicU64::new(0),
                kept: Mutex::default(),
                last: watch::channel(0).0,
            }),
        }
    }
}

impl Feed {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.inner.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether somebody watches: if not, there is no need to say what changes.
    pub fn is_watched(&self) -> bool {
        let until = self.inner.watched_until.load(Ordering::Relaxed);
        until != 0 && self.elapsed() < until
    }

    /// Something has changed.
    pub fn tell(&self, changes: impl IntoIterator<Item = Change>) {
        if !self.is_watched() {
            return;
        }
        let last = {
            let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
            for change in changes {
                kept.last += 1;
                let number = kept.last;
                if let Some(before) = kept.places.insert(change.about(), number) {
                    kept.changes.remove(&before);
                }
                kept.changes.insert(number, change);
            }
            while kept.changes.len() > KEPT
                && let Some((number, oldest)) = kept.changes.pop_first()
            {
                kept.places.remove(&oldest.about());
                kept.blind_to = number;
            }
            kept.last
        };
        self.inner.last.send_replace(last);
    }

    /// Where the feed is now. Whoever looks is interested in what comes next.
    pub fn look(&self) -> Mark {
        let was_watched = self.is_watched();
        let interest = u64::try_from(INTEREST.as_millis()).unwrap_or(u64::MAX);
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !was_watched {
            // What changed while nobody watched was not told of.
            *kept = Kept { last: kept.last + 1, blind_to: kept.last, ..Kept::default() };
        }
        self.inner.watched_until.store(self.elapsed() + interest, Ordering::Relaxed);
        Mark { life: self.inner.life, number: kept.last }
    }

    /// What has changed since a mark, in order, with the mark to go on from; none when that is not known any
    /// more.
    pub fn since(&self, mark: Mark) -> Option<(Mark, Vec<Change>)> {
        let now = self.look();
        let kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.life != now.life || mark.number < kept.blind_to || mark.number > kept.last {
            return None;
        }
        let changes = kept.changes.range(mark.number + 1..).map(|(_, change)| change.clone()).collect();
        Some((Mark { number: kept.last, ..now }, changes))
    }

    /// Resolves when something has changed since a mark.
    pub async fn changed(&self, mark: Mark) {
        let mut last = self.inner.last.subscribe();
        // The feed lives as long as whoever waits here.
        let _ = last.wait_for(|last| *last > mark.number).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(name: &str) -> Change {
        Change::Account { name: name.into() }
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let feed = Feed::default();
        feed.tell([flow("a")]);
        let mark = feed.look();
        assert_eq!(feed.since(mark), Some((mark, Vec::new())));
    }

    #[test]
    fn the_latest_change_of_a_thing_takes_the_place_of_earlier_ones() {
        let feed = Feed::default();
        let mark = feed.look();
        feed.tell([flow("a"), flow("b"), flow("a")]);
        let (next, changes) = feed.since(mark).unwrap();
        assert_eq!(changes, [flow("b"), flow("a")]);
        assert_eq!(feed.since(next).unwrap().1, []);
    }

    #[test]
    fn whoever_is_too_far_behind_is_told_so_and_so_is_whoever_comes_from_another_life() {
        let feed = Feed::default();
        let mark = feed.look();
        feed.tell((0..=KEPT).map(|number| flow(&number.to_string())));
        assert_eq!(feed.since(mark), None);
        assert_eq!(feed.since(Feed::default().look()), None);
        assert_eq!(feed.since(feed.look()).unwrap().1, []);
        let read: Mark = feed.look().to_string().parse().unwrap();
        assert_eq!(read, feed.look());
    }
}
