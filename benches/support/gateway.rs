//! A gateway that says yes at once and counts.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How many messages came, and how many more may be under way.
pub type Count = Arc<Gate>;

/// Phones of the load differ in so many digits behind [`PREFIX`].
pub const PHONES: usize = 10_000_000;
/// What all phones of the load begin with.
pub const PREFIX: &str = "1541";

/// Lets in only so many as come out.
pub struct Gate {
    /// How many messages came.
    pub arrived: AtomicU64,
    /// Each message that comes gives one back.
    pub open: Semaphore,
    begun: Instant,
    /// When the request for a phone went out, in nanoseconds since the beginning; 0 where nobody asks.
    asked: Vec<AtomicU64>,
    /// Times from a request to its message, of those that are asked for.
    times: Mutex<Vec<Duration>>,
}

impl Gate {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self {
            arrived: AtomicU64::new(0),
            open: Semaphore::new(0),
            begun: Instant::now(),
            asked: std::iter::repeat_with(AtomicU64::default).take(PHONES).collect(),
            times: Mutex::default(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The request for a phone goes out: it is measured until its message comes.
    pub fn asks(&self, phone: usize) {
        self.asked[phone].store(self.now(), Ordering::Relaxed);
    }

    fn comes(&self, body: &[u8]) {
        let phone = std::str::from_utf8(body).ok().and_then(|body| body.split_once(PREFIX));
        let digits = phone.and_then(|(_, rest)| rest.get(..7)).and_then(|digits| digits.parse::<usize>().ok());
        let asked = digits.map_or(0, |phone| self.asked[phone].swap(0, Ordering::Relaxed));
        if asked > 0 {
            let time = Duration::from_nanos(self.now().saturating_sub(asked));
            self.times.lock().expect("no panic").push(time);
        }
    }

    /// Times from a request to its message since the last look, sorted.
    pub fn times(&self) -> Vec<Duration> {
        let mut times = std::mem::take(&mut *self.times.lock().expect("no panic"));
        times.sort();
        times
    }

    /// From now on so many may be under way.
    pub fn allow(&self, open: usize) {
        self.open.forget_permits(usize::MAX);
        self.open.add_permits(open);
    }
}

async fn sent(State(count): State<Count>, body: Bytes) -> ([(header::HeaderName, &'static str); 1], &'static str) {
    assert!(!body.is_empty());
    count.comes(&body);
    count.arrived.fetch_add(1, Ordering::Relaxed);
    count.open.add_permits(1);
    let answer =
        r#"{"code":"SUCCESS","message":"Message sent","results":{"message_id":"3EB0C767D0972","status":"sent"}}"#;
    ([(header::CONTENT_TYPE, "application/json")], answer)
}

/// Serves until the process ends.
pub async fn serve() -> (SocketAddr, Count) {
    let count = Arc::new(Gate::new());
    let router = Router::new().route("/send/message", post(sent)).with_state(count.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, count)
}
