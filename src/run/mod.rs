//! Runs: accepted at the door, worked on by turns, answered to whoever waits.

mod answer;
mod away;
mod board;
mod by_hand;
mod commits;
mod context;
mod dispatch;
mod errand;
mod failure;
mod hand_in;
mod input;
mod intake;
mod journals;
mod marks;
mod simulate;
mod threads;
mod waiters;
mod waker;
mod worker;

pub use answer::snapshot;
pub use board::Board;
pub use by_hand::by_hand;
pub use context::Context;
pub use dispatch::Dispatcher;
pub use errand::{Errands, Gateways};
pub use intake::Intake;
pub use journals::Journals;
pub use marks::Marks;
pub use simulate::{answered, simulate};
pub use threads::{Threads, aside};
pub use waiters::{Reply, Waiters};
pub use waker::Waker;
