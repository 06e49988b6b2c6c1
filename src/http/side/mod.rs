//! A side of the engine that callers reach: takes their connections, gives each a seat, and bounds
//! what they may hold: connections, heads and bodies that are not whole, and time.

mod bodies;
mod carried;
mod room;
mod wire;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response, StatusCode, Version, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use carried::Crowded;
use carried::{Answer, Carried};
use room::Leaving;
pub use room::{Room, Seat};
use wire::Wire;

use super::error::Refused;
use crate::shutdown::Shutdown;

/// Most bytes of a request's head, and of what is read of it at once.
const HEAD: usize = 100 << 10;

/// How long the system may be out of descriptors before it is asked again.
const BREATH: Duration = Duration::from_millis(100);

/// A side: where it listens and what it answers.
pub struct Side {
    /// Where connections come in.
    pub listener: TcpListener,
    /// What is answered.
    pub router: Router,
    /// Where connections are kept.
    pub room: Arc<Room>,
    /// Where room is made when the system has no descriptors left.
    pub relief: Arc<Room>,
}

impl Side {
    /// Serves until told to stop, and lets requests under way end.
    pub async fn serve(self, shutdown: Shutdown) {
        let mut connections = JoinSet::new();
        tokio::select! {
            () = self.admit(&mut connections, &shutdown) => {}
            () = shutdown.stopped() => return,
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            () = ended => {}
            () = shutdown.stopped() => {}
        }
    }

    /// Takes connections until no new work is to be taken; the listener is closed then.
    async fn admit(self, connections: &mut JoinSet<()>, shutdown: &Shutdown) {
        let mut draining = pin!(shutdown.draining());
        loop {
            let (stream, peer) = tokio::select! {
                () = draining.as_mut() => return,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    if let Err(error) = ended && error.is_panic() {
                        tracing::error!("a connection broke down; this is a defect, please report it");
                    }
                    continue;
                }
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        self.refused(&error).await;
                        continue;
                    }
                },
            };
            let seat = tokio::select! {
                () = draining.as_mut() => return,
                seat = self.room.enter() => seat,
            };
            // An answer is not held back for more to come. Where that cannot be said, it comes a little later.
            drop(stream.set_nodelay(true));
            // A connection that is closed before its task has run for the first time leaves as well.
            let leaves = seat.leaves();
            let hosted = host(stream, peer, self.router.clone(), leaves, shutdown.clone());
            seat.is_held_by(connections.spawn(hosted));
        }
    }

    async fn refused(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        // The caller has left again before it was let in.
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            return;
        }
        self.room.warn(|name| {
            tracing::error!(
                side = name,
                %error,
                "connections cannot be taken; are there too few file descriptors (`ulimit -n`)?"
            );
        });
        self.relief.relieve();
        tokio::time::sleep(BREATH).await;
    }
}

/// A connection from its first request to its last.
async fn host(stream: TcpStream, peer: SocketAddr, router: Router, leaves: Leaving, shutdown: Shutdown) {
    let seat = leaves.seat();
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| answer(&router, peer, &seat, request));
    let io = TokioIo::new(Wire::new(stream, seat.clone()));
    let mut builder = http1::Builder::new();
    // Time is kept by the wire, which knows a slow head from a connection that is merely kept.
    builder.header_read_timeout(None).max_buf_size(HEAD);
    // A caller that has nothing more to say still listens.
    builder.half_close(true);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut draining = pin!(shutdown.draining());
    tokio::select! {
        biased;
        // Whatever ended it, the caller knows.
        _ = connection.as_mut() => return,
        () = draining.as_mut() => connection.as_mut().graceful_shutdown(),
    }
    if !seat.awaits_head() {
        let _ = connection.await;
    }
}

/// One request. The rest of a body that nobody read would be taken for the next request's head, so the
/// connection ends with the answer.
async fn answer(
    router: &TowerToHyperService<Router>,
    peer: SocketAddr,
    seat: &Arc<Seat>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let (mut head, body) = request.into_parts();
    seat.begins(&body);
    head.extensions.insert(ConnectInfo(peer));
    head.extensions.insert(seat.clone());
    let body = Body::new(Carried::new(body, seat.clone()));
    let refused = unsound(&head);
    let ends = refused.is_some();
    let mut response = match refused {
        Some(refused) => refused.into_response(),
        None => router.call(Request::from_parts(head, body)).await?,
    };
    seat.releases();
    if ends || seat.has_unread() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, seat.clone())))
}

/// Refuses a head that somebody else on the way may have read another way: about whom it calls (RFC 9112, 3.2), and
/// about how its body is written (6.1), of which hyper reads `chunked` alone.
fn unsound(head: &Parts) -> Option<Refused> {
    let hosts = head.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Some(Refused::bad("a request has one `Host` header"));
    }
    let lines = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let codings = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let codings: Vec<&[u8]> = codings.filter(|coding| !coding.is_empty()).collect();
    if codings.iter().any(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
        let message = "of `Transfer-Encoding` only `chunked` is understood";
        let refused = Refused::new(StatusCode::NOT_IMPLEMENTED, "unsupported", message);
        return Some(refused.hint("say with `Content-Encoding` how the body is packed"));
    }
    (codings.len() > 1).then(|| Refused::bad("`Transfer-Encoding` says `chunked` more than once"))
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, sleep, timeout};

    use super::*;
    use crate::shutdown;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_for_nothing_more_is_closed() {
        let slowly = || async {
            sleep(Duration::from_secs(20)).await;
            "hello"
        };
        let router = Router::new().route("/", get(|| async { "hello" })).route("/slow", get(slowly));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let room = Room::new("public", 10);
        let side = Side { listener, router, relief: room.clone(), room };
        let (_stop, shutdown) = shutdown::channel();
        tokio::spawn(side.serve(shutdown));
        for path in ["/", "/slow"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
            let mut said = Vec::new();
            while !said.ends_with(b"hello") {
                assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0);
            }
            let since = Instant::now();
            let closed = timeout(Duration::from_secs(300), stream.read_buf(&mut said)).await;
            assert_eq!(closed.expect("it stays open for ever").unwrap(), 0, "{path}");
            let after = since.elapsed().as_secs();
            assert!((74..=76).contains(&after), "{path}: after {after} seconds");
        }
    }
}
