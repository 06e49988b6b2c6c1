//! One attempt: fits the message to the gateway, sends its parts, decides, and records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::Account;
use super::supply::Supply;
use super::verdict::{Effect, decide};
use crate::clock::after;
use crate::id::MessageId;
use crate::model::delivery::{Degraded, ErrorClass, MessageState, Part, Receipt, Remedy, SendError};
use crate::model::message::Body;
use crate::model::policy::OnUnsupported;
use crate::model::recipient::Recipient;
use crate::store::Store;
use crate::store::rows::{Claimed, Settlement, Verdict};
use crate::transport::Outgoing;

/// After a failure of the store it is tried again then.
const STORE_REST: Duration = Duration::from_secs(1);
/// How long people can be written to freely after they wrote.
const WINDOW: Duration = Duration::from_secs(86_400);
/// Mexico, Argentina, Brazil: a digit more or less is the same phone.
const REWRITTEN: [&str; 3] = ["52", "54", "55"];

/// All that one attempt needs.
pub struct Attempt {
    /// Who sends.
    pub account: Arc<Account>,
    /// Where it is recorded.
    pub store: Arc<dyn Store>,
    /// Where files and cards come from.
    pub supply: Supply,
    /// Its place on the wire.
    pub in_flight: OnWire,
}

/// A place on the wire, given back when dropped: also by a task that breaks down.
pub struct OnWire(pub Arc<AtomicUsize>);

impl Drop for OnWire {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An attempt without its place on the wire, which is given back as soon as the gateway has answered:
/// waiting for the store then holds up nobody.
struct Wired {
    account: Arc<Account>,
    store: Arc<dyn Store>,
    supply: Supply,
}

impl Attempt {
    /// Sends, decides, and records; gives what it means for the lane, and whether the gateway took
    /// anything.
    pub async fn make(self, message: Claimed) -> (Effect, bool) {
        let Self { account, store, supply, in_flight } = self;
        let wired = Wired { account, store, supply };
        let (id, tries) = (message.id, message.tries);
        let mut parts = message.parts.clone();
        let result = wired.send(message, &mut parts).await;
        drop(in_flight);
        let Wired { account, store, supply } = wired;
        let now = supply.clock.now();
        if let Err(error) = &result {
            tracing::warn!(account = %account.name, id = %id, class = error.class.name(), "{}", error.message);
        }
        let chance = u64::from_be_bytes(id.as_bytes()[8..].try_into().unwrap_or_default());
        let (verdict, effect) =
            decide(result, tries, account.fallback.is_some(), &account.retry, now, chance ^ u64::from(tries));
        loop {
            let settlement = Settlement { id, at: now, verdict: verdict.clone(), parts: parts.clone() };
            match store.settle(settlement).await {
                Ok(()) => return (effect, matches!(verdict, Verdict::Reached { .. })),
                // What the gateway said must not be lost: it is recorded as soon as the store
                // takes writes again. If the engine dies before, the message is unknown.
                Err(error) => tracing::error!(id = %id, %error, "an attempt's end cannot be recorded"),
            }
            supply.clock.sleep_until(after(supply.clock.now(), STORE_REST)).await;
        }
    }
}

impl Wired {
    async fn send(&self, message: Claimed, known: &mut Vec<Part>) -> Result<Receipt, SendError> {
        let invalid = |error: String| SendError::new(ErrorClass::Invalid, error);
        let to = Recipient::from_canonical(&message.to).map_err(invalid)?;
        let capabilities = self.account.transport.capabilities();
        capabilities.addresses(&to).map_err(|error| SendError::new(ErrorClass::Unsupported, error))?;
        let mut body = message.body;
        if capabilities.window && body.content.kind() != "template" {
            self.window(&to).await?;
        }
        let filled = self.supply.fill_card(&mut body.content, capabilities).await;
        self.supply.track(&mut body.content, message.id, self.account.public_url.as_ref())?;
        let policy = body.options.on_unsupported.unwrap_or(self.account.on_unsupported);
        let mut fitted = capabilities.adapt(body, policy, self.account.public_url.is_some())?;
        let mut degraded = filled;
        degraded.append(&mut fitted.degraded);
        let mut receipt = match fitted.parts.len() {
            1 if known.is_empty() => match fitted.parts.pop() {
                Some(body) => self.part(message.id, 0, &to, body).await?,
                None => return Err(invalid("the message is empty".into())),
            },
            _ => self.parts(message.id, &to, fitted.parts, fitted.main, known).await?,
        };
        degraded.append(&mut receipt.degraded);
        receipt.degraded = degraded;
        Ok(receipt)
    }

