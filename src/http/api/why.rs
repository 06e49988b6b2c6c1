//! `/why`.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use jiff::ToSpan;
use jiff::civil::Date;

use super::{Answer, Query, fine};
use crate::http::House;
use crate::http::error::Refused;
use crate::view::Why;

/// What happened to a flow or a person on a day, and why.
#[utoipa::path(get, path = "/why", tag = "schedule",
    params(
        ("of" = String, Query, description = "a flow, an address, or what a person is called"),
        ("day" = Option<String>, Query, description = "such as `2026-10-25`, `today` or `yesterday`; else today")),
    responses((status = 200, description = "the facts, in the order of their times", body = Why)))]
pub async fn why(State(house): State<Arc<House>>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::read(query.as_deref(), &["of", "day"])?;
    let of = query.text("of").ok_or_else(|| Refused::bad("`of` is missing: name a flow or a person"))?;
    fine(&told(&house, &of, query.text("day").as_deref()).await?)
}

/// The facts of a day, given in words.
///
/// # Errors
/// 404 when nobody is meant, 400 when no day is.
pub async fn told(house: &House, of: &str, day: Option<&str>) -> Result<Why, Refused> {
    let whom = "write the name of a flow, a phone, or what a person is called";
    let subject = house.view.subject(of).await?.map_err(|why| Refused::missing(why).hint(whom))?;
    let today = house.view.clock.now().to_zoned(house.view.zone_of(&subject)).date();
    let date = match day.map(str::trim).filter(|day| !day.is_empty()) {
        None | Some("today") => today,
        Some("yesterday") => today.saturating_sub(1.days()),
        Some(day) => day.parse::<Date>().map_err(|_| {
            Refused::bad(format!("`{day}` is no day")).hint("write one such as `2026-10-25`, `today` or `yesterday`")
        })?,
    };
    Ok(house.view.why(&subject, date).await?)
}
