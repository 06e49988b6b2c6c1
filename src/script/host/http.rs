//! `http::`: what a script asks of other servers.

use rhai::{Array, Dynamic, Map, Module, NativeCallContext};
use serde_json::{Value, json};

use super::options::Options;
use crate::model::call::{Call, CallBody, Piece, Veiled, is_framing, is_name};
use crate::model::journal::Kind;
use crate::model::question::{Errand, Question};
use crate::model::run::ScriptError;
use crate::script::error::{HostResult, at, thrown};
use crate::script::limits::room_for;
use crate::script::printed::plain;
use crate::script::state::{self, json as text};
use crate::script::types::SecretText;
use crate::script::types::type_name;
use crate::script::value::{read_json, to_dynamic, to_json_veiled};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const OPTIONS: [&str; 5] = ["headers", "query", "form", "timeout", "expect"];
/// How long an answer may take if nobody says, and at most.
const USUAL: u64 = 30_000;
const LONGEST: u64 = 600_000;
/// Most requests of one `http::all`.
const MOST: usize = 100;

/// A call with what is expected of its answer.
struct Wanted {
    call: Call,
    expect: Option<String>,
    /// A header that is not the script's to set.
    framing: Option<String>,
}

fn veiled(value: &Dynamic, what: &str) -> HostResult<Veiled> {
    if let Some(secret) = value.read_lock::<SecretText>() {
        return Ok(secret.0.clone());
    }
    match value.is_string() || value.is_int() || value.is_float() || value.is_bool() {
        true => {
            room_for(value.as_immutable_string_ref().map_or(0, |text| text.len()) as u64)?;
            Ok(Veiled::plain(value.to_string()))
        }
        false => {
            let found = type_name(value);
            Err(thrown("type", format!("{what} takes a text, a number or a secret, not a value of type {found}")))
        }
    }
}

fn pairs(options: &Options<'_>, name: &'static str) -> HostResult<Vec<(String, Veiled)>> {
    let Some(value) = options.get(name) else { return Ok(Vec::new()) };
    let Some(map) = value.read_lock::<Map>() else { return Err(options.wrong(name, "a map", value)) };
    let mut pairs = Vec::new();
    for (key, value) in map.iter() {
        let what = format!("{}: `{key}` of option `{name}`", options.function);
        // A list stands for several of that name.
        match value.read_lock::<Array>() {
            Some(items) => {
                for item in items.iter() {
                    pairs.push((key.to_string(), veiled(item, &what)?));
                }
            }
            None => pairs.push((key.to_string(), veiled(value, &what)?)),
        }
    }
    Ok(pairs)
}

fn body_of(function: &str, body: &Dynamic) -> HostResult<Option<CallBody>> {
    if body.is_unit() {
        return Ok(None);
    }
    if let Some(secret) = body.read_lock::<SecretText>() {
        return Ok(Some(CallBody::Text(secret.0.clone())));
    }
    if let Ok(text) = body.as_immutable_string_ref() {
        // It is copied for the call, and once more, with room to grow, for the journal.
        room_for((text.len() as u64).saturating_mul(4))?;
        return Ok(Some(CallBody::Text(Veiled::plain(text.as_str()))));
    }
    let json = to_json_veiled(body).map_err(|error| thrown("invalid", format!("{function}: the body: {error}")))?;
    Ok(Some(CallBody::Json(json)))
}

/// Where a request goes. What stands behind the server may hold secrets; then it is kept apart, and the server
/// is all that is shown.
fn address(function: &str, url: &Dynamic) -> HostResult<(String, Option<Veiled>)> {
    let invalid = |message: String| thrown("invalid", format!("{function}: {message}"));
    let (begin, secret) = match url.read_lock::<SecretText>() {
        Some(secret) => {
            let secret = secret.0.joined();
            let begin = match secret.0.first() {
                Some(Piece::Plain(text)) => text.clone(),
                _ => String::new(),
            };
            (begin, Some(secret))
        }
        None => match url.as_immutable_string_ref() {
            Ok(url) => (url.to_string(), None),
            Err(_) => {
                let found = type_name(url);
                return Err(thrown("type", format!("{function}: an address is a text, not a value of type {found}")));
            }
        },
    };
    let server = begin.find("://").and_then(|end| Some(end + 3 + begin[end + 3..].find(['/', '?', '#', '\\'])?));
    let behind = server.map_or("", |server| &begin[server..]);
    if secret.is_some() && !behind.starts_with('/') {
        let message = "a secret may not name the server; it stands behind the server's `/`, \
            such as in `\"https://hooks.example.com/\" + secret(\"PATH\")`, or in the option `query` or `headers`";
        return Err(invalid(message.into()));
    }
    let known = url::Url::parse(&begin).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(parsed) = known else {
        return Err(invalid(format!("`{begin}` is no web address; it begins with http:// or https://")));
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(invalid("credentials do not belong into an address; put them into the option `headers`".into()));
    }
    let Some(mut secret) = secret else { return Ok((begin, None)) };
    let last = secret.0.iter().rposition(|piece| matches!(piece, Piece::Named { .. })).unwrap_or_default();
    if secret.0[..last].iter().any(|piece| matches!(piece, Piece::Plain(text) if text.contains(['?', '#']))) {
        return Err(invalid("a secret does not belong behind an address's `?` or `#`; use the option `query`".into()));
    }
    if let Some(first) = secret.0.first_mut() {
        *first = Piece::Plain(behind.to_owned());
    }
    Ok((parsed.origin().ascii_serialization(), Some(secret)))
}

