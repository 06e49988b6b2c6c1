//! What runs are worked on with.

use std::sync::Arc;

use tokio::sync::watch;

use super::effects::Effects;
use super::journals::Journals;
use super::subscribers::Subscribers;
use crate::blobs::Blobs;
use crate::clock::SharedClock;
use crate::files::Files;
use crate::flow::catalog::Catalog;
use crate::flow::versions::Versions;
use crate::shutdown::Shutdown;
use crate::store::Store;

/// What the threads work with.
pub struct Context {
    /// Where runs live.
    pub store: Arc<dyn Store>,
    /// Flows by version.
    pub versions: Arc<Versions>,
    /// Flows that are live.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// The time.
    pub clock: SharedClock,
    /// The workspace's files.
    pub files: Files,
    /// Copies of files that are sent.
    pub blobs: Blobs,
    /// Who waits for an answer.
    pub subscribers: Subscribers,
    /// What is done outside for answers.
    pub effects: Effects,
    /// Journals of runs that go on in a moment.
    pub journals: Journals,
    /// Whether the end has come.
    pub shutdown: Shutdown,
}
