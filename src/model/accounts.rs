//! The accounts that flows send from: what each can do, and which one is meant.

use std::collections::BTreeMap;

use super::capability::Capabilities;
use super::policy::OnUnsupported;
use super::walls::{FlowNames, Who};
use crate::units::nearest;

/// The accounts that messages may be sent from.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Used when neither script nor flow names one.
    pub default: Option<String>,
    /// What each can do.
    pub by_name: BTreeMap<String, AccountFacts>,
    /// Whether links of ours lead here from outside (`public_url`).
    pub public: bool,
}

/// Why a message has no account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAccount<'a> {
    /// Nobody named one, and the workspace has no default.
    Unnamed,
    /// There is none of this name.
    Unknown(&'a str),
    /// The flow may not use it.
    Barred(&'a str, &'a Who),
}

/// That there is no account of this name, in words.
pub fn unknown(name: &str) -> String {
    format!("there is no account `{name}` in postrider.yaml")
}

impl Accounts {
    /// The name of the account that is meant: the one that a call names, else the flow's, else the workspace's.
    pub fn meant<'a>(&'a self, named: Option<&'a str>, of_flow: Option<&'a str>) -> Option<&'a str> {
        named.or(of_flow).or(self.default.as_deref())
    }

    /// The account that is meant, where the flow may use it; without `who` it may use all.
    ///
    /// # Errors
    /// [`NoAccount`].
    pub fn resolve<'a>(
        &'a self,
        named: Option<&'a str>,
        of_flow: Option<&'a str>,
        who: Option<&'a Who>,
    ) -> Result<(&'a str, &'a AccountFacts), NoAccount<'a>> {
        let name = self.meant(named, of_flow).ok_or(NoAccount::Unnamed)?;
        let facts = self.by_name.get(name).ok_or(NoAccount::Unknown(name))?;
        match who {
            Some(who) if !facts.flows.means(who) => Err(NoAccount::Barred(name, who)),
            _ => Ok((name, facts)),
        }
    }

    /// Why there is no account, and what to do about it, in words.
    pub fn explained(&self, why: NoAccount<'_>) -> (String, Option<String>) {
        match why {
            NoAccount::Unnamed => (
                format!(
                    "which account? name one of {} by the option `account`, by `account:` in the flow, or by \
                     `default_account:` in postrider.yaml",
                    self.names()
                ),
                None,
            ),
            NoAccount::Unknown(name) => {
                let near = nearest(name, self.by_name.keys().map(String::as_str));
                (unknown(name), near.map(|near| format!("did you mean `{near}`?")))
            }
            NoAccount::Barred(name, who) => {
                let (message, remedy) = who.barred_from(name);
                (message, Some(remedy))
            }
        }
    }

    /// All names, for a sentence.
    pub fn names(&self) -> String {
        self.by_name.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Whether a flow may send from an account and hear it. One that is not there is for others to tell.
    pub fn allows(&self, account: &str, who: &Who) -> bool {
        self.by_name.get(account).is_none_or(|facts| facts.flows.means(who))
    }
}

/// What a script's messages can expect of an account.
#[derive(Clone, Debug)]
pub struct AccountFacts {
    /// The word for its transport.
    pub transport: &'static str,
    /// What the gateway can do.
    pub capabilities: &'static Capabilities,
    /// What becomes of what it cannot.
    pub on_unsupported: OnUnsupported,
    /// Which flows may send from it and hear it.
    pub flows: FlowNames,
    /// Whether its gateway can show that it is the gateway, so that what it tells is heard; else what is to be done
    /// about it.
    pub hears: Result<(), &'static str>,
}
