//! The engine: everything that runs, started in order and stopped in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::lanes::Lanes;
use super::phones::StoredPhones;
use super::reload::{OpenError, Reloader};
use super::state::{Address, StateFolder};
use super::sweep::sweep;
use super::workspace::Workspace;
use crate::alarm::Alarm;
use crate::blobs::Blobs;
use crate::changes::Changes;
use crate::clock::SharedClock;
use crate::fetch::Fetch;
use crate::files::Files;
use crate::flow::catalog::Catalog;
use crate::flow::versions::Versions;
use crate::http::{Doors, Editor, House, Notes, serve};
use crate::inbound::Inbox;
use crate::links::LinkKey;
use crate::model::phone;
use crate::outbox::{Accounts, MessageTimers, Preparer};
use crate::run::{Board, Context, Dispatcher, Errands, Gateways, Intake, Journals, Marks, Threads, Waiters, Waker};
use crate::shutdown::{Breakdown, Phase, Shutdown, Stopper, Unasked, channel};
use crate::store::sqlite::{SqliteStore, place};
use crate::store::{Signals, Store, StoreError};
use crate::transport::Download;
use crate::transport::sandbox::Phones;
use crate::trigger::Supervisor;
use crate::view::{EngineFacts, TurnedAway, View};
use crate::wake::Bell;

/// How long turns and sends in flight may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// Opens a store that rings these bells.
pub type OpenStore = Box<dyn FnOnce(Signals) -> Result<Arc<dyn Store>, StoreError> + Send>;

/// What an engine gets from outside.
pub struct Outside {
    /// The time.
    pub clock: SharedClock,
    /// Public side.
    pub public: TcpListener,
    /// Private side.
    pub private: TcpListener,
    /// Opens the store; gets the bells that it is to ring.
    pub store: OpenStore,
}

/// Why an engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder, a socket, a thread.
    #[error("{0}")]
    System(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Account(error) => Self::System(error),
            OpenError::Store(error) => Self::Store(error),
        }
    }
}

/// A running engine.
pub struct Engine {
    address: Address,
    catalog: watch::Receiver<Arc<Catalog>>,
    reload: Bell,
    store: Arc<dyn Store>,
    board: Arc<Board>,
    stopper: Stopper,
    services: Services,
    marks: Arc<Marks>,
    doors: Doors,
    clock: SharedClock,
    // Given back when the engine is gone.
    _folder: StateFolder,
}

/// What runs until the end.
struct Services {
    tasks: JoinSet<()>,
    shutdown: Shutdown,
    breakdown: Breakdown,
}

impl Services {
    fn add(&mut self, name: &str, service: impl Future<Output = ()> + Send + 'static) {
        let unasked = Unasked::new(name, self.shutdown.clone(), self.breakdown.clone());
        self.tasks.spawn(async move {
            let _unasked = unasked;
            service.await;
        });
    }
}

/// The accounts' gateways, as scripts need them.
struct Downloads(watch::Receiver<Arc<Accounts>>);

impl Gateways for Downloads {
    fn download(&self, account: &str, source: &str) -> Download {
        let accounts = self.0.borrow().clone();
        match accounts.iter().find(|(known, _)| known.name == account) {
            Some((account, _)) => account.transport.download(source),
            None => Box::pin(std::future::ready(Err(format!("there is no account `{account}` any more")))),
        }
    }
}

/// Opens the store that a workspace's settings name; for the sandbox a copy of it, made now.
pub fn open_store(workspace: &Workspace) -> OpenStore {
    let settings = &workspace.settings;
    let (file, backlog, adopt) = (settings.store.clone(), settings.limits.backlog, settings.adopt);
    let copy = settings.sandbox.then(|| StateFolder::sandbox_store(&workspace.root));
    Box::new(move |signals| {
        let used = copy.as_ref().unwrap_or(&file);
        if let Some(folder) = used.parent() {
            std::fs::create_dir_all(folder).map_err(|error| StoreError::NoRoom(error.to_string()))?;
        }
        match &copy {
            Some(copy) => place::copy(&file, copy)?,
            None if adopt => place::adopt(&file)?,
            None => {}
        }
        Ok(Arc::new(SqliteStore::open(used, backlog, signals)?))
    })
}

