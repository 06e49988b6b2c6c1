//! Times and durations as scripts know them.

use std::time::Duration;

use jiff::Zoned;
use jiff::civil;
use jiff::tz::TimeZone;
use rhai::{Dynamic, Module, NativeCallContext};

use super::error::{HostResult, thrown};
use super::state;
use super::types::{Moment, Span, type_name};
use crate::units::parse_duration;

/// A time as it is written: with an offset it is an instant, without one it is a clock's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// `2026-12-01T09:00:00Z`, `2026-12-01T09:00+02:00`.
    Instant(jiff::Timestamp),
    /// `2026-12-01`, `2026-12-01T09:00`, with seconds.
    Local(civil::DateTime),
}

/// Reads a time.
///
/// # Errors
/// A sentence that says how a time is written.
pub fn parse_when(text: &str) -> Result<When, String> {
    let text = text.trim();
    // `2026-12-24T18:00[America/New_York]`: the zone is part of what is said, and must fit an offset beside it.
    if text.contains('[') {
        let zoned = text.parse::<Zoned>();
        let wrong = "the zone in brackets must be one, and an offset before it must be the one that it has then";
        return zoned
            .map(|zoned| When::Instant(zoned.timestamp()))
            .map_err(|_| format!("`{text}` is no time: {wrong}"));
    }
    if let Ok(instant) = text.parse() {
        return Ok(When::Instant(instant));
    }
    let local = text.parse().or_else(|_| text.parse::<civil::Date>().map(|date| date.at(0, 0, 0, 0)));
    local
        .map(When::Local)
        .map_err(|_| format!("`{text}` is no time; write `2026-12-01T09:00` or `2026-12-01T09:00:00Z`"))
}

/// Reads a time; without an offset it is local to `zone`.
///
/// # Errors
/// A sentence that says how a time is written.
pub fn parse_moment(text: &str, zone: &TimeZone) -> Result<Moment, String> {
    match parse_when(text)? {
        When::Instant(instant) => Ok(Moment(instant.to_zoned(zone.clone()))),
        When::Local(local) => local.to_zoned(zone.clone()).map(Moment).map_err(|error| format!("`{text}`: {error}")),
    }
}

/// A duration from a script: `duration("2h")`, or its text.
///
/// # Errors
/// Thrown as `invalid`, naming the function or option.
pub fn span_of(value: &Dynamic, what: &str) -> HostResult<Duration> {
    if let Some(span) = value.read_lock::<Span>() {
        return Ok(span.0);
    }
    match value.as_immutable_string_ref() {
        Ok(text) => parse_duration(&text).map_err(|error| thrown("invalid", format!("{what}: {error}"))),
        Err(_) => {
            let found = type_name(value);
            Err(thrown("type", format!("{what} takes a duration such as \"2h\", not a value of type {found}")))
        }
    }
}

/// An instant from a script: a time or its text.
///
/// # Errors
/// Thrown as `invalid`, naming the function or option.
pub fn instant_of(value: &Dynamic, zone: &TimeZone, what: &str) -> HostResult<jiff::Timestamp> {
    if let Some(moment) = value.read_lock::<Moment>() {
        return Ok(moment.0.timestamp());
    }
    match value.as_immutable_string_ref() {
        Ok(text) => parse_moment(&text, zone)
            .map(|moment| moment.0.timestamp())
            .map_err(|error| thrown("invalid", format!("{what}: {error}"))),
        Err(_) => {
            let found = type_name(value);
            Err(thrown(
                "type",
                format!("{what} takes a time such as \"2026-12-01T09:00\", not a value of type {found}"),
            ))
        }
    }
}

fn now(ctx: NativeCallContext) -> HostResult<Moment> {
    state::with(&ctx, |turn| Ok(Moment(turn.moment.to_zoned(turn.zone.clone()))))
}

fn today(ctx: NativeCallContext) -> HostResult<Moment> {
    let Moment(now) = now(ctx)?;
    now.start_of_day().map(Moment).map_err(|error| thrown("invalid", error.to_string()))
}

