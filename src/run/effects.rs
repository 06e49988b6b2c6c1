//! Effects: what the engine does outside for the answer to a question. The question is on record
//! before, the answer after; what may have been done already when the engine died is done again in a
//! way that does no harm.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use encoding_rs::{Encoding, UTF_8};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::fetch::{Bounds, Fetch, FetchError, Fetched, Request};
use crate::files::Files;
use crate::flow::Flow;
use crate::id::RunId;
use crate::model::call::{Call, CallBody, is_framing, reveal_json};
use crate::model::question::{Answer, Errand, TOO_LARGE};
use crate::model::run::ScriptError;
use crate::secret::Veil;
use crate::shutdown::Shutdown;
use crate::transport::Download;

/// Most requests to one server at once, and to all of them. More wait, and their time does not run.
const OF_ONE: usize = 128;
const OF_ALL: usize = 2_048;
/// Most files of messages that are fetched at once for an account, and for all: each is held in memory whole.
const FILES: usize = 2;
const FILES_OF_ALL: usize = 3;
/// Most bytes of an answer that a script gets.
const LARGEST: usize = 4 << 20;
/// Most bytes of all answers of one list together, shared evenly.
const LARGEST_LIST: usize = 16 << 20;

/// Where files of incoming messages come from.
pub trait Gateways: Send + Sync {
    /// Gets a file from an account's gateway.
    fn download(&self, account: &str, source: &str) -> Download;
}

/// Runs errands.
pub struct Effects {
    fetch: Fetch,
    files: Files,
    gateways: Arc<dyn Gateways>,
    by_server: Mutex<HashMap<String, Arc<Semaphore>>>,
    all: Semaphore,
    all_files: Semaphore,
}

/// What an address does not have but for its secrets' sake: the path stays one, and its server stays the same.
/// A `%` is left alone, for people copy secrets as they stand in addresses.
const OF_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Who an errand is for.
pub struct Caller<'a> {
    /// The run that asks.
    pub run: RunId,
    /// Its flow, which has the secrets.
    pub flow: &'a Flow,
    /// Where in its journal the answer will stand.
    pub position: u32,
    /// It may have been run before, by an engine that died.
    pub again: bool,
    /// The file of its event that it wants to save.
    pub part: Option<Vec<u8>>,
}

/// How room is waited for.
#[derive(Clone, Copy)]
struct Room<'a> {
    shutdown: &'a Shutdown,
    /// A call of the same list is under way or done: the others are made too, or its answer would be
    /// lost.
    begun: &'a AtomicBool,
}

impl Room<'_> {
    /// Waits for room, but not beyond the end. Nobody ever closes it.
    async fn of<'s>(&self, slots: &'s Semaphore) -> Option<SemaphorePermit<'s>> {
        tokio::select! {
            biased;
            room = slots.acquire() => return room.ok(),
            () = self.shutdown.draining() => {}
        }
        match self.begun.load(Ordering::Relaxed) {
            true => slots.acquire().await.ok(),
            false => None,
        }
    }
}

impl Effects {
    /// By these ways.
    pub fn new(fetch: Fetch, files: Files, gateways: Arc<dyn Gateways>) -> Self {
        let (all, all_files) = (Semaphore::new(OF_ALL), Semaphore::new(FILES_OF_ALL));
        Self { fetch, files, gateways, by_server: Mutex::default(), all, all_files }
    }

    /// Runs one. None when the end has come before it began.
    pub async fn run(&self, errand: &Errand, caller: Caller<'_>, shutdown: &Shutdown) -> Option<Answer> {
        match errand {
            Errand::Http { calls, all, again } => {
                let key = |index: usize| {
                    let again = again.get(index).copied().unwrap_or(0);
                    idempotency_key(caller.run, caller.position, index, again)
                };
                let begun = AtomicBool::new(false);
                let room = Room { shutdown, begun: &begun };
                let most = LARGEST.min(LARGEST_LIST / calls.len().max(1));
                let sent = calls.iter().enumerate();
                let sent = sent.map(|(index, call)| self.call(call, caller.flow, key(index), most, room));
                let mut answers = joined(sent.collect()).await.into_iter().collect::<Option<Vec<Answer>>>()?;
                Some(match all {
                    true => Ok(answers.into_iter().map(|answer| answer.unwrap_or_else(failed)).collect()),
                    false => answers.pop().unwrap_or(Ok(Value::Null)),
                })
            }
            Errand::Move { from, to, seen } => {
                let (files, from, to) = (self.files.clone(), from.clone(), to.clone());
                let seen = seen.filter(|_| caller.again);
                Some(aside(move || files.shift(&from, &to, seen).map(|()| Value::Null)).await)
            }
            Errand::Part { to, .. } => {
                let (files, to, bytes) = (self.files.clone(), to.clone(), caller.part?);
                Some(aside(move || written(&files, &to, &bytes)).await)
            }
            Errand::Save { account, source, mime, to } => {
                let own = self.of(&format!("files of {account}"), FILES);
                let begun = AtomicBool::new(false);
                let room = Room { shutdown, begun: &begun };
                let _own = room.of(&own).await?;
                let _all = room.of(&self.all_files).await?;
                Some(self.save(account, source, mime.as_deref(), to).await)
            }
        }
    }

