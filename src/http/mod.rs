//! HTTP: the public side, which the world may reach, and the private side for its owner.

mod api;
mod body;
mod error;
mod gateways;
mod hosted;
mod private;
mod public;
mod verify;
mod webhook;

use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::clock::SharedClock;
use crate::flow::catalog::Catalog;
use crate::inbound::Inbox;
use crate::outbox::{Accounts, Supply};
use crate::run::{Board, Context, Intake, Waiters};
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::wake::Bells;

/// What both sides work with.
pub struct House {
    /// Flows that are live.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: SharedClock,
    /// The door for runs.
    pub intake: Intake,
    /// The door for what gateways tell.
    pub inbox: Inbox,
    /// Wakes the lanes.
    pub lanes: Bells,
    /// Copies of files.
    pub blobs: Blobs,
    /// Who waits for an answer.
    pub waiters: Waiters,
    /// Which runs are being worked on.
    pub board: Arc<Board>,
    /// What is needed to send by hand.
    pub context: Arc<Context>,
    /// The accounts, each with what its lane shows.
    pub accounts: watch::Receiver<Arc<Accounts>>,
    /// What addresses of ours lead to.
    pub supply: Supply,
    /// Opens the private side.
    pub token: Secret,
    /// Names that the private side may be called by, besides the loopback ones.
    pub admin_hosts: watch::Receiver<Arc<Vec<String>>>,
    /// Whether the end has begun.
    pub shutdown: Shutdown,
}

/// Serves both sides until told to stop, and lets requests under way end.
pub async fn serve(house: Arc<House>, public: TcpListener, private: TcpListener) {
    let shutdown = house.shutdown.clone();
    let side = |listener: TcpListener, router: Router| {
        let (draining, stopped) = (shutdown.clone(), shutdown.clone());
        async move {
            // An answer is not held back for more to come. Where that cannot be said, it comes a little later.
            let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
            let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
            let served =
                axum::serve(listener, service).with_graceful_shutdown(async move { draining.draining().await });
            tokio::select! {
                result = served => {
                    if let Err(error) = result {
                        tracing::error!(%error, "a listener broke down");
                    }
                }
                () = stopped.stopped() => {}
            }
        }
    };
    tokio::join!(side(public, public::router(house.clone())), side(private, private::router(house)));
}
