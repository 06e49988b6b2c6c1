//! The rows: all SQL of the product, by noun, in the dialect that SQLite and PostgreSQL share. What stands in a
//! function's name is what has to hold for it to change anything; what a change means is no business of a row's.

pub mod accounts;
pub mod conversations;
pub mod emitted;
pub mod evidence;
pub mod files;
pub mod flows;
pub mod incoming;
pub mod journal;
pub mod lanes;
pub mod lists;
pub mod messages;
pub mod people;
pub mod person;
pub mod phones;
pub mod runs;
pub mod schedules;
pub mod shown;
pub mod troubles;
pub mod values;
pub mod waits;
