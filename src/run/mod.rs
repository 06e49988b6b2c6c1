//! Runs: accepted at the door, worked on by turns, answered to whoever waits.

mod answer;
mod by_hand;
mod committer;
mod context;
mod dispatch;
mod effects;
mod endings;
mod failure;
mod flow_queue;
mod in_flight;
mod input;
mod intake;
mod journals;
mod marks;
mod queue;
mod simulate;
mod subscribers;
mod threads;
mod timers;
mod worker;

pub use answer::snapshot;
pub use by_hand::by_hand;
pub use context::Context;
pub use dispatch::Dispatcher;
pub use effects::{Effects, Gateways};
pub use intake::Intake;
pub use journals::Journals;
pub use marks::Marks;
pub use queue::RunQueue;
pub use simulate::{answered, simulate};
pub use subscribers::{Reply, Subscribers};
pub use threads::{Threads, aside};
pub use timers::RunTimers;
