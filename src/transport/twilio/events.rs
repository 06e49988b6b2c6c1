//! What Twilio sends to us, as forms: what people wrote, and how far our messages are.
//!
//! From its pages on webhook requests, on status callbacks and on signatures: what is signed is the
//! address as Twilio knows it, then each field and its value in the order of the names.

use std::collections::HashMap;

use jiff::Timestamp;
use reqwest::header::LOCATION;
use reqwest::{Client, Method};
use serde_json::Value;
use url::Url;

use super::codes::classify;
use super::options::{OURS, Sender, TwilioOptions};
use super::signature::is_signed;
use crate::model::delivery::{ErrorClass, MessageState};
use crate::model::inbound::{Ack, Fate, InboundMedia, OwnId, Told, Written};
use crate::model::recipient::Recipient;
use crate::plain::shortened;
use crate::transport::answer::readable;
use crate::transport::events::{bytes, fields, one_person, person};
use crate::transport::wire::Wire;
use crate::transport::{Heard, Incoming, NotHeard};

/// Most files of one message; Twilio allows ten.
const MOST_FILES: usize = 10;
/// Most characters of an error.
const LONGEST_ERROR: usize = 400;

/// Reads what Twilio sent.
///
/// # Errors
/// [`NotHeard`].
pub fn read(options: &TwilioOptions, incoming: &Incoming<'_>) -> Result<Heard, NotHeard> {
    let pairs = |text: &[u8]| -> Vec<(String, String)> { form_urlencoded::parse(text).into_owned().collect() };
    let body = if incoming.is_get { Vec::new() } else { pairs(incoming.body) };
    match incoming.url {
        Some(url) => incoming.proven(Some(&options.auth_token), |token| {
            let given = (incoming.header)("x-twilio-signature").unwrap_or_default();
            is_signed(token, url, &body, &given)
        })?,
        // Nobody can check a signature over an address that is not known.
        None => incoming.proven(None, |_| false)?,
    }
    let fields = if incoming.is_get { pairs(incoming.query.as_bytes()) } else { body };
    let asked: HashMap<String, String> = pairs(incoming.query.as_bytes()).into_iter().collect();
    let ours = asked.get(OURS).and_then(|id| id.parse().ok());
    Ok(Heard::Told(told(options, &Form(fields.into_iter().collect()), ours, incoming.now)))
}

/// Fields of a form by name.
struct Form(HashMap<String, String>);

impl Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    fn text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name)).map(str::to_owned)
    }
}

/// `whatsapp:+15417543010`; what comes from other channels is none of our business.
pub fn address(text: &str) -> Option<Recipient> {
    text.trim().strip_prefix("whatsapp:").and_then(person)
}

fn told(options: &TwilioOptions, form: &Form, ours: Option<OwnId>, now: Timestamp) -> Vec<Told> {
    let mut told = Vec::new();
    let status = form.get("MessageStatus").filter(|status| !matches!(*status, "received" | "receiving"));
    let own = if status.is_some() { "From" } else { "To" };
    let message_id = form.text(&["MessageSid", "SmsMessageSid", "SmsSid"]);
    let Some(message_id) = message_id.filter(|_| is_own(options, form, own)) else { return told };
    if let Some(status) = status {
        told.extend(fate(status, form).map(|fate| Told::Ack(Ack { message_id, fate, ours, chat: None })));
        return told;
    }
    // WhatsApp's own form of the number is another in some countries.
    let addresses = [form.get("From").and_then(address), form.get("WaId").and_then(person)];
    let Some(from) = one_person(&mut told, addresses) else { return told };
    let written = Written {
        fields: None,
        event_id: format!("message:{message_id}"),
        message_id,
        at: now,
        chat: from.clone(),
        from,
        name: form.text(&["ProfileName"]),
        kind: "other",
        text: form.text(&["Body"]),
        media: None,
        reply_to: form.text(&["OriginalRepliedMessageSid"]),
    };
    let count = form.get("NumMedia").and_then(|number| number.trim().parse().ok()).unwrap_or(0);
    for number in 0..MOST_FILES.min(count) {
        let mime = form.text(&[format!("MediaContentType{number}").as_str()]);
        let mut file = written.clone();
        if number > 0 {
            file.event_id = format!("{}:{number}", file.event_id);
            file.text = None;
        }
        file.kind = kind(mime.as_deref().unwrap_or_default());
        let source = form.get(&format!("MediaUrl{number}")).and_then(source);
        file.media = source.map(|source| InboundMedia { mime, source, ..InboundMedia::default() });
        told.push(Told::Written(Box::new(file)));
    }
    if count == 0 {
        told.push(Told::Written(Box::new(words(written, form))));
    }
    told
}

/// A message without a file.
fn words(written: Written, form: &Form) -> Written {
    if let Some(chosen) = form.text(&["ButtonText", "ListTitle"]) {
        return Written { kind: "choice", text: Some(chosen), ..written };
    }
    let kind = match &written.text {
        _ if form.get("Latitude").is_some() => "location",
        Some(_) => "text",
        None => "other",
    };
    let field = |name: &str| form.get(name).map_or(Value::Null, Value::from);
    let fields = fields::place(&field("Latitude"), &field("Longitude"), &field("Label"), &field("Address"));
    Written { kind, fields, ..written }
}

