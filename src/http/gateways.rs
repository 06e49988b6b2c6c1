//! What gateways send to us.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, Response, StatusCode, header};
use axum::response::IntoResponse;

use super::House;
use super::body::whole;
use super::error::Refused;
use crate::inbound::Letterbox;
use crate::model::inbound::Told;
use crate::outbox::{Account, SharedView};
use crate::transport::{Heard, Incoming, NotHeard};

/// Most bytes of one request; Meta puts up to 3 MB into one.
const LARGEST: usize = 4 << 20;

/// `/gateways/<account>/<anything>`.
pub async fn incoming_below(
    state: State<Arc<House>>,
    Path((account, suffix)): Path<(String, String)>,
    request: Request,
) -> Result<Response<Body>, Refused> {
    heard(state.0, &account, &suffix, request).await
}

/// `/gateways/<account>`.
pub async fn incoming(
    State(house): State<Arc<House>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response<Body>, Refused> {
    heard(house, &name, "", request).await
}

async fn heard(house: Arc<House>, name: &str, suffix: &str, request: Request) -> Result<Response<Body>, Refused> {
    let accounts = house.accounts.borrow().clone();
    let found = accounts.iter().find(|(account, _)| account.name == name);
    let (account, view) = found.ok_or_else(|| Refused::missing(format!("there is no account `{name}`")))?;
    if !matches!(*request.method(), Method::GET | Method::POST) {
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", "gateways send GET or POST"));
    }
    let (path, by_token) = behind_token(account, suffix)?;
    let (head, body) = request.into_parts();
    let body = whole(body, LARGEST).await?;
    let url = account.public_url.as_ref().map(|base| {
        let asked = head.uri.path_and_query().map_or("/", |asked| asked.as_str());
        format!("{}{asked}", base.as_str().trim_end_matches('/'))
    });
    let heard = {
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        account.transport.receive(&Incoming {
            is_get: head.method == Method::GET,
            path,
            query: head.uri.query().unwrap_or_default(),
            url: url.as_deref(),
            header: &header,
            body: &body,
            by_token,
            now: house.clock.now(),
        })
    };
    match heard {
        Ok(Heard::Challenge(text)) => Ok(text.into_response()),
        Ok(Heard::Told(told)) => {
            take(&house, account, view, told).await?;
            Ok(match account.transport.thanks() {
                "" => StatusCode::OK.into_response(),
                xml => ([(header::CONTENT_TYPE, "text/xml")], xml).into_response(),
            })
        }
        Err(NotHeard::Unverifiable) => {
            let message = format!("account `{name}` has nothing to verify events by");
            let refused = Refused::new(StatusCode::FORBIDDEN, "unverifiable", message);
            Err(refused.hint("set the gateway's secret, or `inbound_token`, in postrider.yaml"))
        }
        Err(NotHeard::WrongToken) => Err(Refused::new(StatusCode::FORBIDDEN, "forged", "the token is wrong")),
        Err(NotHeard::Forged) => Err(forged()),
        Err(NotHeard::Unreadable) => Err(Refused::bad("the body cannot be read")),
    }
}

fn forged() -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, "forged", "this does not come from the gateway")
}

/// What stands behind the token that the account's address has, if it has one.
fn behind_token<'a>(account: &Account, suffix: &'a str) -> Result<(&'a str, bool), Refused> {
    let Some(token) = &account.inbound_token else { return Ok((suffix, false)) };
    let (given, path) = suffix.split_once('/').unwrap_or((suffix, ""));
    match token.matches(given.as_bytes()) {
        true => Ok((path, true)),
        false => Err(forged()),
    }
}

/// Takes in what an account's gateway, or a person at a phone of the sandbox, told.
pub async fn take(house: &House, account: &Account, view: &SharedView, told: Vec<Told>) -> Result<(), Refused> {
    for told in &told {
        if let Told::Connection(link) = told {
            view.link(link.is_up, &link.state);
            house.lanes.ring(&account.name);
            match link.is_up {
                true => tracing::info!(account = %account.name, state = %link.state, "the gateway is connected"),
                false => tracing::warn!(account = %account.name, state = %link.state, "the gateway is not connected"),
            }
        }
    }
    let to = Letterbox {
        account: &account.name,
        window: account.transport.capabilities().window,
        opt_out: account.opt_out.as_ref(),
    };
    // On disk before the answer: what was answered is not sent again.
    for fate in house.inbox.take(to, told).await? {
        tracing::debug!(account = %account.name, fate = fate.name(), "a message came");
    }
    Ok(())
}
