//! One attempt: fits the message to the gateway, sends its parts, decides, and records.

use std::sync::Arc;

use jiff::Timestamp;

use super::Account;
use super::addresses::{all_handed_out, spare};
use super::caught::{caught, tried};
use super::link_tracking::track;
use super::outcome::{Outcome, classify};
use super::pace::distance;
use super::permits::Permit;
use super::preparer::Preparer;
use super::reply_window::window;
use crate::clock::after;
use crate::id::MessageId;
use crate::model::delivery::{Degraded, ErrorClass, MessageState, Part, Receipt, Remedy, SendError};
use crate::model::message::{Body, Source};
use crate::model::phone;
use crate::model::policy::OnUnsupported;
use crate::model::recipient::Recipient;
use crate::store::records::{Claimed, Settlement, Verdict};
use crate::store::{STORE_REST, Store, StoreError};
use crate::transport::Outgoing;
use crate::transport::answer::readable;

/// Most bytes of an error that is kept.
const LONGEST_ERROR: usize = 4096;

/// All that one attempt needs.
pub struct Attempt {
    /// Who sends.
    account: Arc<Account>,
    /// Where it is recorded.
    store: Arc<dyn Store>,
    /// What messages need before they can go.
    preparer: Preparer,
    /// Leave to touch the wire.
    permit: Permit,
    /// When it last touched the wire.
    sent_at: Option<Timestamp>,
    /// It stands in the store as one that is only being prepared.
    preparing: bool,
    /// Changes by which it was cut, to be recorded before the wire is touched.
    cut: Vec<Degraded>,
    /// How often the account has paused for the message while others went out.
    blamed: u32,
}

/// A panic outside of the transport, where nothing touches the wire. Of several parts an earlier one may be
/// in doubt: then nothing is tried again by itself.
fn broken(panic: &str, parts: &[Part]) -> SendError {
    let class = match parts.iter().any(Part::is_in_doubt) {
        true => ErrorClass::Ambiguous,
        false => ErrorClass::Upstream { retry_after: None },
    };
    SendError::new(class, breakdown("the attempt", panic))
}

/// A defect in words.
pub fn breakdown(what: &str, panic: &str) -> String {
    format!("{what} broke down, which is a defect, please report it: {panic}")
}

/// An error as it is kept: one line that can be read, and no more than a page of it.
fn kept(error: &str) -> String {
    let mut line = readable(error);
    line.truncate(line.floor_char_boundary(LONGEST_ERROR));
    line
}

impl Attempt {
    /// One that has touched nothing yet.
    pub fn new(account: Arc<Account>, store: Arc<dyn Store>, preparer: Preparer, permit: Permit, blamed: u32) -> Self {
        Self { account, store, preparer, permit, sent_at: None, preparing: false, cut: Vec::new(), blamed }
    }

    /// Sends, decides, and records.
    pub async fn make(mut self, message: Claimed) -> Outcome {
        let (id, tries, opened) = (message.id, message.tries, message.opened.clone());
        let mut parts = message.parts.clone();
        let result = caught(|| self.send(message, &mut parts)).await;
        let result = result.unwrap_or_else(|panic| Err(broken(&panic, &parts)));
        let result = result.map_err(|error| SendError { message: kept(&error.message), ..error });
        // Waiting for the store is not the gateway's concern.
        let Self { account, store, preparer, permit, sent_at, blamed, .. } = self;
        drop(permit);
        let now = preparer.clock.now();
        if let Err(error) = &result {
            // The message has it on record; its bad end, and the account's pause, are told of elsewhere.
            tracing::debug!(account = %account.name, id = %id, class = error.class.name(), "{}", error.message);
        }
        let (verdict, action) = classify(result, tries, blamed, &account.retry, now, id.chance() ^ u64::from(tries));
        loop {
            let (parts, opened) = (parts.clone(), opened.clone());
            let settlement = Settlement { id, at: now, verdict: verdict.clone(), parts, opened };
            match tried(|| store.settle(settlement)).await {
                Ok(()) => {
                    let reached = matches!(verdict, Verdict::Reached { .. });
                    return Outcome { action, reached, sent_at, at: now };
                }
                // What the gateway said must not be lost: it is recorded as soon as the store
                // takes writes again. If the engine dies before, the message is unknown.
                Err(error) => tracing::error!(id = %id, error, "an attempt's end cannot be recorded"),
            }
            preparer.clock.rest(STORE_REST).await;
        }
    }

