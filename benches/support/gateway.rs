//! A gateway that says yes at once and counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// How many messages came, and how many more may be under way.
pub type Count = Arc<Gate>;

/// Lets in only so many as come out.
pub struct Gate {
    /// How many messages came.
    pub arrived: AtomicU64,
    /// Each message that comes gives one back.
    pub open: Semaphore,
}

impl Gate {
    /// From now on so many may be under way.
    pub fn allow(&self, open: usize) {
        self.open.forget_permits(usize::MAX);
        self.open.add_permits(open);
    }
}

async fn sent(State(count): State<Count>, body: Bytes) -> ([(header::HeaderName, &'static str); 1], &'static str) {
    assert!(!body.is_empty());
    count.arrived.fetch_add(1, Ordering::Relaxed);
    count.open.add_permits(1);
    let answer =
        r#"{"code":"SUCCESS","message":"Message sent","results":{"message_id":"3EB0C767D0972","status":"sent"}}"#;
    ([(header::CONTENT_TYPE, "application/json")], answer)
}

/// Serves until the process ends.
pub async fn serve() -> (SocketAddr, Count) {
    let count = Arc::new(Gate { arrived: AtomicU64::new(0), open: Semaphore::new(0) });
    let router = Router::new().route("/send/message", post(sent)).with_state(count.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, count)
}
