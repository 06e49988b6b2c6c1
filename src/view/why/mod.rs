//! What happened to one flow, or to one person, on one day, and why: facts in the order of their times.

mod said;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;

use super::incoming::ArrivalWish;
use super::messages::MessageRow;
use super::schedule::OccurrenceRow;
use super::{Seen, Time, View};
use crate::flow::Trigger;
use crate::flow::catalog::Catalog;
use crate::id::{MessageId, RunId};
use crate::model::diagnostic::Severity;
use crate::model::occurrence::Fate;
use crate::model::recipient::Recipient;
use crate::model::run::RunState;
use crate::store::records::{MessageFilter, OccurrenceFilter, RunFilter, RunRecord};
use crate::units::nearest;
use said::{
    begun_said, due_all_said, due_said, ended_said, gap_said, leads_to, message_said, refused_said, silence_said,
    wrote_said,
};

/// Most runs and messages that are looked at, and most times.
const MOST: usize = 1_000;
const MOST_TIMES: usize = 10_000;
/// More times than these that follow each other and went well are told as one.
const FEW: usize = 3;

/// Of whom something is wanted to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A flow, by its name.
    Flow(String),
    /// A person or a group.
    Recipient(Recipient),
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Fact {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// `gap`, `occurrence`, `run`, `message`, `incoming`, `refused` or `silence`.
    pub kind: &'static str,
    /// How it is meant: `ok`, `go`, `wait`, `fail`, `doubt`, or nothing in particular.
    pub tone: &'static str,
    /// The name of a picture.
    #[serde(skip)]
    pub icon: &'static str,
    /// In a sentence.
    pub said: String,
    /// Why, in another one.
    pub because: Option<String>,
    /// What was written.
    pub text: Option<String>,
    /// The flow that it concerns.
    pub flow: Option<String>,
    /// The run.
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// The message.
    #[schema(value_type = Option<String>)]
    pub message: Option<MessageId>,
}

/// What happened on a day.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Why {
    /// The flow, or the person's address.
    pub subject: String,
    /// What the person is called.
    pub name: Option<String>,
    /// Which day.
    pub day: String,
    /// In which zone.
    pub timezone: String,
    /// What holds for the whole of it, in sentences: that the flow is disabled, broken or gone.
    pub notes: Vec<String>,
    /// In the order of their times.
    pub facts: Vec<Fact>,
    /// There is more than is told here: the newest are.
    pub more: bool,
    /// Whether it is a flow.
    #[serde(skip)]
    pub is_flow: bool,
}

/// A span of time, with the zone that its times are told in.
struct Day {
    from: Timestamp,
    to: Timestamp,
    zone: TimeZone,
}

impl Day {
    fn clock(&self, at: Timestamp) -> String {
        let format = if self.from <= at && at < self.to { "%H:%M" } else { "%a %-d %b %H:%M" };
        at.to_zoned(self.zone.clone()).strftime(format).to_string()
    }

    fn seconds(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }
}

impl View {
    /// Whom a text means: a flow by its name, else an address, else a person by its name.
    ///
    /// # Errors
    /// As the store fails; inside, a sentence when nobody is meant.
    pub async fn subject(&self, text: &str) -> Seen<Result<Subject, String>> {
        let text = text.trim();
        let catalog = self.catalog.borrow().clone();
        if catalog.flow(text).is_some() {
            return Ok(Ok(Subject::Flow(text.to_owned())));
        }
        if let Ok(who) = Recipient::read(text, self.country()) {
            return Ok(Ok(Subject::Recipient(who)));
        }
        if let Some(found) = self.person_called(text).await? {
            return Ok(found);
        }
        if let Some(broken) = never_live(&catalog, text) {
            return Ok(Err(broken));
        }
        // One that is gone has its record still.
        let of_flow = Some(text.to_owned());
        let runs = RunFilter { flow: of_flow.clone(), limit: 1, ..RunFilter::default() };
        let times = OccurrenceFilter { flow: of_flow, from: None, to: None, limit: 1 };
        if !self.store.runs(runs).await?.rows.is_empty() || !self.store.occurrences(times).await?.is_empty() {
            return Ok(Ok(Subject::Flow(text.to_owned())));
        }
        let near = nearest(text, catalog.flows.keys().map(|name| &**name));
        let hint = near.map_or(String::new(), |near| format!("; did you mean the flow `{near}`?"));
        Ok(Err(format!("there is no flow and nobody called `{text}`{hint}")))
    }

