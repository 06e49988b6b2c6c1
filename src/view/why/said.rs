//! What happened, in sentences.

use jiff::Timestamp;
use serde_json::Value;

use super::super::incoming::ArrivalRow;
use super::super::messages::MessageRow;
use super::super::schedule::OccurrenceRow;
use super::super::{Time, words};
use super::{Day, Fact};
use crate::clock::from_millis;
use crate::id::RunId;
use crate::model::delivery::MessageState;
use crate::model::occurrence::Fate;
use crate::model::run::RunState;
use crate::store::records::{Gap, GapKind, RunRecord};

fn fact(at: Time, kind: &'static str, word: words::Word, said: String) -> Fact {
    let words::Word { tone, icon, .. } = word;
    Fact { at, kind, tone, icon, said, because: None, text: None, flow: None, run: None, message: None }
}

pub fn gap_said(gap: &Gap, day: &Day) -> Fact {
    let (from, to) = match (day.clock(gap.from), day.clock(gap.to)) {
        (from, to) if from == to => (day.seconds(gap.from), day.seconds(gap.to)),
        clocks => clocks,
    };
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

/// Which trigger it was, where the flow has several.
fn by(row: &OccurrenceRow, day: &Day, several: bool) -> String {
    let own = format!(" ({})", day.zone.iana_name().unwrap_or_default());
    let trigger = row.trigger.strip_suffix(&own).unwrap_or(&row.trigger);
    if several { format!(" by `{trigger}`") } else { String::new() }
}

/// Many times that follow each other, which all went well.
pub fn due_all_said(first: &OccurrenceRow, last: &OccurrenceRow, count: usize, day: &Day, several: bool) -> Fact {
    let (by, count) = (by(first, day, several), words::grouped(count as u64));
    let said = format!("It was due{by} {count} times until {}, and ran each time.", day.clock(last.at.0));
    let flow = Some(first.flow.clone());
    Fact { flow, ..fact(first.at, "occurrence", words::fate(Fate::Ran), said) }
}

pub fn due_said(row: &OccurrenceRow, run: Option<&RunRecord>, day: &Day, several: bool) -> Fact {
    let word = words::fate(row.fate_is);
    let by = by(row, day, several);
    let begun = if row.at.0 < day.from { format!(" from {}", day.clock(row.at.0)) } else { String::new() };
    let when = match (row.until, row.count) {
        (Some(until), Some(count)) => format!("It was due{by} {count} times{begun} until {}", day.clock(until.0)),
        (Some(until), None) => format!("It was due{by} many times{begun} until {}", day.clock(until.0)),
        (None, _) => format!("It was due{by}"),
    };
    let stands_in_line = run.filter(|run| run.state == RunState::Queued && run.started_at.is_none());
    let them = if row.until.is_some() { "them" } else { "it" };
    let what = match row.fate_is {
        Fate::Ran if stands_in_line.is_some() => "; its run has not begun yet.".to_owned(),
        Fate::Late if stands_in_line.is_some() => ". Nobody was there in time; its run has not begun yet.".to_owned(),
        Fate::Ran => ", and ran.".to_owned(),
        Fate::Late => match &row.late_said {
            Some(late) => format!(", and ran {late} late: nobody was there in time."),
            None => ", and ran late.".to_owned(),
        },
        Fate::Coalesced => format!(". Nobody was there; a later run stands for {them}."),
        Fate::TooLate => ". Nobody was there, and later it was too late.".to_owned(),
        Fate::Skipped => ", and was passed over.".to_owned(),
        Fate::Down => ", and did not run: nobody was there.".to_owned(),
        Fate::BeforeKnown => ". That had passed when the flow was first seen.".to_owned(),
    };
    let waits =
        stands_in_line.and_then(|run| run.waiting_for.as_ref()).map(|waits| format!("it waits for {}", waits.detail));
    let reason = row.reason.clone().filter(|_| matches!(row.fate_is, Fate::Skipped | Fate::TooLate)).or(waits);
    let because = reason.map(|reason| words::capital(&words::sentence(&reason)));
    let at = Time(row.at.0.max(day.from));
    Fact {
        because,
        flow: Some(row.flow.clone()),
        run: row.run,
        ..fact(at, "occurrence", word, format!("{when}{what}"))
    }
}

pub fn begun_said(run: &RunRecord, day: &Day) -> Fact {
    let event: Value = serde_json::from_str(&run.event).unwrap_or_default();
    let field = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let said = match run.trigger.as_str() {
        "webhook" => format!("A request came: {} /hooks{}.", field("method"), field("path")),
        "watch" => format!("The file {} was {}.", field("path"), field("kind")),
        "message" => format!("{} wrote.", Some(field("name")).filter(|name| !name.is_empty()).unwrap_or(field("from"))),
        "manual" => "Somebody started it by hand.".to_owned(),
        "flow" => "Another flow started it.".to_owned(),
        "failure" => told_said(&event),
        clock => match event["scheduled_at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()) {
            Some(at) => format!("It ran for {} ({clock}).", day.clock(at)),
            None => format!("It was started ({clock})."),
        },
    };
    let text = Some(field("text")).filter(|text| run.trigger == "message" && !text.is_empty());
    let word = words::Word { tone: "", icon: "in", text: "" };
    Fact { text, flow: Some(run.flow.clone()), run: Some(run.id), ..fact(Time(run.created_at), "run", word, said) }
}

/// What a flow was told that had gone wrong elsewhere.
fn told_said(event: &Value) -> String {
    let field = |name: &str| event[name].as_str().unwrap_or_default();
    match field("what") {
        "run" => format!("It was told that a run of `{}` had failed.", field("flow")),
        "message" => match event["flow"].as_str() {
            Some(flow) => format!("It was told that a message of `{flow}` to {} is {}.", field("to"), field("state")),
            None => format!("It was told that a message to {} is {}.", field("to"), field("state")),
        },
        "account" => format!("It was told that the account `{}` is {}.", field("account"), field("state")),
        "flow" => format!("It was told that the file of `{}` has a mistake.", field("flow")),
        "silence" => {
            format!("It was told that nothing had come to `{}` for longer than {}.", field("flow"), field("every"))
        }
        "disk" => "It was told that the disk is full.".to_owned(),
        _ => "Something had gone wrong elsewhere, and it was told so.".to_owned(),
    }
}

/// That a flow was silent, as the flow was told that hears of it.
pub fn silence_said(run: &RunRecord, flow: &str, hears: &str) -> Option<Fact> {
    let event: Value = serde_json::from_str(&run.event).ok()?;
    let is_it = event["what"] == "silence" && event["flow"] == flow;
    is_it.then(|| silent(run.created_at, flow, Some((hears, run.id))))
}

/// The same; `told` is who was told, and by which run.
pub fn silent(at: Timestamp, flow: &str, told: Option<(&str, RunId)>) -> Fact {
    let whom = told.map_or_else(String::new, |(hears, _)| format!("; `{hears}` was told"));
    let said = format!("Nothing had come for longer than `expect` says{whom}.");
    let word = words::Word { tone: "fail", icon: "alert", text: "" };
    let run = told.map(|(_, run)| run);
    Fact { flow: Some(flow.to_owned()), run, ..fact(Time(at), "silence", word, said) }
}

/// How a run ended, or what it waits for.
pub fn ended_said(run: &RunRecord, day: &Day) -> Option<Fact> {
    let at = run.finished_at.or(run.started_at)?;
    let (said, because) = match run.state {
        RunState::Succeeded => return None,
        RunState::Failed => {
            let error = run.error.as_ref();
            let place = error.and_then(|error| error.line).map_or(String::new(), |line| format!(" at line {line}"));
            (format!("The run failed{place}."), error.map(|error| words::sentence(&error.message)))
        }
        RunState::Cancelled => {
            let why = run.error.as_ref().map(|error| words::capital(&words::sentence(&error.message)));
            ("The run was cancelled.".to_owned(), why)
        }
        RunState::Skipped => {
            let why = run.error.as_ref().map(|error| words::sentence(&error.message));
            ("The run was passed over.".to_owned(), why)
        }
        RunState::Waiting => {
            let waits = run.waiting_for.as_ref()?;
            let until = waits.until.map_or(String::new(), |until| format!(", until {}", day.clock(from_millis(until))));
            // That it sleeps until then is said by the time.
            let detail = Some(&waits.detail).filter(|_| waits.kind != "time");
            (format!("The run waits{until}."), detail.map(|detail| words::capital(&words::sentence(detail))))
        }
        RunState::Queued | RunState::Running => return None,
    };
    let flow = Some(run.flow.clone());
    Some(Fact { because, flow, run: Some(run.id), ..fact(Time(at), "run", words::run(run.state), said) })
}

pub fn message_said(message: &MessageRow, day: &Day, of_person: bool) -> Fact {
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

pub fn wrote_said(row: &ArrivalRow) -> Fact {
    let word = words::arrival(row.outcome);
    let to = row.account.as_ref().map_or(String::new(), |account| format!(" to {account}"));
    let said = format!("Wrote{to}: {}.", word.text);
    Fact { text: row.text.clone(), flow: row.flow.clone(), run: row.run, ..fact(row.at, "incoming", word, said) }
}

pub fn refused_said(row: &ArrivalRow, flow: &str) -> Fact {
    let times = if row.count > 1 { format!(", {} times", row.count) } else { String::new() };
    let status = row.status.unwrap_or_default();
    let from = row.from.as_ref().map_or(String::new(), |from| format!(" from {from}"));
    let said = format!("A request was refused with {status}{times}: {}{from}.", row.what);
    let because = row.reason.as_deref().map(|reason| words::capital(&words::sentence(reason)));
    Fact { because, flow: Some(flow.to_owned()), ..fact(row.at, "refused", words::arrival("refused"), said) }
}

/// Whether a refused request, `POST /hooks/orders/7`, meant a webhook's path, `/orders/{id}`.
pub fn leads_to(what: &str, path: &str) -> bool {
    let Some((_, asked)) = what.split_once(" /hooks") else { return false };
    let mut parts = asked.trim_end_matches('/').split('/');
    let fits = path.split('/').all(|wanted| parts.next().is_some_and(|part| part == wanted || wanted.starts_with('{')));
    fits && parts.next().is_none()
}