    async fn send(&mut self, message: Claimed, known: &mut Vec<Part>) -> Result<Receipt, SendError> {
        let invalid = |error: String| SendError::new(ErrorClass::Invalid, error);
        let to = Recipient::from_canonical(&message.to).map_err(invalid)?;
        // Before a part of it goes out, and before anything is fetched for it.
        self.account.transport.raw().check(&message.body.options.extra, [])?;
        let capabilities = self.account.transport.capabilities();
        capabilities.addresses(&to).map_err(|error| SendError::new(ErrorClass::Unsupported, error))?;
        let Claimed { id, mut body, preparing, .. } = message;
        self.preparing = preparing;
        if capabilities.window && body.content.kind() != "template" {
            window(&*self.store, &self.account.name, &to, self.preparer.clock.now()).await?;
        }
        if known.is_empty() {
            if body.content.kind() == "link" && (capabilities.cards || body.content.names_addresses()) {
                self.permit.release();
            }
            let mut degraded = self.preparer.cards.fill(&mut body.content, capabilities).await;
            if let Recipient::Phone(digits) = &to
                && !phone::is_known(digits)
            {
                // Each message says so itself; a line for each would be a flood.
                tracing::debug!(account = %self.account.name, message = %id, "the numbering plan knows no number {to}");
                let action = "sent as it is written: the numbering plan knows no such number".into();
                degraded.push(Degraded { field: "to".into(), action });
            }
            let strict = self.policy(&body) == OnUnsupported::Strict;
            degraded.append(&mut spare(&self.preparer.fetch, &mut body.content, capabilities, strict).await?);
            track(&self.preparer.key, &mut body.content, id, self.account.public_url.as_ref())?;
            let mut fitted = self.fitted(body)?;
            degraded.append(&mut fitted.degraded);
            if let [_] = fitted.parts.as_slice()
                && let Some(body) = fitted.parts.pop()
            {
                let mut receipt = self.part(id, 0, &to, body, None).await?;
                degraded.append(&mut receipt.degraded);
                return Ok(Receipt { degraded, ..receipt });
            }
            let main = fitted.main;
            known.extend(fitted.parts.into_iter().enumerate().map(|(place, body)| Part::new(body, place == main)));
            self.cut = degraded;
        } else {
            self.cut_again(known)?;
        }
        self.parts(id, &to, known).await
    }

    fn fitted(&self, body: Body) -> Result<crate::model::fit::Fitted, SendError> {
        let policy = self.policy(&body);
        self.account.transport.capabilities().adapt(body, policy, self.account.public_url.is_some())
    }

    fn policy(&self, body: &Body) -> OnUnsupported {
        body.options.on_unsupported.unwrap_or(self.account.on_unsupported)
    }

    /// A message stays as it was cut first. What of it is not out yet is fitted again to what the
    /// account can do by now.
    fn cut_again(&mut self, known: &mut Vec<Part>) -> Result<(), SendError> {
        let mut parts = Vec::with_capacity(known.len());
        for part in std::mem::take(known) {
            if part.is_out() {
                parts.push(part);
                continue;
            }
            let mut fitted = self.fitted(part.body.clone())?;
            self.cut.append(&mut fitted.degraded);
            let main = fitted.main;
            let pieces = fitted.parts.into_iter().enumerate();
            parts.extend(pieces.map(|(place, body)| Part::new(body, part.main && place == main)));
        }
        *known = parts;
        Ok(())
    }

