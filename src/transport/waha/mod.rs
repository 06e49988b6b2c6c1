//! WAHA (devlikeapro/waha, 2026.7.1): a self-hosted bridge whose engines differ in what they can.

pub(super) mod adapter;
mod answers;
pub(super) mod engine;
pub(super) mod events;
pub(super) mod ids;
mod kinds;
mod options;

pub use adapter::Waha;
pub use engine::Engine;
pub use options::WahaOptions;