/// Whether the event is about this account, as far as it says.
fn is_own(options: &TwilioOptions, form: &Form, ours: &str) -> bool {
    let sender = match &options.from {
        Sender::Number(digits) => form.get(ours).is_none_or(|given| {
            given.trim().trim_start_matches("whatsapp:").trim_start_matches('+') == digits.as_str()
        }),
        Sender::Service(id) => form.get("MessagingServiceSid").is_none_or(|given| given == id),
    };
    sender && form.get("AccountSid").is_none_or(|given| given == options.account_sid)
}

fn fate(status: &str, form: &Form) -> Option<Fate> {
    Some(match status {
        "accepted" | "scheduled" | "queued" | "sending" => Fate::Reached(MessageState::Accepted),
        "sent" => Fate::Reached(MessageState::Sent),
        "delivered" => Fate::Reached(MessageState::Delivered),
        "read" => Fate::Reached(MessageState::Read),
        "failed" | "undelivered" | "canceled" => {
            let code = form.get("ErrorCode").and_then(|code| code.trim().parse::<i64>().ok());
            let class = code.and_then(|code| classify(code, None)).unwrap_or(ErrorClass::Invalid);
            let mut error = format!("twilio reported `{status}`");
            if let Some(code) = code {
                error = format!("{error} with the error {code}");
            }
            if let Some(said) = form.text(&["ChannelStatusMessage", "ErrorMessage"]) {
                error = format!("{error}: {said}");
            }
            Fate::Failed { class, error: shortened(&readable(&error), LONGEST_ERROR) }
        }
        _ => return None,
    })
}

/// The kind of a file; which sounds are voice notes is not told, but those are Opus in OGG.
fn kind(mime: &str) -> &'static str {
    match mime.split(';').next().unwrap_or_default().trim() {
        "image/webp" => "sticker",
        "audio/ogg" => "voice",
        "text/vcard" | "text/x-vcard" => "contact",
        mime if mime.starts_with("image/") => "image",
        mime if mime.starts_with("video/") => "video",
        mime if mime.starts_with("audio/") => "audio",
        _ => "file",
    }
}

/// The two ids in the address of a file.
fn source(url: &str) -> Option<String> {
    let url = Url::parse(url.trim()).ok()?;
    let parts: Vec<&str> = url.path_segments()?.collect();
    match parts.as_slice() {
        [.., "Messages", message, "Media", file] => Some(format!("{message}/{file}")),
        _ => None,
    }
}

/// The path of a file of this account. Of a source only ids are taken: other paths tell the
/// account's secrets.
pub fn path(account: &str, source: &str) -> Option<String> {
    let (message, file) = source.split_once('/')?;
    let is_id = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_id(message) && is_id(file)).then(|| format!("{account}/Messages/{message}/Media/{file}"))
}

/// Gets a file: Twilio sends whoever has the credentials on to a store, which wants none.
///
/// # Errors
/// A sentence.
pub async fn download(wire: Wire, client: Client, base: Url, path: Option<String>) -> Result<Vec<u8>, String> {
    let path = path.ok_or("this is no file at twilio")?;
    let broken = |error: reqwest::Error| format!("twilio cannot be asked for the file: {}", error.without_url());
    let answer = wire.request(Method::GET, &path).send().await.map_err(broken)?;
    let is_elsewhere = answer.status().is_redirection();
    let target = answer.headers().get(LOCATION).and_then(|value| answer.url().join(value.to_str().ok()?).ok());
    drop(answer);
    if !is_elsewhere {
        // A stand-in that keeps its files itself: it is asked again, with the patience that files take.
        return bytes(wire.request(Method::GET, &path)).await;
    }
    match target.filter(|target| is_store(target, &base)) {
        Some(target) => bytes(client.get(target)).await,
        None => Err("twilio named a place for the file that is no store of its own".into()),
    }
}

