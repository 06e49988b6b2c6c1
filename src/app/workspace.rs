//! A folder with flows, and the settings it comes with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{AccountSettings, Flags, Gateway, Settings};
use crate::flow::catalog::{Catalog, Ground};
use crate::flow::library::Library;
use crate::model::diagnostic::Diagnostic;
use crate::outbox::Account;
use crate::script::Accounts;
use crate::transport::gowa::Gowa;
use crate::transport::sandbox::{Phones, Sandbox};
use crate::transport::{self, Outgoing, SharedTransport};

/// A workspace whose settings could be read.
#[derive(Clone)]
pub struct Workspace {
    /// The folder.
    pub root: PathBuf,
    /// Its settings.
    pub settings: Settings,
    flags: Flags,
    process: BTreeMap<String, String>,
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
        let process: BTreeMap<String, String> = process.into_iter().collect();
        let settings = Settings::load(root, flags.clone(), process.clone())?;
        Ok(Self { root: root.to_owned(), settings, flags, process })
    }

    /// Reads the settings again, with the same flags and variables.
    ///
    /// # Errors
    /// All findings in `postrider.yaml` and `.env`.
    pub fn again(&self) -> Result<Self, Vec<Diagnostic>> {
        Self::open(&self.root, self.flags.clone(), self.process.clone())
    }

    /// What flows stand on, with these accounts.
    pub fn ground<'a>(&self, accounts: impl Iterator<Item = &'a Account>) -> Ground {
        let by_name = accounts.map(|account| (account.name.clone(), *account.transport.capabilities())).collect();
        Ground {
            accounts: Arc::new(Accounts { default: self.settings.default_account.clone(), by_name }),
            environment: self.settings.environment.clone(),
            zone: self.settings.zone.clone(),
            limits: self.settings.limits,
        }
    }

    /// All flows as their files are now, for a look that starts nothing.
    ///
    /// # Errors
    /// When no client for HTTP can be made, or a credential cannot be sent.
    pub fn catalog(&self) -> Result<Catalog, String> {
        let phones: Arc<dyn Phones> = Arc::new(NoPhones);
        let accounts = self.settings.accounts.iter().map(|settings| account(settings, &phones));
        let accounts: Vec<Account> = accounts.collect::<Result<_, _>>()?;
        let mut library = Library::new(&self.root, Arc::new(self.ground(accounts.iter())), BTreeMap::new());
        library.look();
        Ok(library.catalog(jiff::Timestamp::UNIX_EPOCH).0)
    }
}

/// An account with its transport.
///
/// # Errors
/// When no client for HTTP can be made, or a credential cannot be sent.
pub fn account(settings: &AccountSettings, phones: &Arc<dyn Phones>) -> Result<Account, String> {
    let (kind, transport): (_, SharedTransport) = match &settings.gateway {
        Gateway::Sandbox => ("sandbox", Arc::new(Sandbox::new(settings.name.clone(), phones.clone()))),
        Gateway::Gowa(options) => {
            let gowa = Gowa::new(options.clone(), transport::client()?);
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
}

/// Looking sends nothing.
struct NoPhones;

impl Phones for NoPhones {
    fn receive(&self, _: &str, _: Outgoing) -> std::pin::Pin<Box<dyn Future<Output = Result<(), String>> + Send>> {
        Box::pin(std::future::ready(Err("nothing is sent while looking".into())))
    }
}
