//! Settings: `postrider.yaml`, `.env`, the environment and flags, turned into what the inner
//! layers take. Nothing below imports this.

mod account;
mod file;
mod gateways;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use jiff::tz::TimeZone;

use crate::fetch::Allowed;
use crate::files::open_regular;
use crate::flow::file::fill::{Environment, parse_dotenv};
use crate::flow::near::near_names;
use crate::model::diagnostic::{Diagnostic, Severity};
use crate::model::phone::Country;
use crate::model::policy::{Keep, Limits};

pub use account::AccountSettings;

/// The settings of a workspace.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Zone of flows that name none.
    pub zone: TimeZone,
    /// Country of flows that name none.
    pub country: Option<Country>,
    /// The flow that hears of what goes wrong where no other is named.
    pub on_failure: Option<String>,
    /// The state file.
    pub store: PathBuf,
    /// Nothing goes out, and the state is a copy.
    pub sandbox: bool,
    /// The state file counts although it is a copy.
    pub adopt: bool,
    /// Public side.
    pub listen: SocketAddr,
    /// Private side.
    pub admin: SocketAddr,
    /// Names that the private side may be called by, besides the loopback ones.
    pub admin_hosts: Vec<String>,
    /// How the world reaches the public side.
    pub public_url: Option<url::Url>,
    /// Proxies that are believed when they say whom they speak for.
    pub trusted_proxies: Vec<IpNet>,
    /// What may be called besides public addresses.
    pub allowed: Vec<Allowed>,
    /// Used when neither script nor flow names one.
    pub default_account: Option<String>,
    /// The accounts.
    pub accounts: Vec<AccountSettings>,
    /// Bounds.
    pub limits: Limits,
    /// How long what is over is kept.
    pub keep: Keep,
    /// Whether flows may be edited in the browser.
    pub editable: bool,
    /// Values for `${NAME}`, and which flows may have them.
    pub environment: Environment,
    /// Warnings.
    pub doubts: Vec<Diagnostic>,
    /// Which of the files that settings are read from say something.
    pub said_by: Vec<&'static str>,
}

/// What flags say; they win over the environment, which wins over the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--listen`.
    pub listen: Option<String>,
    /// `--admin`.
    pub admin: Option<String>,
    /// `--store`.
    pub store: Option<String>,
    /// `--sandbox`.
    pub sandbox: bool,
    /// `--adopt`.
    pub adopt: bool,
}

impl Flags {
    /// Fills what was not given from `POSTRIDER_LISTEN`, `POSTRIDER_ADMIN`, `POSTRIDER_STORE`.
    fn or_environment(self, environment: &Environment) -> Self {
        let or = |flag: Option<String>, name: &str| flag.or_else(|| environment.get(name).map(str::to_owned));
        Self {
            listen: or(self.listen, "POSTRIDER_LISTEN"),
            admin: or(self.admin, "POSTRIDER_ADMIN"),
            store: or(self.store, "POSTRIDER_STORE"),
            ..self
        }
    }
}

impl Settings {
    /// Reads the settings of the workspace at `root`. No file is needed.
    ///
    /// # Errors
    /// All findings.
    pub fn load(
        root: &Path,
        flags: Flags,
        process: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let wrong: Vec<Diagnostic> =
            near_names(root).into_iter().filter(|near| near.severity == Severity::Error).collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let process: BTreeMap<String, String> = process.into_iter().collect();
        let zone = system_zone(process.get("TZ").map(String::as_str));
        let (text, variables) = (text(root, FILE)?, text(root, DOTENV)?);
        let environment = Environment::new(dotenv(variables.as_deref().unwrap_or_default())?, process);
        let flags = flags.or_environment(&environment);
        let mut settings = file::read(root, text.as_deref(), flags, environment, zone)?;
        let says = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
        let files = [(FILE, says(&text)), (DOTENV, says(&variables))];
        settings.said_by = files.into_iter().filter(|(_, says)| *says).map(|(file, _)| file).collect();
        Ok(settings)
    }

    /// What is wrong with taking these settings over from others that were in force. A file that is away or empty may be
    /// one that is just being replaced, or whose drive is not there: without it, messages would go to the sandbox, and
    /// look as if they had been sent.
    pub fn silenced(&self, before: &Self) -> Vec<Diagnostic> {
        let gone = before.said_by.iter().filter(|file| !self.said_by.contains(file));
        gone.map(|file| {
            let hint = "put it back; or stop the engine and run it again, to go on without it";
            Diagnostic::error(file, 0, 0, "the file is away, or empty; what it said stays in force").with_hint(hint)
        })
        .collect()
    }
}

const FILE: &str = "postrider.yaml";
const DOTENV: &str = ".env";

/// The zone of the computer, or of the variable `TZ`, which may name one that does not exist.
fn system_zone(variable: Option<&str>) -> Result<TimeZone, String> {
    let Some(name) = variable.filter(|name| !name.is_empty()) else { return Ok(TimeZone::system()) };
    let bare = name.strip_prefix(':').unwrap_or(name);
    let known = bare.starts_with('/') || TimeZone::get(bare).is_ok() || TimeZone::posix(bare).is_ok();
    match known {
        true => Ok(TimeZone::system()),
        false => Err(format!("the variable `TZ` is `{name}`, and there is no such time zone")),
    }
}

fn dotenv(text: &str) -> Result<BTreeMap<String, String>, Vec<Diagnostic>> {
    let wrong = |(line, message)| Diagnostic::error(DOTENV, line, 1, message);
    parse_dotenv(text).map_err(|all| all.into_iter().map(wrong).collect())
}

/// What a file says; none where there is no such file.
fn text(root: &Path, file: &'static str) -> Result<Option<String>, Vec<Diagnostic>> {
    let (path, mut text) = (root.join(file), String::new());
    let wrong = |message: String| vec![Diagnostic::error(file, 0, 0, message)];
    match open_regular(&path).and_then(|mut file| file.read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match path.symlink_metadata() {
            Ok(_) => Err(wrong("the file is a link, and what it leads to is not there".into())),
            Err(_) => Ok(None),
        },
        Err(error) => Err(wrong(format!("the file cannot be read: {error}"))),
    }
}
