//! People: who they are, and what was said.

use serde::Serialize;
use utoipa::ToSchema;

use super::{ArrivalWish, MessageRow, MessageWish, RunRow, RunWish, Seen, Time, View};
use crate::model::run::RunState;
use crate::plain::shortened;
use crate::store::records::MessageFilter;

/// Rows that are looked through for people.
const LOOKED_AT: usize = 400;
/// Letters of what was said last.
const PREVIEW: usize = 120;

/// A person with whom something was said lately.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PersonRow {
    /// An address.
    pub address: String,
    /// What the person is called.
    pub name: Option<String>,
    /// When something was said last.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// How that began.
    pub last: String,
}

/// One thing that was said.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Bubble {
    /// By us.
    Ours(Box<MessageRow>),
    /// By the person.
    Theirs {
        /// When it came.
        #[schema(value_type = String, format = DateTime)]
        at: Time,
        /// To this account.
        account: String,
        /// What was written.
        text: Option<String>,
        /// What became of it.
        outcome: &'static str,
    },
}

impl Bubble {
    /// When it was said.
    pub fn at(&self) -> Time {
        match self {
            Self::Ours(message) => message.created_at,
            Self::Theirs { at, .. } => *at,
        }
    }
}

/// A person, with what was said.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PersonWhole {
    /// The address that was asked for.
    pub address: String,
    /// What the person is called.
    pub name: Option<String>,
    /// Every address that leads there.
    pub addresses: Vec<String>,
    /// Accounts from which the person wants no more messages.
    pub opted_out: Vec<OptedOut>,
    /// Runs that wait for the person.
    pub waiting: Vec<RunRow>,
    /// What was said, oldest first.
    pub said: Vec<Bubble>,
    /// There is more before that.
    pub more: bool,
}

/// A person wants no more messages from an account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OptedOut {
    /// The account.
    pub account: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
}

impl View {
    /// People with whom something was said lately, the last one first.
    pub async fn people(&self, most: usize) -> Seen<Vec<PersonRow>> {
        let filter = MessageFilter { limit: LOOKED_AT, ..MessageFilter::default() };
        let sent = self.store.messages(filter).await?.rows;
        let sent =
            sent.into_iter().map(|message| (message.to.clone(), message.created_at, message.body.content.gist()));
        let wish = ArrivalWish { kind: Some("message".into()), limit: LOOKED_AT, ..ArrivalWish::default() };
        let came = self.arrivals(wish).await?.into_iter();
        let came = came.map(|arrival| (arrival.what, arrival.at.0, arrival.text.unwrap_or_default()));
        let mut all: Vec<_> = sent.chain(came).collect();
        all.sort_by_key(|(_, at, _)| std::cmp::Reverse(*at));
        let mut rows: Vec<PersonRow> = Vec::new();
        for (address, at, last) in all {
            if rows.len() >= most {
                break;
            }
            if !rows.iter().any(|row| row.address == address) {
                rows.push(PersonRow { address, name: None, at: Time(at), last: shortened(&last, PREVIEW) });
            }
        }
        let names = self.names(rows.iter().map(|row| row.address.as_str())).await?;
        for row in &mut rows {
            row.name = names.get(&row.address).cloned();
        }
        Ok(rows)
    }

    /// A person, with the last things that were said.
    pub async fn person(&self, who: &str, most: usize) -> Seen<PersonWhole> {
        let known = self.store.person(who).await?;
        let filter = MessageFilter { to: known.addresses.clone(), limit: most, ..MessageFilter::default() };
        let sent = self.messages(MessageWish { filter, counts: false }).await?;
        let more = sent.next.is_some();
        let recipient_name = sent.messages.iter().find_map(|message| message.name.clone());
        let wish = ArrivalWish {
            kind: Some("message".into()),
            people: known.addresses.clone(),
            limit: most,
            ..ArrivalWish::default()
        };
        let came = self.arrivals(wish).await?.into_iter().map(|arrival| Bubble::Theirs {
            at: arrival.at,
            account: arrival.account.unwrap_or_default(),
            text: arrival.text,
            outcome: arrival.outcome,
        });
        let ours = sent.messages.into_iter().map(|message| Bubble::Ours(Box::new(message)));
        let mut said: Vec<Bubble> = ours.chain(came).collect();
        said.sort_by_key(Bubble::at);
        let waits = RunWish { states: vec![RunState::Waiting], limit: LOOKED_AT, ..RunWish::default() };
        let mut waiting = self.runs(waits).await?.runs;
        waiting.retain(|run| {
            let who = run.waiting_for.as_ref().and_then(|waiting| waiting.who.as_ref());
            who.is_some_and(|who| known.addresses.contains(who))
        });
        let opted_out = known.opted_out.into_iter().map(|(account, since)| OptedOut { account, since: Time(since) });
        Ok(PersonWhole {
            address: who.to_owned(),
            name: known.name.or(recipient_name),
            addresses: known.addresses,
            opted_out: opted_out.collect(),
            waiting,
            said,
            more,
        })
    }
}
