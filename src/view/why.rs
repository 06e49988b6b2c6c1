//! What happened to one flow, or to one person, on one day, and why: facts in the order of their times.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::ToSchema;

use super::incoming::{ArrivalRow, ArrivalWish};
use super::messages::MessageRow;
use super::schedule::OccurrenceRow;
use super::{Seen, Time, View, words};
use crate::clock::from_millis;
use crate::flow::Trigger;
use crate::id::{MessageId, RunId};
use crate::model::delivery::MessageState;
use crate::model::occurrence::Fate;
use crate::model::recipient::Recipient;
use crate::model::run::RunState;
use crate::store::records::{Gap, GapKind, MessageFilter, OccurrenceFilter, RunFilter, RunRecord};
use crate::units::nearest;

/// Most facts of one kind.
const MOST: usize = 300;

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
    /// `gap`, `occurrence`, `run`, `message`, `incoming` or `refused`.
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
    /// In the order of their times.
    pub facts: Vec<Fact>,
    /// There is more than is told here.
    pub more: bool,
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
        let wanted = text.to_lowercase();
        let people = self.people(1_000).await?;
        let named = |name: &Option<String>| name.as_ref().is_some_and(|name| name.to_lowercase().contains(&wanted));
        if let Some(person) = people.iter().find(|person| !wanted.is_empty() && named(&person.name))
            && let Ok(who) = Recipient::read(&person.address, None)
        {
            return Ok(Ok(Subject::Recipient(who)));
        }
        let near = nearest(text, catalog.flows.keys().map(|name| &**name));
        let hint = near.map_or(String::new(), |near| format!("; did you mean the flow `{near}`?"));
        Ok(Err(format!("there is no flow and nobody called `{text}`{hint}")))
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
        let (name, more) = match subject {
            Subject::Flow(flow) => {
                let more = self.why_flow(flow, &day, &mut facts).await?;
                (None, more)
            }
            Subject::Recipient(who) => self.why_person(who, &day, &mut facts).await?,
        };
        facts.sort_by_key(|fact| fact.at);
        let subject = match subject {
            Subject::Flow(flow) => flow.clone(),
            Subject::Recipient(who) => who.to_string(),
        };
        let timezone = zone.iana_name().unwrap_or("local time").to_owned();
        Ok(Why { subject, name, day: date.to_string(), timezone, facts, more })
    }

    async fn why_flow(&self, flow: &str, day: &Day, facts: &mut Vec<Fact>) -> Seen<bool> {
        let of_flow = Some(flow.to_owned());
        let filter = OccurrenceFilter { flow: of_flow.clone(), from: Some(day.from), to: Some(day.to), limit: MOST };
        let occurrences = self.occurrences(filter).await?;
        let filter = RunFilter {
            flow: of_flow.clone(),
            since: Some(day.from),
            until: Some(day.to),
            events: true,
            limit: MOST,
            ..RunFilter::default()
        };
        let runs = self.store.runs(filter).await?.rows;
        let by_clock: Vec<RunId> = occurrences.iter().filter_map(|row| row.run).collect();
        facts.extend(occurrences.iter().map(|row| due_said(row, day)));
        let begun = runs.iter().filter(|run| !by_clock.contains(&run.id));
        facts.extend(begun.map(begun_said));
        facts.extend(runs.iter().filter_map(|run| ended_said(run, day)));
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
        Ok([occurrences.len(), runs.len(), messages.len()].contains(&MOST))
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

fn fact(at: Time, kind: &'static str, word: words::Word, said: String) -> Fact {
    let words::Word { tone, icon, .. } = word;
    Fact { at, kind, tone, icon, said, because: None, text: None, flow: None, run: None, message: None }
}

fn gap_said(gap: &Gap, day: &Day) -> Fact {
    let (from, to) = (day.clock(gap.from), day.clock(gap.to));
    let (tone, said, because) = match gap.kind {
        GapKind::Stopped => ("wait", format!("The engine was stopped from {from} to {to}."), None),
        GapKind::Down => {
            let because = "It had ended without a word: it was killed, or the computer had no power.";
            ("wait", format!("The engine was down from {from} to {to}."), Some(because))
        }
        GapKind::Asleep => ("wait", format!("The computer slept from {from} to {to}."), None),
        GapKind::Forward => ("", format!("The clock was put forward from {from} to {to}."), None),
        GapKind::Back => ("", format!("The clock was put back from {from} to {to}."), None),
    };
    let word = words::Word { tone, icon: if gap.kind == GapKind::Down { "power" } else { "clock" }, text: "" };
    Fact { because: because.map(str::to_owned), ..fact(Time(gap.from.max(day.from)), "gap", word, said) }
}

fn due_said(row: &OccurrenceRow, day: &Day) -> Fact {
    let word = words::fate(row.fate_is);
    let when = match (row.until, row.count) {
        (Some(until), Some(count)) => format!("It was due {count} times until {}", day.clock(until.0)),
        (Some(until), None) => format!("It was due many times until {}", day.clock(until.0)),
        (None, _) => "It was due".to_owned(),
    };
    let what = match row.fate_is {
        Fate::Ran => ", and ran.".to_owned(),
        Fate::Late => match &row.late_said {
            Some(late) => format!(", and ran {late} late: nobody was there in time."),
            None => ", and ran late.".to_owned(),
        },
        Fate::Coalesced => ". Nobody was there; a later run stands for it.".to_owned(),
        Fate::TooLate => ". Nobody was there, and later it was too late.".to_owned(),
        Fate::Skipped => ", and was passed over.".to_owned(),
        Fate::Down => ", and did not run: nobody was there.".to_owned(),
        Fate::BeforeKnown => ". That had passed when the flow was first seen.".to_owned(),
    };
    let shows_reason = matches!(row.fate_is, Fate::Skipped | Fate::TooLate);
    let because = row.reason.as_deref().filter(|_| shows_reason).map(|reason| words::capital(&words::sentence(reason)));
    let flow = Some(row.flow.clone());
    Fact { because, flow, run: row.run, ..fact(row.at, "occurrence", word, format!("{when}{what}")) }
}

fn begun_said(run: &RunRecord) -> Fact {
    let event: serde_json::Value = serde_json::from_str(&run.event).unwrap_or_default();
    let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let said = match run.trigger.as_str() {
        "webhook" => format!("A request came: {} /hooks{}.", field("method"), field("path")),
        "watch" => format!("The file {} was {}.", field("path"), field("kind")),
        "message" => format!("{} wrote.", Some(field("name")).filter(|name| !name.is_empty()).unwrap_or(field("from"))),
        "manual" => "Somebody started it by hand.".to_owned(),
        "flow" => "Another flow started it.".to_owned(),
        "failure" => "Something had gone wrong elsewhere, and it was told so.".to_owned(),
        other => format!("It was started ({other})."),
    };
    let text = Some(field("text")).filter(|text| run.trigger == "message" && !text.is_empty());
    let word = words::Word { tone: "", icon: "in", text: "" };
    Fact { text, flow: Some(run.flow.clone()), run: Some(run.id), ..fact(Time(run.created_at), "run", word, said) }
}

/// How a run ended, or what it waits for.
fn ended_said(run: &RunRecord, day: &Day) -> Option<Fact> {
    let at = run.finished_at.or(run.started_at)?;
    let (said, because) = match run.state {
        RunState::Succeeded => return None,
        RunState::Failed => {
            let error = run.error.as_ref();
            let place = error.and_then(|error| error.line).map_or(String::new(), |line| format!(" at line {line}"));
            (format!("The run failed{place}."), error.map(|error| words::sentence(&error.message)))
        }
        RunState::Cancelled => ("The run was cancelled.".to_owned(), None),
        RunState::Skipped => {
            let why = run.error.as_ref().map(|error| words::sentence(&error.message));
            ("The run was passed over.".to_owned(), why)
        }
        RunState::Waiting => {
            let waits = run.waiting_for.as_ref()?;
            let until = waits.until.map_or(String::new(), |until| format!(", until {}", day.clock(from_millis(until))));
            (format!("The run waits{until}."), Some(words::capital(&words::sentence(&waits.detail))))
        }
        RunState::Queued | RunState::Running => return None,
    };
    let flow = Some(run.flow.clone());
    Some(Fact { because, flow, run: Some(run.id), ..fact(Time(at), "run", words::run(run.state), said) })
}

fn message_said(message: &MessageRow, day: &Day, of_person: bool) -> Fact {
    let word = words::message(message.state);
    let who = match (of_person, message.flow.as_str(), &message.name) {
        (true, "", _) => "Somebody sent a message by hand".to_owned(),
        (true, flow, _) => format!("{flow} had a message"),
        (false, _, Some(name)) => format!("It had a message for {name} ({})", message.to),
        (false, _, None) => format!("It had a message for {}", message.to),
    };
    let sent = message.attempts.last().filter(|_| message.state >= MessageState::Accepted).map(|attempt| attempt.at);
    let when =
        sent.filter(|at| at.0 > message.created_at.0).map_or(String::new(), |at| format!(" at {}", day.clock(at.0)));
    let said = format!("{who}: {}{when}.", word.text);
    let because = message.why.as_deref().map(|why| words::capital(&words::sentence(why)));
    Fact {
        because,
        text: Some(message.body.content.gist()),
        flow: Some(message.flow.clone()).filter(|flow| !flow.is_empty()),
        run: message.run,
        message: Some(message.id),
        ..fact(message.created_at, "message", word, said)
    }
}

fn wrote_said(row: &ArrivalRow) -> Fact {
    let word = words::arrival(row.outcome);
    let to = row.account.as_ref().map_or(String::new(), |account| format!(" to {account}"));
    let said = format!("Wrote{to}: {}.", word.text);
    Fact { text: row.text.clone(), flow: row.flow.clone(), run: row.run, ..fact(row.at, "incoming", word, said) }
}

fn refused_said(row: &ArrivalRow, flow: &str) -> Fact {
    let times = if row.count > 1 { format!(", {} times", row.count) } else { String::new() };
    let status = row.status.unwrap_or_default();
    let from = row.from.as_ref().map_or(String::new(), |from| format!(" from {from}"));
    let said = format!("A request was refused with {status}{times}: {}{from}.", row.what);
    let because = row.reason.as_deref().map(|reason| words::capital(&words::sentence(reason)));
    Fact { because, flow: Some(flow.to_owned()), ..fact(row.at, "refused", words::arrival("refused"), said) }
}

/// Whether a refused request, `POST /hooks/orders/7`, meant a webhook's path, `/orders/{id}`.
fn leads_to(what: &str, path: &str) -> bool {
    let Some((_, asked)) = what.split_once(" /hooks") else { return false };
    let mut parts = asked.trim_end_matches('/').split('/');
    let fits = path.split('/').all(|wanted| parts.next().is_some_and(|part| part == wanted || wanted.starts_with('{')));
    fits && parts.next().is_none()
}
