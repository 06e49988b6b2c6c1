//! Evolution API (EvolutionAPI/evolution-api 2.3.6): a self-hosted bridge, one instance a phone.

mod adapter;
mod answers;
mod events;
mod options;

pub use adapter::Evolution;
pub use options::EvolutionOptions;
