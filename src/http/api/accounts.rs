//! `/accounts`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, time};
use crate::clock::rfc3339;
use crate::http::House;
use crate::http::error::answer;
use crate::model::policy::Pace;
use crate::units::format_duration;

pub async fn list(State(house): State<Arc<House>>) -> Answer {
    let mut rows = Vec::new();
    let accounts = house.accounts.borrow().clone();
    for (account, view) in accounts.iter() {
        let view = view.look();
        rows.push(json!({
            "name": account.name,
            "transport": account.kind,
            "state": if view.paused.is_some() { "paused" } else { "ready" },
            "reason": match (&view.paused, view.full_until.filter(|until| *until > house.clock.now())) {
                (Some((reason, _)), _) => Some(reason.clone()),
                (None, Some(until)) => Some(format!("its messages of the day are used up until {}", rfc3339(until))),
                (None, None) => None,
            },
            "link": view.link_down,
            "unheard": view.unheard.as_ref().map(|unheard| {
                json!({ "at": time(Some(unheard.at)), "reason": unheard.reason, "count": unheard.count })
            }),
            "probe_at": time(view.paused.as_ref().map(|(_, at)| *at)),
            "pace": pace(&account.pace),
            "backlog": house.store.backlog(&account.name).await?,
            "fallback": account.fallback.as_ref().map(|fallback| &fallback.name),
            "capabilities": account.transport.capabilities(),
        }));
    }
    Ok(answer(StatusCode::OK, &json!({ "accounts": rows })))
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
