//! The composition root: turns settings into ready objects and starts them in order.

mod engine;
mod git;
mod keep;
mod lanes;
mod phones;
mod pulse;
mod refusals;
mod reload;
mod state_folder;
pub mod stopped;
mod sweep;
mod workspace;

pub use engine::{Engine, OpenStore, Outside, StartError, bind, looks_like_workspace, open_store};
pub use state_folder::{Address, read_address, read_token};
pub use workspace::Workspace;
