//! How things are written for one viewer: times in the viewer's zone, pictures, phones, states.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::assets::Assets;
use crate::model::delivery::MessageState;
use crate::model::occurrence::Fate;
use crate::model::run::RunState;
pub use crate::view::words::capital;
use crate::view::words::{self, Word};
use crate::view::{MessageRow, Need, NeedKind, RunRow, Time, Waiting};

/// One viewer, at one moment.
#[derive(Clone)]
pub struct Look {
    /// The viewer's zone.
    pub zone: TimeZone,
    /// Now.
    pub now: Timestamp,
    /// `light`, `dark`, or nothing: as the system has it.
    pub theme: &'static str,
    /// Where pictures are.
    pub assets: Arc<Assets>,
}

/// A text as HTML: nothing in it is markup.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A zone by its city.
pub fn city(zone: &str) -> String {
    zone.rsplit('/').next().unwrap_or(zone).replace('_', " ")
}

impl Look {
    /// The name of the viewer's zone.
    pub fn zone_name(&self) -> String {
        city(self.zone.iana_name().unwrap_or("UTC"))
    }

    /// A picture by its name.
    pub fn ic(&self, name: &str) -> String {
        format!("<svg class=\"ic\" aria-hidden=\"true\"><use href=\"{}#i-{name}\"/></svg>", self.assets.icons)
    }

    /// A small one.
    pub fn ics(&self, name: &str) -> String {
        format!("<svg class=\"ic s\" aria-hidden=\"true\"><use href=\"{}#i-{name}\"/></svg>", self.assets.icons)
    }

    /// A large one.
    pub fn icl(&self, name: &str) -> String {
        format!("<svg class=\"ic l\" aria-hidden=\"true\"><use href=\"{}#i-{name}\"/></svg>", self.assets.icons)
    }

    /// Where a run stands.
    pub fn run_word(&self, state: &RunState) -> Word {
        words::run(*state)
    }

    /// Where a message stands.
    pub fn message_word(&self, state: &MessageState) -> Word {
        words::message(*state)
    }

    /// What became of a time.
    pub fn fate_word(&self, fate: &Fate) -> Word {
        words::fate(*fate)
    }

    /// A state: picture and word.
    pub fn st(&self, word: Word) -> String {
        format!("<span class=\"st {}\">{}{}</span>", word.tone, self.ic(word.icon), escaped(word.text))
    }

    fn format(&self, at: Timestamp, format: &str) -> String {
        at.to_zoned(self.zone.clone()).strftime(format).to_string()
    }

    fn date(&self, at: Timestamp) -> Date {
        at.to_zoned(self.zone.clone()).date()
    }

    fn element(&self, at: Timestamp, text: &str) -> String {
        let title = self.format(at, "%a %-d %b %Y, %H:%M:%S");
        let machine = crate::clock::rfc3339(at);
        format!("<time datetime=\"{machine}\" title=\"{title} ({})\">{text}</time>", escaped(&self.zone_name()))
    }

    /// `10:14`.
    pub fn clock(&self, at: &Time) -> String {
        self.element(at.0, &self.format(at.0, "%H:%M"))
    }

    /// `10:14:17`.
    pub fn sec(&self, at: &Time) -> String {
        self.element(at.0, &self.format(at.0, "%H:%M:%S"))
    }

    /// `10:14`, `yesterday 18:40`, `Sat 24 Oct 16:20`.
    pub fn short(&self, at: &Time) -> String {
        self.element(at.0, &self.short_text(at.0))
    }

    /// The same as plain text.
    pub fn short_said(&self, at: &Time) -> String {
        self.short_text(at.0)
    }

    /// The same without markup.
    pub fn short_text(&self, at: Timestamp) -> String {
        let (day, today) = (self.date(at), self.date(self.now));
        let clock = self.format(at, "%H:%M");
        match day {
            day if day == today => clock,
            day if today.yesterday().is_ok_and(|yesterday| yesterday == day) => format!("yesterday {clock}"),
            day if today.tomorrow().is_ok_and(|tomorrow| tomorrow == day) => format!("tomorrow {clock}"),
            day if day.year() == today.year() => self.format(at, "%a %-d %b %H:%M"),
            _ => self.format(at, "%-d %b %Y %H:%M"),
        }
    }

