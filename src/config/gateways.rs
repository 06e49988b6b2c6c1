//! Which gateway an account speaks to, by the table of the transports.

use url::Url;

use crate::flow::file::node::{Fields, Findings, Node};
use crate::flow::file::strength::is_secret;
use crate::transport::GATEWAYS;
use crate::transport::gateway::{Configured, Gateway};
use crate::transport::keys::{Keys, Written};
use crate::units::nearest;

/// The keys that any transport has of its own.
pub fn all_keys() -> Vec<&'static str> {
    let mut all: Vec<&str> = GATEWAYS.iter().flat_map(|gateway| gateway.keys.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Reads `transport` and the keys that belong to it.
pub fn read(node: &Node, fields: &mut Fields<'_>, findings: &mut Findings) -> Option<Configured> {
    let gateway = named(node, fields, findings)?;
    let timeout = gateway.is_built_in.then_some("timeout");
    for key in all_keys().into_iter().filter(|key| !gateway.keys.contains(key)).chain(timeout) {
        if let Some(node) = fields.take(key) {
            let finding = findings.at(node, format!("the transport `{}` has no `{key}`", gateway.name));
            match gateway.keys.is_empty() {
                true => finding.hint("remove it"),
                false => finding.hint(format!("of its own it has {}", gateway.keys.join(", "))),
            }
        }
    }
    (gateway.read)(&mut Keys::new(gateway.name, &mut Account { node, fields, findings }))
}

/// The gateway that `transport` names.
fn named(node: &Node, fields: &mut Fields<'_>, findings: &mut Findings) -> Option<&'static Gateway> {
    let words = || GATEWAYS.iter().map(|gateway| gateway.name);
    let all = || format!("it is one of {}", words().collect::<Vec<_>>().join(", "));
    let Some(transport) = fields.take("transport") else {
        findings.at(node, "an account needs a `transport`").hint(all());
        return None;
    };
    let word = transport.text("transport", findings)?;
    let found = GATEWAYS.iter().find(|gateway| gateway.name == word);
    if found.is_none() {
        let finding = findings.at(transport, format!("there is no transport `{word}`"));
        match nearest(word, words()) {
            Some(near) => finding.hint(format!("did you mean `{near}`?")),
            None => finding.hint(all()),
        }
    }
    found
}

/// The keys of one account of `postrider.yaml`.
struct Account<'a, 'b> {
    node: &'a Node,
    fields: &'a mut Fields<'b>,
    findings: &'a mut Findings,
}

impl Written for Account<'_, '_> {
    fn has(&self, key: &str) -> bool {
        self.fields.take(key).is_some()
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.fields.take(key)?.word(key, self.findings)
    }

    fn wrong(&mut self, key: Option<&str>, message: String, remedy: Option<String>) {
        let finding = self.findings.at(key.and_then(|key| self.fields.take(key)).unwrap_or(self.node), message);
        if let Some(remedy) = remedy {
            finding.hint(remedy);
        }
    }

    fn must_be_strong(&mut self, key: &str, text: &str) {
        is_secret(self.fields.take(key).unwrap_or(self.node), key, text, self.findings);
    }

    fn address(&mut self, key: &str, text: &str) -> Option<Url> {
        web_address(self.fields.take(key).unwrap_or(self.node), key, text, self.findings)
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
