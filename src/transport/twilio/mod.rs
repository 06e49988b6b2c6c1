//! Twilio's WhatsApp channel: a reseller of Meta's API with its own, form-encoded one.

mod adapter;
mod codes;
mod events;
mod options;
mod signature;

pub use adapter::Twilio;
pub use options::{Sender, TwilioOptions};
pub use signature::is_signed;
