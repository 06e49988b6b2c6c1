//! Takes changed files over while the engine runs: everything is built beside what is live, and
//! swapped at once.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinError;

use super::git::Lock;
use super::lanes::Lanes;
use super::workspace::Workspace;
use crate::changes::{Changes, Ear};
use crate::clock::{SharedClock, after};
use crate::feed::Change;
use crate::fetch::Fetch;
use crate::flow::Flow;
use crate::flow::catalog::{Catalog, Ground};
use crate::flow::library::{Changes as Changed, Library};
use crate::flow::versions::{Missing, Versions, kept};
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::panics;
use crate::shutdown::Shutdown;
use crate::store::records::KeptFlows;
use crate::store::{STORE_REST, Store, StoreError};
use crate::wake::Bell;

/// Files are read when nothing has changed for so long, ...
const QUIET: Duration = Duration::from_millis(60);
/// ... or when so much time has passed since the first change.
const PATIENCE: Duration = Duration::from_millis(300);
/// What git changes is waited for, however long a look takes, but not for ever.
const GIT: Duration = Duration::from_secs(10);
/// A file that is open and was changed is waited for, but no longer than this.
const WRITING: Duration = Duration::from_secs(2);
/// Without any hint the files are looked at this often; more seldom where a look takes long.
const LOOK: Duration = Duration::from_secs(5);
/// What is changed by settings, besides accounts.
pub struct Live {
    /// The flows.
    pub catalog: watch::Sender<Arc<Catalog>>,
    /// Names that the private side may be called by.
    pub admin_hosts: watch::Sender<Arc<Vec<String>>>,
    /// The way to addresses that others named.
    pub fetch: Fetch,
}

/// The service.
pub struct Reloader {
    workspace: Workspace,
    library: Arc<Mutex<Library>>,
    git: Lock,
    lanes: Lanes,
    live: Live,
    store: Arc<dyn Store>,
    clock: SharedClock,
    bell: Bell,
    /// What is wrong with the settings: the ones before them stay.
    wrong: Vec<Diagnostic>,
    /// What looking at the files broke down with the last time.
    broke: Option<String>,
    /// Keeps the bell ringing.
    ears: Vec<Ear>,
}

/// When to look at the files again.
struct Next {
    at: Timestamp,
    /// In any case, whatever is published.
    publish: bool,
}

impl Reloader {
    /// Reads the flows for the first time and makes them live.
    ///
    /// # Errors
    /// As the store fails, or when an account cannot be made.
    pub async fn open(
        workspace: &Workspace,
        mut lanes: Lanes,
        changes: &Changes,
        store: Arc<dyn Store>,
        clock: SharedClock,
        fetch: Fetch,
        bell: Bell,
    ) -> Result<Self, OpenError> {
        // The ears come first: what changes from now on is heard.
        let listen = |path: &str| changes.listen(path, true, &bell);
        // `..data` is what a mounted configuration is swapped by.
        let ears = ["flows", "scripts", "postrider.yaml", ".env", "..data"].into_iter().map(listen).collect();
        let prepared = lanes.prepare(&workspace.settings).map_err(OpenError::Account)?;
        let ground = Arc::new(workspace.ground(prepared.accounts()));
        let mut library =
            Library::new(&workspace.root, ground.clone(), store.good_versions().await?, store.flows_home().await?);
        let mut git = Lock::of(&workspace.root);
        git.released().await;
        library.look();
        for (path, version) in library.orphans() {
            match kept(&store, &ground, &version).await {
                Ok(flow) => library.adopt(path, flow),
                Err(Missing::Store(error)) => return Err(error.into()),
                Err(Missing::Broken(error)) => {
                    tracing::error!("{path}: {error}");
                    if let Some(row) = store.version(&version).await? {
                        library.withhold(path, row.flow);
                    }
                }
            }
        }
        let (catalog, _) = library.catalog(clock.now());
        lanes.apply(prepared);
        let live = Live {
            catalog: watch::channel(Arc::new(Catalog::of(Vec::new(), Vec::new(), ground))).0,
            admin_hosts: watch::channel(Arc::new(workspace.settings.admin_hosts.clone())).0,
            fetch,
        };
        let workspace = workspace.clone();
        let library = Arc::new(Mutex::new(library));
        let (wrong, broke) = (Vec::new(), None);
        let reloader = Self { workspace, library, git, lanes, live, store, clock, bell, wrong, broke, ears };
        reloader.publish(catalog, None).await?;
        Ok(reloader)
    }

