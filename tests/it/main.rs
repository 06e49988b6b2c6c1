//! Tests at the border: the real HTTP server, the real store, a fake gateway over HTTP, the real
//! binary for commands.

mod bad_files;
mod cli;
mod crash;
mod gowa;
mod kill;
mod order;
mod runs;
mod support;
mod turn;
mod webhook;
