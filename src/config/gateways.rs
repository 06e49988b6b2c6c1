//! The keys that accounts have by their gateway.

use std::time::Duration;

use url::Url;

use crate::flow::file::node::{Fields, Findings, Node};
use crate::flow::file::strength::is_secret;
use crate::model::capability::Capabilities;
use crate::model::policy::Pace;
use crate::model::recipient::Recipient;
use crate::secret::Secret;
use crate::transport::evolution::{Evolution, EvolutionOptions};
use crate::transport::express_chat::{ExpressChat, ExpressChatOptions};
use crate::transport::gowa::{Gowa, GowaOptions};
use crate::transport::meta::{Meta, MetaOptions};
use crate::transport::sandbox::Sandbox;
use crate::transport::twilio::{Sender, Twilio, TwilioOptions};
use crate::transport::waha::{Engine, WahaOptions};
use crate::transport::wapim::{Wapim, WapimOptions};
use crate::transport::wawp::{Wawp, WawpOptions};
use crate::units::{nearest, parse_duration};

/// Each transport with the keys of its own.
const KEYS: [(&str, &[&str]); 9] = [
    ("sandbox", &[]),
    ("gowa", &["url", "device", "basic_auth", "webhook_secret"]),
    ("wapim", &["url", "token"]),
    ("wawp", &["url", "instance_id", "access_token", "webhook_secret", "webhook_header"]),
    ("express-chat", &["url", "api_key"]),
    ("waha", &["url", "api_key", "session", "engine", "webhook_secret"]),
    ("meta", &["url", "version", "phone_number_id", "access_token", "app_secret", "verify_token"]),
    ("evolution", &["url", "api_key", "instance", "webhook_secret"]),
    ("twilio", &["url", "account_sid", "auth_token", "from", "messaging_service"]),
];
/// The header that the signature of Wawp comes in, as its sister WAHA calls it: its own pages do not
/// say.
const WAWP_HEADER: &str = "x-webhook-hmac";
/// The Graph API's version where none is named.
const META_VERSION: &str = "v25.0";

/// Which gateway an account speaks to, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Gateway {
    /// The built-in stand-in, with what it can do.
    Sandbox(&'static Capabilities),
    /// GOWA.
    Gowa(GowaOptions),
    /// Wapim.
    Wapim(WapimOptions),
    /// Wawp.
    Wawp(WawpOptions),
    /// Express-Chat.
    ExpressChat(ExpressChatOptions),
    /// WAHA.
    Waha(WahaOptions),
    /// Meta's Cloud API.
    Meta(MetaOptions),
    /// Evolution API.
    Evolution(EvolutionOptions),
    /// Twilio.
    Twilio(TwilioOptions),
}

impl Gateway {
    /// The stand-in for no gateway in particular.
    pub const SANDBOX: Self = Self::Sandbox(Sandbox::CAPABILITIES);

    /// The word for its transport.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sandbox(_) => "sandbox",
            Self::Gowa(_) => "gowa",
            Self::Wapim(_) => "wapim",
            Self::Wawp(_) => "wawp",
            Self::ExpressChat(_) => "express-chat",
            Self::Waha(_) => "waha",
            Self::Meta(_) => "meta",
            Self::Evolution(_) => "evolution",
            Self::Twilio(_) => "twilio",
        }
    }

    /// What it can do.
    pub fn capabilities(&self) -> &'static Capabilities {
        match self {
            Self::Sandbox(capabilities) => capabilities,
            Self::Gowa(_) => Gowa::CAPABILITIES,
            Self::Wapim(_) => Wapim::CAPABILITIES,
            Self::Wawp(_) => Wawp::CAPABILITIES,
            Self::ExpressChat(_) => ExpressChat::CAPABILITIES,
            Self::Waha(options) => options.engine.capabilities(),
            Self::Meta(_) => Meta::CAPABILITIES,
            Self::Evolution(_) => Evolution::CAPABILITIES,
            Self::Twilio(_) => Twilio::CAPABILITIES,
        }
    }

    /// Its credentials.
    pub fn secrets(&self) -> Vec<&Secret> {
        match self {
            Self::Sandbox(_) => Vec::new(),
            Self::Gowa(options) => options.basic_auth.iter().chain(&options.webhook_secret).collect(),
            Self::Wapim(options) => vec![&options.token],
            Self::Wawp(options) => std::iter::once(&options.access_token).chain(&options.webhook_secret).collect(),
            Self::ExpressChat(options) => vec![&options.api_key],
            Self::Waha(options) => options.api_key.iter().chain(&options.webhook_secret).collect(),
            Self::Meta(options) => {
                let inbound = options.app_secret.iter().chain(&options.verify_token);
                std::iter::once(&options.access_token).chain(inbound).collect()
            }
            Self::Evolution(options) => std::iter::once(&options.api_key).chain(&options.webhook_secret).collect(),
            Self::Twilio(options) => std::iter::once(&options.auth_token).chain(&options.callback).collect(),
        }
    }

    /// How fast an account sends that says nothing about it.
    pub fn pace(&self) -> Pace {
        match self {
            Self::Sandbox(_) => Pace::UNLIMITED,
            Self::Meta(_) | Self::ExpressChat(_) => Pace::META,
            Self::Twilio(_) => Pace::TWILIO,
            _ => Pace::PHONE,
        }
    }
}

