//! Moves a lane's messages to the account that takes over.

use jiff::Timestamp;

use crate::id::MessageId;
use crate::store::rows::Diversion;
use crate::store::{Store, StoreError};

/// Messages that move in one transaction.
const DIVERTED: usize = 200;

/// Moves what may leave, a few at a time: others want to write too.
pub async fn diverted(store: &dyn Store, diversion: Diversion, now: Timestamp) -> Result<u64, StoreError> {
    let mut moved = 0;
    let mut some: Vec<MessageId> = Vec::new();
    // Whoever dies in the middle leaves each recipient's messages in one place.
    for group in store.divertible(&diversion).await? {
        if some.len() + group.len() > DIVERTED && !some.is_empty() {
            moved += store.divert(std::mem::take(&mut some), diversion.clone(), now).await?;
        }
        some.extend(group);
    }
    moved += store.divert(some, diversion, now).await?;
    Ok(moved)
}
