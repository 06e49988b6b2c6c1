//! Opens attempts in the store, and takes back what may be open after a breakdown.

use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;

use super::Account;
use super::caught::{caught, tried};
use super::line::Next;
use crate::model::delivery::ErrorClass;
use crate::store::Store;
use crate::store::rows::{ClaimRules, Claims, Settlement, Verdict};

/// Opens attempts for messages; nothing when the store could not. It is handed in at once: only its end
/// is waited for.
pub fn opened(
    store: &Arc<dyn Store>,
    account: &Arc<Account>,
    asked: &[Next],
    rules: ClaimRules,
    now: Timestamp,
) -> impl Future<Output = Option<Claims>> + Send + use<> {
    let ids: Vec<_> = asked.iter().map(|next| next.id).collect();
    let (store, account) = (store.clone(), account.clone());
    let claim = {
        let (store, account, ids) = (store.clone(), account.clone(), ids.clone());
        caught(move || store.claim(&account.name, ids, rules, now))
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
                    let settlement = Settlement { id, at: now, verdict, parts: Vec::new() };
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