    /// `Saturday 24 October`, `Yesterday`, `Today`.
    pub fn day(&self, at: &Time) -> String {
        let (day, today) = (self.date(at.0), self.date(self.now));
        match day {
            day if day == today => "Today".into(),
            day if today.yesterday().is_ok_and(|yesterday| yesterday == day) => "Yesterday".into(),
            _ => self.format(at.0, "%A %-d %B"),
        }
    }

    /// Whether two times are of one day.
    pub fn same_day(&self, one: &Time, other: &Time) -> bool {
        self.date(one.0) == self.date(other.0)
    }

    /// Today, as the head of a page has it.
    pub fn today(&self) -> String {
        self.format(self.now, "%a %-d %B %Y")
    }

    /// The time of day now.
    pub fn now_clock(&self) -> String {
        self.clock(&Time(self.now))
    }

    /// `in 5 h 5 min`, `2 days ago`.
    pub fn away(&self, at: &Time) -> String {
        let seconds = at.0.duration_since(self.now).as_secs_f64();
        match seconds {
            s if s >= 1.0 => format!("in {}", words::span(s)),
            s if s <= -1.0 => format!("{} ago", words::span(-s)),
            _ => "now".into(),
        }
    }

    /// How long something took.
    pub fn took(&self, from: &Time, to: &Time) -> String {
        words::span(to.0.duration_since(from.0).as_secs_f64())
    }

    /// A phone as people write it; another address as it is.
    pub fn phone(&self, address: &str) -> String {
        phone(address)
    }

    /// What a waiting run waits for.
    pub fn waits(&self, waiting: &Waiting) -> String {
        let who = |name: &Option<String>, who: &Option<String>| {
            name.clone().or_else(|| who.as_deref().map(phone)).unwrap_or_else(|| "somebody".into())
        };
        let person = who(&waiting.name, &waiting.who);
        let until = waiting.until.filter(|until| until.0 < far()).map(|until| self.short_text(until.0));
        let until = |before: &str| until.as_ref().map_or(String::new(), |until| format!("{before}{until}"));
        match waiting.kind.as_str() {
            "time" => format!("until {}", until("").trim()),
            "reply" if waiting.behind => format!("for the end of another question to {person}"),
            "reply" if waiting.question.is_some() => format!("for an answer from {person}{}", until(", until ")),
            "reply" => format!("for a message from {person}{}", until(", until ")),
            "delivery" => format!("for its message to {person} to be delivered{}", until(", until ")),
            "event" => format!("for {}{}", waiting.detail, until(", until ")),
            "http" => format!("for {}", waiting.detail),
            "file" => format!("for {}", waiting.detail),
            "retry" => format!("for its next attempt{}", until(", ")),
            _ => waiting.detail.clone(),
        }
    }

    /// Why a message waits, or what went wrong with it.
    pub fn why(&self, message: &MessageRow) -> String {
        let Some(waits) = &message.waits else { return String::new() };
        let at = waits.until.map(|until| self.short_text(until.0));
        let at = |before: &str| at.as_ref().map_or(String::new(), |at| format!("{before}{at}"));
        let account = &message.account;
        let name = message.name.clone().unwrap_or_else(|| phone(&message.to));
        let reason = waits.reason.clone().unwrap_or_default();
        match waits.kind {
            "schedule" => format!("Planned for {}", at("")),
            "pause" => format!("Account {account} is paused: {}{}", words::sentence(&reason), at(" Next try at ")),
            "retry" => format!("{}{}", words::sentence(&reason), at(" Tries again at ")),
            "order" => format!("An earlier message to {name} has to go out first"),
            "daily" => format!("Account {account} has sent all that it may today; goes on at {}", at("")),
            "new_recipients" => {
                format!("Account {account} has written to its new people of today; this one’s turn comes at {}", at(""))
            }
            "quiet" => format!("It is night for {name}; goes out at {}", at("")),
            "pace" => format!("Waiting for its turn{}: account {account} sends no faster", at(", about ")),
            "unknown" => reason,
            _ => message
                .attempts
                .last()
                .and_then(|last| match words::outcome(&last.outcome) {
                    Some(words) if last.error.is_some() && last.outcome != "unknown" => Some(capital(words)),
                    _ => None,
                })
                .map(|words| match &message.why {
                    Some(why) => format!("{words}: {why}"),
                    None => words,
                })
                .or_else(|| message.why.clone())
                .unwrap_or_default(),
        }
    }

