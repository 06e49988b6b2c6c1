//! One run: what it waits for, its time drawn to scale, each call with its line, what it sent.

use std::collections::HashSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;

use super::look::{Look, capital, phone, pretty};
use super::runs::short;
use super::source::{Line, lines};
use super::{Asked, Frame, Page, drawn};
use crate::flow::file::Content;
use crate::http::House;
use crate::http::api::runs::found;
use crate::http::error::Refused;
use crate::model::delivery::MessageState;
use crate::model::journal::Kind;
use crate::model::run::RunState;
use crate::view::words::{self, Word};
use crate::view::{EntryRow, MessageRow, RunRow, RunWhole, Time};

/// A wait that is shorter than this has no row of its own, in seconds.
const WORTH_A_ROW: f64 = 30.0;
/// Calls that are shown; what is left out is said.
const SHOWN: usize = 500;

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    frame: Frame,
    run: RunRow,
    event: Value,
    result: Value,
    steps: Vec<Step>,
    left_out: usize,
    bars: Vec<Segment>,
    worked: String,
    waited: String,
    lines: Vec<Line>,
    script: String,
    is_live: bool,
    unsent: usize,
}

/// Something that happened in a run.
struct Step {
    at: Time,
    /// A day that begins here.
    day: Option<String>,
    /// A wait before it, in words, and how tall it is drawn.
    gap: Option<(String, u8)>,
    tone: &'static str,
    icon: &'static str,
    text: String,
    line: u32,
    attempt: u32,
    lost: bool,
    open: bool,
    request: String,
    result: String,
    way: Vec<(String, Time)>,
}

/// A stretch of the bar, in hundredths.
struct Segment {
    class: &'static str,
    x: String,
    width: String,
}

/// The page.
pub async fn page(State(house): State<Arc<House>>, Path(id): Path<String>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &[])?;
    let id = found(&house, &id).await?;
    let missing = || Refused::new(StatusCode::NOT_FOUND, "not_found", "there is no such run");
    let whole = house.view.run(id).await?.ok_or_else(missing)?;
    let version = house.view.store.version(&whole.run.version).await?;
    let content: Option<Content> = version.and_then(|row| serde_json::from_str(&row.content).ok());
    let is_live =
        house.view.catalog.borrow().flow(&whole.run.flow).is_some_and(|flow| *flow.version == *whole.run.version);
    let frame = Frame::of(&house, &asked, "runs", format!("Run of {}", whole.run.flow)).await?;
    let look = &frame.look;
    let now = Time(look.now);
    let (bars, worked, waited) = timeline(&whole, now);
    let (steps, left_out) = steps(&whole, look, now);
    let (script, text) = script_of(content.as_ref());
    let mut marks: Vec<(u32, String)> = Vec::new();
    let open = whole.open_entry.iter().map(|entry| (entry.line, "waits here".to_owned()));
    let done = whole.entries.iter().filter(|entry| !entry.lost).map(|entry| (entry.line, mark(entry.kind).to_owned()));
    for (line, mark) in done.chain(open) {
        if !marks.iter().any(|known| *known == (line, mark.clone())) {
            marks.push((line, mark));
        }
    }
    let error = whole.run.error.as_ref().and_then(|error| {
        let at = (error.script.clone().unwrap_or_default(), error.line?, error.column.unwrap_or(1));
        Some(crate::model::diagnostic::Diagnostic::error(&at.0, at.1, at.2, error.message.clone()))
    });
    let lines = lines(&script, &text, error.as_slice(), &marks);
    drawn(&RunPage {
        unsent: whole.messages.iter().filter(|message| message.state.is_open()).count(),
        run: whole.run,
        event: whole.event,
        result: whole.result,
        steps,
        left_out,
        bars,
        worked,
        waited,
        lines,
        script,
        is_live,
        frame,
    })
}

/// The file that holds the script: the flow's own, or that of `scripts/`.
fn script_of(content: Option<&Content>) -> (String, String) {
    let Some(content) = content else { return (String::new(), String::new()) };
    let inline = content.yaml.lines().any(|line| line.starts_with("run:"));
    match content.scripts.iter().next().filter(|_| !inline) {
        Some((file, text)) => (file.to_owned(), text.to_string()),
        None => (content.file.to_string(), content.yaml.to_string()),
    }
}

fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Send => "sent",
        Kind::Ask => "asked",
        Kind::Http => "called",
        Kind::Sleep => "waited",
        Kind::Log => "noted",
        _ => "ran",
    }
}

fn is_wait(kind: Kind) -> bool {
    matches!(kind, Kind::Sleep | Kind::Ask | Kind::Wait | Kind::WaitMessage | Kind::WaitEvent | Kind::Http)
}

/// When an answer was waited for.
fn waits(whole: &RunWhole, now: Time) -> Vec<(Time, Time)> {
    let end = whole.run.finished_at.unwrap_or(now);
    let wait = |entry: &EntryRow| Some((entry.asked_at?, entry.at.unwrap_or(end)));
    whole.entries.iter().chain(&whole.open_entry).filter(|entry| is_wait(entry.kind)).filter_map(wait).collect()
}

/// The run's time to scale: what it worked, what it waited, where it failed.
fn timeline(whole: &RunWhole, now: Time) -> (Vec<Segment>, String, String) {
    let begun = whole.run.created_at;
    let end = whole.run.finished_at.unwrap_or(now);
    let until = whole.run.waiting_for.as_ref().and_then(|waiting| waiting.until).filter(|until| *until > end);
    let until = until.filter(|until| until.0.duration_since(begun.0).as_secs() < 400 * 86_400).unwrap_or(end);
    let seconds = |from: Time, to: Time| to.0.duration_since(from.0).as_secs_f64().max(0.0);
    let all = seconds(begun, until).max(0.001);
    let place = |at: Time| (seconds(begun, at) * 100.0 / all).clamp(0.0, 100.0);
    let segment = |class: &'static str, from: Time, to: Time| {
        let (x, end) = (place(from), place(to));
        Segment { class, x: format!("{x:.2}%"), width: format!("{:.2}%", (end - x).max(0.4)) }
    };
    let mut bars = vec![segment("f-go", begun, end)];
    let mut waited = 0.0;
    for (from, to) in waits(whole, now) {
        waited += seconds(from, to);
        bars.push(segment("f-wait", from, to));
    }
    if whole.run.state == RunState::Failed {
        bars.push(Segment { class: "f-fail", x: format!("{:.2}%", place(end).min(99.2)), width: "0.8%".into() });
    }
    let worked = (seconds(begun, end) - waited).max(0.0);
    (bars, words::span(worked), words::span(waited))
}

fn steps(whole: &RunWhole, look: &Look, now: Time) -> (Vec<Step>, usize) {
    let mut steps: Vec<Step> = Vec::new();
    let trigger = words::trigger(&whole.run.trigger);
    let started = match whole.repeats {
        Some(_) => format!("Started again by hand. The first time: {}", started(&whole.run, &whole.event)),
        None => started(&whole.run, &whole.event),
    };
    let bare = |at: Time, word: Word, text: String| Step {
        at,
        day: None,
        gap: None,
        tone: word.tone,
        icon: word.icon,
        text,
        line: 0,
        attempt: 1,
        lost: false,
        open: false,
        request: String::new(),
        result: String::new(),
        way: Vec::new(),
    };
    steps.push(bare(whole.run.created_at, trigger, started));
    let mut told: HashSet<String> = HashSet::new();
    for entry in whole.entries.iter().take(SHOWN) {
        steps.push(step(entry, false, &whole.messages, &mut told, now));
    }
    if let Some(entry) = &whole.open_entry {
        steps.push(step(entry, true, &whole.messages, &mut told, now));
    }
    // What a question said more than once stands in no entry.
    for message in whole.messages.iter().filter(|message| !told.contains(&message.id.to_string())) {
        let word = words::message(message.state);
        let text = format!("Message to {}: “{}”", who(message), message.body.content.gist());
        steps.push(Step { way: way(message), ..bare(message.created_at, Word { icon: "messages", ..word }, text) });
    }
    if let Some(end) = whole.run.finished_at {
        let word = words::run(whole.run.state);
        let text = match &whole.run.error {
            Some(error) => format!("{}: {}", capital(word.text), error.message),
            None => capital(word.text),
        };
        steps.push(bare(end, word, text));
    }
    steps.sort_by_key(|step| step.at);
    space(&mut steps, look);
    (steps, whole.entries.len().saturating_sub(SHOWN))
}

