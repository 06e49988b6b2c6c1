//! A folder with flows, and the settings it comes with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Flags, Gateway, Settings};
use crate::flow::catalog::Catalog;
use crate::model::diagnostic::Diagnostic;
use crate::outbox::Account;
use crate::script::Accounts;
use crate::transport::gowa::Gowa;
use crate::transport::sandbox::{Phones, Sandbox};
use crate::transport::{self, SharedTransport};

/// A workspace whose settings could be read.
pub struct Workspace {
    /// The folder.
    pub root: PathBuf,
    /// Its settings.
    pub settings: Settings,
}

impl Workspace {
    /// Reads the settings of the folder at `root`; `process` are the environment's variables.
    ///
    /// # Errors
    /// All findings in `postrider.yaml` and `.env`.
    pub fn open(
        root: &Path,
        flags: Flags,
        process: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        if !root.is_dir() {
            let message = "there is no such folder";
            return Err(vec![Diagnostic::error(&root.display().to_string(), 0, 0, message)]);
        }
        Ok(Self { root: root.to_owned(), settings: Settings::load(root, flags, process)? })
    }

    /// The accounts with their transports.
    ///
    /// # Errors
    /// When no client for HTTP can be made, or a credential cannot be sent.
    pub fn accounts(&self, phones: &Arc<dyn Phones>) -> Result<Vec<Account>, String> {
        let client = transport::client()?;
        let account = |settings: &crate::config::AccountSettings| {
            let (kind, transport): (_, SharedTransport) = match &settings.gateway {
                Gateway::Sandbox => ("sandbox", Arc::new(Sandbox::new(settings.name.clone(), phones.clone()))),
                Gateway::Gowa(options) => {
                    let gowa = Gowa::new(options.clone(), client.clone());
                    ("gowa", Arc::new(gowa.map_err(|error| format!("account `{}`: {error}", settings.name))?))
                }
            };
            Ok(Account {
                name: settings.name.clone(),
                kind,
                transport,
                pace: settings.pace,
                retry: settings.retry,
                on_unknown: settings.on_unknown,
                unknown_after: settings.unknown_after,
                on_unsupported: settings.on_unsupported,
            })
        };
        self.settings.accounts.iter().map(account).collect()
    }

    /// All flows, checked against the accounts.
    pub fn catalog(&self, accounts: &[Account]) -> Catalog {
        let accounts = Accounts {
            default: self.settings.default_account.clone(),
            by_name: accounts.iter().map(|account| (account.name.clone(), *account.transport.capabilities())).collect(),
        };
        Catalog::load(&self.root, &self.settings.environment, &self.settings.zone, Arc::new(accounts))
    }
}
