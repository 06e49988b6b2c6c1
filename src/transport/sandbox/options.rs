//! What an account is configured with: nothing, for nobody is there.

use crate::model::capability::Capabilities;
use crate::model::policy::Pace;
use crate::secret::Secret;
use crate::transport::gateway::Options;
use crate::transport::keys::Keys;

/// What an account of this transport is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxOptions {
    /// What the gateway can do in whose place it stands, if it stands for one.
    pub stands_for: Option<&'static Capabilities>,
}

impl Options for SandboxOptions {
    const NAME: &'static str = "sandbox";
    const KEYS: &'static [&'static str] = &[];
    const PACE: Pace = Pace::UNLIMITED;
    const BUILT_IN: bool = true;

    fn read(_: &mut Keys<'_>) -> Option<Self> {
        Some(Self::default())
    }

    fn secrets(&self) -> Vec<Secret> {
        Vec::new()
    }
}
