//! Which messages are on the wire, so that nobody has to walk through a lane to find them. There may be more here than
//! are: what is found is looked at in the database.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::id::MessageId;

/// Messages that are on the wire, each with a hash of its account and recipient.
#[derive(Default)]
pub struct OnTheWire {
    open: HashMap<MessageId, u64>,
    /// What the group has changed that is not on disk yet: what stood there before.
    changes: Vec<(MessageId, Option<u64>)>,
}

impl OnTheWire {
    /// An attempt is open.
    pub fn add(&mut self, id: MessageId, account: &str, to: &str) {
        let before = self.open.insert(id, hash(account, to));
        self.changes.push((id, before));
    }

    /// It has ended.
    pub fn remove(&mut self, id: MessageId) {
        if let Some(before) = self.open.remove(&id) {
            self.changes.push((id, Some(before)));
        }
    }

    /// Those that may be on their way from an account to an address.
    pub fn to(&self, account: &str, to: &str) -> Vec<MessageId> {
        let wanted = hash(account, to);
        self.open.iter().filter(|(_, hash)| **hash == wanted).map(|(id, _)| *id).collect()
    }

    /// Where to go back to.
    pub fn mark(&self) -> usize {
        self.changes.len()
    }

    /// What was changed since the mark is undone.
    pub fn undo(&mut self, mark: usize) {
        while self.changes.len() > mark
            && let Some((id, before)) = self.changes.pop()
        {
            match before {
                Some(hash) => self.open.insert(id, hash),
                None => self.open.remove(&id),
            };
        }
    }

    /// What was changed is on disk.
    pub fn keep(&mut self) {
        self.changes.clear();
    }
}

fn hash(account: &str, to: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (account, to).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_undone_never_was() {
        let [first, second] = [[1; 16], [2; 16]].map(MessageId::from_bytes);
        let mut wire = OnTheWire::default();
        wire.add(first, "main", "a");
        wire.keep();
        let mark = wire.mark();
        wire.remove(first);
        wire.add(second, "main", "a");
        wire.add(first, "other", "b");
        assert_eq!(wire.to("main", "a"), [second]);
        wire.undo(mark);
        assert_eq!((wire.to("main", "a"), wire.to("other", "b")), (vec![first], vec![]));
    }
}
