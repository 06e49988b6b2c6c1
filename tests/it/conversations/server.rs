//! A server that scripts call, over real HTTP on loopback: it answers as the test says, and keeps every
//! request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Settings under which scripts may call it.
pub const LOCAL: (&str, &str) = ("postrider.yaml", "http: { allow: [\"127.0.0.1\"] }\n");

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Got {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The type of its body, without parameters.
    pub fn mime(&self) -> Option<&str> {
        self.header("content-type")?.split(';').next()
    }

    /// The one key by which a server knows a request again.
    pub fn key(&self) -> String {
        let keys: Vec<_> = self.headers.get_all("idempotency-key").iter().collect();
        assert_eq!(keys.len(), 1, "one key: {self:?}");
        keys[0].to_str().unwrap().to_owned()
    }

    /// The fields of its query.
    pub fn asked(&self) -> Vec<(String, String)> {
        pairs(&self.query)
    }

    fn echo(&self) -> Value {
        let text = |value: &axum::http::HeaderValue| Value::from(value.to_str().unwrap());
        let headers: Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        json!({ "path": self.path, "query": self.query, "headers": headers, "body": self.body })
    }
}

/// Fields as they stand in queries and forms.
pub fn pairs(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

/// What it answers.
pub enum Say {
    /// A status, headers, a body.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// 200 and all that came, said back in body and headers.
    Echo,
    /// The connection breaks before an answer.
    Vanish,
    /// 200 and the path, once the test lets it go.
    Held,
}

impl Say {
    /// A status and a text.
    pub fn text(status: u16, text: &str) -> Self {
        Self::Answer(status, Vec::new(), text.into())
    }

    /// Sends the caller to another place.
    pub fn to(status: u16, place: &str) -> Self {
        Self::Answer(status, vec![("location", place.to_owned())], Vec::new())
    }
}

/// Gets a request, and how many came to the same path before.
type Script = Box<dyn Fn(&Got, usize) -> Say + Send + Sync>;

/// The server; it serves for as long as the test runs.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    inside: Arc<Inside>,
}

struct Inside {
    got: Mutex<Vec<Got>>,
    script: Script,
    held: AtomicUsize,
    gate: watch::Sender<bool>,
}

/// Counts a request for as long as it is held and its caller is there.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn one_of(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    /// One that answers so.
    pub async fn start(script: impl Fn(&Got, usize) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inside = Inside {
            got: Mutex::default(),
            script: Box::new(script),
            held: AtomicUsize::new(0),
            gate: watch::channel(false).0,
        };
        let server = Self { address: listener.local_addr().unwrap(), inside: Arc::new(inside) };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn got(&self) -> Vec<Got> {
        self.inside.got.lock().unwrap().clone()
    }

    /// Those to one path.
    pub fn got_at(&self, path: &str) -> Vec<Got> {
        self.got().into_iter().filter(|got| got.path == path).collect()
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.inside.got.lock().unwrap().len()
    }

    /// How many are held just now.
    pub fn held(&self) -> usize {
        self.inside.held.load(Ordering::SeqCst)
    }

    /// Lets go all that are held, and all that would be.
    pub fn release(&self) {
        self.inside.gate.send_replace(true);
    }
}

async fn answer(State(server): State<Server>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    let got = Got {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: String::from_utf8(body).unwrap(),
    };
    let before = {
        let mut all = server.inside.got.lock().unwrap();
        let before = all.iter().filter(|other| other.path == got.path).count();
        all.push(got.clone());
        before
    };
    match (server.inside.script)(&got, before) {
        Say::Answer(status, headers, body) => whole(status, &headers, body),
        Say::Echo => {
            let said = got.header("authorization").unwrap_or_default().to_owned();
            whole(200, &[("content-type", "application/json".into()), ("x-said", said)], got.echo().to_string().into())
        }
        // The connection's task ends without a word, and the connection with it.
        Say::Vanish => std::panic::resume_unwind(Box::new("vanished")),
        Say::Held => {
            let _held = Held::one_of(&server.inside.held);
            let _ = server.inside.gate.subscribe().wait_for(|open| *open).await;
            whole(200, &[], got.path.into())
        }
    }
}

fn whole(status: u16, headers: &[(&'static str, String)], body: Vec<u8>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value.as_str());
    }
    response.body(Body::from(body)).unwrap()
}
