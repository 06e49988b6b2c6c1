//! GOWA (aldinokemal/go-whatsapp-web-multidevice, 9.2.0): a self-hosted bridge to phones.

mod answers;
mod events;
mod options;
mod send;

pub use options::GowaOptions;
pub use send::Gowa;
