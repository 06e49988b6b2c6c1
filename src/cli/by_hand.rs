//! Commands that decide: about people, phones of the sandbox, and edited scripts.

use serde_json::{Value, json};

use super::client::Place;
use super::table::{cell, say};
use super::{Failure, ReplyArgs};

pub fn reply(place: &Place, args: &ReplyArgs) -> Result<(), Failure> {
    let mut wish = json!({ "from": args.from, "text": args.text });
    for (name, value) in [("media", &args.media), ("account", &args.account)] {
        if let Some(value) = value {
            wish[name] = json!(value);
        }
    }
    let answer = place.post("/sandbox/messages", &wish)?;
    place.print(&answer, |answer| say(format_args!("message {} was typed", cell(&answer["id"]))));
    Ok(())
}

pub fn forget(place: &Place, recipient: &str) -> Result<(), Failure> {
    let answer = place.post("/forget", &json!({ "recipient": recipient }))?;
    place.print(&answer, |answer| {
        say(format_args!(
            "forgotten: {} messages, {} events, {} runs, {} files; the mark of it is {}",
            answer["messages"],
            answer["events"],
            answer["runs"],
            answer["files"],
            answer["mark"].as_str().unwrap_or_default()
        ));
    });
    Ok(())
}

fn call(call: &Value) -> String {
    // Longer than a cell: what differs may stand at the end.
    let request: String = call["request"].to_string().chars().take(600).collect();
    format!("{} {request}", cell(&call["kind"]))
}

pub fn simulate(place: &Place, run: &str) -> Result<(), Failure> {
    let answer = place.get(&format!("/runs/{run}/simulate"))?;
    place.print(&answer, show);
    match answer["differs"].is_null() {
        true => Ok(()),
        false => Err(Failure::Reported),
    }
}

fn show(answer: &Value) {
    let (entries, replayed) = (&answer["entries"], &answer["replayed"]);
    let differs = &answer["differs"];
    if differs.is_null() {
        say(format_args!("the same as far as it goes: {replayed} of {entries} recorded calls are made again"));
    } else {
        say(format_args!("differs after {replayed} of {entries} recorded calls, at #{}", differs["position"]));
        let recorded = &differs["recorded"];
        say(format_args!("  recorded  line {}: {}", cell(&recorded["line"]), call(recorded)));
        match differs["now"].is_null() {
            true => say(format_args!("  now       the script ends without it")),
            false => say(format_args!("  now       {}", call(&differs["now"]))),
        }
        return;
    }
    for entry in answer["new"].as_array().into_iter().flatten() {
        say(format_args!("  then      line {}: {}", cell(&entry["line"]), call(entry)));
    }
    if !answer["next"].is_null() {
        say(format_args!("  waits at  line {}: {}", cell(&answer["next"]["line"]), call(&answer["next"])));
    }
    if !answer["error"].is_null() {
        let error = &answer["error"];
        let message = error["message"].as_str().unwrap_or_default();
        say(format_args!("  {:8}  line {}: {message}", cell(&answer["ends"]), cell(&error["line"])));
    }
}

/// Prints a link that opens the dashboard.
pub fn open(place: &Place) -> Result<(), Failure> {
    let answer = place.post("/sessions", &json!({}))?;
    place.print(&answer, |answer| say(format_args!("{}", answer["link"].as_str().unwrap_or_default())));
    Ok(())
}
