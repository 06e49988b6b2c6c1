//! Commands that ask the running engine.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::check::report;
use super::client::{Place, query};
use super::table::{cell, gist, say, table};
use super::{Chosen, Failure, MessagesArgs, MessagesCommand, RunsArgs, RunsCommand, SendArgs, TriggerArgs};
use crate::app::{Workspace, stopped};
use crate::config::Flags;
use crate::id::RunId;
use crate::json::mistake;
use crate::plain::{plain, shortened};

/// Most characters of a text that is told.
const LONGEST_TEXT: usize = 200;

pub fn rows<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    answer[name].as_array().into_iter().flatten()
}

pub fn cells(row: &Value, fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| cell(&row[*field])).collect()
}

pub fn trigger(place: &Place, args: &TriggerArgs) -> Result<(), Failure> {
    let parse = |text: &str, what: &str| -> Result<Value, Failure> {
        serde_json::from_str(text).map_err(|error| mistake(what, text.as_bytes(), &error).into())
    };
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"));
    let wish = match (&args.data, &args.event) {
        (Some(data), _) => match data.strip_prefix('@') {
            Some(path) => json!({ "data": parse(&read(path)?, path)? }),
            None => json!({ "data": parse(data, "--data")? }),
        },
        (None, Some(path)) => {
            let path = path.display().to_string();
            json!({ "event": parse(&read(&path)?, &path)? })
        }
        (None, None) => match &args.body {
            Some(body) => {
                let text = match body.strip_prefix('@') {
                    Some(path) => read(path)?,
                    None => body.clone(),
                };
                let flow = place.get(&format!("/flows/{}", args.flow))?;
                json!({ "event": request(&flow, &text) })
            }
            None => json!({}),
        },
    };
    let answer = place.post(&format!("/flows/{}/trigger", args.flow), &wish)?;
    if !args.wait {
        place.print(&answer, |answer| say(format_args!("run {} was accepted", cell(&answer["run"]))));
        return Ok(());
    }
    let id = answer["run"].as_str().unwrap_or_default().to_owned();
    loop {
        let run = place.get(&format!("/runs/{id}"))?;
        let state = run["state"].as_str().unwrap_or_default();
        if !matches!(state, "queued" | "running" | "waiting") {
            place.print(&run, show_run);
            return if state == "succeeded" { Ok(()) } else { Err(Failure::Reported) };
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

/// The event of a request that brings this body to a flow's first webhook; its parameters stay as they are written.
fn request(flow: &Value, text: &str) -> Value {
    let body = match text.trim() {
        "" => Value::Null,
        trimmed => serde_json::from_str(trimmed).unwrap_or_else(|_| text.into()),
    };
    let webhook = rows(flow, "triggers").find(|trigger| trigger["kind"] == "webhook").unwrap_or(&Value::Null);
    let path = webhook["path"].as_str().and_then(|path| path.strip_prefix("/hooks")).unwrap_or("/");
    let method = webhook["methods"][0].as_str().unwrap_or("POST");
    json!({
        "trigger": "webhook", "method": method, "path": path, "params": {}, "query": {}, "headers": {},
        "body": body, "raw": text, "ip": "127.0.0.1",
    })
}

pub fn why(place: &Place, subject: &str, day: &str) -> Result<(), Failure> {
    if !matches!(day, "today" | "yesterday") && day.parse::<Date>().is_err() {
        let wrong = format!("`{day}` is no day; write one such as `2026-10-25`, `today` or `yesterday`");
        return Err(Failure::Usage(wrong));
    }
    let answer = place.get(&format!("/why{}", query(&[("of", Some(subject)), ("day", Some(day))])))?;
    place.print(&answer, |answer| {
        let zone = answer["timezone"].as_str().and_then(|zone| TimeZone::get(zone).ok()).unwrap_or(TimeZone::UTC);
        let who = answer["name"]
            .as_str()
            .map_or_else(|| cell(&answer["subject"]), |name| format!("{name} ({})", cell(&answer["subject"])));
        say(format_args!("{who}, {} ({})", cell(&answer["day"]), cell(&answer["timezone"])));
        for note in answer["notes"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            say(format_args!("{}", plain(note)));
        }
        let mut none = true;
        for fact in rows(answer, "facts") {
            none = false;
            let at = fact["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
            let at = at.map_or(String::new(), |at| at.to_zoned(zone.clone()).strftime("%H:%M").to_string());
            let because = fact["because"].as_str().map_or(String::new(), |because| format!(" {because}"));
            let said = fact["said"].as_str().unwrap_or_default();
            say(format_args!("{at}  {}{}", plain(said), plain(&because)));
            if let Some(text) = fact["text"].as_str() {
                say(format_args!("       “{}”", shortened(&plain(text), LONGEST_TEXT)));
            }
        }
        if none {
            say(format_args!("nothing is on record of that day"));
        }
        if answer["more"] == true {
            say(format_args!(
                "there is more of this day than the newest that are told here; `postrider runs --flow NAME`, \
                 `postrider messages` and `GET /api/v1/occurrences` have the rest"
            ));
        }
    });
    Ok(())
}

pub fn flows(place: &Place, name: Option<&str>) -> Result<(), Failure> {
    let answer = match name {
        Some(name) => place.get(&format!("/flows/{name}"))?,
        None => place.get("/flows")?,
    };
    place.print(&answer, |answer| {
        let flows: Vec<&Value> = if name.is_some() { vec![answer] } else { rows(answer, "flows").collect() };
        let row = |flow: &&Value| {
            let triggers = rows(flow, "triggers").map(trigger_gist).collect::<Vec<_>>().join(", ");
            let next = rows(flow, "triggers").filter_map(|trigger| trigger["next_at"].as_str()).min();
            let version: String = cell(&flow["version"]).chars().take(8).collect();
            let live = match (flow["enabled"] == json!(true), flow["stale"] == json!(true)) {
                (true, false) => "yes",
                (true, true) => "stale",
                (false, false) => "disabled",
                (false, true) => "disabled, stale",
            };
            let triggers = if triggers.is_empty() { "-".to_owned() } else { triggers };
            let next = next.unwrap_or("-").to_owned();
            let (last, bad) = (cell(&flow["last_run"]["state"]), cell(&flow["bad_messages"]));
            vec![cell(&flow["name"]), live.into(), triggers, next, version, last, bad]
        };
        let list: Vec<Vec<String>> = flows.iter().map(row).collect();
        table(
            &["FLOW", "LIVE", "TRIGGERS", "NEXT", "VERSION", "LAST RUN", "BAD MESSAGES"],
            &list,
            "there are no flows; add one below flows/, or try `postrider init`",
        );
        if let Some(hash) = answer["hash"].as_str() {
            say(format_args!(""));
            say(format_args!("live: {hash}"));
        }
        for finding in rows(answer, "diagnostics") {
            let message = finding["message"].as_str().unwrap_or_default();
            let place = match &finding["line"] {
                Value::Number(line) if line.as_u64() != Some(0) => format!("{}:{line}", cell(&finding["file"])),
                _ => cell(&finding["file"]),
            };
            let hint = finding["hint"].as_str().map_or(String::new(), |hint| format!(" ({hint})"));
            say(format_args!("{place}: {message}{hint}"));
        }
    });
    Ok(())
}

/// A trigger in a few words.
fn trigger_gist(trigger: &Value) -> String {
    let what = ["path", "schedule"].into_iter().map(|name| &trigger[name]).find(|value| !value.is_null());
    let what = match what {
        Some(what) => cell(what),
        None => trigger["paths"].as_array().into_iter().flatten().map(cell).collect::<Vec<_>>().join(" "),
    };
    let verified = match trigger["verified"].as_bool() {
        Some(true) => " (verified)",
        Some(false) => " (not verified)",
        None => "",
    };
    format!("{} {what}{verified}", cell(&trigger["kind"]))
}

/// A run that brings the engine down can be taken back while none runs.
fn cancel_stopped(place: &Place, id: &str) -> Result<(), Failure> {
    let run: RunId = id.parse().map_err(Failure::Said)?;
    let workspace = Workspace::open(&place.root, Flags::default(), std::env::vars()).map_err(|findings| {
        report(&place.root, &findings);
        Failure::Reported
    })?;
    stopped::cancel(&workspace, run)?;
    place.print(&json!({ "id": run, "state": "cancelled" }), |_| say(format_args!("run {run} is cancelled")));
    Ok(())
}

pub fn runs(place: &Place, args: &RunsArgs) -> Result<(), Failure> {
    if let Some(what) = &args.what {
        let run = match what {
            RunsCommand::Show { id } => place.get(&format!("/runs/{id}"))?,
            RunsCommand::Cancel { id } if place.is_stopped() => return cancel_stopped(place, id),
            RunsCommand::Cancel { id } => place.post(&format!("/runs/{id}/cancel"), &json!({}))?,
            RunsCommand::Retry { id } => place.post(&format!("/runs/{id}/retry"), &json!({}))?,
            RunsCommand::Replay { id, latest, resend } => {
                place.post(&format!("/runs/{id}/replay"), &json!({ "latest": latest, "resend": resend }))?
            }
        };
        place.print(&run, show_run);
        return Ok(());
    }
    let limit = args.limit.to_string();
    let asked = query(&[("flow", args.flow.as_deref()), ("state", args.state.as_deref()), ("limit", Some(&limit))]);
    let answer = place.get(&format!("/runs{asked}"))?;
    place.print(&answer, |answer| {
        let row = |run: &Value| {
            let mut row = cells(run, &["id", "flow", "trigger", "state", "attempt", "created_at"]);
            row.push(match (&run["error"]["message"], run["bad_messages"].as_u64()) {
                (Value::Null, Some(count @ 1..)) => format!("{count} of its messages are dead, rejected or unknown"),
                (Value::Null, _) => cell(&run["waiting_for"]["detail"]),
                (error, _) => cell(error),
            });
            row
        };
        let list: Vec<Vec<String>> = rows(answer, "runs").map(row).collect();
        table(&["RUN", "FLOW", "TRIGGER", "STATE", "ATTEMPT", "ACCEPTED", "NOTE"], &list, "there are no runs");
    });
    Ok(())
}

fn show_run(run: &Value) {
    for field in ["id", "flow", "version", "trigger", "state", "attempt", "created_at", "started_at", "finished_at"] {
        say(format_args!("{field:12} {}", cell(&run[field])));
    }
    if run["error"].is_object() {
        // Whole: the end of it is where the remedy stands.
        let error = &run["error"];
        let message = error["message"].as_str().unwrap_or_default();
        let place = ["script", "line", "column"].map(|part| &error[part]);
        let place: Vec<String> = place.into_iter().filter(|part| !part.is_null()).map(cell).collect();
        say(format_args!("{:12} {message} at {}", "error", place.join(":")));
    }
    say(format_args!("{:12} {}", "event", shortened(&event_gist(&run["event"]), 400)));
    if !run["waiting_for"].is_null() {
        say(format_args!("{:12} {}", "waits", cell(&run["waiting_for"]["detail"])));
    }
    if !run["result"].is_null() {
        say(format_args!("{:12} {}", "result", cell(&run["result"])));
    }
    heading("TIMELINE");
    let row = |entry: &Value| {
        let mut row = cells(entry, &["position", "at", "line", "kind", "request"]);
        // Of a turn that threw, what is kept is for reading only.
        let undone = if entry["lost"] == true { " undone" } else { "" };
        row.insert(1, format!("{}{undone}", cell(&entry["attempt"])));
        row.push(match &entry["error"] {
            Value::Null => cell(&entry["result"]),
            error => {
                cell(&json!(format!("{}: {}", cell(&error["kind"]), error["message"].as_str().unwrap_or_default())))
            }
        });
        row
    };
    let list: Vec<Vec<String>> = rows(run, "entries").map(row).collect();
    table(&["#", "ATTEMPT", "AT", "LINE", "CALL", "WITH", "RESULT"], &list, "the script has made no calls");
    heading("MESSAGES");
    show_messages(run);
}

fn heading(text: &str) {
    say(format_args!(""));
    say(format_args!("{text}"));
}

/// A field with all that it says: the end of a sentence is where the remedy stands.
fn whole(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => cell(value),
    }
}

/// An event without what stands above it already.
fn event_gist(event: &Value) -> String {
    let mut event = event.clone();
    if let Some(fields) = event.as_object_mut() {
        for known in ["at", "flow", "run", "trigger", "raw", "headers"] {
            fields.remove(known);
        }
    }
    event.to_string()
}

fn show_messages(answer: &Value) {
    let row = |message: &Value| {
        let mut row = cells(message, &["id", "to", "kind", "state"]);
        row.push(gist(&message["body"]));
        row.push(cell(&message["why"]));
        row
    };
    let list: Vec<Vec<String>> = rows(answer, "messages").map(row).collect();
    table(&["MESSAGE", "TO", "KIND", "STATE", "CONTENT", "WHY"], &list, "there are no messages");
}

pub fn messages(place: &Place, args: &MessagesArgs) -> Result<(), Failure> {
    let Some(what) = &args.what else {
        let limit = args.limit.to_string();
        let asked = query(&[
            ("to", args.to.as_deref()),
            ("state", args.state.as_deref()),
            ("flow", args.flow.as_deref()),
            ("limit", Some(&limit)),
        ]);
        let answer = place.get(&format!("/messages{asked}"))?;
        place.print(&answer, show_messages);
        return Ok(());
    };
    match what {
        MessagesCommand::Show { id } => show_message(place, &place.get(&format!("/messages/{id}"))?),
        MessagesCommand::Retry(chosen) => return decide(place, chosen, "retry", &json!({})),
        MessagesCommand::Cancel(chosen) => return decide(place, chosen, "cancel", &json!({})),
        MessagesCommand::Release { chosen, as_what } => {
            return decide(place, chosen, "release", &json!({ "as": as_what }));
        }
    }
    Ok(())
}

/// Does the same to each of the messages. Those that have come to another state meanwhile are passed over when
/// a state was given, and named when their ids were.
fn decide(place: &Place, chosen: &Chosen, decision: &str, body: &Value) -> Result<(), Failure> {
    let path = |id: &str| format!("/messages/{id}/{decision}");
    match (&chosen.state, chosen.ids.as_slice()) {
        (Some(state), _) => decide_all(place, chosen, state, decision, body),
        (None, [id]) => {
            show_message(place, &place.post(&path(id), body)?);
            Ok(())
        }
        (None, ids) => {
            let mut ends = Vec::new();
            for id in ids {
                ends.push(match place.post_one(&path(id), body) {
                    Ok(message) => json!({ "id": id, "state": message["state"] }),
                    Err(Failure::Said(why)) => json!({ "id": id, "error": why }),
                    Err(reported) => return Err(reported),
                });
            }
            let fine = ends.iter().all(|end| end["error"].is_null());
            place.print(&json!({ "messages": ends }), |answer| {
                for end in rows(answer, "messages") {
                    let said = end["error"].as_str().or(end["state"].as_str()).unwrap_or_default();
                    say(format_args!("{}: {said}", cell(&end["id"])));
                }
            });
            if fine { Ok(()) } else { Err(Failure::Reported) }
        }
    }
}

/// The same for all that are in a state.
fn decide_all(place: &Place, chosen: &Chosen, state: &str, decision: &str, body: &Value) -> Result<(), Failure> {
    // The list is read to its end before anything is done: what is done changes it.
    let (mut ids, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let asked = query(&[
            ("state", Some(state)),
            ("flow", chosen.flow.as_deref()),
            ("to", chosen.to.as_deref()),
            ("limit", Some("500")),
            ("after", after.as_deref()),
        ]);
        let page = place.get(&format!("/messages{asked}"))?;
        ids.extend(rows(&page, "messages").filter_map(|message| message["id"].as_str()).map(str::to_owned));
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    let (mut done, mut first_why) = (0, None);
    for id in &ids {
        match place.post_one(&format!("/messages/{id}/{decision}"), body) {
            Ok(_) => done += 1,
            Err(Failure::Said(why)) => drop(first_why.get_or_insert(why)),
            Err(reported) => return Err(reported),
        }
    }
    let total = ids.len();
    let did = match decision {
        "retry" => "to be sent again",
        "cancel" => "cancelled",
        _ => "released",
    };
    place.print(&json!({ "done": done, "of": total }), |_| match total {
        0 if chosen.flow.is_some() || chosen.to.is_some() => say(format_args!("no such message is {state}")),
        0 => say(format_args!("no message is {state}")),
        _ => say(format_args!("{done} of {total} that were {state}: {did}")),
    });
    match first_why {
        Some(why) if done == 0 => Err(Failure::Said(why)),
        _ => Ok(()),
    }
}

fn show_message(place: &Place, answer: &Value) {
    place.print(answer, |message| {
        for field in
            ["id", "run", "flow", "account", "to", "kind", "state", "why", "provider_id", "created_at", "due_at"]
        {
            say(format_args!("{field:12} {}", whole(&message[field])));
        }
        say(format_args!("{:12} {}", "content", gist(&message["body"])));
        for change in rows(message, "degraded") {
            say(format_args!("{:12} {}: {}", "degraded", cell(&change["field"]), whole(&change["action"])));
        }
        if let Some(count) = message["clicks"]["count"].as_u64() {
            say(format_args!("{:12} {count}, the first at {}", "clicks", cell(&message["clicks"]["first_at"])));
        }
        if rows(message, "parts").next().is_some() {
            heading("PARTS");
            let row = |part: &Value| cells(part, &["kind", "state", "provider_id", "error"]);
            let list: Vec<Vec<String>> = rows(message, "parts").map(row).collect();
            table(&["KIND", "STATE", "ID THERE", "ERROR"], &list, "");
        }
        heading("ATTEMPTS");
        let list: Vec<Vec<String>> = rows(message, "attempts")
            .map(|attempt| cells(attempt, &["number", "at", "account", "outcome", "error"]))
            .collect();
        table(&["#", "AT", "ACCOUNT", "OUTCOME", "ERROR"], &list, "none yet");
    });
}

pub fn send(place: &Place, args: &SendArgs) -> Result<(), Failure> {
    let field = match args.kind.as_str() {
        "text" => "text",
        "link" => "url",
        _ => "source",
    };
    let mut wish = json!({ "kind": args.kind, "to": args.to, field: args.what });
    let options = [
        ("account", &args.account),
        ("caption", &args.caption),
        ("title", &args.title),
        ("description", &args.description),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            wish[name] = json!(value);
        }
    }
    let answer = place.post("/messages", &wish)?;
    place.print(&answer, |answer| say(format_args!("message {} is in the outbox", cell(&answer["message"]))));
    Ok(())
}

pub fn sandbox(place: &Place, limit: usize) -> Result<(), Failure> {
    let answer = place.get(&format!("/sandbox/messages?limit={limit}"))?;
    place.print(&answer, |answer| {
        let row = |message: &Value| {
            let mut row = cells(message, &["at", "to", "from", "kind"]);
            row.push(gist(message));
            row
        };
        let list: Vec<Vec<String>> = rows(answer, "messages").map(row).collect();
        table(&["AT", "TO", "FROM", "KIND", "CONTENT"], &list, "the phones of the sandbox have got nothing");
    });
    Ok(())
}