fn is_store(url: &Url, base: &Url) -> bool {
    let stores = [".twilio.com", ".twiliocdn.com", ".amazonaws.com"];
    let known = url.host_str().is_some_and(|host| stores.iter().any(|store| host.ends_with(store)));
    url.origin() == base.origin() || (known && url.scheme() == "https")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::secret::Secret;
    use crate::transport::events::second;

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";
    const CALL: &str = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309\
                        &To=%2B18005551212";

    fn hear(url: Option<&str>, by_token: bool, signature: &str, body: &str) -> Result<Heard, NotHeard> {
        let options = TwilioOptions {
            url: Url::parse("https://api.twilio.com").unwrap(),
            account_sid: "AC1".into(),
            auth_token: Secret::new("12345"),
            from: Sender::Number("14155238886".into()),
            timeout: Duration::from_secs(1),
        };
        let header = |name: &str| (name == "x-twilio-signature").then(|| signature.to_owned());
        let (body, now) = (body.as_bytes(), second(5));
        read(&options, &Incoming { is_get: false, path: "", query: "", url, header: &header, body, by_token, now })
    }

    fn told(body: &str) -> Vec<Told> {
        match hear(None, true, "", body) {
            Ok(Heard::Told(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_signature_is_over_address_and_fields() {
        let heard = Ok(Heard::Told(Vec::new()));
        assert_eq!(hear(Some(URL), false, SIGNATURE, CALL), heard);
        assert_eq!(hear(Some("https://mycompany.com:443/myapp.php?foo=1&bar=2"), false, SIGNATURE, CALL), heard);
        // The order in which fields come does not matter; what they say does.
        let (first, rest) = CALL.split_once('&').unwrap();
        assert_eq!(hear(Some(URL), false, SIGNATURE, &format!("{rest}&{first}")), heard);
        assert_eq!(hear(Some(URL), true, SIGNATURE, &CALL.replace("1234&", "1235&")), Err(NotHeard::Forged));
        assert_eq!(hear(Some(URL), false, "SSOYDt4T1cUTdK1PDd93/VVr8B8=", CALL), Err(NotHeard::Forged));
        assert_eq!(hear(Some("https://mycompany.com/"), false, SIGNATURE, CALL), Err(NotHeard::Forged));
        assert_eq!(hear(None, false, SIGNATURE, CALL), Err(NotHeard::Unverifiable));
        assert_eq!(hear(None, true, "", CALL), heard);
    }

    const INBOUND: &str = "MessageSid=SM1&AccountSid=AC1&From=whatsapp%3A%2B15417543010&To=whatsapp%3A%2B14155238886\
                           &WaId=15417543010&ProfileName=Ada&OriginalRepliedMessageSid=MM0&SmsStatus=received";

    #[test]
    fn messages_are_read() {
        let from = Recipient::Phone("15417543010".into());
        let text = Written {
            fields: None,
            event_id: "message:SM1".into(),
            message_id: "SM1".into(),
            at: second(5),
            chat: from.clone(),
            from,
            name: Some("Ada".into()),
            kind: "text",
            text: Some("Hi".into()),
            media: None,
            reply_to: Some("MM0".into()),
        };
        let written = |written: &Written| Told::Written(Box::new(written.clone()));
        assert_eq!(told(&format!("{INBOUND}&Body=Hi&NumMedia=0")), [written(&text)]);
        let choice = Written { kind: "choice", text: Some("Yes".into()), ..text.clone() };
        assert_eq!(told(&format!("{INBOUND}&Body=Yes&ButtonText=Yes&ButtonPayload=1")), [written(&choice)]);
        let files = "NumMedia=2&MediaContentType0=image/jpeg&MediaContentType1=application/pdf\
            &MediaUrl0=https://api.twilio.com/2010-04-01/Accounts/AC1/Messages/MM1/Media/ME1&MediaUrl1=x";
        let media = InboundMedia { mime: Some("image/jpeg".into()), source: "MM1/ME1".into(), ..Default::default() };
        let image = Written { kind: "image", media: Some(media), ..text.clone() };
        let file = Written { event_id: "message:SM1:1".into(), kind: "file", text: None, ..text };
        assert_eq!(told(&format!("{INBOUND}&Body=Hi&{files}")), [written(&image), written(&file)]);
        for odd in ["", "a=b", "MessageSid=SM1", &INBOUND.replace("14155238886", "14155238887"), "\u{0}=&%ff"] {
            assert!(told(odd).is_empty(), "{odd}");
        }
        assert!(told(&INBOUND.replace("whatsapp%3A", "").replace("&WaId=15417543010", "")).is_empty());
    }

    #[test]
    fn statuses_are_acks() {
        let status = |more: &str| told(&format!("MessageSid=SM1&From=whatsapp%3A%2B14155238886&{more}"));
        let ack = |fate| [Told::Ack(Ack { message_id: "SM1".into(), fate, ours: None, chat: None })];
        assert_eq!(status("MessageStatus=read&EventType=READ"), ack(Fate::Reached(MessageState::Read)));
        let error = "twilio reported `undelivered` with the error 63016".to_owned();
        let fate = Fate::Failed { class: ErrorClass::WindowClosed, error };
        assert_eq!(status("MessageStatus=undelivered&ErrorCode=63016"), ack(fate));
        assert!(status("MessageStatus=odd").is_empty());
    }

    #[test]
    fn files_are_those_of_messages() {
        let account = "2010-04-01/Accounts/AC1";
        let path = |source: &str| super::path(account, source);
        assert_eq!(path("MM1/ME1"), Some(format!("{account}/Messages/MM1/Media/ME1")));
        for source in ["", "MM1", "MM1/", "../../AC1.json", "MM1/..", "MM1/ME1?x", "https://evil.example/a"] {
            assert_eq!(path(source), None, "{source}");
        }
        let base = Url::parse("https://api.twilio.com").unwrap();
        let is_store = |url: &str| super::is_store(&Url::parse(url).unwrap(), &base);
        assert!(is_store("https://mms.twiliocdn.com/AC1/x") && is_store("https://api.twilio.com/x"));
        assert!(!is_store("http://mms.twiliocdn.com/x") && !is_store("https://169.254.169.254/x"));
    }
}
