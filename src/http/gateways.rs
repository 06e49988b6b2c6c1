//! What gateways send to us.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse;

use super::House;
use super::error::Refused;
use crate::transport::{Heard, Incoming, NotHeard};

/// Most bytes of one request; Meta puts up to 3 MB into one.
const LARGEST: usize = 4 << 20;

/// `/gateways/<account>/<anything>`.
pub async fn incoming_below(
    state: State<Arc<House>>,
    Path((account, _)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, Refused> {
    incoming(state, Path(account), request).await
}

/// `/gateways/<account>`.
pub async fn incoming(
    State(house): State<Arc<House>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response<Body>, Refused> {
    let accounts = house.accounts.borrow().clone();
    let account = accounts.iter().map(|(account, _)| account).find(|account| account.name == name);
    let account = account.ok_or_else(|| Refused::missing(format!("there is no account `{name}`")))?;
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", "gateways send GET or POST"));
    }
    let (head, body) = request.into_parts();
    let too_large = |_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body has more than 4 MiB");
    let body = to_bytes(body, LARGEST).await.map_err(too_large)?;
    let heard = {
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        account.transport.receive(&Incoming {
            is_get: head.method == Method::GET,
            query: head.uri.query().unwrap_or_default(),
            header: &header,
            body: &body,
        })
    };
    match heard {
        Ok(Heard::Challenge(text)) => Ok(text.into_response()),
        Ok(Heard::From(from)) => {
            // On disk before the answer: what was answered is not sent again.
            house.store.hear(&account.name, from, house.clock.now()).await?;
            Ok(StatusCode::OK.into_response())
        }
        Err(NotHeard::Deaf) => Err(Refused::missing(format!("events for account `{name}` are not read"))),
        Err(NotHeard::Unverifiable) => {
            let message = format!("account `{name}` has no secret to verify events by");
            Err(Refused::new(StatusCode::FORBIDDEN, "unverifiable", message))
        }
        Err(NotHeard::Forged) => {
            Err(Refused::new(StatusCode::FORBIDDEN, "forged", "this does not come from the gateway"))
        }
        Err(NotHeard::Unreadable) => Err(Refused::bad("the body is no JSON")),
    }
}
