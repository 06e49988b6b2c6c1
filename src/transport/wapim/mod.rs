//! Wapim: a hosted bridge to a phone that must be online.

mod adapter;
mod events;
mod options;

pub use adapter::Wapim;
pub use options::WapimOptions;
