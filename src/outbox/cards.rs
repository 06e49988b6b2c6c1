//! Link cards: title, description and picture of a link, filled in from its page. They are remembered for a while:
//! a link that goes to a thousand people is looked at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::file_types;
use crate::clock::{SharedClock, after};
use crate::fetch::{Fetch, FetchError};
use crate::model::capability::Capabilities;
use crate::model::delivery::Degraded;
use crate::model::message::Content;
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

/// Makes cards. Cheap to clone; all clones remember the same ones.
#[derive(Clone)]
pub struct Cards {
    fetch: Fetch,
    clock: SharedClock,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

impl Cards {
    /// With nothing remembered.
    pub fn new(fetch: Fetch, clock: SharedClock) -> Self {
        Self { fetch, clock, known: Arc::default() }
    }

    /// Fills in what the author left out of a card that the gateway lets us make, and leaves out a
    /// picture that nobody would see. Gives what was changed.
    pub async fn fill(&self, content: &mut Content, capabilities: &Capabilities) -> Vec<Degraded> {
        let Content::Link { url, title, description, thumbnail, preview, .. } = content else { return Vec::new() };
        let mut changed = Vec::new();
        // What we cannot reach the gateway may.
        if let Some(picture) = thumbnail.as_deref()
            && capabilities.has("link", "thumbnail")
            && *preview != Some(false)
            && let Ok(Some(why)) = unfit(&self.fetch, picture).await
        {
            changed.push(Degraded { field: "thumbnail".into(), action: format!("left out: {why}") });
            *thumbnail = None;
        }
        let wants = |field: &str, there: bool| !there && capabilities.has("link", field);
        let (has_title, has_description) = (title.is_some(), description.is_some());
        let wanted = wants("title", has_title) || wants("description", has_description);
        if !capabilities.cards || *preview == Some(false) || !(wanted || wants("thumbnail", thumbnail.is_some())) {
            return changed;
        }
        let Some(mut card) = self.of(url).await else { return changed };
        let whole = (has_title || card.title.is_some()) && (has_description || card.description.is_some());
        if capabilities.whole_cards && !whole {
            return changed;
        }
        // What a stranger's page calls its picture may lead anywhere, and the gateway would go there.
        if let Some(image) = card.image.take_if(|_| thumbnail.is_none() && capabilities.has("link", "thumbnail"))
            && self.fetch.permits(&image).await.is_ok()
        {
            card.image = Some(image);
        }
        for (field, place, value) in [
            ("title", title, card.title),
            ("description", description, card.description),
            ("thumbnail", thumbnail, card.image),
        ] {
            if place.is_none() && value.is_some() && capabilities.has("link", field) {
                *place = value;
                changed.push(Degraded { field: field.into(), action: "filled from the page".into() });
            }
        }
        changed
    }

    /// The card of a page: from memory, else from the page. None when it gives none.
    async fn of(&self, url: &str) -> Option<Card> {
        let (fetch, now) = (&self.fetch, self.clock.now());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
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
        let mut cards = self.known.lock().unwrap_or_else(PoisonError::into_inner);
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
async fn unfit(fetch: &Fetch, url: &str) -> Result<Option<String>, FetchError> {
    let seen = fetch.get(url, AGENT, "image/*", file_types::PEEK).await?;
    match seen.status {
        200 => {}
        status if file_types::is_gone(status) => return Ok(Some(format!("its address answers {status}"))),
        _ => return Ok(None),
    }
    let mime = file_types::of_fetched(&seen, "");
    let mime = mime.filter(|mime| !STILLS.contains(&mime.as_str()));
    Ok(mime.map(|mime| format!("it is of type {mime}")))
}