/// The keys that any transport has of its own.
pub fn all_keys() -> Vec<&'static str> {
    let mut all: Vec<&str> = KEYS.iter().flat_map(|(_, keys)| keys.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Reads `transport` and the keys that belong to it.
pub fn read(node: &Node, fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Gateway> {
    let words = || KEYS.map(|(word, _)| word);
    let Some(transport) = fields.take("transport") else {
        findings.at(node, "an account needs a `transport`").hint(format!("it is one of {}", words().join(", ")));
        return None;
    };
    let word = transport.text("transport", findings)?;
    let Some((_, own)) = KEYS.iter().find(|(known, _)| *known == word) else {
        let finding = findings.at(transport, format!("there is no transport `{word}`"));
        match nearest(word, words()) {
            Some(near) => finding.hint(format!("did you mean `{near}`?")),
            None => finding.hint(format!("it is one of {}", words().join(", "))),
        }
        return None;
    };
    let timeout = (word == "sandbox").then_some("timeout");
    for key in all_keys().into_iter().filter(|key| !own.contains(key)).chain(timeout) {
        if let Some(node) = fields.take(key) {
            let finding = findings.at(node, format!("the transport `{word}` has no `{key}`"));
            match own.is_empty() {
                true => finding.hint("remove it"),
                false => finding.hint(format!("of its own it has {}", own.join(", "))),
            }
        }
    }
    let mut keys = Keys { node, word, fields, findings };
    match word {
        "gowa" => keys.gowa().map(Gateway::Gowa),
        "wapim" => keys.wapim().map(Gateway::Wapim),
        "wawp" => keys.wawp().map(Gateway::Wawp),
        "express-chat" => keys.express_chat().map(Gateway::ExpressChat),
        "waha" => keys.waha().map(Gateway::Waha),
        "meta" => keys.meta().map(Gateway::Meta),
        "evolution" => keys.evolution().map(Gateway::Evolution),
        "twilio" => keys.twilio().map(Gateway::Twilio),
        _ => Some(Gateway::SANDBOX),
    }
}

struct Keys<'a, 'b> {
    node: &'a Node,
    word: &'a str,
    fields: &'a mut Fields<'b>,
    findings: &'a mut Findings,
}

impl Keys<'_, '_> {
    fn url(&mut self, default: Option<&str>) -> Option<Url> {
        let node = self.fields.take("url");
        let text = match (node, default) {
            (Some(node), _) => node.word("url", self.findings)?,
            (None, Some(default)) => default.to_owned(),
            (None, None) => {
                self.missing("url", "http://127.0.0.1:8080");
                return None;
            }
        };
        web_address(node.unwrap_or(self.node), "url", &text, self.findings)
    }

    fn missing(&mut self, key: &str, example: &str) {
        let message = format!("an account of `{}` needs `{key}`", self.word);
        self.findings.at(self.node, message).hint(format!("add `{key}: {example}`"));
    }

    fn word(&mut self, key: &str) -> Option<String> {
        let node = self.fields.take(key)?;
        let text = node.word(key, self.findings)?;
        if text.trim().is_empty() {
            self.findings.at(node, format!("`{key}` is empty"));
            return None;
        }
        Some(text)
    }

    fn must(&mut self, key: &str, example: &str) -> Option<String> {
        if self.fields.take(key).is_none() {
            self.missing(key, example);
            return None;
        }
        self.word(key)
    }

    fn secret(&mut self, key: &str, variable: &str) -> Option<Secret> {
        self.must(key, &format!("${{{variable}}}")).map(Secret::new)
    }

    /// What the gateway signs with.
    fn signing(&mut self, key: &str) -> Option<Secret> {
        let text = self.word(key)?;
        is_secret(self.fields.take(key).unwrap_or(self.node), key, &text, self.findings);
        Some(Secret::new(text))
    }

    fn webhook_secret(&mut self) -> Option<Secret> {
        self.signing("webhook_secret")
    }

    fn timeout(&mut self, default: u64) -> Duration {
        let some = |text: &str| match parse_duration(text)? {
            span if span < Duration::from_millis(100) => Err("no gateway answers as fast as that".to_owned()),
            span => Ok(span),
        };
        self.fields.parsed("timeout", some, self.findings).unwrap_or(Duration::from_secs(default))
    }

    /// An id as the gateway gives it out: letters and digits.
    fn id(&mut self, key: &str, example: &str, begins: &str) -> Option<String> {
        let text = self.must(key, example)?;
        if text.starts_with(begins) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Some(text);
        }
        let node = self.fields.take(key).unwrap_or(self.node);
        // It may be the token, in the wrong place.
        self.findings.at(node, format!("`{key}` is no such id")).hint(format!("it looks like {example}"));
        None
    }

    fn gowa(&mut self) -> Option<GowaOptions> {
        let basic_auth = self.fields.take("basic_auth").and_then(|node| {
            let text = node.word("basic_auth", self.findings)?;
            if !text.contains(':') {
                self.findings.at(node, "`basic_auth` is a user and a password with `:` between them");
                return None;
            }
            Some(Secret::new(text))
        });
        // The server gives up after 45 s; a little more lets its own answer arrive.
        let (device, timeout) = (self.word("device"), self.timeout(60));
        let webhook_secret = self.webhook_secret();
        if webhook_secret.as_ref().is_some_and(|secret| secret.reveal() == "secret") {
            let node = self.fields.take("webhook_secret").unwrap_or(self.node);
            let finding =
                self.findings.at(node, "`webhook_secret` is the word that GOWA comes with: everybody knows it");
            finding.hint("set another one there (`WHATSAPP_WEBHOOK_SECRET`) and here");
        }
        Some(GowaOptions { url: self.url(Some("http://127.0.0.1:3000"))?, device, basic_auth, webhook_secret, timeout })
    }

    fn wapim(&mut self) -> Option<WapimOptions> {
        let token = self.secret("token", "WAPIM_TOKEN");
        let url = self.url(Some("https://api.wapim.io/api/v1/whatsapp"));
        Some(WapimOptions { url: url?, token: token?, timeout: self.timeout(30) })
    }

    fn wawp(&mut self) -> Option<WawpOptions> {
        let access_token = self.secret("access_token", "WAWP_TOKEN");
        let instance_id = self.must("instance_id", "ABC123DEF456");
        let url = self.url(Some("https://api.wawp.net"));
        let timeout = self.timeout(60);
        let webhook_secret = self.webhook_secret();
        let webhook_header =
            self.word("webhook_header").map_or(WAWP_HEADER.to_owned(), |name| name.to_ascii_lowercase());
        Some(WawpOptions {
            url: url?,
            instance_id: instance_id?,
            access_token: access_token?,
            webhook_secret,
            webhook_header,
            timeout,
        })
    }

    fn express_chat(&mut self) -> Option<ExpressChatOptions> {
        let api_key = self.secret("api_key", "EXPRESS_CHAT_KEY");
        let url = self.url(Some("https://api.v7.express-chat.com"));
        Some(ExpressChatOptions { url: url?, api_key: api_key?, timeout: self.timeout(30) })
    }

    fn waha(&mut self) -> Option<WahaOptions> {
        let engine = self.fields.parsed("engine", Engine::parse, self.findings).unwrap_or(Engine::Webjs);
        let (api_key, session) = (self.word("api_key").map(Secret::new), self.word("session"));
        let (url, timeout) = (self.url(Some("http://127.0.0.1:3000")), self.timeout(60));
        let (session, webhook_secret) = (session.unwrap_or("default".into()), self.webhook_secret());
        Some(WahaOptions { url: url?, api_key, session, engine, webhook_secret, timeout })
    }

    fn meta(&mut self) -> Option<MetaOptions> {
        let access_token = self.secret("access_token", "META_TOKEN");
        let phone_number_id = self.id("phone_number_id", "\"106540352242922\"", "");
        let version = |text: &str| {
            let sound = text.strip_prefix('v').is_some_and(|rest| {
                rest.starts_with(|c: char| c.is_ascii_digit()) && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            });
            if sound {
                Ok(text.to_owned())
            } else {
                Err(format!("`{text}` is no version; write one such as `{META_VERSION}`"))
            }
        };
        let version = self.fields.parsed("version", version, self.findings).unwrap_or(META_VERSION.into());
        let (app_secret, verify_token) = (self.signing("app_secret"), self.word("verify_token"));
        let (url, timeout) = (self.url(Some("https://graph.facebook.com")), self.timeout(30));
        Some(MetaOptions {
            url: url?,
            version,
            phone_number_id: phone_number_id?,
            access_token: access_token?,
            app_secret,
            verify_token: verify_token.map(Secret::new),
            timeout,
        })
    }

    fn evolution(&mut self) -> Option<EvolutionOptions> {
        let api_key = self.secret("api_key", "EVOLUTION_KEY");
        let instance = self.must("instance", "my-instance");
        let (url, timeout) = (self.url(None), self.timeout(60));
        let webhook_secret = self.webhook_secret();
        Some(EvolutionOptions { url: url?, api_key: api_key?, instance: instance?, webhook_secret, timeout })
    }

    fn twilio(&mut self) -> Option<TwilioOptions> {
        let auth_token = self.secret("auth_token", "TWILIO_TOKEN");
        let account_sid = self.id("account_sid", "AC0123456789abcdef0123456789abcdef", "AC");
        let (url, timeout) = (self.url(Some("https://api.twilio.com")), self.timeout(15));
        let number = |text: &str| match Recipient::parse(text.trim_start_matches("whatsapp:"))? {
            Recipient::Phone(digits) => Ok(Sender::Number(digits)),
            other => Err(format!("`{other}` is no phone")),
        };
        let number = self.fields.parsed("from", number, self.findings);
        let from = match (number, self.word("messaging_service")) {
            (Some(_), Some(_)) => {
                let message = "`from` and `messaging_service` exclude each other";
                self.findings.at(self.node, message).hint("keep the one that is to send");
                None
            }
            (Some(number), None) => Some(number),
            (None, Some(service)) => Some(Sender::Service(service)),
            (None, None) => {
                if self.fields.take("from").is_none() {
                    self.missing("from", "\"+14155238886\"");
                }
                None
            }
        };
        Some(TwilioOptions {
            url: url?,
            account_sid: account_sid?,
            auth_token: auth_token?,
            from: from?,
            callback: None,
            timeout,
        })
    }
}

/// An address of the web without credentials, query and fragment.
pub fn web_address(node: &Node, key: &str, text: &str, findings: &mut Findings) -> Option<Url> {
    let parsed = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match parsed {
        Some(url) if url.password().is_some() || !url.username().is_empty() => {
            let finding = findings.at(node, format!("credentials do not belong into `{key}`"));
            finding.hint("they have keys of their own, and stand in `.env`");
        }
        Some(url) if url.query().is_some() || url.fragment().is_some() => {
            findings.at(node, format!("`{key}` is a base address, without `?` and `#`")).hint("cut it off there");
        }
        Some(url) => return Some(url),
        None => {
            // A query may hold a token.
            let base = text.split(['?', '#']).next().unwrap_or_default();
            let finding = findings.at(node, format!("`{base}` is no web address"));
            finding.hint("write one such as `http://127.0.0.1:3000`");
        }
    }
    None
}
