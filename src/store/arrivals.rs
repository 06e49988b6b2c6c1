//! New messages, handed to lanes with the commit that they came by. This only saves a reading: what is not here
//! is in the table.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::records::DueMessage;
use crate::wake::Bell;

/// Most messages that wait here for one lane, and most bytes of them; with more it reads the table.
const MOST: usize = 1_024;
const MOST_BYTES: usize = 1 << 20;

/// What comes for lanes, by the names of their accounts.
#[derive(Clone, Default)]
pub struct Arrivals {
    by_account: Arc<Mutex<HashMap<Arc<str>, Inbox>>>,
}

/// What comes for one lane.
#[derive(Clone, Default)]
pub struct Inbox {
    arrived: Arc<Mutex<Arrived>>,
    bell: Bell,
}

/// What has come for a lane since it last looked.
#[derive(Default)]
pub struct Arrived {
    /// All that has come, in the order of its places; nothing, if there is `more`.
    pub messages: Vec<DueMessage>,
    bytes: usize,
    /// The table is to be read.
    pub more: bool,
}

impl Arrivals {
    /// That of an account, made when it is first asked for.
    pub fn of(&self, account: &str) -> Inbox {
        let mut inboxes = self.by_account.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inbox) = inboxes.get(account) {
            return inbox.clone();
        }
        inboxes.entry(Arc::from(account)).or_default().clone()
    }

    /// The table has something for an account.
    pub fn ring(&self, account: &str) {
        self.of(account).ring();
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table has something.
    pub fn ring(&self) {
        self.lock().read_all();
        self.bell.nudge();
    }

    /// Messages have come, each with a place above those that came before.
    pub fn post(&self, messages: impl IntoIterator<Item = DueMessage>) {
        let mut arrived = self.lock();
        for message in messages {
            arrived.bytes = arrived.bytes.saturating_add(message.weight());
            if arrived.messages.len() >= MOST || arrived.bytes > MOST_BYTES {
                arrived.read_all();
            }
            if arrived.more {
                break;
            }
            arrived.messages.push(message);
        }
        drop(arrived);
        self.bell.nudge();
    }

    /// What has come since the last look.
    pub fn take(&self) -> Arrived {
        std::mem::take(&mut *self.lock())
    }

    /// Rings when something has come.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

impl Arrived {
    fn read_all(&mut self) {
        *self = Self { more: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;

    fn due(seq: i64) -> DueMessage {
        DueMessage { id: MessageId::from_bytes([1; 16]), seq, to: "+15417543010".into(), due_at: None, known: None }
    }

    #[test]
    fn what_does_not_fit_or_came_otherwise_is_read() {
        let arrivals = Arrivals::default();
        let inbox = arrivals.of("main");
        inbox.post([due(1), due(2)]);
        let seqs = |arrived: Arrived| arrived.messages.iter().map(|message| message.seq).collect::<Vec<_>>();
        let arrived = arrivals.of("main").take();
        assert!(!arrived.more && seqs(arrived) == [1, 2]);
        inbox.post([due(3)]);
        arrivals.ring("main");
        inbox.post([due(5)]);
        let arrived = inbox.take();
        assert!(arrived.more && arrived.messages.is_empty());
        inbox.post((6..).map(due).take(MOST + 1));
        let arrived = inbox.take();
        assert!(arrived.more && arrived.messages.is_empty());
        assert!(!inbox.take().more);
    }
}
