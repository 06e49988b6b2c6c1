//! The rules of the product: every legal step of runs, messages, questions and triggers, each a function over one
//! transaction, with no SQL in it. What callers see is a [`Store`].
//!
//! [`Store`]: crate::store::Store

mod attempts;
mod claims;
mod commands;
mod delivery_waits;
mod endings;
mod events;
mod failover;
mod forget;
mod inbound;
mod journal;
mod keep;
mod message_timers;
mod messages;
mod operator;
mod people;
mod questions;
mod react;
mod reconciliation;
mod recovery;
mod replies;
mod run_timers;
mod runs;
mod slots;
mod store;
mod triggers;
mod troubles;
mod turns;
mod values;
mod work;

pub use store::Ledger;
