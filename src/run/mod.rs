//! Runs: accepted at the door, worked on by turns, answered to whoever waits.

mod by_hand;
mod committer;
mod context;
mod crash_marks;
mod dispatch;
mod effects;
mod flow_queue;
mod follow_up;
mod fresh;
mod in_flight;
mod input;
mod intake;
mod journals;
mod local_answers;
mod queue;
mod simulate;
mod subscribers;
mod threads;
mod timers;
mod without_script;
mod worker;

pub use by_hand::by_hand;
pub use context::Context;
pub use crash_marks::Marks;
pub use dispatch::Dispatcher;
pub use effects::{Effects, Gateways};
pub use intake::Intake;
pub use journals::Journals;
pub use local_answers::snapshot;
pub use queue::RunQueue;
pub use simulate::{answered, simulate};
pub use subscribers::{Reply, Subscribers, said_before};
pub use threads::{Threads, aside};
pub use timers::RunTimers;
