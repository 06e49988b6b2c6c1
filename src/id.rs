//! Identifiers: UUIDs of version 7, so that they sort by the time at which they were made.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $noun:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The sixteen bytes, as stored.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// When it was made, by its first 48 bits (RFC 9562, 5.7).
            pub fn made_at(&self) -> Timestamp {
                let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
                let millis = i64::from_be_bytes([0, 0, a, b, c, d, e, f]);
                Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
            }

            /// Back from the sixteen stored bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| format!("`{text}` is no {} id (a UUID)", $noun))
            }
        }
    };
}

id!(
    /// Names one run.
    RunId,
    "run"
);
id!(
    /// Names one message.
    MessageId,
    "message"
);

impl RunId {
    /// A fresh id for a run accepted at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(layout(now, random_bytes()))
    }

    /// No run that is accepted at `at` or later has a smaller one.
    pub fn least(at: Timestamp) -> Self {
        Self(layout(at, [0; 10]))
    }

    /// The id of the run that another one begins at a position of its journal, for the call `request`:
    /// the same promise is one run.
    pub fn promised(run_time: Timestamp, seed: &[u8; 16], position: u32, request: &str) -> Self {
        let of = [&position.to_be_bytes(), request.as_bytes()].concat();
        let digest = derived(b"run", seed, &of);
        let mut tail = [0; 10];
        tail.copy_from_slice(&digest[..10]);
        // Not the time at which it begins, which would be another one in another attempt.
        Self(layout(run_time, tail))
    }

    /// The secret bytes of such a run: nobody guesses them who does not know those of the other one.
    pub fn child_seed(&self, seed: &[u8; 16]) -> [u8; 16] {
        derived(b"seed", seed, self.as_bytes())
    }
}

fn derived(what: &[u8], seed: &[u8; 16], of: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(what);
    hash.update(seed);
    hash.update(of);
    let mut first = [0; 16];
    first.copy_from_slice(&hash.finalize()[..16]);
    first
}

impl MessageId {
    /// A number that is the same for the same message and by chance for others.
    pub fn chance(&self) -> u64 {
        self.0.as_u64_pair().1
    }

    /// The id of the message that takes the place of this one; always the same one.
    pub fn again(&self) -> Self {
        let digest = Sha256::digest(self.as_bytes());
        let mut bytes = *self.as_bytes();
        // Time and place stay, and so do the marks of a UUID of version 7.
        bytes[9..].copy_from_slice(&digest[..7]);
        Self(Uuid::from_bytes(bytes))
    }

    /// A fresh id for a message that no script promised (sent by hand).
    pub fn new(now: Timestamp) -> Self {
        Self(layout(now, random_bytes()))
    }

    /// The id of the `index`-th message promised at journal `position` of a run by the call `request`:
    /// the same promise always gets the same id, which is why it can never be queued twice; and a run
    /// that is tried again and takes another way promises another one.
    pub fn promised(run_time: Timestamp, seed: &[u8; 16], position: u32, index: u32, request: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"message");
        hash.update(seed);
        hash.update(position.to_be_bytes());
        hash.update(index.to_be_bytes());
        hash.update(request.as_bytes());
        let digest = hash.finalize();
        let mut tail = [0; 10];
        tail.copy_from_slice(&digest[..10]);
        // The twelve bits behind the time hold the position, so that messages of one run sort in
        // the order in which they were promised; sixty-two bits of hash remain.
        let place = u16::try_from(position).unwrap_or(u16::MAX).min(0x0fff);
        tail[..2].copy_from_slice(&place.to_be_bytes());
        Self(layout(run_time, tail))
    }
}

/// Bytes that nobody can guess, from the system's source of chance.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(16) {
        // Version 4 UUIDs carry six fixed bits; hashing spreads the remaining 122 evenly.
        let digest = Sha256::digest(Uuid::new_v4().as_bytes());
        chunk.copy_from_slice(&digest[..chunk.len()]);
    }
    bytes
}

/// A UUID of version 7 from a time and ten bytes of chance or hash.
pub fn layout(time: Timestamp, tail: [u8; 10]) -> Uuid {
    let ms = time.as_millisecond().max(0).unsigned_abs();
    uuid::Builder::from_unix_timestamp_millis(ms, &tail).into_uuid()
}
