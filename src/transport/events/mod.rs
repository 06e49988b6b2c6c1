//! What gateways send to us: what their dialects have in common.

pub mod fields;

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use url::Url;

use super::LARGEST_FILE;
use super::wire::Wire;
use crate::model::inbound::Told;
use crate::model::recipient::Recipient;
use crate::plain::is_blank;

/// Seconds since 1970; what no clock can show becomes 1970.
pub fn second(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or_default()
}

/// A time as gateways write it: RFC 3339, or seconds or milliseconds as a number or a text. What is
/// none of these happened now.
pub fn moment(value: &Value, now: Timestamp) -> Timestamp {
    match whole(value) {
        // In seconds that would be the year 5138.
        Some(number) if number >= 100_000_000_000 => Timestamp::from_millisecond(number).unwrap_or(now),
        Some(number) => second(number),
        None => value.as_str().and_then(|text| text.trim().parse().ok()).unwrap_or(now),
    }
}

/// A whole number, however it is written.
pub fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// A text that says something.
pub fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !is_blank(text)).map(str::to_owned)
}

/// The first of some texts that says something.
pub fn first_text<'a>(values: impl IntoIterator<Item = &'a Value>) -> Option<String> {
    values.into_iter().find_map(text)
}

/// A chat or a person as WhatsApp's own programs write them: `15417543010:12@s.whatsapp.net` is a
/// phone and its twelfth device. Nothing for what no message can go to.
pub fn person(jid: &str) -> Option<Recipient> {
    let jid = jid.trim();
    match jid.split_once('@') {
        Some((id, kind @ ("s.whatsapp.net" | "c.us" | "lid"))) => {
            let user = id.split([':', '.', '_']).next().unwrap_or(id);
            match kind {
                "lid" => Recipient::parse(&format!("{user}@{kind}")).ok(),
                _ => phone(user),
            }
        }
        Some((_, "g.us" | "newsletter")) => Recipient::parse(jid).ok(),
        Some(_) => None,
        // Other writings are people's; gateways write digits.
        None => {
            let bsuid = || Recipient::parse(jid).ok().filter(|address| matches!(address, Recipient::Bsuid(_)));
            phone(jid.strip_prefix('+').unwrap_or(jid)).or_else(bsuid)
        }
    }
}

/// A phone as gateways know it. WhatsApp has it, whatever the numbering plan says.
fn phone(digits: &str) -> Option<Recipient> {
    let fits = (5..=20).contains(&digits.len()) && !digits.starts_with('0');
    (fits && digits.bytes().all(|b| b.is_ascii_digit())).then(|| Recipient::Phone(digits.into()))
}

/// The same from a field that may be missing.
pub fn person_in(value: &Value) -> Option<Recipient> {
    value.as_str().and_then(person)
}

/// Notes that these are addresses of one person, and gives the one to know the person by: the phone,
/// if it is among them.
pub fn one_person(told: &mut Vec<Told>, addresses: impl IntoIterator<Item = Option<Recipient>>) -> Option<Recipient> {
    let mut known: Vec<Recipient> = Vec::new();
    for address in addresses.into_iter().flatten() {
        if !known.contains(&address) {
            known.push(address);
        }
    }
    // The first phone comes first; all else keeps its order.
    known.sort_by_key(|address| !matches!(address, Recipient::Phone(_)));
    let mut known = known.into_iter();
    let first = known.next()?;
    told.extend(known.map(|other| Told::Same(first.clone(), other)));
    Some(first)
}

/// The path (and query) of a file below a gateway's base address. Of a whole address the host is
/// left out: behind a proxy a gateway often does not know its own, and credentials go nowhere else.
pub fn below(base: &Url, source: &str) -> Option<String> {
    // Dots that lead upwards are gone once this has been read.
    let nowhere = Url::parse("http://gateway/").ok()?;
    let address = nowhere.join(source.trim()).ok().filter(|address| matches!(address.scheme(), "http" | "https"))?;
    let path = address.path();
    // A proxy on the way may read these as what they stand for.
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "%2e"].iter().any(|hidden| lower.contains(hidden)) {
        return None;
    }
    let prefix = base.path().trim_end_matches('/');
    let rest = path.strip_prefix(prefix).filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let rest = rest.trim_start_matches('/');
    let query = address.query().map(|query| format!("?{query}")).unwrap_or_default();
    (!rest.is_empty()).then(|| format!("{rest}{query}"))
}

/// The same for gateways that keep all files in one folder: nothing else is fetched by that way.
pub fn below_folder(base: &Url, folder: &str, source: &str) -> Option<String> {
    let path = below(base, source)?;
    // A gateway behind a proxy may write a path in front that our way to it does not have.
    let start = match path.starts_with(folder) {
        true => 0,
        false => path.find(&format!("/{folder}"))? + 1,
    };
    Some(path[start..].to_owned())
}

/// Asks for a file by what [`below`] gave.
pub fn get(wire: &Wire, path: &str) -> RequestBuilder {
    match path.split_once('?') {
        Some((path, query)) => wire.with_query(Method::GET, path, query),
        None => wire.request(Method::GET, path),
    }
}

