//! `/occurrences` and `/next`.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Answer, Query, fine};
use crate::http::House;
use crate::store::records::OccurrenceFilter;
use crate::view::{DueRow, OccurrenceRow};

/// Times that were due, and what became of them, newest first.
#[utoipa::path(get, path = "/occurrences", tag = "schedule",
    params(
        ("flow" = Option<String>, Query, description = "of this flow"),
        ("from" = Option<String>, Query, description = "at or after this"),
        ("to" = Option<String>, Query, description = "before this"),
        ("limit" = Option<usize>, Query, description = "at most so many")),
    responses((status = 200, description = "`{\"occurrences\": [...]}`", body = [OccurrenceRow])))]
pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["flow", "from", "to", "limit"])?;
    let filter = OccurrenceFilter {
        flow: query.text("flow"),
        from: query.time("from")?,
        to: query.time("to")?,
        limit: query.limit()?,
    };
    fine(&json!({ "occurrences": house.view.occurrences(filter).await? }))
}

/// Times that will be due, earliest first, and changes of the clock among them.
#[utoipa::path(get, path = "/next", tag = "schedule",
    params(
        ("from" = Option<String>, Query, description = "from this on; else from now on"),
        ("to" = Option<String>, Query, description = "before this"),
        ("timezone" = Option<String>, Query, description = "whose clock; else the workspace's"),
        ("limit" = Option<usize>, Query, description = "at most so many")),
    responses((status = 200, description = "`{\"occurrences\": [...], \"shifts\": [...]}`", body = [DueRow])))]
pub async fn next(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["from", "to", "timezone", "limit"])?;
    let from = query.time("from")?.unwrap_or(house.view.clock.now());
    let to = query.time("to")?;
    let zone = query.parsed("timezone", |name| TimeZone::get(name).map_err(|_| format!("`{name}` is no zone")))?;
    let zone = zone.unwrap_or_else(|| house.view.zone());
    let rows = house.view.next(from, to, query.limit()?);
    let shifts = to.map(|to| house.view.shifts(&zone, from, to)).unwrap_or_default();
    fine(&json!({ "occurrences": rows, "shifts": shifts }))
}
