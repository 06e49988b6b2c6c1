//! What people do on pages: forms, each answered by the page that shows what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::Response;
use serde_json::json;

use super::look::capital;
use super::{Note, Page, go, own};
use crate::http::House;
use crate::http::api::accounts::{look, try_now};
use crate::http::api::by_hand::{Wish, erase, settle as settle_run};
use crate::http::api::messages::{decision, settle, write as write_by_hand};
use crate::http::api::people::let_write;
use crate::http::body::whole;
use crate::http::error::Refused;
use crate::id::{MessageId, RunId};
use crate::model::recipient::Recipient;
use crate::view::words;

/// Largest form: a flow's file fits in.
const LARGEST: usize = 4 << 20;

/// What a form brings, each field once.
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Where to go back to: a page of ours.
    fn back(&self, otherwise: &str) -> String {
        own(self.get("back").unwrap_or(otherwise))
    }
}

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let body = whole(request.into_body(), LARGEST).await?;
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }
}

/// Goes to a page with a note.
fn told(house: &House, back: &str, note: Note) -> Response<Body> {
    let (path, place) = back.split_once('#').map_or((back, ""), |(path, place)| (path, place));
    let mark = if path.contains('?') { '&' } else { '?' };
    let place = if place.is_empty() { String::new() } else { format!("#{place}") };
    go(&format!("{path}{mark}note={}{place}", house.notes.keep(note)))
}

/// Goes back, and says why nothing came of it.
pub fn failed(house: &House, back: &str, title: &str, why: &Refused, typed: &str) -> Response<Body> {
    let remedy = why.remedy().map_or(String::new(), |hint| format!(" {}.", capital(hint)));
    let text = format!("{}.{remedy}", capital(why.message().trim_end_matches('.')));
    told(house, &own(back), Note { tone: "fail", title: title.into(), text, typed: typed.into() })
}

fn done(house: &House, back: &str, title: impl Into<String>, text: &str) -> Response<Body> {
    told(house, back, Note { tone: "ok", title: title.into(), text: text.into(), typed: String::new() })
}

/// A word about a run.
pub async fn run(
    State(house): State<Arc<House>>,
    Path((id, decision)): Path<(String, String)>,
    fields: Fields,
) -> Page {
    let id: RunId = id.parse().map_err(Refused::bad)?;
    let back = fields.back(&format!("/runs/{id}"));
    let wish = Wish { latest: fields.get("latest").is_some(), resend: fields.get("resend").is_some() };
    Ok(match settle_run(&house, id, &decision, wish).await {
        Ok(shown) if shown != id => done(&house, &format!("/runs/{shown}"), "A new run has begun", "This is it."),
        Ok(_) => {
            let title = match decision.as_str() {
                "cancel" => "The run is cancelled",
                "skip" => "The wait is over; the script goes on",
                _ => "The run goes on",
            };
            done(&house, &back, title, "")
        }
        Err(why) => failed(&house, &back, "Nothing was done", &why, ""),
    })
}

/// A word about a message.
pub async fn message(
    State(house): State<Arc<House>>,
    Path((id, word)): Path<(String, String)>,
    fields: Fields,
) -> Page {
    let id: MessageId = id.parse().map_err(Refused::bad)?;
    let back = fields.back("/messages");
    let done_ = async { settle(&house, id, decision(&word, fields.get("as"))?).await };
    Ok(match done_.await {
        Ok(()) => {
            let title = match (word.as_str(), fields.get("as")) {
                ("retry", _) => "It is tried again",
                ("cancel", _) => "It is taken back",
                (_, Some("sent")) => "Noted: it was sent",
                _ => "It is sent again",
            };
            done(&house, &back, title, "")
        }
        Err(why) => failed(&house, &back, "Nothing was done", &why, ""),
    })
}

