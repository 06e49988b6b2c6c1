//! A folder with flows, and the settings it comes with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{AccountSettings, Flags, Settings};
use crate::files::{Files, Own};
use crate::flow::catalog::{Catalog, Ground};
use crate::flow::library::Library;
use crate::model::accounts::{AccountFacts, Accounts};
use crate::model::diagnostic::Diagnostic;
use crate::model::walls::FlowNames;
use crate::outbox::{Account, Fallback};
use crate::transport::site::{Phones, Site};
use crate::transport::{Download, GATEWAYS, Outgoing};

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
        let settings = &self.settings;
        let of = |name: &str| settings.accounts.iter().find(|settings| settings.name == name);
        let facts = |account: &'a Account| {
            let facts = AccountFacts {
                transport: account.kind,
                capabilities: account.transport.capabilities(),
                on_unsupported: account.on_unsupported,
                flows: of(&account.name).map_or(FlowNames::ALL, |settings| settings.flows.clone()),
                hears: hears(account),
            };
            (account.name.clone(), facts)
        };
        let by_name = accounts.map(facts).collect();
        let (default, public) = (settings.default_account.clone(), settings.public_url.is_some());
        Ground {
            accounts: Arc::new(Accounts { default, by_name, public }),
            environment: settings.environment.clone(),
            zone: settings.zone.clone(),
            country: settings.country,
            on_failure: settings.on_failure.clone(),
            limits: settings.limits,
            keep: settings.keep,
            public_url: settings.public_url.clone(),
            trusted_proxies: settings.trusted_proxies.clone(),
            editable: settings.editable,
            exposed: !settings.listen.ip().to_canonical().is_loopback(),
            doubts: settings.doubts.clone(),
        }
    }

    /// Its files, as scripts may see them.
    pub fn files(&self) -> Files {
        let own = Own::new(
            vec![self.root.join(".postrider")],
            vec![self.root.join("postrider.yaml"), self.root.join(".env")],
        );
        Files::new(self.root.clone(), own)
    }

    /// All flows as their files are now, for a look that starts nothing.
    ///
    /// # Errors
    /// When no client for HTTP can be made, or a credential cannot be sent.
    pub fn catalog(&self) -> Result<Catalog, String> {
        let phones: Arc<dyn Phones> = Arc::new(NoPhones);
        let all = &self.settings.accounts;
        let accounts = all.iter().map(|settings| account(settings, all, &phones));
        let accounts: Vec<Account> = accounts.collect::<Result<_, _>>()?;
        let mut library = Library::new(&self.root, Arc::new(self.ground(accounts.iter())), BTreeMap::new(), None);
        library.look();
        Ok(library.catalog(jiff::Timestamp::UNIX_EPOCH).0)
    }
}

/// An account with its transport; `all` are those among which its fallback is found.
///
/// # Errors
/// When no client for HTTP can be made, or a credential cannot be sent.
pub fn account(
    settings: &AccountSettings,
    all: &[AccountSettings],
    phones: &Arc<dyn Phones>,
) -> Result<Account, String> {
    let site = Site {
        account: &settings.name,
        public_url: settings.public_url.as_ref(),
        inbound_token: settings.inbound_token.as_ref(),
        phones,
    };
    let transport =
        settings.gateway.transport(&site).map_err(|error| format!("account `{}`: {error}", settings.name))?;
    let fallback = settings.fallback.as_ref().and_then(|name| {
        let other = all.iter().find(|other| other.name == *name)?;
        let (capabilities, on_unsupported) = (other.gateway.capabilities(), other.on_unsupported);
        Some(Fallback { name: name.clone(), capabilities, on_unsupported })
    });
    Ok(Account {
        name: settings.name.clone(),
        kind: settings.gateway.row.name,
        transport,
        pace: settings.pace,
        retry: settings.retry,
        on_unknown: settings.on_unknown,
        unknown_after: settings.unknown_after,
        on_unsupported: settings.on_unsupported,
        zone: settings.zone.clone(),
        fallback,
        public_url: settings.public_url.clone(),
        inbound_token: settings.inbound_token.clone(),
        opt_out: settings.opt_out.clone(),
    })
}

/// Whether what its gateway tells can be verified at all; else what would change that.
fn hears(account: &Account) -> Result<(), &'static str> {
    if account.transport.hears(account.inbound_token.is_some()) {
        return Ok(());
    }
    let gateway = GATEWAYS.iter().find(|gateway| gateway.name == account.kind);
    Err(gateway.map_or("", |gateway| gateway.remedy))
}

/// Looking sends nothing.
struct NoPhones;

impl Phones for NoPhones {
    fn receive(&self, _: &str, _: Outgoing) -> std::pin::Pin<Box<dyn Future<Output = Result<bool, String>> + Send>> {
        Box::pin(std::future::ready(Err("nothing is sent while looking".into())))
    }

    fn file(&self, _: &str) -> Download {
        Box::pin(std::future::ready(Err("nothing is fetched while looking".into())))
    }
}
