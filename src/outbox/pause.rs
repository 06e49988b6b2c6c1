//! A lane that is paused: when it probes, and when its messages go another way.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::id::MessageId;

/// A paused lane probes after this, then twice as long, and so on.
pub const FIRST_PROBE: Duration = Duration::from_secs(5);
const LAST_PROBE: Duration = Duration::from_secs(300);
/// A pause that may end by itself is given so long before the messages go another way.
const PATIENCE: Duration = Duration::from_secs(600);

/// Why nothing goes out, and since when.
pub struct Pause {
    /// When a message is tried next.
    pub probe_at: Timestamp,
    /// The message that tries whether the gateway takes any.
    pub probe: Option<MessageId>,
    /// What the gateway said.
    pub reason: String,
    /// Whose messages have tried in vain since all were asked: the next one to try is another's, so that no
    /// single message can hold the account.
    pub tried: HashSet<Arc<str>>,
    /// The messages that did, or for which it began.
    pub failed: HashSet<MessageId>,
    since: Timestamp,
    /// The account itself is at fault (credentials, payment): waiting will not help.
    certain: bool,
    failures: u32,
}

impl Pause {
    /// Begins now.
    pub fn new(reason: String, certain: bool, now: Timestamp) -> Self {
        let probe_at = after(now, FIRST_PROBE);
        let (tried, failed) = (HashSet::new(), HashSet::new());
        Self { probe_at, probe: None, reason, tried, failed, since: now, certain, failures: 0 }
    }

    /// The probe failed for the account's reason.
    pub fn failed(&mut self, reason: String, certain: bool, now: Timestamp) {
        self.failures += 1;
        self.reason = reason;
        self.certain = certain;
        let wait = FIRST_PROBE.saturating_mul(1 << self.failures.min(10)).min(LAST_PROBE);
        self.probe_at = after(now, wait);
    }

    /// When messages may go another way.
    pub fn diverts_at(&self) -> Timestamp {
        if self.certain { self.since } else { after(self.since, PATIENCE) }
    }
}
