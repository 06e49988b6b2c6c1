//! Wapim: a hosted bridge to a phone that must be online.

mod events;
mod options;
mod send;

pub use options::WapimOptions;
pub use send::Wapim;
