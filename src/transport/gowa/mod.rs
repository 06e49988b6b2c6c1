//! GOWA (aldinokemal/go-whatsapp-web-multidevice, 9.2.0): a self-hosted bridge to phones.

mod adapter;
mod answers;
mod events;
mod options;

pub use adapter::Gowa;
pub use options::GowaOptions;
