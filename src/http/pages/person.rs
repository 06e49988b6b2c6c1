//! A conversation.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};

use super::list::senders;
use super::look::Look;
use super::{Asked, Frame, Page, drawn};
use crate::http::House;
use crate::http::error::Refused;
use crate::model::delivery::MessageState;
use crate::model::recipient::Recipient;
use crate::view::{Bubble, MessageRow, PersonRow, PersonWhole};

/// What either side said, on one page.
const SAID: usize = 60;
/// The same when more is asked for.
const MORE: usize = 400;

#[derive(Template)]
#[template(path = "person.html")]
struct PersonPage {
    frame: Frame,
    person: PersonWhole,
    people: Vec<PersonRow>,
    accounts: Vec<String>,
    all: bool,
}

/// The page.
pub async fn page(State(house): State<Arc<House>>, Path(who): Path<String>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["all"])?;
    let who = Recipient::read(&who, house.view.country()).map_err(Refused::bad)?.to_string();
    let all = asked.query.flag("all")?;
    let person = house.view.person(&who, if all { MORE } else { SAID }).await?;
    let last = person.said.last().map(|bubble| match bubble {
        Bubble::Ours(message) => message.account.as_str(),
        Bubble::Theirs { account, .. } => account,
    });
    let accounts = senders(&house, last);
    let title = person.name.clone().unwrap_or_else(|| super::look::phone(&who));
    drawn(&PersonPage {
        people: house.view.people(30).await?,
        frame: Frame::of(&house, &asked, "messages", title).await?,
        person,
        accounts,
        all,
    })
}

impl PersonPage {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn title(&self) -> String {
        self.person.name.clone().unwrap_or_else(|| super::look::phone(&self.person.address))
    }

    /// What was said, with the days between.
    fn rows(&self) -> Vec<(Option<String>, &Bubble)> {
        let mut before: Option<crate::view::Time> = None;
        let mut rows = Vec::new();
        for bubble in &self.person.said {
            let at = bubble.at();
            let fresh = before.is_none_or(|before| !self.look().same_day(&before, &at));
            rows.push((fresh.then(|| self.look().day(&at)), bubble));
            before = Some(at);
        }
        rows
    }

    fn class_of(&self, message: &MessageRow) -> &'static str {
        match message.state {
            MessageState::Unknown => "maybe",
            MessageState::Rejected | MessageState::Dead => "bad",
            MessageState::Scheduled | MessageState::Queued => "later",
            MessageState::Expired | MessageState::Cancelled => "later",
            _ => "",
        }
    }

    fn counts(&self) -> (usize, usize) {
        let ours = self.person.said.iter().filter(|bubble| matches!(bubble, Bubble::Ours(_))).count();
        (ours, self.person.said.len() - ours)
    }
}
