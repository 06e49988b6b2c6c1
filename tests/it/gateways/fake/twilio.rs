//! Twilio's Messages resource for WhatsApp, after GATEWAYS section 7.2 and Twilio's pages on it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Dialect;
use super::strict::{Checked, Got, Object, is_phone, is_web};

const SID: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "t0k/+twilio=one";
const FROM: &str = "whatsapp:+14155238886";

pub const DIALECT: Dialect = Dialect {
    name: "twilio",
    settings: "account_sid: AC0123456789abcdef0123456789abcdef\n\
               auth_token: \"t0k/+twilio=one\"\n\
               from: \"+14155238886\"",
    secrets: &[TOKEN],
    check,
};

/// Kinds of files that WhatsApp shows without a text: a `Body` beside them would be lost.
const WITHOUT_TEXT: &[&str] = &[
    "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "csv", "txt", "zip", "vcf", "aac", "amr", "mp3", "m4a", "oga",
    "ogg", "opus",
];

fn check(got: &Got) -> Checked {
    if got.method != "POST" || got.path != format!("/2010-04-01/Accounts/{SID}/Messages.json") {
        return Err("no such endpoint".into());
    }
    got.wants_header("authorization", &format!("Basic {}", STANDARD.encode(format!("{SID}:{TOKEN}"))))?;
    got.wants_no_query()?;
    let mut fields = Map::new();
    for (name, value) in got.form()? {
        // `MediaUrl` may be repeated, but WhatsApp would use only the first.
        if fields.insert(name.clone(), Value::from(value)).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    let mut form = Object::of(&Value::Object(fields), "the form")?;
    form.any("future");
    let to = form.text("To")?;
    if !to.strip_prefix("whatsapp:+").is_some_and(is_phone) {
        return Err(format!("To `{to}` is not whatsapp:+digits"));
    }
    let (from, service) = (form.maybe_text("From")?, form.maybe_text("MessagingServiceSid")?);
    match (from.as_deref(), service.as_deref()) {
        (Some(FROM), None) => {}
        // Not what these settings say, but one that a raw field may choose.
        (None, Some(service)) if is_sid(service, "MG") => {}
        _ => return Err(format!("wanted either From {FROM} or a service, got {from:?} and {service:?}")),
    }
    let body = form.maybe_text("Body")?;
    if body.as_deref().is_some_and(|body| body.trim().is_empty() || body.chars().count() > 1600) {
        return Err("Body is empty or has more than 1600 characters".into());
    }
    let media = form.maybe_text("MediaUrl")?;
    if let Some(url) = &media {
        if !is_web(url) {
            return Err(format!("MediaUrl `{url}` is no web address"));
        }
        let path = url.split(['?', '#']).next().unwrap_or_default();
        let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        if body.is_some() && WITHOUT_TEXT.contains(&ending.as_str()) {
            return Err(format!("Body would be lost beside a file like `{url}`"));
        }
    }
    let template = form.maybe_text("ContentSid")?;
    content(&mut form, template.as_deref())?;
    match (&template, body.is_some() || media.is_some()) {
        (Some(_), true) => return Err("Body and MediaUrl do not go with ContentSid".into()),
        // Twilio's error 21619; a PersistentAction alone is no message.
        (None, false) => return Err("one of Body, MediaUrl, ContentSid is required".into()),
        _ => {}
    }
    location(&mut form)?;
    delivery(&mut form, service.is_some())?;
    form.end()?;
    Ok((201, answer(mark(&got.body), &to, from, service, body, media.is_some())))
}

/// A number of the body's own, so that different messages get different ids.
fn mark(bytes: &[u8]) -> u64 {
    bytes.iter().fold(7, |mark: u64, byte| mark.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

/// Whether a text is a SID: two letters and 32 hexadecimal digits.
fn is_sid(text: &str, kind: &str) -> bool {
    text.strip_prefix(kind).is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The template's id and its variables, which are JSON in a text.
fn content(form: &mut Object, template: Option<&str>) -> Result<(), String> {
    if template.is_some_and(|sid| !is_sid(sid, "HX")) {
        return Err(format!("ContentSid {template:?} is no HX and 32 hexadecimal digits"));
    }
    let Some(text) = form.maybe_text("ContentVariables")? else { return Ok(()) };
    let variables: Value = serde_json::from_str(&text).map_err(|error| format!("ContentVariables: {error}"))?;
    let all_texts = variables.as_object().is_some_and(|variables| variables.values().all(Value::is_string));
    match template.is_some() && all_texts {
        true => Ok(()),
        false => Err(format!("ContentVariables `{text}` is no object of texts, or ContentSid is missing")),
    }
}

/// `geo:lat,lon`, then a bar and the name. The sheet does not say what a place without a name looks
/// like; nothing at all after the numbers is let pass, a bar without a name is not.
fn location(form: &mut Object) -> Result<(), String> {
    let Some(action) = form.maybe_text("PersistentAction")? else { return Ok(()) };
    let fits = action.strip_prefix("geo:").is_some_and(|place| {
        let (numbers, name) = place.split_once('|').map_or((place, None), |(numbers, name)| (numbers, Some(name)));
        let (latitude, longitude) = numbers.split_once(',').unwrap_or_default();
        let within = |text: &str, limit: f64| text.parse::<f64>().is_ok_and(|number| number.abs() <= limit);
        within(latitude, 90.0) && within(longitude, 180.0) && name.is_none_or(|name| !name.trim().is_empty())
    });
    match fits {
        true => Ok(()),
        false => Err(format!("PersistentAction `{action}` is not geo:lat,lon|name")),
    }
}

fn delivery(form: &mut Object, service: bool) -> Result<(), String> {
    if let Some(url) = form.maybe_text("StatusCallback")?
        && !is_web(&url)
    {
        return Err(format!("StatusCallback `{url}` is no web address"));
    }
    match (form.maybe_text("ScheduleType")?.as_deref(), form.maybe_text("SendAt")?) {
        (None, None) => {}
        (Some("fixed"), Some(_)) if service => {}
        _ => return Err("a schedule is ScheduleType fixed, SendAt, and a Messaging Service".into()),
    }
    if let Some(period) = form.maybe_text("ValidityPeriod")?
        && !period.parse::<u32>().is_ok_and(|seconds| (1..=36_000).contains(&seconds))
    {
        return Err(format!("ValidityPeriod is `{period}`, wanted 1 to 36000"));
    }
    match form.maybe_text("ShortenUrls")?.as_deref() {
        None | Some("true" | "false") => Ok(()),
        Some(other) => Err(format!("ShortenUrls is `{other}`, wanted true or false")),
    }
}

fn answer(
    mark: u64,
    to: &str,
    from: Option<String>,
    service: Option<String>,
    body: Option<String>,
    media: bool,
) -> Value {
    let sid = format!("SM{mark:016x}{:016x}", !mark);
    let uri = format!("/2010-04-01/Accounts/{SID}/Messages/{sid}");
    json!({
        "account_sid": SID,
        "api_version": "2010-04-01",
        "body": body.unwrap_or_default(),
        "date_created": "Thu, 24 Sep 2026 05:01:45 +0000",
        "date_sent": null,
        "date_updated": "Thu, 24 Sep 2026 05:01:45 +0000",
        "direction": "outbound-api",
        "error_code": null,
        "error_message": null,
        "from": from,
        "messaging_service_sid": service,
        "num_media": if media { "1" } else { "0" },
        "num_segments": "1",
        "price": null,
        "price_unit": null,
        "sid": sid,
        "status": if service.is_some() { "accepted" } else { "queued" },
        "subresource_uris": { "media": format!("{uri}/Media.json") },
        "to": to,
        "uri": format!("{uri}.json"),
    })
}

const PROXY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>\r\n";

macro_rules! fault {
    ($status:literal, $code:literal, $message:literal, $class:literal) => {
        (
            $status,
            concat!(
                r#"{"code":"#,
                $code,
                r#","message":""#,
                $message,
                r#"","more_info":"https://www.twilio.com/docs/errors/"#,
                $code,
                r#"","status":"#,
                $status,
                "}"
            ),
            $class,
        )
    };
}

/// HTTP status, body, class. Most codes of the sheet come in the status callback; here they stand in
/// the one error body that is documented. The HTTP statuses are not documented per code.
pub const ERRORS: &[(u16, &str, &str)] = &[
    fault!(401, 20003, "Authenticate", "auth"),
    fault!(400, 21603, "A 'From' phone number is required.", "invalid"),
    fault!(400, 63016, "Outside messaging window. For WhatsApp, use a Message Template instead", "window_closed"),
    fault!(429, 20429, "Too Many Requests", "rate_limited"),
    fault!(429, 63017, "Rate limit exceeded for Account", "rate_limited"),
    fault!(429, 63018, "Rate limit exceeded for Channel", "rate_limited"),
    fault!(429, 21611, "This 'From' number has exceeded the maximum number of queued messages", "rate_limited"),
    fault!(429, 30001, "Queue overflow", "rate_limited"),
    fault!(400, 63003, "Channel could not find To address", "recipient_invalid"),
    fault!(400, 63024, "Invalid message recipient", "recipient_invalid"),
    // The sheet calls both a channel error and gives no class; their titles say whose fault it is.
    fault!(400, 63012, "Channel provider returned an internal service error", "upstream"),
    fault!(400, 63021, "Channel invalid content error", "invalid"),
    // The sender, not the message: it is not there, or not for WhatsApp.
    fault!(400, 63007, "Twilio could not find a Channel with the specified From address", "not_connected"),
    fault!(400, 21606, "The 'From' phone number is not a valid, SMS-capable number", "not_connected"),
    fault!(400, 21703, "The Messaging Service does not have a phone number available", "not_connected"),
    fault!(400, 63051, "WhatsApp Business Account is locked", "quota"),
    fault!(400, 63112, "The Meta and/or WhatsApp Business Accounts were disabled by Meta", "quota"),
    // Meta's 131049: one person has had enough for the day.
    fault!(400, 63049, "Meta chose not to deliver this marketing message", "rate_limited"),
    // The cap is the whole account's over 24 hours: pausing loses nothing, trying on would.
    fault!(429, 63038, "Account exceeded the daily messages limit", "quota"),
    // There is no idempotency, and a proxy may have passed the request on.
    (502, PROXY, "ambiguous"),
];
