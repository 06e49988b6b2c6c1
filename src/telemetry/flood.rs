//! How many lines one place may write in a second: a log that somebody floods tells nobody anything,
//! and fills the disk.

use std::collections::HashMap;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Event;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};

/// So many lines of one place in one [`SPAN`].
const MOST: u32 = 100;
const SPAN: Duration = Duration::from_secs(1);
/// Above so many places those that are quiet are forgotten.
const MANY: usize = 1_000;

/// Counts the lines of each place.
#[derive(Clone, Default)]
pub struct Flood(Arc<Mutex<HashMap<Place, Count>>>);

/// A place in the code, for one flow or account: none of them silences the others.
type Place = (Identifier, String);

struct Count {
    begun: Instant,
    lines: u32,
    lost: u32,
    target: &'static str,
}

impl Flood {
    /// Whether an event may be written. Of those that may not the number is told when the second is
    /// over.
    pub fn takes(&self, event: &Event<'_>) -> bool {
        let mut whose = Whose(String::new());
        event.record(&mut whose);
        let place = (event.metadata().callsite(), whose.0);
        let now = Instant::now();
        let fresh = Count { begun: now, lines: 0, lost: 0, target: event.metadata().target() };
        let mut places = self.places();
        if places.len() > MANY {
            places.retain(|_, count| count.lost > 0 || now.duration_since(count.begun) < SPAN);
        }
        let count = places.entry(place.clone()).or_insert_with(|| Count { ..fresh });
        if count.lost == 0 && now.duration_since(count.begun) >= SPAN {
            *count = fresh;
        }
        if count.lines < MOST {
            count.lines += 1;
            return true;
        }
        // Without a thread to tell it the next line would be left out without a word; so it is not.
        if count.lost > 0 || self.clone().tell_after(count.begun + SPAN - now, place) {
            count.lost += 1;
            return false;
        }
        true
    }

    /// Tells of one place in a while, on a thread of its own; says whether there is one.
    fn tell_after(self, span: Duration, place: Place) -> bool {
        let told = move || {
            std::thread::sleep(span);
            let count = self.places().remove(&place);
            count.into_iter().for_each(|count| count.tell(&place.1));
        };
        std::thread::Builder::new().name("log".into()).spawn(told).is_ok()
    }

    /// Tells of all places, at the end.
    pub fn tell_all(&self) {
        let places = std::mem::take(&mut *self.places());
        places.iter().for_each(|((_, whose), count)| count.tell(whose));
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Place, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn tell(&self, whose: &str) {
        if self.lost > 0 {
            tracing::warn!(
                "left out: {} lines of {}{whose}, for one place may write {MOST} in a second",
                self.lost,
                self.target
            );
        }
    }
}

/// Whom an event is about.
struct Whose(String);

impl Visit for Whose {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if matches!(field.name(), "flow" | "account") {
            // A text takes all that is written into it.
            let _ = write!(self.0, " {}={value:?}", field.name());
        }
    }
}
