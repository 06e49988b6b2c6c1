//! `/sandbox/messages`: what the phones of the sandbox got.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Query, time};
use crate::http::House;
use crate::http::error::answer;

pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["limit"])?;
    let messages = house.store.phone_messages(query.limit()?).await?;
    let rows: Vec<Value> = messages
        .iter()
        .map(|message| {
            let mut row = json!(message);
            row["from"] = Value::String(message.account.clone());
            row["at"] = time(Some(message.at));
            row
        })
        .collect();
    Ok(answer(StatusCode::OK, &json!({ "messages": rows })))
}
