//! `/accounts`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use serde_json::json;

use super::{Answer, Query, fine, with};
use crate::http::House;
use crate::http::error::Refused;
use crate::outbox::{Account, SharedView};
use crate::units::nearest;
use crate::view::Checked;

/// The accounts, with how they stand.
#[utoipa::path(get, path = "/accounts", tag = "accounts",
    responses((status = 200, description = "`{\"accounts\": [...]}`", body = [crate::view::AccountRow])))]
pub async fn list(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    Query::read(query.as_deref(), &[])?;
    fine(&json!({ "accounts": house.view.accounts().await? }))
}

/// An account by its name.
pub fn named<'a>(accounts: &'a [(Account, SharedView)], name: &str) -> Result<&'a (Account, SharedView), Refused> {
    let found = accounts.iter().find(|(account, _)| account.name == name);
    found.ok_or_else(|| {
        let refused = Refused::missing(format!("there is no account `{name}`"));
        match nearest(name, accounts.iter().map(|(account, _)| account.name.as_str())) {
            Some(near) => refused.hint(format!("did you mean `{near}`?")),
            None => refused.hint("`postrider accounts` lists them"),
        }
    })
}

/// Asks the gateway whether something could be sent now.
#[utoipa::path(post, path = "/accounts/{name}/check", tag = "accounts",
    params(("name" = String, Path, description = "the account")),
    responses((status = 200, description = "what it said", body = Checked), (status = 404, description = "there is none")))]
pub async fn check(State(house): State<Arc<House>>, Path(name): Path<String>) -> Answer {
    let checked = look(&house, &name).await?;
    fine(&json!({ "name": name, "at": checked.at, "ok": checked.ok, "said": checked.said }))
}

/// Asks the gateway, and notes what it said.
pub async fn look(house: &House, name: &str) -> Result<Checked, Refused> {
    let accounts = house.view.accounts.borrow().clone();
    let (account, view) = named(&accounts, name)?;
    let found = account.transport.check().await;
    let now = house.view.clock.now();
    view.checked(now, found.clone());
    house.view.feed.tell([crate::feed::Change::Account { name: name.to_owned() }]);
    Ok(Checked::of(now, &found))
}

/// Lets a paused account try now.
#[utoipa::path(post, path = "/accounts/{name}/probe", tag = "accounts",
    params(("name" = String, Path, description = "the account")),
    responses((status = 202, description = "it tries"), (status = 404, description = "there is none")))]
pub async fn probe(State(house): State<Arc<House>>, Path(name): Path<String>) -> Answer {
    try_now(&house, &name)?;
    with(StatusCode::ACCEPTED, &json!({ "name": name }))
}

/// The same for pages.
pub fn try_now(house: &House, name: &str) -> Result<(), Refused> {
    let accounts = house.view.accounts.borrow().clone();
    let (_, view) = named(&accounts, name)?;
    view.try_now();
    house.lanes.ring(name);
    Ok(())
}

/// The groups that the account's phone is in.
#[utoipa::path(get, path = "/accounts/{name}/groups", tag = "accounts",
    params(("name" = String, Path, description = "the account")),
    responses((status = 200, description = "`{\"groups\": [...]}`"), (status = 502, description = "the gateway refused")))]
pub async fn groups(State(house): State<Arc<House>>, Path(name): Path<String>) -> Answer {
    let accounts = house.view.accounts.borrow().clone();
    let (account, _) = named(&accounts, &name)?;
    let groups = account.transport.groups().await;
    let groups = groups.map_err(|why| Refused::new(StatusCode::BAD_GATEWAY, "gateway", why))?;
    fine(&json!({ "groups": groups }))
}
