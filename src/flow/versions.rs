//! Flow versions that runs are pinned to: those that are live, and older ones from the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::tz::TimeZone;
use tokio::sync::watch;

use super::Flow;
use super::catalog::Catalog;
use super::file::fill::Environment;
use super::file::{Content, rebuild};
use crate::model::run::ScriptError;
use crate::store::rows::VersionRow;
use crate::store::{Store, StoreError};

/// Most old versions kept compiled.
const KEPT: usize = 64;

/// Finds the flow for a version.
pub struct Versions {
    store: Arc<dyn Store>,
    catalog: watch::Receiver<Arc<Catalog>>,
    environment: Environment,
    zone: TimeZone,
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
    pub fn new(
        store: Arc<dyn Store>,
        catalog: watch::Receiver<Arc<Catalog>>,
        environment: Environment,
        zone: TimeZone,
    ) -> Self {
        Self { store, catalog, environment, zone, old: Mutex::default() }
    }

    /// The rows to be kept of a set of flows.
    pub fn rows(catalog: &Catalog) -> Vec<VersionRow> {
        let row = |flow: &Arc<Flow>| {
            // Texts and maps of texts: that cannot fail to be written as JSON.
            let content = serde_json::to_string(&flow.content).unwrap_or_default();
            VersionRow { id: flow.version.clone(), flow: flow.name.to_string(), content }
        };
        catalog.flows.values().map(row).collect()
    }

    /// The flow of this name in this version.
    ///
    /// # Errors
    /// When it is neither live nor kept, or cannot be built any more.
    pub async fn get(&self, name: &str, version: &str) -> Result<Arc<Flow>, Missing> {
        if let Some(flow) = self.catalog.borrow().flow(name).filter(|flow| flow.version == version) {
            return Ok(flow.clone());
        }
        let known = self.old.lock().unwrap_or_else(PoisonError::into_inner).get(version).cloned();
        if let Some(flow) = known {
            return Ok(flow);
        }
        let broken = |message: String| Missing::Broken(ScriptError::new("version", message));
        let row = self.store.version(version).await.map_err(Missing::Store)?;
        let row = row.ok_or_else(|| broken(format!("version {version} of flow `{name}` is not kept any more")))?;
        let content: Content = serde_json::from_str(&row.content)
            .map_err(|error| broken(format!("version {version} of flow `{name}` cannot be read: {error}")))?;
        let flow = rebuild(&content, &self.environment, &self.zone).map_err(|findings| {
            let list: Vec<_> = findings.iter().map(ToString::to_string).collect();
            broken(format!("version {version} of flow `{name}` cannot be built any more: {}", list.join("; ")))
        })?;
        let flow = Arc::new(flow);
        let mut old = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        if old.len() >= KEPT {
            old.clear();
        }
        old.insert(version.to_owned(), flow.clone());
        Ok(flow)
    }
}
