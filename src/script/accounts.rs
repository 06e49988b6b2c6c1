//! What scripts know of accounts.

use std::collections::BTreeMap;

use crate::model::capability::Capabilities;
use crate::model::policy::OnUnsupported;
use crate::model::walls::{FlowNames, Who};

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

impl Accounts {
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
