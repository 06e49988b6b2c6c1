//! How often webhooks may be called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::after;
use crate::flow::webhook::Rate;

/// Above so many, those that stand empty are let go.
const MANY: usize = 10_000;

/// One bucket for each webhook, kept as the time at which it is empty again (GCRA).
#[derive(Default)]
pub struct Rates(Mutex<HashMap<(Arc<str>, String), Timestamp>>);

impl Rates {
    /// Takes one request of a webhook: of its flow, and its path.
    ///
    /// # Errors
    /// How long to wait until one is free.
    pub fn take(&self, of: (&Arc<str>, &str), rate: Rate, now: Timestamp) -> Result<(), Duration> {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() > MANY {
            buckets.retain(|_, empty_at| *empty_at > now);
        }
        let empty_at = buckets.entry((of.0.clone(), of.1.to_owned())).or_insert(now);
        let full_at = after(now, rate.per);
        // Fuller than full means that the clock was set back: nobody is to wait for that.
        let from = if *empty_at > full_at { now } else { (*empty_at).max(now) };
        let next = after(from, rate.per / rate.most);
        if next > full_at {
            return Err(next.duration_since(full_at).unsigned_abs());
        }
        *empty_at = next;
        Ok(())
    }
}
