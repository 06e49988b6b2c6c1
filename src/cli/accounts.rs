//! Accounts: how they stand, whether their gateways would take something, which groups they are in.

use serde_json::{Value, json};

use super::Failure;
use super::client::Place;
use super::show::{cells, rows};
use super::table::{cell, say, table};

/// A pace in a few words.
fn pace_gist(pace: &Value) -> String {
    let Some(fields) = pace.as_object() else { return cell(pace) };
    let said = ["rate", "burst", "per_recipient", "daily", "new_recipients", "jitter", "quiet"].into_iter();
    let said = said.filter_map(|name| fields.get(name).filter(|value| !value.is_null()).map(|value| (name, value)));
    said.map(|(name, value)| format!("{} {}", name.replace('_', " "), cell(value))).collect::<Vec<_>>().join(", ")
}

pub fn list(place: &Place) -> Result<(), Failure> {
    let answer = place.get("/accounts")?;
    place.print(&answer, |answer| {
        let row = |account: &Value| {
            let mut row = cells(account, &["name", "transport", "state", "backlog", "bad_messages"]);
            row.push(pace_gist(&account["pace"]));
            row.push(cell(&account["reason"]));
            row
        };
        let list: Vec<Vec<String>> = rows(answer, "accounts").map(row).collect();
        table(&["ACCOUNT", "TRANSPORT", "STATE", "BACKLOG", "BAD", "PACE", "REASON"], &list, "there are no accounts");
        for account in rows(answer, "accounts") {
            let name = cell(&account["name"]);
            if let (true, Some(reason)) = (account["state"] == "paused", account["reason"].as_str()) {
                say(format_args!(""));
                say(format_args!("{name} is paused: {reason}"));
            }
            if let Some(reason) = account["unheard"]["reason"].as_str() {
                let (count, at) = (&account["unheard"]["count"], cell(&account["unheard"]["at"]));
                say(format_args!(""));
                say(format_args!("{name} did not take what came for it ({count} times, last {at}): {reason}"));
            }
            if account["bad_messages"].as_u64().is_some_and(|count| count > 0) {
                let count = &account["bad_messages"];
                say(format_args!(""));
                say(format_args!("{name}: {count} messages are dead, rejected or unknown; see `postrider messages`"));
            }
        }
    });
    Ok(())
}

pub fn check(place: &Place, name: Option<&str>) -> Result<(), Failure> {
    let names: Vec<String> = match name {
        Some(name) => vec![name.to_owned()],
        None => rows(&place.get("/accounts")?, "accounts").map(|account| cell(&account["name"])).collect(),
    };
    let mut found = Vec::new();
    for name in names {
        found.push(place.post(&format!("/accounts/{name}/check"), &json!({}))?);
    }
    let fine = found.iter().all(|account| account["ok"] == true);
    let answer = json!({ "accounts": found });
    place.print(&answer, |answer| {
        for account in rows(answer, "accounts") {
            let state = if account["ok"] == true { "ok" } else { "cannot send" };
            let said = account["said"].as_str().unwrap_or_default();
            say(format_args!("{}: {state}: {said}", cell(&account["name"])));
        }
    });
    if fine { Ok(()) } else { Err(Failure::Reported) }
}

pub fn groups(place: &Place, name: &str) -> Result<(), Failure> {
    let answer = place.get(&format!("/accounts/{name}/groups"))?;
    place.print(&answer, |answer| {
        let list: Vec<Vec<String>> = rows(answer, "groups").map(|group| cells(group, &["id", "name"])).collect();
        table(&["GROUP", "NAME"], &list, "the phone is in no group");
    });
    Ok(())
}
