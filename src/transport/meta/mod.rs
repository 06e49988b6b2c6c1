//! Meta's WhatsApp Cloud API: the official one, with templates, a 24-hour window and a price.

pub(super) mod adapter;
pub(super) mod codes;
pub(super) mod events;
mod options;

pub use adapter::Meta;
pub use options::MetaOptions;
