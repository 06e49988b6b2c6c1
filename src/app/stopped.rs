//! What can be done to a workspace while no engine runs on it.

use std::sync::Arc;

use super::engine::open_store;
use super::state_folder::StateFolder;
use super::workspace::Workspace;
use crate::clock::{Clock, SystemClock};
use crate::id::RunId;
use crate::model::run::RunState;
use crate::store::records::RunDecided;
use crate::store::{Signals, Store};

/// Takes a run back before the next engine takes it up.
///
/// # Errors
/// A sentence: there is no such run, it is over, an engine runs after all, or the store cannot be opened.
pub fn cancel(workspace: &Workspace, id: RunId) -> Result<(), String> {
    let _folder = StateFolder::lock(&workspace.root)?;
    let store: Arc<dyn Store> = open_store(workspace)(Signals::default()).map_err(|error| error.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let decided = runtime.block_on(store.cancel_run(id, SystemClock.now())).map_err(|error| error.to_string())?;
    match decided {
        RunDecided::Done => Ok(()),
        RunDecided::Missing => Err(format!("there is no run {id}")),
        RunDecided::NotIn(RunState::Cancelled) => Err(format!("run {id} is cancelled already")),
        RunDecided::NotIn(state) => Err(format!("run {id} is {}, so it cannot be taken back", state.name())),
    }
}