fn wanted(function: &'static str, method: &str, url: &Dynamic, body: &Dynamic, options: &Map) -> HostResult<Wanted> {
    let invalid = |message: String| thrown("invalid", format!("{function}: {message}"));
    let (url, path) = address(function, url)?;
    let options = Options::only(function, options, &OPTIONS)?;
    let mut body = body_of(function, body)?;
    if options.get("form").is_some() {
        if body.is_some() {
            return Err(invalid("give a body or the option `form`, not both".into()));
        }
        body = Some(CallBody::Form(pairs(&options, "form")?));
    }
    let mut headers = pairs(&options, "headers")?;
    let mut framing = None;
    for (name, value) in &mut headers {
        let plain = |text: &str| text.bytes().all(|b| b == b'\t' || (b >= 0x20 && b != 0x7f));
        if !is_name(name) || !plain(&value.by_name()) {
            return Err(invalid(format!("`{name}` is no header that can be sent")));
        }
        name.make_ascii_lowercase();
        // How a body is packed the script may know, for it may have packed it.
        if is_framing(name) && !matches!(name.as_str(), "content-encoding" | "date") {
            framing = Some(format!(
                "{function}: `{name}` belongs to the connection, which is not the script's; leave it out"
            ));
        }
    }
    let timeout = options.span("timeout")?.map_or(USUAL, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    if !(1..=LONGEST).contains(&timeout) {
        return Err(options.invalid("timeout", "it lies between 1 ms and 10 minutes"));
    }
    let query = pairs(&options, "query")?;
    let expect = options.get("expect").map(plain);
    if let Some(expect) = expect.as_deref().filter(|expect| !is_pattern(expect)) {
        return Err(options.invalid("expect", &format!("`{expect}` is no status such as \"2xx\" or \"200\"")));
    }
    let call = Call { method: method.into(), url, path, query, headers, body, timeout };
    Ok(Wanted { call, expect, framing })
}

fn is_pattern(expect: &str) -> bool {
    let bytes = expect.as_bytes();
    bytes.len() == 3
        && (b'1'..=b'5').contains(&bytes[0])
        && (bytes[1..].iter().all(u8::is_ascii_digit) || bytes[1..].eq_ignore_ascii_case(b"xx"))
}

fn fits(expect: &str, status: i64) -> bool {
    let status = status.to_string();
    expect.eq_ignore_ascii_case(&status) || (expect[1..].eq_ignore_ascii_case("xx") && status.starts_with(&expect[..1]))
}

/// The answer as scripts see it: what was recorded, and the body as JSON if it is some.
fn answer(recorded: &Value) -> Dynamic {
    let answer = to_dynamic(recorded);
    let Some(mut map) = answer.clone().try_cast::<Map>() else { return answer };
    let parsed = recorded["body"].as_str().and_then(|body| read_json(body).ok());
    map.insert("json".into(), parsed.unwrap_or(Dynamic::UNIT));
    map.into()
}

fn unexpected(function: &str, wanted: &Wanted, recorded: &Value) -> Option<String> {
    let (expect, status) = (wanted.expect.as_deref()?, recorded["status"].as_i64()?);
    if fits(expect, status) {
        return None;
    }
    let said: String = recorded["body"].as_str().unwrap_or_default().chars().take(200).collect();
    let url = wanted.call.url.split(['?', '#']).next().unwrap_or_default();
    Some(format!("{function}: {} {url} answered {status} where {expect} was expected: {said}", wanted.call.method))
}

fn one(ctx: &NativeCallContext, function: &'static str, wanted: Wanted) -> HostResult<Dynamic> {
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let request = text(&[&wanted.call])?;
        match turn.recall(Kind::Http, &request)? {
            Some(recorded) => match unexpected(function, &wanted, &recorded) {
                Some(message) => Err(thrown("status", message)),
                None => Ok(answer(&recorded)),
            },
            None => {
                if let Some(why) = wanted.framing {
                    return turn.refuse(Kind::Http, request, line, ScriptError::new("invalid", why));
                }
                let errand = Errand::Http { calls: vec![wanted.call], all: false, again: Vec::new() };
                turn.ask(Kind::Http, request, line, Question::Errand(errand))
            }
        }
    })
}