    async fn save(&self, account: &str, source: &str, mime: Option<&str>, to: &str) -> Answer {
        // What cannot be kept need not be fetched.
        self.files.may_write(to).map_err(|error| ScriptError::new("file", error))?;
        let broken = |error: String| ScriptError::new("media", format!("save: {error}"));
        let bytes = self.gateways.download(account, source).await.map_err(broken)?;
        // A proxy's login page comes with a success too.
        if is_page(&bytes) && mime.is_none_or(|mime| !mime.contains("html")) {
            return Err(broken("a web page came instead of the file; who answers at the account's `url`?".into()));
        }
        let (files, to) = (self.files.clone(), to.to_owned());
        aside(move || written(&files, &to, &bytes)).await
    }

    async fn call(&self, call: &Call, flow: &Flow, key: String, most: usize, room: Room<'_>) -> Option<Answer> {
        let server = Url::parse(&call.url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        let own = self.of(&server, OF_ONE);
        let _own = room.of(&own).await?;
        let _all = room.of(&self.all).await?;
        room.begun.store(true, Ordering::Relaxed);
        Some(self.called(call, flow, &key, most).await)
    }

    async fn called(&self, call: &Call, flow: &Flow, key: &str, most: usize) -> Answer {
        let request = request(call, flow, key)?;
        // Also one that another request told may come back here.
        let veil = flow.veil();
        let bounds = Bounds { time: Duration::from_millis(call.timeout), bytes: most };
        let fetched = self.fetch.send(request, bounds).await.map_err(|error| {
            let kind = match &error {
                FetchError::Refused(_) => "refused",
                FetchError::Slow(_) => "timeout",
                FetchError::Unreachable(_) | FetchError::Circles(_) => "unreachable",
            };
            ScriptError::new(kind, veil.drawn_over(format!("http: {}: {error}", shown(&call.url))))
        })?;
        // What JSON writes with six signs a byte must not burst the journal either.
        let recorded = answer(call, &fetched, veil).filter(|answer| answer.to_string().len() <= 2 * most + (64 << 10));
        recorded.ok_or_else(|| {
            let message = format!("http: {} answered more than {} KiB", shown(&call.url), most >> 10);
            ScriptError::new(TOO_LARGE, message)
        })
    }

    fn of(&self, server: &str, room: usize) -> Arc<Semaphore> {
        let mut known = self.by_server.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > 1_000 {
            known.retain(|_, slots| Arc::strong_count(slots) > 1);
        }
        known.entry(server.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(room))).clone()
    }
}

fn written(files: &Files, to: &str, bytes: &[u8]) -> Result<Value, String> {
    files.write(to, bytes)?;
    Ok(json!({ "path": to, "size": bytes.len() }))
}

fn is_page(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    begins("<!doctype html") || begins("<html")
}

/// Work with files, on a thread that may block.
async fn aside(work: impl FnOnce() -> Result<Value, String> + Send + 'static) -> Answer {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(error.to_string())).map_err(|error| ScriptError::new("file", error))
}

