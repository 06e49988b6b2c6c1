//! Claiming: attempts are opened in the store, a volley at a time, before anything touches the wire.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;

use super::Account;
use super::caught::{caught, tried};
use super::permits::Permit;
use super::queues::Next;
use crate::model::delivery::ErrorClass;
use crate::model::message::NewMessage;
use crate::store::Store;
use crate::store::records::{Budget, ClaimRules, Claimed, Claims, Held, KnownClaimed, Settlement, ToClaim, Verdict};

/// A message for which an attempt is to be opened.
pub struct Asked {
    /// Which.
    pub message: Next,
    /// Leave to send it. Dropped with it if it does not go.
    pub permit: Permit,
}

/// What came of that.
pub enum Claim {
    /// An attempt is open.
    Open(Box<Claimed>),
    /// The day has no room for it.
    Held(Held),
    /// It has been taken back, has expired, was moved or decided by a person meanwhile.
    Gone,
}

/// Opens attempts for messages; nothing when the store could not. It is handed in at once: only its end
/// is waited for.
pub fn opened(
    store: &Arc<dyn Store>,
    account: &Arc<Account>,
    asked: &[Asked],
    now: Timestamp,
) -> impl Future<Output = Option<Claims>> + Send + use<> {
    let to_claim = |asked: &Asked| ToClaim { id: asked.message.id, known: asked.message.known.clone() };
    let messages: Vec<_> = asked.iter().map(to_claim).collect();
    let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
    let (store, account) = (store.clone(), account.clone());
    let rules = rules(&account, now);
    let claim = {
        let (store, account) = (store.clone(), account.clone());
        caught(move || store.claim(&account.name, messages, rules, now))
    };
    async move {
        let error = match claim.await {
            Ok(Ok(claims)) => return Some(claims),
            Ok(Err(error)) => error.to_string(),
            // It may have been on disk by then. Nothing has touched the wire.
            Err(panic) => {
                for id in ids {
                    let error = (ErrorClass::Upstream { retry_after: None }.name().to_owned(), panic.clone());
                    let verdict = Verdict::TryAgain { error, due_at: now, counts: false };
                    let settlement = Settlement { id, at: now, verdict, parts: Vec::new(), opened: None };
                    if let Err(error) = tried(|| store.settle(settlement)).await {
                        tracing::error!(%id, error, "an attempt stays open until the next start");
                    }
                }
                panic
            }
        };
        tracing::error!(account = %account.name, error, "the lane cannot open attempts");
        None
    }
}

fn rules(account: &Account, now: Timestamp) -> ClaimRules {
    let budget = account.pace.counts().then(|| Budget {
        day: now.to_zoned(account.zone.clone()).date().to_string(),
        daily: account.pace.daily,
        new_recipients: account.pace.new_recipients,
    });
    ClaimRules { budget, cards: account.transport.capabilities().cards }
}

/// What came of each message that was asked for, in the order in which they were.
pub fn sorted(asked: Vec<Asked>, claims: Claims) -> Vec<(Asked, Claim)> {
    let claimed = claims.claimed.into_iter().map(|message| (message.id, Claim::Open(Box::new(message))));
    let held = claims.held.into_iter().map(|(id, held)| (id, Claim::Held(held)));
    let mut others: HashMap<_, _> = claimed.chain(held).collect();
    let mut known: HashMap<_, _> = claims.known.into_iter().map(|claimed| (claimed.id, claimed)).collect();
    let claim = |mut asked: Asked| {
        let message = asked.message.known.take();
        let claim = match known.remove(&asked.message.id).zip(message) {
            Some((claimed, message)) => Claim::Open(Box::new(of_known(claimed, Arc::unwrap_or_clone(message)))),
            None => others.remove(&asked.message.id).unwrap_or(Claim::Gone),
        };
        (asked, claim)
    };
    asked.into_iter().map(claim).collect()
}

fn of_known(claimed: KnownClaimed, message: NewMessage) -> Claimed {
    let KnownClaimed { id, preparing, opened } = claimed;
    let to = message.to.to_string();
    Claimed { id, to, body: message.body, tries: opened.tries, parts: Vec::new(), preparing, opened: Some(opened) }
}
