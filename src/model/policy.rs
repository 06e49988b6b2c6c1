//! Policies: what to do about failure, doubt, haste and scarcity.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often and how soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, counted from 1.
    pub attempts: u32,
    /// Before the second try.
    pub first: Duration,
    /// Never longer than this.
    pub max: Duration,
}

impl Retry {
    /// The wait after try number `tries` (1 or more): doubling from `first` up to `max`, and of
    /// that between three quarters and the whole, so that many failures at once do not come back
    /// at once. `chance` is any number; the same one gives the same wait.
    pub fn delay(&self, tries: u32, chance: u64) -> Duration {
        let doublings = tries.saturating_sub(1).min(20);
        let full = self.first.saturating_mul(1 << doublings).min(self.max);
        full.mul_f64(0.75 + (chance % 1024) as f64 / 4096.0)
    }
}

/// What to do with a message whose fate is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// A person decides.
    Hold,
    /// Send again after `unknown_after`, at the risk of a second copy.
    Resend,
}

/// What to do with a wish that a gateway cannot fulfil.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnsupported {
    /// Come as near as possible and record it.
    Emulate,
    /// Leave it out and record it.
    Drop,
    /// Refuse to send.
    Strict,
}

impl OnUnsupported {
    /// Reads `emulate`, `drop` or `strict`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "emulate" => Some(Self::Emulate),
            "drop" => Some(Self::Drop),
            "strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// How fast an account may send; `None` means as fast as it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// So many messages in such a span.
    pub rate: Option<(u32, Duration)>,
    /// How many may go out at once after a rest.
    pub burst: u32,
    /// So many messages in such a span to one recipient.
    pub per_recipient: Option<(u32, Duration)>,
}

impl Pace {
    /// For a bridge to a single phone: what a busy person might do. Faster than this, numbers
    /// get banned.
    pub const PHONE: Self =
        Self { rate: Some((30, Duration::from_secs(60))), burst: 10, per_recipient: Some((1, Duration::from_secs(2))) };

    /// No limit.
    pub const UNLIMITED: Self = Self { rate: None, burst: 0, per_recipient: None };
}

/// Bounds on what scripts and callers may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a webhook's body.
    pub body: u64,
    /// CPU time of one turn.
    pub cpu_turn: Duration,
    /// CPU time of all turns of a run.
    pub cpu_run: Duration,
    /// Bytes that one turn may hold.
    pub memory: u64,
    /// Entries of one journal.
    pub journal: u32,
    /// Bytes of one journal.
    pub journal_bytes: u64,
    /// Runs that may wait for their first turn.
    pub backlog: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            cpu_turn: Duration::from_secs(2),
            cpu_run: Duration::from_secs(60),
            memory: 64 << 20,
            journal: 10_000,
            journal_bytes: 16 << 20,
            backlog: 1_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum() {
        let retry = Retry { attempts: 8, first: Duration::from_secs(2), max: Duration::from_secs(600) };
        for (tries, full) in [(1, 2), (2, 4), (5, 32), (9, 512), (10, 600), (60, 600)] {
            for chance in [0, 511, 1023] {
                let delay = retry.delay(tries, chance);
                assert!(delay <= Duration::from_secs(full) && delay >= Duration::from_secs(full).mul_f64(0.75));
            }
        }
    }
}
