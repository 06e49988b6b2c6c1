//! `/people`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use serde_json::json;

use super::accounts::named;
use super::{Answer, Query, fine, known};
use crate::http::House;
use crate::http::body::Json;
use crate::http::error::Refused;
use crate::model::recipient::Recipient;
use crate::view::{PersonRow, PersonWhole};

/// People with whom something was said lately.
#[utoipa::path(get, path = "/people", tag = "people",
    params(("limit" = Option<usize>, Query, description = "at most so many")),
    responses((status = 200, description = "`{\"people\": [...]}`", body = [PersonRow])))]
pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["limit"])?;
    fine(&json!({ "people": house.view.people(query.limit()?).await? }))
}

fn address(house: &House, text: &str) -> Result<String, Refused> {
    Recipient::read(text, house.view.country()).map(|who| who.to_string()).map_err(Refused::bad)
}

/// A person: addresses, what was said, what waits.
#[utoipa::path(get, path = "/people/{address}", tag = "people",
    params(("address" = String, Path, description = "a phone or another address"),
        ("limit" = Option<usize>, Query, description = "at most so many of what either side said")),
    responses((status = 200, description = "the person", body = PersonWhole)))]
pub async fn show(State(house): State<Arc<House>>, Path(who): Path<String>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["limit"])?;
    fine(&house.view.person(&address(&house, &who)?, query.limit()?).await?)
}

/// A person who wanted no more messages of an account, `{account}`, wants them again.
#[utoipa::path(post, path = "/people/{address}/opt-in", tag = "people",
    params(("address" = String, Path, description = "a phone or another address")),
    responses((status = 200, description = "`{\"changed\"}`")))]
pub async fn opt_in(State(house): State<Arc<House>>, Path(who): Path<String>, Json(body): Json) -> Answer {
    known(&body, &["account"])?;
    let account = body["account"].as_str().ok_or_else(|| Refused::bad("`account` is missing"))?;
    let changed = let_write(&house, account, &address(&house, &who)?).await?;
    fine(&json!({ "changed": changed }))
}

/// An account may write to a person again. Says whether that is new.
pub async fn let_write(house: &House, account: &str, who: &str) -> Result<bool, Refused> {
    let changed = house.view.store.opt_in(account, who).await?;
    // One that is configured no more may have been told to stop all the same.
    if !changed {
        named(&house.view.accounts.borrow(), account)?;
    }
    Ok(changed)
}
