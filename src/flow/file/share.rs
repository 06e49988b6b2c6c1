//! Which names of the environment a flow may have.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::fill::{Environment, fill_by};
use crate::model::walls::{FlowNames, Who};

/// What begins so is Postrider's own.
const OWN: &str = "POSTRIDER_";

/// Which flows may have which names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Names that the settings themselves are filled with: for no flow.
    pub taken: BTreeSet<String>,
    /// `secrets:` of the settings, by name; none when there is no such key: then all names are for all.
    pub listed: Option<BTreeMap<String, FlowNames>>,
}

impl Grants {
    /// Whether no flow may have a name, whatever is listed.
    pub fn is_for_none(&self, name: &str) -> bool {
        name.starts_with(OWN) || self.taken.contains(name)
    }

    /// Why a flow may not have a name, and what to do; none when it may. Whether the name is set makes
    /// no difference.
    pub fn refusal(&self, who: &Who, name: &str) -> Option<String> {
        if name.starts_with(OWN) {
            return Some(format!("`{name}` is for no flow, as all names that begin with `{OWN}`; use another name"));
        }
        if self.is_for_none(name) {
            return Some(format!(
                "`{name}` is used in postrider.yaml itself, so it is for no flow; \
                 give the flow a name of its own in .env"
            ));
        }
        let listed = self.listed.as_ref()?;
        match listed.get(name) {
            Some(flows) if flows.means(who) => None,
            _ => Some(format!(
                "flow `{}` may not have `{name}`; to allow it, write `{name}: [{}]` under `secrets:` in postrider.yaml",
                who.name,
                who.listed()
            )),
        }
    }
}

/// The environment as one flow may have it.
pub struct Share<'a> {
    environment: &'a Environment,
    who: &'a Who,
    given: RefCell<BTreeSet<String>>,
}

impl<'a> Share<'a> {
    /// This flow's share.
    pub fn of(environment: &'a Environment, who: &'a Who) -> Self {
        Self { environment, who, given: RefCell::default() }
    }

    /// The value of a name, if it is set.
    ///
    /// # Errors
    /// A sentence, when the flow may not have it.
    pub fn get(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.environment.grants.refusal(self.who, name) {
            Some(why) => Err(why),
            None => {
                self.given.borrow_mut().insert(name.to_owned());
                Ok(self.environment.get(name))
            }
        }
    }

    /// Fills in a text.
    ///
    /// # Errors
    /// A sentence for the first name that is not set, not closed, or not for this flow.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        fill_by(text, |name| self.get(name))
    }

    /// All names that it gave.
    pub fn given(self) -> BTreeSet<String> {
        self.given.into_inner()
    }
}