/// Files are larger than answers.
const PATIENCE: Duration = Duration::from_secs(300);

/// Reads a file from a gateway, [`LARGEST_FILE`] bytes at most.
///
/// # Errors
/// A sentence without the address, which may hold a secret.
pub async fn bytes(request: RequestBuilder) -> Result<Vec<u8>, String> {
    bytes_up_to(LARGEST_FILE, request).await
}

/// The same for a file that comes in other clothes, with `most` bytes.
///
/// # Errors
/// As of [`bytes`].
pub async fn bytes_up_to(most: usize, request: RequestBuilder) -> Result<Vec<u8>, String> {
    let broken = |error: reqwest::Error| match error.is_timeout() {
        true => "the gateway did not give the file in time".to_owned(),
        false => format!("the file cannot be fetched from the gateway: {}", error.without_url()),
    };
    let mut response = request.timeout(PATIENCE).send().await.map_err(broken)?;
    if !response.status().is_success() {
        let status = response.status().as_u16();
        let hint = if matches!(status, 404 | 410) { " (it may have been deleted there)" } else { "" };
        return Err(format!("the gateway answered {status} when asked for the file{hint}"));
    }
    let mut bytes = Vec::new();
    let too_large = || format!("the file is larger than {} MiB", LARGEST_FILE >> 20);
    if response.content_length().is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > most {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A request for tests: by the secret address when there is no header that shows where it is from.
#[cfg(test)]
pub fn post<T>(header: Option<(&str, &str)>, body: &[u8], read: impl FnOnce(&super::Incoming<'_>) -> T) -> T {
    let find = |name: &str| header.filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned());
    read(&super::Incoming {
        is_get: false,
        path: "",
        query: "",
        url: None,
        header: &find,
        body,
        by_token: header.is_none(),
        now: second(1_800_000_000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_gateways_write_them() {
        for (jid, address) in [
            ("15417543010@s.whatsapp.net", "+15417543010"),
            ("15417543010:12@s.whatsapp.net", "+15417543010"),
            ("15417543010@c.us", "+15417543010"),
            ("15417543010", "+15417543010"),
            ("+15417543010", "+15417543010"),
            ("77123456:3@lid", "77123456@lid"),
            ("120363024512345678@g.us", "120363024512345678@g.us"),
            ("1203@newsletter", "1203@newsletter"),
            ("US.13491208655302741918", "US.13491208655302741918"),
        ] {
            assert_eq!(person(jid).map(|address| address.to_string()).as_deref(), Some(address), "{jid}");
        }
        for jid in ["status@broadcast", "", "@", "me", "0@s.whatsapp.net", "1 541 754 3010", "x@lid", "a@b@c.us"] {
            assert_eq!(person(jid), None, "{jid}");
        }
    }

    #[test]
    fn a_person_is_known_by_the_phone() {
        let mut told = Vec::new();
        let from = one_person(&mut told, [person("7@lid"), None, person("15417543010"), person("7@lid")]);
        assert_eq!(from, person("15417543010"));
        assert_eq!(told, [Told::Same(person("15417543010").unwrap(), person("7@lid").unwrap())]);
    }

    #[test]
    fn times_are_read_as_gateways_write_them() {
        let now = second(5);
        for value in [serde_json::json!(1_700_000_000), "1700000000".into(), serde_json::json!(1_700_000_000_000_i64)] {
            assert_eq!(moment(&value, now), second(1_700_000_000));
        }
        assert_eq!(moment(&"2023-11-14T22:13:20Z".into(), now), second(1_700_000_000));
        for odd in [Value::Null, "soon".into(), serde_json::json!(1e300), serde_json::json!(i64::MAX)] {
            assert_eq!(moment(&odd, now), now, "{odd}");
        }
    }

    #[test]
    fn files_stay_below_the_gateway() {
        let base = Url::parse("https://example.com/waha").unwrap();
        for (source, path) in [
            ("http://localhost:3000/api/files/a.jpg?x=1", "api/files/a.jpg?x=1"),
            ("https://example.com/waha/api/files/a.jpg", "api/files/a.jpg"),
            ("statics/media/a.jpg", "statics/media/a.jpg"),
            ("//evil.example/a/../../b", "b"),
            ("https://user:word@evil.example/a", "a"),
        ] {
            assert_eq!(below(&base, source).as_deref(), Some(path), "{source}");
        }
        for source in ["", "/", "file:///etc/passwd", "data:,a", "http://"] {
            assert_eq!(below(&base, source), None, "{source}");
        }
        let file = |source| below_folder(&base, "api/files/", source);
        assert_eq!(file("http://waha:3000/other/api/files/a.jpg").as_deref(), Some("api/files/a.jpg"));
        for source in ["api/files/../sessions", "api/files/%2e%2e/sessions", "https://bucket.s3.example/a.jpg?X=1"] {
            assert_eq!(file(source), None, "{source}");
        }
    }
}