    /// Sends one part. What it needs is fetched first; that it touches the wire is on disk before
    /// it does: `mark` does it for one of several parts.
    async fn part(
        &mut self,
        id: MessageId,
        part: u32,
        to: &Recipient,
        body: Body,
        mark: Option<Vec<Part>>,
    ) -> Result<Receipt, SendError> {
        let capabilities = self.account.transport.capabilities();
        let has_file = body.content.media().is_some_and(|media| matches!(media.source, Source::Url { .. }));
        if has_file || body.content.names_addresses() {
            self.permit.release();
        }
        all_handed_out(&self.preparer.fetch, &body.content, self.account.public_url.as_ref()).await?;
        let file = self.preparer.attachments.of(&body.content, capabilities, self.account.public_url.as_ref()).await?;
        self.permit.acquire().await;
        let marked: Result<(), StoreError> = match mark {
            Some(parts) => {
                self.store.note_parts(id, parts, std::mem::take(&mut self.cut), self.preparer.clock.now()).await
            }
            None if self.preparing => self.store.touch(id).await,
            None => Ok(()),
        };
        // Nothing has gone out by then.
        let upstream =
            |error: StoreError| SendError::new(ErrorClass::Upstream { retry_after: None }, error.to_string());
        marked.map_err(upstream)?;
        let strict = self.policy(&body) == OnUnsupported::Strict;
        self.sent_at = Some(self.preparer.clock.now());
        let outgoing = Outgoing { id, part, to: to.clone(), body, strict, file };
        let sent = caught(|| self.account.transport.send(outgoing)).await;
        // How far it had come nobody knows.
        sent.unwrap_or_else(|panic| Err(SendError::new(ErrorClass::Ambiguous, breakdown("the transport", &panic))))
    }

    /// Sends what is not out yet of several parts, so that none is ever sent twice for the sake of
    /// another.
    async fn parts(&mut self, id: MessageId, to: &Recipient, known: &mut [Part]) -> Result<Receipt, SendError> {
        let mut degraded: Vec<Degraded> = Vec::new();
        let mut doubt = None;
        let mut begun = false;
        for place in 0..known.len() {
            if known[place].is_out() {
                continue;
            }
            if std::mem::replace(&mut begun, true) {
                self.rest().await;
            }
            let body = known[place].body.clone();
            let mut marked = known.to_vec();
            marked[place].state = MessageState::Sending;
            match self.part(id, place as u32, to, body, Some(marked)).await {
                Ok(mut receipt) => {
                    degraded.append(&mut receipt.degraded);
                    let part = &mut known[place];
                    (part.state, part.provider_id, part.error) = (receipt.state, receipt.provider_id, None);
                    // Before the next one is waited for: what the gateway said of this one is certain.
                    if place + 1 < known.len()
                        && let Err(error) =
                            self.store.note_parts(id, known.to_vec(), Vec::new(), self.preparer.clock.now()).await
                    {
                        tracing::error!(id = %id, %error, "a part's end is recorded with the next one");
                    }
                }
                Err(error) => {
                    known[place].error = Some(kept(&error.message));
                    known[place].state = match error.class.remedy() {
                        Remedy::Doubt => MessageState::Unknown,
                        Remedy::Refuse => MessageState::Rejected,
                        Remedy::Retry | Remedy::Pause => MessageState::Queued,
                    };
                    match error.class {
                        // An unknown one holds back nothing behind it, ...
                        ErrorClass::Ambiguous => {
                            known[place].provider_id.clone_from(&error.provider_id);
                            doubt = Some(error);
                        }
                        // ... but as long as one is, nothing is tried again by itself: the unknown
                        // one would go along.
                        _ => return Err(doubt.unwrap_or(error)),
                    }
                }
            }
        }
        if let Some(error) = doubt {
            return Err(error);
        }
        // The message is as far as the part that is furthest behind.
        let state = known.iter().map(|part| part.state).min().unwrap_or(MessageState::Accepted);
        let provider_id = known.iter().find(|part| part.main).and_then(|part| part.provider_id.clone());
        Ok(Receipt { state, provider_id, chat: None, degraded })
    }

    /// The parts of a message keep the distance that messages to one recipient keep.
    async fn rest(&mut self) {
        if let Some(wait) = distance(&self.account.pace) {
            self.permit.release();
            let clock = self.preparer.clock.clone();
            // However long it took until the part's end was on record.
            let sent_at = self.sent_at.unwrap_or_else(|| clock.now());
            clock.sleep_until(after(sent_at, wait), sent_at).await;
        }
    }
}
