//! `/accounts`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, time};
use crate::clock::rfc3339;
use crate::http::House;
use crate::http::error::{Refused, answer};
use crate::model::policy::Pace;
use crate::outbox::{Account, SharedView};
use crate::units::{format_duration, nearest};

pub async fn list(State(house): State<Arc<House>>) -> Answer {
    let mut rows = Vec::new();
    let accounts = house.accounts.borrow().clone();
    let bad = house.store.bad_messages().await?;
    for (account, view) in accounts.iter() {
        let view = view.look();
        // Until something has gone out, the look at the gateway tells.
        let missed = view.checked.as_ref().filter(|_| !view.sends).and_then(|(_, found)| found.as_ref().err());
        let closed = view.paused.as_ref().map(|(reason, _)| reason).or(missed);
        rows.push(json!({
            "name": account.name,
            "transport": account.kind,
            "state": if closed.is_some() { "paused" } else { "ready" },
            "reason": match (closed, view.full_until.filter(|until| *until > house.clock.now())) {
                (Some(reason), _) => Some(reason.clone()),
                (None, Some(until)) => Some(format!("its messages of the day are used up until {}", rfc3339(until))),
                (None, None) => None,
            },
            "checked": view.checked.as_ref().map(|(at, found)| checked(*at, found)),
            "link": view.link_down,
            "unheard": view.unheard.as_ref().map(|unheard| {
                json!({ "at": time(Some(unheard.at)), "reason": unheard.reason, "count": unheard.count })
            }),
            "probe_at": time(view.paused.as_ref().map(|(_, at)| *at)),
            "pace": pace(&account.pace),
            "since": time(view.paused_since),
            "backlog": house.store.backlog(&account.name).await?,
            "bad_messages": bad.iter().filter(|(name, ..)| *name == account.name).map(|(.., count)| count).sum::<u64>(),
            "fallback": account.fallback.as_ref().map(|fallback| &fallback.name),
            "capabilities": account.transport.capabilities(),
        }));
    }
    Ok(answer(StatusCode::OK, &json!({ "accounts": rows })))
}

/// What a look at a gateway gave.
fn checked(at: Timestamp, found: &Result<String, String>) -> Value {
    let (Ok(said) | Err(said)) = found;
    json!({ "at": time(Some(at)), "ok": found.is_ok(), "said": said })
}

fn named<'a>(accounts: &'a [(Account, SharedView)], name: &str) -> Result<&'a (Account, SharedView), Refused> {
    let found = accounts.iter().find(|(account, _)| account.name == name);
    found.ok_or_else(|| {
        let refused = Refused::missing(format!("there is no account `{name}`"));
        match nearest(name, accounts.iter().map(|(account, _)| account.name.as_str())) {
            Some(near) => refused.hint(format!("did you mean `{near}`?")),
            None => refused.hint("`postrider accounts` lists them"),
        }
    })
}

/// Asks the gateway whether something could be sent now.
pub async fn check(State(house): State<Arc<House>>, Path(name): Path<String>) -> Answer {
    let accounts = house.accounts.borrow().clone();
    let (account, view) = named(&accounts, &name)?;
    let found = account.transport.check().await;
    let now = house.clock.now();
    view.checked(now, found.clone());
    let mut said = checked(now, &found);
    said["name"] = account.name.as_str().into();
    Ok(answer(StatusCode::OK, &said))
}

/// The groups that the account's phone is in.
pub async fn groups(State(house): State<Arc<House>>, Path(name): Path<String>) -> Answer {
    let accounts = house.accounts.borrow().clone();
    let (account, _) = named(&accounts, &name)?;
    let groups = account.transport.groups().await;
    let groups = groups.map_err(|why| Refused::new(StatusCode::BAD_GATEWAY, "gateway", why))?;
    Ok(answer(StatusCode::OK, &json!({ "groups": groups })))
}

fn pace(pace: &Pace) -> Value {
    if *pace == Pace::UNLIMITED {
        return "unlimited".into();
    }
    let rate = |rate: (u32, std::time::Duration)| format!("{}/{}", rate.0, format_duration(rate.1));
    json!({
        "rate": pace.rate.map(rate),
        "burst": pace.burst,
        "per_recipient": pace.per_recipient.map(rate),
        "daily": pace.daily,
        "new_recipients": pace.new_recipients,
        "jitter": pace.jitter.map(format_duration),
        "quiet": pace.quiet.map(|quiet| quiet.to_string()),
    })
}
