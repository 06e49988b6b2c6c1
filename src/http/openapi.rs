//! `/api/v1/openapi.json`: what the API is, made of the types that it answers with.

use axum::body::Body;
use axum::http::Response;
use utoipa::OpenApi;

use super::api::{Answer, accounts, by_hand, engine, fine, flows, messages, occurrences, people, runs, sandbox, why};
use super::stream;
use crate::view;

#[derive(OpenApi)]
#[openapi(
    info(title = "Postrider", description = "The private side's API. Every route wants `Authorization: Bearer <admin token>` or a session."),
    servers((url = "/api/v1")),
    paths(
        document, stream::events, engine::engine, engine::stats, engine::activity, engine::needs, engine::incoming,
        engine::refused, engine::invite, engine::sign_out_all, flows::check, flows::list, flows::create, flows::show,
        flows::source, flows::put_source, flows::trigger, runs::list, runs::show, by_hand::simulated, by_hand::decide,
        by_hand::forget, messages::list, messages::send, messages::decide_many, messages::show, messages::decide,
        occurrences::list, occurrences::next, why::why, people::list, people::show, people::opt_in, accounts::list,
        accounts::check, accounts::probe, accounts::groups, sandbox::list, sandbox::reply, sandbox::empty,
        sandbox::phones, sandbox::change,
    ),
    components(schemas(
        view::RunRow, view::Waiting, view::EntryRow, view::MessageRow, view::Waits, view::AttemptRow, view::PartRow,
        view::FlowRow, view::TriggerRow, view::AccountRow, view::OccurrenceRow, view::DueRow,
    )),
)]
struct Document;

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "engine", responses((status = 200, description = "OpenAPI 3.1")))]
pub async fn document() -> Result<Response<Body>, super::error::Refused> {
    answer()
}

fn answer() -> Answer {
    fine(&Document::openapi())
}
