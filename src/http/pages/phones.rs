//! The phones of the sandbox, on the screen.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::FromRequest as _;
use axum::extract::{Multipart, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};

use super::actions::{Fields, failed};
use super::look::Look;
use super::{Asked, Frame, Page, drawn, go};
use crate::http::House;
use crate::http::api::sandbox::{Typed, keep, switch, type_on};
use crate::http::error::Refused;
use crate::model::delivery::MessageState;
use crate::model::message::{Content, Media, Source};
use crate::model::recipient::Recipient;
use crate::outbox::served_type;
use crate::store::records::HandsetChange;
use crate::transport::sandbox;
use crate::view::{Chat, PhoneRow};

/// Phones that are there before anybody made one.
const FIRST: [(&str, &str); 2] = [("+15417543010", "Ada"), ("+15417543011", "The manager")];
/// Largest picture that is sent from a phone.
const LARGEST: usize = 8 << 20;

#[derive(Template)]
#[template(path = "phones.html")]
struct Phones {
    frame: Frame,
    phones: Vec<PhoneRow>,
    accounts: Vec<String>,
    account: String,
    typed: String,
}

/// What a phone is called that was there before.
fn first_name(phone: &str) -> Option<String> {
    FIRST.iter().find(|(known, _)| *known == phone).map(|(_, name)| (*name).to_owned())
}

/// What somebody called a phone, else what it was called from the beginning.
async fn name_of(house: &House, phone: &Recipient) -> Result<Option<String>, Refused> {
    let phone = phone.to_string();
    let handsets = house.view.store.handsets().await?;
    let given = handsets.into_iter().find(|handset| handset.phone == phone).and_then(|handset| handset.name);
    Ok(given.or_else(|| first_name(&phone)))
}

fn sandboxes(house: &House) -> Vec<String> {
    let accounts = house.view.accounts.borrow();
    accounts
        .iter()
        .filter(|(account, _)| account.kind == sandbox::NAME)
        .map(|(account, _)| account.name.clone())
        .collect()
}

/// The page.
pub async fn page(State(house): State<Arc<House>>, headers: HeaderMap, uri: Uri) -> Page {
    let asked = Asked::of(&house, &headers, &uri, &["account"])?;
    let accounts = sandboxes(&house);
    let wanted = asked.query.text("account").filter(|wanted| accounts.contains(wanted));
    let account = wanted.or_else(|| accounts.first().cloned()).unwrap_or_default();
    let mut phones = house.view.phones().await?;
    for (phone, name) in FIRST {
        if phones.len() < FIRST.len() && !phones.iter().any(|known| known.phone == phone) {
            let (phone, name) = (phone.to_owned(), Some(name.to_owned()));
            phones.push(PhoneRow {
                phone,
                name,
                off: false,
                waiting: 0,
                chat: Vec::new(),
                runs: Vec::new(),
                opted_out: Vec::new(),
            });
        }
    }
    for phone in &mut phones {
        phone.chat.retain(|chat| chat.account == account);
        if phone.name.is_none() {
            phone.name = first_name(&phone.phone);
        }
    }
    phones.sort_by(|one, other| one.phone.cmp(&other.phone));
    let frame = Frame::of(&house, &asked, "phones", "Phones").await?;
    let typed = frame.note.as_ref().map(|note| note.typed.clone()).unwrap_or_default();
    drawn(&Phones { phones, accounts, account, typed, frame })
}

/// One phone more.
pub async fn add(State(house): State<Arc<House>>, fields: Fields) -> Page {
    let written = fields.get("phone").unwrap_or_default().trim();
    // The number first, and behind it the name.
    let split = written.find(|c: char| c.is_alphabetic()).unwrap_or(written.len());
    let (number, name) = written.split_at(split);
    let back = fields.get("back").unwrap_or("/phones");
    Ok(match Recipient::read(number, house.view.country()) {
        Ok(phone) => {
            let name = Some(name.trim().to_owned()).filter(|name| !name.is_empty());
            switch(&house, &phone, HandsetChange { name, off: None }).await?;
            go(back)
        }
        Err(why) => failed(&house, back, "There is no such phone", &Refused::bad(why), written),
    })
}

/// Takes everything off the phones.
pub async fn empty(State(house): State<Arc<House>>, fields: Fields) -> Page {
    house.view.store.empty_phones().await?;
    Ok(go(fields.get("back").unwrap_or("/phones")))
}

/// Something that is done on a phone: `type`, `choose`, `picture`, `switch`.
pub async fn act(
    State(house): State<Arc<House>>,
    Path((phone, what)): Path<(String, String)>,
    request: Request,
) -> Page {
    let phone = Recipient::read(&phone, house.view.country()).map_err(Refused::bad)?;
    if what == "picture" {
        return picture_from(&house, &phone, request).await;
    }
    let fields = Fields::from_request(request, &house).await?;
    let back = fields.get("back").unwrap_or("/phones").to_owned();
    let text = |name: &str| fields.get(name).map(str::to_owned).filter(|text| !text.trim().is_empty());
    let done = match what.as_str() {
        "switch" => {
            let off = fields.get("off") == Some("true");
            switch(&house, &phone, HandsetChange { name: None, off: Some(off) }).await
        }
        "type" | "choose" => {
            let typed = Typed {
                text: text("text"),
                choice: text("choice"),
                account: text("account"),
                reply_to: text("reply_to"),
                name: name_of(&house, &phone).await?,
                ..Typed::default()
            };
            type_on(&house, &phone, typed).await.map(drop)
        }
        other => return Err(Refused::missing(format!("a phone has no `{other}`"))),
    };
    Ok(match done {
        Ok(()) => go(&format!("{back}#phone-{}", digits(&phone.to_string()))),
        Err(why) => failed(&house, &back, "It was not sent", &why, fields.get("text").unwrap_or_default()),
    })
}

