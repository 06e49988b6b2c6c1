//! One event is one line: without letters that steer, and cut where it is longer than anybody reads.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::cut::{Cut, LEAST, LONGEST};
use super::flood::Flood;
use super::json::Strings;
use crate::plain::write_plain;

/// Writes the lines of another format, bounded.
pub struct Lines<F> {
    /// What makes the line.
    pub inner: F,
    /// Whether that is JSON: its texts are only known by their quotes.
    pub json: bool,
    /// Which lines are too many.
    pub flood: Flood,
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if !self.flood.takes(event) {
            return Ok(());
        }
        match self.json {
            true => self.inner.format_event(ctx, Writer::new(&mut Strings::new(&mut to)), event),
            false => self.inner.format_event(ctx, to, event),
        }
    }
}

/// Writes the fields of a line of text.
pub struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, mut to: Writer<'w>, fields: R) -> fmt::Result {
        let mut texts = Texts { to: &mut to, room: LONGEST, first: true, result: Ok(()) };
        fields.record(&mut texts);
        texts.result
    }
}

struct Texts<'a, W> {
    to: &'a mut W,
    room: usize,
    first: bool,
    result: fmt::Result,
}

impl<W: Write> Texts<'_, W> {
    fn write(&mut self, name: &str, value: &dyn Debug) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.to.write_char(' ')?;
        }
        if name != "message" {
            write!(self.to, "{}=", name.trim_start_matches("r#"))?;
        }
        let mut text = Plain { to: &mut *self.to, cut: Cut::new(self.room.max(LEAST)) };
        write!(text, "{value:?}")?;
        let taken = text.cut.end(text.to)?;
        self.room = self.room.saturating_sub(taken);
        Ok(())
    }
}

impl<W: Write> Visit for Texts<'_, W> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.result.is_ok() {
            self.result = self.write(field.name(), value);
        }
    }
}

/// Writes a text without what steers, cut.
struct Plain<'a, W> {
    to: &'a mut W,
    cut: Cut,
}

impl<W: Write> Write for Plain<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let harmless = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if harmless && self.cut.holds(text) {
            return self.cut.unit(text, self.to);
        }
        let mut unit = String::new();
        for letter in text.chars() {
            unit.clear();
            write_plain(letter, &mut unit)?;
            self.cut.unit(&unit, self.to)?;
        }
        Ok(())
    }
}
