//! `/occurrences`.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Query, time};
use crate::http::House;
use crate::http::error::answer;
use crate::store::rows::{OccurrenceFilter, OccurrenceRecord};
use crate::units::format_duration;

pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["flow", "from", "to", "limit"])?;
    let filter = OccurrenceFilter {
        flow: query.get("flow").map(str::to_owned),
        from: query.time("from")?,
        to: query.time("to")?,
        limit: query.limit()?,
    };
    let rows: Vec<Value> = house.store.occurrences(filter).await?.iter().map(row).collect();
    Ok(answer(StatusCode::OK, &json!({ "occurrences": rows })))
}

fn row(record: &OccurrenceRecord) -> Value {
    json!({
        "flow": &*record.key.flow,
        "trigger": &*record.key.trigger,
        "at": time(Some(record.at)),
        "until": time(record.until),
        "count": record.count,
        "fate": record.fate.name(),
        "late_by": record.late_by.map(format_duration),
        "run": record.run,
        "reason": record.reason,
    })
}
