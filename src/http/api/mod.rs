//! The API's routes, a file for each noun.

pub mod accounts;
pub mod by_hand;
pub mod engine;
pub mod flows;
pub mod messages;
pub mod occurrences;
pub mod people;
pub mod runs;
pub mod sandbox;
pub mod why;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::error::{Refused, answer};
use crate::plain::shortened;

/// What a route gives.
pub type Answer = Result<Response<Body>, Refused>;

/// Most rows of one page, and how many there are when nobody says.
pub const MOST: usize = 1_000;
const USUAL: usize = 100;
/// Most characters of a field's name that are told.
const LONGEST_KEY: usize = 64;

/// An answer that says yes.
pub fn fine(body: &impl Serialize) -> Answer {
    with(StatusCode::OK, body)
}

/// An answer with another status.
pub fn with(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_value(body);
    let body = body.map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    Ok(answer(status, &body))
}

/// Refuses a body with other fields than these; none at all is as good. A word that is written wrong would be passed
/// over without a sound.
pub fn known(body: &Value, known: &[&str]) -> Result<(), Refused> {
    let Some(map) = body.as_object() else {
        return if body.is_null() { Ok(()) } else { Err(Refused::bad("the body is a map")) };
    };
    let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
    let refused = Refused::bad(format!("`{}` is not known here", shortened(key, LONGEST_KEY)));
    Err(match known.is_empty() {
        true => refused.hint("it takes no fields"),
        false => refused.hint(format!("it takes {}", known.join(", "))),
    })
}

/// The query of a list, each name once; unknown names are refused.
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads it.
    pub fn read(text: Option<&str>, known: &[&str]) -> Result<Self, Refused> {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned();
        let map: BTreeMap<String, String> = pairs.filter(|(_, value)| !value.is_empty()).collect();
        match map.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) if known.is_empty() => Err(Refused::bad(format!("there is no filter `{name}`, nor any other"))),
            Some(name) => {
                Err(Refused::bad(format!("there is no filter `{name}`"))
                    .hint(format!("there are {}", known.join(", "))))
            }
            None => Ok(Self(map)),
        }
    }

    /// What was asked for.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same as a text of its own.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// What `parse` makes of it.
    pub fn parsed<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Refused> {
        self.get(name).map(parse).transpose().map_err(|error| Refused::bad(format!("`{name}`: {error}")))
    }

    /// Several words, with commas between them.
    pub fn words<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Refused> {
        let all = |text: &str| text.split(',').map(|word| parse(word.trim())).collect::<Result<Vec<_>, _>>();
        Ok(self.parsed(name, all)?.unwrap_or_default())
    }

    /// An instant.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Refused> {
        let sound = |text: &str| text.parse().map_err(|_| format!("`{text}` is no time such as 2026-12-01T09:00:00Z"));
        self.parsed(name, sound)
    }

    /// Whether it says so.
    pub fn flag(&self, name: &str) -> Result<bool, Refused> {
        let said = self.parsed(name, |text| match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            other => Err(format!("`{other}` is neither true nor false")),
        })?;
        Ok(said.unwrap_or_default())
    }

    /// How many rows.
    pub fn limit(&self) -> Result<usize, Refused> {
        let limit = self.parsed("limit", |text| match text.parse() {
            Ok(number @ 1..=MOST) => Ok(number),
            _ => Err(format!("it is a number from 1 to {MOST}")),
        })?;
        Ok(limit.unwrap_or(USUAL))
    }
}
