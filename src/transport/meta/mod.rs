//! Meta's WhatsApp Cloud API: the official one, with templates, a 24-hour window and a price.

pub(super) mod codes;
pub(super) mod events;
mod options;
pub(super) mod send;

pub use options::MetaOptions;
pub use send::Meta;
