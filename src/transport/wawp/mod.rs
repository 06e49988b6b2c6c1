//! Wawp: a hosted service whose objects are WAHA's.

mod adapter;
mod events;
mod options;

pub use adapter::Wawp;
pub use options::WawpOptions;
