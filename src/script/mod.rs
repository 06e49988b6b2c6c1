//! Scripts: from text to a checked program, and from a program to one pure turn.
//!
//! A turn does no I/O and blocks nothing. What a script wants from the world is either a promise
//! (recorded, and the script goes on) or a question (the turn ends, and a later one is given the
//! answer). Nothing outside this folder knows Rhai.

mod calls;
mod constants;
mod engine;
mod error;
mod header_names;
mod host;
mod limits;
mod look;
mod message;
mod natives;
mod printed;
mod program;
mod report;
mod secret_text;
mod state;
pub mod time;
mod turn;
mod types;
mod usage;
mod value;

pub use calls::Call;
pub use limits::Alarm;
pub use program::{Main, Program, Sources};
pub use turn::{Ending, TurnInput, TurnOutput, turn};
