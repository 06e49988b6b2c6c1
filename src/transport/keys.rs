//! What an account has under its gateway's keys: how options are read, wherever they are written.

use std::time::Duration;

use url::Url;

use crate::secret::Secret;
use crate::units::parse_duration;

/// The keys of one account as they are written. What is wrong with them is noted where it stands.
pub trait Written {
    /// Whether a key is there and has a value.
    fn has(&self, key: &str) -> bool;

    /// A key's value, if it is there; what is no text is noted.
    fn text(&mut self, key: &str) -> Option<String>;

    /// Notes a mistake with its remedy: at a key's value, or at the account where no key is to blame.
    fn wrong(&mut self, key: Option<&str>, message: String, remedy: Option<String>);

    /// Notes a key that protects and can be guessed.
    fn must_be_strong(&mut self, key: &str, text: &str);

    /// A base address of the web; what is none is noted.
    fn address(&mut self, key: &str, text: &str) -> Option<Url>;
}

/// Reads the options of one account.
pub struct Keys<'a> {
    gateway: &'static str,
    written: &'a mut dyn Written,
}

impl<'a> Keys<'a> {
    /// Of an account at this gateway.
    pub fn new(gateway: &'static str, written: &'a mut dyn Written) -> Self {
        Self { gateway, written }
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.written.has(key)
    }

    /// Notes a mistake: at a key's value, or at the account where no key is to blame.
    pub fn wrong(&mut self, key: Option<&str>, message: &str, remedy: Option<&str>) {
        self.written.wrong(key, message.to_owned(), remedy.map(str::to_owned));
    }

    /// Notes that a key is missing, and how it may look.
    pub fn missing(&mut self, key: &str, example: &str) {
        let message = format!("an account of `{}` needs `{key}`", self.gateway);
        self.written.wrong(None, message, Some(format!("add `{key}: {example}`")));
    }

    /// A text as it is written.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.written.text(key)
    }

    /// A text that says something.
    pub fn word(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        if text.trim().is_empty() {
            self.wrong(Some(key), &format!("`{key}` is empty"), None);
            return None;
        }
        Some(text)
    }

    /// A text that must be there.
    pub fn must(&mut self, key: &str, example: &str) -> Option<String> {
        if !self.has(key) {
            self.missing(key, example);
            return None;
        }
        self.word(key)
    }

    /// A credential that must be there; `variable` is a good name for it in `.env`.
    pub fn secret(&mut self, key: &str, variable: &str) -> Option<Secret> {
        self.must(key, &format!("${{{variable}}}")).map(Secret::new)
    }

    /// What the gateway signs with.
    pub fn signing(&mut self, key: &str) -> Option<Secret> {
        let text = self.word(key)?;
        self.written.must_be_strong(key, &text);
        Some(Secret::new(text))
    }

    /// What `parse` makes of a text.
    pub fn parsed<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(&self.text(key)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(Some(key), &format!("`{key}`: {error}"), None);
                None
            }
        }
    }

    /// An id as the gateway gives it out: letters and digits, behind what all of them begin with.
    pub fn id(&mut self, key: &str, example: &str, begins: &str) -> Option<String> {
        let text = self.must(key, example)?;
        if text.starts_with(begins) && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Some(text);
        }
        // It may be the token, in the wrong place.
        self.wrong(Some(key), &format!("`{key}` is no such id"), Some(&format!("it looks like {example}")));
        None
    }

    /// The gateway's base address (`url`); it must be there where there is no usual one.
    pub fn url(&mut self, usual: Option<&str>) -> Option<Url> {
        let text = match (self.has("url"), usual) {
            (true, _) => self.text("url")?,
            (false, Some(usual)) => usual.to_owned(),
            (false, None) => {
                self.missing("url", "http://127.0.0.1:8080");
                return None;
            }
        };
        self.written.address("url", &text)
    }

    /// How long one request may take (`timeout`), in seconds where nothing is said.
    pub fn timeout(&mut self, usual: u64) -> Duration {
        let some = |text: &str| match parse_duration(text)? {
            span if span < Duration::from_millis(100) => Err("no gateway answers as fast as that".to_owned()),
            span => Ok(span),
        };
        self.parsed("timeout", some).unwrap_or(Duration::from_secs(usual))
    }
}
