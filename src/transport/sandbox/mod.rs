//! The built-in stand-in for a gateway: delivers at once to phones that can be looked at.

mod events;
mod send;

pub use send::{Phones, Sandbox};