    /// What is live, to be followed.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// The accounts, to be followed.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Follows the files until told to stop; then waits for the lanes.
    pub async fn run(mut self, versions: Arc<Versions>, again: Bell, shutdown: Shutdown) {
        let mut since = self.clock.now();
        let mut next = Next { at: after(since, LOOK), publish: false };
        while shutdown.is_running() {
            let mut all = false;
            tokio::select! {
                () = shutdown.draining() => break,
                () = self.bell.rung() => {}
                () = again.rung() => all = true,
                () = self.clock.sleep_until(next.at, since) => {}
            }
            self.quiet().await;
            since = self.clock.now();
            next = tokio::select! {
                () = shutdown.draining() => break,
                next = self.turn(&versions, all, next.publish) => next,
            };
        }
        self.lanes.ended().await;
    }

    /// Waits until nothing changes any more.
    async fn quiet(&self) {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && tokio::time::timeout(QUIET, self.bell.rung()).await.is_ok() {}
        // Half a file may look like a whole one: whoever writes gets the time to close it.
        while begun.elapsed() < WRITING && self.ears.iter().any(Ear::is_being_written) {
            let _ = tokio::time::timeout(QUIET, self.bell.rung()).await;
        }
        self.ears.iter().for_each(Ear::wait_no_longer);
    }

    /// Looks at the files and takes over what changed; says when to look again.
    async fn turn(&mut self, versions: &Versions, all: bool, publish: bool) -> Next {
        // A repository may have been made meanwhile.
        self.git.found(&self.workspace.root);
        self.git.released().await;
        let begun = Instant::now();
        let mut found = self.look(all).await;
        let took = begun.elapsed();
        // What changed while we looked belongs to the same set.
        while (begun.elapsed() < GIT && self.git.is_held()) || (begun.elapsed() < PATIENCE && self.rung().await) {
            self.git.released().await;
            found.add(self.look(false).await);
        }
        let away = match found.settings || found.flows || publish || all {
            true => self.take_over(versions, found.settings).await,
            false => Ok(None),
        };
        let look = after(self.clock.now(), LOOK.max(took.saturating_mul(50)));
        let next = match away {
            Ok(Some(away)) => Next { at: away.min(look), publish: true },
            Ok(None) => Next { at: look, publish: false },
            Err(NotTaken::Store(error)) => {
                tracing::error!(%error, "changed flows cannot be taken over yet");
                return Next { at: after(self.clock.now(), STORE_REST), publish: true };
            }
            // The same files would break it down again: others are waited for.
            Err(error @ NotTaken::Broken(_)) => {
                tracing::error!(%error, "changed flows are not taken over; what was live stays so");
                Next { at: look, publish: false }
            }
        };
        if found.fresh {
            self.bell.nudge();
        }
        next
    }

