//! The engine: everything that runs, started in order and stopped in order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::keep::Keeper;
use super::lanes::Lanes;
use super::phones::StoredPhones;
use super::pulse::{self, Pulse};
use super::refusals::Refusals;
use super::reload::{OpenError, Reloader};
use super::state_folder::{Address, StateFolder};
use super::sweep::Sweeper;
use super::workspace::Workspace;
use crate::alarm::{self, Alarm};
use crate::blobs::Blobs;
use crate::changes::Changes;
use crate::clock::SharedClock;
use crate::fetch::Fetch;
use crate::files::Files;
use crate::flow::catalog::Catalog;
use crate::flow::except::Calendars;
use crate::flow::versions::Versions;
use crate::http::{Doors, Editor, House, Notes, Rates, serve};
use crate::inbound::Inbox;
use crate::ledger::Ledger;
use crate::links::LinkKey;
use crate::model::phone;
use crate::outbox::{Accounts, MessageTimers, Preparer};
use crate::run::{
    Context, Dispatcher, Effects, Gateways, Intake, Journals, Marks, RunQueue, RunTimers, Subscribers, Threads,
};
use crate::service::{self, Service};
use crate::shutdown::{Breakdown, Phase, Shutdown, Stopper, Unasked, channel};
use crate::store::records::MessageFilter;
use crate::store::sqlite::place;
use crate::store::{STORE_REST, Signals, Store, StoreError};
use crate::transport::Download;
use crate::transport::site::Phones;
use crate::trigger::Supervisor;
use crate::view::{EngineFacts, TurnedAway, View};
use crate::wake::Bell;

/// So many of the newest messages say by which accounts messages went.
const LATEST: usize = 50;

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
    queue: Arc<RunQueue>,
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
    clock: SharedClock,
    shutdown: Shutdown,
    breakdown: Breakdown,
}

impl Services {
    fn add(&mut self, name: &str, running: impl Future<Output = ()> + Send + 'static) {
        let unasked = Unasked::new(name, self.shutdown.clone(), self.breakdown.clone());
        self.tasks.spawn(async move {
            let _unasked = unasked;
            running.await;
        });
    }

    fn run(&mut self, name: &str, service: impl Service + 'static, rest: Duration) {
        self.add(name, service::run(service, self.clock.clone(), rest, self.shutdown.clone()));
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
        Ok(Arc::new(Ledger::open(used, backlog, signals)?))
    })
}

/// What everything else stands on.
struct Foundation<'a> {
    workspace: &'a Workspace,
    folder: StateFolder,
    home: PathBuf,
    store: Arc<dyn Store>,
    clock: SharedClock,
    signals: Signals,
    shutdown: Shutdown,
    fetch: Fetch,
    blobs: Blobs,
    link_key: LinkKey,
    preparer: Preparer,
}

fn system(error: std::io::Error) -> StartError {
    StartError::System(error.to_string())
}

impl<'a> Foundation<'a> {
    /// Takes the folder and opens the store in it.
    async fn lay(
        workspace: &'a Workspace,
        open: OpenStore,
        clock: SharedClock,
        shutdown: Shutdown,
    ) -> Result<Self, StartError> {
        let folder = StateFolder::lock(&workspace.root).map_err(StartError::System)?;
        let settings = &workspace.settings;
        let copies = StateFolder::sandbox_store(&workspace.root);
        if settings.sandbox && copies.parent().is_some_and(|folder| settings.store.starts_with(folder)) {
            let message = format!("`store` lies in the sandbox's own folder, {}; name another one", copies.display());
            return Err(StartError::System(message));
        }
        let home = folder.home(settings.sandbox).map_err(system)?;
        let signals = Signals::default();
        let store = open(signals.clone())?;
        let interrupted = store.recover(clock.now()).await?;
        if interrupted > 0 {
            tracing::warn!(
                messages = interrupted,
                "attempts were open when the engine last stopped; these messages are unknown"
            );
        }
        let blobs = Blobs::new(StateFolder::blobs(&home));
        let fetch = Fetch::new(settings.allowed.clone()).map_err(StartError::System)?;
        let link_key = LinkKey::new(&folder.link_key().map_err(system)?);
        let preparer = Preparer::new(blobs.clone(), fetch.clone(), link_key.clone(), clock.clone());
        Ok(Self { workspace, folder, home, store, clock, signals, shutdown, fetch, blobs, link_key, preparer })
    }

