//! The API's routes, a file for each noun.

pub mod accounts;
pub mod by_hand;
pub mod flows;
pub mod messages;
pub mod occurrences;
pub mod runs;
pub mod sandbox;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Response;
use jiff::Timestamp;
use serde_json::Value;

use super::error::Refused;
use crate::clock::rfc3339;

/// What a route gives.
pub type Answer = Result<Response<Body>, Refused>;

/// Most rows of one page, and how many there are when nobody says.
const MOST: usize = 1_000;
const USUAL: usize = 100;

/// The query of a list, each name once; unknown names are refused.
pub struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads it.
    pub fn read(text: Option<&str>, known: &[&str]) -> Result<Self, Refused> {
        let pairs = form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned();
        let map: BTreeMap<String, String> = pairs.filter(|(_, value)| !value.is_empty()).collect();
        match map.keys().find(|name| !known.contains(&name.as_str())) {
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

    /// What `parse` makes of it.
    pub fn parsed<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Refused> {
        self.get(name).map(parse).transpose().map_err(|error| Refused::bad(format!("`{name}`: {error}")))
    }

    /// An instant.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Refused> {
        let sound = |text: &str| text.parse().map_err(|_| format!("`{text}` is no time such as 2026-12-01T09:00:00Z"));
        self.parsed(name, sound)
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

/// An instant, or null.
fn time(instant: Option<Timestamp>) -> Value {
    instant.map_or(Value::Null, |instant| rfc3339(instant).into())
}
