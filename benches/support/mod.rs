//! What the benchmarks share: a load that counts, a gateway that counts, the engine as a process.

pub mod engine;
pub mod figures;
pub mod gateway;
pub mod load;