    /// Whether it has rung since the last look.
    async fn rung(&self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.bell.rung()).await.is_ok()
    }

    /// What has changed since the last look, or all of it.
    async fn look(&mut self, all: bool) -> Changed {
        // Before the look: what comes into a new folder is either seen by it or told of.
        self.ears.iter().for_each(Ear::hold);
        let library = self.library.clone();
        let look = move || {
            let mut library = library.lock().unwrap_or_else(PoisonError::into_inner);
            if all {
                library.doubt();
            }
            library.look()
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(changed) => {
                self.broke = None;
                changed
            }
            Err(error) => {
                // Looked at again in a while, and told once.
                let error = NotTaken::from(error).to_string();
                if self.broke.as_ref() != Some(&error) {
                    tracing::error!(error, "changed files cannot be looked at");
                }
                self.broke = Some(error);
                Changed { settings: false, flows: false, fresh: false }
            }
        }
    }

    /// Builds everything beside what is live, keeps it, and swaps. Gives when to look again
    /// because a file is away.
    async fn take_over(&mut self, versions: &Versions, settings: bool) -> Result<Option<Timestamp>, NotTaken> {
        let mut ground = None;
        if settings {
            match self.new_settings().await {
                Ok(new) => ground = Some(new),
                Err(wrong) => self.wrong = wrong,
            }
        }
        let (library, now) = (self.library.clone(), self.clock.now());
        let build = move || {
            let mut library = library.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(ground) = ground {
                library.settle_on(ground);
            }
            library.catalog(now)
        };
        let (mut catalog, away) = tokio::task::spawn_blocking(build).await?;
        let wrong: Vec<_> = self.wrong.iter().filter(|wrong| !catalog.findings.contains(wrong)).cloned().collect();
        catalog.findings.splice(0..0, wrong);
        self.publish(catalog, Some(versions)).await?;
        Ok(away)
    }

    /// Reads the settings again. What they say of accounts is applied at once: a flow that is live
    /// a moment later finds its account there.
    async fn new_settings(&mut self) -> Result<Arc<Ground>, Vec<Diagnostic>> {
        let file = "postrider.yaml";
        let failed = |error: String| vec![Diagnostic::error(file, 0, 0, error)];
        let workspace = self.workspace.clone();
        let read = tokio::task::spawn_blocking(move || workspace.again()).await;
        let new = read.map_err(|error| failed(error.to_string()))??;
        let silenced = new.settings.silenced(&self.workspace.settings);
        if !silenced.is_empty() {
            return Err(silenced);
        }
        let prepared = self.lanes.prepare(&new.settings).map_err(failed)?;
        let ground = Arc::new(new.ground(prepared.accounts()));
        self.lanes.apply(prepared);
        self.live.admin_hosts.send_replace(Arc::new(new.settings.admin_hosts.clone()));
        self.live.fetch.allow(new.settings.allowed.clone());
        if new.settings.limits.backlog != self.workspace.settings.limits.backlog
            && let Err(error) = self.store.limit_backlog(new.settings.limits.backlog).await
        {
            tracing::error!(%error, "`limits.backlog` stays as it was");
        }
        let (old, now) = (&self.workspace.settings, &new.settings);
        let fixed = [
            ("listen", old.listen != now.listen),
            ("admin", old.admin != now.admin),
            ("store", old.store != now.store),
        ];
        self.wrong = fixed
            .into_iter()
            .filter(|(_, changed)| *changed)
            .map(|(key, _)| {
                let message = format!("`{key}` was changed; that takes effect with the next start");
                Diagnostic::warning(file, 0, 0, message).with_hint("stop the engine and run it again")
            })
            .collect();
        // What is in force stays what the next change is compared with.
        let (listen, admin, store) = (old.listen, old.admin, old.store.clone());
        self.workspace = new;
        let settings = &mut self.workspace.settings;
        (settings.listen, settings.admin, settings.store) = (listen, admin, store);
        tracing::info!("the settings are live");
        Ok(ground)
    }

    /// Keeps a set of flows and makes it live.
    async fn publish(&self, catalog: Catalog, versions: Option<&Versions>) -> Result<(), StoreError> {
        let before = self.live.catalog.borrow().clone();
        let (published, kept) = {
            let library = self.library.lock().unwrap_or_else(PoisonError::into_inner);
            let published = library.differs(&catalog);
            let good = published.new.iter().map(|flow| (flow.file.to_string(), Versions::row(flow))).collect();
            let gone = published.gone.iter().map(ToString::to_string).collect();
            let home = published.home;
            (published, KeptFlows { good, gone, home })
        };
        if !kept.good.is_empty() || !kept.gone.is_empty() || kept.home.is_some() {
            self.store.keep_flows(kept).await?;
        }
        tell(&before, &catalog);
        self.library.lock().unwrap_or_else(PoisonError::into_inner).published(&catalog, &published);
        let hash = catalog.hash.clone();
        self.live.catalog.send_replace(Arc::new(catalog));
        self.lanes.tell([Change::Flows { hash }]);
        if let Some(versions) = versions {
            published.replaced.into_iter().for_each(|flow| versions.retire(&flow.version.clone(), flow));
        }
        Ok(())
    }
}

/// Why changed files could not be taken over.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// We broke down on them.
    #[error("building the flows broke down ({0}); this is a defect, please report it")]
    Broken(String),
}

impl From<JoinError> for NotTaken {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::Broken(panics::words(&*panic).to_owned()),
            Err(error) => Self::Broken(error.to_string()),
        }
    }
}

/// Why a reloader could not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An account cannot be made.
    #[error("{0}")]
    Account(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Flows that came, changed, went, or are well again; the first few by name.
fn changed(before: &Catalog, now: &Catalog) -> String {
    let as_before = |name: &Arc<str>, flow: &Arc<Flow>| {
        before.flow(name).is_some_and(|old| old.version == flow.version)
            && before.stale.contains_key(name) == now.stale.contains_key(name)
    };
    let here = now.flows.iter().filter(|(name, flow)| !as_before(name, flow)).map(|(name, _)| name);
    let gone = before.flows.keys().filter(|name| now.flow(name).is_none());
    let names: Vec<&str> = here.chain(gone).map(|name| &**name).collect();
    match names.get(5) {
        Some(_) => format!("{} and {} more", names[..5].join(", "), names.len() - 5),
        None => names.join(", "),
    }
}

/// Says what is new.
fn tell(before: &Catalog, now: &Catalog) {
    let known: BTreeSet<String> = before.findings.iter().map(ToString::to_string).collect();
    for finding in &now.findings {
        let text = finding.to_string();
        match finding.severity {
            _ if known.contains(&text) => {}
            Severity::Error => tracing::error!("{text}"),
            Severity::Warning => tracing::warn!("{text}"),
        }
    }
    if before.hash != now.hash || before.stale.len() != now.stale.len() {
        let changed = changed(before, now);
        tracing::info!(flows = now.flows.len(), stale = now.stale.len(), hash = %now.hash, %changed, "the flows are live");
    }
}
