//! Twilio's WhatsApp channel: a reseller of Meta's API with its own, form-encoded one.

mod codes;
mod events;
mod options;
mod send;

pub use options::{Sender, TwilioOptions};
pub use send::Twilio;
