//! Messages.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Serialize;
use utoipa::ToSchema;

use super::{Count, Counts, Seen, Time, View};
use crate::clock::from_millis;
use crate::id::{MessageId, RunId};
use crate::model::delivery::{Degraded, MessageState};
use crate::model::message::Body;
use crate::model::phone::person_of;
use crate::outbox::why;
use crate::store::records::{MessageFilter, MessageRecord};

/// A message as lists show it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageRow {
    /// Which.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// The run that wrote it; none when it was sent by hand.
    #[schema(value_type = Option<String>)]
    pub run: Option<RunId>,
    /// Name of the flow; empty when it was sent by hand.
    pub flow: String,
    /// The account that sends it.
    pub account: String,
    /// Canonical recipient.
    pub to: String,
    /// What the person is called.
    pub name: Option<String>,
    /// `text`, `link`, `image`, ...
    pub kind: &'static str,
    /// What it says.
    #[schema(value_type = Object)]
    pub body: Body,
    /// `scheduled`, `queued`, `sending`, `accepted`, `sent`, `delivered`, `read`, `unknown`, `rejected`, `dead`,
    /// `expired` or `cancelled`.
    #[schema(value_type = String)]
    pub state: MessageState,
    /// Why it is where it is, in one sentence.
    pub why: Option<String>,
    /// The same in parts.
    pub waits: Option<Waits>,
    /// Its tries.
    pub attempts: Vec<AttemptRow>,
    /// The gateway's id.
    pub provider_id: Option<String>,
    /// Its parts, when it needs several requests.
    pub parts: Vec<PartRow>,
    /// What was changed on the way.
    #[schema(value_type = Vec<Object>)]
    pub degraded: Vec<Degraded>,
    /// How often its tracked link was followed.
    pub clicks: Option<Clicks>,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Time,
    /// Not before this.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<Time>,
}

/// Why a message is where it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Waits {
    /// `schedule`, `pause`, `retry`, `order`, `daily`, `new_recipients`, `quiet`, `pace`, `unknown` or `end`.
    pub kind: &'static str,
    /// When that changes by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Time>,
    /// As the gateway or the account gives it.
    pub reason: Option<String>,
}

/// One try.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AttemptRow {
    /// Counted from 1.
    pub number: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// The account that it was made through.
    pub account: String,
    /// `open`, a state, or the class of an error.
    pub outcome: String,
    /// What the gateway said.
    pub error: Option<String>,
    /// What it has come to since.
    pub reached: Vec<Reached>,
}

/// A state that a message has come to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reached {
    /// `accepted`, `sent`, `delivered` or `read`.
    #[schema(value_type = String)]
    pub state: MessageState,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
}

/// A part of a message that needs several requests.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PartRow {
    /// Its kind.
    pub kind: String,
    /// Where it stands.
    pub state: &'static str,
    /// The gateway's id.
    pub provider_id: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// How often a link was followed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Clicks {
    /// How often.
    pub count: u32,
    /// When first.
    #[schema(value_type = String, format = DateTime)]
    pub first_at: Time,
}

/// A page of messages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageList {
    /// Newest first.
    pub messages: Vec<MessageRow>,
    /// Where to go on: `after` of the next page.
    #[schema(value_type = Option<String>)]
    pub next: Option<MessageId>,
    /// How many there are, by state; counted up to 10,000.
    #[schema(value_type = Object)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
}

/// Which messages are wanted.
#[derive(Clone, Debug, Default)]
pub struct MessageWish {
    /// What is looked for.
    pub filter: MessageFilter,
    /// Count all of them by state.
    pub counts: bool,
}

impl View {
    /// A page of messages.
    pub async fn messages(&self, wish: MessageWish) -> Seen<MessageList> {
        let page = self.store.messages(wish.filter).await?;
        let counts = match wish.counts {
            true => Some(self.message_counts().await?),
            false => None,
        };
        Ok(MessageList { messages: self.message_rows(&page.rows).await?, next: page.next, counts })
    }

    /// How many messages there are, by state.
    pub async fn message_counts(&self) -> Seen<Counts> {
        let counted = self.store.message_counts().await?;
        let by_state = counted.by_state.iter().map(|(state, count)| (state.name(), Count(*count)));
        Ok(by_state.chain([("all", Count(counted.all))]).collect())
    }

    /// One message.
    pub async fn message(&self, id: MessageId) -> Seen<Option<MessageRow>> {
        let Some(message) = self.store.message(id).await? else { return Ok(None) };
        Ok(self.message_rows(std::slice::from_ref(&message)).await?.pop())
    }

    /// Messages as they are shown, each with why it waits.
    pub async fn message_rows(&self, messages: &[MessageRecord]) -> Seen<Vec<MessageRow>> {
        let now = self.clock.now();
        let names = self.names(messages.iter().map(|message| message.to.as_str())).await?;
        let mut rows = Vec::with_capacity(messages.len());
        // Of a recipient's queued messages all but the first wait for order.
        let mut ahead: HashSet<(&str, Cow<'_, str>)> = HashSet::new();
        let accounts = self.accounts.borrow().clone();
        let mut lanes = HashMap::new();
        for message in messages.iter().rev() {
            let lane = lanes.entry(message.account.as_str()).or_insert_with(|| {
                let lane = accounts.iter().find(|(account, _)| account.name == message.account);
                lane.map(|(account, view)| (account, view.look()))
            });
            let open = matches!(message.state, MessageState::Queued | MessageState::Sending);
            let behind = open && !ahead.insert((message.account.as_str(), person_of(&message.to)));
            let lane = lane.as_ref().map(|(account, view)| (*account, view));
            let name = names.get(&message.to).cloned().or_else(|| message.body.options.recipient_name.clone());
            rows.push(row(message, name, why(message, lane, behind, now)));
        }
        rows.reverse();
        Ok(rows)
    }
}

fn row(message: &MessageRecord, name: Option<String>, why: Option<crate::outbox::Why>) -> MessageRow {
    let reached = |(state, at): &(MessageState, i64)| Reached { state: *state, at: Time(from_millis(*at)) };
    let attempts = message.attempts.iter().map(|attempt| AttemptRow {
        number: attempt.number,
        at: Time(from_millis(attempt.at)),
        account: attempt.account.as_ref().unwrap_or(&message.account).clone(),
        outcome: attempt.outcome.name().to_owned(),
        error: attempt.error.clone(),
        reached: attempt.reached.iter().map(reached).collect(),
    });
    let parts = message.parts.iter().map(|part| PartRow {
        kind: part.kind.to_string(),
        state: part.state.name(),
        provider_id: part.provider_id.clone(),
        error: part.error.clone(),
    });
    let waits =
        why.as_ref().map(|why| Waits { kind: why.kind, until: why.until.map(Time), reason: why.reason.clone() });
    MessageRow {
        id: message.id,
        run: message.run,
        flow: message.flow.clone(),
        account: message.account.clone(),
        to: message.to.clone(),
        name,
        kind: message.body.content.kind(),
        body: message.body.clone(),
        state: message.state,
        why: why.map(|why| why.text),
        waits,
        attempts: attempts.collect(),
        provider_id: message.provider_id.clone(),
        parts: parts.collect(),
        degraded: message.degraded.clone(),
        clicks: message.clicks.map(|(count, first)| Clicks { count, first_at: Time(first) }),
        created_at: Time(message.created_at),
        due_at: message.due_at.map(Time),
    }
}