fn request(function: &'static str, map: &Map) -> HostResult<Wanted> {
    let mut options = map.clone();
    let mut take = |name: &str| options.remove(name).unwrap_or(Dynamic::UNIT);
    let (method, url, body) = (take("method"), take("url"), take("body"));
    let method = if method.is_unit() { "GET".to_owned() } else { plain(&method).to_ascii_uppercase() };
    if !METHODS.contains(&method.as_str()) {
        return Err(thrown("invalid", format!("{function}: `method` is one of {}", METHODS.join(", "))));
    }
    wanted(function, &method, &url, &body, &options)
}

fn all(ctx: &NativeCallContext, items: Array) -> HostResult<Array> {
    if items.is_empty() || items.len() > MOST {
        return Err(thrown("invalid", format!("http::all takes 1 to {MOST} requests, not {}", items.len())));
    }
    let mut calls = Vec::with_capacity(items.len());
    for item in &items {
        let Some(map) = item.read_lock::<Map>() else {
            let found = type_name(item);
            let message = format!("http::all takes an array of maps such as #{{ url: \"...\" }}, not of type {found}");
            return Err(thrown("type", message));
        };
        calls.push(request("http::all", &map)?);
    }
    let line = state::line(ctx);
    state::with(ctx, |turn| {
        let request = text(&calls.iter().map(|wanted| &wanted.call).collect::<Vec<_>>())?;
        let Some(recorded) = turn.recall(Kind::Http, &request)? else {
            if let Some(why) = calls.iter().find_map(|wanted| wanted.framing.clone()) {
                return turn.refuse(Kind::Http, request, line, ScriptError::new("invalid", why));
            }
            let calls = calls.into_iter().map(|wanted| wanted.call).collect();
            let errand = Errand::Http { calls, all: true, again: Vec::new() };
            return turn.ask(Kind::Http, request, line, Question::Errand(errand));
        };
        let recorded = recorded.as_array().cloned().unwrap_or_default();
        let answers = calls.iter().zip(recorded).map(|(wanted, mut recorded)| {
            // Each has its own fate: what was not as expected says so beside the others.
            if let Some(message) = unexpected("http::all", wanted, &recorded) {
                recorded["ok"] = false.into();
                recorded["error"] = json!({ "kind": "status", "message": message });
            }
            answer(&recorded)
        });
        Ok(answers.collect())
    })
}

/// The `http::` functions.
pub fn space() -> Module {
    let mut module = Module::new();
    // Those that usually carry nothing, ...
    for (name, function, method) in
        [("get", "http::get", "GET"), ("delete", "http::delete", "DELETE"), ("head", "http::head", "HEAD")]
    {
        let call = move |ctx: &NativeCallContext, url: Dynamic, options: Map| {
            let wanted = at(ctx, wanted(function, method, &url, &Dynamic::UNIT, &options))?;
            one(ctx, function, wanted)
        };
        module.set_native_fn(name, move |ctx: NativeCallContext, url: Dynamic| call(&ctx, url, Map::new()));
        module.set_native_fn(name, move |ctx: NativeCallContext, url: Dynamic, options: Map| call(&ctx, url, options));
    }
    // ... and those that usually do.
    for (name, function, method) in
        [("post", "http::post", "POST"), ("put", "http::put", "PUT"), ("patch", "http::patch", "PATCH")]
    {
        let call = move |ctx: &NativeCallContext, url: Dynamic, body: Dynamic, options: Map| {
            let wanted = at(ctx, wanted(function, method, &url, &body, &options))?;
            one(ctx, function, wanted)
        };
        module.set_native_fn(name, move |ctx: NativeCallContext, url: Dynamic| {
            call(&ctx, url, Dynamic::UNIT, Map::new())
        });
        module.set_native_fn(name, move |ctx: NativeCallContext, url: Dynamic, body: Dynamic| {
            call(&ctx, url, body, Map::new())
        });
        module.set_native_fn(name, move |ctx: NativeCallContext, url: Dynamic, body: Dynamic, options: Map| {
            call(&ctx, url, body, options)
        });
    }
    // A body where it is unusual is given with options, possibly none.
    module.set_native_fn("delete", |ctx: NativeCallContext, url: Dynamic, body: Dynamic, options: Map| {
        let wanted = wanted("http::delete", "DELETE", &url, &body, &options);
        one(&ctx, "http::delete", at(&ctx, wanted)?)
    });
    module.set_native_fn("request", |ctx: NativeCallContext, map: Map| {
        let wanted = at(&ctx, request("http::request", &map))?;
        one(&ctx, "http::request", wanted)
    });
    module.set_native_fn("all", |ctx: NativeCallContext, items: Array| {
        let answers = all(&ctx, items);
        at(&ctx, answers)
    });
    module
}
