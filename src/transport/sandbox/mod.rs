//! The built-in stand-in for a gateway: delivers at once to phones that can be looked at.

mod adapter;
mod events;
mod options;

pub use adapter::Sandbox;
pub use options::SandboxOptions;

use super::gateway::{Configured, Options as _};
use crate::model::capability::Capabilities;

/// Its word in settings, by which others know that nothing leaves the house.
pub const NAME: &str = SandboxOptions::NAME;

/// An account that reaches nobody; in the place of a gateway that can do this, or of none in particular.
pub fn standing_for(gateway: Option<&'static Capabilities>) -> Configured {
    Configured::new::<Sandbox>(SandboxOptions { stands_for: gateway })
}
