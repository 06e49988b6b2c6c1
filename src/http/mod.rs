//! HTTP: the public side, which the world may reach, and the private side for its owner.

mod api;
mod body;
mod content;
mod editor;
mod error;
mod event;
mod gateways;
mod hosted;
mod metrics;
mod openapi;
mod origin;
mod pages;
mod parts;
mod private;
mod public;
mod rates;
mod session;
mod side;
mod stream;
mod verify;
mod webhook;

use std::sync::Arc;

use rustix::process::{Resource, getrlimit};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::inbound::Inbox;
use crate::links::LinkKey;
use crate::run::{Context, Intake, Subscribers};
use crate::secret::Secret;
use crate::shutdown::Shutdown;
use crate::store::arrivals::Arrivals;
use crate::view::View;
pub use editor::Editor;
pub use pages::{Assets, Notes};
pub use rates::Rates;
pub use session::Doors;
use side::{Room, Side};

/// Most connections of the public side, and of the private one.
const MOST_PUBLIC: usize = 10_000;
const MOST_PRIVATE: usize = 1_000;

/// What both sides work with.
pub struct House {
    /// What can be seen.
    pub view: View,
    /// The door for runs.
    pub intake: Intake,
    /// The door for what gateways tell.
    pub inbox: Inbox,
    /// Wakes the lanes.
    pub lanes: Arrivals,
    /// Copies of files.
    pub blobs: Blobs,
    /// Who waits for an answer.
    pub subscribers: Subscribers,
    /// What is needed to send by hand.
    pub context: Arc<Context>,
    /// Reads signed addresses of ours.
    pub link_key: LinkKey,
    /// Opens the private side.
    pub token: Secret,
    /// Lets browsers in.
    pub doors: Doors,
    /// Writes flow files.
    pub editor: Editor,
    /// What is told to people on the page that comes next.
    pub notes: Notes,
    /// What pages are drawn with.
    pub assets: Arc<Assets>,
    /// Names that the private side may be called by, besides the loopback ones.
    pub admin_hosts: watch::Receiver<Arc<Vec<String>>>,
    /// How often webhooks were called.
    pub rates: Rates,
    /// Whether the end has begun.
    pub shutdown: Shutdown,
}

/// Serves both sides until told to stop, and lets requests under way end.
pub async fn serve(house: Arc<House>, public: TcpListener, private: TcpListener) {
    let shutdown = house.shutdown.clone();
    // Each connection takes a descriptor. Whatever comes to the public side leaves some to the private
    // one, and to the engine's own files and requests.
    let descriptors = getrlimit(Resource::Nofile).current.and_then(|most| usize::try_from(most).ok());
    let descriptors = descriptors.unwrap_or(usize::MAX);
    let relief = Room::new("public", (descriptors / 2).clamp(1, MOST_PUBLIC));
    let public =
        Side { listener: public, router: public::router(house.clone()), room: relief.clone(), relief: relief.clone() };
    let room = Room::new("private", (descriptors / 8).clamp(1, MOST_PRIVATE));
    let private = Side { listener: private, router: private::router(house), room, relief };
    tokio::join!(public.serve(shutdown.clone()), private.serve(shutdown));
}