/// Marks where a day begins, and where nothing happened for long.
fn space(steps: &mut [Step], look: &Look) {
    let mut before: Option<Time> = None;
    for step in steps {
        if before.is_none_or(|before| !look.same_day(&before, &step.at)) {
            step.day = Some(look.day(&step.at));
        }
        if let Some(before) = before {
            let gap = step.at.0.duration_since(before.0).as_secs_f64();
            if gap >= WORTH_A_ROW {
                let tall = match gap {
                    g if g < 600.0 => 1,
                    g if g < 7_200.0 => 2,
                    g if g < 86_400.0 => 3,
                    _ => 4,
                };
                step.gap = Some((words::span(gap), tall));
            }
        }
        before = Some(step.at);
    }
}

fn who(message: &MessageRow) -> String {
    message.name.clone().unwrap_or_else(|| phone(&message.to))
}

/// What started it, in a sentence.
fn started(run: &RunRow, event: &Value) -> String {
    let said = |field: &str| event[field].as_str().unwrap_or_default();
    match run.trigger.as_str() {
        "webhook" => format!("Started by {} {}, from {}", said("method"), said("path"), said("ip")),
        "cron" | "every" | "at" => match event["missed"].as_u64() {
            Some(missed @ 1..) => format!("Started by the clock; it stands for {missed} times that were missed"),
            _ => "Started by the clock".into(),
        },
        "watch" => format!("Started by the file {}", said("path")),
        "message" => format!("Started by a message from {}: “{}”", phone(said("from")), said("text")),
        "manual" => "Started by hand".into(),
        "failure" => "Started by something that failed".into(),
        "flow" => "Started by another flow".into(),
        other => format!("Started by {other}"),
    }
}

fn way(message: &MessageRow) -> Vec<(String, Time)> {
    let mut way = vec![("written".to_owned(), message.created_at)];
    for attempt in &message.attempts {
        if attempt.reached.is_empty() && MessageState::parse(&attempt.outcome).is_none() {
            way.push((words::outcome(&attempt.outcome).unwrap_or(&attempt.outcome).to_owned(), attempt.at));
        }
        way.extend(attempt.reached.iter().map(|reached| (words::message(reached.state).text.to_owned(), reached.at)));
    }
    way
}

/// A call in words: tone, icon, sentence.
type Gist = (&'static str, &'static str, String);

fn gist(entry: &EntryRow, open: bool, mine: &[&MessageRow], asked_by: Option<&MessageRow>) -> Gist {
    let said = |field: &str| entry.request[field].as_str().unwrap_or_default();
    match entry.kind {
        Kind::Send => sent(said("to"), mine),
        Kind::Ask => asked(entry, open, asked_by),
        Kind::Http => called(entry),
        Kind::Sleep => ("wait", "clock", if open { "Waits".into() } else { "Waited, as the script says".into() }),
        Kind::Wait => ("wait", "wait", "Waited for what becomes of a message".into()),
        Kind::WaitMessage => ("wait", "in", "Waited for a message".into()),
        Kind::WaitEvent => ("wait", "bell", "Waited for an event".into()),
        Kind::Log => {
            let text = entry.request["text"].as_str().or(entry.request["message"].as_str());
            let text = text.map_or_else(|| entry.request.to_string(), str::to_owned);
            ("", "log", format!("Noted: “{text}”"))
        }
        Kind::Fail => ("fail", "fail", "The script ended the run".into()),
        Kind::Now => ("", "clock", "Looked at the clock".into()),
        Kind::Emit => ("", "bell", "Told other runs".into()),
        Kind::FlowStart => ("", "flows", format!("Started the flow {}", said("flow"))),
        Kind::Respond => ("", "hook", "Answered the caller".into()),
        Kind::KvGet | Kind::KvList | Kind::SharedGet | Kind::SharedList => ("", "keep", "Read a kept value".into()),
        Kind::KvSet
        | Kind::KvDelete
        | Kind::KvIncrement
        | Kind::SharedSet
        | Kind::SharedDelete
        | Kind::SharedIncrement => ("", "keep", "Changed a kept value".into()),
        Kind::FileRead | Kind::FileExists | Kind::FileList | Kind::FileSeen => ("", "file", "Looked at files".into()),
        Kind::FileMove => ("", "file", "Moved a file".into()),
        Kind::Save => ("", "file", "Kept a file that somebody sent".into()),
        Kind::Snapshot => ("", "file", "Took a copy of a file".into()),
        Kind::Keyed => ("", "messages", "Looked for a message by its key".into()),
        Kind::Cancel => ("", "messages", "Took a message back".into()),
        Kind::FlowVersion => ("", "flows", "Looked for a flow".into()),
        Kind::Hmac => ("", "lock", "Signed a text".into()),
    }
}

