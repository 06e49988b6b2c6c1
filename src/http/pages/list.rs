//! What lists have in common: their chips, their steps from page to page, and what is asked for in their forms.

use jiff::Timestamp;
use jiff::civil::Date;

use super::look::Look;
use super::overview::said;
use crate::http::House;
use crate::http::api::Query;
use crate::http::error::Refused;
use crate::view::Counts;

/// One of several views of a list.
pub struct Chip {
    /// Where it leads.
    pub link: String,
    /// What it is called.
    pub text: &'static str,
    /// How many are there.
    pub count: String,
    /// Whether it is the one that is shown.
    pub here: bool,
}

/// Where a list goes on.
#[derive(Default)]
pub struct Steps {
    /// Its first page, when this is another one.
    pub newest: Option<String>,
    /// The page before.
    pub newer: Option<String>,
    /// The page behind.
    pub older: Option<String>,
}

/// The address of a list, with what it is asked for beside a state and a place.
pub struct Address<'a> {
    look: &'a Look,
    path: &'static str,
    kept: Vec<(&'static str, &'a str)>,
}

impl<'a> Address<'a> {
    /// Of the list at a path.
    pub fn new(look: &'a Look, path: &'static str, kept: &[(&'static str, &'a str)]) -> Self {
        Self { look, path, kept: kept.to_vec() }
    }

    /// Whether everything is shown, but for a state.
    pub fn is_whole(&self) -> bool {
        self.kept.iter().all(|(_, value)| value.is_empty())
    }

    /// The list, with these things asked for too.
    pub fn with(&self, pairs: &[(&str, &str)]) -> String {
        let all: Vec<_> = self.kept.iter().chain(pairs).copied().collect();
        format!("{}{}", self.path, self.look.query(&all))
    }

    /// A chip for each of these: states, what they are called, and the name of their count.
    pub fn chips(&self, kinds: &[(&str, &'static str, &str)], shown: &str, counts: Option<&Counts>) -> Vec<Chip> {
        // Counts are of everything: beside a filter they would say something else.
        let counts = counts.filter(|_| self.is_whole());
        let chip = |(states, text, count): &(&str, &'static str, &str)| Chip {
            link: self.with(&[("state", states)]),
            text,
            count: counts.and_then(|counts| counts.get(count)).map_or(String::new(), |count| said(*count)),
            here: shown == *states,
        };
        kinds.iter().map(chip).collect()
    }

    /// The steps from a page that was asked for by `query`, whose first row and whose next page are these.
    pub fn steps(&self, query: &Query, first: Option<String>, next: Option<String>) -> Steps {
        let state = query.get("state").unwrap_or_default();
        let is_newest = query.get("after").or(query.get("before")).is_none();
        Steps {
            newest: (!is_newest).then(|| self.with(&[("state", state)])),
            newer: first.filter(|_| !is_newest).map(|first| self.with(&[("state", state), ("before", &first)])),
            older: next.map(|next| self.with(&[("state", state), ("after", &next)])),
        }
    }
}

/// A day as a form has it, in the viewer's zone: when it begins and ends.
pub fn day(look: &Look, text: Option<&str>) -> Result<Option<(Timestamp, Timestamp)>, Refused> {
    let Some(text) = text else { return Ok(None) };
    let span = || {
        let date: Date = text.parse().ok()?;
        let from = date.to_zoned(look.zone.clone()).ok()?.timestamp();
        let to = date.tomorrow().ok()?.to_zoned(look.zone.clone()).ok()?.timestamp();
        Some((from, to))
    };
    span().map(Some).ok_or_else(|| Refused::bad(format!("`{text}` is no day such as 2026-10-26")))
}

/// The accounts that somebody may write by, first the likely one: `likely`, or the workspace's own.
pub fn senders(house: &House, likely: Option<&str>) -> Vec<String> {
    let ground = house.view.catalog.borrow().ground.accounts.clone();
    let first = likely.or(ground.default.as_deref());
    let mut all: Vec<String> = house.view.accounts.borrow().iter().map(|(account, _)| account.name.clone()).collect();
    all.sort_by_key(|name| first != Some(name.as_str()));
    all
}

/// The names of flows, for a form.
pub fn names(house: &House) -> Vec<String> {
    house.view.catalog.borrow().flows.keys().map(ToString::to_string).collect()
}
