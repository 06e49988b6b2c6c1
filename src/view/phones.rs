//! The phones of the sandbox.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{RunRow, RunWish, Seen, Time, View};
use crate::id::MessageId;
use crate::model::delivery::MessageState;
use crate::model::message::{Body, Content};
use crate::model::question::{Question, Wait};
use crate::model::run::RunState;

/// Messages of one phone that are shown.
const SHOWN: usize = 40;

/// A phone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PhoneRow {
    /// Its number, or another address.
    pub phone: String,
    /// What it is called.
    pub name: Option<String>,
    /// It gets nothing until it is switched on.
    pub off: bool,
    /// Messages that come as soon as it is on.
    pub waiting: usize,
    /// The last things that stand on it, oldest first.
    pub chat: Vec<Chat>,
    /// Runs that wait for it, first the one whose question stands on it.
    pub runs: Vec<RunRow>,
    /// Accounts from which the person wants no more messages.
    pub opted_out: Vec<String>,
}

/// Something that stands on a phone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Chat {
    /// Which.
    #[schema(value_type = String)]
    pub id: MessageId,
    /// The account that it came from, or went to.
    pub account: String,
    /// It was typed on the phone.
    pub typed: bool,
    /// What it says.
    #[schema(value_type = Object)]
    pub body: Body,
    /// When it came.
    #[schema(value_type = String, format = DateTime)]
    pub at: Time,
    /// What can be chosen there, by a touch.
    pub choices: Vec<String>,
    /// How far a message of ours is.
    #[schema(value_type = Option<String>)]
    pub state: Option<MessageState>,
}

impl View {
    /// The phones, each with its chat.
    pub async fn phones(&self) -> Seen<Vec<PhoneRow>> {
        let handsets = self.store.handsets().await?;
        let names = self.names(handsets.iter().map(|handset| handset.phone.as_str())).await?;
        let waits = RunWish { states: vec![RunState::Waiting], limit: 200, ..RunWish::default() };
        let mut waiting: BTreeMap<String, Vec<RunRow>> = BTreeMap::new();
        let mut open: BTreeMap<MessageId, Vec<String>> = BTreeMap::new();
        for run in self.runs(waits).await?.runs {
            if let Some(Question::Wait(Wait::Ask(asked))) =
                self.origin(run.id).await?.and_then(|origin| origin.pending).map(|pending| pending.question)
            {
                for id in [asked.message, asked.reminder, asked.repetition] {
                    open.insert(id, asked.choices.clone());
                }
            }
            if let Some(who) = run.waiting_for.as_ref().and_then(|waiting| waiting.who.clone()) {
                waiting.entry(who).or_default().push(run);
            }
        }
        let mut rows = Vec::with_capacity(handsets.len());
        for handset in handsets {
            let mut chat = Vec::new();
            for message in self.store.phone_messages(Some(handset.phone.clone()), SHOWN).await? {
                let state = match message.incoming {
                    true => None,
                    false => self.store.message(message.id).await?.map(|message| message.state),
                };
                let choices = match &message.body.content {
                    Content::Question { choices, .. } => choices.clone(),
                    Content::Poll { answers, .. } => answers.clone(),
                    _ => open.get(&message.id).cloned().unwrap_or_default(),
                };
                chat.push(Chat {
                    choices,
                    id: message.id,
                    account: message.account,
                    typed: message.incoming,
                    body: message.body,
                    at: Time(message.at),
                    state,
                });
            }
            chat.reverse();
            let held = |chat: &&Chat| matches!(chat.state, Some(MessageState::Accepted | MessageState::Sent));
            let mut runs = waiting.remove(&handset.phone).unwrap_or_default();
            runs.sort_by_key(|run| run.waiting_for.as_ref().is_some_and(|waiting| waiting.behind));
            let known = self.store.person(&handset.phone).await?;
            rows.push(PhoneRow {
                opted_out: known.opted_out.into_iter().map(|(account, _)| account).collect(),
                name: names.get(&handset.phone).cloned(),
                off: handset.off,
                waiting: if handset.off { chat.iter().filter(held).count() } else { 0 },
                chat,
                runs,
                phone: handset.phone,
            });
        }
        Ok(rows)
    }
}
