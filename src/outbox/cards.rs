//! Cards of pages, remembered for a while: a link that goes to a thousand people is looked at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::types;
use crate::clock::after;
use crate::fetch::{Fetch, FetchError};
use crate::model::mime::STILLS;
use crate::preview::{self, AGENT, Card};

/// A page that takes longer gives no card.
const PAGE_TIME: Duration = Duration::from_secs(8);
/// Most that are remembered, ...
const MOST: usize = 1_000;
/// ... with addresses of up to so many bytes, ...
const LONGEST_URL: usize = 2_048;
/// ... and for how long.
const AGE: Duration = Duration::from_secs(600);

/// What a page gave, and when: nothing, if it gave none.
type Known = (Timestamp, Option<Card>);

/// The memory. Cheap to clone.
#[derive(Clone, Default)]
pub struct Cards(Arc<Mutex<HashMap<String, Known>>>);

impl Cards {
    /// The card of a page: from memory, else from the page. None when it gives none.
    pub async fn of(&self, url: &str, fetch: &Fetch, now: Timestamp) -> Option<Card> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        if let Some((at, card)) = known
            && after(at, AGE) > now
        {
            return card;
        }
        let card = match preview::card(fetch, url, PAGE_TIME).await {
            Ok(mut card) => {
                if let Some(image) = &card.image
                    && !matches!(unfit(fetch, image).await, Ok(None))
                {
                    card.image = None;
                }
                Some(card)
            }
            Err(error) => {
                tracing::debug!(%error, "a link's page gives no card");
                None
            }
        };
        let mut cards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cards.len() >= MOST {
            cards.retain(|_, (at, _)| after(*at, AGE) > now);
        }
        if cards.len() >= MOST {
            cards.clear();
        }
        if url.len() <= LONGEST_URL {
            cards.insert(url.into(), (now, card.clone()));
        }
        card
    }
}

/// Why a picture cannot stand in a card, as far as it is seen: the gateway would take the address as
/// it is.
///
/// # Errors
/// It was not seen.
pub async fn unfit(fetch: &Fetch, url: &str) -> Result<Option<String>, FetchError> {
    let seen = fetch.get(url, AGENT, "image/*", types::PEEK).await?;
    match seen.status {
        200 => {}
        status if types::is_gone(status) => return Ok(Some(format!("its address answers {status}"))),
        _ => return Ok(None),
    }
    let mime = types::of_fetched(&seen, "");
    let mime = mime.filter(|mime| !STILLS.contains(&mime.as_str()));
    Ok(mime.map(|mime| format!("it is of type {mime}")))
}
