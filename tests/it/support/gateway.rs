//! A fake GOWA over HTTP: answers as the test says, and keeps every request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub body: Vec<u8>,
}

impl Got {
    /// Its body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The text of a message.
    pub fn text(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// What the gateway answers.
#[derive(Clone, Debug)]
pub enum Say {
    /// Sent, with an id.
    Yes,
    /// A status with a code and seconds to wait.
    No(u16, &'static str, Option<u64>),
    /// Any body.
    Raw(u16, String),
    /// The message is counted and the connection breaks before an answer.
    Vanish,
    /// A status with a code, after a while.
    Late(std::time::Duration, u16, &'static str),
}

type Script = Box<dyn FnMut(usize, &Got) -> Say + Send>;

/// The fake.
#[derive(Clone)]
pub struct Gateway {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    script: Arc<Mutex<Script>>,
}

impl Gateway {
    /// One that always says yes.
    pub async fn start() -> Self {
        Self::with(|_, _| Say::Yes).await
    }

    /// One that answers by a script, which gets the request's number from 0.
    pub async fn with(script: impl FnMut(usize, &Got) -> Say + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = Self { address, got: Arc::default(), script: Arc::new(Mutex::new(Box::new(script))) };
        let router = Router::new().fallback(answer).with_state(gateway.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        gateway
    }

    /// All requests so far.
    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// The texts of all messages so far that were answered with yes or not at all.
    pub fn texts(&self) -> Vec<String> {
        self.got().iter().map(Got::text).collect()
    }

    /// Answers differently from now on.
    pub fn now_says(&self, script: impl FnMut(usize, &Got) -> Say + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// The settings of an account that uses it.
    pub fn settings(&self, more: &str) -> String {
        format!("accounts:\n  main: {{ transport: gowa, url: \"http://{}\", {more} }}\n", self.address)
    }
}

async fn answer(State(gateway): State<Gateway>, request: Request) -> Response<Body> {
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap().to_vec();
    let got = Got { body };
    let (number, say) = {
        let mut all = gateway.got.lock().unwrap();
        all.push(got.clone());
        let number = all.len() - 1;
        (number, gateway.script.lock().unwrap()(number, &got))
    };
    let id = format!("3EB0{number:06}");
    let yes = json!({ "code": "SUCCESS", "message": "Message sent", "results": { "message_id": id, "status": "ok" } });
    let with = |status: u16, body: String| {
        Response::builder().status(status).header("content-type", "application/json").body(Body::from(body)).unwrap()
    };
    let say = match say {
        Say::Late(span, status, code) => {
            tokio::time::sleep(span).await;
            Say::No(status, code, None)
        }
        say => say,
    };
    match say {
        Say::Late(..) => unreachable!("it was turned into a no"),
        Say::Yes => with(200, yes.to_string()),
        Say::No(status, code, wait) => {
            let mut response = with(status, json!({ "code": code, "message": "no" }).to_string());
            if let Some(seconds) = wait {
                response.headers_mut().insert("retry-after", seconds.into());
            }
            response
        }
        Say::Raw(status, body) => with(status, body),
        // The connection's task ends without a word, and the connection with it.
        Say::Vanish => std::panic::resume_unwind(Box::new("vanished")),
    }
}