    /// Reads the flows and begins to send: what reloads them when files change.
    async fn flows(&self, changes: &Changes) -> Result<Reloader, StartError> {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let phones = StoredPhones { store: store.clone(), clock: clock.clone(), blobs: self.blobs.clone() };
        let phones: Arc<dyn Phones> = Arc::new(phones);
        let lanes =
            Lanes::new(store.clone(), self.preparer.clone(), self.signals.clone(), self.shutdown.clone(), phones);
        let fetch = self.fetch.clone();
        Ok(Reloader::open(self.workspace, lanes, changes, store, clock, fetch, Bell::default()).await?)
    }

    /// What runs are worked on with.
    fn context(
        &self,
        catalog: &watch::Receiver<Arc<Catalog>>,
        accounts: &watch::Receiver<Arc<Accounts>>,
    ) -> Arc<Context> {
        let root = &self.workspace.root;
        let files = Files::new(root.clone(), self.folder.own(root, &self.workspace.settings.store));
        let downloads = Arc::new(Downloads(accounts.clone()));
        Arc::new(Context {
            store: self.store.clone(),
            versions: Arc::new(Versions::new(self.store.clone(), catalog.clone())),
            catalog: catalog.clone(),
            clock: self.clock.clone(),
            files: files.clone(),
            blobs: self.blobs.clone(),
            subscribers: Subscribers::default(),
            effects: Effects::new(self.fetch.clone(), files, downloads),
            journals: Journals::default(),
            shutdown: self.shutdown.clone(),
        })
    }

    /// Starts the threads that take turns.
    fn threads(&self, context: &Arc<Context>, marks: &Arc<Marks>) -> Result<Arc<RunQueue>, StartError> {
        // One more than there are processors: a turn that waits for the disk keeps nobody waiting.
        let count = 1 + std::thread::available_parallelism().map_or(2, usize::from).max(2);
        let queue = RunQueue::new(count);
        let breakdown = self.signals.breakdown.clone();
        Threads::start(count, queue.clone(), context.clone(), marks.clone(), breakdown).map_err(system)?;
        Ok(queue)
    }

    /// What the listeners serve.
    fn house(
        &self,
        context: &Arc<Context>,
        queue: &Arc<RunQueue>,
        accounts: &watch::Receiver<Arc<Accounts>>,
        admin_hosts: watch::Receiver<Arc<Vec<String>>>,
    ) -> Result<House, StartError> {
        let (store, clock, catalog) = (self.store.clone(), self.clock.clone(), context.catalog.clone());
        let sandbox = self.workspace.settings.sandbox;
        let facts = EngineFacts { root: self.workspace.root.clone(), started: clock.now(), sandbox };
        let view = View {
            store: store.clone(),
            clock: clock.clone(),
            catalog: catalog.clone(),
            accounts: accounts.clone(),
            queue: queue.clone(),
            feed: self.signals.feed.clone(),
            tally: self.signals.tally.clone(),
            turned_away: TurnedAway::default(),
            engine: Arc::new(facts),
            files: context.files.clone(),
            calendars: Calendars::new(context.files.clone()),
        };
        Ok(House {
            view,
            intake: Intake::new(store.clone(), queue.clone(), clock.clone(), context.subscribers.clone()),
            inbox: Inbox::new(store, clock, catalog),
            lanes: self.signals.lanes.clone(),
            blobs: self.blobs.clone(),
            subscribers: context.subscribers.clone(),
            context: context.clone(),
            token: self.folder.token().map_err(system)?,
            link_key: self.link_key.clone(),
            admin_hosts,
            doors: Doors::default(),
            editor: Editor::default(),
            notes: Notes::default(),
            assets: Arc::default(),
            rates: Rates::default(),
            shutdown: self.shutdown.clone(),
        })
    }

    /// Says it loudly when there are no settings where there were some: whatever is sent goes to the sandbox then.
    async fn say_what_is_missing(&self) -> Result<(), StartError> {
        let settings = &self.workspace.settings;
        if settings.sandbox || !settings.said_by.is_empty() {
            return Ok(());
        }
        let latest = MessageFilter { limit: LATEST, ..MessageFilter::default() };
        let messages = self.store.messages(latest).await?.rows;
        let other = messages.iter().find(|message| settings.accounts.iter().all(|own| own.name != message.account));
        if let Some(message) = other {
            tracing::warn!(
                account = %message.account,
                "there is no postrider.yaml, so that all messages go to the sandbox and reach nobody; earlier ones went by \
                 an account that is not configured any more"
            );
        }
        Ok(())
    }

