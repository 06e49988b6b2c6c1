//! The list of messages.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};

use super::list::{Address, Chip, Steps, day, names, senders};
use super::look::Look;
use super::{Asked, Frame, Page, ROWS, drawn};
use crate::http::House;
use crate::http::api::messages::state;
use crate::model::delivery::MessageState;
use crate::model::recipient::Recipient;
use crate::store::records::MessageFilter;
use crate::transport::sandbox;
use crate::view::{MessageRow, MessageWish, words};

#[derive(Template)]
#[template(path = "messages.html")]
struct Messages {
    frame: Frame,
    messages: Vec<MessageRow>,
    chips: Vec<Chip>,
    flows: Vec<String>,
    accounts: Vec<String>,
    senders: Vec<String>,
    person: String,
    flow: String,
    account: String,
    day: String,
    state: String,
    unknown: u64,
    steps: Steps,
    is_real: bool,
}

/// The messages.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["q", "flow", "account", "day", "state", "after", "before"])?;
    let query = &asked.query;
    let text = |name: &str| query.text(name).unwrap_or_default();
    let (person, flow, account, date, shown) = (text("q"), text("flow"), text("account"), text("day"), text("state"));
    let span = day(&asked.look, query.get("day"))?;
    // A phone in whatever writing, or words.
    let to = Recipient::read(&person, house.view.country()).ok().filter(|_| !person.is_empty());
    let filter = MessageFilter {
        to: match &to {
            Some(to) => house.view.store.person(&to.to_string()).await?.addresses,
            None => Vec::new(),
        },
        states: query.words("state", state)?,
        flow: query.text("flow"),
        account: query.text("account"),
        run: None,
        since: span.map(|(from, _)| from),
        until: span.map(|(_, to)| to),
        words: query.text("q").filter(|_| to.is_none()),
        after: query.parsed("after", str::parse)?,
        before: query.parsed("before", str::parse)?,
        limit: ROWS,
    };
    let list = house.view.messages(MessageWish { filter, counts: true }).await?;
    let kept = [("q", person.as_str()), ("flow", &flow), ("account", &account), ("day", &date)];
    let address = Address::new(&asked.look, "/messages", &kept);
    let kinds = [
        ("", "All", "all"),
        ("queued,sending", "Waiting", "queued"),
        ("unknown", "Not known", "unknown"),
        ("dead", "Given up", "dead"),
        ("rejected", "Refused", "rejected"),
        ("scheduled", "Planned", "scheduled"),
        ("delivered,read", "Delivered or read", ""),
    ];
    let chips = address.chips(&kinds, &shown, list.counts.as_ref());
    let first = list.messages.first().map(|message| message.id.to_string());
    let steps = address.steps(query, first, list.next.map(|next| next.to_string()));
    let unknown = list.counts.as_ref().and_then(|counts| counts.get("unknown")).map_or(0, |count| count.0.count);
    let all = house.view.accounts.borrow().clone();
    drawn(&Messages {
        chips,
        steps,
        unknown,
        messages: list.messages,
        flows: names(&house),
        senders: senders(&house, None),
        is_real: all.iter().any(|(account, _)| account.kind != sandbox::NAME),
        accounts: all.iter().map(|(account, _)| account.name.clone()).collect(),
        frame: Frame::of(&house, &asked, "messages", "Messages").await?,
        person,
        flow,
        account,
        day: date,
        state: shown,
    })
}

/// What a message says, in a line.
pub fn gist(message: &MessageRow) -> String {
    message.body.content.gist()
}

/// Whether a message can be tried once more.
pub fn can_retry(message: &MessageRow) -> bool {
    matches!(message.state, MessageState::Dead | MessageState::Rejected)
}

/// Whether a message can be taken back.
pub fn can_cancel(message: &MessageRow) -> bool {
    matches!(message.state, MessageState::Scheduled | MessageState::Queued)
}

/// Whether somebody has to say what became of it.
pub fn is_unknown(message: &MessageRow) -> bool {
    message.state == MessageState::Unknown
}

impl Messages {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    /// What can be decided about all of the list at once.
    fn together(&self) -> &'static str {
        match self.state.as_str() {
            "unknown" => "release",
            "dead" | "rejected" => "retry",
            _ => "",
        }
    }

    fn ids(&self) -> String {
        self.messages.iter().map(|message| message.id.to_string()).collect::<Vec<_>>().join(",")
    }

    fn tries(&self, message: &MessageRow) -> Vec<(u32, String, String)> {
        let one = |attempt: &crate::view::AttemptRow| {
            let reached: Vec<String> = attempt
                .reached
                .iter()
                .map(|reached| {
                    format!("{} {}", words::message(reached.state).text, self.look().short_text(reached.at.0))
                })
                .collect();
            let said = match reached.is_empty() {
                true => words::outcome(&attempt.outcome).unwrap_or(&attempt.outcome).to_owned(),
                false => reached.join(", "),
            };
            let error = attempt.error.as_ref().map_or(String::new(), |error| format!(": {error}"));
            (attempt.number, self.look().short_text(attempt.at.0), format!("{said}{error}"))
        };
        message.attempts.iter().map(one).collect()
    }
}
