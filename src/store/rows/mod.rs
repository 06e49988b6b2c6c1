//! The rows: all SQL of the product, by noun, in the dialect that SQLite and PostgreSQL share. What stands in a
//! function's name is what has to hold for it to change anything; what a change means is no business of a row's.

pub mod accounts;
pub mod delivery_waits;
pub mod events;
pub mod flows;
pub mod forget;
pub mod inbound;
pub mod journal;
pub mod keep;
pub mod lists;
pub mod messages;
pub mod outbox;
pub mod people;
pub mod phones;
pub mod presence;
pub mod questions;
pub mod reconciliation;
pub mod refused;
pub mod repeats;
pub mod runs;
pub mod seen_files;
pub mod slots;
pub mod triggers;
pub mod troubles;
pub mod values;