fn sent(to: &str, mine: &[&MessageRow]) -> Gist {
    let text = match mine {
        [one] => format!("Message to {}: “{}”", who(one), one.body.content.gist()),
        [] => format!("Message to {}", phone(to)),
        many => format!("{} messages: “{}”", many.len(), many[0].body.content.gist()),
    };
    ("go", "messages", text)
}

fn asked(entry: &EntryRow, open: bool, message: Option<&MessageRow>) -> Gist {
    let question = entry.request["question"].as_str().unwrap_or_default();
    let name = message.map_or_else(|| phone(entry.request["to"].as_str().unwrap_or_default()), who);
    let answer = entry.result["text"].as_str().map(|text| format!(" The answer was “{text}”."));
    let tone = if open { "wait" } else { "ok" };
    (tone, "ask", format!("Asked {name}: “{question}”{}", answer.unwrap_or_default()))
}

fn called(entry: &EntryRow) -> Gist {
    let status = entry.result["status"].as_u64().map_or(String::new(), |status| format!(": {status}"));
    let url = entry.request["url"].as_str().map(str::to_owned);
    let url = url.unwrap_or_else(|| "other servers".into());
    let host = url::Url::parse(&url).ok().and_then(|url| url.host_str().map(str::to_owned));
    (if entry.error.is_some() { "fail" } else { "ok" }, "globe", format!("Called {}{status}", host.unwrap_or(url)))
}

fn step(entry: &EntryRow, open: bool, messages: &[MessageRow], told: &mut HashSet<String>, now: Time) -> Step {
    let ids: Vec<&str> = match &entry.result {
        Value::Array(all) => all.iter().filter_map(|one| one["id"].as_str()).collect(),
        one => one["id"].as_str().into_iter().collect(),
    };
    let mine: Vec<&MessageRow> =
        messages.iter().filter(|message| ids.contains(&message.id.to_string().as_str())).collect();
    let of_message = match entry.kind {
        // It may have been asked again, by other messages: the last one says it.
        Kind::Ask => messages.iter().rev().find(|message| entry.request["question"] == message.body.content.gist()),
        _ => mine.first().copied(),
    };
    let (tone, icon, text) = gist(entry, open, &mine, of_message);
    told.extend(mine.iter().chain(of_message.iter()).map(|message| message.id.to_string()));
    let result = match (&entry.error, open) {
        (Some(error), _) => format!("{}: {}", error.kind, error.message),
        (None, true) => "no answer yet".into(),
        (None, false) => pretty(&entry.result),
    };
    Step {
        at: entry.asked_at.or(entry.at).unwrap_or(now),
        day: None,
        gap: None,
        tone: if entry.error.is_some() { "fail" } else { tone },
        icon,
        text,
        line: entry.line,
        attempt: entry.attempt,
        lost: entry.lost,
        open,
        request: pretty(&entry.request),
        result,
        way: of_message.map(way).unwrap_or_default(),
    }
}

impl RunPage {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn short(&self) -> String {
        short(&self.run.id)
    }

    fn waits_for_something(&self) -> bool {
        let kind = self.run.waiting_for.as_ref().map(|waiting| waiting.kind.as_str());
        kind.is_some_and(|kind| !matches!(kind, "http" | "file"))
    }

    /// The event by its parts: what a webhook brought, or all of it.
    fn parts(&self) -> Vec<(&'static str, String)> {
        let mut parts = Vec::new();
        for (name, title) in [("body", "Body"), ("headers", "Headers"), ("query", "Query"), ("data", "Data")] {
            let part = &self.event[name];
            let empty = part.is_null() || part.as_object().is_some_and(serde_json::Map::is_empty);
            if !empty {
                parts.push((title, self.frame.look.pretty(part)));
            }
        }
        if parts.is_empty() {
            parts.push(("All of it", self.frame.look.pretty(&self.event)));
        }
        parts
    }
}