impl Engine {
    /// Starts an engine on a workspace: when this returns, it serves.
    ///
    /// # Errors
    /// When the folder is another engine's, or the store cannot be opened. Broken flows are no
    /// reason: the others run.
    pub async fn start(workspace: &Workspace, outside: Outside) -> Result<Self, StartError> {
        let system = |error: std::io::Error| StartError::System(error.to_string());
        let mut folder = StateFolder::lock(&workspace.root).map_err(StartError::System)?;
        let copies = StateFolder::sandbox_store(&workspace.root);
        let store = &workspace.settings.store;
        if workspace.settings.sandbox && copies.parent().is_some_and(|folder| store.starts_with(folder)) {
            let message = format!("`store` lies in the sandbox's own folder, {}; name another one", copies.display());
            return Err(StartError::System(message));
        }
        let home = folder.home(workspace.settings.sandbox).map_err(system)?;
        let signals = Signals::default();
        let store = (outside.store)(signals.clone())?;
        let clock = outside.clock;
        let interrupted = store.recover(clock.now()).await?;
        if interrupted > 0 {
            tracing::warn!(
                messages = interrupted,
                "attempts were open when the engine last stopped; these messages are unknown"
            );
        }
        let blobs = Blobs::new(StateFolder::blobs(&home));
        let phones = StoredPhones { store: store.clone(), clock: clock.clone(), blobs: blobs.clone() };
        let phones: Arc<dyn Phones> = Arc::new(phones);
        let (stopper, shutdown) = channel();
        let fetch = Fetch::new(workspace.settings.allowed.clone()).map_err(StartError::System)?;
        let own = [outside.public.local_addr(), outside.private.local_addr()];
        fetch.never(&own.into_iter().collect::<Result<Vec<_>, _>>().map_err(system)?);
        let token = folder.token().map_err(system)?;
        let link_key = LinkKey::new(&folder.link_key().map_err(system)?);
        let preparer = Preparer::new(blobs.clone(), fetch.clone(), link_key.clone(), clock.clone());
        let lanes = Lanes::new(store.clone(), preparer, signals.clone(), shutdown.clone(), phones);
        let changes = Changes::new(&workspace.root);
        let reload = Bell::default();
        let reloader =
            Reloader::open(workspace, lanes, &changes, store.clone(), clock.clone(), fetch.clone(), Bell::default())
                .await?;
        let catalog = reloader.live().catalog.subscribe();
        let accounts = reloader.lanes().accounts();
        let admin_hosts = reloader.live().admin_hosts.subscribe();
        let versions = Arc::new(Versions::new(store.clone(), catalog.clone()));

        let waiters = Waiters::default();
        let files = Files::new(workspace.root.clone(), folder.own(&workspace.root, &workspace.settings.store));
        let context = Arc::new(Context {
            store: store.clone(),
            versions: versions.clone(),
            catalog: catalog.clone(),
            clock: clock.clone(),
            files: files.clone(),
            blobs: blobs.clone(),
            waiters: waiters.clone(),
            errands: Errands::new(fetch, files, Arc::new(Downloads(accounts.clone()))),
            journals: Journals::default(),
            shutdown: shutdown.clone(),
        });
        let files = context.files.clone();
        let watched = files.clone();
        let supervisor = Supervisor::open(store.clone(), clock.clone(), watched, changes, catalog.clone()).await?;

        let marks = Arc::new(Marks::open(&home.join("turns"), &context).await?);
        // One more than there are processors: a turn that waits for the disk keeps nobody waiting.
        let threads = 1 + std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let board = Board::new(threads);
        Threads::start(threads, board.clone(), context.clone(), marks.clone(), signals.breakdown.clone())
            .map_err(system)?;

        let mut services =
            Services { tasks: JoinSet::new(), shutdown: shutdown.clone(), breakdown: signals.breakdown.clone() };
        services.add("the reload of flows", reloader.run(versions, reload.clone(), shutdown.clone()));
        let timers = MessageTimers::new(store.clone(), clock.clone(), signals.message_timer.clone(), accounts.clone());
        services.add("the clock of messages", timers.run(shutdown.clone()));
        let dispatcher = Dispatcher::new(store.clone(), board.clone(), clock.clone(), signals.runs.clone());
        services.add("the dispatch of runs", dispatcher.run(shutdown.clone()));
        services.add("the triggers", supervisor.run(shutdown.clone()));
        services.add("the upkeep of versions", sweep(store.clone(), clock.clone(), shutdown.clone()));
        let waker = Waker::new(store.clone(), clock.clone(), signals.run_timer.clone());
        services.add("the clock of runs", waker.run(shutdown.clone()));
        let alarm =
            Alarm::new(store.clone(), clock.clone(), signals.troubles.clone(), catalog.clone(), accounts.clone());
        services.add("the alarm", alarm.run(shutdown.clone()));
        services.tasks.spawn(warmed(store.clone()));
        services.tasks.spawn(restricted(folder.path.clone()));
        let address = Address {
            admin: outside.private.local_addr().map_err(system)?,
            listen: outside.public.local_addr().map_err(system)?,
            pid: std::process::id(),
        };
        let (doors, now) = (Doors::default(), clock.clone());
        let facts =
            EngineFacts { root: workspace.root.clone(), started: clock.now(), sandbox: workspace.settings.sandbox };
        let view = View {
            store: store.clone(),
            clock: clock.clone(),
            catalog: catalog.clone(),
            accounts,
            board: board.clone(),
            feed: signals.feed.clone(),
            tally: signals.tally.clone(),
            turned_away: TurnedAway::default(),
            engine: Arc::new(facts),
            files,
        };
        let house = Arc::new(House {
            view,
            intake: Intake::new(store.clone(), clock.clone()),
            inbox: Inbox::new(store.clone(), clock, catalog.clone()),
            lanes: signals.lanes.clone(),
            blobs,
            waiters,
            context,
            token,
            link_key,
            admin_hosts,
            doors: doors.clone(),
            editor: Editor::default(),
            notes: Notes::default(),
            assets: Arc::default(),
            shutdown: shutdown.clone(),
        });
        services.add("the listeners", serve(house, outside.public, outside.private));
        folder.announce(&address).map_err(system)?;
        Ok(Self {
            address,
            catalog,
            reload,
            store,
            board,
            stopper,
            services,
            marks,
            doors,
            clock: now,
            _folder: folder,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A link that lets one browser in, once, within ten minutes.
    pub fn link(&self) -> String {
        format!("http://{}/sign-in?code={}", self.address.admin, self.doors.invite(self.clock.now()))
    }

    /// The flows that are live.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.borrow().clone()
    }

    /// Reads all files again, also those that look as before.
    pub fn reload(&self) {
        self.reload.nudge();
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Resolves, with the reason, when something has ended that the engine cannot do without: it is to be
    /// stopped then, and started anew.
    pub async fn broken(&self) -> String {
        self.services.breakdown.reported().await
    }

    /// Takes no new work, lets turns and sends in flight end (30 s at most), and stops.
    pub async fn stop(mut self) {
        self.stopper.enter(Phase::Draining);
        self.board.close();
        let ended = async {
            self.board.idle().await;
            while self.services.tasks.join_next().await.is_some() {}
        };
        match tokio::time::timeout(GRACE, ended).await {
            Ok(()) => self.marks.clear(),
            Err(_) => tracing::warn!("something did not end in time; it is taken up after the next start"),
        }
        self.stopper.enter(Phase::Stopped);
        let traffic = self.store.traffic();
        tracing::info!(commits = traffic.commits, changes = traffic.commands, "stopped");
    }

    /// Stops as a crash would: nothing is finished, nothing is said.
    pub async fn abandon(mut self) {
        self.services.tasks.shutdown().await;
    }
}

/// Nobody who waits for a person is to wait for our tables of the world's phones too. Where nobody does,
/// they can wait for the first message, and their memory with them.
async fn warmed(store: Arc<dyn Store>) {
    if store.is_listening().await == Ok(true) {
        // It can be done without.
        let _ = tokio::task::spawn_blocking(phone::warm).await;
    }
}

/// What is kept is restored to its owner alone, beside everything else: there may be many files.
async fn restricted(folder: PathBuf) {
    let restrict = tokio::task::spawn_blocking(move || StateFolder::restrict(&folder)).await;
    if let Err(error) = restrict {
        tracing::warn!(%error, "modes of the state folder could not be restored");
    }
}

/// The threads for turns end with their engine, whatever its end.
impl Drop for Engine {
    fn drop(&mut self) {
        self.board.close();
    }
}

/// Binds a listener.
///
/// # Errors
/// A sentence that names the address.
pub async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = "is another program there? name another address in postrider.yaml";
        StartError::System(format!("`{what}` cannot listen on {address}: {error}; {hint}"))
    })
}

/// Whether a folder could be a workspace: it has flows or settings.
pub fn looks_like_workspace(root: &Path) -> bool {
    root.join("flows").is_dir() || root.join("postrider.yaml").is_file()
}
