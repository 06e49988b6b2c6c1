//! The rules of the product: every legal step of runs, messages, questions and triggers, each a function over one
//! transaction, with no SQL in it. What callers see is a [`Store`].
//!
//! [`Store`]: crate::store::Store

mod after_commit;
mod backlog;
mod claims;
mod commands;
mod contract;
mod delivery;
mod endings;
mod events;
mod failover;
mod forget;
mod groups;
mod inbound;
mod job;
mod memory;
mod messages;
mod operator;
mod people;
mod questions;
mod react;
mod reconciliation;
mod replies;
mod runs;
mod sets;
mod steps;
mod timers;
mod triggers;
mod troubles;
mod turns;
mod values;
mod waits;
mod work;

pub use contract::Ledger;
