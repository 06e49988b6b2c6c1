//! The engine as a whole: what it is, how much it did, what happened last.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ArrivalWish, Count, Counts, Seen, Time, View, words};
use crate::clock::after;
use crate::model::delivery::MessageState;
use crate::model::run::RunState;
use crate::store::records::{Capped, MessageFilter};

/// Minutes that are drawn.
const MINUTES: usize = 60;

/// The engine.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EngineRow {
    /// Its version.
    pub version: &'static str,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Time,
    /// The name of the workspace's folder.
    pub workspace: String,
    /// The workspace's zone.
    pub timezone: String,
    /// Nothing goes out: every account is a stand-in.
    pub sandbox: bool,
    /// Where the feed of changes is now.
    pub feed: String,
}

/// How much was done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Runs that were accepted today, by state.
    #[schema(value_type = Object)]
    pub runs_today: Counts,
    /// Messages that were written today, by state.
    #[schema(value_type = Object)]
    pub messages_today: Counts,
    /// Messages that were written today, by flow.
    #[schema(value_type = Object)]
    pub messages_of_flows: BTreeMap<String, u64>,
    /// The last hour, oldest minute first.
    pub minutes: Vec<Minute>,
}

/// One minute.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Minute {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// Messages of that minute that went out.
    pub out: u32,
    /// That wait.
    pub waiting: u32,
    /// That failed or were refused, or of which nobody knows.
    pub bad: u32,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Activity {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// How it is meant: `ok`, `go`, `wait`, `fail`, `doubt` or nothing in particular.
    pub tone: &'static str,
    /// The name of a picture.
    pub icon: &'static str,
    /// Whom or what it is about.
    pub who: String,
    /// What happened, in words behind `who`.
    pub text: String,
    /// What was said, if something was.
    pub quote: Option<String>,
    /// Where more is told of it: a page of ours.
    pub link: String,
}

/// What is told of a run: that it began, and before that how it failed, if it did.
fn of_run(run: &super::RunRow) -> Vec<Activity> {
    let link = format!("/runs/{}", run.id);
    let started = words::trigger(&run.trigger);
    let mut all = Vec::new();
    if run.state == RunState::Failed {
        let (at, line) = (run.finished_at.unwrap_or(run.created_at), run.error.as_ref().and_then(|e| e.line));
        let text = line.map_or("failed".to_owned(), |line| format!("failed at line {line}"));
        let quote = run.error.as_ref().map(|error| error.message.clone());
        let (who, link) = (run.flow.clone(), link.clone());
        all.push(Activity { at, tone: "fail", icon: "fail", who, text, quote, link });
    }
    all.push(Activity {
        at: run.created_at,
        tone: started.tone,
        icon: started.icon,
        who: run.flow.clone(),
        text: format!("was started {}", words::started(&run.trigger)),
        quote: None,
        link,
    });
    all
}

impl View {
    /// The engine.
    pub fn engine(&self) -> EngineRow {
        let root = &self.engine.root;
        let root = root.canonicalize().unwrap_or_else(|_| root.clone());
        EngineRow {
            version: env!("CARGO_PKG_VERSION"),
            started_at: Time(self.engine.started),
            workspace: root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            timezone: self.zone().iana_name().unwrap_or("UTC").to_owned(),
            sandbox: self.engine.sandbox,
            feed: self.feed.look().to_string(),
        }
    }

