//! Evolution API (EvolutionAPI/evolution-api 2.3.6): a self-hosted bridge, one instance a phone.

mod answers;
mod events;
mod options;
mod send;

pub use options::EvolutionOptions;
pub use send::Evolution;
