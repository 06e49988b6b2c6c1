//! What messages need before they can go, in one place: attachments, link cards, signed addresses.

use super::attachments::Attachments;
use super::cards::Cards;
use crate::blobs::Blobs;
use crate::clock::SharedClock;
use crate::fetch::Fetch;
use crate::links::LinkKey;

/// Prepares messages. Cheap to clone.
#[derive(Clone)]
pub struct Preparer {
    /// Their files.
    pub attachments: Attachments,
    /// Cards of links.
    pub cards: Cards,
    /// The way to addresses that others named.
    pub fetch: Fetch,
    /// Signs addresses of ours.
    pub key: LinkKey,
    /// The time.
    pub clock: SharedClock,
}

impl Preparer {
    /// With nothing remembered; `blobs` keeps copies of files.
    pub fn new(blobs: Blobs, fetch: Fetch, key: LinkKey, clock: SharedClock) -> Self {
        let attachments = Attachments::new(blobs, fetch.clone(), key.clone(), clock.clone());
        let cards = Cards::new(fetch.clone(), clock.clone());
        Self { attachments, cards, fetch, key, clock }
    }

    /// The same with room of its own for files, so that one account's slow ones hold up no other.
    pub fn with_own_room(&self) -> Self {
        Self { attachments: self.attachments.with_own_room(), ..self.clone() }
    }
}