    /// The one person who is called so, by the whole name or else by a part of it.
    async fn person_called(&self, text: &str) -> Seen<Option<Result<Subject, String>>> {
        let wanted = text.to_lowercase();
        if wanted.is_empty() {
            return Ok(None);
        }
        let people = self.people(1_000).await?;
        let names = people.iter().filter_map(|person| Some((person.name.as_ref()?.to_lowercase(), person)));
        let named: Vec<_> = names.filter(|(name, _)| name.contains(&wanted)).collect();
        let whole: Vec<_> = named.iter().filter(|(name, _)| *name == wanted).collect();
        let found = if whole.is_empty() { named.iter().collect() } else { whole };
        let listed = || {
            let called = |name: &Option<String>| name.clone().unwrap_or_default();
            let all = found.iter().map(|(_, person)| format!("{} ({})", called(&person.name), person.address));
            all.take(10).collect::<Vec<_>>().join(", ")
        };
        Ok(match found[..] {
            [] => None,
            [(_, person)] => Recipient::read(&person.address, None).ok().map(|who| Ok(Subject::Recipient(who))),
            _ => Some(Err(format!("several people are called `{text}`: {}; name one by the phone", listed()))),
        })
    }

    /// The zone that times of a subject are told in.
    pub fn zone_of(&self, subject: &Subject) -> TimeZone {
        match subject {
            Subject::Flow(name) => {
                self.catalog.borrow().flow(name).map_or_else(|| self.zone(), |flow| flow.zone.clone())
            }
            Subject::Recipient(_) => self.zone(),
        }
    }

    /// What happened to a subject on a day of its zone.
    pub async fn why(&self, subject: &Subject, date: Date) -> Seen<Why> {
        let zone = self.zone_of(subject);
        let start = |date: Date| date.to_zoned(zone.clone()).map_or(Timestamp::MAX, |day| day.timestamp());
        let day =
            Day { from: start(date), to: start(date.saturating_add(jiff::Span::new().days(1))), zone: zone.clone() };
        let mut facts: Vec<Fact> =
            self.store.gaps(day.from, day.to).await?.iter().map(|gap| gap_said(gap, &day)).collect();
        let mut notes = Vec::new();
        let (name, more) = match subject {
            Subject::Flow(flow) => {
                notes = notes_of(&self.catalog.borrow(), flow);
                let more = self.why_flow(flow, &day, &mut facts).await?;
                (None, more)
            }
            Subject::Recipient(who) => self.why_person(who, &day, &mut facts).await?,
        };
        facts.sort_by_key(|fact| fact.at);
        if day.from > self.clock.now() {
            notes.push("this day has yet to come; `postrider next` tells what is due".into());
        }
        let (subject, is_flow) = match subject {
            Subject::Flow(flow) => (flow.clone(), true),
            Subject::Recipient(who) => (who.to_string(), false),
        };
        let timezone = zone.iana_name().unwrap_or("local time").to_owned();
        Ok(Why { subject, name, day: date.to_string(), timezone, notes, facts, more, is_flow })
    }

    async fn why_flow(&self, flow: &str, day: &Day, facts: &mut Vec<Fact>) -> Seen<bool> {
        let of_flow = Some(flow.to_owned());
        let (from, to) = (Some(day.from), Some(day.to));
        let filter = OccurrenceFilter { flow: of_flow.clone(), from, to, limit: MOST_TIMES };
        let occurrences = self.occurrences(filter).await?;
        let filter = RunFilter {
            flow: of_flow.clone(),
            since: from,
            until: to,
            events: true,
            limit: MOST,
            ..RunFilter::default()
        };
        let runs = self.store.runs(filter.clone()).await?.rows;
        // Those that did not end well are told of however many did since.
        let states =
            vec![RunState::Queued, RunState::Waiting, RunState::Failed, RunState::Cancelled, RunState::Skipped];
        let apart = self.store.runs(RunFilter { states, ..filter }).await?.rows;
        let is_more = [runs.len(), apart.len()].contains(&MOST) || occurrences.len() == MOST_TIMES;
        let runs: BTreeMap<RunId, RunRecord> = runs.into_iter().chain(apart).map(|run| (run.id, run)).collect();
        let by_clock: Vec<RunId> = occurrences.iter().filter_map(|row| row.run).collect();
        facts.extend(times_said(&occurrences, &runs, day));
        facts.extend(runs.values().filter(|run| !by_clock.contains(&run.id)).map(|run| begun_said(run, day)));
        facts.extend(runs.values().filter_map(|run| ended_said(run, day)));
        let messages = self.day_messages(MessageFilter { flow: of_flow, ..MessageFilter::default() }, day).await?;
        facts.extend(messages.iter().map(|message| message_said(message, day, false)));
        let catalog = self.catalog.borrow().clone();
        let paths: Vec<String> = catalog
            .flow(flow)
            .map(|flow| flow.triggers.iter().filter_map(Trigger::webhook).map(|hook| hook.path.clone()).collect())
            .unwrap_or_default();
        let wish = ArrivalWish {
            kind: Some("webhook".into()),
            outcome: Some("refused".into()),
            since: Some(day.from),
            until: Some(day.to),
            limit: MOST,
            ..ArrivalWish::default()
        };
        let refused = self.arrivals(wish).await?;
        let to_it = refused.iter().filter(|row| paths.iter().any(|path| leads_to(&row.what, path)));
        facts.extend(to_it.map(|row| refused_said(row, flow)));
        facts.extend(self.silences(&catalog, flow, day).await?);
        Ok(is_more || messages.len() == MOST)
    }