    /// Where a run stands: the state, and what it waits for or why it failed.
    pub fn run_note(&self, run: &RunRow) -> String {
        match (&run.waiting_for, &run.error) {
            (Some(waiting), _) => self.waits(waiting),
            (None, Some(error)) => match error.line {
                Some(line) => format!("line {line}: {}", error.message),
                None => error.message.clone(),
            },
            _ if run.bad_messages > 0 => {
                format!("{} did not arrive", words::many(run.bad_messages, "of its messages", "of its messages"))
            }
            _ => String::new(),
        }
    }

    /// The tone, the picture and the button of something that needs a person.
    pub fn need(&self, need: &Need) -> (&'static str, &'static str, &'static str) {
        match need.kind {
            NeedKind::Unknown => ("doubt", "doubt", "Decide"),
            NeedKind::Account => ("fail", "pause", "Look at it"),
            NeedKind::Run => ("fail", "fail", "Open the run"),
            NeedKind::Flow => ("wait", "alert", "Mend it"),
            NeedKind::Message => ("fail", "fail", "See them"),
            NeedKind::Refused => ("wait", "lock", "See them"),
        }
    }

    /// The letters of a face.
    pub fn face(&self, name: &Option<String>, address: &str) -> String {
        let Some(name) = name else {
            let digits: String = address.chars().filter(char::is_ascii_digit).collect();
            return digits[digits.len().saturating_sub(2)..].to_owned();
        };
        let firsts = name.split_whitespace().filter_map(|word| word.chars().find(|c| c.is_alphabetic()));
        firsts.take(2).collect::<String>().to_uppercase()
    }

    /// The colour of a face.
    pub fn hue(&self, address: &str) -> u8 {
        address.bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % 4 + 1
    }

    /// Our own words, as HTML: what stands between backquotes is code.
    pub fn coded(&self, text: &str) -> String {
        coded(text)
    }

    /// The same as a sentence of its own begins.
    pub fn told(&self, text: &str) -> String {
        coded(&capital(text))
    }

    /// The same as a whole sentence.
    pub fn said(&self, text: &str) -> String {
        coded(&words::sentence(&capital(text)))
    }

    /// Words with WhatsApp's marks, as HTML.
    pub fn formatted(&self, text: &str) -> String {
        formatted(text)
    }

    /// JSON to be read by people.
    pub fn pretty(&self, value: &serde_json::Value) -> String {
        pretty(value)
    }

    /// A query of the address of this list with one thing more.
    pub fn query(&self, pairs: &[(&str, &str)]) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            text.append_pair(name, value);
        }
        let text = text.finish();
        if text.is_empty() { String::new() } else { format!("?{text}") }
    }
}

/// JSON to be read by people.
pub fn pretty(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

/// Nobody waits so long.
fn far() -> Timestamp {
    Timestamp::from_second(32_503_680_000).unwrap_or(Timestamp::MAX)
}

/// A phone as people write it; another address as it is.
pub fn phone(address: &str) -> String {
    match address.strip_prefix('+') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => crate::model::phone::shown(address),
        _ => address.to_owned(),
    }
}

/// Our own words as HTML, escaped: what stands between backquotes is code.
pub fn coded(text: &str) -> String {
    let text = escaped(text);
    let pieces: Vec<&str> = text.split('`').collect();
    // An odd one out is no mark.
    if pieces.len().is_multiple_of(2) {
        return text;
    }
    let piece = |(place, piece): (usize, &&str)| match place % 2 {
        0 => (*piece).to_owned(),
        _ => format!("<code>{piece}</code>"),
    };
    pieces.iter().enumerate().map(piece).collect()
}

