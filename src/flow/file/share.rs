//! The environment as one flow may have it.

use std::cell::RefCell;
use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use super::fill::{Environment, fill_by};
use crate::model::walls::Who;

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

    /// What lots of this flow depend on: flows that are due together do not draw the same.
    pub fn lot(&self, schedule: &str) -> u64 {
        let digest = Sha256::digest(format!("{}\0{schedule}", self.who.name));
        digest.iter().take(8).fold(0, |lot, byte| lot << 8 | u64::from(*byte))
    }

    /// All names that it gave.
    pub fn given(self) -> BTreeSet<String> {
        self.given.into_inner()
    }
}