    /// When it was told that nothing had come to a flow for too long.
    async fn silences(&self, catalog: &Catalog, flow: &str, day: &Day) -> Seen<Vec<Fact>> {
        let own = catalog.flow(flow).and_then(|flow| flow.on_failure.clone());
        let hears = own.or_else(|| catalog.ground.on_failure.clone());
        if let Some(hears) = &hears {
            let filter = RunFilter {
                flow: Some(hears.clone()),
                triggers: vec!["failure"],
                since: Some(day.from),
                until: Some(day.to),
                events: true,
                limit: MOST,
                ..RunFilter::default()
            };
            let runs = self.store.runs(filter).await?.rows;
            let told: Vec<Fact> = runs.iter().filter_map(|run| silence_said(run, flow, hears)).collect();
            if !told.is_empty() {
                return Ok(told);
            }
        }
        let told = self.store.told().await?;
        let cause = format!("silence:{flow}");
        let at = told.into_iter().find(|(known, at)| *known == cause && day.from <= *at && *at < day.to);
        Ok(at.map(|(_, at)| said::silent(at, flow, None)).into_iter().collect())
    }

    async fn why_person(&self, who: &Recipient, day: &Day, facts: &mut Vec<Fact>) -> Seen<(Option<String>, bool)> {
        let person = self.store.person(&who.to_string()).await?;
        let names = self.names(person.addresses.iter().map(String::as_str)).await?;
        let messages =
            self.day_messages(MessageFilter { to: person.addresses.clone(), ..MessageFilter::default() }, day).await?;
        facts.extend(messages.iter().map(|message| message_said(message, day, true)));
        let wish = ArrivalWish {
            kind: Some("message".into()),
            people: person.addresses.clone(),
            since: Some(day.from),
            until: Some(day.to),
            limit: MOST,
            ..ArrivalWish::default()
        };
        let written = self.arrivals(wish).await?;
        facts.extend(written.iter().map(wrote_said));
        let name = person.addresses.iter().find_map(|address| names.get(address).cloned());
        Ok((name, messages.len() == MOST || written.len() == MOST))
    }

    async fn day_messages(&self, filter: MessageFilter, day: &Day) -> Seen<Vec<MessageRow>> {
        let filter = MessageFilter { since: Some(day.from), until: Some(day.to), limit: MOST, ..filter };
        let page = self.store.messages(filter).await?;
        self.message_rows(&page.rows).await
    }
}

/// What is to be said of a flow before anything else.
fn notes_of(catalog: &Catalog, name: &str) -> Vec<String> {
    let Some(flow) = catalog.flow(name) else {
        return vec!["there is no such flow any more; this is what is on record of it".into()];
    };
    let mut notes = Vec::new();
    if !flow.enabled {
        notes.push("the flow is disabled (`enabled: false`): its triggers begin nothing".into());
    }
    if let Some(wrong) = catalog.stale.get(name) {
        let why = wrong.first().map_or_else(String::new, |finding| format!(": {finding}"));
        notes.push(format!("the flow's file is not what is live; its last good version goes on{why}"));
    }
    notes
}

/// Why a flow never was live, if a file of its name has a mistake.
fn never_live(catalog: &Catalog, name: &str) -> Option<String> {
    let files = ["yaml", "yml"].map(|ending| format!("flows/{name}.{ending}"));
    let is_wrong = |finding: &&crate::model::diagnostic::Diagnostic| {
        finding.severity == Severity::Error && files.contains(&finding.file)
    };
    let finding = catalog.findings.iter().find(is_wrong)?;
    Some(format!("the flow `{name}` is not live, and never was: {finding}; `postrider check` shows the place"))
}

/// What became of times, those of each trigger in their order. Many that went well are told as one.
fn times_said(rows: &[OccurrenceRow], runs: &BTreeMap<RunId, RunRecord>, day: &Day) -> Vec<Fact> {
    let mut by_trigger = HashMap::<&str, Vec<&OccurrenceRow>>::new();
    rows.iter().rev().for_each(|row| by_trigger.entry(&row.trigger).or_default().push(row));
    let several = by_trigger.len() > 1;
    let run_of = |row: &OccurrenceRow| row.run.and_then(|run| runs.get(&run));
    let went_well = |row: &OccurrenceRow| {
        row.fate_is == Fate::Ran && run_of(row).is_none_or(|run| run.state == RunState::Succeeded)
    };
    let mut facts = Vec::new();
    for rows in by_trigger.into_values() {
        for alike in rows.chunk_by(|one, next| went_well(one) && went_well(next)) {
            match alike {
                [first, .., last] if alike.len() > FEW => {
                    facts.push(due_all_said(first, last, alike.len(), day, several));
                }
                few => facts.extend(few.iter().map(|row| due_said(row, run_of(row), day, several))),
            }
        }
    }
    facts
}
