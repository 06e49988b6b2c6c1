//! Flow versions that runs are pinned to: those that are live, and older ones from the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Flow;
use super::catalog::{Catalog, Ground};
use super::file::{Content, rebuild, revive};
use crate::model::diagnostic::Diagnostic;
use crate::model::run::ScriptError;
use crate::store::records::VersionRow;
use crate::store::{Store, StoreError};

/// Most old versions kept compiled.
const KEPT: usize = 64;

/// Finds the flow for a version.
pub struct Versions {
    store: Arc<dyn Store>,
    catalog: watch::Receiver<Arc<Catalog>>,
    old: Mutex<HashMap<String, Arc<Flow>>>,
}

/// Why a version cannot be had.
pub enum Missing {
    /// The store failed; try again.
    Store(StoreError),
    /// It cannot be built; the run cannot go on.
    Broken(ScriptError),
}

impl Versions {
    /// Versions of the flows that `catalog` shows, and of those that `store` keeps.
    pub fn new(store: Arc<dyn Store>, catalog: watch::Receiver<Arc<Catalog>>) -> Self {
        Self { store, catalog, old: Mutex::default() }
    }

    /// The row to be kept of a flow.
    pub fn row(flow: &Flow) -> VersionRow {
        // Texts and maps of texts: that cannot fail to be written as JSON.
        let content = serde_json::to_string(&flow.content).unwrap_or_default();
        VersionRow { id: flow.version.to_string(), flow: flow.name.to_string(), content }
    }

    /// A version that is not live any more; runs may need it.
    pub fn retire(&self, version: &str, flow: Arc<Flow>) {
        let mut old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        if old.len() >= KEPT {
            old.clear();
        }
        old.insert(version.to_owned(), flow);
    }

    /// The flow of this name in this version.
    ///
    /// # Errors
    /// When it is neither live nor kept, or cannot be built any more.
    pub async fn get(&self, name: &str, version: &str) -> Result<Arc<Flow>, Missing> {
        if let Some(flow) = self.catalog.borrow().flow(name).filter(|flow| *flow.version == *version) {
            return Ok(flow.clone());
        }
        let known = self.old.lock().unwrap_or_else(PoisonError::into_inner).get(version).cloned();
        let ground = self.catalog.borrow().ground.clone();
        // One that holds a secret which is not for it any more is built again without it. Its constants stay
        // those that its runs began with.
        if let Some(flow) = known.filter(|flow| !flow.holds_too_much(&ground.environment)) {
            return Ok(flow);
        }
        let flow = build(&self.store, version, |content| revive(content, ground.home())).await?;
        let flow = Arc::new(flow);
        self.retire(version, flow.clone());
        Ok(flow)
    }
}

/// A version as it was kept, to be live against the present settings.
///
/// # Errors
/// When it is not kept, or cannot be built any more.
pub async fn kept(store: &Arc<dyn Store>, ground: &Ground, version: &str) -> Result<Flow, Missing> {
    build(store, version, |content| rebuild(content, ground.home())).await
}

async fn build(
    store: &Arc<dyn Store>,
    version: &str,
    make: impl FnOnce(&Content) -> Result<Flow, Vec<Diagnostic>>,
) -> Result<Flow, Missing> {
    let broken = |message: String| Missing::Broken(ScriptError::new("version", message));
    let row = store.version(version).await.map_err(|error| match error {
        StoreError::Unreadable(what) => broken(format!("version {version} cannot be read: {what}")),
        error => Missing::Store(error),
    })?;
    let row = row.ok_or_else(|| broken(format!("version {version} is not kept any more")))?;
    let name = row.flow;
    let content: Content = serde_json::from_str(&row.content)
        .map_err(|error| broken(format!("version {version} of flow `{name}` cannot be read: {error}")))?;
    make(&content).map_err(|findings| {
        let list: Vec<_> = findings.iter().map(ToString::to_string).collect();
        broken(format!("version {version} of flow `{name}` cannot be built any more: {}", list.join("; ")))
    })
}
