//! Which flows may have which names of the environment, as the settings say.

use std::collections::{BTreeMap, BTreeSet};

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
        if self.taken.contains(name) {
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
