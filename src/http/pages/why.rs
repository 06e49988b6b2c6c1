//! One person or one flow, one day: what happened, and why.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use jiff::ToSpan;
use jiff::civil::Date;

use super::look::Look;
use super::{Asked, Frame, Page, drawn};
use crate::clock::rfc3339;
use crate::http::House;
use crate::http::api::why::told;
use crate::view::{Fact, Why, words};

#[derive(Template)]
#[template(path = "why.html")]
struct WhyPage {
    frame: Frame,
    /// What was asked for.
    of: String,
    day: String,
    /// Names of flows, to choose from.
    flows: Vec<String>,
    why: Option<Why>,
    /// Why there is no answer, and what to do instead.
    missing: Option<(String, Option<String>)>,
}

/// The page.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["of", "day"])?;
    let of = asked.query.text("of").unwrap_or_default();
    let day = asked.query.text("day");
    let (mut why, mut missing) = (None, None);
    if !of.trim().is_empty() {
        match told(&house, &of, day.as_deref()).await {
            Ok(found) => why = Some(found),
            Err(refused) => {
                let remedy = refused.remedy().map(|hint| words::sentence(&words::capital(hint)));
                missing = Some((refused.message().to_owned(), remedy));
            }
        }
    }
    let today = asked.look.now.to_zoned(asked.look.zone.clone()).date().to_string();
    let day = why.as_ref().map(|why| why.day.clone()).or(day).unwrap_or(today);
    let flows = house.view.catalog.borrow().flows.keys().map(ToString::to_string).collect();
    let frame = Frame::of(&house, &asked, "why", "Why?").await?;
    drawn(&WhyPage { frame, of, day, flows, why, missing })
}

impl WhyPage {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    /// The address of the same question for another day.
    fn other_day(&self, why: &Why, by: i64) -> String {
        let day = why.day.parse::<Date>().map(|day| day.saturating_add(by.days()).to_string());
        let query = [("of", why.subject.as_str()), ("day", day.as_deref().unwrap_or_default())];
        format!("/why{}", self.look().query(&query))
    }

    /// `Sunday 25 October 2026`.
    fn day_said(&self, why: &Why) -> String {
        why.day.parse::<Date>().map_or_else(|_| why.day.clone(), |day| day.strftime("%A %-d %B %Y").to_string())
    }

    /// A time of the day, in the zone that it is told in.
    fn clock(&self, why: &Why, fact: &Fact) -> String {
        let zone = jiff::tz::TimeZone::get(&why.timezone).unwrap_or_else(|_| self.look().zone.clone());
        fact.at.0.to_zoned(zone).strftime("%H:%M").to_string()
    }

    fn count(&self, why: &Why) -> String {
        words::many(why.facts.len() as u64, "thing", "things")
    }

    fn instant(&self, fact: &Fact) -> String {
        rfc3339(fact.at.0)
    }

    /// A gap is what other things follow from.
    fn class(&self, fact: &Fact) -> &'static str {
        match (fact.kind, fact.tone) {
            ("gap", _) => "cause",
            (_, "fail") => "cause fail",
            _ => "",
        }
    }

    fn is_person(&self, why: &Why) -> bool {
        !why.is_flow
    }
}