/// The same about many.
pub async fn messages(State(house): State<Arc<House>>, fields: Fields) -> Page {
    let back = fields.back("/messages");
    let decision = decision(fields.get("decision").unwrap_or_default(), fields.get("as"))?;
    let (mut count, mut first) = (0, None);
    let ids = fields.get("ids").unwrap_or_default().split(',').filter(|id| !id.is_empty());
    let ids: Vec<MessageId> = ids.map(str::parse).collect::<Result<_, _>>().map_err(Refused::bad)?;
    if ids.len() > super::super::api::MOST {
        return Err(Refused::bad("these are too many messages at once"));
    }
    for id in ids {
        match settle(&house, id, decision).await {
            Ok(()) => count += 1,
            Err(why) => drop(first.get_or_insert(why)),
        }
    }
    Ok(match first {
        Some(why) if count == 0 => failed(&house, &back, "Nothing was done", &why, ""),
        Some(why) => {
            let title = format!("{} settled", words::many(count, "message is", "messages are"));
            done(&house, &back, title, &format!("Of the others the first says: {}.", why.message()))
        }
        None => done(&house, &back, format!("{} settled", words::many(count, "message is", "messages are")), ""),
    })
}

/// A message is written by hand.
pub async fn write(State(house): State<Arc<House>>, fields: Fields) -> Page {
    let back = fields.back("/messages");
    let (to, text) = (fields.get("to").unwrap_or_default(), fields.get("text").unwrap_or_default());
    let mut wish = json!({ "kind": "text", "to": to, "text": text });
    if let Some(account) = fields.get("account").filter(|account| !account.is_empty()) {
        wish["account"] = account.into();
    }
    Ok(match write_by_hand(&house, wish).await {
        Ok(_) => done(&house, &back, "The message goes out", ""),
        Err(why) => failed(&house, &back, "The message was not written", &why, text),
    })
}

/// What is done about a person: `write`, `forget`, `opt-in`.
pub async fn person(
    State(house): State<Arc<House>>,
    Path((address, what)): Path<(String, String)>,
    fields: Fields,
) -> Page {
    let who = Recipient::read(&address, house.view.country()).map_err(Refused::bad)?;
    let back = fields.back(&format!("/people/{who}"));
    match what.as_str() {
        "forget" => {
            let typed = fields.get("confirm").unwrap_or_default();
            let same = Recipient::read(typed, house.view.country()).is_ok_and(|typed| typed.person() == who.person());
            if !same {
                let why = Refused::bad("what was typed is another phone").hint("type the phone of this person");
                return Ok(failed(&house, &back, "Nobody was forgotten", &why, typed));
            }
            let (_, erased, files) = erase(&house, &who).await?;
            let text = format!(
                "{}, {}, {} and {} are gone.",
                words::many(erased.messages, "message", "messages"),
                words::many(erased.events, "event", "events"),
                words::many(erased.runs, "run’s record", "runs’ records"),
                words::many(files, "file", "files"),
            );
            Ok(done(&house, "/messages", "The person is forgotten", &text))
        }
        "opt-in" => {
            let account = fields.get("account").unwrap_or_default();
            Ok(match let_write(&house, account, &who.to_string()).await {
                Ok(true) => {
                    let text = "Make sure that the person really wants it.";
                    done(&house, &back, format!("{account} may write again"), text)
                }
                Ok(false) => done(&house, &back, format!("{account} could write all the time"), ""),
                Err(why) => failed(&house, &back, "Nothing was done", &why, ""),
            })
        }
        other => Err(Refused::missing(format!("a person has no `{other}`"))),
    }
}

/// What is done about an account: `check`, `probe`.
pub async fn account(
    State(house): State<Arc<House>>,
    Path((name, what)): Path<(String, String)>,
    fields: Fields,
) -> Page {
    let back = fields.back(&format!("/accounts#{name}"));
    Ok(match what.as_str() {
        "check" => match look(&house, &name).await {
            Ok(checked) if checked.ok => done(&house, &back, format!("{name} can send"), &checked.said),
            Ok(checked) => {
                let title = format!("{name} cannot send");
                told(&house, &back, Note { tone: "fail", title, text: checked.said, typed: String::new() })
            }
            Err(why) => failed(&house, &back, "It was not tested", &why, ""),
        },
        "probe" => match try_now(&house, &name) {
            Ok(()) => done(&house, &back, format!("{name} tries now"), "What comes of it is shown here in a moment."),
            Err(why) => failed(&house, &back, "Nothing was done", &why, ""),
        },
        other => return Err(Refused::missing(format!("an account has no `{other}`"))),
    })
}