/// All of them at once, each with its answer.
async fn joined<T, F: Future<Output = T>>(mut calls: Vec<F>) -> Vec<T> {
    if calls.len() == 1 {
        return match calls.pop() {
            Some(call) => vec![call.await],
            None => Vec::new(),
        };
    }
    let mut calls: Vec<_> = calls.into_iter().map(|call| (Box::pin(call), None)).collect();
    std::future::poll_fn(|context| {
        for (call, answer) in &mut calls {
            if answer.is_none()
                && let std::task::Poll::Ready(ready) = call.as_mut().poll(context)
            {
                *answer = Some(ready);
            }
        }
        match calls.iter().all(|(_, answer)| answer.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    calls.into_iter().filter_map(|(_, answer)| answer).collect()
}

/// What stands in a list for a call that got no answer.
fn failed(error: ScriptError) -> Value {
    json!({
        "status": 0,
        "ok": false,
        "headers": {},
        "body": "",
        "error": { "kind": error.kind, "message": error.message },
    })
}

/// The same for the same question, until an answer has come.
fn idempotency_key(run: RunId, position: u32, index: usize, again: u32) -> String {
    let mut hash = Sha256::new();
    hash.update(b"idempotency");
    hash.update(run.as_bytes());
    hash.update(position.to_be_bytes());
    hash.update((index as u64).to_be_bytes());
    hash.update(again.to_be_bytes());
    hex::encode(&hash.finalize()[..16])
}

/// The request with its secrets filled in.
fn request(call: &Call, flow: &Flow, key: &str) -> Result<Request, ScriptError> {
    let lookup = |name: &str| Some(flow.secrets.get(name)?.as_ref()?.reveal().to_owned());
    let gone =
        || ScriptError::new("secret", "http: a secret is not set any more; set it in the environment or in .env");
    let invalid = |what: String| ScriptError::new("invalid", format!("http: {what}"));
    let mut url = Url::parse(&call.url).map_err(|error| invalid(error.to_string()))?;
    if let Some(path) = &call.path {
        let encoded = |name: &str| Some(utf8_percent_encode(&lookup(name)?, OF_PATHS).to_string());
        let whole = format!("{}{}", call.url, path.reveal(&encoded).ok_or_else(gone)?);
        url = Url::parse(&whole).map_err(|error| invalid(error.to_string()))?;
    }
    for (name, value) in &call.query {
        url.query_pairs_mut().append_pair(name, &value.reveal(&lookup).ok_or_else(gone)?);
    }
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("postrider/", env!("CARGO_PKG_VERSION"))));
    headers.insert("idempotency-key", HeaderValue::from_str(key).map_err(|error| invalid(error.to_string()))?);
    let body = match &call.body {
        None => None,
        Some(CallBody::Text(text)) => {
            headers.insert("content-type", HeaderValue::from_static("text/plain; charset=utf-8"));
            Some(text.reveal(&lookup).ok_or_else(gone)?.into_bytes())
        }
        Some(CallBody::Json(value)) => {
            headers.insert("content-type", HeaderValue::from_static("application/json"));
            Some(reveal_json(value, &lookup).ok_or_else(gone)?.to_string().into_bytes())
        }
        Some(CallBody::Form(fields)) => {
            headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in fields {
                form.append_pair(name, &value.reveal(&lookup).ok_or_else(gone)?);
            }
            Some(form.finish().into_bytes())
        }
    };
    let mut private = Vec::new();
    let mut said = HashSet::new();
    for (name, value) in &call.headers {
        let text = value.reveal(&lookup).ok_or_else(gone)?;
        let bad = |_| invalid(format!("the header `{name}` cannot carry what was given"));
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(format!("`{name}` is no header")))?;
        let mut carried = HeaderValue::from_str(&text).map_err(bad)?;
        if value.has_secret() {
            carried.set_sensitive(true);
            private.push(field.clone());
        }
        // What the script says takes the place of what we would; a list says several.
        match said.insert(name) {
            true => drop(headers.insert(field, carried)),
            false => drop(headers.append(field, carried)),
        }
    }
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|error| invalid(error.to_string()))?;
    let private_body = call.body.as_ref().is_some_and(CallBody::has_secret);
    Ok(Request { method, url, headers, body, private, private_body, private_path: call.path.is_some() })
}

/// The text of an answer by the charset that it says, else UTF-8; what is none has marks in its place.
fn body_text(fetched: &Fetched) -> String {
    let kind = fetched.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let charset = kind.split(';').skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    let encoding = charset.and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(UTF_8);
    encoding.decode(&fetched.body).0.into_owned()
}

/// The answer as it is recorded; none when it is larger than it may be. A server may say back what it
/// was told: secrets are not put on record.
fn answer(call: &Call, fetched: &Fetched, veil: &Veil) -> Option<Value> {
    if !fetched.whole {
        return None;
    }
    let mut headers = Map::new();
    // What was said of the body on its way is not true of the text that came of it. A HEAD asks for just that.
    let told = |name: &str| !is_framing(name) || name == "date" || (name == "content-length" && call.method == "HEAD");
    for name in fetched.headers.keys().filter(|name| told(name.as_str())) {
        let all = fetched.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        headers.insert(name.to_string(), veil.drawn_over(all.collect::<Vec<_>>().join(", ")).into());
    }
    Some(json!({
        "status": fetched.status,
        "ok": (200..300).contains(&fetched.status),
        "headers": headers,
        "body": veil.drawn_over(body_text(fetched)),
    }))
}

/// An address as it may be shown.
fn shown(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}
