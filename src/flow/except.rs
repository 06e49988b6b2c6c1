//! Days on which a schedule is not due: single ones, ranges, and those of a calendar file.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::calendar::{self, Calendar};
use crate::files::Files;

/// A calendar file is looked at again after so long.
const LOOK: Duration = Duration::from_secs(5);

/// Days on which a schedule is not due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Except {
    /// From this day to that one, both included.
    Days(Date, Date),
    /// The days of a file.
    Calendar {
        /// Relative to the workspace.
        path: String,
        /// Line and column in the flow's file that name it.
        place: (u32, u32),
    },
}

impl Except {
    /// Reads `2026-12-25`, `2026-12-24..2027-01-02` or `holidays.ics`, which stands at this place of its file.
    ///
    /// # Errors
    /// A sentence that says how it is written.
    pub fn parse(text: &str, place: (u32, u32)) -> Result<Self, String> {
        let text = text.trim();
        if text.len() > 4 && text[text.len() - 4..].eq_ignore_ascii_case(".ics") {
            return Ok(Self::Calendar { path: text.to_owned(), place });
        }
        let day = |text: &str| {
            // Whole days are left out: an hour would be lost without a word.
            let text = text.trim();
            let found = text.parse::<Date>().ok();
            if let Some(day) = found.filter(|_| text.len() > "2026-12-25".len()) {
                return Err(format!("`{text}` names an hour, but only whole days are left out; write `{day}`"));
            }
            found.ok_or_else(|| {
                format!("`{text}` is no day; write `2026-12-25`, `2026-12-24..2027-01-02`, or a calendar such as `holidays.ics`")
            })
        };
        let (first, last) = text.split_once("..").unwrap_or((text, text));
        match (day(first)?, day(last)?) {
            (first, last) if first <= last => Ok(Self::Days(first, last)),
            (first, last) => Err(format!("`{text}` ends before it begins; write `{last}..{first}`")),
        }
    }
}

impl fmt::Display for Except {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(first, last) if first == last => write!(f, "{first}"),
            Self::Days(first, last) => write!(f, "{first}..{last}"),
            Self::Calendar { path, .. } => f.write_str(path),
        }
    }
}

/// The calendar files of a workspace, read when somebody asks for a day of theirs.
#[derive(Clone)]
pub struct Calendars {
    files: Files,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

struct Known {
    looked: Instant,
    text: Option<String>,
    days: Result<Arc<Calendar>, String>,
}

impl Calendars {
    /// Those of these files.
    pub fn new(files: Files) -> Self {
        Self { files, known: Arc::default() }
    }

    /// Why a schedule is not due at an instant that fits its line; none when it is.
    pub fn why_not(&self, except: &[Except], zone: &TimeZone, at: Timestamp) -> Option<String> {
        if except.is_empty() {
            return None;
        }
        let day = zone.to_datetime(at).date();
        except.iter().find_map(|except| match except {
            Except::Days(first, last) => {
                (*first <= day && day <= *last).then(|| format!("{day} is left out (`except`)"))
            }
            // One that cannot be read leaves nothing out: that is told, and a reminder too many is better than none.
            Except::Calendar { path, .. } => {
                let name = self.read(path).ok()?.name_of(day, zone)?.to_owned();
                Some(format!("{day} is left out ({name}, by `{path}`)"))
            }
        })
    }

    /// What is to be said of a calendar: that it cannot be read, or what of it is not; none where all is well.
    pub fn complaint(&self, path: &str) -> Option<String> {
        match self.read(path) {
            Ok(calendar) => calendar.unread().map(|unread| format!("`{path}` is not read in full: {unread}")),
            Err(why) => Some(why),
        }
    }

    /// A calendar as it is now.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read.
    fn read(&self, path: &str) -> Result<Arc<Calendar>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(path).filter(|known| known.looked.elapsed() < LOOK) {
            return known.days.clone();
        }
        let text = self.files.text(path);
        let before = known.remove(path);
        let (text, days) = match text {
            Ok(text) => match before {
                Some(Known { text: Some(before), days, .. }) if before == text => (Some(text), days),
                before => {
                    // One that was good may be half-written now, or empty for a moment.
                    let days =
                        calendar::parse(&text).map(Arc::new).or_else(|why| match before.map(|known| known.days) {
                            Some(Ok(before)) => Ok(Arc::new(before.kept(&why))),
                            _ => Err(format!("`{path}` cannot be read, so none of its days is left out: {why}")),
                        });
                    (Some(text), days)
                }
            },
            Err(why) => (None, Err(format!("{why}; so none of its days is left out"))),
        };
        known.insert(path.to_owned(), Known { looked: Instant::now(), text, days: days.clone() });
        days
    }
}