    /// How much was done since midnight, which is when, and in the last hour.
    pub async fn stats(&self, midnight: Timestamp) -> Seen<Stats> {
        let now = self.clock.now();
        let hour = now.as_second().div_euclid(60) * 60 - 60 * (MINUTES as i64 - 1);
        let first = Timestamp::from_second(hour).unwrap_or(now);
        let lately = self.store.lately(midnight.min(first)).await?;
        let (mut runs, mut messages): (BTreeMap<&'static str, u64>, BTreeMap<&'static str, u64>) = Default::default();
        for (_, state, at) in &lately.runs {
            *runs.entry(state.name()).or_default() += u64::from(*at >= midnight);
        }
        let mut of_flows: BTreeMap<String, u64> = BTreeMap::new();
        let minute = |place: usize| Timestamp::from_second(hour + 60 * place as i64).unwrap_or(first);
        let mut minutes: Vec<Minute> =
            (0..MINUTES).map(|place| Minute { at: Time(minute(place)), out: 0, waiting: 0, bad: 0 }).collect();
        for (flow, _, state, at) in &lately.messages {
            if *at >= midnight {
                *messages.entry(state.name()).or_default() += 1;
                *of_flows.entry(flow.clone()).or_default() += 1;
            }
            let place = usize::try_from((at.as_second() - hour).div_euclid(60)).ok();
            let Some(minute) = place.and_then(|place| minutes.get_mut(place)) else { continue };
            use MessageState::*;
            match state {
                Accepted | Sent | Delivered | Read | Sending => minute.out += 1,
                Scheduled | Queued => minute.waiting += 1,
                Unknown | Rejected | Dead | Expired => minute.bad += 1,
                Cancelled => {}
            }
        }
        let counts = |counts: BTreeMap<&'static str, u64>, more: bool| -> Counts {
            let all = counts.values().sum();
            let mut counts: Counts =
                counts.into_iter().map(|(name, count)| (name, Count(Capped { count, more: false }))).collect();
            counts.insert("all", Count(Capped { count: all, more }));
            counts
        };
        Ok(Stats {
            runs_today: counts(runs, lately.more_runs),
            messages_today: counts(messages, lately.more_messages),
            messages_of_flows: of_flows,
            minutes,
        })
    }

    /// What happened last, newest first.
    pub async fn activity(&self, most: usize) -> Seen<Vec<Activity>> {
        let mut all: Vec<Activity> = Vec::new();
        let runs = self.runs(super::RunWish { limit: most, ..Default::default() }).await?;
        all.extend(runs.runs.iter().flat_map(of_run));
        let filter = MessageFilter { limit: most, ..MessageFilter::default() };
        let messages = self.messages(super::MessageWish { filter, counts: false }).await?;
        for message in &messages.messages {
            let word = words::message(message.state);
            let reached = message.attempts.last().map(|last| last.reached.last().map_or(last.at, |last| last.at));
            all.push(Activity {
                at: reached.unwrap_or(message.created_at),
                tone: word.tone,
                icon: word.icon,
                who: message.name.clone().unwrap_or_else(|| message.to.clone()),
                text: format!("{}:", word.text),
                quote: Some(message.body.content.gist()),
                link: format!("/people/{}", message.to),
            });
        }
        for arrival in self.arrivals(ArrivalWish { limit: most, ..ArrivalWish::default() }).await? {
            if arrival.kind == "webhook" && arrival.outcome != "refused" {
                continue;
            }
            let word = words::arrival(arrival.outcome);
            let link = arrival.run.map_or("/incoming".to_owned(), |run| format!("/runs/{run}"));
            all.push(Activity {
                at: arrival.at,
                tone: word.tone,
                icon: word.icon,
                who: arrival.name.clone().unwrap_or(arrival.what),
                text: if arrival.kind == "message" { words::wrote(arrival.outcome) } else { word.text }.to_owned(),
                quote: arrival.text.or(arrival.reason),
                link,
            });
        }
        all.sort_by_key(|activity| std::cmp::Reverse(activity.at));
        all.truncate(most);
        Ok(all)
    }

    /// When the day began, for somebody in this zone.
    pub fn midnight(&self, zone: &jiff::tz::TimeZone) -> Timestamp {
        let now = self.clock.now();
        now.to_zoned(zone.clone()).start_of_day().map_or(after(now, std::time::Duration::ZERO), |day| day.timestamp())
    }
}
