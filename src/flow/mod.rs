//! Flows: what their files mean, the set of them that is live, and the versions that runs are
//! pinned to.

mod begin;
pub mod calendar;
pub mod catalog;
pub mod except;
pub mod file;
pub mod library;
pub mod near;
pub mod pattern;
mod routes;
pub mod schedule;
mod sources;
pub mod versions;
pub mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use except::{Calendars, Except};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::clock::after;
use crate::model::conversation;
use crate::model::diagnostic::Diagnostic;
use crate::model::event;
use crate::model::phone::Country;
use crate::model::policy::Retry;
use crate::model::recipient::Recipient;
use crate::model::run::{Slot, WhenFull};
use crate::model::walls::Who;
use crate::script::Program;
use crate::secret::{Secret, Veil};
pub use begin::prepare;
use file::fill::Environment;
use pattern::Pattern;
pub use routes::{Matched, Route};
use schedule::Schedule;
use webhook::Webhook;

/// So many instants are looked at for the next ones: all that follow may be left out.
const MOST_LEFT_OUT: usize = 100_000;

/// A checked flow.
pub struct Flow {
    /// Unique in the workspace.
    pub name: Arc<str>,
    /// What walls between flows go by.
    pub who: Arc<Who>,
    /// Path below the workspace.
    pub file: Arc<str>,
    /// For people.
    pub description: Option<String>,
    /// Whether its triggers are armed.
    pub enabled: bool,
    /// Of its times.
    pub zone: TimeZone,
    /// Whose phones are meant by those without a country's code.
    pub country: Option<Country>,
    /// Default account of its messages.
    pub account: Option<String>,
    /// What starts it besides a person.
    pub triggers: Vec<Trigger>,
    /// Constants of the script.
    pub params: Value,
    /// Secrets that the script may ask for. One that was set when the flow was live may not be any more.
    pub secrets: Arc<BTreeMap<String, Option<Secret>>>,
    /// Over them, once somebody wanted it.
    pub veil: OnceLock<Veil>,
    /// Names of the environment that it was filled in with or may ask for.
    pub holds: BTreeSet<String>,
    /// What happens when the script throws.
    pub retry: Retry,
    /// The flow that hears of a failed run.
    pub on_failure: Option<String>,
    /// How many of its runs may be under way.
    pub concurrency: Option<Concurrency>,
    /// Longer than this it is not silent, unless something is wrong.
    pub expect: Option<Duration>,
    /// The compiled script.
    pub program: Program,
    /// Hash of the content: what runs are pinned to.
    pub version: Arc<str>,
    /// Everything needed to build it again.
    pub content: file::Content,
    /// Warnings about its file.
    pub doubts: Vec<Diagnostic>,
}

impl Flow {
    /// Finds its secrets in what others say.
    pub fn veil(&self) -> &Veil {
        self.veil.get_or_init(|| Veil::over(self.secrets.values().flatten()))
    }

    /// The place that the run of an event takes among its runs; none where these are not limited.
    pub fn slot(&self, event: &str) -> Option<Slot> {
        let Concurrency { limit, key, when_full } = self.concurrency.as_ref()?;
        // What is not there is a value of its own, and all of those are counted together.
        let part = key.as_ref().map_or(String::new(), |names| {
            let value = event::at(event, names).unwrap_or_default();
            hex::encode(&Sha256::digest(value)[..16])
        });
        Some(Slot { part, most: *limit, when_full: *when_full })
    }

    /// Whether it holds a name of the environment that is not for it any more.
    pub fn holds_too_much(&self, environment: &Environment) -> bool {
        self.holds.iter().any(|name| environment.grants.refusal(&self.who, name).is_some())
    }
}

/// How many runs of a flow may be under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// So many.
    pub limit: u32,
    /// Counted for each value behind these names of the event; none counts all together.
    pub key: Option<Vec<String>>,
    /// What becomes of one more.
    pub when_full: WhenFull,
}

/// A declared cause. Routes, schedules and watches share it with the flow.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// An HTTP request.
    Webhook(Arc<Webhook>),
    /// A time.
    Timed(Arc<Timed>),
    /// A file.
    Watch(Arc<Watch>),
    /// A person's message.
    Message(Arc<OnMessage>),
}

/// A trigger by what people write.
#[derive(Clone, Debug)]
pub struct OnMessage {
    /// To this account; none means any.
    pub account: Option<String>,
    /// From this person, or in this group; none means anybody.
    pub from: Option<Recipient>,
    /// In which chats.
    pub chats: Chats,
    /// What the text must hold; none means anything.
    pub text: Option<regex::Regex>,
    /// Comes before runs that wait for a message.
    pub first: bool,
    /// Only what no other trigger of the account takes.
    pub otherwise: bool,
    /// Where it stands: line and column.
    pub at: (u32, u32),
}

