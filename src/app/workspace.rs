//! A folder with flows, and the settings it comes with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{AccountSettings, Flags, Gateway, Settings};
use crate::flow::catalog::{Catalog, Ground};
use crate::flow::library::Library;
use crate::model::diagnostic::Diagnostic;
use crate::model::walls::FlowNames;
use crate::outbox::{Account, Fallback};
use crate::script::{AccountFacts, Accounts};
use crate::secret::Secret;
use crate::transport::evolution::Evolution;
use crate::transport::express_chat::ExpressChat;
use crate::transport::gowa::Gowa;
use crate::transport::meta::Meta;
use crate::transport::redacted::Redacted;
use crate::transport::sandbox::{Phones, Sandbox};
use crate::transport::twilio::{Twilio, TwilioOptions};
use crate::transport::waha::Waha;
use crate::transport::wapim::Wapim;
use crate::transport::wawp::Wawp;
use crate::transport::{Download, Incoming, NotHeard, Outgoing, SharedTransport, client};

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
            editable: settings.editable,
            exposed: !settings.listen.ip().to_canonical().is_loopback(),
            doubts: settings.doubts.clone(),
        }
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
        let mut library = Library::new(&self.root, Arc::new(self.ground(accounts.iter())), BTreeMap::new());
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
    let transport = transport(settings, phones).map_err(|error| format!("account `{}`: {error}", settings.name))?;
    let fallback = settings.fallback.as_ref().and_then(|name| {
        let other = all.iter().find(|other| other.name == *name)?;
        let (capabilities, on_unsupported) = (other.gateway.capabilities(), other.on_unsupported);
        Some(Fallback { name: name.clone(), capabilities, on_unsupported })
    });
    Ok(Account {
        name: settings.name.clone(),
        kind: settings.gateway.word(),
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

/// Whether what its gateway tells can be verified at all.
fn hears(account: &Account) -> bool {
    let nothing = Incoming {
        is_get: false,
        path: "",
        query: "",
        url: None,
        header: &|_| None,
        body: &[],
        by_token: account.inbound_token.is_some(),
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    account.kind == "sandbox" || account.transport.receive(&nothing) != Err(NotHeard::Unverifiable)
}

fn transport(settings: &AccountSettings, phones: &Arc<dyn Phones>) -> Result<SharedTransport, String> {
    let bare: SharedTransport = match &settings.gateway {
        Gateway::Sandbox(capabilities) => Arc::new(Sandbox::new(settings.name.clone(), capabilities, phones.clone())),
        Gateway::Gowa(options) => Arc::new(Gowa::new(options, client(options.timeout)?)?),
        Gateway::Wapim(options) => Arc::new(Wapim::new(options, client(options.timeout)?)?),
        Gateway::Wawp(options) => Arc::new(Wawp::new(options, client(options.timeout)?)?),
        Gateway::ExpressChat(options) => Arc::new(ExpressChat::new(options, client(options.timeout)?)?),
        Gateway::Waha(options) => Arc::new(Waha::new(options, client(options.timeout)?)?),
        Gateway::Meta(options) => Arc::new(Meta::new(options, client(options.timeout)?)?),
        Gateway::Evolution(options) => Arc::new(Evolution::new(options, client(options.timeout)?)?),
        Gateway::Twilio(options) => {
            let options = TwilioOptions { callback: callback(settings), ..options.clone() };
            Arc::new(Twilio::new(&options, client(options.timeout)?)?)
        }
    };
    // Its header is made of both, which Base64 joins.
    let pair = match &settings.gateway {
        Gateway::Twilio(options) => {
            Some(Secret::new(format!("{}:{}", options.account_sid, options.auth_token.reveal())))
        }
        _ => None,
    };
    let secrets = settings.gateway.secrets().into_iter().chain(&settings.inbound_token).chain(&pair);
    let secrets: Vec<&Secret> = secrets.collect();
    Ok(match settings.gateway {
        Gateway::Sandbox(_) => bare,
        _ => Arc::new(Redacted::new(bare, &secrets)),
    })
}

/// Where an account's gateway is to tell how far messages are.
fn callback(settings: &AccountSettings) -> Option<Secret> {
    let base = settings.public_url.as_ref()?.as_str().trim_end_matches('/');
    let token = settings.inbound_token.as_ref().map_or(String::new(), |token| format!("/{}", token.reveal()));
    Some(Secret::new(format!("{base}/gateways/{}{token}", settings.name)))
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