fn parse(ctx: NativeCallContext, text: &str) -> HostResult<Moment> {
    state::with(&ctx, |turn| {
        parse_moment(text, &turn.zone).map_err(|error| thrown("invalid", format!("time::parse: {error}")))
    })
}

fn duration(text: &str) -> HostResult<Span> {
    parse_duration(text).map(Span).map_err(|error| thrown("invalid", format!("duration: {error}")))
}

fn format(moment: &mut Moment, pattern: &str) -> HostResult<String> {
    jiff::fmt::strtime::format(pattern, &moment.0)
        .map_err(|error| thrown("invalid", format!("format(\"{pattern}\"): {error}")))
}

fn in_zone(moment: &mut Moment, zone: &str) -> HostResult<Moment> {
    moment
        .0
        .in_tz(zone)
        .map(Moment)
        .map_err(|_| thrown("invalid", format!("there is no time zone `{zone}`; write one such as `Europe/Berlin`")))
}

fn plus(moment: Moment, span: Span) -> HostResult<Moment> {
    moment.0.checked_add(span.0).map(Moment).map_err(|error| thrown("arithmetic", error.to_string()))
}

fn minus(moment: Moment, span: Span) -> HostResult<Moment> {
    moment.0.checked_sub(span.0).map(Moment).map_err(|error| thrown("arithmetic", error.to_string()))
}

fn between(late: Moment, early: Moment) -> Span {
    Span(late.0.duration_since(&early.0).try_into().unwrap_or(Duration::ZERO))
}

/// 1 is Monday, 7 is Sunday.
fn weekday(moment: &mut Moment) -> i64 {
    i64::from(moment.0.weekday().to_monday_one_offset())
}

/// Registers `now`, `today`, `duration`, and what times and durations can do.
pub fn register(module: &mut Module) {
    module.set_custom_type::<Moment>("time");
    module.set_custom_type::<Span>("duration");
    module.set_native_fn("now", now);
    module.set_native_fn("today", today);
    module.set_native_fn("duration", duration);
    module.set_native_fn("format", format);
    module.set_native_fn("in_zone", in_zone);
    module.set_native_fn("+", plus);
    module.set_native_fn("-", minus);
    module.set_native_fn("-", |late: Moment, early: Moment| Ok(between(late, early)));
    module.set_native_fn("+", |a: Span, b: Span| Ok(Span(a.0.saturating_add(b.0))));
    module.set_native_fn("-", |a: Span, b: Span| Ok(Span(a.0.saturating_sub(b.0))));
    for name in ["to_string", "to_debug"] {
        module.set_native_fn(name, |moment: &mut Moment| Ok(moment.to_string()));
        module.set_native_fn(name, |span: &mut Span| Ok(span.to_string()));
    }
    module.set_getter_fn("year", |moment: &mut Moment| Ok(i64::from(moment.0.year())));
    module.set_getter_fn("month", |moment: &mut Moment| Ok(i64::from(moment.0.month())));
    module.set_getter_fn("day", |moment: &mut Moment| Ok(i64::from(moment.0.day())));
    module.set_getter_fn("weekday", |moment: &mut Moment| Ok(weekday(moment)));
    module.set_getter_fn("hour", |moment: &mut Moment| Ok(i64::from(moment.0.hour())));
    module.set_getter_fn("minute", |moment: &mut Moment| Ok(i64::from(moment.0.minute())));
    module.set_getter_fn("second", |moment: &mut Moment| Ok(i64::from(moment.0.second())));
    module.set_getter_fn("seconds", |span: &mut Span| Ok(span.0.as_secs_f64()));
    macro_rules! comparisons {
        ($type:ty: $($operator:literal $method:ident),*) => {
            $(module.set_native_fn($operator, |a: $type, b: $type| Ok(a.$method(&b)));)*
        };
    }
    comparisons!(Moment: "==" eq, "!=" ne, "<" lt, "<=" le, ">" gt, ">=" ge);
    comparisons!(Span: "==" eq, "!=" ne, "<" lt, "<=" le, ">" gt, ">=" ge);
}

/// The `time::` functions.
pub fn space() -> Module {
    let mut module = Module::new();
    module.set_native_fn("parse", parse);
    module
}