    /// Starts what follows the clock and the store.
    fn services(
        &self,
        context: &Context,
        queue: &Arc<RunQueue>,
        accounts: &watch::Receiver<Arc<Accounts>>,
        turned_away: &TurnedAway,
    ) -> Services {
        let (store, clock, signals) = (&self.store, &self.clock, &self.signals);
        let mut services = Services {
            tasks: JoinSet::new(),
            clock: clock.clone(),
            shutdown: self.shutdown.clone(),
            breakdown: signals.breakdown.clone(),
        };
        let timers = MessageTimers::new(store.clone(), clock.clone(), signals.message_timer.clone(), accounts.clone());
        services.run("the clock of messages", timers, STORE_REST);
        let dispatcher = Dispatcher::new(store.clone(), queue.clone(), clock.clone(), signals.runs.clone());
        services.run("the dispatch of runs", dispatcher, STORE_REST);
        services.run("the upkeep of versions", Sweeper::new(store.clone(), clock.clone()), STORE_REST);
        let keeper = Keeper::new(store.clone(), context.catalog.clone(), self.blobs.clone(), clock.clone());
        services.run("the upkeep of what is kept", keeper, STORE_REST);
        let timers = RunTimers::new(store.clone(), clock.clone(), signals.run_timer.clone());
        services.run("the clock of runs", timers, STORE_REST);
        let (catalog, bell) = (context.catalog.clone(), signals.troubles.clone());
        let alarm = Alarm::new(store.clone(), clock.clone(), bell, catalog, accounts.clone());
        services.run("the alarm", alarm, alarm::REST);
        let refusals = Refusals::new(store.clone(), turned_away.clone());
        services.run("the list of refused requests", refusals, STORE_REST);
        services.tasks.spawn(warmed(store.clone()));
        services.tasks.spawn(restricted(self.folder.path.clone()));
        services
    }
}

impl Engine {
    /// Starts an engine on a workspace: when this returns, it serves.
    ///
    /// # Errors
    /// When the folder is another engine's, or the store cannot be opened. Broken flows are no
    /// reason: the others run.
    pub async fn start(workspace: &Workspace, outside: Outside) -> Result<Self, StartError> {
        let Outside { clock, public, private, store } = outside;
        let (stopper, shutdown) = channel();
        let mut base = Foundation::lay(workspace, store, clock.clone(), shutdown.clone()).await?;
        let address = Address {
            admin: private.local_addr().map_err(system)?,
            listen: public.local_addr().map_err(system)?,
            pid: std::process::id(),
        };
        base.fetch.never(&[address.listen, address.admin]);

        base.say_what_is_missing().await?;
        let changes = Changes::new(&workspace.root);
        let reloader = base.flows(&changes).await?;
        let (catalog, accounts) = (reloader.live().catalog.subscribe(), reloader.lanes().accounts());
        let admin_hosts = reloader.live().admin_hosts.subscribe();
        let context = base.context(&catalog, &accounts);
        let files = context.files.clone();
        let supervisor = Supervisor::open(base.store.clone(), clock.clone(), files, changes, catalog.clone()).await?;
        let marks = Arc::new(Marks::open(&base.home.join("turns"), &context).await?);
        let queue = base.threads(&context, &marks)?;
        let house = base.house(&context, &queue, &accounts, admin_hosts)?;

        let (reload, doors) = (Bell::default(), house.doors.clone());
        house.view.turned_away.fill(base.store.refused().await?);
        let pulse = Pulse::open(base.store.clone(), clock.clone()).await?;
        let mut services = base.services(&context, &queue, &accounts, &house.view.turned_away);
        services.run("the pulse", pulse, STORE_REST);
        services.add("the reload of flows", reloader.run(context.versions.clone(), reload.clone(), shutdown));
        services.run("the triggers", supervisor, STORE_REST);
        services.add("the listeners", serve(Arc::new(house), public, private));
        base.folder.announce(&address).map_err(system)?;
        Ok(Self {
            address,
            catalog,
            reload,
            store: base.store,
            queue,
            stopper,
            services,
            marks,
            doors,
            clock,
            _folder: base.folder,
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
        self.queue.close();
        let ended = async {
            self.queue.idle().await;
            while self.services.tasks.join_next().await.is_some() {}
        };
        match tokio::time::timeout(GRACE, ended).await {
            Ok(()) => {
                self.marks.clear();
                if let Err(error) = pulse::last(&*self.store, self.clock.now()).await {
                    tracing::warn!(%error, "it is not written down that the engine was stopped");
                }
            }
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
        self.queue.close();
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
