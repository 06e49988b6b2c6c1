//! Runs: accepted at the door, worked on by turns, answered to whoever waits.

mod board;
mod by_hand;
mod dispatch;
mod failure;
mod intake;
mod waiters;
mod waker;
mod worker;

pub use board::Board;
pub use by_hand::by_hand;
pub use dispatch::Dispatcher;
pub use intake::{Intake, prepare};
pub use waiters::{Reply, Waiters};
pub use waker::Waker;
pub use worker::{Context, start_threads};
