//! Postrider.
#![allow(missing_docs)]
pub mod clock;
pub mod id;
pub mod memory;
pub mod model;
pub mod script;
pub mod secret;
pub mod shutdown;
pub mod telemetry;
pub mod units;
pub mod wake;