    /// Refuses what would arrive only within 24 hours after the person wrote last, when it is known
    /// that these have passed: the account must have been listening for as long, and hear still.
    ///
    /// # Errors
    /// [`ErrorClass::WindowClosed`].
    async fn window(&self, to: &Recipient) -> Result<(), SendError> {
        // Groups have no window; of some countries' phones the gateways know another writing.
        let told = match to {
            Recipient::Phone(digits) => !REWRITTEN.iter().any(|country| digits.starts_with(country)),
            Recipient::Bsuid(_) => true,
            _ => false,
        };
        if !told {
            return Ok(());
        }
        let now = self.supply.clock.now();
        let heard = self.store.heard(&self.account.name, &to.to_string()).await;
        // What cannot be read is not held against the message.
        let heard = heard.unwrap_or_default();
        let recent = |at: Option<Timestamp>| at.is_some_and(|at| after(at, WINDOW) > now);
        let listens = recent(heard.latest) && !recent(heard.since);
        // Somebody who hides the phone may be anybody.
        if !listens || recent(heard.last) || (recent(heard.hidden) && matches!(to, Recipient::Phone(_))) {
            return Ok(());
        }
        let message = "this person has not written in the last 24 hours, so only a template would arrive; send one \
            with `send(to, #{ kind: \"template\", ... })`";
        Err(SendError::new(ErrorClass::WindowClosed, message))
    }

    async fn part(&self, id: MessageId, part: u32, to: &Recipient, body: Body) -> Result<Receipt, SendError> {
        let capabilities = self.account.transport.capabilities();
        let file = self.supply.file(&body.content, capabilities, self.account.public_url.as_ref()).await?;
        let policy = body.options.on_unsupported.unwrap_or(self.account.on_unsupported);
        let strict = policy == OnUnsupported::Strict;
        self.account.transport.send(Outgoing { id, part, to: to.clone(), body, strict, file }).await
    }

    /// Sends what is not out yet of several parts. How far it came is on disk before each of them
    /// touches the wire, so that none is ever sent twice for the sake of another.
    async fn parts(
        &self,
        id: MessageId,
        to: &Recipient,
        bodies: Vec<Body>,
        main: usize,
        known: &mut Vec<Part>,
    ) -> Result<Receipt, SendError> {
        let fresh = |body: &Body| Part {
            kind: body.content.kind().into(),
            state: MessageState::Queued,
            provider_id: None,
            error: None,
        };
        // A message that was cut differently before (the settings have changed) keeps what is out.
        known.truncate(bodies.len());
        for body in bodies.iter().skip(known.len()) {
            known.push(fresh(body));
        }
        let mut degraded: Vec<Degraded> = Vec::new();
        let mut doubt = None;
        for (place, body) in bodies.into_iter().enumerate() {
            if known[place].is_out() {
                continue;
            }
            known[place].state = MessageState::Sending;
            self.store.note_parts(id, known.clone()).await.map_err(|error| {
                known[place].state = MessageState::Queued;
                SendError::new(ErrorClass::Upstream { retry_after: None }, error.to_string())
            })?;
            match self.part(id, place as u32, to, body).await {
                Ok(mut receipt) => {
                    degraded.append(&mut receipt.degraded);
                    let kind = std::mem::take(&mut known[place].kind);
                    known[place] = Part { kind, state: receipt.state, provider_id: receipt.provider_id, error: None };
                }
                Err(error) => {
                    known[place].error = Some(error.message.clone());
                    known[place].state = match error.class.remedy() {
                        Remedy::Doubt => MessageState::Unknown,
                        Remedy::Refuse => MessageState::Rejected,
                        Remedy::Retry | Remedy::Pause => MessageState::Queued,
                    };
                    match error.class {
                        // An unknown one holds back nothing behind it, ...
                        ErrorClass::Ambiguous => doubt = Some(error),
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
        let provider_id = known.get(main).and_then(|part| part.provider_id.clone());
        Ok(Receipt { state, provider_id, degraded })
    }
}
