//! Fakes of gateways over real HTTP, as strict as their documentation allows: a field, type,
//! header or content type that the gateway does not know is a fault. Each is written from the
//! gateway's documentation and source alone, never from the adapter that it tests.

pub mod evolution;
pub mod express_chat;
pub mod gowa;
pub mod meta;
mod meta_interactive;
pub mod strict;
pub mod twilio;
pub mod waha;
pub mod wapim;
pub mod wawp;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::Value;
use tokio::net::TcpListener;

pub use strict::{Checked, Got};

/// One gateway as the tests know it.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// The word for its transport.
    pub name: &'static str,
    /// The account's own keys in `postrider.yaml` besides `transport` and `url`, as lines of YAML
    /// without indentation.
    pub settings: &'static str,
    /// Credentials in it that must never be seen anywhere else.
    pub secrets: &'static [&'static str],
    /// Checks a request to the last field and answers it.
    pub check: fn(&Got) -> Checked,
}

/// All of them.
pub const ALL: [Dialect; 8] = [
    gowa::DIALECT,
    wapim::DIALECT,
    wawp::DIALECT,
    express_chat::DIALECT,
    waha::DIALECT,
    meta::DIALECT,
    evolution::DIALECT,
    twilio::DIALECT,
];

/// How a fake answers when it does not answer as the gateway would.
#[derive(Clone)]
pub enum Mood {
    /// As the gateway would.
    Strict,
    /// A status with headers and a body.
    Says(u16, Vec<(&'static str, String)>, Bytes),
    /// Takes the request and says nothing for so long.
    Hangs(Duration),
    /// As the gateway would, after so long.
    Slow(Duration),
    /// Begins an answer and breaks the connection.
    Breaks,
}

/// A fake that runs.
#[derive(Clone)]
pub struct Fake {
    pub address: SocketAddr,
    pub dialect: Dialect,
    got: Arc<Mutex<Vec<Got>>>,
    faults: Arc<Mutex<Vec<String>>>,
    mood: Arc<Mutex<Mood>>,
    next: Arc<Mutex<Option<Mood>>>,
}

impl Fake {
    /// One that answers as its gateway would.
    pub async fn start(dialect: Dialect) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self::at(listener.local_addr().unwrap(), dialect);
        fake.serve(listener);
        fake
    }

    /// One whose server is not there, until it [comes](Self::comes).
    pub fn away(dialect: Dialect) -> Self {
        // An address of its own, so that nobody takes the port meanwhile.
        static LAST: AtomicU8 = AtomicU8::new(0);
        let [.., high, low] = std::process::id().to_be_bytes();
        let own = 1 + LAST.fetch_add(1, Ordering::Relaxed) % 254;
        Self::at(SocketAddr::from(([127, 64 + high % 64, low, own], 8_000)), dialect)
    }

    /// Its server is there from now on.
    pub async fn comes(&self) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    fn at(address: SocketAddr, dialect: Dialect) -> Self {
        let mood = Arc::new(Mutex::new(Mood::Strict));
        let (got, faults, next) = (Arc::default(), Arc::default(), Arc::default());
        Self { address, dialect, got, faults, mood, next }
    }

    fn serve(&self, listener: TcpListener) {
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// Answers differently from now on.
    pub fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// Answers differently after the next request.
    pub fn then(&self, mood: Mood) {
        *self.next.lock().unwrap() = Some(mood);
    }

    /// All requests since this was last asked.
    pub fn take(&self) -> Vec<Got> {
        std::mem::take(&mut self.got.lock().unwrap())
    }

    /// What was wrong with requests so far.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    /// `postrider.yaml` with one account, `main`, that uses it; `more` are further lines of the
    /// account.
    pub fn settings(&self, more: &str) -> String {
        let mut text =
            format!("accounts:\n  main:\n    transport: {}\n    url: http://{}\n", self.dialect.name, self.address);
        for line in self.dialect.settings.lines().chain(more.lines()) {
            text.push_str(&format!("    {line}\n"));
        }
        text
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response<Body> {
    let got = Got::read(request).await;
    fake.got.lock().unwrap().push(got.clone());
    let mood = fake.mood.lock().unwrap().clone();
    if let Some(next) = fake.next.lock().unwrap().take() {
        fake.is(next);
    }
    let respond = |status: u16, body: Body| Response::builder().status(status).body(body).unwrap();
    match mood {
        Mood::Says(status, headers, body) => {
            let mut response = respond(status, Body::from(body));
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().unwrap());
            }
            response
        }
        Mood::Hangs(span) => {
            tokio::time::sleep(span).await;
            respond(200, Body::empty())
        }
        // The beginning of an answer is on the wire when the connection's task ends.
        Mood::Breaks => {
            let half: [Result<Bytes, std::io::Error>; 2] =
                [Ok(Bytes::from_static(b"{\"half\":")), Err(std::io::Error::other("broken off"))];
            respond(200, Body::from_stream(Halves(half.into())))
        }
        Mood::Strict | Mood::Slow(_) => {
            if let Mood::Slow(span) = mood {
                tokio::time::sleep(span).await;
            }
            let (status, body) = (fake.dialect.check)(&got).unwrap_or_else(|fault| {
                let fault = format!("{} {} {}: {fault}", fake.dialect.name, got.method, got.path);
                fake.faults.lock().unwrap().push(fault);
                (400, Value::Null)
            });
            let mut response = respond(status, Body::from(body.to_string()));
            response.headers_mut().insert("content-type", "application/json; charset=utf-8".parse().unwrap());
            response
        }
    }
}

/// The pieces of a body that breaks off.
struct Halves(std::collections::VecDeque<Result<Bytes, std::io::Error>>);

impl futures_core::Stream for Halves {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}