/// A picture is sent from a phone.
async fn picture_from(house: &House, phone: &Recipient, request: Request) -> Page {
    let bad = |error: axum::extract::multipart::MultipartError| {
        Refused::new(error.status(), "picture", format!("the picture was not taken: {}", error.body_text()))
    };
    let limited = request.map(|body| Body::new(http_body_util::Limited::new(body, LARGEST)));
    let mut parts = Multipart::from_request(limited, &()).await.map_err(|error| Refused::bad(error.body_text()))?;
    let typed = Typed { name: name_of(house, phone).await?, ..Typed::default() };
    let (mut file, mut typed, mut back) = (None, typed, "/phones".to_owned());
    while let Some(part) = parts.next_field().await.map_err(bad)? {
        let (name, file_name) = (part.name().unwrap_or_default().to_owned(), part.file_name().map(str::to_owned));
        let bytes = part.bytes().await.map_err(bad)?;
        let text = || Some(String::from_utf8_lossy(&bytes).into_owned()).filter(|text| !text.trim().is_empty());
        match name.as_str() {
            "file" if !bytes.is_empty() => file = Some((file_name.unwrap_or_else(|| "picture".into()), bytes)),
            "text" => typed.text = text(),
            "account" => typed.account = text(),
            "back" => back = text().unwrap_or(back),
            _ => {}
        }
    }
    let Some((name, bytes)) = file else {
        return Ok(failed(house, &back, "Nothing was sent", &Refused::bad("choose a picture first"), ""));
    };
    let done = async {
        typed.file = Some(keep(house, &name, bytes.to_vec()).await?);
        type_on(house, phone, typed).await
    };
    Ok(match done.await {
        Ok(_) => go(&format!("{back}#phone-{}", digits(&phone.to_string()))),
        Err(why) => failed(house, &back, "It was not sent", &why, ""),
    })
}

/// A picture that stands on a phone or in a message. Only pictures are shown, whatever else is kept.
pub async fn picture(State(house): State<Arc<House>>, Path(blob): Path<String>) -> Page {
    let missing = || Refused::missing("there is no such picture");
    if blob.len() != 64 || !blob.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(missing());
    }
    let blobs = house.blobs.clone();
    let read = tokio::task::spawn_blocking(move || {
        let kind = served_type(&blobs, &blob, "");
        blobs.read(&blob).map(|bytes| (kind, bytes))
    });
    let (kind, bytes) = read.await.ok().and_then(Result::ok).ok_or_else(missing)?;
    if !matches!(kind, "image/png" | "image/jpeg" | "image/gif" | "image/webp") {
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "type", "that is no picture"));
    }
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=86400, immutable"));
    Ok(response)
}

/// Only the digits of an address, for names in pages.
pub fn digits(address: &str) -> String {
    address.chars().filter(char::is_ascii_alphanumeric).collect()
}

/// The picture of a file that is one, by our own address.
pub fn picture_of(media: &Media) -> Option<String> {
    match &media.source {
        Source::Snapshot(copy) => Some(format!("/pictures/{}", copy.blob)),
        _ => None,
    }
}

impl Phones {
    fn look(&self) -> &Look {
        &self.frame.look
    }

    fn name(&self, phone: &PhoneRow) -> String {
        phone.name.clone().unwrap_or_else(|| super::look::phone(&phone.phone))
    }

    fn digits(&self, phone: &PhoneRow) -> String {
        digits(&phone.phone)
    }

    /// What stands on it, with the days between.
    fn rows<'a>(&self, phone: &'a PhoneRow) -> Vec<(Option<String>, &'a Chat)> {
        let mut before: Option<crate::view::Time> = None;
        let mut rows = Vec::new();
        for chat in &phone.chat {
            let fresh = before.is_none_or(|before| !self.look().same_day(&before, &chat.at));
            rows.push((fresh.then(|| self.look().day(&chat.at)), chat));
            before = Some(chat.at);
        }
        rows
    }

    fn picture(&self, chat: &Chat) -> Option<String> {
        match &chat.body.content {
            Content::Image(media) | Content::Sticker(media) => picture_of(media),
            _ => None,
        }
    }

    /// A link's card: title, description, host.
    fn card(&self, chat: &Chat) -> Option<(String, String, String)> {
        let Content::Link { url, title, description, .. } = &chat.body.content else { return None };
        let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        Some((title.clone().unwrap_or_else(|| url.clone()), description.clone().unwrap_or_default(), host))
    }

    fn words(&self, chat: &Chat) -> String {
        let text = match &chat.body.content {
            Content::Image(media) | Content::Sticker(media) | Content::Video(media) => {
                media.caption.clone().unwrap_or_default()
            }
            Content::Link { caption, url, .. } => caption.clone().unwrap_or_else(|| url.clone()),
            Content::Location { latitude, longitude, name, address } => {
                let place = name.clone().or(address.clone()).unwrap_or_else(|| format!("{latitude}, {longitude}"));
                format!("📍 {place}")
            }
            other => other.gist(),
        };
        super::look::formatted(&text)
    }

    /// How far what stands there is, for whoever sent it.
    fn ticks(&self, chat: &Chat) -> (&'static str, &'static str) {
        match chat.state {
            None => ("check2", "heard"),
            Some(MessageState::Read) => ("check2", "read"),
            Some(MessageState::Delivered) => ("check2", "delivered"),
            Some(_) => ("check", "sent"),
        }
    }
}