/// Words with WhatsApp's marks (`*b*`, `_i_`, `~s~`, code between backquotes) as HTML. Escaped first: whatever stands
/// there is words.
pub fn formatted(text: &str) -> String {
    const MARKS: [(&str, &str); 5] = [("```", "code"), ("`", "code"), ("*", "strong"), ("_", "em"), ("~", "s")];
    let text = escaped(text);
    let line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |length| from + length);
    let mut out = String::with_capacity(text.len() + 32);
    let (mut at, mut line) = (0, line_end(0));
    // Up to there no mark of the kind closes: whoever writes nothing but marks is not searched again for each.
    let mut none_before = [0; MARKS.len()];
    let mut before: Option<char> = None;
    while let Some(c) = text[at..].chars().next() {
        if at > line {
            line = line_end(at);
        }
        let starts = before.is_none_or(|before| !before.is_alphanumeric());
        let found = MARKS.iter().zip(&mut none_before).filter(|_| starts).find_map(|((mark, tag), none_before)| {
            let inner = text[at..].strip_prefix(mark)?;
            let (begin, limit) = (at + mark.len(), if *mark == "```" { text.len() } else { line });
            let bare = *tag != "code";
            if begin > limit || *none_before >= limit || (bare && inner.starts_with(char::is_whitespace)) {
                return None;
            }
            let closes = |place: &usize| {
                let end = begin + place;
                let next = text[end + mark.len()..].chars().next();
                *place > 0
                    && next.is_none_or(|next| !next.is_alphanumeric())
                    && !(bare && text[begin..end].ends_with(char::is_whitespace))
            };
            let Some(length) = text[begin..limit].match_indices(mark).map(|(place, _)| place).find(closes) else {
                *none_before = limit;
                return None;
            };
            Some((*tag, begin..begin + length, begin + length + mark.len()))
        });
        match found {
            Some((tag, within, behind)) => {
                let within = &text[within];
                let within = if tag == "code" { within.to_owned() } else { nested(within) };
                let _ = write!(out, "<{tag}>{within}</{tag}>");
                (at, before) = (behind, Some(' '));
            }
            None => {
                out.push(c);
                (at, before) = (at + c.len_utf8(), Some(c));
            }
        }
    }
    out
}

/// Marks within marks: the text is escaped already.
fn nested(escaped: &str) -> String {
    let mut out = escaped.to_owned();
    for (mark, tag) in [('*', "strong"), ('_', "em"), ('~', "s")] {
        if let Some(inner) = escaped.strip_prefix(mark).and_then(|inner| inner.strip_suffix(mark))
            && !inner.is_empty()
            && !inner.contains(mark)
        {
            out = format!("<{tag}>{inner}</{tag}>");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_drawn_and_words_are_never_markup() {
        for (text, html) in [
            ("*bold* and _it_", "<strong>bold</strong> and <em>it</em>"),
            ("~gone~, `code` and ```a\nb```", "<s>gone</s>, <code>code</code> and <code>a\nb</code>"),
            ("2*3*4 snake_case_name", "2*3*4 snake_case_name"),
            ("* not bold *", "* not bold *"),
            ("*_both_*", "<strong><em>both</em></strong>"),
            ("<b>*x*</b>", "&lt;b&gt;<strong>x</strong>&lt;/b&gt;"),
            ("*<script>alert(1)</script>*", "<strong>&lt;script&gt;alert(1)&lt;/script&gt;</strong>"),
            ("*a", "*a"),
            ("*a\nb*", "*a\nb*"),
        ] {
            assert_eq!(formatted(text), html, "{text}");
        }
    }

    /// Each of these is a second and more where a mark is searched for again at each place.
    #[test]
    fn a_text_of_nothing_but_marks_is_read_once() {
        for piece in ["`\n", "*a ", "*-\n-", "_", "~ a", "`", "```a", "*a* *"] {
            let text = piece.repeat(200_000);
            assert!(formatted(&text).len() >= text.len(), "{piece}");
        }
    }

    #[test]
    fn times_are_told_as_people_say_them() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let look = Look { zone, now: "2026-10-26T09:14:00Z".parse().unwrap(), theme: "", assets: Arc::default() };
        let said = |at: &str| look.short_text(at.parse().unwrap());
        assert_eq!(said("2026-10-26T08:00:00Z"), "09:00");
        assert_eq!(said("2026-10-25T17:40:00Z"), "yesterday 18:40");
        assert_eq!(said("2026-10-27T08:30:00Z"), "tomorrow 09:30");
        assert_eq!(said("2026-10-24T14:20:00Z"), "Sat 24 Oct 16:20");
        assert_eq!(said("2025-12-24T17:00:00Z"), "24 Dec 2025 18:00");
        let at = Time("2026-10-26T14:19:00Z".parse().unwrap());
        assert_eq!(look.away(&at), "in 5 h 5 min");
        assert!(look.clock(&at).starts_with("<time datetime=\"2026-10-26T14:19:00.000Z\""));
    }
}
