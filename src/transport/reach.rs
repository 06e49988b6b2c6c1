//! Looks at a gateway without sending anything: whether somebody is there, how its link to WhatsApp stands, and
//! which groups the phone is in.

use std::pin::Pin;
use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::answer::{exchange_up_to, readable};
use super::wire::Wire;
use crate::plain::shortened;

/// How long somebody who is there takes to say so.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most groups, and most characters of a name.
const MOST_GROUPS: usize = 5_000;
const LONGEST: usize = 200;
/// Most bytes of an answer: some gateways list the members of each group too.
const LONGEST_ANSWER: usize = 16 << 20;

/// What a look gives: a few words, or why nothing can be sent and what to do.
pub type Looking = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

/// What asking for groups gives.
pub type Listing = Pin<Box<dyn Future<Output = Result<Vec<Group>, String>> + Send>>;

/// A group that the account's phone is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The address that scripts write to, such as `120363024512345678@g.us`.
    pub id: String,
    /// What its members call it.
    pub name: String,
}

/// Where a gateway says how it is.
pub struct Desk {
    /// The way there.
    pub wire: Wire,
    /// Where it tells how its link to WhatsApp stands, and how that is read.
    pub status: Option<Ask<Result<String, String>>>,
    /// Where it lists groups; what is no list is none.
    pub groups: Option<Ask<Option<Vec<Group>>>>,
}

/// A question to a gateway.
pub struct Ask<T> {
    /// Below its base address.
    pub path: String,
    /// Encoded already; empty for none.
    pub query: &'static str,
    /// Reads the answer.
    pub read: Box<dyn Fn(&Value) -> T + Send + Sync>,
}

/// Whether anybody is there at all. The gateway sees a connection and no request.
pub fn reach(desk: Option<Desk>) -> Looking {
    Box::pin(async move {
        let Some(Desk { wire, .. }) = desk else { return Ok("it is built in".into()) };
        connected(&wire).await.map(|()| "somebody is there".into())
    })
}

async fn connected(wire: &Wire) -> Result<(), String> {
    let (host, port) = wire.server();
    let why = match timeout(PATIENCE, TcpStream::connect((host.trim_matches(['[', ']']), port))).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("nobody answers within {} seconds", PATIENCE.as_secs()),
    };
    Err(format!("the gateway cannot be reached at {host}:{port}: {why}; is it running, is `url` right?"))
}

/// Whether something could be sent now.
pub fn check(desk: Option<Desk>) -> Looking {
    Box::pin(async move {
        let Some(Desk { wire, status, .. }) = desk else { return Ok("it is built in".into()) };
        connected(&wire).await?;
        let Some(ask) = status else {
            return Ok(
                "somebody is there; this gateway has no question about its link, so send a message to try it".into()
            );
        };
        let body = asked(&wire, &ask).await?;
        (ask.read)(&body).map(|said| short(&said)).map_err(|said| short(&said))
    })
}

/// The groups that the account's phone is in.
pub fn groups(desk: Option<Desk>) -> Listing {
    Box::pin(async move {
        let Some((wire, ask)) = desk.and_then(|desk| Some((desk.wire, desk.groups?))) else {
            return Err("this gateway does not list groups; start a flow by a trigger `message: { chats: groups }`, \
                        write something in the group, and look at `chat` in the run's event"
                .into());
        };
        let body = asked(&wire, &ask).await?;
        (ask.read)(&body).ok_or_else(|| OTHER.to_owned())
    })
}

/// What answers in another way than the gateway does.
pub const OTHER: &str = "another server answers there, or the gateway in a way that is not known; is `url` right?";

/// What a gateway answers that takes the question.
async fn asked<T>(wire: &Wire, ask: &Ask<T>) -> Result<Value, String> {
    let request = match ask.query {
        "" => wire.request(Method::GET, &ask.path),
        query => wire.with_query(Method::GET, &ask.path, query),
    };
    let answer = exchange_up_to(LONGEST_ANSWER, request).await.map_err(|error| error.message)?;
    if answer.body.len() >= LONGEST_ANSWER {
        return Err("the gateway's answer is too long to be read".into());
    }
    let body: Option<Value> = answer.json().filter(|body: &Value| body.is_object() || body.is_array());
    match (answer.status, body) {
        (200..=299, Some(body)) => Ok(body),
        (status @ (401 | 403), _) => {
            Err(format!("the gateway answered {status}: are the account's credentials right?"))
        }
        (404, Some(_)) => {
            Err("the gateway knows no such session, device or number; is the account's name for it right?".into())
        }
        (200..=299 | 404, None) => Err(OTHER.into()),
        (status, Some(body)) => Err(format!("the gateway answered {status}: {}", short(&body.to_string()))),
        (status, None) => Err(format!("the gateway answered {status}")),
    }
}

fn short(said: &str) -> String {
    shortened(&readable(said), LONGEST)
}

/// Groups of a list, by what names them in it.
pub fn listed<'a>(rows: impl IntoIterator<Item = &'a Value>, ids: &[&str], names: &[&str]) -> Vec<Group> {
    let first = |row: &Value, places: &[&str]| {
        places.iter().find_map(|place| row.pointer(place).and_then(Value::as_str)).map(str::to_owned)
    };
    let group = |row: &Value| {
        let id = first(row, ids).filter(|id| id.ends_with("@g.us"))?;
        Some(Group { id, name: short(&first(row, names).unwrap_or_default()) })
    };
    let mut groups: Vec<Group> = rows.into_iter().filter_map(group).take(MOST_GROUPS).collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}
