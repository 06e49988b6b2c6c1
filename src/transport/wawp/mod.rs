//! Wawp: a hosted service whose objects are WAHA's.

mod events;
mod options;
mod send;

pub use options::WawpOptions;
pub use send::Wawp;