/// The chats that a trigger hears. A bot that answers everything is good company for one, and none for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chats {
    /// Of one person with the account.
    Private,
    /// Of several.
    Groups,
    /// Both.
    All,
}

impl Chats {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Groups => "groups",
            Self::All => "all",
        }
    }
}

impl OnMessage {
    /// Whether a message is one of those. `names` are all addresses of its writer and its chat.
    pub fn wants(&self, account: &str, names: &[Recipient], in_group: bool, text: &str) -> bool {
        let is = |name: &Recipient, wanted: &Recipient| name == wanted || name.person() == wanted.person();
        let heard = match self.chats {
            Chats::Private => !in_group,
            Chats::Groups => in_group,
            Chats::All => true,
        };
        heard
            && self.account.as_deref().is_none_or(|wanted| wanted == account)
            && self.from.as_ref().is_none_or(|wanted| names.iter().any(|name| is(name, wanted)))
            && self.text.as_ref().is_none_or(|wanted| conversation::finds(wanted, text))
    }
}

impl Trigger {
    /// Itself, if it is a webhook.
    pub fn webhook(&self) -> Option<&Arc<Webhook>> {
        match self {
            Self::Webhook(webhook) => Some(webhook),
            _ => None,
        }
    }

    /// Itself, if it hears what people write.
    pub fn message(&self) -> Option<&Arc<OnMessage>> {
        match self {
            Self::Message(on) => Some(on),
            _ => None,
        }
    }

    /// The word for it, as events have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Timed(timed) => timed.kind,
            Self::Watch(_) => "watch",
            Self::Message(_) => "message",
        }
    }

    /// What it is known by, within its flow, to whatever keeps its state: the cause alone, not
    /// what is to be done about it. Webhooks and messages have no state.
    pub fn key(&self) -> Option<String> {
        match self {
            Self::Webhook(_) | Self::Message(_) => None,
            Self::Timed(timed) => Some(format!("{} {}", timed.kind, timed.schedule)),
            Self::Watch(watch) => {
                let patterns: Vec<_> = watch.patterns.iter().map(ToString::to_string).collect();
                Some(format!("watch {}", patterns.join(", ")))
            }
        }
    }
}

/// A trigger by the clock.
#[derive(Clone, Debug)]
pub struct Timed {
    /// `cron`, `every` or `at`.
    pub kind: &'static str,
    /// When it is due.
    pub schedule: Schedule,
    /// What to do about instants that passed while nobody was there.
    pub missed: Missed,
    /// Later than this, an instant is dropped as too late.
    pub not_after: Duration,
    /// Up to so much later a run is begun, by lot: the same instant always draws the same.
    pub jitter: Duration,
    /// What the lot depends on, besides the instant.
    pub lot: u64,
    /// Days on which it is not due.
    pub except: Arc<[Except]>,
}

impl Timed {
    /// With nothing said but when.
    pub fn plain(kind: &'static str, schedule: Schedule, not_after: Duration) -> Self {
        let (missed, jitter) = (Missed::Latest, Duration::ZERO);
        Self { kind, schedule, missed, not_after, jitter, lot: 0, except: Arc::default() }
    }

    /// The instants behind `from` at which it is due, but for those that are left out.
    pub fn due_after<'a>(&'a self, from: Timestamp, calendars: &'a Calendars) -> impl Iterator<Item = Timestamp> + 'a {
        let zone = self.schedule.zone();
        let due = self.schedule.after(from).take(MOST_LEFT_OUT);
        due.filter(move |at| calendars.why_not(&self.except, zone, *at).is_none())
    }

    /// When the run of an instant is begun.
    pub fn begins_at(&self, at: Timestamp) -> Timestamp {
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        if most == 0 {
            return at;
        }
        let drawn = Sha256::digest([self.lot.to_be_bytes(), at.as_millisecond().to_be_bytes()].concat());
        let drawn = drawn.iter().take(8).fold(0_u64, |drawn, byte| drawn << 8 | u64::from(*byte));
        after(at, Duration::from_millis(drawn % most))
    }
}

/// What to do about instants that passed while nobody was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One run for the latest of them.
    Latest,
    /// A run for each.
    All,
}

/// A trigger by files.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Which files.
    pub patterns: Vec<Pattern>,
    /// Files that were not there before.
    pub created: bool,
    /// Files with other content than before.
    pub modified: bool,
    /// Files that are gone.
    pub deleted: bool,
    /// For how long size and time of change must stay the same.
    pub settle: Duration,
    /// Which files count that were not seen to come.
    pub backlog: Backlog,
    /// How often to look where the system tells of no changes; none leaves it to us.
    pub poll: Option<Duration>,
}

/// Which files count that were not seen to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backlog {
    /// Those that came while the engine was down.
    Known,
    /// Also those that were there before the trigger was.
    All,
    /// None.
    None,
}
